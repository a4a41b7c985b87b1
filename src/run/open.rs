//! What a run writes into: a folder of its own, or that of the run that it goes on with.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use tokio::time::Instant;

use super::Run;
use crate::event::{Cleanup, Resumption};
use crate::journal::Journal;
use crate::journal::requests::RequestLog;
use crate::name::SandboxId;
use crate::sandbox::ledger::{self, Ledger};
use crate::sandbox::reaper::{Inherited, Patience, end_inherited};
use crate::store::RunFolder;
use crate::summary::RunSummary;
use crate::watch::Watch;

/// A run that goes on, held so that nobody else does anything to it meanwhile.
#[derive(Debug)]
pub struct Resumes {
    /// Its folder.
    pub folder: RunFolder,
    /// Its ledger.
    pub ledger: Ledger,
    /// What its events add up to so far.
    pub summary: RunSummary,
    /// What stands of it. The plan in it is the run's.
    pub resumption: Resumption,
}

/// What a run writes into, and what it goes on with.
pub(super) struct Opened {
    pub(super) folder: RunFolder,
    pub(super) journal: Journal,
    pub(super) ledger: Ledger,
    pub(super) requests: RequestLog,
    pub(super) before: Option<Box<Resumes>>,
}

/// Begins a run's folder, or goes on with one.
pub(super) fn opened(run: &mut Run, costs: bool) -> io::Result<Opened> {
    let Some(mut before) = run.resumes.take() else {
        let folder = RunFolder::create(&run.artifacts, &run.plan.run)?;
        return Ok(Opened {
            journal: Journal::open(folder.path())?,
            ledger: Ledger::open(folder.path(), costs)?,
            requests: requests(run, &folder)?,
            folder,
            before: None,
        });
    };
    let ledger = std::mem::replace(&mut before.ledger, Ledger::nowhere());
    Ok(Opened {
        folder: before.folder.clone(),
        journal: Journal::resume(before.folder.path())?,
        requests: requests(run, &before.folder)?,
        ledger: ledger.durable(costs),
        before: Some(before),
    })
}

fn requests(run: &Run, folder: &RunFolder) -> io::Result<RequestLog> {
    let (provider, id) = (&run.provider, run.plan.run);
    let noted = provider.requests();
    RequestLog::open(folder.path(), id, provider.name(), noted, &run.redactor)
}

/// Ends what the run had left when it was cut off, before anything new is made. Says what was deleted of it, by whom
/// ever, and what is kept on purpose, beyond the sandboxes that are told already.
pub(super) async fn end_earlier(
    run: &Run,
    folder: &RunFolder,
    ledger: &Ledger,
    before: Option<&Resumes>,
) -> io::Result<Cleanup> {
    let Some(before) = before else {
        return Ok(Cleanup::default());
    };
    let open = ledger.open_sandboxes()?;
    let shared = ledger.share()?;
    let kept = open.iter().filter(|it| it.kept);
    let mut kept: Vec<SandboxId> = kept.filter_map(|it| it.id.clone()).collect();
    let asked: BTreeSet<SandboxId> = kept.iter().cloned().collect();
    let mut cleanup = Cleanup::default();
    if let (false, Some(shared)) = (open.iter().all(|it| it.kept), shared) {
        let inherited = Inherited {
            provider: Arc::clone(&run.provider),
            run: run.plan.run,
            ledger: Ledger::adopt(shared),
            open: Some(open),
            settled: Instant::now(),
        };
        let report = end_inherited(inherited, Patience::default()).await;
        cleanup = report.cleanup().clone();
    }
    let deleted = ledger::deleted(folder.path(), &BTreeSet::new(), &asked)?;
    let told: BTreeSet<&SandboxId> = before.summary.told_kept().iter().collect();
    kept.retain(|id| !deleted.ids.contains(id) && !told.contains(id));
    let places = kept.iter().filter_map(|id| {
        let place = run.provider.whereabouts(id)?;
        Some((id.clone(), place))
    });
    cleanup.kept_at = places.collect();
    cleanup.kept = kept;
    cleanup.deleted = deleted.count.saturating_sub(before.summary.told_deleted());
    Ok(cleanup)
}

/// Starts the run's watch where it has one; or why there is none.
pub(super) async fn watched(
    run: &Run,
    folder: &RunFolder,
    ledger: &Ledger,
) -> (Option<Watch>, Option<String>) {
    let (id, folder) = (run.plan.run, folder.path().to_owned());
    let surroundings = run.surroundings.clone();
    match crate::watch::start(&*run.provider, id, folder, ledger, surroundings).await {
        Ok(watch) => (watch, None),
        Err(error) => (None, Some(error.meaning())),
    }
}
