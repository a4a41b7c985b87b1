//! The history made again from the runs that are there.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::file::{Held, Key, Parsed, parse, scan};
use super::union::{Merged, Union};
use super::{FILE, lines, put};
use crate::name::RunId;
use crate::store::{RunFolder, replay};
use crate::tree::{open_regular, reason};
use crate::verdict;

/// What came of making a history again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// How many runs were read.
    pub runs: usize,
    /// What changed by that.
    pub merged: Merged,
    /// Which runs could not be read, and why; what there was of them stays.
    pub notes: Vec<String>,
}

/// Reads every run of a folder again, one at a time, and puts what has changed into its history. Lines of runs
/// that are not there stay: elsewhere, only the history is kept. Runs that never came to their end have none.
///
/// # Errors
/// When the history cannot be read or replaced; then it stays as it was.
pub fn rebuild(artifacts: &Path) -> io::Result<Rebuilt> {
    std::fs::create_dir_all(artifacts)?;
    let known = match open_regular(&artifacts.join(FILE)) {
        Ok((file, _)) => known(&file)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Known::new(),
        Err(error) => return Err(error),
    };
    let mut rebuilt = Rebuilt::default();
    // Aside, so that runs that end meanwhile need not wait for it.
    let aside = tempfile::tempfile_in(artifacts)?;
    let mut to = BufWriter::new(&aside);
    for run in RunFolder::all(artifacts) {
        match again(artifacts, run, &known, &mut to)? {
            Again::Read => rebuilt.runs += 1,
            Again::NotOver => {}
            Again::Unreadable(why) => rebuilt
                .notes
                .push(format!("the run {run} cannot be read: {why}")),
        }
    }
    to.flush()?;
    drop(to);
    let held = Held::open(artifacts)?;
    let mut union = Union::default();
    let ours = union.add(held.file())?;
    let theirs = union.add(&aside)?;
    rebuilt.merged = union.replace(&held, &ours, &theirs)?;
    Ok(rebuilt)
}

/// The latest revision of every line, and what tells its text from others.
type Known = BTreeMap<Key, (u32, [u8; 32])>;

fn known(file: &File) -> io::Result<Known> {
    let mut known = Known::new();
    scan(file, |_, raw| {
        if let Parsed::Line(line) = parse(raw) {
            let entry = (line.revision, Sha256::digest(raw).into());
            known.insert((line.run, line.candidate), entry);
        }
        Ok(())
    })?;
    Ok(known)
}

enum Again {
    Read,
    NotOver,
    Unreadable(String),
}

/// Writes those lines of a run that are new.
fn again(artifacts: &Path, run: RunId, known: &Known, to: &mut dyn io::Write) -> io::Result<Again> {
    let folder = match RunFolder::find(artifacts, &run.to_string()) {
        Ok(folder) => folder,
        Err(why) => return Ok(Again::Unreadable(why)),
    };
    let summary = match replay(&folder) {
        Ok(summary) => summary,
        Err(error) => return Ok(Again::Unreadable(reason(&error))),
    };
    let is_it = summary.plan.as_ref().is_some_and(|plan| plan.run == run);
    if summary.plan.is_some() && !is_it {
        return Ok(Again::Unreadable("its journal is another run's".to_owned()));
    }
    if summary.took.is_none() {
        return Ok(Again::NotOver);
    }
    let standings = summary.standings();
    for mut line in lines(&summary, &standings, &verdict::of(&summary, &standings)) {
        if let Some((revision, old)) = known.get(&(run, line.candidate.clone())) {
            line.revision = *revision;
            let now: [u8; 32] = Sha256::digest(line.text()?).into();
            if now == *old {
                continue;
            }
            line.revision += 1;
        }
        put(to, &line.text()?)?;
    }
    Ok(Again::Read)
}
