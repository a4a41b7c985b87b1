//! Verdicts: is the difference real? What the trials of two sides say, measure by measure.
//!
//! Promises: a function of the summary, so that the same journal gives the same verdicts to the byte; all comparisons
//! that can fail a run are one family, so that the level holds for the run and not for each of them; trials that
//! were lost are missing, never losses. The methods are in [`crate::statistics`].

use serde::Serialize;

use crate::event::RunPlan;
use crate::name::{CandidateName, ObjectiveName};
use crate::rule::{Comparison, How, Measure, Question, Rule, Unit, VerdictState};
use crate::standings::Standings;
use crate::summary::RunSummary;

pub mod alike;
mod family;
pub mod looking;
mod measures;
mod sides;
pub mod spending;
mod tested;
mod words;

pub use sides::{place, stored};

/// What is said of one candidate against another on one measure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// What it answers.
    pub question: Question,
    /// The candidate.
    pub candidate: CandidateName,
    /// What it is compared with.
    pub against: CandidateName,
    /// On what.
    pub measure: Measure,
    /// Whether it can fail the run.
    pub gates: bool,
    /// What is said.
    pub state: VerdictState,
    /// Candidate minus against: points, or percent of against. `None` without anything to compare.
    pub effect: Option<f64>,
    /// In what.
    pub unit: Unit,
    /// Where the effect lies, with 95 % confidence over objectives; `None` of one objective.
    pub interval: Option<[f64; 2]>,
    /// The smallest change that counts.
    pub threshold: f64,
    /// The mid-p of *it is worse*.
    pub p_worse: Option<f64>,
    /// That of *it is better*.
    pub p_better: Option<f64>,
    /// The first, adjusted for its family (Holm).
    pub p_worse_adjusted: Option<f64>,
    /// The second, adjusted for its own.
    pub p_better_adjusted: Option<f64>,
    /// *Would it be so on new objectives of this kind?*, two-sided; only where the rule asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p_general: Option<f64>,
    /// How many trials have a verdict on what is comparable.
    pub trials: Trials,
    /// The effect on each objective, the worst first; of measures that can fail the run.
    pub objectives: Vec<OnObjective>,
    /// What is not comparable, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_comparable: Vec<String>,
    /// The smallest effect that these trials would show four times in five.
    pub sees: Option<f64>,
    /// What would settle it.
    pub settled_by: Option<SettledBy>,
    /// Whether it was decided before all planned trials had run.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub early: bool,
    /// Whether it is invalid because trials were lost.
    #[serde(skip)]
    pub lost: bool,
    /// All of it in a sentence.
    pub explanation: String,
}

/// How many trials have a verdict on each side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Trials {
    /// Of the candidate.
    pub candidate: usize,
    /// Of what it is compared with.
    pub against: usize,
}

/// The effect on one objective.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OnObjective {
    /// Which.
    pub objective: ObjectiveName,
    /// Candidate minus against.
    pub effect: f64,
}

/// What would settle an inconclusive comparison more often than not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SettledBy {
    /// So many more repeats of every objective.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeats: Option<u32>,
    /// So many objectives of this kind in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objectives: Option<u32>,
}

impl Verdict {
    /// How much worse it is: points lost, or percent risen.
    #[must_use]
    pub fn loss(&self) -> Option<f64> {
        self.effect.map(|effect| self.unit.loss(effect))
    }

    /// The adjusted p-value of what it looks like: worse, or better.
    #[must_use]
    pub fn p(&self) -> Option<f64> {
        if self.loss()? >= 0.0 {
            self.p_worse_adjusted
        } else {
            self.p_better_adjusted
        }
    }

    /// In one line that a person can act on: `REGRESSION  gamma lost 14.2 points …`.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{}  {}", self.state.shouted(), self.explanation)
    }
}

/// All verdicts of a run, in the order of its comparisons, what can fail it first.
#[must_use]
pub fn of(summary: &RunSummary, standings: &Standings) -> Vec<Verdict> {
    let Some(plan) = summary
        .plan
        .as_ref()
        .filter(|it| !it.comparisons.is_empty())
    else {
        return Vec::new();
    };
    family::judge(summary, plan, &graded(plan, standings))
}

/// The objectives on which anybody can be judged.
fn graded<'a>(plan: &'a RunPlan, standings: &Standings) -> Vec<&'a ObjectiveName> {
    let names = plan.objectives.iter().map(|it| &it.name);
    names
        .filter(|name| standings.ungraded(name).is_none())
        .collect()
}

/// What is said of two sides that must not be compared, whatever their trials say.
#[must_use]
pub fn not_comparable(comparison: &Comparison, rule: &Rule, why: &str) -> Verdict {
    let measure = rule.gate.first().unwrap_or(&Measure::Score).clone();
    let (candidate, against) = (&comparison.candidate, &comparison.against);
    Verdict {
        question: comparison.question,
        candidate: candidate.clone(),
        against: against.clone(),
        gates: comparison.how != How::Again,
        state: VerdictState::Invalid,
        effect: None,
        unit: measure.unit(),
        interval: None,
        threshold: rule.threshold(&measure),
        p_worse: None,
        p_better: None,
        p_worse_adjusted: None,
        p_better_adjusted: None,
        p_general: None,
        trials: Trials::default(),
        objectives: Vec::new(),
        not_comparable: Vec::new(),
        sees: None,
        settled_by: None,
        early: false,
        lost: false,
        explanation: format!("{candidate} cannot be compared with {against}: {why}"),
        measure,
    }
}

/// The verdict that comes first: the worst that can fail the run, else the worst. `None` without any.
#[must_use]
pub fn first(verdicts: &[Verdict]) -> Option<&Verdict> {
    verdicts
        .iter()
        .min_by_key(|it| (!it.gates && it.question != Question::World, it.state))
}

#[cfg(test)]
mod tests;
