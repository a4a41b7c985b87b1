//! Finds the run that is gone on with, holds it, and says what of it stands.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{ForgeBuilder, ForgeError};
use crate::event::StoredScores;
use crate::name::RunId;
use crate::problem::{Problem, Problems};
use crate::resume::{self, Wishes};
use crate::run::{Resumes, Run};
use crate::sandbox::ledger::{self, Ledger};
use crate::store::{RunFolder, begun, replay};
use crate::summary::RunSummary;

const OPTION: &str = "--resume";
/// For how long it is waited until the watch of a killed run has deleted what that had left.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is looked whether it has: a lock tells nobody that it is free.
const LOOK: Duration = Duration::from_millis(100);

/// A run that is gone on with.
pub(super) struct Earlier {
    folder: RunFolder,
    ledger: Ledger,
    summary: RunSummary,
    run: RunId,
    wishes: Wishes,
}

impl ForgeBuilder {
    /// Takes the run that is gone on with, if one is; its seed is the seed where none is said.
    ///
    /// # Errors
    /// When it is not there, is alive, or cannot be read.
    pub(super) async fn earlier(&mut self) -> Result<Option<Box<Earlier>>, ForgeError> {
        let Some((path, wishes)) = self.resume.take() else {
            return Ok(None);
        };
        let found = RunFolder::find(&self.artifacts, &path.to_string_lossy());
        let folder = found.map_err(|why| Problems::from(Problem::setting(OPTION, why)))?;
        // Of a run on this machine there is no watch that would be at it yet.
        let is_local = begun(&folder).is_some_and(|plan| plan.mode == "local");
        let patience = if is_local { Duration::ZERO } else { PATIENCE };
        let ledger = claimed(&folder, patience).await?;
        let summary = replay(&folder).map_err(|source| ForgeError::Io {
            doing: "read the run that is to go on",
            source,
        })?;
        // What its events were read with.
        crate::sandbox::local::let_go_of_program();
        let Some(plan) = &summary.plan else {
            let message = "its events.jsonl is empty: there is nothing to go on with";
            return Err(Problems::from(Problem::setting(OPTION, message)).into());
        };
        let run = plan.run;
        self.seed = self.seed.or(Some(plan.seed));
        Ok(Some(Box::new(Earlier {
            folder,
            ledger,
            summary,
            run,
            wishes,
        })))
    }
}

impl Earlier {
    /// Whose run it is.
    pub(super) const fn run(&self) -> RunId {
        self.run
    }

    /// Makes a run the one that goes on.
    ///
    /// # Errors
    /// When the two are not one.
    pub(super) fn go_on(self: Box<Self>, run: &mut Run) -> Result<(), Problems> {
        let Self {
            folder,
            ledger,
            summary,
            wishes,
            ..
        } = *self;
        same_past(&summary.stored, &run.stored)?;
        let is_there = |trial: &_| folder.record(trial).is_some();
        let decision = resume::decide(&summary, run.plan.clone(), &wishes, is_there)?;
        run.warnings.splice(0..0, decision.remarks);
        run.resumes = Some(Box::new(Resumes {
            folder,
            ledger,
            summary,
            resumption: decision.resumption,
        }));
        Ok(())
    }
}

/// Refuses another past than the one that the run has been compared with: whoever was blessed since, say.
fn same_past(then: &[StoredScores], now: &[StoredScores]) -> Result<(), Problems> {
    let runs = |all: &[StoredScores]| -> BTreeSet<RunId> { all.iter().map(|it| it.run).collect() };
    let (then, now) = (runs(then), runs(now));
    if then.is_empty() || then == now {
        return Ok(());
    }
    let shown = |runs: &BTreeSet<RunId>| {
        let runs: Vec<String> = runs.iter().map(RunId::short).collect();
        runs.join(", ")
    };
    let message = format!(
        "the run was compared with {}, and would be compared with {}",
        shown(&then),
        shown(&now)
    );
    let hint = format!("--baseline {} is what it was", shown(&then));
    Err(Problem::setting(OPTION, message).with_hint(hint).into())
}

/// Why a run cannot be held.
fn unlocked(source: io::Error) -> ForgeError {
    if source.kind() == io::ErrorKind::NotFound {
        let message =
            "it has no sandboxes.jsonl: it was put together by `forge merge`, or is no whole run";
        let hint = "let the parts go on that it was made from, and merge them again";
        return Problems::from(Problem::setting(OPTION, message).with_hint(hint)).into();
    }
    ForgeError::Io {
        doing: "lock the run that is to go on",
        source,
    }
}

/// The run's ledger, as soon as nobody else has it.
async fn claimed(folder: &RunFolder, patience: Duration) -> Result<Ledger, ForgeError> {
    let until = Instant::now() + patience;
    loop {
        let claimed = ledger::claim(folder.path()).map_err(unlocked)?;
        if let Some(ledger) = claimed {
            return Ok(ledger);
        }
        if Instant::now() > until {
            let message = format!("`{}` is in use by another forge", folder.path().display());
            let hint = "wait until it has ended, or end it";
            return Err(Problems::from(Problem::setting(OPTION, message).with_hint(hint)).into());
        }
        sleep(LOOK).await;
    }
}
