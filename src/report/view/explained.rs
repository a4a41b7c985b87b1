//! How scores came about, as short texts: every gate and scorer of one trial a candidate.

use serde::Serialize;

use super::clean;
use crate::name::CandidateName;
use crate::report::{Outcome, Report};
use crate::summary::TrialRow;

/// So many candidates of an objective are explained.
pub(super) const MAX_EXPLAINED: usize = 20;
/// So many gates, and so many scorers, of a trial are explained.
const MAX_PARTS: usize = 30;

/// How a candidate's score came about.
#[derive(Serialize)]
pub(super) struct Explained {
    candidate: String,
    repeat: u32,
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

impl Explained {
    /// Explains a candidate's first trial with a verdict; `None` when there is none, or no record of it.
    pub(super) fn of(
        report: &Report<'_>,
        rows: &[TrialRow],
        candidate: &CandidateName,
    ) -> Option<Self> {
        let row = rows
            .iter()
            .find(|row| row.trial.candidate == *candidate && !row.is_lost())?;
        let record = report.details.record(&row.trial)?;
        let score = record.score.as_ref()?;
        let explanation = match Outcome::of(row, report.standings) {
            Outcome::Ungraded(_) => clean(&format!(
                "none, the objective is ungraded; with 0 points for what failed it were {}",
                score.explanation
            )),
            Outcome::Passed | Outcome::Failed(..) | Outcome::Lost(..) => clean(&score.explanation),
        };
        let over = |parts: usize| parts.saturating_sub(MAX_PARTS);
        Some(Self {
            candidate: record.trial.candidate.to_string(),
            repeat: record.trial.repeat,
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
