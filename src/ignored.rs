//! What is left out of the user's folders: what `.forgeignore` and `.gitignore` name, and what tools leave
//! behind, which is in [`litter`].
//!
//! Promises: the syntax and the precedence are git's, the file that is nearer to an entry wins, and what
//! `.forgeignore` says goes before what `.gitignore` says. Read are the files of a folder, of what is below
//! it, and of those above it up to the repository's, else up to the folder that it is in. A `.gitignore` that
//! names the folder itself says nothing about what is in it: that folder was asked for. No link is followed
//! further than to a regular file; nothing is written.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::problem::{Problem, Problems};
use crate::quantity::ByteCount;
use crate::tree::read_text;

pub mod litter;

/// The file in which a project says what forge leaves out.
pub const FORGEIGNORE: &str = ".forgeignore";
const GITIGNORE: &str = ".gitignore";
/// A larger one is not read.
const MAX_BYTES: ByteCount = ByteCount::mib(1);

/// The rules that hold in a folder and below it.
#[derive(Debug)]
pub struct Ignored {
    /// The highest folder whose files are read.
    top: PathBuf,
    /// The highest whose `.gitignore` is.
    git_top: PathBuf,
    read: RefCell<BTreeMap<PathBuf, Rc<Level>>>,
    problems: RefCell<Problems>,
}

/// The rules of one folder's own files.
#[derive(Debug)]
struct Level {
    forge: Gitignore,
    git: Gitignore,
}

impl Ignored {
    /// The rules for a folder, which need not exist.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        let folder = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        };
        let folder = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        let repository = folder.ancestors().find(|it| it.join(".git").exists());
        let parent = folder.parent().unwrap_or(&folder);
        let top = repository.unwrap_or(parent).to_owned();
        let mut rules = Self {
            git_top: top.clone(),
            top,
            read: RefCell::default(),
            problems: RefCell::default(),
        };
        let above = folder.ancestors();
        let mut above = above.take_while(|it| it.starts_with(&rules.top) && *it != rules.top);
        if above.any(|it| rules.is_named(it, true, &rules.top, |level| &level.git) == Some(true)) {
            rules.git_top = folder;
        }
        rules
    }

    /// What `.forgeignore` says of an entry: that it is left out, or that it is not, whatever else says so.
    /// `path` is its real path.
    #[must_use]
    pub fn forge(&self, path: &Path, is_folder: bool) -> Option<bool> {
        self.is_named(path, is_folder, &self.top, |level| &level.forge)
    }

    /// Whether `.gitignore` names an entry, and `.forgeignore` does not want it all the same.
    #[must_use]
    pub fn git(&self, path: &Path, is_folder: bool) -> bool {
        self.forge(path, is_folder) != Some(false)
            && self.is_named(path, is_folder, &self.git_top, |level| &level.git) == Some(true)
    }

    /// What is wrong in the `.forgeignore` files that were read until now.
    #[must_use]
    pub fn problems(&self) -> Problems {
        self.problems.borrow().clone()
    }

    fn is_named(
        &self,
        path: &Path,
        is_folder: bool,
        top: &Path,
        which: impl Fn(&Level) -> &Gitignore,
    ) -> Option<bool> {
        let folders = path.ancestors().skip(1);
        for folder in folders.take_while(|it| it.starts_with(top)) {
            let level = self.level(folder);
            let found = which(&level).matched(path, is_folder);
            if found.is_ignore() {
                return Some(true);
            }
            if found.is_whitelist() {
                return Some(false);
            }
        }
        None
    }

    fn level(&self, folder: &Path) -> Rc<Level> {
        if let Some(level) = self.read.borrow().get(folder) {
            return Rc::clone(level);
        }
        let (forge, wrong) = rules(folder, FORGEIGNORE);
        self.problems.borrow_mut().0.extend(wrong);
        // What git makes of it is git's to say.
        let (git, _) = rules(folder, GITIGNORE);
        let level = Rc::new(Level { forge, git });
        let mut read = self.read.borrow_mut();
        read.insert(folder.to_owned(), Rc::clone(&level));
        level
    }
}

/// Whether something is a folder, or a link to one.
#[must_use]
pub fn is_folder(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|data| data.is_dir())
}

/// The rules of one file, and what is wrong with it.
fn rules(folder: &Path, name: &str) -> (Gitignore, Vec<Problem>) {
    let file = folder.join(name);
    if std::fs::symlink_metadata(&file).is_err() {
        return (Gitignore::empty(), Vec::new());
    }
    let text = match read_text(&file, MAX_BYTES) {
        Ok(text) => text,
        Err(problem) => return (Gitignore::empty(), vec![problem]),
    };
    let mut wrong = Vec::new();
    let mut rules = GitignoreBuilder::new(folder);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    for (number, line) in text.lines().enumerate() {
        if let Err(error) = rules.add_line(None, line) {
            let shown = crate::plain::short(line, 60);
            let mut problem = Problem::file(&file, format!("`{shown}` is no pattern: {error}"))
                .with_hint("the syntax is that of `.gitignore`; a `\\` takes a character as it is");
            problem.at = Some((number + 1, 1));
            wrong.push(problem);
        }
    }
    match rules.build() {
        Ok(rules) => (rules, wrong),
        Err(error) => {
            wrong.push(Problem::file(
                &file,
                format!("cannot use these patterns: {error}"),
            ));
            (Gitignore::empty(), wrong)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Says of each path whether it is left out by `.forgeignore`, wanted by it, or left out by git.
    fn said(files: &[(&str, &str)], paths: &[&str]) -> Vec<&'static str> {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files
            .iter()
            .copied()
            .chain(paths.iter().map(|path| (*path, "")))
        {
            let path = dir.path().join(path);
            if path.to_str().unwrap().ends_with('/') {
                fs::create_dir_all(&path).unwrap();
                continue;
            }
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let root = fs::canonicalize(dir.path()).unwrap();
        let rules = Ignored::of(&root.join("p/candidates"));
        let said = paths.iter().map(|path| {
            let path = root.join(path.trim_end_matches('/'));
            let folder = is_folder(&path);
            match (rules.forge(&path, folder), rules.git(&path, folder)) {
                (Some(true), _) => "forge",
                (Some(false), _) => "wanted",
                (None, true) => "git",
                (None, false) => "kept",
            }
        });
        said.collect()
    }

    #[test]
    fn the_nearest_file_wins_and_forges_own_goes_first() {
        let paths = [
            "p/candidates/a.py",
            "p/candidates/b.py",
            "p/candidates/c.py",
            "p/candidates/build/",
            "p/candidates/f/data.json",
            "p/candidates/f/x.log",
            "p/candidates/f/keep.log",
            "p/candidates/sub/b.py",
        ];
        let files = [
            ("p/.gitignore", "*.log\nbuild/\n/candidates/c.py\n"),
            ("p/.forgeignore", "a.py\n# b.py\n"),
            ("p/candidates/.gitignore", "/b.py\n"),
            ("p/candidates/.forgeignore", "!c.py\n"),
            ("p/candidates/f/.gitignore", "*.json\n!keep.log\n"),
        ];
        assert_eq!(
            said(&files, &paths),
            [
                "forge", "git", "wanted", "git", "git", "git", "kept", "kept"
            ]
        );
    }

    #[test]
    fn rules_come_from_the_repository_or_from_the_folder_above() {
        let paths = ["p/candidates/a.py"];
        let far = (".gitignore", "*.py\n");
        assert_eq!(said(&[far], &paths), ["kept"]);
        assert_eq!(said(&[far, (".git/HEAD", "")], &paths), ["git"]);
        let nested = [far, (".git/HEAD", ""), ("p/.git", "gitdir: x")];
        assert_eq!(said(&nested, &paths), ["kept"]);
    }

    #[test]
    fn a_folder_that_git_ignores_was_asked_for_all_the_same() {
        let paths = ["p/candidates/a.py", "p/candidates/b.py"];
        for rule in ["candidates/\n", "*\n", "/candidates\n"] {
            let files = [("p/.gitignore", rule), ("p/candidates/.gitignore", "b.py")];
            assert_eq!(said(&files, &paths), ["kept", "git"], "{rule}");
        }
        let files = [(".git/HEAD", ""), (".gitignore", "/p/")];
        assert_eq!(said(&files, &paths[..1]), ["kept"]);
    }

    #[test]
    fn what_is_no_pattern_is_told_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FORGEIGNORE), "\u{feff}ok\n\n{a,b\n[z-a]\n").unwrap();
        fs::write(dir.path().join(GITIGNORE), "[z-a]\n").unwrap();
        let rules = Ignored::of(dir.path());
        let root = fs::canonicalize(dir.path()).unwrap();
        assert_eq!(rules.forge(&root.join("ok"), false), Some(true));
        let told = rules.problems().to_string();
        assert!(
            told.contains(".forgeignore:3:1: `{a,b` is no pattern"),
            "{told}"
        );
        assert!(
            told.contains(".forgeignore:4:1: `[z-a]` is no pattern"),
            "{told}"
        );
        assert_eq!(told.matches("error: ").count(), 2, "{told}");
    }
}
