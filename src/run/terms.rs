//! What a run is given, and what it comes to.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::open::Resumes;
use super::state::Budget;
use crate::baseline::Scratch;
use crate::candidate::Candidate;
use crate::event::{RunPlan, StopCause, StoredScores, Subscriber};
use crate::installers::Installers;
use crate::objective::{LimitOverrides, Objective};
use crate::policy::NetworkOverrides;
use crate::redact::Redactor;
use crate::sandbox::Provider;
use crate::sandbox::reaper::CleanupReport;
use crate::store::RunFolder;
use crate::summary::RunSummary;
use crate::trial::{Judging, Keep};
use crate::watch::Surroundings;

/// Everything that a run needs. Nothing in it is checked again.
pub struct Run {
    /// What is planned, as everybody will see it.
    pub plan: RunPlan,
    /// The candidates, in the plan's order.
    pub candidates: Vec<Arc<Candidate>>,
    /// Their declared variables, in the same order.
    pub environments: Vec<Arc<BTreeMap<String, String>>>,
    /// The objectives, in the plan's order.
    pub objectives: Vec<Arc<Objective>>,
    /// What flags and settings say about limits: above the candidates' own and the objectives'.
    pub limits: LimitOverrides,
    /// What flags and settings say about networks: above the objectives'.
    pub network: NetworkOverrides,
    /// What creates sandboxes.
    pub provider: Arc<dyn Provider>,
    /// Where the run's folder is made.
    pub artifacts: PathBuf,
    /// When the run is to stop by itself.
    pub deadline: Option<Duration>,
    /// Where gates and built-in scorers judge.
    pub judging: Judging,
    /// What it may spend.
    pub budget: Budget,
    /// Which sandboxes are left.
    pub keep: Keep,
    /// Takes secrets out of everything that leaves.
    pub redactor: Arc<Redactor>,
    /// What installers are told of where packages come from.
    pub installers: Installers,
    /// Labels for the provider's console.
    pub labels: BTreeMap<String, String>,
    /// Who hears of every event, after the journal.
    pub subscribers: Vec<Box<dyn Subscriber>>,
    /// Told to stop by this: the first cause stops, the second hurries.
    pub stop: mpsc::Receiver<StopCause>,
    /// Shown before the first trial, and kept in the journal.
    pub warnings: Vec<String>,
    /// What stored runs kept of candidates, to compare with.
    pub stored: Vec<StoredScores>,
    /// What its watch is told of this process's environment.
    pub surroundings: Surroundings,
    /// Where the files of former candidates are, as long as the run lasts.
    pub former_files: Vec<Arc<Scratch>>,
    /// What it goes on with; `None` of a new run.
    pub resumes: Option<Box<Resumes>>,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run")
            .field("run", &self.plan.run)
            .finish_non_exhaustive()
    }
}

/// What a run came to.
#[derive(Debug)]
pub struct Finished {
    /// What its events add up to.
    pub summary: RunSummary,
    /// What became of the sandboxes: the proof that the reaper was closed.
    pub report: CleanupReport,
    /// Where its files are.
    pub folder: RunFolder,
    /// Why the journal is not whole, if it is not: then the run cannot be rendered or scored again.
    pub unsaved: Option<std::io::Error>,
    /// By what whatever is still done for the run is told to stop.
    pub stop: mpsc::Receiver<StopCause>,
}
