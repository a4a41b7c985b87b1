//! The two sides of a comparison: which trials stand against which.

use std::time::Duration;

use jiff::Timestamp;

use super::looking::When;
use crate::event::{Measured, PlannedObjective, RunPlan, StoredObjective, StoredScores};
use crate::name::{CandidateName, ObjectiveName};
use crate::quantity::{counted, show_duration};
use crate::rule::{Comparison, How, Measure};
use crate::score::Points;
use crate::summary::{RunSummary, TrialRow, Trials};

/// The share of a side's trials of which more may not be lost.
const MOST_LOST: f64 = 0.20;

/// A trial with a verdict, of this run or of a stored one.
#[derive(Debug, Clone, Copy)]
pub(super) enum Trial<'a> {
    Run(TrialRow<'a>),
    Stored(&'a Measured),
}

impl Trial<'_> {
    /// What it is worth; points as 0 to 1.
    pub(super) fn value(self, measure: &Measure) -> Option<f64> {
        let share = |points: Points| points.value() / 100.0;
        let yes = |yes: bool| f64::from(u8::from(yes));
        match (self, measure) {
            (Self::Run(row), Measure::Score) => row.score().map(share),
            (Self::Stored(it), Measure::Score) => Some(share(it.score)),
            (Self::Run(row), Measure::Quality) => row.quality().map(share),
            (Self::Stored(it), Measure::Quality) => it.quality.map(share),
            (Self::Run(row), Measure::Passed) => Some(yes(row.passed())),
            (Self::Stored(it), Measure::Passed) => Some(yes(it.passed)),
            (Self::Run(row), Measure::Seconds) => row.runtime_seconds(),
            (Self::Stored(it), Measure::Seconds) => it.seconds,
            (Self::Run(row), Measure::PeakMemory) => row.peak_memory().map(|it| it as f64),
            (Self::Stored(it), Measure::PeakMemory) => it.peak_memory.map(|it| it as f64),
            (Self::Run(row), Measure::Metric(name)) => {
                let mut metrics = row.metrics().iter();
                metrics.find(|(own, _)| **own == **name).map(|it| it.1)
            }
            (Self::Stored(it), Measure::Metric(name)) => it.metrics.get(name).copied(),
        }
    }

    fn metrics(self) -> Vec<String> {
        match self {
            Self::Run(row) => row.metrics().iter().map(|it| it.0.to_string()).collect(),
            Self::Stored(it) => it.metrics.keys().cloned().collect(),
        }
    }
}

/// What one side did on one objective.
#[derive(Debug, Default)]
pub(super) struct Done<'a> {
    pub(super) trials: Vec<Trial<'a>>,
    lost: usize,
}

/// Whether a comparison is judged by what was run again.
pub(super) fn is_confirmed(summary: &RunSummary, comparison: &Comparison) -> bool {
    let mut confirmations = summary.confirmations.iter();
    confirmations.any(|it| it.candidate == comparison.candidate && it.against == comparison.against)
}

/// An objective that both sides did.
#[derive(Debug)]
pub(super) struct Pair<'a> {
    pub(super) objective: &'a ObjectiveName,
    pub(super) candidate: Vec<Trial<'a>>,
    pub(super) against: Vec<Trial<'a>>,
}

/// Why there is nothing to judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NotValid {
    pub(super) why: String,
    pub(super) lost: bool,
}

/// What is compared with what.
#[derive(Debug)]
pub(super) struct Sides<'a> {
    pub(super) comparison: &'a Comparison,
    pub(super) pairs: Vec<Pair<'a>>,
    pub(super) not_comparable: Vec<String>,
    pub(super) invalid: Option<NotValid>,
    /// Whether today's candidate is in the run.
    pub(super) runs: bool,
    /// Whether it was run again, and only that counts.
    pub(super) confirmed: bool,
}

impl<'a> Sides<'a> {
    /// Pairs the sides of a comparison on the objectives that are graded.
    pub(super) fn of(
        comparison: &'a Comparison,
        summary: &'a RunSummary,
        plan: &'a RunPlan,
        graded: &[&'a ObjectiveName],
        when: When<'_>,
    ) -> Self {
        let mut this = Self {
            comparison,
            pairs: Vec::new(),
            not_comparable: Vec::new(),
            invalid: None,
            confirmed: is_confirmed(summary, comparison),
            runs: plan
                .candidates
                .iter()
                .any(|it| it.name == comparison.candidate),
        };
        let stored = match comparison.how {
            How::Unchanged => return this,
            How::Beside => None,
            How::Screened | How::Again => {
                let base = comparison.candidate.base();
                let mut stored = summary.stored.iter();
                match stored.find(|it| it.candidate.as_str() == base) {
                    Some(_) if summary.rescored => {
                        let why = "this run was scored again, perhaps by other rules than that one";
                        return this.not_valid(why.to_owned());
                    }
                    Some(stored) if stored.place != place(plan) => {
                        let (then, now) = (&stored.place, place(plan));
                        return this.not_valid(format!("it ran elsewhere: {then} then, {now} now"));
                    }
                    Some(stored) => Some(stored),
                    None => {
                        return this.not_valid(
                            "its stored scores are not there, or were given anew since (`forge score`)"
                                .to_owned(),
                        );
                    }
                }
            }
        };
        let is_fresh = is_confirmed(summary, comparison);
        let mut lost = [(0, 0); 2];
        let objectives = plan.objectives.iter().enumerate();
        for (at, objective) in objectives.filter(|it| graded.contains(&&it.1.name)) {
            let own = |name: &CandidateName| {
                let planned = plan.candidates.iter().find(|it| it.name == *name);
                let judged = planned.map(|it| when.repeats(plan, it, at, is_fresh));
                let is_judged = |row: &TrialRow<'_>| {
                    let judged = judged.as_ref();
                    judged.is_some_and(|it| it.contains(&row.repeat()))
                };
                let rows = summary.trials.of_cell(&objective.name, name).iter();
                done(rows.filter(|row| !row.spared() && is_judged(row)))
            };
            let candidate = own(&comparison.candidate);
            let against = match stored {
                None => own(&comparison.against),
                Some(stored) => match then(stored, objective) {
                    Ok(done) => done,
                    Err(why) => {
                        this.not_comparable.push(why);
                        continue;
                    }
                },
            };
            for (sum, side) in lost.iter_mut().zip([&candidate, &against]) {
                sum.0 += side.lost;
                sum.1 += side.lost + side.trials.len();
            }
            if candidate.trials.is_empty() || against.trials.is_empty() {
                let why = format!("{}: a side has no verdict on it", objective.name);
                this.not_comparable.push(why);
                continue;
            }
            this.pairs.push(Pair {
                objective: &objective.name,
                candidate: candidate.trials,
                against: against.trials,
            });
        }
        this.check(lost)
    }

    fn not_valid(mut self, why: String) -> Self {
        self.invalid = Some(NotValid { why, lost: false });
        self
    }

    fn check(mut self, lost: [(usize, usize); 2]) -> Self {
        let names = [&self.comparison.candidate, &self.comparison.against];
        for ((lost, all), name) in lost.into_iter().zip(names) {
            if lost as f64 > MOST_LOST * all as f64 {
                let all = counted(all, "trial", "trials");
                let why = format!("{lost} of {all} of {name} were lost");
                self.invalid = Some(NotValid { why, lost: true });
                return self;
            }
        }
        if self.pairs.is_empty() {
            let why = match self.not_comparable.first() {
                Some(why) => format!("nothing is comparable: {why}"),
                None => "nothing is comparable: no objective is graded".to_owned(),
            };
            return self.not_valid(why);
        }
        self
    }

    /// The metrics that both sides have.
    pub(super) fn metrics(&self) -> std::collections::BTreeSet<String> {
        let names = |trials: &[Trial<'_>]| -> std::collections::BTreeSet<String> {
            trials.iter().flat_map(|it| it.metrics()).collect()
        };
        let both = self.pairs.iter().map(|pair| {
            let (ours, theirs) = (names(&pair.candidate), names(&pair.against));
            ours.intersection(&theirs).cloned().collect::<Vec<_>>()
        });
        both.flatten().collect()
    }
}

fn done<'a>(rows: impl Iterator<Item = TrialRow<'a>>) -> Done<'a> {
    let mut done = Done::default();
    for row in rows {
        if row.is_lost() {
            done.lost += 1;
        } else {
            done.trials.push(Trial::Run(row));
        }
    }
    done
}

/// What a stored run has of an objective, if it was the same then.
fn then<'a>(stored: &'a StoredScores, now: &PlannedObjective) -> Result<Done<'a>, String> {
    let name = &now.name;
    let Some(then) = stored.objectives.iter().find(|it| it.objective == *name) else {
        return Err(format!("{name}: it was not in that run"));
    };
    if then.digest != now.digest {
        return Err(format!(
            "{name}: the objective, its scoring or its inputs have changed"
        ));
    }
    if then.conditions != conditions(now) {
        let now = conditions(now);
        return Err(format!("{name}: {} then, {now} now", then.conditions));
    }
    Ok(Done {
        trials: then.trials.iter().map(Trial::Stored).collect(),
        lost: then.lost as usize,
    })
}

/// What the trials of an objective have in common besides its files.
fn conditions(objective: &PlannedObjective) -> String {
    let limit = Duration::try_from_secs_f64(objective.run_limit_s).unwrap_or_default();
    format!(
        "at most {}, network {}",
        show_duration(limit),
        objective.network
    )
}

/// What a run kept of one candidate, for later ones to compare with; `None` when it was not in it.
#[must_use]
pub fn stored(
    plan: &RunPlan,
    started: Option<Timestamp>,
    trials: &Trials,
    candidate: &CandidateName,
) -> Option<StoredScores> {
    let planned = plan.candidates.iter().find(|it| it.name == *candidate)?;
    let of = |objective: &PlannedObjective| {
        let rows = trials.of_cell(&objective.name, candidate).iter();
        let rows = rows.filter(|row| !row.spared());
        let trials: Vec<Measured> = rows.clone().filter_map(TrialRow::measured).collect();
        StoredObjective {
            objective: objective.name.clone(),
            digest: objective.digest.clone(),
            conditions: conditions(objective),
            lost: u32::try_from(rows.count() - trials.len()).unwrap_or(u32::MAX),
            trials,
        }
    };
    Some(StoredScores {
        candidate: candidate.clone(),
        run: plan.run,
        started,
        place: place(plan),
        digest: planned.digest.clone(),
        objectives: plan.objectives.iter().map(of).collect(),
    })
}

/// Where a run's trials happened, and how isolated: what stored scores must have in common with it.
#[must_use]
pub fn place(plan: &RunPlan) -> String {
    if plan.isolation.is_empty() {
        plan.mode.clone()
    } else {
        format!("{}, {}", plan.mode, plan.isolation)
    }
}
