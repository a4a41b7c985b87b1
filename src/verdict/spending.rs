//! Spending trials well: who is stopped at a look, and what is run again to be sure.
//!
//! Promises: functions of the summary, so that a run can be replayed; what a look found to be certain is what the
//! verdict says at the end, since that is of the trials that had ended by the look, at its level.

use std::collections::BTreeSet;

use super::looking::{self, Stage};
use super::{Verdict, family};
use crate::event::{Confirmation, Look, RunPlan, Stopped};
use crate::name::{CandidateName, ObjectiveName};
use crate::rule::{Comparison, How, Question, VerdictState};
use crate::standings::{self, LeadState};
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
            (Question::Baseline | Question::World, false, true) => (0.5, 0.1),
            (Question::Baseline | Question::World, false, false) => (0.4, 0.1),
            (Question::Baseline | Question::World, true, true) => (0.35, 0.1),
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
        if plan.asks_who_leads() {
            by_lead(summary, plan, stage, is_late, at)
        } else {
            by_comparisons(summary, plan, stage, is_late, at)
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

/// Everybody goes on, or nobody.
fn by_lead(
    summary: &RunSummary,
    plan: &RunPlan,
    stage: &Stage,
    is_late: bool,
    at: &str,
) -> Vec<Stopped> {
    let standings = standings::of(plan, &summary.trials, stage.level);
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
