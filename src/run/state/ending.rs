//! How a run comes to begin nothing more: it is told to stop, its budget is used up, or going on would only lose more.
//!
//! Promises: however many trials wait then, few of their results are made at once.

use std::time::Instant;

use super::{Effect, Group, State, Stopping, Waiting, finish};
use crate::event::{EventKind, StopCause};

/// So many trials are told at once that they are not run.
const AT_ONCE: usize = 256;

impl State {
    /// What every further trial would meet too is told once, and none is begun.
    pub(super) fn halt(&mut self, reason: &str, effects: &mut Vec<Effect>) {
        self.halt_by(StopCause::Infrastructure, reason, effects);
    }

    fn halt_by(&mut self, cause: StopCause, reason: &str, effects: &mut Vec<Effect>) {
        if !std::mem::replace(&mut self.halted, true) {
            effects.push(Effect::Emit(EventKind::StopRequested {
                cause,
                hurry: false,
            }));
        }
        self.drop_waiting(|_| true, reason);
    }

    /// What further trials would find out could not be saved. Those under way may leave less.
    pub(super) fn begin_no_more(&mut self, why: &str, effects: &mut Vec<Effect>) {
        let message = unsaved(why);
        let reason = format!("not begun: {message}");
        if self.stopping > Stopping::No {
            return;
        }
        if !self.halted {
            effects.push(Effect::Emit(EventKind::Warned { message }));
        }
        self.halt_by(StopCause::Unsaved, &reason, effects);
    }

    /// Begins nothing more: the budget is used up.
    pub(super) fn end_with_budget(&mut self, why: &str, effects: &mut Vec<Effect>) {
        self.halted = true;
        effects.push(Effect::Emit(EventKind::Warned {
            message: why.to_owned(),
        }));
        self.drop_waiting(|_| true, &format!("not begun: {why}"));
    }

    /// Lets no waiting trial of the groups that `which` names begin; [`tell_dropped`](Self::tell_dropped) gives each its
    /// result: not run.
    pub(super) fn drop_waiting(&mut self, which: impl Fn(&Group) -> bool, reason: &str) {
        let begun = std::mem::take(&mut self.delayed).into_iter();
        let ready = std::mem::take(&mut self.ready).into_iter();
        let later = std::mem::take(&mut self.later).into_iter();
        let mut dropped = Waiting::default();
        for trial in ready.chain(begun.map(|(_, trial)| trial)).chain(later) {
            let planned = self.planned(trial);
            if planned.is_known {
                continue;
            }
            if which(self.group(trial)) {
                dropped.push_back(trial);
            } else if planned.stage <= self.look {
                self.ready.push_back(trial);
            } else {
                self.later.push_back(trial);
            }
        }
        if !dropped.is_empty() {
            self.dropped.push_back((reason.to_owned(), dropped));
        }
    }

    /// Tells of some of those that will not be run; of the others at once after that.
    pub(super) fn tell_dropped(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let mut left = AT_ONCE;
        while left > 0
            && let Some((reason, mut trials)) = self.dropped.pop_front()
        {
            while left > 0
                && let Some(trial) = trials.pop_front()
            {
                finish(self.not_run(trial, &reason), effects);
                left -= 1;
            }
            if !trials.is_empty() {
                self.dropped.push_front((reason, trials));
            }
        }
        if !self.dropped.is_empty() {
            effects.push(Effect::WakeAt(now));
        }
    }

    pub(super) fn stop(&mut self, cause: StopCause, effects: &mut Vec<Effect>) {
        if self.stopping > Stopping::No {
            return;
        }
        self.stopping = Stopping::Stop;
        effects.push(Effect::Emit(EventKind::StopRequested {
            cause,
            hurry: false,
        }));
        let reason = format!("not begun: {}", cause.as_str());
        self.drop_waiting(|_| true, &reason);
        effects.push(Effect::Press(Stopping::Stop));
    }
}

pub(super) fn unsaved(why: &str) -> String {
    format!("the run's folder cannot be written to: {why}")
}
