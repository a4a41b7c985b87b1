//! What the end of a command means, in words and for the trial.

use std::time::Duration;

use super::milliseconds;
use crate::event::TrialEnd;
use crate::objective::Limits;
use crate::sandbox::{Command, CommandEnd, CommandResult};

/// Why a command did not do its job, if so: `exited with code 1`.
pub(super) fn failure(end: &CommandEnd, limit: Duration) -> Option<String> {
    match end {
        CommandEnd::Exited(0) => None,
        CommandEnd::Exited(code) => {
            let meaning = crate::signal::meaning(*code);
            Some(format!("exited with code {code}{meaning}"))
        }
        CommandEnd::Signalled(signal) => {
            let signal = crate::signal::shown(*signal);
            Some(format!("was ended by signal {signal}"))
        }
        CommandEnd::TimedOut => Some(format!(
            "was not done within {}",
            crate::quantity::show_duration(limit)
        )),
        CommandEnd::LimitReached(which) => Some(format!("reached a limit: {which}")),
        CommandEnd::NotFound(programs) => Some(not_found(programs)),
        CommandEnd::CannotStart(why) => Some(format!("cannot be started: {why}")),
    }
}

fn not_found(programs: &[String]) -> String {
    let all = programs.join("`, `");
    match programs {
        [_] => format!("`{all}` is not installed in the sandbox"),
        _ => format!("none of `{all}` is installed in the sandbox"),
    }
}

/// What the end of the candidate's own command means for its trial.
pub(super) fn trial_end(result: &CommandResult, limits: &Limits, command: &Command) -> TrialEnd {
    match &result.end {
        CommandEnd::Exited(code) => TrialEnd::Exited { code: *code },
        CommandEnd::Signalled(signal) => TrialEnd::Killed { signal: *signal },
        CommandEnd::TimedOut => TrialEnd::TimedOut {
            limit_ms: milliseconds(limits.run),
        },
        CommandEnd::LimitReached(message) => TrialEnd::LimitReached {
            message: message.clone(),
        },
        CommandEnd::NotFound(programs) => TrialEnd::SetupFailed {
            message: not_found(programs),
        },
        CommandEnd::CannotStart(why) => {
            let message = format!("`{}` cannot be started: {why}", shown_program(command));
            TrialEnd::SetupFailed { message }
        }
    }
}

fn shown_program(command: &Command) -> String {
    let words: Vec<&str> = command
        .programs
        .first()
        .into_iter()
        .flatten()
        .map(String::as_str)
        // Not the two arguments of the contract: one of them is the whole prompt.
        .chain(
            command
                .arguments
                .iter()
                .rev()
                .skip(2)
                .rev()
                .map(String::as_str),
        )
        .collect();
    crate::plain::short(&words.join(" "), 80)
}
