//! Baselines: what today's candidates are compared with, and where their former selves come from.
//!
//! ```text
//! @REV  NAME@REV                     git      files of that revision
//! ID  latest  blessed  FILE          stored   what a run kept: its results, and a pack of each candidate
//! ```
//!
//! Promises: everything is found, unpacked and loaded before anything is started, and what is wrong with it is a
//! [`Problem`](crate::problem::Problem) with a remedy; the work tree, the index and the stored run are only read. What runs is in
//! [`crate::run`], what it means is for others to say.

use std::sync::Arc;

use crate::candidate::Candidate;
use crate::candidate::pack::{self, LIMIT};
use crate::name::CandidateName;
use crate::redact::Redactor;
use crate::store::{self, RunFolder};

pub mod git;
mod scratch;
pub mod stored;

pub use scratch::Scratch;

/// What problems with a baseline are told of.
const FLAG: &str = "--baseline";

/// A candidate as it was, called `gamma@4f1c9e2`.
#[derive(Debug, Clone)]
pub struct Former {
    /// The candidate.
    pub candidate: Candidate,
    /// Where its files are: they are gone when the last one who has this drops it.
    pub files: Arc<Scratch>,
}

/// Writes a pack of each candidate into the folder of its run, but for those that are former ones themselves.
/// Returns a sentence for each that has none now: it cannot be run again as it is.
pub fn pack_all<'a>(
    folder: &RunFolder,
    candidates: impl IntoIterator<Item = &'a Candidate>,
    redactor: &Redactor,
) -> Vec<String> {
    let mut remarks = Vec::new();
    for candidate in candidates {
        let name = &candidate.name;
        if name.version().is_some() {
            continue;
        }
        let written = pack::pack(candidate, LIMIT, redactor)
            .map_err(|why| why.to_string())
            .and_then(|pack| write(folder, name, &pack).map_err(|error| error.to_string()));
        if let Err(why) = written {
            let why = redactor.text(&why).into_owned();
            remarks.push(candidate.remark(&format!(
                "it is not kept with this run, and cannot be run again from it: {why}"
            )));
        }
    }
    remarks
}

fn write(folder: &RunFolder, name: &CandidateName, pack: &[u8]) -> std::io::Result<()> {
    std::fs::create_dir_all(folder.path().join(store::PACKS))?;
    folder.write(&pack_file(name), |to| to.write_all(pack))?;
    Ok(())
}

/// Where the pack of a candidate is, below the folder of its run.
fn pack_file(name: &CandidateName) -> String {
    format!("{}/{name}.tar", store::PACKS)
}
