//! What is known of a trial before it begins.

use crate::name::TrialId;

/// A planned trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Which one.
    pub id: TrialId,
    /// Trials of one class ask for the same kind of sandbox: what the provider refuses to one as invalid,
    /// it would refuse to all.
    pub class: usize,
    /// Trials of one group set up the same candidate in the same way: what fails by itself in one, fails in
    /// all.
    pub setup: usize,
    /// Before which look it is begun, from 1; those of the next ones wait for what the look decides.
    pub stage: u32,
    /// Whether it has its result already, of a time before the run was gone on with.
    pub is_known: bool,
}
