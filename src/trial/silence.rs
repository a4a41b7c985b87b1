//! Graders that fell silent on an artifact: what their exit code gave is taken back.
//!
//! A grader that only ever exits says all by that. One that prints its verdict on the other artifacts of the
//! run, and on this one exits with 0 before it did, has been ended by the artifact, which is known only when
//! the run is over.
//!
//! Promises: the total is made anew by the rules by which it was made.

use std::sync::Arc;

use super::judged::Judged;
use crate::event::{EventKind, TrialRecord};
use crate::objective::Objective;
use crate::score::quality::Quality;
use crate::score::{Points, combine};
use crate::standings::{Settled, silenced};
use crate::store::RunFolder;
use crate::summary::RunSummary;

/// Writes the new scores into each `trial.json`; returns what is to be told of it.
pub fn take_back<'a>(
    folder: &RunFolder,
    summary: &RunSummary,
    objectives: impl IntoIterator<Item = &'a Arc<Objective>>,
) -> Vec<EventKind> {
    let objectives: Vec<_> = objectives.into_iter().collect();
    let silenced = silenced(&summary.trials);
    let of_trials = silenced.chunk_by(|a, b| a.trial == b.trial);
    let news = of_trials.filter_map(|silenced| {
        let trial = &silenced[0].trial;
        let objective = objectives.iter().find(|it| it.name == trial.objective)?;
        let mut record = folder.record(trial)?;
        fail(&mut record, objective, silenced);
        // The journal decides; a `trial.json` that cannot be written is an old one.
        let written = folder.trial(trial).write_record(&record);
        let written = written.err().map(|error| EventKind::Warned {
            message: format!("{trial}: its trial.json has an old score: {error}"),
        });
        let rescored = EventKind::TrialRescored {
            trial: trial.clone(),
            score: record.score?,
        };
        Some([Some(rescored), written])
    });
    news.flatten().flatten().collect()
}

/// Lets these scorers have failed on a trial.
fn fail(record: &mut TrialRecord, objective: &Objective, silenced: &[Settled]) {
    let Some(mut score) = record.score.take() else {
        return;
    };
    for it in silenced {
        let scorer = objective.scoring.quality.get(it.at);
        let on_error = scorer.and_then(|it| match &it.scorer {
            Quality::Command(grader) => grader.on_error,
            Quality::Contains(_)
            | Quality::Regex(..)
            | Quality::Length(..)
            | Quality::JsonSchema(_)
            | Quality::JsonPath(..)
            | Quality::Equals(_)
            | Quality::Golden { .. }
            | Quality::Own(_) => None,
        });
        if let Some(result) = score.scorers.get_mut(it.at) {
            let judged = Judged::fell_silent(on_error);
            result.points = judged.points;
            result.explanation = judged.explanation;
            result.went = judged.went;
            result.said = judged.said;
        }
    }
    let speed = score.speed.unwrap_or(Points::ZERO);
    record.score = Some(combine(
        objective.scoring.weights,
        score.gates,
        score.scorers,
        speed,
    ));
}
