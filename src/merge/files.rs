//! The files of a part, brought to the whole.

use std::fs;
use std::io;
use std::path::Path;

use crate::event::RunPlan;
use crate::journal::requests;
use crate::store::{PACKS, RunFolder};

/// Brings a part's files: those of its trials, its candidates' packs, and what it asked for.
pub(super) fn bring(plan: &RunPlan, from: &RunFolder, to: &RunFolder) -> io::Result<()> {
    let objectives = plan.objectives.iter().map(|it| it.name.as_str());
    for below in objectives.chain([PACKS]) {
        let source = from.path().join(below);
        if fs::symlink_metadata(&source).is_ok_and(|it| it.is_dir()) {
            copy(&source, &to.path().join(below))?;
        }
    }
    requests::append(from.path(), to.path())
}

/// Copies folders and regular files; links are neither followed nor taken.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &target)?;
        } else if kind.is_file() && !target.exists() {
            // Of a run that is over nothing is written into: what changes is written aside and renamed.
            fs::hard_link(entry.path(), &target)
                .or_else(|_| fs::copy(entry.path(), &target).map(drop))?;
        }
    }
    Ok(())
}
