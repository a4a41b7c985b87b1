//! How long the phases of trials took: kept small for each, and what all of them add up to.

use std::collections::BTreeMap;

use super::TrialRows;
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
        Self::of(timings.phases())
    }
}

impl Took {
    /// This, in milliseconds.
    pub(super) fn of(phases: [Option<u64>; 6]) -> Self {
        let most = NONE - 1;
        Self(phases.map(|it| it.map_or(NONE, |it| u32::try_from(it).unwrap_or(most).min(most))))
    }

    /// How long each phase took, in milliseconds; `None` where there was none.
    #[must_use]
    pub fn phases(self) -> [Option<u64>; 6] {
        self.0.map(|it| (it != NONE).then_some(it.into()))
    }
}

/// How long each phase took in most trials that had it, by its key, in milliseconds. A trial that was begun anew counts
/// with its last attempt.
#[must_use]
pub fn phases(rows: TrialRows<'_>) -> BTreeMap<&'static str, Spread> {
    let each = PHASES.iter().enumerate().filter_map(|(at, phase)| {
        let all = rows.iter().map(|row| row.took().0[at]);
        // No more room than they need.
        let mut these = Vec::with_capacity(rows.len());
        these.extend(all.filter(|it| *it != NONE));
        Some((*phase, Spread::of(&mut these)?))
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventKind, TrialEnd, TrialRecord};
    use crate::name::TrialId;
    use crate::summary::tests::History;

    #[test]
    fn phases_that_there_were_not_are_absent_and_do_not_count() {
        let history = History::of(&["a"], &["task"], 100);
        let history = (1..=100).fold(history, |history, repeat| {
            let trial = TrialId {
                objective: "task".parse().unwrap(),
                candidate: "a".parse().unwrap(),
                repeat,
            };
            let end = TrialEnd::Exited { code: 0 };
            let mut record = TrialRecord::ended(trial, end, 1);
            record.timings = Timings {
                run_ms: Some(u64::from(repeat)),
                setup_ms: (repeat > 98).then_some(u64::MAX),
                ..Timings::default()
            };
            history.then(EventKind::TrialFinished(Box::new(record)))
        });
        let phases = phases(history.summary().trials.rows());
        assert_eq!(phases.len(), 2, "{phases:?}");
        let run = phases["run_ms"];
        assert_eq!((run.count, run.p50, run.p95, run.max), (100, 50, 95, 100));
        let setup = phases["setup_ms"];
        assert_eq!((setup.count, setup.max), (2, u64::from(NONE) - 1));
    }
}
