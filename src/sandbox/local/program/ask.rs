//! Asking an interpreter where it really is.
//!
//! Promises: only a program that the user's own `PATH` leads to is ever executed here, with nothing of a
//! candidate's in its arguments, environment or working directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use super::super::visible::is_system;
use super::{is_executable, is_script, pyenv};

/// The longest a shim may take.
const SHIM_LIMIT: Duration = Duration::from_secs(10);

const PYTHON: &str = "\
import sys, sysconfig
print(sys.executable)
print(sys.prefix)
print(sys.base_prefix)
for path in [sysconfig.get_path('stdlib'), sysconfig.get_path('platstdlib'), *sys.path]:
    print(path)
";

/// What an interpreter says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// Its own file.
    pub file: PathBuf,
    /// Folders that it reads.
    pub reads: Vec<PathBuf>,
}

/// The arguments that make an interpreter print its own file, if it is one that version managers put a
/// shim before.
fn question(name: &str, file: &Path) -> Option<Vec<&'static str>> {
    let real = std::fs::canonicalize(file).ok()?;
    // Some shims are links to their manager, which looks at the name it is called by.
    let is_other = |own: &str| {
        let called = real.file_name().unwrap_or_default().to_string_lossy();
        is_script(file) || !called.starts_with(own)
    };
    match name {
        "python" | "python3" if is_script(file) || !is_system(&real) => {
            Some(vec!["-I", "-c", PYTHON])
        }
        "node" if is_other("node") => Some(vec!["-p", "process.execPath"]),
        "ruby" if is_other("ruby") => Some(vec!["-e", "puts RbConfig.ruby"]),
        _ => None,
    }
}

/// What is started to ask.
#[derive(Debug)]
pub(super) struct Interpreter {
    /// As the `PATH` leads to it.
    pub found: PathBuf,
    /// Itself, where that is plain to see.
    behind: Option<PathBuf>,
    /// The same for those that give the same answer.
    pub identity: PathBuf,
}

impl Interpreter {
    /// Behind a program on the `PATH`.
    pub(super) fn of(file: &Path, env: &BTreeMap<String, String>) -> Self {
        // In forge's own working directory: version managers look there for the project's version.
        let here = std::env::current_dir().unwrap_or_default();
        let behind = pyenv::behind(file, env, &here);
        // `python` and `python3` beside each other are links to the same.
        let linked = behind.as_deref().and_then(|behind| {
            let real = std::fs::canonicalize(behind).ok()?;
            Some(behind.with_file_name(real.file_name()?))
        });
        Self {
            found: file.to_owned(),
            behind,
            identity: linked.unwrap_or_else(|| file.to_owned()),
        }
    }

    /// What can be said without asking: the file of one that is no shim.
    fn plain(&self) -> Option<Answer> {
        let itself = || {
            let real = std::fs::canonicalize(&self.found).ok()?;
            let called = real.file_name()?.to_str()?.starts_with("python");
            (called && !is_script(&real)).then(|| self.found.clone())
        };
        Some(Answer {
            file: self.behind.clone().or_else(itself)?,
            reads: Vec::new(),
        })
    }

    /// Asks, where there is something to ask. One that nobody calls is not asked: then it is what it is plain to be.
    pub(super) async fn ask(
        &self,
        name: &str,
        path: &str,
        env: &BTreeMap<String, String>,
        is_called: impl Fn() -> bool,
    ) -> Option<Answer> {
        let arguments = question(name, &self.found)?;
        if !is_called() {
            return self.plain();
        }
        let file = self.behind.as_deref().unwrap_or(&self.found);
        let asked = tokio::process::Command::new(file)
            .args(arguments)
            .env_clear()
            .envs(env)
            .env("PATH", path)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .output();
        let answer = tokio::time::timeout(SHIM_LIMIT, asked).await.ok()?.ok()?;
        if !answer.status.success() {
            return None;
        }
        let text = String::from_utf8(answer.stdout).ok()?;
        let mut lines = text.lines().map(PathBuf::from);
        let file = lines.next()?;
        (file.is_absolute() && is_executable(&file)).then(|| Answer {
            file,
            reads: lines.filter(|path| path.is_absolute()).collect(),
        })
    }
}
