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

impl Took {
    /// How long each phase took, in milliseconds; `None` where there was none.
    #[must_use]
    pub fn phases(self) -> [Option<u64>; 6] {
        self.0.map(|it| (it != NONE).then_some(u64::from(it)))
    }
}

impl From<&Timings> for Took {
    fn from(timings: &Timings) -> Self {
        let most = NONE - 1;
        Self(
            timings
                .phases()
                .map(|it| it.map_or(NONE, |it| u32::try_from(it).unwrap_or(most).min(most))),
        )
    }
}

/// How long each phase took in most trials that had it, by its key, in milliseconds. A trial that was begun anew counts
/// with its last attempt.
#[must_use]
pub fn phases(rows: &[TrialRow]) -> BTreeMap<&'static str, Spread> {
    let each = PHASES.iter().enumerate().filter_map(|(at, phase)| {
        let all = rows.iter().filter_map(|row| row.took().phases()[at]);
        let mut all: Vec<u64> = all.collect();
        Some((*phase, Spread::of(&mut all)?))
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::super::Shared;
    use super::*;
    use crate::event::{TrialEnd, TrialRecord};
    use crate::name::TrialId;

    #[test]
    fn phases_that_there_were_not_are_absent_and_do_not_count() {
        let rows: Vec<TrialRow> = (1..=100)
            .map(|repeat| {
                let trial = TrialId {
                    objective: "task".parse().unwrap(),
                    candidate: "a".parse().unwrap(),
                    repeat,
                };
                let end = TrialEnd::Exited { code: 0 };
                let mut record = TrialRecord::ended(trial.clone(), end, 1);
                record.timings = Timings {
                    run_ms: Some(u64::from(repeat)),
                    setup_ms: (repeat > 98).then_some(u64::MAX),
                    ..Timings::default()
                };
                let mut row = TrialRow::planned(trial);
                row.finish(&record, &mut Shared::default());
                row
            })
            .collect();
        let phases = phases(&rows);
        assert_eq!(phases.len(), 2, "{phases:?}");
        let run = phases["run_ms"];
        assert_eq!((run.count, run.p50, run.p95, run.max), (100, 50, 95, 100));
        let setup = phases["setup_ms"];
        assert_eq!((setup.count, setup.max), (2, u64::from(NONE) - 1));
    }
}
