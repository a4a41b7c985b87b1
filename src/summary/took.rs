//! How long the phases of trials took: kept small for each, and what all of them add up to.

use std::collections::BTreeMap;

use super::TrialRow;
use crate::event::Timings;
use crate::statistics::spread::Spread;

/// The phases in their order, as their keys in reports.
pub const PHASES: [&str; 6] = [
    "create_ms",
    "upload_ms",
    "setup_ms",
    "run_ms",
    "collect_ms",
    "score_ms",
];

/// How long each phase of a trial took. One of more than seven weeks counts as one of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Took([u32; 6]);

/// That there was no such phase.
const NONE: u32 = u32::MAX;

impl Default for Took {
    fn default() -> Self {
        Self([NONE; 6])
    }
}

impl From<&Timings> for Took {
    fn from(timings: &Timings) -> Self {
        let all = [
            timings.create_ms,
            timings.upload_ms,
            timings.setup_ms,
            timings.run_ms,
            timings.collect_ms,
            timings.score_ms,
        ];
        let most = NONE - 1;
        Self(all.map(|it| it.map_or(NONE, |it| u32::try_from(it).unwrap_or(most).min(most))))
    }
}

/// How long each phase took in most trials that had it, by its key, in milliseconds. A trial that was begun anew counts
/// with its last attempt.
#[must_use]
pub fn phases(rows: &[TrialRow]) -> BTreeMap<&'static str, Spread> {
    let each = PHASES.iter().enumerate().filter_map(|(at, phase)| {
        let all = rows.iter().map(|row| row.took.0[at]);
        let mut all: Vec<u64> = all.filter(|it| *it != NONE).map(u64::from).collect();
        Some((*phase, Spread::of(&mut all)?))
    });
    each.collect()
}
