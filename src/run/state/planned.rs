//! What is known of trials before they begin.

use crate::name::{CandidateName, ObjectiveName, TrialId};

/// A planned trial: small, because there is one for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// Its group, by its place among them.
    pub group: u32,
    /// Which repeat of it, from 1.
    pub repeat: u32,
    /// Before which look it is begun, from 1; those of the next ones wait for what the look decides.
    pub stage: u32,
    /// Whether it has its result already, of a time before the run was gone on with.
    pub is_known: bool,
}

/// What a candidate's trials on an objective have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// What is to be done.
    pub objective: ObjectiveName,
    /// Who does it.
    pub candidate: CandidateName,
    /// Trials of one class ask for the same kind of sandbox: what the provider refuses to one as invalid,
    /// it would refuse to all.
    pub class: usize,
    /// Trials of one number set up the same candidate in the same way: what fails by itself in one, fails in
    /// all.
    pub setup: usize,
}

impl Group {
    /// One of its trials.
    #[must_use]
    pub fn trial(&self, repeat: u32) -> TrialId {
        TrialId {
            objective: self.objective.clone(),
            candidate: self.candidate.clone(),
            repeat,
        }
    }
}
