//! Files beside a candidate that tell other tools what it needs, and forge nothing: so that it is said.

use std::path::Path;

use super::dependencies::{Beside, Declared, extension, find_beside};
use super::runtime::Ecosystem;
use crate::problem::Problem;
use crate::quantity::ByteCount;
use crate::tree::{TreeFile, read_text};

/// A file that other tools read, and the word in a setup line that says that one of them does.
const OF_PYTHON: [(&str, &str); 11] = [
    ("uv.lock", "uv"),
    ("poetry.lock", "poetry"),
    ("pdm.lock", "pdm"),
    ("pylock.toml", "pip"),
    ("Pipfile", "pipenv"),
    ("Pipfile.lock", "pipenv"),
    ("environment.yml", "conda"),
    ("environment.yaml", "conda"),
    ("setup.py", "pip"),
    (".tool-versions", "asdf"),
    ("mise.toml", "mise"),
];
const OF_NODE: [(&str, &str); 6] = [
    ("pnpm-lock.yaml", "pnpm"),
    ("yarn.lock", "yarn"),
    ("bun.lock", "bun"),
    ("bun.lockb", "bun"),
    (".tool-versions", "asdf"),
    ("mise.toml", "mise"),
];
/// The same for scripts of other kinds, by their extension.
const OF_OTHERS: [(&str, &str, &str); 5] = [
    ("rb", "Gemfile", "bundle"),
    ("php", "composer.json", "composer"),
    ("pl", "cpanfile", "cpan"),
    ("r", "renv.lock", "renv"),
    ("jl", "Project.toml", "julia"),
];
/// Files with a version of Node in them.
const NODE_VERSIONS: [&str; 2] = [".node-version", ".nvmrc"];

/// What a candidate declared and forge does not honour, each a sentence.
///
/// # Errors
/// [`Problem`] of a file that is there and is none that may be read.
pub(super) fn notes(
    shown: &Path,
    setup: &[String],
    entry: Option<&TreeFile>,
    own: &[TreeFile],
    beside: &Beside<'_>,
    declared: &Declared,
) -> Result<Vec<String>, Problem> {
    let find = |name: &str| find_beside(shown, name, entry, own, beside);
    let mut notes = declared.unread.clone();
    let ecosystem = |wanted| declared.ecosystem.is_none_or(|it| it == wanted);
    let (python, node) = (ecosystem(Ecosystem::Python), ecosystem(Ecosystem::Node));
    let mut files: Vec<(&str, &str)> = Vec::new();
    if python {
        files.extend(OF_PYTHON);
    }
    if node {
        files.extend(OF_NODE);
        if find("package.json")?.is_none() {
            files.push(("package-lock.json", "npm"));
        }
    }
    let kind = entry.map_or("", |file| extension(&file.path));
    files.extend(
        OF_OTHERS
            .iter()
            .filter(|(of, ..)| kind.eq_ignore_ascii_case(of))
            .map(|(_, file, tool)| (*file, *tool)),
    );
    files.dedup();
    for (at, (file, tool)) in files.iter().enumerate() {
        let before = files[..at].iter().any(|(other, _)| other == file);
        if !before && !is_used(setup, file, tool) && find(file)?.is_some() {
            notes.push(format!("`{file}` is not read: {}", declared.installed));
        }
    }
    for name in NODE_VERSIONS {
        if node && let Some(file) = find(name)? {
            let text = read_text(&file.from, ByteCount::kib(4)).unwrap_or_default();
            let version = text.split_whitespace().next().unwrap_or("nothing");
            notes.push(format!(
                "`{name}` says {}; forge takes the Node that is there, and does not compare",
                crate::plain::short(version, 40)
            ));
        }
    }
    Ok(notes)
}

/// Whether a setup line of the candidate's own seems to read a file.
fn is_used(setup: &[String], file: &str, tool: &str) -> bool {
    setup.iter().any(|line| {
        let mut words = line.split(|c: char| !(c.is_alphanumeric() || c == '.' || c == '-'));
        line.contains(file) || words.any(|word| word == tool)
    })
}
