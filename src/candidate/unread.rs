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

/// Whether a file is one that tools read, by its name.
pub(super) fn is_known(name: &str) -> bool {
    let tools = OF_PYTHON.iter().chain(&OF_NODE).map(|(file, _)| *file);
    let others = OF_OTHERS.iter().map(|(_, file, _)| *file);
    tools
        .chain(others)
        .chain(NODE_VERSIONS)
        .any(|file| file == name)
}

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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::load::load_dir;
    use super::super::{Candidate, Dependencies};

    /// The only candidate of a folder of files; one whose text starts with `#!` is executable.
    fn one(files: &[(&str, &str)]) -> Candidate {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            if text.starts_with("#!") {
                let mode = std::fs::Permissions::from_mode(0o755);
                std::fs::set_permissions(&path, mode).unwrap();
            }
        }
        let mut all = load_dir(dir.path(), &[]).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    /// The notes contain these, in this order, and there is no other.
    #[track_caller]
    fn check(files: &[(&str, &str)], expected: &[&str]) {
        let notes = one(files).notes;
        let same = notes.iter().zip(expected);
        let same = same.filter(|(note, part)| note.contains(*part)).count();
        assert!(
            same == notes.len() && same == expected.len(),
            "{files:?}: {notes:#?}, not {expected:#?}"
        );
    }

    const MAIN: (&str, &str) = ("a/main.py", "x");

    #[test]
    fn what_is_declared_to_other_tools_only_is_said() {
        check(&[MAIN], &[]);
        check(&[MAIN, ("a/requirements.txt", "rich")], &[]);
        check(
            &[MAIN, ("a/poetry.lock", ""), ("a/.tool-versions", "")],
            &[
                "`poetry.lock` is not read: forge installs nothing",
                "`.tool-versions`",
            ],
        );
        check(
            &[
                MAIN,
                ("a/pyproject.toml", "[project]\ndependencies = ['rich']\n"),
                ("a/uv.lock", ""),
            ],
            &["`uv.lock` is not read: forge installs what `pyproject.toml` lists"],
        );
        check(
            &[
                MAIN,
                ("a/pyproject.toml", "[project]\ndependencies = ['rich']\n"),
                ("a/requirements.txt", ""),
                ("a/Pipfile.lock", ""),
            ],
            &[
                "the `dependencies` of `pyproject.toml` are not installed",
                "`Pipfile.lock` is not read: forge installs `requirements.txt`",
            ],
        );
        check(
            &[
                MAIN,
                ("a/uv.lock", ""),
                ("a/candidate.yaml", "setup: [uv sync]\n"),
            ],
            &[],
        );
        check(
            &[
                ("a/main.js", "x"),
                (
                    "a/package.json",
                    r#"{"dependencies": {"x": "1"}, "engines": {"node": ">=99"}}"#,
                ),
                ("a/pnpm-lock.yaml", ""),
                ("a/.nvmrc", "22\n"),
                ("a/uv.lock", ""),
            ],
            &[
                "`engines` of `package.json` asks for Node >=99",
                "`pnpm-lock.yaml` is not read: npm installs what `package.json` lists",
                "`.nvmrc` says 22",
            ],
        );
        check(
            &[("a/main.js", "x"), ("a/package-lock.json", "{}")],
            &["`package-lock.json` is not read"],
        );
        check(
            &[
                ("a/main.rb", "x"),
                ("a/Gemfile", ""),
                ("a/composer.json", ""),
            ],
            &["`Gemfile` is not read"],
        );
        check(
            &[("a/main.sh", "x"), ("a/.python-version", "3.12")],
            &["forge starts `bash main.sh`"],
        );
        check(
            &[
                MAIN,
                ("a/candidate.yaml", "run: [uv, run, main.py]\n"),
                ("a/uv.lock", ""),
                ("a/pyproject.toml", "[project]\ndependencies = ['rich']\n"),
            ],
            &[],
        );
    }

    #[test]
    fn which_python_is_asked_for_is_known_without_packages_too() {
        let block = "# /// script\n# requires-python = '>=3.12'\n# ///\n";
        let project = "[project]\nrequires-python = '>=3.10'\ndependencies = ['rich']\n";
        for (files, requires, pins) in [
            (&[("a.py", block)][..], ">=3.12", 0),
            (
                &[("a.py", block), (".python-version", "3.12\n")],
                ">=3.12",
                1,
            ),
            (&[MAIN, ("a/pyproject.toml", project)], ">=3.10", 0),
            (
                &[("a/main.py", block), ("a/pyproject.toml", project)],
                ">=3.12",
                0,
            ),
            (&[MAIN, ("a/.python-version", "3.13.0\n3.12\n")], "", 2),
            (&[("a.sh", "x"), (".python-version", "3.12\n")], "", 0),
        ] {
            let need = one(files).python;
            let range = need.requires.map(|range| range.to_string());
            assert_eq!(range.unwrap_or_default(), requires, "{files:?}");
            assert_eq!(need.pins.len(), pins, "{files:?}");
        }
        check(
            &[
                MAIN,
                ("a/pyproject.toml", "[project]\nrequires-python = '3.11'\n"),
            ],
            &["says \"3.11\", which is no range"],
        );
        check(
            &[MAIN, ("a/.python-version", "../3.11\n")],
            &["which forge does not know as a version"],
        );
    }

    #[test]
    fn an_executable_that_uv_or_python_would_run_gets_its_packages() {
        let block = "# /// script\n# dependencies = ['rich']\n# ///\n";
        let rich = Dependencies::PythonInline {
            packages: vec!["rich".to_owned()],
            listed_in: "its block",
        };
        for (line, dependencies, program) in [
            ("#!/usr/bin/env -S uv run --script", &rich, "python3"),
            ("#!/usr/bin/env python3", &rich, "python3"),
            ("#!/bin/sh", &Dependencies::None, "./a"),
        ] {
            let candidate = one(&[("a", &format!("{line}\n{block}"))]);
            assert_eq!(&candidate.dependencies, dependencies, "{line}");
            assert_eq!(candidate.start.programs[0][0], program, "{line}");
            assert!(candidate.notes.is_empty(), "{line}: {:?}", candidate.notes);
        }
        let plain = one(&[("a", "#!/usr/bin/env python3\nprint()\n")]);
        assert_eq!(plain.start.programs, [["./a"]]);
        check(
            &[("a", "#!/usr/bin/env -S uv run --with rich --script\n")],
            &["options for `uv run`"],
        );
    }

    #[test]
    fn the_line_ends_of_windows_are_told_where_they_matter() {
        let broken = |text: &str| one(&[("a", text)]).cannot_start;
        let why = broken("#!/bin/sh\r\nexit\r\n").unwrap();
        assert!(
            why.contains("CRLF") && why.contains("`/bin/sh\\r`"),
            "{why}"
        );
        assert!(
            broken("#!/usr/bin/env python3\r\n")
                .unwrap()
                .contains("`python3\\r`")
        );
        assert_eq!(broken("#!/bin/sh\nexit\r\n"), None);
        let mended = one(&[("a", "#!/bin/sh\r\n"), ("a.yaml", "setup: [dos2unix a]\n")]);
        assert_eq!(mended.cannot_start, None);
        check(
            &[("a.sh", "set -e\r\n")],
            &["which a shell takes for parts of words"],
        );
        check(&[("a.py", "import sys\r\n")], &[]);
    }

    #[test]
    fn imports_that_nothing_declared_brings_are_known() {
        let script = "import os, rich, own\nfrom lib.x import y\n";
        let files = [
            ("a/main.py", script),
            ("a/own.py", "import yaml"),
            ("a/lib/x.py", ""),
        ];
        let imports: Vec<String> = one(&files).imports.into_iter().collect();
        assert_eq!(imports, ["rich", "yaml"]);
        let declared = one(&[("a.py", script), ("requirements.txt", "rich")]);
        assert!(declared.imports.is_empty());
    }
}
