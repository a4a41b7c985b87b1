//! Summaries: what a run's events add up to.
//!
//! Promises: a summary is a fold over events and nothing else, so replaying `events.jsonl` gives the same
//! one as the live run; ranking is total and does not depend on the order in which trials ended; it grows
//! by one small row a planned trial, never by what a trial left.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::event::{Cleanup, ErrorClass, Event, EventKind, RunPlan, StopCause, TrialRecord};
use crate::name::{CandidateName, ObjectiveName, TrialId};
use crate::score::{Points, TrialScore};

/// What is kept of a trial: enough to rank it and to show it in a line. The rest is in its `trial.json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrialRow {
    /// Which trial.
    #[serde(flatten)]
    pub trial: TrialId,
    /// What went wrong; `None` when the candidate exited with 0.
    pub error_kind: Option<ErrorClass>,
    /// The same as a sentence.
    pub error_message: Option<Box<str>>,
    /// The exit code, where there is one.
    pub exit_code: Option<i32>,
    /// How often it was begun.
    pub attempts: u32,
    /// How long the run phase took, in seconds.
    pub runtime_seconds: Option<f64>,
    /// The total; absent when the trial says nothing about the candidate.
    pub score: Option<Points>,
    /// Its quality part.
    pub quality: Option<Points>,
    /// Its speed part.
    pub speed: Option<Points>,
    /// The gate that failed, with its explanation.
    pub disqualified: Option<Box<str>>,
}

impl TrialRow {
    fn planned(trial: TrialId) -> Self {
        Self {
            trial,
            error_kind: Some(ErrorClass::NotRun),
            error_message: Some("no result was recorded".into()),
            exit_code: None,
            attempts: 0,
            runtime_seconds: None,
            score: None,
            quality: None,
            speed: None,
            disqualified: None,
        }
    }

    fn finish(&mut self, record: &TrialRecord) {
        let error = record.end.error();
        self.error_kind = error.as_ref().map(|(class, _)| *class);
        self.error_message = error.map(|(_, text)| crate::plain::short(&text, 200).into());
        self.exit_code = record.end.exit_code();
        self.attempts = record.attempts;
        self.runtime_seconds = record.runtime_s;
        self.rescore(record.score.as_ref());
    }

    fn rescore(&mut self, score: Option<&TrialScore>) {
        self.score = score.map(|score| score.total);
        self.quality = score.and_then(|score| score.quality);
        self.speed = score.and_then(|score| score.speed);
        self.disqualified = score
            .and_then(|score| score.disqualified.as_deref())
            .map(|why| crate::plain::short(why, 200).into());
    }

    /// Whether every gate held.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.score.is_some() && self.disqualified.is_none()
    }

    /// Whether the infrastructure, or stopping, left the trial without a verdict.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.score.is_none()
    }
}

/// A candidate's place, on one objective or overall.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Standing {
    /// Who.
    pub candidate: CandidateName,
    /// The place, from 1; those with the same score in tenths share it. `None` without a comparable score.
    pub rank: Option<usize>,
    /// Whether it shares its place.
    pub tied: bool,
    /// The mean over repeats, then over objectives.
    pub score: Option<Points>,
    /// The mean share of trials that passed, as points.
    pub success: Option<Points>,
    /// The mean quality of the trials that have one.
    pub quality: Option<Points>,
    /// The mean speed of the trials that have one.
    pub speed: Option<Points>,
    /// Trials that passed every gate.
    pub passed: u32,
    /// Trials with a verdict.
    pub judged: u32,
    /// Trials without one: they are not losses.
    pub lost: u32,
    /// The median run time, in seconds.
    pub median_seconds: Option<f64>,
    /// Why it was disqualified, or what went wrong, the first time in plan order.
    pub note: Option<String>,
}

/// Who won, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Winner {
    /// The winner; of several that are tied, the first by name.
    pub candidate: CandidateName,
    /// Its score.
    pub score: Points,
    /// The others with the same score in tenths.
    pub tied_with: Vec<CandidateName>,
    /// Why, in one line.
    pub reason: String,
}

/// The places on one objective.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ObjectiveStandings {
    /// Which objective.
    pub objective: ObjectiveName,
    /// Best first.
    pub standings: Vec<Standing>,
    /// `None` when nobody passed.
    pub winner: Option<Winner>,
}

/// All places of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub struct Standings {
    /// Over all objectives, best first.
    pub overall: Vec<Standing>,
    /// `None` when nobody passed.
    pub winner: Option<Winner>,
    /// Objective by objective.
    pub objectives: Vec<ObjectiveStandings>,
}

/// What a run's events add up to.
#[derive(Debug, Clone, Default)]
pub struct RunSummary {
    /// What was planned; `None` before the first event.
    pub plan: Option<RunPlan>,
    /// When the run began.
    pub started: Option<Timestamp>,
    /// How long it took; `None` when it never said that it was over.
    pub took: Option<Duration>,
    /// One row a planned trial, in the plan's order.
    pub trials: Vec<TrialRow>,
    /// What became of the sandboxes.
    pub cleanup: Option<Cleanup>,
    /// The first thing that told the run to stop.
    pub stopped: Option<StopCause>,
    /// What people should know about the run as a whole.
    pub warnings: Vec<String>,
    index: HashMap<TrialId, usize>,
}

impl RunSummary {
    /// The summary of a whole history.
    #[must_use]
    pub fn of<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut summary = Self::default();
        for event in events {
            summary.apply(event);
        }
        summary
    }

    /// Takes the next event.
    pub fn apply(&mut self, event: &Event) {
        match &event.kind {
            EventKind::RunStarted(plan) => {
                self.trials = plan.trials().map(TrialRow::planned).collect();
                self.index = self
                    .trials
                    .iter()
                    .enumerate()
                    .map(|(at, row)| (row.trial.clone(), at))
                    .collect();
                self.plan = Some(plan.clone());
                self.started = Some(event.at);
            }
            EventKind::TrialFinished(record) => {
                if let Some(row) = self.row(&record.trial) {
                    row.finish(record);
                }
            }
            EventKind::TrialRescored { trial, score } => {
                if let Some(row) = self.row(trial) {
                    row.rescore(Some(score));
                }
            }
            EventKind::StopRequested { cause, .. } => {
                self.stopped.get_or_insert(*cause);
            }
            EventKind::Warned { message } => self.warnings.push(message.clone()),
            EventKind::CleanedUp(cleanup) => self.cleanup = Some(cleanup.clone()),
            EventKind::RunFinished { took_ms } => self.took = Some(Duration::from_millis(*took_ms)),
            EventKind::TrialStarted { .. }
            | EventKind::PhaseStarted { .. }
            | EventKind::Logged { .. }
            | EventKind::AttemptFailed { .. }
            | EventKind::SlotRefused { .. } => {}
        }
    }

    fn row(&mut self, trial: &TrialId) -> Option<&mut TrialRow> {
        self.index
            .get(trial)
            .and_then(|at| self.trials.get_mut(*at))
    }

    /// How many trials have no verdict.
    #[must_use]
    pub fn lost(&self) -> usize {
        self.trials.iter().filter(|row| row.is_lost()).count()
    }

    /// Ranks the candidates.
    #[must_use]
    pub fn standings(&self) -> Standings {
        let Some(plan) = &self.plan else {
            return Standings::default();
        };
        let mut cells = Cells::new();
        for row in &self.trials {
            let key = (row.trial.objective.as_str(), row.trial.candidate.as_str());
            cells.entry(key).or_default().push(row);
        }
        let objectives: Vec<ObjectiveStandings> = plan
            .objectives
            .iter()
            .map(|objective| {
                let standings = plan
                    .candidates
                    .iter()
                    .map(|candidate| {
                        let rows = cell(&cells, &objective.name, &candidate.name);
                        standing(&candidate.name, &[rows])
                    })
                    .collect();
                let standings = ranked(standings);
                let winner = winner(&standings);
                ObjectiveStandings {
                    objective: objective.name.clone(),
                    standings,
                    winner,
                }
            })
            .collect();
        let overall = plan
            .candidates
            .iter()
            .map(|candidate| {
                let cells: Vec<&[&TrialRow]> = plan
                    .objectives
                    .iter()
                    .map(|objective| cell(&cells, &objective.name, &candidate.name))
                    .collect();
                standing(&candidate.name, &cells)
            })
            .collect();
        let overall = ranked(overall);
        Standings {
            winner: winner(&overall),
            overall,
            objectives,
        }
    }
}

/// The trials of every objective and candidate.
type Cells<'a> = BTreeMap<(&'a str, &'a str), Vec<&'a TrialRow>>;

fn cell<'c, 'a: 'c>(
    cells: &'c Cells<'a>,
    objective: &'c ObjectiveName,
    candidate: &'c CandidateName,
) -> &'c [&'a TrialRow] {
    cells
        .get(&(objective.as_str(), candidate.as_str()))
        .map_or(&[], Vec::as_slice)
}

fn mean(values: impl IntoIterator<Item = f64>) -> Option<Points> {
    let (sum, count) = values
        .into_iter()
        .fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| Points::clamped(sum / f64::from(count)))
}

/// A candidate's standing over cells (one an objective) of trials. The means are over repeats first, then
/// over objectives. A cell without any verdict leaves the whole without a comparable score: the mean of
/// the others would compare it on easier ground.
fn standing(candidate: &CandidateName, cells: &[&[&TrialRow]]) -> Standing {
    let over_cells =
        |value: &dyn Fn(&TrialRow) -> Option<f64>| {
            mean(cells.iter().filter_map(|rows| {
                mean(rows.iter().filter_map(|row| value(row))).map(Points::value)
            }))
        };
    let complete = cells
        .iter()
        .all(|rows| rows.iter().any(|row| row.score.is_some()));
    let rows = || cells.iter().flat_map(|rows| rows.iter());
    let count = |wanted: &dyn Fn(&TrialRow) -> bool| {
        u32::try_from(rows().filter(|row| wanted(row)).count()).unwrap_or(u32::MAX)
    };
    let mut seconds: Vec<f64> = rows().filter_map(|row| row.runtime_seconds).collect();
    seconds.sort_by(f64::total_cmp);
    let note = rows()
        .find_map(|row| row.disqualified.as_deref())
        .or_else(|| {
            rows()
                .filter(|row| row.is_lost())
                .find_map(|row| row.error_message.as_deref())
        });
    Standing {
        candidate: candidate.clone(),
        rank: None,
        tied: false,
        score: complete
            .then(|| over_cells(&|row| row.score.map(Points::value)))
            .flatten(),
        success: over_cells(&|row| {
            row.score
                .map(|_| Points::yes(row.disqualified.is_none()).value())
        }),
        quality: over_cells(&|row| row.quality.map(Points::value)),
        speed: over_cells(&|row| row.speed.map(Points::value)),
        passed: count(&TrialRow::passed),
        judged: count(&|row| row.score.is_some()),
        lost: count(&TrialRow::is_lost),
        median_seconds: median(&seconds),
        note: note.map(str::to_owned),
    }
}

/// The median of sorted values.
fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        len if len % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// What candidates are ranked by. In tenths, as shown: nobody wins by what nobody can see. Between two
/// with no points, the one that passed something stands first.
fn merit(standing: &Standing) -> (Option<u16>, bool) {
    (standing.score.map(Points::tenths), standing.passed > 0)
}

fn ranked(mut standings: Vec<Standing>) -> Vec<Standing> {
    standings.sort_by(|a, b| {
        merit(b)
            .cmp(&merit(a))
            .then_with(|| a.candidate.cmp(&b.candidate))
    });
    let merits: Vec<_> = standings.iter().map(merit).collect();
    for (at, standing) in standings.iter_mut().enumerate() {
        if merits[at].0.is_some() {
            standing.rank = merits
                .iter()
                .position(|other| *other == merits[at])
                .map(|at| at + 1);
            standing.tied = merits.iter().filter(|other| **other == merits[at]).count() > 1;
        }
    }
    standings
}

fn winner(ranked: &[Standing]) -> Option<Winner> {
    let best = ranked.first().filter(|best| best.passed > 0)?;
    let score = best.score?;
    let tied_with: Vec<CandidateName> = ranked[1..]
        .iter()
        .filter(|other| other.rank == best.rank)
        .map(|other| other.candidate.clone())
        .collect();
    let next = ranked[1..]
        .iter()
        .find(|other| other.rank != best.rank && other.passed > 0);
    let name = &best.candidate;
    let reason = if tied_with.is_empty() {
        match next {
            None => format!("{name} wins with {score} points: nobody else passed the gates"),
            Some(next) => format!("{name} wins with {score} points, {}", lead(best, next)),
        }
    } else {
        let others: Vec<&str> = tied_with.iter().map(CandidateName::as_str).collect();
        format!("a tie at {score} points: {name}, {}", others.join(", "))
    };
    Some(Winner {
        candidate: name.clone(),
        score,
        tied_with,
        reason,
    })
}

/// By how much, and by which parts, one standing leads another.
fn lead(best: &Standing, next: &Standing) -> String {
    let tenths = |points: Option<Points>| points.map(Points::tenths).map_or(0, i32::from);
    let ahead = tenths(best.score) - tenths(next.score);
    let part = |name, ours: Option<Points>, theirs: Option<Points>| match (ours, theirs) {
        (Some(ours), Some(theirs)) if ours.tenths() != theirs.tenths() => {
            Some(format!("{name} {ours} to {theirs}"))
        }
        _ => None,
    };
    let parts: Vec<String> = [
        part("gates passed", best.success, next.success),
        part("quality", best.quality, next.quality),
        part("speed", best.speed, next.speed),
    ]
    .into_iter()
    .flatten()
    .collect();
    let why = if parts.is_empty() {
        String::new()
    } else {
        format!(" ({})", parts.join(", "))
    };
    format!(
        "{}.{} ahead of {}{why}",
        ahead / 10,
        ahead % 10,
        next.candidate
    )
}
