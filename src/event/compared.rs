//! What a run's comparisons need besides its own trials: what a stored run kept, what looks decided, what was
//! confirmed.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::name::{CandidateName, ObjectiveName, RunId};
use crate::score::Points;

/// What a stored run kept of one candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredScores {
    /// The candidate, as that run called it.
    pub candidate: CandidateName,
    /// That run.
    pub run: RunId,
    /// When it began.
    pub started: Option<Timestamp>,
    /// Where it ran, and how isolated: scores of other places are not compared.
    pub place: String,
    /// What the candidate was made of, in hex.
    pub digest: String,
    /// Its trials, objective by objective.
    pub objectives: Vec<StoredObjective>,
}

/// The same of one objective.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredObjective {
    /// Which.
    pub objective: ObjectiveName,
    /// What it was made of, in hex.
    pub digest: String,
    /// The limits and the network that it had.
    #[serde(default)]
    pub conditions: String,
    /// How many trials have no verdict.
    pub lost: u32,
    /// Those that have one.
    pub trials: Vec<Measured>,
}

/// What a trial with a verdict is worth, on every measure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The total.
    pub score: Points,
    /// Whether every gate held.
    pub passed: bool,
    /// Its quality part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<Points>,
    /// How long the run phase took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// The largest resident memory of any one process, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory: Option<u64>,
    /// Its own metrics.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
}

/// What was decided when a part of the planned trials had ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// Which look, from 1.
    pub look: u32,
    /// The level at which a difference counts at it.
    pub level: f64,
    /// Whose further trials are spared.
    pub stopped: Vec<Stopped>,
}

/// A candidate whose further trials are spared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// Which.
    pub candidate: CandidateName,
    /// Why, as it stands in the rows of its trials.
    pub reason: String,
}

/// What looked like a regression is run again, both sides, and judged by these trials alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// The candidate.
    pub candidate: CandidateName,
    /// What it is compared with.
    pub against: CandidateName,
    /// How many more trials each of the two gets on every objective.
    pub trials: u32,
}
