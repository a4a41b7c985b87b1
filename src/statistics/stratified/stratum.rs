//! One objective of the exact test: its scores as whole numbers, and the chance of every sum of some of them.

use super::super::Cell;
use super::super::repeats::choose;

/// Whole numbers below this are told apart by a floating-point number with room to spare.
const EXACT: f64 = 1e15;

/// The scores of both sides in units above the lowest, as few of them as tell the scores apart.
#[derive(Debug)]
pub(super) struct Stratum {
    /// Each value with how often it is there; rising, from 0.
    values: Vec<(usize, usize)>,
    /// How many scores there are.
    all: usize,
    /// How many of them are chosen: those of the side with fewer.
    chosen: usize,
    /// The sum that they have.
    seen: usize,
    /// Whether the side with fewer is the candidate, so that the baseline's sum is what is left.
    turned: bool,
    /// The greatest number that divides all values.
    step: usize,
}

/// The smallest unit that is this one, doubled, at which the scores of an objective have no more bins than these.
pub(super) fn usable(cells: &[Cell<'_>], unit: f64, bins: f64) -> f64 {
    let mut unit = if unit.is_finite() && unit > 0.0 {
        unit
    } else {
        f64::MIN_POSITIVE
    };
    // Halves, because the whole range may be beyond a number.
    let range = cells.iter().map(|cell| {
        let (low, high) = ends(cell);
        high / 2.0 - low / 2.0
    });
    let range = range.fold(0.0, f64::max);
    while range / unit > bins / 2.0 && unit < f64::MAX / 4.0 {
        unit *= 2.0;
    }
    unit
}

/// All cells on which scores differ.
pub(super) fn all(cells: &[Cell<'_>], unit: f64) -> Vec<Stratum> {
    let mut strata: Vec<Stratum> = cells
        .iter()
        .filter_map(|cell| Stratum::of(cell, unit))
        .collect();
    let step = strata
        .iter()
        .fold(0, |step, stratum| divisor(step, stratum.step));
    for stratum in &mut strata {
        stratum.step /= step;
        stratum.seen /= step;
        for (value, _) in &mut stratum.values {
            *value /= step;
        }
    }
    strata
}

/// About how many steps the test of these takes, and how many numbers it holds at a time.
pub(super) fn size(strata: &[Stratum]) -> (f64, f64) {
    // Sums further out than this many standard deviations are cut off.
    const FAR: f64 = 24.0;
    let (mut bins, mut variance, mut steps) = (1.0, 0.0_f64, 0.0);
    let mut room = 0.0_f64;
    for stratum in strata {
        let own = stratum.largest() as f64 + 1.0;
        let atoms = own / stratum.step as f64;
        if stratum.values.len() > 2 {
            room = room.max(atoms * (stratum.chosen as f64 + 1.0));
            steps += stratum.all as f64 * (stratum.chosen as f64 + 1.0) * atoms / 2.0;
        }
        let kept = f64::min(bins, FAR.mul_add(variance.sqrt(), own));
        steps += if kept < own {
            kept * own
        } else {
            kept * atoms.min(choose(stratum.all, stratum.chosen))
        };
        room = room.max(kept + own);
        bins += own - 1.0;
        variance += stratum.variance();
    }
    (steps, room)
}

impl Stratum {
    /// `None` where all scores are the same: they say nothing.
    fn of(cell: &Cell<'_>, unit: f64) -> Option<Self> {
        let (low, high) = ends(cell);
        let far = low.abs().max(high.abs()) / unit;
        let above = |value: f64| {
            if far < EXACT {
                whole((value / unit).round() - (low / unit).round())
            } else {
                whole(((value / 2.0 - low / 2.0) / (unit / 2.0)).round())
            }
        };
        if above(high) == 0 {
            return None;
        }
        let turned = cell.candidate.len() < cell.baseline.len();
        let (few, many) = if turned {
            (cell.candidate, cell.baseline)
        } else {
            (cell.baseline, cell.candidate)
        };
        let mut sorted: Vec<usize> = few.iter().map(|value| above(*value)).collect();
        let seen = sorted.iter().sum();
        sorted.extend(many.iter().map(|value| above(*value)));
        sorted.sort_unstable();
        let mut values: Vec<(usize, usize)> = Vec::with_capacity(sorted.len());
        for value in sorted {
            match values.last_mut() {
                Some((last, times)) if *last == value => *times += 1,
                Some(_) | None => values.push((value, 1)),
            }
        }
        Some(Self {
            step: values
                .iter()
                .fold(0, |step, (value, _)| divisor(step, *value)),
            values,
            all: few.len() + many.len(),
            chosen: few.len(),
            seen,
            turned,
        })
    }

    /// The sum of the chosen number of values, in the order given.
    fn first(&self, values: impl Iterator<Item = (usize, usize)>) -> usize {
        let mut left = self.chosen;
        let taken = values.map(|(value, times)| {
            let taken = left.min(times);
            left -= taken;
            value * taken
        });
        taken.sum()
    }

    /// The largest sum that can be.
    fn largest(&self) -> usize {
        self.first(self.values.iter().rev().copied())
    }

    /// The variance of the sum, drawn without putting back.
    fn variance(&self) -> f64 {
        let (all, chosen) = (self.all as f64, self.chosen as f64);
        let sum = |power: i32| -> f64 {
            let of = |(value, times): &(usize, usize)| (*value as f64).powi(power) * *times as f64;
            self.values.iter().map(of).sum()
        };
        let squares = sum(2) - sum(1).powi(2) / all;
        chosen * (all - chosen) / all * squares.max(0.0) / (all - 1.0).max(1.0)
    }

    /// The chance of every sum that the baseline can have, from the smallest to the largest, and which of them it has.
    pub(super) fn chances(&self) -> (Vec<f64>, i64) {
        let (smallest, largest) = (self.first(self.values.iter().copied()), self.largest());
        let dense = match self.values[..] {
            [_, (_, high)] => self.hypergeometric(high),
            _ => self.counted(),
        };
        // From the smallest on, with nothing between the multiples of the step.
        let mut chances = vec![0.0; largest - smallest + 1];
        let places = chances.iter_mut().step_by(self.step);
        for (place, chance) in places.zip(&dense[smallest / self.step..]) {
            *place = *chance;
        }
        let seen = self.seen - smallest;
        if self.turned {
            chances.reverse();
        }
        let seen = if self.turned {
            largest - smallest - seen
        } else {
            seen
        };
        (chances, i64::try_from(seen).unwrap_or(i64::MAX))
    }

    /// The chance that so many of the chosen are among the `high` ones, from 0: only two values are there.
    fn hypergeometric(&self, high: usize) -> Vec<f64> {
        let (from, to) = (
            self.chosen.saturating_sub(self.all - high),
            self.chosen.min(high),
        );
        // From the likeliest outwards, so that nothing overflows; then made to sum up to 1.
        let top = ((self.chosen + 1) * (high + 1) / (self.all + 2)).clamp(from, to);
        let mut chances = vec![0.0; to + 1];
        chances[top] = 1.0;
        // How many times as likely one more is.
        let more = |k: usize| {
            let (up, down) = (
                (high - k) * (self.chosen - k),
                (k + 1) * (self.all + k + 1 - high - self.chosen),
            );
            up as f64 / down as f64
        };
        for k in top..to {
            chances[k + 1] = chances[k] * more(k);
        }
        for k in (from..top).rev() {
            chances[k] = chances[k + 1] / more(k);
        }
        let whole: f64 = chances.iter().sum();
        chances.iter().map(|chance| chance / whole).collect()
    }

    /// The chance of every sum, from 0, in steps.
    ///
    /// Values are taken one after the other; row `k` has the chances that `k` of those so far are chosen and sum up to something.
    /// An item is chosen with the share of places that are left, so that nothing overflows however many there are.
    fn counted(&self) -> Vec<f64> {
        let bins = self.largest() / self.step + 1;
        let mut rows = vec![vec![0.0; bins]; self.chosen + 1];
        rows[0][0] = 1.0;
        // The largest sum so far in each row: values rise, so it is that of the last ones.
        let mut reach = vec![0; self.chosen + 1];
        let mut before = 0;
        for (value, times) in &self.values {
            let value = value / self.step;
            for _ in 0..*times {
                let left = self.all - before;
                // With fewer chosen than that, not enough items are left.
                let least = self.chosen.saturating_sub(left);
                for k in (least..=self.chosen.min(before)).rev() {
                    let chance = (self.chosen - k) as f64 / left as f64;
                    let (here, next) = rows.split_at_mut(k + 1);
                    let here = &mut here[k][..=reach[k]];
                    if let Some(next) = next.first_mut() {
                        reach[k + 1] = reach[k + 1].max(reach[k] + value);
                        for (next, here) in next[value..].iter_mut().zip(&*here) {
                            *next += here * chance;
                        }
                    }
                    let stays = (1.0 - chance).max(0.0);
                    for here in here {
                        *here *= stays;
                    }
                }
                before += 1;
            }
        }
        rows.swap_remove(self.chosen)
    }
}

/// The lowest and the highest score of both sides.
fn ends(cell: &Cell<'_>) -> (f64, f64) {
    let all = cell.baseline.iter().chain(cell.candidate);
    all.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(*value), high.max(*value))
    })
}

/// The greatest common divisor; of 0 and a number, that number.
fn divisor(mut a: usize, mut b: usize) -> usize {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// A number of units.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the difference to the lowest, below 2^53"
)]
fn whole(units: f64) -> usize {
    units.clamp(0.0, EXACT) as usize
}
