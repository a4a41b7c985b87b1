//! The library's front door: [`run_forge`], and [`Forge`] for those who want to say more.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc::Receiver;

use crate::event::StopCause;
use crate::exit::{self, ExitCode};
use crate::history;
use crate::name::RunId;
use crate::objective::Objective;
use crate::objects::{Store, StoreError, Through};
use crate::problem::Problems;
use crate::quantity::counted;
use crate::report::{Report, Saved};
use crate::run::{Finished, Run};
use crate::sandbox::local::LocalOptions;
use crate::sandbox::reaper::CleanupReport;
use crate::sandbox::{Provider, SandboxError};
use crate::standings::{Lead, LeadState, Standings, Winner};
use crate::store::RunFolder;
use crate::summary::RunSummary;
use crate::verdict::{self, Verdict};

mod builder;
mod check;
mod compared;
pub mod conclusions;
mod controls;
mod foresight;
mod formers;
mod in_force;
mod lints;
mod loading;
mod parts;
mod past;
mod plan;
mod resuming;
mod twins;

pub use builder::ForgeBuilder;
pub use check::Checked;
pub use controls::{Controlled, controls};
pub use foresight::{Expected, Foresight};
pub use twins::Nights;

/// Runs every candidate of `candidates/` on an objective, and says which does it best.
///
/// The objective is a stem in `objectives/`, else a path, else literal text. Candidates run on this machine;
/// use [`Forge::builder`] to say otherwise. Results and reports are left in `artifacts/`.
///
/// # Errors
/// [`ForgeError::Problems`] when candidates or objectives are wrong, before anything is started;
/// [`ForgeError::Sandbox`] or [`ForgeError::Io`] when this machine cannot run them at all. Candidates that
/// fail, and infrastructure that loses a trial, are in the result.
///
/// # Cancel safety
/// Safe: dropping the future still deletes every sandbox; the runtime's shutdown waits for it.
pub async fn run_forge(objective: impl Into<ObjectiveSource>) -> Result<ForgeResult, ForgeError> {
    Forge::builder().build().run([objective.into()]).await
}

/// The same for callers without a runtime.
pub mod blocking {
    use super::{Forge, ForgeError, ForgeResult, ObjectiveSource};

    /// Like [`run_forge`](crate::run_forge), on a runtime of its own. Must not be called on a runtime.
    ///
    /// # Errors
    /// As [`run_forge`](crate::run_forge); [`ForgeError::Io`] when the runtime cannot be made.
    pub fn run_forge(objective: impl Into<ObjectiveSource>) -> Result<ForgeResult, ForgeError> {
        run(Forge::builder().build(), [objective.into()])
    }

    /// Like [`Forge::run`], on a runtime of its own. Must not be called on a runtime.
    ///
    /// # Errors
    /// As [`Forge::run`]; [`ForgeError::Io`] when the runtime cannot be made.
    pub fn run(
        forge: Forge,
        objectives: impl IntoIterator<Item = ObjectiveSource>,
    ) -> Result<ForgeResult, ForgeError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|source| ForgeError::Io {
                doing: "start a runtime",
                source,
            })?;
        runtime.block_on(forge.run(objectives))
    }
}

/// What to do: as on the command line, or loaded by the caller.
#[derive(Debug, Clone)]
pub enum ObjectiveSource {
    /// A stem in `objectives/`, else a path, else literal text.
    Named(String),
    /// An objective at hand.
    Loaded(Box<Objective>),
}

impl From<&str> for ObjectiveSource {
    fn from(text: &str) -> Self {
        Self::Named(text.to_owned())
    }
}

impl From<String> for ObjectiveSource {
    fn from(text: String) -> Self {
        Self::Named(text)
    }
}

impl From<Objective> for ObjectiveSource {
    fn from(objective: Objective) -> Self {
        Self::Loaded(Box::new(objective))
    }
}

/// Where candidates run.
#[derive(Debug, Clone)]
pub enum Place {
    /// On this machine.
    Local(LocalOptions),
    /// Where the caller's own provider says.
    Own(Arc<dyn Provider>),
}

/// Why there is no result at all.
#[derive(Debug, thiserror::Error)]
pub enum ForgeError {
    /// Candidates, objectives or settings are wrong; nothing was started.
    #[error("{0}")]
    Problems(#[from] Problems),
    /// There is no place to run candidates in; nothing was started.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The object store that results go to cannot be used; nothing was started.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It was told to stop before anything was started.
    #[error("{}", .0.as_str())]
    Stopped(StopCause),
    /// The artifacts folder failed.
    #[error("cannot {doing}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// Who is best, as far as the data say. It shows itself in one line.
#[derive(Debug, Clone, PartialEq)]
pub enum Best {
    /// One is ahead of all others, and that is no chance, or there are no others.
    Winner(Winner),
    /// Several have the same score; the first by name tells with whom.
    Tie(Winner),
    /// One has the best score, and its lead may be chance.
    NoClearWinner {
        /// Who has the best score.
        leader: Winner,
        /// How sure that is.
        lead: Lead,
    },
}

impl Best {
    /// Who has the best score; of several that are tied, the first by name.
    #[must_use]
    pub const fn leader(&self) -> &Winner {
        match self {
            Self::Winner(leader) | Self::Tie(leader) | Self::NoClearWinner { leader, .. } => leader,
        }
    }

    /// The one that is ahead of all others, if there is one.
    #[must_use]
    pub const fn clear(&self) -> Option<&Winner> {
        match self {
            Self::Winner(winner) => Some(winner),
            Self::Tie(_) | Self::NoClearWinner { .. } => None,
        }
    }
}

impl std::fmt::Display for Best {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.leader().reason)
    }
}

/// Nobody passed the gates, not every trial of a passing candidate has a verdict, or nothing was graded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no winner: {reason}")]
pub struct NoWinner {
    /// Why.
    pub reason: String,
}

/// What a run came to.
#[derive(Debug)]
pub struct ForgeResult {
    run: RunId,
    summary: RunSummary,
    standings: Standings,
    verdicts: Vec<Verdict>,
    report: CleanupReport,
    folder: RunFolder,
    unsaved: Option<String>,
    saved: Saved,
}

impl ForgeResult {
    /// What a run came to, and by what that which is still done for it is told to stop.
    fn new(run: RunId, finished: Finished) -> (Self, Receiver<StopCause>) {
        let Finished {
            summary,
            report,
            folder,
            unsaved,
            stop,
        } = finished;
        let standings = summary.standings();
        let this = Self {
            run,
            verdicts: verdict::of(&summary, &standings),
            summary,
            standings,
            report,
            folder,
            unsaved: unsaved.map(|error| error.to_string()),
            saved: Saved::default(),
        };
        (this, stop)
    }

    /// The run's id.
    #[must_use]
    pub const fn run(&self) -> RunId {
        self.run
    }

    /// Who is best over all objectives, and whether that is real.
    ///
    /// # Errors
    /// [`NoWinner`] when nobody passed.
    pub fn winner(&self) -> Result<Best, NoWinner> {
        let lead = self.standings.lead.clone().unwrap_or_default();
        let best = self
            .standings
            .winner
            .clone()
            .map(|leader| match lead.state {
                LeadState::Winner => Best::Winner(leader),
                LeadState::Tie => Best::Tie(leader),
                LeadState::NoClearWinner | LeadState::Nobody => {
                    Best::NoClearWinner { leader, lead }
                }
            });
        best.ok_or_else(|| {
            let mut objectives = self.standings.objectives.iter();
            let ungraded = objectives.find_map(|it| Some((&it.objective, it.ungraded.as_ref()?)));
            let reason = match (self.summary.lost(), ungraded) {
                (0, None) => "no candidate passed its gates".to_owned(),
                (0, Some((objective, why))) => format!("{objective} is ungraded: {why}"),
                (lost, _) => format!(
                    "no verdict on {lost} of {}",
                    counted(self.summary.trials.len(), "trial", "trials")
                ),
            };
            NoWinner { reason }
        })
    }

    /// All places.
    #[must_use]
    pub const fn standings(&self) -> &Standings {
        &self.standings
    }

    /// What is said of candidates against the control and against what they were; what can fail the run comes
    /// first.
    #[must_use]
    pub fn verdicts(&self) -> &[Verdict] {
        &self.verdicts
    }

    /// What the run's events add up to, with a row for every planned trial.
    #[must_use]
    pub const fn summary(&self) -> &RunSummary {
        &self.summary
    }

    /// What became of the sandboxes.
    #[must_use]
    pub const fn cleanup(&self) -> &CleanupReport {
        &self.report
    }

    /// The run's folder.
    #[must_use]
    pub const fn folder(&self) -> &RunFolder {
        &self.folder
    }

    /// How the command line would have ended, and why.
    #[must_use]
    pub fn exit(&self) -> (ExitCode, Vec<String>) {
        let (mut end, mut reasons) = self.verdict();
        if let Some(error) = &self.saved.failed {
            end = end.max(ExitCode::Incomplete);
            reasons.push(format!("the reports could not all be written: {error}"));
        }
        (end, reasons)
    }

    /// Makes reports of the run: of any form, to any place, besides those in its folder.
    pub fn report<T>(&self, make: impl FnOnce(&Report<'_>) -> T) -> T {
        let (exit, reasons) = self.verdict();
        make(&Report {
            summary: &self.summary,
            standings: &self.standings,
            verdicts: &self.verdicts,
            exit,
            reasons: &reasons,
            sweep: &format!("forge sweep --run {}", self.run),
            details: &self.folder,
        })
    }

    /// What could not be saved of the reports in the run's folder, nothing when they are not written, see
    /// [`ForgeBuilder::write_reports`]; and what became of the run in the store that it was to go to.
    pub const fn saved(&self) -> &Saved {
        &self.saved
    }

    /// Adds the run to the history.
    fn remember(&self, artifacts: &Path) -> std::io::Result<usize> {
        history::append(artifacts, &self.summary, &self.standings, &self.verdicts)
    }

    /// How it ended, whatever becomes of the reports, which say so.
    fn verdict(&self) -> (ExitCode, Vec<String>) {
        let (end, mut reasons) = exit::decide(&self.summary, &self.standings, &self.verdicts);
        let unsaved = self.unsaved.iter();
        let unsaved =
            unsaved.map(|error| format!("the run's events could not all be written: {error}"));
        let unstored = self.saved.stored.iter().filter_map(|it| it.as_ref().err());
        let missing: Vec<String> = unsaved.chain(unstored.map(ToString::to_string)).collect();
        if missing.is_empty() {
            return (end, reasons);
        }
        reasons.extend(missing);
        (end.max(ExitCode::Incomplete), reasons)
    }
}

/// A run, ready to go.
#[derive(Debug)]
pub struct Forge(ForgeBuilder);

impl Forge {
    /// Everything at its default.
    #[must_use]
    pub fn builder() -> ForgeBuilder {
        ForgeBuilder::default()
    }

    /// Runs every candidate on these objectives; on all of `objectives/` when there are none.
    ///
    /// # Errors
    /// As [`run_forge`].
    ///
    /// # Cancel safety
    /// Safe: dropping the future still deletes every sandbox; the runtime's shutdown waits for it.
    pub async fn run(
        self,
        objectives: impl IntoIterator<Item = ObjectiveSource>,
    ) -> Result<ForgeResult, ForgeError> {
        let mut builder = self.0;
        let earlier = Box::pin(builder.earlier()).await?;
        let run_id = earlier.as_ref().map_or_else(RunId::generate, |it| it.run());
        let write_reports = builder.write_reports;
        let artifacts = builder.artifacts.clone();
        let store = builder.store.clone();
        let mut run = builder
            .plan(run_id, objectives.into_iter().collect())
            .await?;
        if let Some(earlier) = earlier {
            earlier.go_on(&mut run)?;
        }
        let mut through = match &store {
            Some(store) => Some(Box::pin(written_through(store, &mut run)).await?),
            None => None,
        };
        let doing = "write to the artifacts folder";
        let finished = crate::run::run(run)
            .await
            .map_err(|source| ForgeError::Io { doing, source })?;
        let (mut result, mut stop) = ForgeResult::new(run_id, finished);
        // The sandboxes are gone; this is all that is waited for. What is missing by now, the reports say.
        if let Some(it) = &mut through
            && let Err(unstored) = it.catch_up(&mut stop).await
        {
            result.saved.stored = Some(Err(unstored));
            through = None;
        }
        if write_reports {
            let saved = result.report(|report| report.save(&result.folder));
            result.saved = Saved {
                stored: result.saved.stored.take(),
                ..saved
            };
            result.saved.unremembered = result.remember(&artifacts).err();
        }
        if let Some(through) = through {
            result.saved.stored = Some(through.finish(&mut stop).await);
        }
        Ok(result)
    }
}

/// Begins to write a run through, before anything of it exists.
async fn written_through(store: &Store, run: &mut Run) -> Result<Through, ForgeError> {
    let id = run.plan.run;
    let before = run.resumes.as_ref().map(|it| it.folder.path().to_owned());
    let is_new = before.is_none();
    let folder = before.unwrap_or_else(|| run.artifacts.join(id.to_string()));
    let mut through = tokio::select! {
        biased;
        begun = Through::begin(store, id, &folder, is_new) => begun?,
        // Nothing exists yet: there is nothing to clean up.
        Some(cause) = run.stop.recv() => return Err(ForgeError::Stopped(cause)),
    };
    run.warnings.extend(through.warning());
    run.subscribers.extend(through.subscriber());
    Ok(through)
}
