//! Where the rows of trials are.
//!
//! Promises: it grows with candidates and objectives, never with trials.

use std::collections::BTreeMap;
use std::ops::Range;

use super::TrialRow;
use crate::name::{CandidateName, ObjectiveName, TrialId};

/// The rows of each objective and candidate, which are together, in the order of their repeats.
#[derive(Debug, Clone, Default)]
pub(super) struct Places(BTreeMap<ObjectiveName, BTreeMap<CandidateName, Range<usize>>>);

impl Places {
    /// Where these rows are.
    pub(super) fn of(rows: &[TrialRow]) -> Self {
        let mut places = Self::default();
        let mut from = 0;
        let together = |a: &TrialRow, b: &TrialRow| {
            a.trial.objective == b.trial.objective && a.trial.candidate == b.trial.candidate
        };
        for rows in rows.chunk_by(together) {
            let TrialId {
                objective,
                candidate,
                ..
            } = &rows[0].trial;
            let of_objective = places.0.entry(objective.clone()).or_default();
            of_objective.insert(candidate.clone(), from..from + rows.len());
            from += rows.len();
        }
        places
    }

    /// The place of a trial's row among those.
    pub(super) fn find(&self, rows: &[TrialRow], trial: &TrialId) -> Option<usize> {
        let range = self.0.get(&trial.objective)?.get(&trial.candidate)?;
        let rows = rows.get(range.clone())?;
        let at = rows.binary_search_by_key(&trial.repeat, |row| row.trial.repeat);
        Some(range.start + at.ok()?)
    }
}
