//! Trials, a line each.

use serde::Serialize;

use super::quotes::folder;
use super::{NOTHING, clean, points, seconds};
use crate::report::Outcome;
use crate::standings::Standings;
use crate::summary::TrialRow;

#[derive(Serialize)]
pub(super) struct TrialLine {
    candidate: String,
    repeat: u32,
    outcome: &'static str,
    score: String,
    quality: String,
    speed: String,
    time: String,
    why: String,
    /// Whether it was not needed: `why` stands nowhere else then.
    spared: bool,
    /// Where all of it is, from the run's folder.
    folder: String,
}

pub(super) fn trial_line(row: TrialRow<'_>, standings: &Standings) -> TrialLine {
    let outcome = Outcome::of(row, standings);
    // No number of an ungraded objective means anything.
    let is_graded = standings.ungraded(row.objective()).is_none();
    let graded = |value| {
        if is_graded {
            points(value)
        } else {
            NOTHING.to_owned()
        }
    };
    TrialLine {
        candidate: row.candidate().to_string(),
        repeat: row.repeat(),
        outcome: outcome.as_str(),
        score: graded(row.score()),
        quality: graded(row.quality()),
        speed: points(row.speed()),
        time: seconds(row.runtime_seconds()),
        why: clean(outcome.why()),
        spared: row.spared(),
        folder: folder(row),
    }
}
