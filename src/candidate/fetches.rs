//! What a candidate's setup fetches from the network, as far as that is plain to see. Pure but for reading
//! the candidate's own lists of packages.

use super::addresses::is_beside;
use super::{Candidate, Dependencies};
use crate::name::RelativePath;
use crate::quantity::ByteCount;
use crate::tree::read_text;

/// The largest list of packages that is looked at.
const LIST: ByteCount = ByteCount::mib(1);
/// Programs that fetch, and the words after which they do; none where they always do.
const FETCHING: [(&str, &[&str]); 21] = [
    ("curl", &[]),
    ("wget", &[]),
    ("npx", &[]),
    ("uvx", &[]),
    ("git", &["clone", "fetch", "pull", "submodule"]),
    ("pip", &["install", "download"]),
    ("pip3", &["install", "download"]),
    ("python3", &["pip"]),
    ("python", &["pip"]),
    ("uv", &["pip", "sync", "add", "tool"]),
    ("npm", &["install", "i", "ci"]),
    ("pnpm", &["install", "i", "add"]),
    ("yarn", &["install", "add"]),
    ("bun", &["install", "add"]),
    ("poetry", &["install", "add"]),
    ("go", &["get", "install", "build"]),
    ("gem", &["install"]),
    ("bundle", &["install"]),
    ("composer", &["install", "require"]),
    ("apt-get", &["install", "update"]),
    ("apk", &["add", "update"]),
];
/// Options by which they do not.
const OFFLINE: [&str; 3] = ["--no-index", "--offline", "--find-links"];

/// Something that a setup fetches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// What, as the beginning of a sentence: "`npm install`".
    pub what: String,
    /// Where that is said in the candidate's settings; empty when it is elsewhere.
    pub path: String,
    /// Whether it is bound to fail without the network.
    pub certain: bool,
}

impl Candidate {
    /// What of its setup needs a network, installers that work for it outside of the sandbox included.
    #[must_use]
    pub fn fetches(&self) -> Vec<Fetch> {
        let mut found = Vec::new();
        let of_packages = |what: &str, certain| Fetch {
            what: what.to_owned(),
            path: String::new(),
            certain,
        };
        match &self.dependencies {
            Dependencies::None => {}
            // What is kept from another run, or a folder of wheels, will do.
            Dependencies::PythonInline { listed_in, .. } => {
                let what = format!("installing the packages of {listed_in}");
                found.push(of_packages(&what, false));
            }
            Dependencies::PythonFile(file) => {
                let listed = self.read(file).unwrap_or_default();
                if listed.lines().any(is_requirement) {
                    let what = format!("`pip install -r {file}`");
                    found.push(of_packages(&what, false));
                }
            }
            Dependencies::Node { folder, locked } => {
                let package = match folder {
                    Some(folder) => format!("{folder}/package.json"),
                    None => "package.json".to_owned(),
                };
                let package = RelativePath::parse(&package).ok();
                let text = package.and_then(|package| self.read(&package));
                if text.is_some_and(|text| asks_a_registry(&text)) {
                    let verb = if *locked { "ci" } else { "install" };
                    found.push(of_packages(&format!("`npm {verb}`"), true));
                }
            }
        }
        let lines = self.setup.iter().enumerate();
        found.extend(lines.filter_map(|(index, line)| {
            let what = fetching(line)?;
            Some(Fetch {
                what: format!("`{}`", crate::plain::short(&what, 60)),
                path: format!("setup[{index}]"),
                certain: false,
            })
        }));
        found
    }

    fn read(&self, path: &RelativePath) -> Option<String> {
        let file = self.files.iter().find(|file| file.path == *path)?;
        read_text(&file.from, LIST).ok()
    }
}

/// Whether a line of a requirements file names a package, and no file.
fn is_requirement(line: &str) -> bool {
    let line = line.trim();
    line.starts_with(|c: char| c.is_ascii_alphanumeric()) && !line.contains("file:")
}

/// Whether a `package.json` names a package that is not in a folder beside it.
fn asks_a_registry(package: &str) -> bool {
    let Ok(package) = serde_json::from_str::<serde_json::Value>(package) else {
        return false;
    };
    let is_far = |version: &serde_json::Value| !is_beside(version.as_str().unwrap_or_default());
    ["dependencies", "devDependencies"].iter().any(|list| {
        let packages = package.get(list).and_then(serde_json::Value::as_object);
        packages.is_some_and(|packages| packages.values().any(is_far))
    })
}

/// The command of a shell line that fetches, if one does.
fn fetching(line: &str) -> Option<String> {
    let commands = line.split(['\n', ';', '|', '&', '(', ')', '{', '}']);
    commands.map(str::trim).find_map(|command| {
        let mut words = command
            .split_whitespace()
            .skip_while(|word| word.contains('=') || ["sudo", "exec", "then", "do"].contains(word));
        let program = words.next()?;
        let program = program.rsplit('/').next().unwrap_or(program);
        let (_, verbs) = FETCHING.iter().find(|(name, _)| *name == program)?;
        let rest: Vec<&str> = words.collect();
        let offline = |word: &&str| OFFLINE.iter().any(|it| word.starts_with(it));
        let named = verbs.is_empty() || rest.iter().any(|word| verbs.contains(word));
        (named && !rest.iter().any(offline)).then(|| command.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_fetches_is_recognised() {
        for (line, expected) in [
            ("pip install requests", Some("pip install requests")),
            ("python3 -m pip install x", Some("python3 -m pip install x")),
            ("cd x && npm ci", Some("npm ci")),
            (
                "A=b /usr/bin/curl -O http://x/y",
                Some("A=b /usr/bin/curl -O http://x/y"),
            ),
            (
                "make; git clone http://x/y z",
                Some("git clone http://x/y z"),
            ),
            ("pip install --no-index --find-links wheels x", None),
            ("python3 build.py", None),
            ("git init", None),
            ("npm run build", None),
            ("make", None),
            ("echo curl", None),
        ] {
            assert_eq!(fetching(line).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn packages_beside_are_not_fetched() {
        for (package, far) in [
            (r#"{"dependencies": {"a": "^1"}}"#, true),
            (r#"{"devDependencies": {"a": "github:x/y"}}"#, true),
            (
                r#"{"dependencies": {"a": "file:../a", "b": "link:./b"}}"#,
                false,
            ),
            (r#"{"type": "module"}"#, false),
            ("nonsense", false),
        ] {
            assert_eq!(asks_a_registry(package), far, "{package}");
        }
    }
}
