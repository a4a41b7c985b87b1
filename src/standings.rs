//! Standings: what the rows of trials mean for the candidates.
//!
//! Promises: ranking is total and does not depend on the order in which trials ended; nobody wins by what
//! nobody could judge: an objective whose graders do not work is ungraded, and left out of the rest.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::event::{PlannedObjective, RunPlan};
use crate::name::{CandidateName, ObjectiveName};
use crate::score::Points;
use crate::summary::TrialRow;

mod grading;

use grading::{Grading, gradings};
pub use grading::{Settled, settled};

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
    /// The median run time of the trials with a verdict, in seconds.
    pub median_seconds: Option<f64>,
    /// Why it was disqualified, or what went wrong, the first time in plan order.
    pub note: Option<String>,
}

impl Standing {
    /// The same where no score means anything.
    fn unranked(self) -> Self {
        Self {
            score: None,
            quality: None,
            ..self
        }
    }
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
    /// Why nobody is ranked on it, when a scorer failed so that nobody can be.
    pub ungraded: Option<String>,
    /// What makes its scores doubtful.
    pub warnings: Vec<String>,
    /// Best first; unranked, by name, when it is ungraded.
    pub standings: Vec<Standing>,
    /// `None` when nobody passed.
    pub winner: Option<Winner>,
}

/// All places of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub struct Standings {
    /// Over all objectives that are graded, best first.
    pub overall: Vec<Standing>,
    /// `None` when nobody passed.
    pub winner: Option<Winner>,
    /// Objective by objective.
    pub objectives: Vec<ObjectiveStandings>,
}

impl Standings {
    /// Why nobody is ranked on an objective, if so.
    #[must_use]
    pub fn ungraded(&self, objective: &ObjectiveName) -> Option<&str> {
        let mut objectives = self.objectives.iter();
        let of = objectives.find(|it| it.objective == *objective)?;
        of.ungraded.as_deref()
    }
}

/// Ranks a plan's candidates by the rows of its trials.
#[must_use]
pub(crate) fn of(plan: &RunPlan, trials: &[TrialRow]) -> Standings {
    let mut cells = Cells::new();
    for row in trials {
        let key = (row.trial.objective.as_str(), row.trial.candidate.as_str());
        cells.entry(key).or_default().push(row);
    }
    let gradings = gradings(trials);
    let grading = |objective: &ObjectiveName| gradings.get(objective);
    let is_graded = |objective: &&PlannedObjective| {
        grading(&objective.name).is_none_or(|it| it.ungraded().is_none())
    };
    let objectives: Vec<ObjectiveStandings> = plan
        .objectives
        .iter()
        .map(|objective| {
            let graded = is_graded(&objective);
            let standings = plan
                .candidates
                .iter()
                .map(|candidate| {
                    let rows = cell(&cells, &objective.name, &candidate.name);
                    let standing = standing(&candidate.name, &[rows]);
                    if graded {
                        standing
                    } else {
                        standing.unranked()
                    }
                })
                .collect();
            let standings = ranked(standings);
            let grading = grading(&objective.name);
            ObjectiveStandings {
                objective: objective.name.clone(),
                ungraded: grading.and_then(Grading::ungraded),
                warnings: grading.map_or_else(Vec::new, Grading::warnings),
                winner: winner(&standings),
                standings,
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
                .filter(is_graded)
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
    // A trial that was cut off says as little about the time as about the rest.
    let judged = rows().filter(|row| !row.is_lost());
    let mut seconds: Vec<f64> = judged.filter_map(|row| row.runtime_seconds).collect();
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
    let others = || ranked[1..].iter().filter(|other| other.passed > 0);
    // Who has no comparable score has no rank either, and is nobody to be ahead of.
    let next = others().find(|other| other.rank.is_some_and(|rank| Some(rank) != best.rank));
    let name = &best.candidate;
    let reason = if tied_with.is_empty() {
        match next {
            None if others().next().is_some() => format!(
                "{name} wins with {score} points: nobody else who passed has a verdict on everything"
            ),
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
