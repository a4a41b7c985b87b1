//! How a run comes to begin nothing more: it is told to stop, its budget is used up, or going on would only lose more.

use super::{Effect, Group, State, Stopping, finish};
use crate::event::{EventKind, StopCause};

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
        self.drop_waiting(|_| true, reason, effects);
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
        self.drop_waiting(|_| true, &format!("not begun: {why}"), effects);
    }

    /// Gives every waiting trial of the groups that `which` names its result: not run.
    pub(super) fn drop_waiting(
        &mut self,
        which: impl Fn(&Group) -> bool,
        reason: &str,
        effects: &mut Vec<Effect>,
    ) {
        let begun = std::mem::take(&mut self.delayed)
            .into_iter()
            .map(|(_, trial)| trial);
        let waiting: Vec<usize> = self
            .ready
            .drain(..)
            .chain(begun)
            .chain(self.later.drain(..))
            .collect();
        for trial in waiting {
            let planned = self.planned(trial);
            if planned.is_known {
                continue;
            }
            if which(self.group(trial)) {
                finish(self.not_run(trial, reason), effects);
            } else if planned.stage <= self.look {
                self.ready.push_back(trial);
            } else {
                self.later.push(trial);
            }
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
        self.drop_waiting(|_| true, &reason, effects);
        effects.push(Effect::Press(Stopping::Stop));
    }
}

pub(super) fn unsaved(why: &str) -> String {
    format!("the run's folder cannot be written to: {why}")
}
