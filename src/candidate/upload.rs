//! Which files of a candidate's folder are uploaded.
//!
//! Promises: what tools leave behind and what `.forgeignore` names is not; what `.gitignore` names is, because
//! a build's result may be what starts, unless the folder cannot be taken with it: then it is left out, and
//! that is said.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::ignored::{Ignored, litter};
use crate::name::RelativePath;
use crate::problem::{Problem, Problems};
use crate::suggest;
use crate::tree::{Folder, Obstacle, TreeFile, reason};

/// How many of the things left out are named.
const NAMED: usize = 5;

/// The files of a candidate's folder, with paths below it, and what is to be said of what is not among them.
///
/// # Errors
/// [`Problems`]: what is there and cannot be uploaded.
pub(super) fn files(
    shown: &Path,
    folder: &Folder,
    path: &RelativePath,
    rules: &Ignored,
) -> Result<(Vec<TreeFile>, Option<String>), Problems> {
    // Opened anew, so that no link of the candidate reaches another one's files.
    let own = folder.open_below(path).map_err(|error| {
        let message = format!("cannot read this folder: {}", reason(&error));
        Problem::file(shown, message)
    })?;
    let usual = |at: &Path, is_folder: bool| left_out(rules, at, is_folder);
    let obstacles = match own.walk(None, &usual) {
        Ok(files) => return Ok((files, None)),
        Err(obstacles) => obstacles,
    };
    let in_the_way: Vec<PathBuf> = obstacles
        .iter()
        .map(|obstacle| own.real().join(&obstacle.path))
        .collect();
    // First only what is in the way itself; the rest may be needed.
    for only_that in [true, false] {
        let without: RefCell<BTreeSet<PathBuf>> = RefCell::default();
        let skip = |at: &Path, is_folder: bool| {
            let named = !usual(at, is_folder)
                && rules.git(at, is_folder)
                && (!only_that || in_the_way.iter().any(|it| it.starts_with(at)));
            if named {
                without.borrow_mut().insert(at.to_owned());
            }
            named || usual(at, is_folder)
        };
        if let Ok(files) = own.walk(None, &skip) {
            let note = note(&without.borrow(), own.real(), &obstacles);
            return Ok((files, note));
        }
    }
    Err(Problems(
        obstacles.iter().map(|it| problem(shown, it)).collect(),
    ))
}

fn left_out(rules: &Ignored, at: &Path, is_folder: bool) -> bool {
    let junk = |at: &Path| {
        let name = at.file_name().unwrap_or_default().to_string_lossy();
        litter::is_of_a_tool(at) || (!is_folder && litter::is_junk(&name))
    };
    rules.forge(at, is_folder).unwrap_or_else(|| junk(at))
}

fn note(without: &BTreeSet<PathBuf>, real: &Path, obstacles: &[Obstacle]) -> Option<String> {
    let first = obstacles.first()?;
    let names = without.iter().map(|path| {
        let path = path.strip_prefix(real).unwrap_or(path);
        crate::plain::short(&path.to_string_lossy(), 60)
    });
    let mut names: Vec<String> = names.collect();
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    let more = match more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let why = match first.path.as_str() {
        "." => format!("the folder {}", first.message),
        path => format!("`{}` {}", crate::plain::short(path, 60), first.message),
    };
    let names = suggest::list(names.iter().map(String::as_str));
    Some(format!(
        "not uploaded, because `.gitignore` names it and {why}: {names}{more}"
    ))
}

fn problem(shown: &Path, obstacle: &Obstacle) -> Problem {
    let file = if obstacle.path == "." {
        shown.to_owned()
    } else {
        shown.join(&obstacle.path)
    };
    let whole = "a candidate is uploaded whole:";
    let hint = if obstacle.largest.is_empty() {
        format!("{whole} remove or replace it, or name it in `.forgeignore`")
    } else {
        format!(
            "{whole} name what it does not need in `{}`; largest are {}",
            shown.join(crate::ignored::FORGEIGNORE).display(),
            obstacle.largest.join(", ")
        )
    };
    Problem::file(file, format!("it {}", obstacle.message)).with_hint(hint)
}
