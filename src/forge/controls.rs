//! Runs the controls of objectives, and says which objectives they break.

use std::sync::{Arc, Mutex, PoisonError};

use super::{ForgeBuilder, ForgeError};
use crate::control::{self, Control};
use crate::event::{Event, EventKind, Subscriber, TrialRecord};
use crate::objective::Objective;
use crate::problem::Problem;
use crate::score::TrialScore;

/// How far below full marks an oracle may be: what arithmetic loses.
const NEARLY: f64 = 1e-6;

/// What a control came to on an objective.
#[derive(Debug, Clone)]
pub struct Controlled {
    /// Which objective.
    pub objective: String,
    /// Which control.
    pub control: Control,
    /// Its points; `None` where it was not judged.
    pub points: Option<f64>,
    /// Why the objective is broken, or why nothing can be said.
    pub problem: Option<Problem>,
}

/// Runs every control on its objective once, where `builder` says, and gives what each came to. What the builder says of
/// candidates, artifacts and repeats does not count; nothing is left.
///
/// # Errors
/// As [`Forge::run`](crate::Forge::run).
///
/// # Cancel safety
/// As [`Forge::run`](crate::Forge::run).
pub async fn controls(
    builder: impl Fn() -> ForgeBuilder,
    objectives: &[Objective],
) -> Result<Vec<Controlled>, ForgeError> {
    let mut all = Vec::new();
    for objective in objectives {
        all.extend(on(builder(), objective).await?);
    }
    Ok(all)
}

async fn on(builder: ForgeBuilder, objective: &Objective) -> Result<Vec<Controlled>, ForgeError> {
    let scratch = tempfile::tempdir().map_err(|source| ForgeError::Io {
        doing: "make a folder for controls",
        source,
    })?;
    let candidates = control::make(objective, &scratch.path().join("candidates"))?;
    let records = Records::default();
    let builder = builder
        .artifacts(scratch.path().join("artifacts"))
        .repeat(1)
        .write_reports(false)
        .subscriber(records.clone());
    let builder = candidates
        .into_iter()
        .fold(builder, ForgeBuilder::candidate);
    builder.build().run([objective.clone().into()]).await?;
    let records = records.take();
    let came_to = |control: Control| {
        let name = control.name();
        let record = records
            .iter()
            .find(|it| it.trial.candidate.as_str() == name);
        let score = record.and_then(|it| it.score.as_ref());
        Controlled {
            objective: objective.name.to_string(),
            control,
            points: score.map(|it| it.total.value()),
            problem: verdict(control, record, objective).map(|message| told(objective, message)),
        }
    };
    Ok(Control::of(objective).map(came_to).collect())
}

fn told(objective: &Objective, message: String) -> Problem {
    match &objective.source {
        Some(file) => Problem::file(file, message),
        None => Problem::setting(objective.name.as_str(), message),
    }
}

/// What is wrong with an objective on which a control ended like this.
fn verdict(
    control: Control,
    record: Option<&TrialRecord>,
    objective: &Objective,
) -> Option<String> {
    let Some(score) = record.and_then(|it| it.score.as_ref()) else {
        let why = record.and_then(|it| it.end.error());
        let why = why.map_or_else(|| "it has no result".to_owned(), |(_, why)| why);
        return Some(format!("{control} could not be judged: {why}"));
    };
    match control {
        Control::Noop | Control::Cheat(_) if score.total.value() > 0.0 => Some(format!(
            "broken: {control} has {} points{}",
            score.total,
            given_by(score, objective)
        )),
        Control::Oracle => denied(score, objective)
            .map(|why| format!("broken: {control} has no full marks: {why}")),
        Control::Noop | Control::Cheat(_) => None,
    }
}

/// Where the points of a control come from.
fn given_by(score: &TrialScore, objective: &Objective) -> String {
    let gave = score
        .scorers
        .iter()
        .filter(|it| it.points.is_some_and(|it| it.value() > 0.0));
    let gave: Vec<String> = gave
        .map(|it| format!("`{}` ({})", it.scorer, it.explanation))
        .collect();
    let passed = "it passes every gate";
    if gave.is_empty() {
        let nothing = if objective.scoring.quality.is_empty() {
            ", and there are no scorers"
        } else {
            ", and has points for that and for speed"
        };
        return format!(": {passed}{nothing}");
    }
    format!(": {passed}, and has points by {}", gave.join(", "))
}

/// Why the reference answer has no full marks. Speed is not the answer's.
fn denied(score: &TrialScore, objective: &Objective) -> Option<String> {
    if let Some(gate) = &score.disqualified {
        return Some(format!("disqualified by {gate}"));
    }
    let quality = score.quality.map(crate::score::Points::value);
    if objective.scoring.quality.is_empty() || quality.is_some_and(|it| it > 100.0 - NEARLY) {
        return None;
    }
    let less = score
        .scorers
        .iter()
        .filter(|it| it.points.is_none_or(|it| it.value() < 100.0));
    let less: Vec<String> = less
        .map(|it| match it.points {
            Some(points) => format!("`{}` gives {points} ({})", it.scorer, it.explanation),
            None => format!("`{}` has no verdict ({})", it.scorer, it.explanation),
        })
        .collect();
    Some(less.join(", "))
}

/// Every trial's record, as it comes.
#[derive(Debug, Clone, Default)]
struct Records(Arc<Mutex<Vec<TrialRecord>>>);

impl Records {
    fn take(&self) -> Vec<TrialRecord> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Subscriber for Records {
    fn on_event(&mut self, event: &Event) {
        if let EventKind::TrialFinished(record) = &event.kind {
            let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            records.push((**record).clone());
        }
    }
}
