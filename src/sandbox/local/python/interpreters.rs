//! Which Pythons this machine has, and what is installed for them.
//!
//! Promises: nothing is asked that is plain from a folder's name; each interpreter is asked once at the most,
//! and only when a candidate may run on it. Only what the user's `PATH`, pyenv or uv has installed is asked.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;

use super::super::program::Programs;
use crate::python::{Known, PythonNeed, Version};
use crate::sandbox::FoundPython;

/// The longest an interpreter may take to answer.
const LIMIT: Duration = Duration::from_secs(10);

const QUESTION: &str = "\
import sys, sysconfig
print('%d.%d.%d' % sys.version_info[:3])
own = [sysconfig.get_path(name) for name in ('stdlib', 'platstdlib')]
for path in sys.path:
    if path not in own and not path.endswith(('.zip', 'lib-dynload')):
        print(path)
";

/// What an interpreter says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub version: Version,
    /// The folders of what was installed for it.
    pub site: Vec<PathBuf>,
}

/// What is installed for an interpreter besides its own library.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Installed {
    /// How many packages.
    pub packages: usize,
    /// The modules that can be imported.
    pub modules: BTreeSet<String>,
}

impl Answer {
    pub(crate) fn installed(&self) -> Installed {
        let mut installed = Installed::default();
        for folder in &self.site {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let Some(name) = name.to_str() else {
                    continue;
                };
                if name.ends_with(".dist-info") || name.ends_with(".egg-info") {
                    installed.packages += 1;
                } else if let Some(module) = module(name, &entry.path()) {
                    installed.modules.insert(module.to_owned());
                }
            }
        }
        installed
    }
}

/// The module that an entry of a folder of packages is.
fn module<'n>(name: &'n str, path: &Path) -> Option<&'n str> {
    match name.split_once('.') {
        None => path.is_dir().then_some(name),
        Some((module, "py")) => Some(module),
        Some((module, rest)) => rest.ends_with("so").then_some(module),
    }
}

type Asked = Arc<OnceCell<Option<Answer>>>;

/// Finds interpreters.
#[derive(Debug, Default)]
pub(crate) struct Interpreters {
    asked: Mutex<HashMap<PathBuf, Asked>>,
}

impl Interpreters {
    /// The interpreter that a program without needs of its own runs on, and what it says of itself.
    pub(crate) async fn usual(&self, programs: &Programs) -> Option<(PathBuf, Answer)> {
        let file = usual(programs).await?;
        let answer = self.ask(&file, programs).await?;
        Some((file, answer))
    }

    /// Finds what a candidate needs. With the path where that is not the usual one.
    pub(crate) async fn find(&self, need: &PythonNeed, programs: &Programs) -> FoundPython {
        let mut known = Vec::new();
        let usual = usual(programs).await;
        if let Some(file) = &usual
            && let Some(first) = self.known(file, programs).await
        {
            if need.is_met_by(&first) {
                return FoundPython::Found {
                    python: None,
                    note: None,
                };
            }
            known.push(first);
        }
        known.extend(managed(programs.interpreter_env()));
        for (file, minor) in programs.numbered() {
            if need.may_be(minor)
                && Some(&file) != usual.as_ref()
                && let Some(found) = self.known(&file, programs).await
            {
                known.push(found);
            }
        }
        match need.choose(&known) {
            Ok((found, note)) => FoundPython::Found {
                python: (Some(&found.file) != usual.as_ref())
                    .then(|| found.file.display().to_string()),
                note,
            },
            Err(why) => FoundPython::Missing(why),
        }
    }

    async fn known(&self, file: &Path, programs: &Programs) -> Option<Known> {
        let version = self.ask(file, programs).await?.version;
        Some(Known {
            file: file.to_owned(),
            version,
            name: None,
        })
    }

    /// Asks an interpreter, unless it was asked before.
    pub(crate) async fn ask(&self, file: &Path, programs: &Programs) -> Option<Answer> {
        let cell = {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(asked.entry(file.to_owned()).or_default())
        };
        let answer = cell.get_or_init(|| ask(file, programs.interpreter_env()));
        answer.await.clone()
    }
}

async fn usual(programs: &Programs) -> Option<PathBuf> {
    for name in ["python3", "python"] {
        if let Some(program) = programs.named(name).await {
            return Some(program.file);
        }
    }
    None
}

async fn ask(file: &Path, env: &BTreeMap<String, String>) -> Option<Answer> {
    let asked = tokio::process::Command::new(file)
        .args(["-I", "-c", QUESTION])
        .env_clear()
        .envs(env)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let answer = tokio::time::timeout(LIMIT, asked).await.ok()?.ok()?;
    parse(&String::from_utf8(answer.stdout).ok()?)
}

fn parse(answer: &str) -> Option<Answer> {
    let mut lines = answer.lines();
    Some(Answer {
        version: Version::parse(lines.next()?)?,
        site: lines
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .collect(),
    })
}

/// The Pythons that pyenv and uv have installed: their folders say which they are.
fn managed(env: &BTreeMap<String, String>) -> Vec<Known> {
    let set = |name: &str| env.get(name).filter(|it| it.starts_with('/'));
    let home = |below: &str| set("HOME").map(|home| Path::new(home).join(below));
    let pyenv = set("PYENV_ROOT").map(PathBuf::from);
    let pyenv = pyenv.or_else(|| home(".pyenv"));
    let uv = set("UV_PYTHON_INSTALL_DIR").map(PathBuf::from);
    let data = || set("XDG_DATA_HOME").map(|data| Path::new(data).join("uv/python"));
    let uv = uv.or_else(data).or_else(|| home(".local/share/uv/python"));
    let mut found = Vec::new();
    let folders = [pyenv.map(|root| root.join("versions")), uv];
    for folder in folders.into_iter().flatten() {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut entries: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        entries.sort();
        found.extend(entries.iter().filter_map(|path| installation(path)));
    }
    found
}

/// What the name of an installation's folder says: `3.12.1`, `cpython-3.12.5-linux-x86_64-gnu`,
/// `pypy3.10-7.3.12`.
fn installation(folder: &Path) -> Option<Known> {
    let name = folder.file_name()?.to_str()?;
    let names = ["bin/python3", "bin/python"].iter();
    let file = names.map(|it| folder.join(it)).find(|it| it.is_file())?;
    let plain = |text: &str| {
        let plain = text.chars().all(|c| c.is_ascii_digit() || c == '.');
        Version::parse(text).filter(|_| plain && text.matches('.').count() == 2)
    };
    let of_uv = name
        .strip_prefix("cpython-")
        .and_then(|rest| rest.split('-').next());
    if let Some(version) = plain(of_uv.unwrap_or(name)) {
        return Some(Known {
            file,
            version,
            name: None,
        });
    }
    let digits = name.find(|c: char| c.is_ascii_digit())?;
    Some(Known {
        file,
        version: Version::parse(name[digits..].split('-').next()?)?,
        name: Some(name.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    #[test]
    fn the_name_of_a_folder_says_which_python_it_is() {
        let root = tempfile::tempdir().unwrap();
        for (name, expected) in [
            ("3.12.1", Some(("3.12.1", None))),
            ("cpython-3.12.5-linux-x86_64-gnu", Some(("3.12.5", None))),
            ("pypy3.10-7.3.12", Some(("3.10.0", Some("pypy3.10-7.3.12")))),
            ("3.13-dev", Some(("3.13.0", Some("3.13-dev")))),
            ("myenv", None),
        ] {
            let folder = root.path().join(name);
            std::fs::create_dir_all(folder.join("bin")).unwrap();
            assert_eq!(installation(&folder), None, "{name}");
            std::fs::write(folder.join("bin/python"), "").unwrap();
            let expected = expected.map(|(number, other)| Known {
                file: folder.join("bin/python"),
                version: version(number),
                name: other.map(str::to_owned),
            });
            assert_eq!(installation(&folder), expected, "{name}");
        }
    }

    #[test]
    fn the_modules_and_packages_of_a_folder_are_counted() {
        let root = tempfile::tempdir().unwrap();
        for folder in ["rich", "rich-13.0.dist-info", "old.egg-info", "a-b"] {
            std::fs::create_dir(root.path().join(folder)).unwrap();
        }
        for file in [
            "six.py",
            "fast.cpython-311-x86_64-linux-gnu.so",
            "x.pth",
            "README",
        ] {
            std::fs::write(root.path().join(file), "").unwrap();
        }
        let answer = parse(&format!("3.11.7\n{}\nrelative\n", root.path().display())).unwrap();
        assert_eq!(answer.version, version("3.11.7"));
        let installed = answer.installed();
        assert_eq!(installed.packages, 2);
        let modules: Vec<&str> = installed.modules.iter().map(String::as_str).collect();
        assert_eq!(modules, ["a-b", "fast", "rich", "six"]);
    }
}
