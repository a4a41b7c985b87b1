//! The trials under way, and whether one more may be.
//!
//! Promises: never more sandboxes than jobs; never more results in the making, beside them, than as many again.

use std::collections::BTreeMap;

/// How a trial is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Under {
    /// In a sandbox, or in what leads to one.
    Sandbox,
    /// Its sandbox has ended, and its result is made.
    Behind,
    /// It is told how it ends.
    Paper,
}

/// Those under way.
#[derive(Debug)]
pub(super) struct Running {
    jobs: usize,
    trials: BTreeMap<usize, Under>,
    /// How many of them are [`Under::Behind`].
    behind: usize,
}

impl Running {
    pub(super) const fn new(jobs: usize) -> Self {
        Self {
            jobs,
            trials: BTreeMap::new(),
            behind: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.trials.is_empty()
    }

    /// Whether one more may begin.
    pub(super) fn has_room(&self) -> bool {
        let all = self.trials.len();
        all - self.behind < self.jobs && all < 2 * self.jobs
    }

    pub(super) fn begin(&mut self, trial: usize, under: Under) {
        self.trials.insert(trial, under);
    }

    /// Notes that a trial needs its sandbox no more. Says whether it had one.
    pub(super) fn free(&mut self, trial: usize) -> bool {
        let Some(under @ Under::Sandbox) = self.trials.get_mut(&trial) else {
            return false;
        };
        *under = Under::Behind;
        self.behind += 1;
        true
    }

    /// Takes one away, and says how it was under way last.
    pub(super) fn end(&mut self, trial: usize) -> Option<Under> {
        let under = self.trials.remove(&trial)?;
        self.behind -= usize::from(under == Under::Behind);
        Some(under)
    }
}
