//! The gate: an exact permutation test within objectives.
//!
//! Under "no change" the labels on an objective's scores are exchangeable. For each objective the chances of every sum that the
//! baseline could have had are counted, and objectives are convolved (Pagano & Tritchler 1983; Streitberg & Röhmel 1986). With the
//! Mantel-Haenszel weights `K_A·K_B/(K_A+K_B)` the weighted difference of means is that sum and a constant, so unequal repeats and
//! lost trials need nothing more. Passes only, this is the hypergeometric test; `McNemar`'s mid-p at one repeat.

use super::{Cell, mean};

/// What scores are rounded to: a point.
pub const POINT: f64 = 0.01;
/// What logarithms of times and costs are rounded to.
pub const LOGARITHM: f64 = 0.001;
/// The most steps that a test takes; with more to do, its unit is doubled until it does.
const STEPS: f64 = 1e9;

/// An exact answer to: *is the candidate lower than the baseline?*
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exact {
    /// How much lower the candidate is: the mean over objectives of the difference of means.
    pub drop: f64,
    /// P(the baseline's sum ≥ the one that was seen), under "no change".
    pub p_greater: f64,
    /// The same less half of the chance of just that sum.
    pub mid_p: f64,
    /// The smallest mid-p that these numbers of trials could have given.
    pub smallest: f64,
}

impl Exact {
    /// The mid-p of *is the candidate higher?*
    #[must_use]
    pub fn mid_p_higher(&self) -> f64 {
        (1.0 - self.mid_p).clamp(0.0, 1.0)
    }

    /// The mid-p of *is it another?*
    #[must_use]
    pub fn mid_p_two_sided(&self) -> f64 {
        (2.0 * self.mid_p.min(1.0 - self.mid_p)).clamp(0.0, 1.0)
    }
}

/// Tests cells whose values are rounded to multiples of `unit`. `None` when no cell has trials on both
/// sides.
///
/// Costs about the sum over objectives of bins times atoms; a billion steps at the most, for which the unit is
/// doubled as often as needed.
#[must_use]
pub fn test(cells: &[Cell<'_>], unit: f64) -> Option<Exact> {
    let cells: Vec<&Cell<'_>> = cells
        .iter()
        .filter(|cell| !cell.baseline.is_empty() && !cell.candidate.is_empty())
        .collect();
    let drops: Vec<f64> = cells
        .iter()
        .filter_map(|cell| cell.difference())
        .map(|difference| -difference)
        .collect();
    let drop = mean(&drops)?;
    let mut unit = unit;
    let strata = loop {
        let strata: Vec<Stratum> = cells.iter().map(|cell| Stratum::of(cell, unit)).collect();
        if cost(&strata) <= STEPS {
            break strata;
        }
        unit *= 2.0;
    };
    let seen: usize = strata.iter().map(|stratum| stratum.seen).sum();
    let mut sums = vec![1.0];
    for stratum in &strata {
        sums = convolved(&sums, &stratum.chances());
    }
    let at: f64 = sums[seen];
    let above: f64 = sums[seen + 1..].iter().sum();
    let below: f64 = sums[..seen].iter().sum();
    // What is far smaller is summed by itself; rounding leaves the whole a little off 1.
    let whole = above + at + below;
    let smallest = cells.iter().map(|cell| {
        let (a, b) = (cell.baseline.len(), cell.candidate.len());
        1.0 / super::repeats::choose(a + b, a.min(b))
    });
    Some(Exact {
        drop,
        p_greater: ((above + at) / whole).clamp(0.0, 1.0),
        mid_p: ((above + at / 2.0) / whole).clamp(0.0, 1.0),
        smallest: smallest.product::<f64>() / 2.0,
    })
}

/// One objective: the scores of both sides in units above the lowest, with how often each is there.
struct Stratum {
    /// Rising.
    values: Vec<(usize, usize)>,
    /// How many of them the baseline has.
    chosen: usize,
    /// The sum that it has.
    seen: usize,
}

impl Stratum {
    fn of(cell: &Cell<'_>, unit: f64) -> Self {
        let whole = |value: &f64| units(*value / unit);
        let all = || cell.baseline.iter().chain(cell.candidate);
        let lowest = all().map(whole).min().unwrap_or(0);
        let above = |value: &f64| usize::try_from(whole(value) - lowest).unwrap_or(0);
        let mut counts = std::collections::BTreeMap::new();
        for value in all() {
            *counts.entry(above(value)).or_insert(0) += 1;
        }
        Self {
            values: counts.into_iter().collect(),
            chosen: cell.baseline.len(),
            seen: cell.baseline.iter().map(above).sum(),
        }
    }

    fn all(&self) -> usize {
        self.values.iter().map(|(_, times)| times).sum()
    }

    /// The largest sum that can be.
    fn largest(&self) -> usize {
        let mut left = self.chosen;
        let taken = self.values.iter().rev().map(|(value, times)| {
            let taken = left.min(*times);
            left -= taken;
            value * taken
        });
        taken.sum()
    }

    /// The chance of every sum, from 0.
    ///
    /// Values are taken one after the other; `table[k][s]` is the chance that k of those so far are chosen and sum up to s. An
    /// item is chosen with the share of places that are left, so that nothing overflows however many there are.
    fn chances(&self) -> Vec<f64> {
        let all = self.all();
        let bins = self.largest() + 1;
        let mut table = vec![vec![0.0; bins]; self.chosen + 1];
        table[0][0] = 1.0;
        let mut before = 0;
        // The largest sum so far, for each number of chosen ones.
        let mut reach = 0;
        for (value, times) in &self.values {
            for _ in 0..*times {
                let left = (all - before) as f64;
                for k in (0..=self.chosen.min(before)).rev() {
                    let chance = (self.chosen - k) as f64 / left;
                    let end = bins.min(reach + 1);
                    for sum in 0..end {
                        let here = table[k][sum];
                        if here == 0.0 {
                            continue;
                        }
                        if k < self.chosen && sum + value < bins {
                            table[k + 1][sum + value] += here * chance;
                        }
                        table[k][sum] = here * (1.0 - chance).max(0.0);
                    }
                }
                before += 1;
                reach += value;
            }
        }
        table.swap_remove(self.chosen)
    }
}

/// About how many steps the test takes.
fn cost(strata: &[Stratum]) -> f64 {
    let mut bins = 1.0;
    let mut steps = 0.0;
    for stratum in strata {
        let (own, all) = (stratum.largest() as f64 + 1.0, stratum.all() as f64);
        steps += all * (stratum.chosen as f64 + 1.0) * own;
        bins += own - 1.0;
        steps += bins * own;
    }
    steps
}

fn convolved(sums: &[f64], with: &[f64]) -> Vec<f64> {
    let mut both = vec![0.0; sums.len() + with.len() - 1];
    let atoms: Vec<(usize, f64)> = with
        .iter()
        .copied()
        .enumerate()
        .filter(|(_, chance)| *chance > 0.0)
        .collect();
    for (at, sum) in sums.iter().enumerate().filter(|(_, sum)| **sum > 0.0) {
        for (atom, chance) in &atoms {
            both[at + atom] += sum * chance;
        }
    }
    both
}

/// A number of units, to the nearest whole one.
#[expect(clippy::cast_possible_truncation, reason = "clamped far inside of i64")]
fn units(value: f64) -> i64 {
    value.round().clamp(-1e15, 1e15) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::golden::{Sides, close, golden};
    use crate::statistics::paired;
    use proptest::prelude::*;

    #[test]
    fn the_golden_cases_are_met() {
        let golden = golden(2);
        for family in ["stratified_binary", "stratified_graded"] {
            for case in golden[family].as_array().unwrap() {
                let sides = Sides::of(&case["a"], &case["b"]);
                let Some(got) = test(&sides.cells(), POINT) else {
                    assert!(case["mid_p"].is_null(), "{case}");
                    continue;
                };
                let expect = |key: &str, got: f64| {
                    close(
                        got,
                        case[key].as_f64().unwrap(),
                        1e-9,
                        &format!("{family} {} {key}", case["case"]),
                    );
                };
                expect("drop", got.drop);
                expect("p_greater", got.p_greater);
                expect("mid_p", got.mid_p);
                expect("mid_p_less", got.mid_p_higher());
                expect("mid_p_two_sided", got.mid_p_two_sided());
            }
        }
    }

    /// Deals out the labels in every way there is.
    fn brute(cells: &[(Vec<i64>, Vec<i64>)]) -> (f64, f64) {
        let mut sums = vec![0];
        let mut seen = 0;
        for (a, b) in cells {
            let all: Vec<i64> = a.iter().chain(b).copied().collect();
            seen += a.iter().sum::<i64>();
            let own: Vec<i64> = (0_u32..1 << all.len())
                .filter(|mask| mask.count_ones() as usize == a.len())
                .map(|mask| {
                    (0..all.len())
                        .filter(|at| mask >> at & 1 == 1)
                        .map(|at| all[at])
                        .sum()
                })
                .collect();
            sums = sums
                .iter()
                .flat_map(|sum| own.iter().map(move |own| sum + own))
                .collect();
        }
        let share = |holds: &dyn Fn(i64) -> bool| {
            sums.iter().filter(|sum| holds(**sum)).count() as f64 / sums.len() as f64
        };
        let greater = share(&|sum| sum >= seen);
        (greater, greater - share(&|sum| sum == seen) / 2.0)
    }

    fn cell() -> impl Strategy<Value = (Vec<i64>, Vec<i64>)> {
        let side = || prop::collection::vec(-3..=100_i64, 1..4);
        (side(), side())
    }

    fn scaled(values: &[i64]) -> Vec<f64> {
        values.iter().map(|value| *value as f64 / 100.0).collect()
    }

    proptest! {
        #[test]
        fn it_agrees_with_dealing_out_all_labels(cells in prop::collection::vec(cell(), 1..4)) {
            let (greater, mid) = brute(&cells);
            let (a, b): (Vec<_>, Vec<_>) = cells.iter().map(|(a, b)| (scaled(a), scaled(b))).unzip();
            let lent = paired(&a, &b);
            let got = test(&lent, POINT).unwrap();
            prop_assert!((got.p_greater - greater).abs() < 1e-9, "{got:?} {greater}");
            prop_assert!((got.mid_p - mid).abs() < 1e-9, "{got:?} {mid}");
            prop_assert!(got.mid_p >= got.smallest - 1e-12);
        }

        #[test]
        fn sides_and_orders_do_not_matter_but_for_the_sign(cells in prop::collection::vec(cell(), 1..6)) {
            let (a, b): (Vec<_>, Vec<_>) = cells.iter().map(|(a, b)| (scaled(a), scaled(b))).unzip();
            let lent = paired(&a, &b);
            let turned: Vec<Cell<'_>> = paired(&b, &a).into_iter().rev().collect();
            let (got, other) = (test(&lent, POINT).unwrap(), test(&turned, POINT).unwrap());
            prop_assert!((got.mid_p - other.mid_p_higher()).abs() < 1e-9);
            prop_assert!((got.drop + other.drop).abs() < 1e-9);
        }

        #[test]
        fn a_candidate_that_gets_worse_never_looks_better(cells in prop::collection::vec(cell(), 1..5), at in 0..4_usize) {
            let (a, mut b): (Vec<_>, Vec<_>) = cells.iter().map(|(a, b)| (scaled(a), scaled(b))).unzip();
            let before = test(&paired(&a, &b), POINT).unwrap().drop;
            let at = at % b.len();
            b[at][0] -= 0.5;
            prop_assert!(test(&paired(&a, &b), POINT).unwrap().drop > before);
        }
    }

    #[test]
    fn nothing_in_common_is_no_test() {
        assert_eq!(test(&[], POINT), None);
        let cell = Cell {
            baseline: &[0.5],
            candidate: &[],
        };
        assert_eq!(test(&[cell], POINT), None);
    }

    #[test]
    fn many_objectives_and_repeats_are_finite() {
        let a: Vec<f64> = (0..10).map(|at| f64::from(at * 7 % 10) / 10.0).collect();
        let b: Vec<f64> = (0..10).map(|at| f64::from(at * 3 % 10) / 11.0).collect();
        let cell = Cell {
            baseline: &a,
            candidate: &b,
        };
        let got = test(&[cell; 20], POINT).unwrap();
        assert!(got.mid_p > 0.0 && got.mid_p < 1.0, "{got:?}");
    }

    #[test]
    fn hundreds_of_repeats_have_an_answer() {
        let a: Vec<f64> = (0..300).map(|at| f64::from(at % 97) / 97.0).collect();
        let b: Vec<f64> = (0..300).map(|at| f64::from(at % 89) / 89.0).collect();
        let got = test(
            &[Cell {
                baseline: &a,
                candidate: &b,
            }],
            POINT,
        )
        .unwrap();
        assert!(got.mid_p.is_finite() && got.smallest >= 0.0, "{got:?}");
    }
}
