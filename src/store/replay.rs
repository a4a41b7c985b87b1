//! A run's journal, read back into what it adds up to.

use std::io;

use super::RunFolder;
use crate::event::{Cleanup, RunPlan};
use crate::journal;
use crate::name::SandboxName;
use crate::sandbox::ledger;
use crate::summary::RunSummary;

/// What a run set out to do when it began.
#[must_use]
pub fn begun(folder: &RunFolder) -> Option<RunPlan> {
    let first = journal::read(folder.path()).ok()?.next()?.ok()?;
    first.kind.begins().cloned()
}

/// Replays a run's journal.
///
/// # Errors
/// When it cannot be read, or a line is not an event.
pub fn replay(folder: &RunFolder) -> io::Result<RunSummary> {
    let mut summary = RunSummary::default();
    for event in journal::read(folder.path())? {
        summary.apply(&event?);
    }
    // Of most runs nothing was left, and nothing can have been swept.
    let left = |it: &&mut Cleanup| !it.kept.is_empty() || !it.unconfirmed.is_empty();
    if let Some(cleanup) = summary.cleanup.as_mut().filter(left) {
        let ids = cleanup.kept.iter().cloned();
        let ids = ids.chain(cleanup.unconfirmed.iter().filter_map(|it| it.id.clone()));
        let names = cleanup.unconfirmed.iter();
        let names = names.map(|it| SandboxName::existing(&it.name)).collect();
        let gone = ledger::deleted(folder.path(), &names, &ids.collect())?;
        cleanup.take_swept(|name, id| {
            id.is_some_and(|id| gone.ids.contains(id))
                || name.is_some_and(|name| gone.names.contains(&SandboxName::existing(name)))
        });
    }
    Ok(summary)
}
