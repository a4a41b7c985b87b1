//! Exit codes: every way in which forge ends, numbered and documented.

use crate::event::StopCause;
use crate::name::CandidateName;
use crate::score::Points;
use crate::summary::{RunSummary, Standings};

/// How forge ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExitCode {
    /// Every trial ran; every asked-for gate held.
    Ok,
    /// Every trial ran, but no candidate passed its gates, or an asked-for gate was missed.
    Below,
    /// Flags, settings, candidates or objectives are wrong; nothing was started.
    Usage,
    /// Infrastructure left trials without a verdict.
    Incomplete,
    /// A sandbox could not be confirmed deleted: it costs money.
    Undeleted,
    /// SIGINT, after cleaning up.
    Interrupted,
    /// SIGTERM or SIGHUP, after cleaning up.
    Terminated,
}

impl ExitCode {
    /// The number that the shell sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Below => 1,
            Self::Usage => 2,
            Self::Incomplete => 3,
            Self::Undeleted => 4,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

/// What the caller asks of a run besides that it runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Demands {
    /// The winner's score must reach this.
    pub fail_under: Option<Points>,
    /// These must pass their gates in every trial.
    pub require: Vec<CandidateName>,
}

/// Decides how a run ended, and says why when that is not [`ExitCode::Ok`]. Pure.
///
/// An interruption beats everything but an undeleted sandbox, which beats all: it costs money.
#[must_use]
pub fn decide(
    summary: &RunSummary,
    standings: &Standings,
    demands: &Demands,
) -> (ExitCode, Vec<String>) {
    if let Some(cleanup) = summary
        .cleanup
        .as_ref()
        .filter(|it| !it.unconfirmed.is_empty())
    {
        let count = cleanup.unconfirmed.len();
        let why = format!("{count} sandbox(es) could not be confirmed deleted");
        return (ExitCode::Undeleted, vec![why]);
    }
    match summary.stopped {
        Some(StopCause::Interrupt) => {
            return (
                ExitCode::Interrupted,
                vec![StopCause::Interrupt.as_str().to_owned()],
            );
        }
        Some(cause @ (StopCause::Terminate | StopCause::HangUp)) => {
            return (ExitCode::Terminated, vec![cause.as_str().to_owned()]);
        }
        Some(StopCause::Deadline | StopCause::Infrastructure | StopCause::Caller) | None => {}
    }
    let lost = summary.lost();
    if lost > 0 {
        let why = format!("{lost} of {} trials have no verdict", summary.trials.len());
        return (ExitCode::Incomplete, vec![why]);
    }
    let missed = missed(standings, demands);
    if missed.is_empty() {
        (ExitCode::Ok, missed)
    } else {
        (ExitCode::Below, missed)
    }
}

fn missed(standings: &Standings, demands: &Demands) -> Vec<String> {
    let mut missed = Vec::new();
    match (&standings.winner, demands.fail_under) {
        (None, _) => missed.push("no candidate passed its gates".to_owned()),
        (Some(winner), Some(least)) if winner.score < least => {
            missed.push(format!("the best score is {}, below {least}", winner.score));
        }
        (Some(_), _) => {}
    }
    for name in &demands.require {
        let standing = standings
            .overall
            .iter()
            .find(|standing| standing.candidate == *name);
        match standing {
            None => missed.push(format!(
                "`{name}` is required, but was not among the candidates"
            )),
            Some(it) if it.passed < it.judged => {
                let trials = it.judged;
                missed.push(format!(
                    "`{name}` is required, but passed {} of {trials} trials",
                    it.passed
                ));
            }
            Some(_) => {}
        }
    }
    missed
}
