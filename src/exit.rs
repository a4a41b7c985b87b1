//! Exit codes: every way in which forge ends, numbered and documented.

pub use crate::event::Demands;
use crate::event::RunPlan;
use crate::event::StopCause;
use crate::name::CandidateName;
use crate::quantity::counted;
use crate::rule::{Question, VerdictState};
use crate::standings::{Standing, Standings};
use crate::summary::RunSummary;
use crate::verdict::Verdict;

/// How forge ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExitCode {
    /// Every trial ran; every asked-for gate held.
    Ok,
    /// Every trial ran, but no candidate passed its gates, or an asked-for gate was missed.
    Below,
    /// Flags, settings, candidates or objectives are wrong; nothing was started.
    Usage,
    /// Infrastructure left trials without a verdict, or an objective is ungraded.
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

/// Decides how a run ended, by what was asked of it, and says why when that is not [`ExitCode::Ok`]. Pure.
///
/// An interruption beats everything but an undeleted sandbox, which beats all: it costs money.
#[must_use]
pub fn decide(
    summary: &RunSummary,
    standings: &Standings,
    verdicts: &[Verdict],
) -> (ExitCode, Vec<String>) {
    if let Some(cleanup) = summary
        .cleanup
        .as_ref()
        .filter(|it| !it.unconfirmed.is_empty())
    {
        let count = cleanup.unconfirmed.len();
        let sandboxes = crate::quantity::counted(count, "sandbox", "sandboxes");
        let why = format!("{sandboxes} could not be confirmed deleted");
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
        Some(
            StopCause::Deadline
            | StopCause::Infrastructure
            | StopCause::Unsaved
            | StopCause::Caller,
        )
        | None => {}
    }
    let unknown = unknown(summary, standings, verdicts);
    let is_part = summary.plan.as_ref().is_some_and(|it| it.shard.is_some());
    // Of a part, only what has no result is known to be missing of the whole.
    let is_known = unknown.is_empty() || (is_part && summary.lost() == 0);
    if !is_known {
        return (ExitCode::Incomplete, unknown);
    }
    let Some(plan) = &summary.plan else {
        return (ExitCode::Ok, Vec::new());
    };
    // What it comes to is for all parts together to say.
    if plan.shard.is_some() {
        return (ExitCode::Ok, Vec::new());
    }
    let invalid = verdicts.iter();
    // Where something can be said, it does not matter that of the world nothing can, unless that was asked.
    let nothing = verdicts.iter().all(|it| it.state == VerdictState::Invalid);
    let asks = plan.rule.fail_on.contains(&VerdictState::Drifted);
    let counts =
        |it: &Verdict| it.gates || it.lost || nothing || (asks && it.question == Question::World);
    let invalid = invalid.filter(|it| it.state == VerdictState::Invalid && counts(it));
    let invalid: Vec<&Verdict> = invalid.collect();
    let lost = invalid.iter().any(|it| it.lost);
    if !invalid.is_empty() {
        let why = invalid.iter().map(|it| it.explanation.clone());
        let code = if lost {
            ExitCode::Incomplete
        } else {
            ExitCode::Usage
        };
        return (code, why.collect());
    }
    let mut why = missed(plan, standings);
    why.extend(failed(plan, verdicts));
    if why.is_empty() {
        (ExitCode::Ok, why)
    } else {
        (ExitCode::Below, why)
    }
}

/// Whether any of today's candidates is in the run.
fn has_today(plan: &RunPlan) -> bool {
    let mut candidates = plan.candidates.iter();
    candidates.any(|it| it.name.version().is_none())
}

/// The verdicts that fail the run.
fn failed(plan: &RunPlan, verdicts: &[Verdict]) -> Vec<String> {
    let fails = |it: &&Verdict| {
        let counts = it.gates || it.question == Question::World;
        counts && plan.rule.fail_on.contains(&it.state)
    };
    verdicts.iter().filter(fails).map(Verdict::line).collect()
}

/// What nobody can know after this run.
fn unknown(summary: &RunSummary, standings: &Standings, verdicts: &[Verdict]) -> Vec<String> {
    let lost = match summary.lost() {
        0 => None,
        lost => Some(format!(
            "no verdict on {lost} of {}",
            counted(summary.trials.len(), "trial", "trials")
        )),
    };
    // Every report says why, before anything else.
    let ungraded = standings.objectives.iter();
    let ungraded = ungraded.filter(|it| it.ungraded.is_some());
    let ungraded = ungraded.map(|it| format!("objective {} is ungraded", it.objective));
    let unconfirmed = unconfirmed(summary, verdicts);
    lost.into_iter()
        .chain(ungraded)
        .chain(unconfirmed)
        .collect()
}

/// That a run was cut off before what looks like a regression was run again, as it was asked to be.
fn unconfirmed(summary: &RunSummary, verdicts: &[Verdict]) -> Option<String> {
    let asked = summary.plan.as_ref().is_some_and(|it| it.confirm.is_some());
    let confirmed = |it: &&Verdict| {
        let mut confirmed = summary.confirmations.iter();
        confirmed.any(|of| of.candidate == it.candidate && of.against == it.against)
    };
    let mut looks_worse = verdicts.iter();
    let looks_worse = looks_worse
        .find(|it| it.gates && it.state == VerdictState::Regression && !confirmed(it))?;
    (asked && summary.took.is_none()).then(|| {
        format!(
            "the run ended before it was confirmed that {} is worse than {}",
            looks_worse.candidate, looks_worse.against
        )
    })
}

fn missed(plan: &RunPlan, standings: &Standings) -> Vec<String> {
    let demands = &plan.demands;
    let mut missed = Vec::new();
    match (&standings.winner, demands.fail_under) {
        // What has not changed was not run, and copies of a candidate have no winner.
        (None, _) if plan.is_empty() || !has_today(plan) => {}
        (None, _) => missed.push("no candidate passed its gates".to_owned()),
        // In tenths, as shown: a score that reads like the demand meets it.
        (Some(winner), Some(least)) if winner.score.tenths() < least.tenths() => {
            missed.push(format!("the best score is {}, below {least}", winner.score));
        }
        (Some(_), _) => {}
    }
    let of = |name: &CandidateName| standings.overall.iter().find(|it| it.candidate == *name);
    for (name, least) in &demands.floors {
        match of(name) {
            None => missed.push(format!(
                "`{name}` has to have {least} points, but was not among the candidates"
            )),
            Some(Standing { score: None, .. }) => {
                missed.push(format!(
                    "`{name}` has no score, and has to have {least} points"
                ));
            }
            Some(Standing {
                score: Some(score), ..
            }) if score.tenths() < least.tenths() => {
                missed.push(format!("`{name}` has {score} points, below {least}"));
            }
            Some(_) => {}
        }
    }
    for name in &demands.require {
        match of(name) {
            None => missed.push(format!(
                "`{name}` is required, but was not among the candidates"
            )),
            Some(it) if it.passed < it.judged => {
                let trials = counted(it.judged, "trial", "trials");
                missed.push(format!(
                    "`{name}` is required, but passed {} of {trials}",
                    it.passed
                ));
            }
            Some(_) => {}
        }
    }
    missed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Cleanup, EventKind, Undeleted};
    use crate::name::CandidateName;
    use crate::score::Points;
    use crate::summary::tests::History;

    #[track_caller]
    fn check(history: &History, demands: &Demands, code: ExitCode, why: &[&str]) {
        let mut summary = history.summary();
        if let Some(plan) = &mut summary.plan {
            plan.demands = demands.clone();
        }
        let (got, reasons) = decide(&summary, &summary.standings(), &[]);
        assert_eq!(
            (got, reasons.iter().map(String::as_str).collect::<Vec<_>>()),
            (code, why.to_vec())
        );
    }

    fn fail_under(least: f64) -> Demands {
        Demands {
            fail_under: Points::new(least),
            ..Demands::default()
        }
    }

    fn require(names: &[&str]) -> Demands {
        Demands {
            require: names
                .iter()
                .map(|name| CandidateName::parse(name).unwrap())
                .collect(),
            ..Demands::default()
        }
    }

    fn stop(cause: StopCause) -> EventKind {
        EventKind::StopRequested {
            cause,
            hurry: false,
        }
    }

    fn cleaned(unconfirmed: usize) -> EventKind {
        let undeleted = Undeleted {
            name: "forge-1-alpha".to_owned(),
            id: None,
            error: "unreachable".to_owned(),
        };
        EventKind::CleanedUp(Cleanup {
            deleted: 2,
            unconfirmed: vec![undeleted; unconfirmed],
            ..Cleanup::default()
        })
    }

    /// Two candidates with one trial each: one passes with 79.96 points, which reads 80.0; one fails.
    fn finished() -> History {
        History::of(&["alpha", "beta"], &["post"], 1)
            .scored("post/alpha/1", 79.96)
            .disqualified("post/beta/1")
    }

    #[test]
    fn a_finished_run_is_judged_by_what_was_asked_for() {
        let run = finished().then(cleaned(0));
        check(&run, &Demands::default(), ExitCode::Ok, &[]);
        check(&run, &fail_under(80.0), ExitCode::Ok, &[]);
        let below = "the best score is 80.0, below 80.1";
        check(&run, &fail_under(80.1), ExitCode::Below, &[below]);
        check(&run, &require(&["alpha"]), ExitCode::Ok, &[]);
        let beta = "`beta` is required, but passed 0 of 1 trial";
        let gamma = "`gamma` is required, but was not among the candidates";
        check(
            &run,
            &require(&["beta", "gamma"]),
            ExitCode::Below,
            &[beta, gamma],
        );
    }

    #[test]
    fn a_run_in_which_nobody_passed_is_below() {
        let run = History::of(&["alpha"], &["post"], 1).disqualified("post/alpha/1");
        let why = "no candidate passed its gates";
        check(&run, &Demands::default(), ExitCode::Below, &[why]);
        check(&run, &fail_under(0.0), ExitCode::Below, &[why]);
    }

    #[test]
    fn a_trial_without_a_verdict_makes_the_run_incomplete_whatever_else_was_missed() {
        let why = "no verdict on 1 of 2 trials";
        let never_finished =
            History::of(&["alpha", "beta"], &["post"], 1).scored("post/alpha/1", 9.0);
        check(
            &never_finished,
            &fail_under(50.0),
            ExitCode::Incomplete,
            &[why],
        );
        let lost = never_finished.lost("post/beta/1");
        check(&lost, &Demands::default(), ExitCode::Incomplete, &[why]);
        let deadline = lost.then(stop(StopCause::Deadline));
        check(&deadline, &Demands::default(), ExitCode::Incomplete, &[why]);
    }

    #[test]
    fn an_ungraded_objective_makes_the_run_incomplete() {
        use crate::score::Went;
        let run = History::of(&["alpha", "beta"], &["post"], 1)
            .graded("post/alpha/1", &[(Went::FailedAsUngraded, 0.0)]);
        let why = "objective post is ungraded";
        let lost = "no verdict on 1 of 2 trials";
        check(&run, &fail_under(0.0), ExitCode::Incomplete, &[lost, why]);
        let run = run.graded("post/beta/1", &[(Went::Failed, 0.0)]);
        check(&run, &require(&["alpha"]), ExitCode::Incomplete, &[why]);
        check(
            &run.then(stop(StopCause::Interrupt)),
            &Demands::default(),
            ExitCode::Interrupted,
            &["interrupted (SIGINT)"],
        );
    }

    #[test]
    fn a_signal_beats_the_verdict_and_the_first_one_counts() {
        let interrupted = "interrupted (SIGINT)";
        let run = finished()
            .then(stop(StopCause::Interrupt))
            .then(stop(StopCause::Terminate));
        check(
            &run,
            &fail_under(99.0),
            ExitCode::Interrupted,
            &[interrupted],
        );
        for (cause, why) in [
            (StopCause::Terminate, "terminated (SIGTERM)"),
            (StopCause::HangUp, "the terminal hung up (SIGHUP)"),
        ] {
            let run = finished().then(stop(cause));
            check(&run, &Demands::default(), ExitCode::Terminated, &[why]);
        }
        for cause in [
            StopCause::Deadline,
            StopCause::Infrastructure,
            StopCause::Unsaved,
            StopCause::Caller,
        ] {
            check(
                &finished().then(stop(cause)),
                &Demands::default(),
                ExitCode::Ok,
                &[],
            );
        }
    }

    #[test]
    fn an_undeleted_sandbox_beats_everything() {
        let why = "2 sandboxes could not be confirmed deleted";
        for run in [
            finished(),
            finished().lost("post/beta/1"),
            finished().then(stop(StopCause::Interrupt)),
        ] {
            let run = run.then(cleaned(2));
            check(&run, &fail_under(99.0), ExitCode::Undeleted, &[why]);
        }
    }

    #[test]
    fn the_numbers_are_as_documented() {
        for (code, number) in [
            (ExitCode::Ok, 0),
            (ExitCode::Below, 1),
            (ExitCode::Usage, 2),
            (ExitCode::Incomplete, 3),
            (ExitCode::Undeleted, 4),
            (ExitCode::Interrupted, 130),
            (ExitCode::Terminated, 143),
        ] {
            assert_eq!(code.code(), number);
        }
    }
}
