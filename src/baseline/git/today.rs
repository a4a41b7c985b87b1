//! How today's candidates differ from what git has of them: what is compared is the work tree, and a commit.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt as _;

use super::{NAMED, Place, no_answer};
use crate::candidate::Candidate;
use crate::name::CandidateName;
use crate::problem::Problem;
use crate::suggest;

/// What today's candidates have and git has not.
#[derive(Debug, Default)]
pub(super) struct Unlike {
    /// What is changed, new or deleted and not committed.
    pub(super) uncommitted: Vec<String>,
    /// Files that git ignores and that candidates have.
    pub(super) ignored: BTreeMap<CandidateName, Vec<String>>,
}

impl Unlike {
    /// What is to be said of that beside candidates of `version`.
    pub(super) fn remarks(&self, version: &str) -> Vec<String> {
        let mut remarks = Vec::new();
        if !self.uncommitted.is_empty() {
            remarks.push(format!(
                "today's candidates have uncommitted changes: {}",
                some(&self.uncommitted)
            ));
        }
        for (name, files) in &self.ignored {
            remarks.push(format!(
                "git ignores {}, which `{name}` has today: `{name}@{version}` is without",
                some(files)
            ));
        }
        remarks
    }
}

/// Compares today's candidates with what git has in the work tree.
pub(super) fn unlike(place: &Place, today: &[Candidate]) -> Result<Unlike, Problem> {
    let mut of: BTreeMap<Vec<u8>, BTreeSet<&CandidateName>> = BTreeMap::new();
    for candidate in today {
        let settings = candidate.settings.as_deref();
        let settings = settings.and_then(|file| file.canonicalize().ok());
        let files = candidate.files.iter().map(|file| file.from.clone());
        for file in files.chain(settings) {
            if let Ok(below) = file.strip_prefix(&place.root) {
                let below = below.as_os_str().as_bytes().to_vec();
                of.entry(below).or_default().insert(&candidate.name);
            }
        }
    }
    let mut unlike = Unlike {
        uncommitted: uncommitted(place, &of)?,
        ..Unlike::default()
    };
    for path in ignored(place, of.keys())? {
        let shown = String::from_utf8_lossy(&path).into_owned();
        for name in of.get(&path).into_iter().flatten() {
            let of_name = unlike.ignored.entry((*name).clone()).or_default();
            of_name.push(shown.clone());
        }
    }
    Ok(unlike)
}

fn some(all: &[String]) -> String {
    let shown: Vec<String> = all
        .iter()
        .take(NAMED)
        .map(|name| crate::plain::short(name, 80))
        .collect();
    let named = suggest::list(shown.iter().map(String::as_str));
    match all.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// What is changed, new or deleted in the folder and is, or was, of a candidate.
fn uncommitted(
    place: &Place,
    of: &BTreeMap<Vec<u8>, BTreeSet<&CandidateName>>,
) -> Result<Vec<String>, Problem> {
    let mut arguments = vec!["status", "--porcelain=v1", "-z", "--no-renames"];
    arguments.extend(["--untracked-files=all", "--ignore-submodules=none"]);
    if !place.folder.is_empty() {
        arguments.extend(["--", &place.folder]);
    }
    let listed = place.git.ask(arguments).map_err(|no| no_answer(&no))?;
    let records = listed.split(|byte| *byte == 0).filter(|it| it.len() > 3);
    let relevant = records.filter(|it| it[..2].contains(&b'D') || of.contains_key(&it[3..]));
    Ok(relevant
        .map(|it| String::from_utf8_lossy(&it[3..]).into_owned())
        .collect())
}

/// Which of these paths git neither has nor wants.
fn ignored<'a>(
    place: &Place,
    paths: impl Iterator<Item = &'a Vec<u8>>,
) -> Result<Vec<Vec<u8>>, Problem> {
    let mut input = Vec::new();
    for path in paths {
        // A name that begins with a colon would say something else.
        input.extend(b"./");
        input.extend(path);
        input.push(0);
    }
    if input.is_empty() {
        return Ok(Vec::new());
    }
    let arguments = ["check-ignore", "-z", "--stdin"];
    let listed = place.git.search_in(arguments, &input);
    let listed = listed.map_err(|no| no_answer(&no))?;
    let records = listed.split(|byte| *byte == 0);
    let paths = records.filter_map(|it| it.strip_prefix(b"./"));
    Ok(paths.map(<[u8]>::to_vec).collect())
}
