//! One objective of a comparison: what both sides have, and what more of it is like.

use super::super::draw::Random;
use super::super::{Cell, mean, variance};

/// What is added to trials that pass or fail, so that none is thought to be certain: so many trials, of which so many passed.
const LIKE_TRIALS: f64 = 1.35;
const LIKE_PASSED: f64 = 0.9;
/// How many degrees of freedom the usual variance of a trial has beside that of an objective.
const USUAL_WEIGHT: f64 = 2.0;

/// One side: what it has, and the mean of what is added.
#[derive(Debug, Clone, Copy)]
struct Side {
    trials: f64,
    sum: f64,
    rate: f64,
}

impl Side {
    fn of(scores: &[f64]) -> Self {
        let (trials, sum) = (scores.len() as f64, scores.iter().sum::<f64>());
        Self {
            trials,
            sum,
            rate: sum / trials,
        }
    }
}

/// An objective.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    sides: [Side; 2],
    /// The variance of one trial; `None` where each passes or fails.
    variance: Option<f64>,
}

impl Kind {
    /// With what was seen taken for the truth.
    pub(super) fn of(cell: &Cell<'_>, spread: &Spread) -> Self {
        let mut sides = [Side::of(cell.baseline), Side::of(cell.candidate)];
        if spread.passes {
            for side in &mut sides {
                side.rate = (side.sum + LIKE_PASSED) / (side.trials + LIKE_TRIALS);
            }
        }
        Self {
            sides,
            variance: (!spread.passes).then(|| spread.of_one(cell)),
        }
    }

    /// The candidate's mean less the baseline's.
    pub(super) fn difference(&self) -> f64 {
        let [a, b] = &self.sides;
        b.sum / b.trials - a.sum / a.trials
    }

    /// The same of what is taken for the truth.
    pub(super) fn supposed(&self) -> f64 {
        let [a, b] = &self.sides;
        b.rate - a.rate
    }

    /// What both sides have in common.
    fn centre(&self) -> f64 {
        let [a, b] = &self.sides;
        let (sum, trials) = (a.sum + b.sum, a.trials + b.trials);
        match self.variance {
            Some(_) => sum / trials,
            None => (sum + LIKE_PASSED) / (trials + LIKE_TRIALS),
        }
    }

    /// The variance that the difference has from its trials.
    pub(super) fn noise(&self) -> f64 {
        let [a, b] = &self.sides;
        let passes = || self.centre() * (1.0 - self.centre());
        let own = self.variance.unwrap_or_else(passes);
        own / a.trials + own / b.trials
    }

    /// Takes this for the true difference.
    pub(super) fn suppose(&mut self, difference: f64) {
        let centre = self.centre();
        let [a, b] = &mut self.sides;
        let all = a.trials + b.trials;
        a.rate = (centre - difference * b.trials / all).clamp(0.0, 1.0);
        b.rate = (centre + difference * a.trials / all).clamp(0.0, 1.0);
    }

    /// With so many more trials of each side, drawn.
    pub(super) fn continued(&self, more: [u32; 2], random: &mut Random) -> Self {
        let mut next = *self;
        for (side, more) in next.sides.iter_mut().zip(more) {
            let many = f64::from(more);
            side.sum += match self.variance {
                None => random.about_passed(side.rate, more),
                Some(variance) => {
                    let spread = (variance * many).sqrt();
                    let sum = random.normal().mul_add(spread, side.rate * many);
                    sum.clamp(0.0, many)
                }
            };
            side.trials += many;
        }
        next
    }

    /// Another one like it, not yet run.
    pub(super) fn afresh(&self) -> Self {
        let none = |side: Side| Side {
            trials: 0.0,
            sum: 0.0,
            ..side
        };
        Self {
            sides: self.sides.map(none),
            ..*self
        }
    }

    /// Whether each side has one trial that passes or fails.
    pub(super) fn is_one_pass(&self) -> bool {
        self.variance.is_none() && self.sides.iter().all(|side| side.trials < 1.5)
    }

    /// By how much the baseline's sum is more than were labels dealt out, and the variance of that.
    pub(super) fn permuted(&self) -> (f64, f64) {
        let [a, b] = &self.sides;
        let all = a.trials + b.trials;
        let centre = (a.sum + b.sum) / all;
        let each = a.trials * b.trials / all;
        let squares = match self.variance {
            None => all * centre * (1.0 - centre),
            Some(own) => own.mul_add((all - 2.0).max(0.0), each * self.difference().powi(2)),
        };
        let off = a.sum - a.trials * centre;
        (off, each * squares.max(0.0) / (all - 1.0))
    }
}

/// How much scores of the same objective and side vary.
pub(super) struct Spread {
    /// Whether every trial passes or fails.
    passes: bool,
    /// The usual variance.
    usual: f64,
}

impl Spread {
    pub(super) fn of(cells: &[&Cell<'_>]) -> Self {
        let all = || {
            cells
                .iter()
                .flat_map(|cell| cell.baseline.iter().chain(cell.candidate))
        };
        let is_end = |score: &f64| score.abs() < f64::EPSILON || (score - 1.0).abs() < f64::EPSILON;
        let (mut squares, mut free) = (0.0, 0.0);
        for cell in cells {
            let (own, many) = squares_of(cell);
            squares += own;
            free += many;
        }
        let usual = if free > 0.0 {
            squares / free
        } else {
            // Of one trial a side, the two sides tell.
            let differences = cells.iter().filter_map(|cell| cell.difference());
            let each: Vec<f64> = differences.map(|it| it.powi(2) / 2.0).collect();
            mean(&each).unwrap_or(0.0)
        };
        Self {
            passes: all().all(is_end),
            usual,
        }
    }

    /// That of an objective as far as it is known, else the usual one.
    fn of_one(&self, cell: &Cell<'_>) -> f64 {
        let (squares, free) = squares_of(cell);
        USUAL_WEIGHT.mul_add(self.usual, squares) / (free + USUAL_WEIGHT)
    }
}

/// The squares of what scores are off their side's mean, and their degrees of freedom.
fn squares_of(cell: &Cell<'_>) -> (f64, f64) {
    let of = |scores: &[f64]| {
        let free = scores.len().saturating_sub(1) as f64;
        (variance(scores).unwrap_or(0.0) * free, free)
    };
    let (a, b) = (of(cell.baseline), of(cell.candidate));
    (a.0 + b.0, a.1 + b.1)
}
