//! A run that goes on after its end.

use serde::{Deserialize, Serialize};

use super::RunPlan;
use crate::name::{CandidateName, ObjectiveName, TrialId};

/// A run goes on: what it sets out to do now, and which of its results stand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resumption {
    /// What the run sets out to do now.
    pub plan: RunPlan,
    /// What is kept, what is run, and why, in words.
    pub told: String,
    /// How many trials have a result that stands.
    pub kept: u64,
    /// Whose results do not stand though they are there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub again: Vec<Again>,
    /// Trials whose outcome is one of these are run again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retry: Vec<Retry>,
    /// Trials that have a result of which the files are gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<TrialId>,
}

/// Trials that are run again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Again {
    /// Those of this objective; of all, where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<ObjectiveName>,
    /// Those of this candidate; of all, where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<CandidateName>,
    /// Why.
    pub why: String,
}

impl Again {
    /// Whether a trial is one of them.
    #[must_use]
    pub fn takes(&self, trial: &TrialId) -> bool {
        let objective = self.objective.as_ref();
        let candidate = self.candidate.as_ref();
        objective.is_none_or(|it| *it == trial.objective)
            && candidate.is_none_or(|it| *it == trial.candidate)
    }
}

/// Outcomes for which a trial is run again when that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// The infrastructure lost it.
    Infrastructure,
    /// It did not pass its gates.
    Failed,
    /// What is said of its candidate is inconclusive.
    Inconclusive,
}
