//! What stored runs say of one that is to come: how its objectives were done, how long that took, and what it cost.
//!
//! Promises: runs are only read; one that cannot be read is passed over.

use std::collections::BTreeMap;
use std::path::Path;

use crate::event::{EventKind, PlannedObjective, RunPlan, TrialRecord};
use crate::name::{CandidateName, RunId, TrialId};
use crate::rule::Measure;
use crate::run::state::COST;
use crate::statistics::mean;
use crate::store::RunFolder;

/// Stored runs, the newest first.
#[derive(Debug, Default)]
pub(super) struct Past(Vec<PastRun>);

#[derive(Debug)]
pub(super) struct PastRun {
    pub(super) run: RunId,
    pub(super) plan: RunPlan,
    /// Those that have a verdict.
    pub(super) trials: Vec<TrialRecord>,
}

/// What a trial takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Takes {
    /// From asking for a sandbox to its score, in seconds.
    pub(super) seconds: f64,
    /// How long its sandbox is there, in seconds.
    pub(super) in_sandbox: f64,
    /// In dollars, where candidates say.
    pub(super) cost: Option<f64>,
}

impl Past {
    /// Reads so many of the newest runs.
    pub(super) fn read(artifacts: &Path, most: usize) -> Self {
        let runs = RunFolder::all(artifacts).into_iter().rev().take(most);
        Self(
            runs.filter_map(|run| PastRun::read(artifacts, run))
                .collect(),
        )
    }

    /// Its runs, the newest first.
    pub(super) fn runs(&self) -> &[PastRun] {
        &self.0
    }

    /// What the trials of an objective gave in the newest run that has some: of these candidates, or where no run has any,
    /// of whoever did it.
    pub(super) fn values(
        &self,
        objective: &PlannedObjective,
        of: &[&CandidateName],
        measure: &Measure,
    ) -> Option<(RunId, Vec<f64>)> {
        let is_of = |name: &CandidateName| of.contains(&name);
        let found = |wanted: &dyn Fn(&CandidateName) -> bool| {
            self.0.iter().find_map(|run| {
                let values: Vec<f64> = run
                    .of(objective)
                    .filter(|it| wanted(&it.trial.candidate))
                    .filter_map(|it| value(it, measure))
                    .collect();
                (!values.is_empty()).then_some((run.run, values))
            })
        };
        found(&is_of).or_else(|| found(&|name| name.version().is_none()))
    }

    /// What a trial of a candidate takes on an objective, by the newest run in this mode that has some: on the average
    /// of what it cost, and in the median of the times. And which run that is.
    pub(super) fn takes(
        &self,
        mode: &str,
        candidate: &CandidateName,
        objective: &PlannedObjective,
    ) -> Option<(RunId, Takes)> {
        let runs = self.0.iter().filter(|it| it.plan.mode == mode);
        // What a candidate once was takes about as long as what it is.
        let own = |it: &&TrialRecord| it.trial.candidate.base() == candidate.base();
        runs.into_iter().find_map(|run| {
            let trials: Vec<&TrialRecord> = run.of(objective).filter(own).collect();
            Some((run.run, Takes::of(&trials)?))
        })
    }
}

impl PastRun {
    fn read(artifacts: &Path, run: RunId) -> Option<Self> {
        let folder = RunFolder::find(artifacts, &run.to_string()).ok()?;
        let (mut plan, mut trials) = (None, BTreeMap::new());
        for event in crate::journal::read(folder.path()).ok()? {
            let kind = event.ok()?.kind;
            if let EventKind::RunResumed(resumption) = &kind {
                let gone = |it: &TrialId| resumption.gone.contains(it);
                let again = |it: &TrialId| resumption.again.iter().any(|of| of.takes(it));
                trials.retain(|it, _: &mut TrialRecord| !gone(it) && !again(it));
            }
            if let Some(begun) = kind.begins() {
                plan = Some(begun.clone());
            } else if let EventKind::TrialFinished(record) = kind {
                if record.score.is_some() {
                    trials.insert(record.trial.clone(), *record);
                } else {
                    trials.remove(&record.trial);
                }
            } else if let EventKind::TrialRescored { trial, score } = kind
                && let Some(record) = trials.get_mut(&trial)
            {
                record.score = Some(score);
            }
        }
        Some(Self {
            run,
            plan: plan?,
            trials: trials.into_values().collect(),
        })
    }

    /// The trials of an objective, where it is still the same.
    pub(super) fn of(&self, objective: &PlannedObjective) -> impl Iterator<Item = &TrialRecord> {
        let same =
            |it: &&PlannedObjective| it.name == objective.name && it.digest == objective.digest;
        let own = self.plan.objectives.iter().find(same).map(|it| &it.name);
        let trials = self.trials.iter();
        trials.filter(move |it| own.is_some_and(|own| *own == it.trial.objective))
    }
}

impl Takes {
    /// `None` of no trials.
    fn of(trials: &[&TrialRecord]) -> Option<Self> {
        let each = |of: &dyn Fn(&TrialRecord) -> Option<f64>| -> Vec<f64> {
            trials.iter().filter_map(|it| of(it)).collect()
        };
        let in_sandbox = |it: &TrialRecord| it.timings.in_sandbox().as_secs_f64();
        let judged = |it: &TrialRecord| it.timings.score_ms.unwrap_or(0) as f64 / 1000.0;
        Some(Self {
            seconds: median(each(&|it| Some(in_sandbox(it) + judged(it))))?,
            in_sandbox: median(each(&|it| Some(in_sandbox(it))))?,
            cost: mean(&each(&|it| it.metrics.get(COST).map(|it| it.max(0.0)))),
        })
    }

    /// What is usual among these.
    pub(super) fn usual(all: &[Self]) -> Option<Self> {
        Some(Self {
            seconds: median(all.iter().map(|it| it.seconds).collect())?,
            in_sandbox: median(all.iter().map(|it| it.in_sandbox).collect())?,
            cost: mean(&all.iter().filter_map(|it| it.cost).collect::<Vec<_>>()),
        })
    }
}

/// What a trial gave, as a share; `None` of what is not in points.
fn value(record: &TrialRecord, measure: &Measure) -> Option<f64> {
    let score = record.score.as_ref()?;
    match measure {
        Measure::Score => Some(score.total.value() / 100.0),
        Measure::Quality => score.quality.map(|it| it.value() / 100.0),
        Measure::Passed => Some(f64::from(u8::from(score.disqualified.is_none()))),
        Measure::Seconds | Measure::PeakMemory | Measure::Metric(_) => None,
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        len if len % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}
