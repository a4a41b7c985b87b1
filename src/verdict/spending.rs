//! Spending trials well: who is stopped at a look, and what is run again to be sure.
//!
//! Promises: functions of the summary, so that a run can be replayed; what a look found to be certain is what the
//! verdict says at the end, since that is of the trials that had ended by the look, at its level.

use std::collections::BTreeSet;

use super::looking::{self, Stage};
use super::{Verdict, family};
use crate::event::{Confirmation, Look, RunPlan, Stopped};
use crate::name::{CandidateName, ObjectiveName};
use crate::quantity::counted;
use crate::rule::{Comparison, How, Question, VerdictState};
use crate::standings::{self, LeadState};
use crate::statistics::draw::Random;
use crate::summary::RunSummary;

/// When nothing worse is in sight: the p-value of *worse* is above the first of the two, and that of *better* above
/// the second. Who seems to be better goes on, to be shown to be so.
///
/// Chosen by simulation (10 objectives, up to 6 and 9 repeats): a third of the trials is spared when nothing has
/// changed, and a loss of 20 points is missed 3 times in 100 more.
#[derive(Debug, Clone, Copy)]
struct Hopeless {
    worse: f64,
    better: f64,
}

/// Above which p-value a lead is out of sight at a late look.
const NO_LEAD: f64 = 0.5;

impl Hopeless {
    /// Of a comparison, at a look: whether it is late, and whether others are compared besides. These share the level,
    /// so that there is less to hope for.
    const fn of(question: Question, is_late: bool, is_alone: bool) -> Self {
        let (worse, better) = match (question, is_late, is_alone) {
            (Question::Control, false, true) => (1.0, 1.0),
            (Question::Control, false, false) => (0.4, 0.4),
            (Question::Control, true, _) => (0.2, 0.2),
            (Question::Baseline | Question::World, false, true) => (0.6, 0.1),
            (Question::Baseline | Question::World, false, false) => (0.4, 0.1),
            (Question::Baseline | Question::World, true, true) => (0.3, 0.1),
            (Question::Baseline | Question::World, true, false) => (0.25, 0.1),
        };
        Self { worse, better }
    }

    fn is(self, verdict: &Verdict) -> bool {
        let above = |p: Option<f64>, bound: f64| p.is_some_and(|p| p > bound);
        above(verdict.p_worse, self.worse) && above(verdict.p_better, self.better)
    }
}

/// Decides at a look, when all trials up to it have ended, whose further trials are spared. At the last look nobody's
/// are.
#[must_use]
pub fn decide(summary: &RunSummary, look: u32) -> Look {
    let stages = summary.plan.as_ref().map(looking::stages);
    let stages = stages.unwrap_or_default();
    let stage = stages.iter().find(|it| it.look == look);
    let (Some(plan), Some(stage)) = (&summary.plan, stage) else {
        return Look {
            look,
            level: 0.0,
            stopped: Vec::new(),
        };
    };
    let stopped = if look as usize == stages.len() {
        Vec::new()
    } else {
        let at = format!("at look {look} of {}", stages.len());
        let (at, is_late) = (at.as_str(), is_late(plan, stage));
        if let Some(left) = stage.left {
            by_rejects(summary, plan, stage, left)
        } else if !plan.asks_who_leads() {
            by_comparisons(summary, plan, stage, is_late, at)
        } else if plan.candidates.len() > 1 {
            by_lead(summary, plan, stage, is_late, at)
        } else {
            // One alone is asked nothing: whoever wants its trials wants all of them.
            Vec::new()
        }
    };
    Look {
        look,
        level: stage.level,
        stopped,
    }
}

/// Whether more than half of the planned rounds have ended.
fn is_late(plan: &RunPlan, stage: &Stage) -> bool {
    let all: u32 = plan.objectives.iter().map(|it| it.repeats).sum();
    stage.rounds.iter().sum::<u32>() * 2 > all
}

/// The lowest means go, until so many are left; among equal ones chance decides, by the seed.
fn by_rejects(summary: &RunSummary, plan: &RunPlan, stage: &Stage, left: usize) -> Vec<Stopped> {
    let before: BTreeSet<&CandidateName> = stopped(summary).collect();
    let mut standings = summary.standings().overall;
    standings.retain(|it| !before.contains(&it.candidate));
    // Who has no verdict on everything yet has no mean that could be the lowest.
    let (unranked, mut ranked): (Vec<_>, Vec<_>) =
        standings.into_iter().partition(|it| it.rank.is_none());
    // Whose names come first is not to be worth anything.
    ranked.sort_by(|a, b| a.candidate.cmp(&b.candidate));
    Random::new(plan.seed ^ u64::from(stage.look)).shuffle(&mut ranked);
    ranked.sort_by_key(|it| it.rank);
    let keep = left.saturating_sub(unranked.len()).max(1);
    let repeats = stage.rounds.iter().copied().max().unwrap_or(0);
    let after = counted(repeats, "repeat", "repeats");
    let dropped = ranked.into_iter().skip(keep).rev();
    dropped
        .map(|it| Stopped {
            candidate: it.candidate,
            reason: format!("spared: dropped after {after} by successive rejects"),
        })
        .collect()
}

/// Everybody goes on, or nobody.
fn by_lead(
    summary: &RunSummary,
    plan: &RunPlan,
    stage: &Stage,
    is_late: bool,
    at: &str,
) -> Vec<Stopped> {
    let standings = standings::of(plan, &summary.trials, stage.level, &[]);
    let Some(lead) = standings.lead else {
        return Vec::new();
    };
    let reason = match lead.state {
        LeadState::Winner => format!("spared: the lead is clear {at}"),
        LeadState::Tie if is_late => format!("spared: no lead is in sight {at}"),
        LeadState::NoClearWinner if is_late && lead.p.is_some_and(|p| p > NO_LEAD) => {
            format!("spared: no lead is in sight {at}")
        }
        LeadState::Tie | LeadState::NoClearWinner | LeadState::Nobody => return Vec::new(),
    };
    let candidates = plan.candidates.iter();
    let stopped = candidates.map(|it| Stopped {
        candidate: it.name.clone(),
        reason: reason.clone(),
    });
    stopped.collect()
}

/// A candidate goes on while a comparison of its own is open, or one of somebody who goes on is with it.
fn by_comparisons(
    summary: &RunSummary,
    plan: &RunPlan,
    stage: &Stage,
    is_late: bool,
    at: &str,
) -> Vec<Stopped> {
    let graded = super::graded(plan, &summary.standings());
    let verdicts = family::at_look(summary, plan, &graded, stage);
    let beside = || plan.comparisons.iter().filter(|it| it.how == How::Beside);
    if beside().next().is_none() {
        // A stored run's scores are compared with all that there is to be had.
        return Vec::new();
    }
    let is_alone = beside().count() * plan.rule.gate.len() == 1;
    let open = |comparison: &Comparison| {
        let of_pair: Vec<&Verdict> = verdicts
            .iter()
            .filter(|it| it.candidate == comparison.candidate && it.against == comparison.against)
            .filter(|it| it.question == comparison.question)
            .collect();
        let hopeless = Hopeless::of(comparison.question, is_late, is_alone);
        settled(&of_pair, hopeless)
    };
    let before: BTreeSet<&CandidateName> = stopped(summary).collect();
    let mut left: Vec<Stopped> = Vec::new();
    let mut goes_on: BTreeSet<&CandidateName> = BTreeSet::new();
    for candidate in &plan.candidates {
        let name = &candidate.name;
        let own: Vec<Option<Settled>> = beside()
            .filter(|it| it.candidate == *name)
            .map(open)
            .collect();
        if own.is_empty() || before.contains(name) {
            continue;
        }
        match own.into_iter().collect::<Option<Vec<Settled>>>() {
            None => {
                goes_on.insert(name);
            }
            Some(settled) => left.push(Stopped {
                candidate: name.clone(),
                reason: format!("spared: {} {at}", Settled::all(&settled)),
            }),
        }
    }
    // With whom somebody is compared who goes on, goes on.
    loop {
        let more = beside()
            .filter(|it| goes_on.contains(&it.candidate) && !goes_on.contains(&it.against))
            .map(|it| &it.against)
            .collect::<Vec<_>>();
        if more.is_empty() {
            break;
        }
        goes_on.extend(more);
    }
    left.retain(|it| !goes_on.contains(&it.candidate));
    let compared = |name: &CandidateName| {
        let mut sides = beside().flat_map(|it| [&it.candidate, &it.against]);
        sides.any(|it| it == name)
    };
    for candidate in &plan.candidates {
        let name = &candidate.name;
        let is_told = before.contains(name) || left.iter().any(|it| it.candidate == *name);
        // Who is in no comparison goes on as long as anybody does.
        let rests = !goes_on.contains(name) && (compared(name) || goes_on.is_empty());
        if rests && !is_told {
            left.push(Stopped {
                candidate: name.clone(),
                reason: format!("spared: nobody is compared with it any more {at}"),
            });
        }
    }
    left
}

/// Whom an earlier look has stopped.
fn stopped(summary: &RunSummary) -> impl Iterator<Item = &CandidateName> {
    let stopped = summary.looks.iter().flat_map(|it| &it.stopped);
    stopped.map(|it| &it.candidate)
}

/// Why a comparison needs no further trials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Settled {
    Regression,
    Improvement,
    NoChange,
    Hopeless(Question),
}

impl Settled {
    /// In words, of all comparisons of a candidate.
    fn all(settled: &[Self]) -> &'static str {
        let first = settled.iter().min();
        match first {
            Some(Self::Regression) => "a regression is certain",
            Some(it) if settled.iter().any(|other| other != it) => "nothing more is in sight",
            Some(Self::Improvement) => "an improvement is certain",
            Some(Self::NoChange) => "nothing has changed",
            Some(Self::Hopeless(Question::Control)) => "no difference is in sight",
            Some(Self::Hopeless(Question::Baseline | Question::World)) | None => {
                "no loss is in sight"
            }
        }
    }
}

/// Why a comparison needs no further trials, if so: a regression on anything that can fail the run is one, whatever
/// the rest may show; everything else has to hold for all of it.
fn settled(verdicts: &[&Verdict], hopeless: Hopeless) -> Option<Settled> {
    let regression = |it: &&Verdict| it.state == VerdictState::Regression;
    if verdicts.iter().any(regression) {
        return Some(Settled::Regression);
    }
    let each = verdicts.iter().map(|verdict| match verdict.state {
        VerdictState::Improvement => Some(Settled::Improvement),
        VerdictState::NoChange | VerdictState::Cheaper => Some(Settled::NoChange),
        VerdictState::Inconclusive if hopeless.is(verdict) => {
            Some(Settled::Hopeless(verdict.question))
        }
        VerdictState::Inconclusive
        | VerdictState::Invalid
        | VerdictState::Regression
        | VerdictState::Watch
        | VerdictState::Drifted
        | VerdictState::Steady
        | VerdictState::Unchanged => None,
    });
    // The least sure one speaks for all; without any, there is nothing to go by.
    each.collect::<Option<Vec<Settled>>>()?.into_iter().max()
}

/// What is run again.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Confirming {
    /// Who, against whom.
    pub confirmations: Vec<Confirmation>,
    /// The objectives on which it could show nothing.
    pub ungraded: Vec<ObjectiveName>,
    /// What cannot be run again, in words.
    pub warnings: Vec<String>,
}

/// Decides, when all planned trials have ended, what is run again.
#[must_use]
pub fn confirm(summary: &RunSummary) -> Confirming {
    let mut confirming = Confirming::default();
    let Some((plan, trials)) = summary.plan.as_ref().and_then(|it| Some((it, it.confirm?))) else {
        return confirming;
    };
    let standings = summary.standings();
    let ungraded = |name: &ObjectiveName| standings.ungraded(name).is_some();
    let objectives = plan.objectives.iter().map(|it| &it.name);
    confirming.ungraded = objectives.filter(|it| ungraded(it)).cloned().collect();
    let verdicts = super::of(summary, &standings);
    for verdict in verdicts.iter().filter(|it| it.gates) {
        let (candidate, against) = (&verdict.candidate, &verdict.against);
        match verdict.state {
            VerdictState::Regression => {
                let confirmation = Confirmation {
                    candidate: candidate.clone(),
                    against: against.clone(),
                    trials,
                };
                if !confirming.confirmations.contains(&confirmation) {
                    confirming.confirmations.push(confirmation);
                }
            }
            VerdictState::Watch => confirming.warnings.push(format!(
                "what {candidate} lost against {against} cannot be confirmed: its former files are not there"
            )),
            VerdictState::Invalid
            | VerdictState::Drifted
            | VerdictState::Inconclusive
            | VerdictState::Improvement
            | VerdictState::Cheaper
            | VerdictState::NoChange
            | VerdictState::Steady
            | VerdictState::Unchanged => {}
        }
    }
    confirming
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventKind;
    use crate::summary::tests::History;

    const OBJECTIVES: [&str; 6] = ["code", "docs", "logs", "mail", "post", "sql"];

    fn name(text: &str) -> CandidateName {
        CandidateName::parse(text).unwrap()
    }

    /// A run with these questions, of which so many rounds, of nine, have ended.
    fn run(
        candidates: &[&str],
        control: Option<&str>,
        rounds: u32,
        passes: impl Fn(&str, usize, u32) -> bool,
    ) -> History {
        let mut history = History::of(candidates, &OBJECTIVES, 9).planned(|plan| {
            plan.looks = 3;
            let others = candidates.iter().filter(|it| Some(**it) != control);
            let compared = others.filter_map(|it| {
                Some(Comparison {
                    question: Question::Control,
                    candidate: name(it),
                    against: name(control?),
                    how: How::Beside,
                })
            });
            plan.comparisons = compared.collect();
            plan.rejects = looking::rejects(plan).is_some();
        });
        for candidate in candidates {
            for (at, objective) in OBJECTIVES.iter().enumerate() {
                for repeat in 1..=rounds {
                    let trial = format!("{objective}/{candidate}/{repeat}");
                    history = if passes(candidate, at, repeat) {
                        history.scored(&trial, 80.0)
                    } else {
                        history.disqualified(&trial)
                    };
                }
            }
        }
        history
    }

    fn decided(history: &History, look: u32) -> Vec<(String, String)> {
        let stopped = decide(&history.summary(), look).stopped.into_iter();
        stopped
            .map(|it| (it.candidate.to_string(), it.reason))
            .collect()
    }

    fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
        of.iter()
            .map(|it| (it.0.to_owned(), it.1.to_owned()))
            .collect()
    }

    /// Passes in two of three repeats, each objective in others.
    fn mixed(at: usize, repeat: u32) -> bool {
        !(u32::try_from(at).unwrap() + repeat).is_multiple_of(3)
    }

    #[test]
    fn who_is_certain_is_stopped_and_the_control_when_nobody_is_left() {
        let passes = |name: &str, at, repeat| match name {
            "bad" => false,
            _ => mixed(at, repeat),
        };
        let history = run(&["bad", "control"], Some("control"), 3, passes);
        let why = "spared: a regression is certain at look 1 of 3";
        let rest = "spared: nobody is compared with it any more at look 1 of 3";
        assert_eq!(
            decided(&history, 1),
            pairs(&[("bad", why), ("control", rest)])
        );
        // Early on a small difference may still become a real one.
        let three = ["bad", "control", "other"];
        let other = |name: &str, at, repeat| match name {
            "other" => mixed(at, repeat) && !(at == 0 && repeat == 1),
            _ => passes(name, at, repeat),
        };
        let history = run(&three, Some("control"), 3, other);
        assert_eq!(decided(&history, 1), pairs(&[("bad", why)]));
        assert_eq!(decide(&history.summary(), 3).stopped, []);
        assert_eq!(decide(&history.summary(), 4).stopped, []);
    }

    #[test]
    fn what_a_look_decided_stays_so_whatever_the_control_does_later() {
        let bad_later = |name: &str, at, repeat| match name {
            "bad" => false,
            "other" if (at, repeat) == (0, 1) => false,
            _ => repeat <= 3 && mixed(at, repeat),
        };
        let three = ["bad", "control", "other"];
        let history = run(&three, Some("control"), 3, bad_later);
        let look = decide(&history.summary(), 1);
        assert_eq!(look.stopped[0].candidate, name("bad"));
        let look = EventKind::Looked(look);
        let mut history = run(&three, Some("control"), 9, bad_later).then(look);
        history = history.then(EventKind::Looked(Look {
            look: 3,
            level: 0.045,
            stopped: Vec::new(),
        }));
        let summary = history.summary();
        let verdicts = super::super::of(&summary, &summary.standings());
        let of = |candidate: &str| verdicts.iter().find(|it| it.candidate == name(candidate));
        let bad = of("bad").unwrap();
        assert_eq!(bad.state, VerdictState::Regression);
        assert!(bad.early);
        assert_eq!((bad.trials.candidate, bad.trials.against), (18, 18));
        let other = of("other").unwrap();
        assert_eq!((other.trials.candidate, other.early), (54, false));
    }

    #[test]
    fn what_cannot_become_a_loss_is_stopped_and_what_looks_better_is_not() {
        let alone = Hopeless::of(Question::Baseline, false, true);
        let late = Hopeless::of(Question::Baseline, true, true);
        let control = Hopeless::of(Question::Control, true, true);
        let first = Hopeless::of(Question::Control, false, true);
        let is = |it: Hopeless, worse: f64, better: f64| {
            let history = run(&["a", "b"], Some("b"), 3, |_, at, repeat| mixed(at, repeat));
            let summary = history.summary();
            let verdict = super::super::of(&summary, &summary.standings()).remove(0);
            it.is(&Verdict {
                p_worse: Some(worse),
                p_better: Some(better),
                ..verdict
            })
        };
        assert!(is(alone, 0.7, 0.3));
        assert!(!is(alone, 0.5, 0.5));
        assert!(!is(alone, 0.95, 0.05));
        assert!(is(late, 0.4, 0.6));
        assert!(is(control, 0.5, 0.5) && !is(control, 0.9, 0.1) && !is(control, 0.1, 0.9));
        assert!(!is(first, 0.5, 0.5));
    }

    #[test]
    fn who_leads_is_clear_or_out_of_sight_for_all_at_once() {
        let clear = |name: &str, at, repeat| name == "good" && mixed(at, repeat + 1);
        let history = run(&["bad", "good"], None, 3, clear);
        let why = "spared: the lead is clear at look 1 of 3";
        assert_eq!(decided(&history, 1), pairs(&[("bad", why), ("good", why)]));
        let same = |_: &str, at, repeat| mixed(at, repeat);
        assert_eq!(decided(&run(&["a", "b"], None, 3, same), 1), []);
        let why = "spared: no lead is in sight at look 2 of 3";
        assert_eq!(
            decided(&run(&["a", "b"], None, 6, same), 2),
            pairs(&[("a", why), ("b", why)])
        );
    }

    #[test]
    fn one_alone_and_what_a_stored_run_is_compared_with_go_on_to_the_end() {
        let history = run(&["a"], None, 3, |_, at, repeat| mixed(at, repeat));
        assert_eq!(decided(&history, 1), []);
        let bad = |name: &str, at, repeat| name == "good" && mixed(at, repeat + 1);
        let history = run(&["bad", "good"], Some("good"), 3, bad);
        let history = history.planned(|plan| plan.comparisons[0].how = How::Screened);
        assert_eq!(decided(&history, 1), []);
    }

    #[test]
    fn of_many_the_lowest_mean_is_dropped_and_stands_last() {
        // The later its name, the fewer objectives it does.
        let names = ["a", "b", "c", "d", "e"];
        let passes = |name: &str, at: usize, _| {
            let place = names.iter().position(|it| *it == name).unwrap();
            at + place < OBJECTIVES.len()
        };
        let history = run(&names, None, 4, passes);
        let why = "spared: dropped after 4 repeats by successive rejects";
        assert_eq!(decided(&history, 1), pairs(&[("e", why)]));
        let look = decide(&history.summary(), 1);
        let history = history.then(EventKind::Looked(look));
        let why = "spared: dropped after 5 repeats by successive rejects";
        assert_eq!(decided(&history, 2), pairs(&[("d", why)]));
        // Everybody else has got worse since: who was dropped is last all the same.
        let mut worse = history.clone();
        for candidate in &names[..4] {
            for objective in OBJECTIVES {
                for repeat in 5..=9 {
                    worse = worse.disqualified(&format!("{objective}/{candidate}/{repeat}"));
                }
            }
        }
        let standings = worse.standings();
        let order: Vec<&str> = standings
            .overall
            .iter()
            .map(|it| it.candidate.as_str())
            .collect();
        assert_eq!(order, names);
        let lead = standings.lead.unwrap();
        assert_eq!((lead.state, lead.p), (LeadState::NoClearWinner, None));
    }

    #[test]
    fn only_what_is_a_regression_is_run_again_and_once() {
        let passes = |name: &str, at, repeat| name != "bad" && mixed(at, repeat);
        let history = run(&["bad", "control", "same"], Some("control"), 9, passes);
        assert_eq!(confirm(&history.summary()), Confirming::default());
        let history = history.planned(|plan| {
            plan.confirm = Some(2);
            plan.rule.gate = vec![crate::rule::Measure::Score, crate::rule::Measure::Passed];
        });
        let again = Confirmation {
            candidate: name("bad"),
            against: name("control"),
            trials: 2,
        };
        assert_eq!(confirm(&history.summary()).confirmations, [again]);
    }
}
