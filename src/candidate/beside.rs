//! What lies in `candidates/` beside the candidates, and is passed by.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{runtime, unread};
use crate::ignored::{Ignored, is_folder, litter};

/// What builds the image of a folder's containers, and as an extension, that of a script's beside it.
pub(super) const DOCKERFILE: &str = "Dockerfile";

/// How many entries of a folder are looked at to see whether it holds anything.
const LOOKED_AT: usize = 1000;

/// Whether an entry may be a candidate, before anybody looks into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passed {
    /// It may be one.
    No,
    /// It is something that is known to be none.
    AsLitter,
    /// `.forgeignore` names it.
    ByForge,
    /// `.gitignore` names it.
    ByGit,
}

/// Whether an entry is passed by; `real` is its path.
pub(super) fn passed(rules: &Ignored, real: &Path) -> Passed {
    let is_folder = is_folder(real);
    match rules.forge(real, is_folder) {
        Some(true) => Passed::ByForge,
        None if is_litter(real, is_folder) => Passed::AsLitter,
        None if rules.git(real, is_folder) => Passed::ByGit,
        Some(false) | None => Passed::No,
    }
}

fn is_litter(real: &Path, is_folder: bool) -> bool {
    let name = real.file_name().unwrap_or_default().to_string_lossy();
    if is_folder {
        litter::is_of_a_tool(real) || holds_only_litter(real)
    } else {
        // Made by tools so that Python finds the scripts; it does nothing.
        litter::is_of_a_tool(real) || litter::is_leftover(&name) || name == "__init__.py"
    }
}

/// Whether a folder is what is left of a candidate that was there: caches and the like, and nothing else.
fn holds_only_litter(real: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(real) else {
        return false;
    };
    let mut all = entries.take(LOOKED_AT).peekable();
    all.peek().is_some()
        && all.all(|entry| {
            entry.is_ok_and(|entry| {
                let name = entry.file_name();
                litter::is_of_a_tool(&entry.path()) || litter::is_leftover(&name.to_string_lossy())
            })
        })
}

/// Whether a file is a document, or one that says what programs need, and no program.
pub(super) fn is_no_program(name: &str, extension: &str) -> bool {
    let is_script = runtime::for_extension(extension).is_some();
    if extension.eq_ignore_ascii_case(DOCKERFILE) {
        return true;
    }
    name.to_ascii_uppercase().starts_with("README")
        || (!is_script && (litter::is_document(name) || unread::is_known(name)))
}

/// Whether an entry would be a candidate, as far as that is seen from outside.
pub(super) fn looks_startable(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_owned();
    if is_folder(path) {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        return entries.take(LOOKED_AT).any(|entry| {
            let stem = stem(&entry.path());
            ["main", "agent", "candidate", &name]
                .iter()
                .any(|it| stem == **it)
        });
    }
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    let executable = std::fs::metadata(path)
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0);
    !is_no_program(&name, &extension)
        && (executable || runtime::for_extension(&extension).is_some())
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::super::Candidate;
    use super::super::load::{load_dir, load_dir_and_tell};

    /// A project of these files; those whose text starts with `#!` are
    /// executable, and those whose text starts with `->` are links.
    pub(in crate::candidate) fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if let Some(target) = text.strip_prefix("->") {
                symlink(target, &path).unwrap();
                continue;
            }
            fs::write(&path, text).unwrap();
            if text.starts_with("#!") {
                fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
            }
        }
        dir
    }

    fn loaded(files: &[(&str, &str)]) -> Result<Vec<Candidate>, String> {
        let dir = project(files);
        load_dir(&dir.path().join("candidates"), &[]).map_err(|it| it.to_string())
    }

    #[track_caller]
    fn check(files: &[(&str, &str)], expected: &[&str]) {
        let all = loaded(files).unwrap();
        let names: Vec<&str> = all.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, expected, "{files:?}");
    }

    const A: (&str, &str) = ("candidates/a.py", "x");

    #[test]
    fn what_editors_systems_and_tools_leave_is_passed_by() {
        for (file, text) in [
            ("a.py~", "#!/bin/sh"),
            ("a.py.bak", "#!/bin/sh"),
            ("run.sh.orig", "#!/bin/sh"),
            ("a.rej", "x"),
            ("a.py.tmp", "x"),
            ("#a.py#", "x"),
            (".#a.py", "->me@host.1:2"),
            ("._a.py", "x"),
            (".a.py.swp", "x"),
            ("a.py.swo", "x"),
            (".DS_Store", "x"),
            ("Thumbs.db", "x"),
            ("desktop.ini", "x"),
            ("__init__.py", ""),
            ("__pycache__/a.pyc", "x"),
            (".gitkeep", ""),
            (".env", "A=b"),
            (".git/HEAD", "x"),
            (".idea/workspace.xml", "x"),
            ("LICENSE", "#!x"),
            ("LICENSE-MIT", "x"),
            ("README.rst", "x"),
            ("Makefile", "x"),
            ("Dockerfile", "x"),
            ("uv.lock", "x"),
            ("Pipfile", "x"),
            ("Gemfile", "x"),
            ("pnpm-lock.yaml", "x: 1"),
            ("docker-compose.yml", "x: 1"),
            ("data.csv", "x"),
            ("run.log", "x"),
            ("venv/pyvenv.cfg", "home = /usr/bin"),
            ("my-env/pyvenv.cfg", "home = /usr/bin"),
            ("conda/conda-meta/history", ""),
            ("node_modules", "->/usr"),
            // A candidate that another branch has.
            ("gone/__pycache__/main.pyc", "x"),
        ] {
            check(&[A, (&format!("candidates/{file}"), text)], &["a"]);
        }
        // A virtual environment elsewhere.
        let there = project(&[("pyvenv.cfg", "home = /usr/bin")]);
        let link = format!("->{}", there.path().display());
        check(&[A, ("candidates/venv", &link)], &["a"]);
    }

    #[test]
    fn what_is_unknown_is_still_an_error_with_what_to_do() {
        for (file, text) in [
            ("a.pyy", "x"),
            ("noext", "x"),
            ("b/data.bin", "x"),
            ("b.yaml", "name: x"),
            ("out.py", "->/etc/hosts"),
            ("b b.py", "x"),
        ] {
            let path = format!("candidates/{file}");
            let told = loaded(&[A, (&path, text)]).unwrap_err();
            assert_eq!(told.matches("error: ").count(), 1, "{told}");
            assert!(
                file == "b.yaml" || told.contains("`.forgeignore`"),
                "{told}"
            );
            for rule in [file.split('/').next().unwrap(), "*.*\n!a.py\nnoext\nb\n"] {
                check(
                    &[A, (&path, text), ("candidates/.forgeignore", rule)],
                    &["a"],
                );
                check(&[A, (&path, text), ("candidates/.gitignore", rule)], &["a"]);
                check(&[A, (&path, text), (".forgeignore", rule)], &["a"]);
            }
        }
    }

    #[test]
    fn what_only_git_ignores_and_would_run_is_said() {
        let files = [
            A,
            ("candidates/wip.py", "x"),
            ("candidates/wip.yaml", "description: x"),
            ("candidates/build/x.o", "x"),
            ("candidates/folder/main.sh", "x"),
            ("candidates/program", "#!/bin/sh"),
            ("candidates/notes.xyz", "x"),
            ("candidates/quiet.py", "x"),
            ("candidates/b.bak", "#!/bin/sh"),
            (
                ".gitignore",
                "wip.py\nbuild/\nfolder\nprogram\n*.xyz\nquiet.py",
            ),
            ("candidates/.forgeignore", "quiet.py\n!b.bak"),
        ];
        check(&files, &["a", "b"]);
        let dir = project(&files);
        let candidates = dir.path().join("candidates");
        let mut said = Vec::new();
        load_dir_and_tell(&candidates, &[], &mut said).unwrap();
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(
            said[0].contains("candidates/folder` is no candidate, because `.gitignore` names it")
        );
        assert!(said[1].contains("candidates/program` is no"), "{said:?}");
        assert!(said[2].contains("`!/wip.py` in `"), "{said:?}");
        let named = load_dir(&candidates, &["wip".to_owned()]).unwrap_err();
        assert!(
            named.to_string().contains("takes it all the same"),
            "{named}"
        );
        fs::write(candidates.join(".forgeignore"), "!/wip.py\n!b.bak").unwrap();
        let all = load_dir(&candidates, &[]).unwrap();
        assert_eq!(all.len(), 3, "{all:?}");
        fs::remove_file(candidates.join(".forgeignore")).unwrap();
        fs::write(dir.path().join(".gitignore"), "*.py\n").unwrap();
        for folder in ["build", "folder"] {
            fs::remove_dir_all(candidates.join(folder)).unwrap();
        }
        for file in ["notes.xyz", "program", "b.bak"] {
            fs::remove_file(candidates.join(file)).unwrap();
        }
        let none = load_dir(&candidates, &[]).unwrap_err().to_string();
        assert!(none.contains("because `.gitignore` names it"), "{none}");
    }

    #[test]
    fn a_candidates_folder_is_uploaded_without_what_tools_leave() {
        let there = project(&[("pyvenv.cfg", "home = /usr/bin")]);
        let link = format!("->{}", there.path().display());
        let files = [
            ("candidates/a/main.py", "x"),
            ("candidates/a/main.py~", "#!/bin/sh"),
            ("candidates/a/main.bak", "#!/bin/sh"),
            ("candidates/a/.#main.py", "->me@host.1:2"),
            ("candidates/a/._main.py", "x"),
            ("candidates/a/lib/.DS_Store", "x"),
            ("candidates/a/env/pyvenv.cfg", "home = /usr/bin"),
            ("candidates/a/env/bin/python", "->/usr/bin/python3"),
            ("candidates/a/venv", &link),
            ("candidates/a/node_modules", "->/usr"),
            ("candidates/a/.vscode/x", "x"),
            ("candidates/a/dist/out.js", "x"),
            ("candidates/a/.env", "x"),
            ("candidates/a/secret.txt", "x"),
            ("candidates/a/__init__.py", ""),
            ("candidates/a/.gitignore", "dist/\n.env\n"),
            ("candidates/a/lib/.forgeignore", "/big*\n"),
            ("candidates/a/lib/big.bin", "x"),
            (".forgeignore", "secret.*\n"),
        ];
        let all = loaded(&files).unwrap();
        let paths: Vec<&str> = all[0].files.iter().map(|it| it.path.as_str()).collect();
        let expected = [
            ".env",
            ".gitignore",
            "__init__.py",
            "dist/out.js",
            "lib/.forgeignore",
            "main.bak",
            "main.py",
        ];
        assert_eq!(paths, expected);
        assert!(all[0].notes.is_empty(), "{:?}", all[0].notes);
        assert_eq!(all[0].start.entry, ["main.py"]);
    }

    #[test]
    fn what_git_ignores_in_a_candidate_gives_way_only_where_it_is_in_the_way() {
        let files = [
            ("candidates/a/main.py", "x"),
            ("candidates/a/data.json", "x"),
            ("candidates/a/dist/link", "->/etc/hosts"),
            ("candidates/a/.gitignore", "dist/\ndata.json\n"),
        ];
        let all = loaded(&files).unwrap();
        let paths: Vec<&str> = all[0].files.iter().map(|it| it.path.as_str()).collect();
        assert_eq!(paths, [".gitignore", "data.json", "main.py"]);
        assert_eq!(
            all[0].notes,
            [
                "not uploaded, because `.gitignore` names it and `dist/link` is a link that leads out of its folder: `dist`"
            ]
        );
        let other = ("candidates/a/other", "->/etc/hosts");
        let told = loaded(&[&files[..], &[other]].concat()).unwrap_err();
        assert_eq!(told.matches("error: ").count(), 2, "{told}");
        let wrong = ("candidates/a/.forgeignore", "ok\n[z-a]\n");
        let told = loaded(&[files[0], wrong]).unwrap_err();
        assert!(
            told.contains("a/.forgeignore:2:1: `[z-a]` is no pattern"),
            "{told}"
        );
    }

    #[test]
    fn a_folder_that_is_too_much_is_taken_without_what_git_ignores() {
        let dir = project(&[
            ("candidates/a/main.py", "x"),
            ("candidates/a/cache/x", "x"),
            (".gitignore", "cache/\n"),
        ]);
        let huge = fs::File::create(dir.path().join("candidates/a/cache/huge")).unwrap();
        huge.set_len(2 << 30).unwrap();
        let all = load_dir(&dir.path().join("candidates"), &[]).unwrap();
        let paths: Vec<&str> = all[0].files.iter().map(|it| it.path.as_str()).collect();
        assert_eq!(paths, ["main.py"]);
        let note = &all[0].notes[0];
        assert!(
            note.contains("brings the folder over 1 GiB: `cache`"),
            "{note}"
        );
    }
}
