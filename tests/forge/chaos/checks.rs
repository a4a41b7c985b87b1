//! What properties promise: how much may go wrong by each, and what has to hold besides what always has to.

use serde_json::Value;

use super::faults::{Answer, Call, Often, Wrong};
use super::properties::Property;
use super::record::Record;
use super::world::World;

impl Property {
    /// What goes wrong at the server by it, if that is all it is.
    fn accident(&self) -> Option<(Wrong, Call, Often)> {
        match self {
            Self::LostReply { call, nth } => Some((Wrong::ReplyDropped, *call, Often::Nth(*nth))),
            Self::FailedDelete { times } => {
                let wrong = Wrong::Refused(Answer::Internal);
                Some((wrong, Call::Delete, Often::First(*times)))
            }
            Self::Accident { call, often, wrong } => Some((*wrong, *call, *often)),
            Self::Teardown { often, wrong } => Some((*wrong, Call::Delete, *often)),
            Self::Busy { answer, calls, .. } => {
                Some((Wrong::Refused(*answer), Call::Any, Often::First(*calls)))
            }
            Self::Breaks { .. }
            | Self::SlowCalls(_)
            | Self::SlowStart(_)
            | Self::SlowDelete(_)
            | Self::LateLists(_)
            | Self::Forgets
            | Self::Quota(_)
            | Self::RateLimits { .. }
            | Self::UrlOnRequest
            | Self::Signal { .. }
            | Self::Kill { .. }
            | Self::SlowDisk(_)
            | Self::Deadline(_)
            | Self::MaxSandboxes(_)
            | Self::Keep { .. } => None,
        }
    }

    /// Whether forge waits for as long as it waits for anything.
    pub(super) fn takes_minutes(&self) -> bool {
        let accident = self.accident();
        accident.is_some_and(|(wrong, call, often)| wrong.takes_minutes(call, often))
    }

    /// Whether forge may end without knowing what became of a sandbox.
    pub(super) fn makes_unclear(&self) -> bool {
        match self {
            Self::Signal { more, .. } => *more > 0,
            Self::RateLimits { calls, .. } => calls.is_some(),
            // A list that is asked for in a hurry, or by somebody who is busy, may not have it yet.
            Self::LateLists(_) | Self::Breaks { .. } | Self::Busy { .. } => true,
            Self::LostReply { .. }
            | Self::FailedDelete { .. }
            | Self::Accident { .. }
            | Self::Teardown { .. }
            | Self::SlowCalls(_)
            | Self::SlowStart(_)
            | Self::SlowDelete(_)
            | Self::Forgets
            | Self::Quota(_)
            | Self::UrlOnRequest
            | Self::Kill { .. }
            | Self::SlowDisk(_)
            | Self::Deadline(_)
            | Self::MaxSandboxes(_)
            | Self::Keep { .. } => {
                let accident = self.accident();
                accident.is_some_and(|(wrong, call, often)| wrong.makes_unclear(call, often))
            }
        }
    }

    /// Whether the server may say of a sandbox that it is not there though it is.
    pub(super) fn lies(&self) -> bool {
        let accident = self.accident();
        accident.is_some_and(|(wrong, ..)| wrong.lies())
            || matches!(self, Self::LateLists(_) | Self::Breaks { .. })
    }

    /// Whether no trial may be lost by it.
    pub(super) fn is_mild(&self) -> bool {
        match self {
            Self::LostReply { .. }
            | Self::FailedDelete { .. }
            | Self::SlowCalls(_)
            | Self::SlowStart(_)
            | Self::SlowDelete(_)
            | Self::LateLists(_)
            | Self::Forgets
            | Self::Quota(_)
            | Self::UrlOnRequest
            | Self::SlowDisk(_)
            | Self::Kill { .. }
            | Self::Keep { .. } => true,
            Self::Busy { .. }
            | Self::Accident { .. }
            | Self::Teardown { .. }
            | Self::Breaks { .. }
            | Self::RateLimits { .. }
            | Self::Signal { .. }
            | Self::Deadline(_)
            | Self::MaxSandboxes(_) => false,
        }
    }

    /// What does not hold when the first life of a run, to which this has happened, has ended by itself.
    pub(super) fn check(&self, world: &World, record: &Record, wrong: &mut Vec<String>) {
        let started = record.of_session("trial_started").count();
        match self {
            Self::MaxSandboxes(most) if started > *most as usize => {
                wrong.push(format!("over budget: {started} begun, {most} allowed"));
            }
            Self::Signal { .. } => {
                let events = record.session();
                let stop = events.iter().position(|it| it["event"] == "stop_requested");
                let later = &events[stop.unwrap_or(events.len())..];
                if later.iter().any(|it| it["event"] == "trial_started") {
                    wrong.push("begun after the stop: a trial".to_owned());
                }
            }
            Self::Keep { .. } => {
                let kept = record.run["cleanup"]["kept"].as_array();
                let kept = kept.map_or(0, Vec::len);
                let noted = record.ledger.iter().filter(|it| it["op"] == "kept").count();
                if kept != noted {
                    wrong.push(format!("kept: {kept} by the run, {noted} by the ledger"));
                }
            }
            Self::SlowDisk(_) => {
                if world.delays() == Some(0) {
                    wrong.push("not slow: the disk was never waited for".to_owned());
                }
            }
            Self::Deadline(milliseconds) => {
                let stopped = record.of_session("stop_requested").next();
                let by = stopped.is_some_and(|it| it["cause"] == "deadline");
                let took = record.of_session("run_finished").next();
                let took = took.and_then(|it| it["took_ms"].as_u64()).unwrap_or(0);
                // What is near to it may go either way.
                if !by && took > u64::from(*milliseconds) + 5000 {
                    wrong.push(format!("past its deadline: {took} ms"));
                }
            }
            Self::FailedDelete { times } => {
                let deletes = world.deletes();
                if (1..=*times as usize).contains(&deletes) {
                    wrong.push(format!("not deleted again: {deletes} deletes"));
                }
            }
            Self::MaxSandboxes(_)
            | Self::LostReply { .. }
            | Self::Busy { .. }
            | Self::Accident { .. }
            | Self::Teardown { .. }
            | Self::Breaks { .. }
            | Self::SlowCalls(_)
            | Self::SlowStart(_)
            | Self::SlowDelete(_)
            | Self::LateLists(_)
            | Self::Forgets
            | Self::Quota(_)
            | Self::RateLimits { .. }
            | Self::UrlOnRequest
            | Self::Kill { .. } => {}
        }
    }
}

/// A text of an event or a row.
pub(super) fn text<'a>(of: &'a Value, key: &str) -> &'a str {
    of[key].as_str().unwrap_or("")
}
