//! How scores came about, as short texts: every gate and scorer of one trial a candidate.

use serde::Serialize;

use super::{clean, folder};
use crate::report::{Outcome, Report};
use crate::summary::{TrialRow, TrialRows};

/// So many candidates of an objective are explained.
pub(super) const MAX_EXPLAINED: usize = 20;
/// So many gates, and so many scorers, of a trial are explained.
const MAX_PARTS: usize = 30;

/// How a candidate's score came about.
#[derive(Serialize)]
pub(in crate::report) struct Explained {
    candidate: String,
    /// Which trial, and why this one: `trial 3 of 5, the median`.
    pub(in crate::report) trial: String,
    /// Where all of it is, from the run's folder.
    pub(in crate::report) folder: String,
    explanation: String,
    gates: Vec<Part>,
    scorers: Vec<Part>,
    more: usize,
}

#[derive(Serialize)]
struct Part {
    /// `held`, `failed`, the points, or `ungraded`.
    verdict: String,
    weight: String,
    what: String,
    why: String,
}

/// The trial with the median score, and of several the first.
pub(in crate::report) fn typical<'a>(
    judged: impl Iterator<Item = TrialRow<'a>>,
) -> Option<TrialRow<'a>> {
    let mut judged: Vec<TrialRow<'_>> = judged.collect();
    judged.sort_by_key(|row| (row.score(), row.repeat()));
    let median = judged.get(judged.len().saturating_sub(1) / 2)?.score();
    judged.into_iter().find(|row| row.score() == median)
}

/// How a trial's score came about; where its objective is ungraded, that there is none.
pub(in crate::report) fn score_in_words(
    report: &Report<'_>,
    row: TrialRow<'_>,
    words: &str,
) -> String {
    match Outcome::of(row, report.standings) {
        Outcome::Ungraded(_) => format!(
            "none, the objective is ungraded; with 0 points for what failed it were {words}"
        ),
        Outcome::Passed | Outcome::Failed(..) | Outcome::Lost(..) | Outcome::Spared(_) => {
            words.to_owned()
        }
    }
}

impl Explained {
    /// Explains the typical one of a candidate's trials on an objective: that with the median score of those with a
    /// verdict, the first of several. `None` when there is none, or no record of it.
    pub(super) fn of(report: &Report<'_>, rows: TrialRows<'_>) -> Option<Self> {
        let judged = rows.iter().filter(|row| row.score().is_some());
        let row = typical(judged.clone())?;
        let record = report.details.record(&row.trial())?;
        let score = record.score.as_ref()?;
        let explanation = clean(&score_in_words(report, row, &score.explanation));
        let repeat = row.repeat();
        let trial = match (rows.len(), judged.count()) {
            (1, _) => format!("trial {repeat}"),
            (all, 1) => format!("trial {repeat} of {all}, the only one with a verdict"),
            (all, judged) if all == judged => format!("trial {repeat} of {all}, the median"),
            (all, judged) => {
                format!("trial {repeat} of {all}, the median of the {judged} with a verdict")
            }
        };
        let over = |parts: usize| parts.saturating_sub(MAX_PARTS);
        Some(Self {
            candidate: record.trial.candidate.to_string(),
            trial,
            folder: folder(row),
            explanation,
            gates: score
                .gates
                .iter()
                .take(MAX_PARTS)
                .map(|gate| Part {
                    verdict: if gate.passed { "held" } else { "failed" }.to_owned(),
                    weight: String::new(),
                    what: clean(&gate.gate),
                    why: clean(&gate.explanation),
                })
                .collect(),
            scorers: score
                .scorers
                .iter()
                .take(MAX_PARTS)
                .map(|scorer| Part {
                    verdict: scorer
                        .points
                        .map_or_else(|| "ungraded".to_owned(), |points| points.to_string()),
                    weight: scorer.weight.to_string(),
                    what: clean(&scorer.scorer),
                    why: clean(&scorer.explanation),
                })
                .collect(),
            more: over(score.gates.len()) + over(score.scorers.len()),
        })
    }
}
