//! The methods behind *is the difference real?*: pure functions on numbers, one file a family.
//!
//! Promises: the same numbers give the same answer on every machine; no answer is `NaN` or infinite, what
//! cannot be had is `None`; nothing here knows candidates, objectives or files. Scores are in `0..=1` (points / 100); a
//! difference is candidate minus baseline unless a function says otherwise. A missing trial is missing: it shrinks
//! a sample, and is never a score of 0.

pub mod decision;
pub mod distribution;
pub mod draw;
pub mod equivalence;
pub mod family;
pub mod generalise;
#[cfg(test)]
mod golden;
pub mod interval;
pub mod lead;
pub mod looks;
pub mod operating;
pub mod ratio;
pub mod rejects;
pub mod repeats;
pub mod settle;
pub mod sight;
pub mod spread;
pub mod stratified;

/// What p-values are compared with: rounding is no reason for another verdict.
pub const P_SLACK: f64 = 1e-12;

/// Whether a p-value is at or below a level, rounding aside.
#[must_use]
pub fn significant(p: f64, level: f64) -> bool {
    p <= level + P_SLACK
}

/// What the same objective gave on both sides: the scores of its trials, in any order, possibly none.
#[derive(Debug, Clone, Copy)]
pub struct Cell<'a> {
    /// Those of the baseline, or of the control.
    pub baseline: &'a [f64],
    /// Those of the candidate.
    pub candidate: &'a [f64],
}

impl Cell<'_> {
    /// The candidate's mean minus the baseline's; `None` where a side has no trial.
    #[must_use]
    pub fn difference(&self) -> Option<f64> {
        let difference = mean(self.candidate)? - mean(self.baseline)?;
        Some(difference.clamp(f64::MIN, f64::MAX))
    }
}

/// Pairs two sides, each with one list of scores an objective.
#[must_use]
pub fn paired<'a>(baseline: &'a [Vec<f64>], candidate: &'a [Vec<f64>]) -> Vec<Cell<'a>> {
    let cell = |(baseline, candidate): (&'a Vec<f64>, &'a Vec<f64>)| Cell {
        baseline,
        candidate,
    };
    baseline.iter().zip(candidate).map(cell).collect()
}

/// The differences of the cells that have trials on both sides.
#[must_use]
pub fn differences(cells: &[Cell<'_>]) -> Vec<f64> {
    cells.iter().filter_map(Cell::difference).collect()
}

/// The mean, if there is anything to take it of.
#[must_use]
pub fn mean(values: &[f64]) -> Option<f64> {
    let (sum, count) = (values.iter().sum::<f64>(), values.len() as f64);
    let mean = if sum.is_finite() {
        sum / count
    } else {
        // The sum of what is finite may not be.
        values.iter().map(|value| value / count).sum()
    };
    (!values.is_empty()).then_some(mean)
}

/// The variance with the divisor n - 1; `None` of fewer than two.
#[must_use]
pub fn variance(values: &[f64]) -> Option<f64> {
    let mean = mean(values)?;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| squares / (values.len() - 1) as f64)
}

/// Whether all are the same, rounding aside.
fn all_equal(values: &[f64]) -> bool {
    values
        .iter()
        .all(|value| (value - values[0]).abs() <= f64::EPSILON * 8.0)
}
