//! The gate: an exact permutation test within objectives.
//!
//! Under "no change" the labels on an objective's scores are exchangeable. For each objective the chances of every sum that the
//! baseline could have had are counted, and objectives are convolved (Pagano & Tritchler 1983; Streitberg & Röhmel 1986). With the
//! Mantel-Haenszel weights `K_A·K_B/(K_A+K_B)` the weighted difference of means is that sum and a constant, so unequal repeats and
//! lost trials need nothing more. Passes only, this is the hypergeometric test; `McNemar`'s mid-p at one repeat.

mod stratum;

use self::stratum::Stratum;
use super::distribution::normal;
use super::{Cell, mean};

/// What scores are rounded to: a point.
pub const POINT: f64 = 0.01;
/// What logarithms of times and costs are rounded to.
pub const LOGARITHM: f64 = 0.001;
/// The most steps that [`test()`] takes: about a second.
pub const STEPS: f64 = 1e9;
/// The most numbers in a table of a test, of which it holds three at a time. It is for values far apart; scores never need as many.
const ROOM: f64 = 4e6;
/// What is cut off either end of the sums is less likely than this: it cannot be seen in a p-value, and it is most of the sums.
const CUT: f64 = 1e-32;

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
        two_sided(self.mid_p)
    }
}

/// What is nearly the answer of [`test()`], for a thousandth of its cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Approximate {
    /// How much lower the candidate is: as in [`Exact`].
    pub drop: f64,
    /// About the mid-p of *is the candidate lower?*
    pub mid_p: f64,
}

impl Approximate {
    /// About the mid-p of *is the candidate higher?*
    #[must_use]
    pub fn mid_p_higher(&self) -> f64 {
        (1.0 - self.mid_p).clamp(0.0, 1.0)
    }

    /// About the mid-p of *is it another?*
    #[must_use]
    pub fn mid_p_two_sided(&self) -> f64 {
        two_sided(self.mid_p)
    }
}

fn two_sided(mid_p: f64) -> f64 {
    (2.0 * mid_p.min(1.0 - mid_p)).clamp(0.0, 1.0)
}

/// Tests cells whose values are rounded to multiples of `unit`, above 0: exact where they are such multiples, of any finite
/// size. `None` when no cell has trials on both sides. What is not finite is no trial.
///
/// Costs about the sum over objectives of bins times atoms; a billion steps and 100 MB at the most, for which the unit
/// is doubled as often as needed.
#[must_use]
pub fn test(cells: &[Cell<'_>], unit: f64) -> Option<Exact> {
    test_within(cells, unit, STEPS)
}

/// The same in about so many steps at the most.
#[must_use]
pub fn test_within(cells: &[Cell<'_>], unit: f64, steps: f64) -> Option<Exact> {
    let finite = Finite::of(cells);
    let cells = finite.cells();
    let drop = drop_of(&cells)?;
    let mut unit = stratum::usable(&cells, unit, ROOM.min(steps));
    let strata = loop {
        let strata = stratum::all(&cells, unit);
        let (needed, room) = stratum::size(&strata);
        if (needed <= steps && room <= ROOM) || strata.is_empty() {
            break strata;
        }
        unit *= 2.0;
    };
    let mut sums = Sums::none();
    for stratum in &strata {
        sums.add(stratum);
    }
    let smallest = cells.iter().map(|cell| {
        let (a, b) = (cell.baseline.len(), cell.candidate.len());
        1.0 / super::repeats::choose(a + b, a.min(b))
    });
    let (p_greater, mid_p) = sums.tail();
    Some(Exact {
        drop,
        p_greater,
        mid_p,
        smallest: smallest.product::<f64>() / 2.0,
    })
}

/// About how many steps [`test()`] takes at this unit, were there no most.
#[must_use]
pub fn cost(cells: &[Cell<'_>], unit: f64) -> f64 {
    let finite = Finite::of(cells);
    let cells = finite.cells();
    let usable = stratum::usable(&cells, unit, ROOM);
    // Beyond what can be counted in bins there is no telling, and no need to.
    let beyond = if usable > unit { usable / unit } else { 1.0 };
    let (steps, _) = stratum::size(&stratum::all(&cells, usable));
    steps * beyond
}

/// The same permutation distribution by its mean and its variance, both exact, and the normal distribution between: in a stratum the
/// baseline's sum has the mean `K_A·m` and, drawn without putting back, the variance `K_A·K_B/(K_A+K_B)·v` with `v` that of both
/// sides' scores together (divisor n - 1). The values are not rounded. `None` like [`test()`].
///
/// The mid-p needs no correction for continuity. It errs by less than .01 where each side has 100 trials or more on objectives whose
/// scores differ, by less than .002 with 500, and most in the middle: a screen for thousands of pairs, no verdict.
#[must_use]
pub fn approximate(cells: &[Cell<'_>]) -> Option<Approximate> {
    let finite = Finite::of(cells);
    let cells = finite.cells();
    let drop = drop_of(&cells)?;
    // One scale for all, so that no square overflows.
    let all = || {
        cells
            .iter()
            .flat_map(|cell| cell.baseline.iter().chain(cell.candidate))
    };
    let scale = all().fold(f64::MIN_POSITIVE, |most, value| most.max(value.abs()));
    let (mut off, mut variance) = (0.0, 0.0);
    for cell in &cells {
        let (own, whole) = (
            cell.baseline.len() as f64,
            (cell.baseline.len() + cell.candidate.len()) as f64,
        );
        let both = || {
            cell.baseline
                .iter()
                .chain(cell.candidate)
                .map(|value| value / scale)
        };
        let mean = both().sum::<f64>() / whole;
        let squares: f64 = both().map(|value| (value - mean).powi(2)).sum();
        off += cell
            .baseline
            .iter()
            .map(|value| value / scale - mean)
            .sum::<f64>();
        variance += own * (whole - own) / whole * squares / (whole - 1.0);
    }
    // What rounding leaves of scores that are all the same.
    let mid_p = if variance.sqrt() <= 1e-13 {
        0.5
    } else {
        normal(-off / variance.sqrt())
    };
    Some(Approximate { drop, mid_p })
}

/// Cells with trials on both sides, without what is not finite.
enum Finite<'a> {
    Lent(&'a [Cell<'a>]),
    Owned(Vec<(Vec<f64>, Vec<f64>)>),
}

impl<'a> Finite<'a> {
    fn of(cells: &'a [Cell<'a>]) -> Self {
        let finite = |values: &[f64]| values.iter().all(|value| value.is_finite());
        if cells
            .iter()
            .all(|cell| finite(cell.baseline) && finite(cell.candidate))
        {
            return Self::Lent(cells);
        }
        let only = |values: &[f64]| values.iter().copied().filter(|it| it.is_finite()).collect();
        let both = |cell: &Cell<'_>| (only(cell.baseline), only(cell.candidate));
        Self::Owned(cells.iter().map(both).collect())
    }

    fn cells(&'a self) -> Vec<Cell<'a>> {
        let has_both = |cell: &Cell<'_>| !cell.baseline.is_empty() && !cell.candidate.is_empty();
        match self {
            Self::Lent(cells) => cells.iter().copied().filter(has_both).collect(),
            Self::Owned(cells) => {
                let lent = cells.iter().map(|(baseline, candidate)| Cell {
                    baseline,
                    candidate,
                });
                lent.filter(has_both).collect()
            }
        }
    }
}

fn drop_of(cells: &[Cell<'_>]) -> Option<f64> {
    let drops: Vec<f64> = cells
        .iter()
        .filter_map(Cell::difference)
        .map(|it| -it)
        .collect();
    mean(&drops)
}

/// The chance of every sum that the baseline could have had over the objectives so far.
struct Sums {
    chances: Vec<f64>,
    /// Which of them was seen; beyond either end where that has been cut off.
    seen: i64,
    /// How likely, at most, is what was cut off.
    cut: f64,
}

impl Sums {
    fn none() -> Self {
        Self {
            chances: vec![1.0],
            seen: 0,
            cut: 0.0,
        }
    }

    fn add(&mut self, stratum: &Stratum) {
        let (own, seen) = stratum.chances();
        self.chances = convolved(&self.chances, &own);
        self.seen += seen;
        let low = self.chances.iter();
        let low = unlikely(low);
        let high = unlikely(self.chances[low..].iter().rev());
        if low + high > 0 {
            self.cut += 2.0 * CUT;
            self.chances.truncate(self.chances.len() - high);
            self.chances.drain(..low);
            self.seen -= i64::try_from(low).unwrap_or(i64::MAX);
        }
    }

    /// The chance of what was seen or more, and the same less half of that of just it.
    fn tail(&self) -> (f64, f64) {
        let Ok(seen) = usize::try_from(self.seen) else {
            return (1.0, 1.0);
        };
        let Some(&at) = self.chances.get(seen) else {
            return (self.cut, self.cut);
        };
        let above: f64 = self.chances[seen + 1..].iter().sum();
        let below: f64 = self.chances[..seen].iter().sum();
        // What is far smaller is summed by itself; rounding leaves the whole a little off 1.
        let whole = above + at + below;
        let share = |part: f64| (part / whole).clamp(0.0, 1.0);
        (share(above + at), share(above + at / 2.0))
    }
}

/// How many of these chances are together too unlikely to be kept.
fn unlikely<'a>(chances: impl Iterator<Item = &'a f64>) -> usize {
    let mut sum = 0.0;
    chances
        .take_while(|chance| {
            sum += **chance;
            sum < CUT
        })
        .count()
}

/// How many sums are worked on at a time, so that they stay near the processor.
const NEAR: usize = 1024;

fn convolved(one: &[f64], other: &[f64]) -> Vec<f64> {
    let (long, short) = if one.len() < other.len() {
        (other, one)
    } else {
        (one, other)
    };
    let mut both = vec![0.0; long.len() + short.len() - 1];
    let atoms: Vec<(usize, f64)> = short
        .iter()
        .copied()
        .enumerate()
        .filter(|(_, chance)| *chance > 0.0)
        .collect();
    for (part, sums) in both.chunks_mut(NEAR).enumerate() {
        let (from, to) = (part * NEAR, part * NEAR + sums.len());
        for &(atom, chance) in &atoms {
            let (start, end) = (
                from.saturating_sub(atom),
                to.saturating_sub(atom).min(long.len()),
            );
            if start < end {
                let into = &mut sums[start + atom - from..end + atom - from];
                for (sum, own) in into.iter_mut().zip(&long[start..end]) {
                    *sum += own * chance;
                }
            }
        }
    }
    both
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

    /// Many trials: a side of an objective, as quarters or as points.
    fn many() -> impl Strategy<Value = Vec<(Vec<f64>, Vec<f64>)>> {
        let side = |fine: bool, repeats: usize| {
            let of = if fine { 100 } else { 1 };
            prop::collection::vec(
                (0..=of).prop_map(move |it| f64::from(it) / f64::from(of)),
                repeats,
            )
        };
        (any::<bool>(), 5..8_usize, 5..8_usize).prop_flat_map(move |(fine, a, b)| {
            prop::collection::vec((side(fine, a), side(fine, b)), 24..30)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn of_many_trials_what_is_approximate_is_near(cells in many()) {
            let (a, b): (Vec<_>, Vec<_>) = cells.into_iter().unzip();
            let lent = paired(&a, &b);
            let (exact, near) = (test(&lent, POINT).unwrap(), approximate(&lent).unwrap());
            prop_assert!((exact.mid_p - near.mid_p).abs() < 0.01, "{exact:?} {near:?}");
            prop_assert!((exact.drop - near.drop).abs() < 1e-12);
        }

        #[test]
        fn fewer_steps_are_nearly_the_same(cells in many()) {
            let (a, b): (Vec<_>, Vec<_>) = cells.into_iter().unzip();
            let lent = paired(&a[..8], &b[..8]);
            let (all, few) = (test(&lent, POINT).unwrap(), test_within(&lent, POINT, f64::max(cost(&lent, POINT) / 10.0, 1e5)).unwrap());
            prop_assert!((all.mid_p - few.mid_p).abs() < 0.1, "{all:?} {few:?}");
            prop_assert!(cost(&lent, POINT) <= STEPS);
        }
    }

    proptest! {
        #[test]
        fn what_is_approximate_mirrors_and_is_a_chance(cells in prop::collection::vec(cell(), 1..6), scale in 1.0..1e300_f64) {
            let (a, b): (Vec<_>, Vec<_>) = cells.iter().map(|(a, b)| (scaled(a), scaled(b))).unzip();
            let got = approximate(&paired(&a, &b)).unwrap();
            let turned: Vec<Cell<'_>> = paired(&b, &a).into_iter().rev().collect();
            prop_assert!((0.0..=1.0).contains(&got.mid_p));
            prop_assert!((got.mid_p - approximate(&turned).unwrap().mid_p_higher()).abs() < 1e-9);
            let times = |side: &[Vec<f64>]| -> Vec<Vec<f64>> {
                side.iter().map(|scores| scores.iter().map(|score| score * scale).collect()).collect()
            };
            let (a, b) = (times(&a), times(&b));
            prop_assert!((got.mid_p - approximate(&paired(&a, &b)).unwrap().mid_p).abs() < 1e-9);
        }

        #[test]
        fn any_unit_is_exact_for_its_multiples(
            cells in prop::collection::vec(cell(), 1..4), exponent in -300..300_i32,
        ) {
            // Powers of two, so that a multiple is one.
            let unit = 2.0_f64.powi(exponent);
            let times = |values: &[i64]| -> Vec<f64> { values.iter().map(|value| *value as f64 * unit).collect() };
            let (_, mid) = brute(&cells);
            let (a, b): (Vec<_>, Vec<_>) = cells.iter().map(|(a, b)| (times(a), times(b))).unzip();
            prop_assert!((test(&paired(&a, &b), unit).unwrap().mid_p - mid).abs() < 1e-9);
        }

        #[test]
        fn values_of_any_size_have_an_answer(
            a in prop::collection::vec(prop::collection::vec(any::<f64>(), 0..4), 3),
            b in prop::collection::vec(prop::collection::vec(any::<f64>(), 0..4), 3),
        ) {
            let cells = paired(&a, &b);
            if let Some(got) = test_within(&cells, POINT, 1e5) {
                prop_assert!((0.0..=1.0).contains(&got.mid_p) && got.mid_p <= got.p_greater);
                prop_assert!(got.drop.is_finite());
            }
            if let Some(got) = approximate(&cells) {
                prop_assert!((0.0..=1.0).contains(&got.mid_p) && got.drop.is_finite());
            }
            prop_assert!(cost(&cells, POINT) >= 0.0);
        }
    }

    #[test]
    fn far_beyond_what_is_likely_there_is_still_a_chance() {
        let cell = Cell {
            baseline: &[1.0; 10],
            candidate: &[0.0; 10],
        };
        let got = test(&[cell; 60], POINT).unwrap();
        assert!(
            got.mid_p > 0.0 && got.mid_p < 1e-25 && got.mid_p >= got.smallest,
            "{got:?}"
        );
        let turned = Cell {
            baseline: &[0.0; 10],
            candidate: &[1.0; 10],
        };
        let got = test(&[turned; 60], POINT).unwrap();
        assert!((got.mid_p - 1.0).abs() < 1e-12, "{got:?}");
    }

    #[test]
    fn values_that_are_far_apart_are_tested_by_what_can_be_held() {
        let a = vec![vec![1e12, 1.000_001e12], vec![3e11, 3.1e11]];
        let b = vec![vec![1.2e12, 1.3e12], vec![3.3e11, 3.4e11]];
        let got = test(&paired(&a, &b), POINT).unwrap();
        // Both are the lowest that they can be: one way in six, twice.
        assert!((got.mid_p - (1.0 - 1.0 / 72.0)).abs() < 1e-12, "{got:?}");
        assert!((got.drop + 1.4e11).abs() < 1e7, "{got:?}");
    }

    #[test]
    fn scores_that_are_all_the_same_say_nothing() {
        let cell = Cell {
            baseline: &[0.1; 3],
            candidate: &[0.1; 2],
        };
        assert!((test(&[cell; 4], POINT).unwrap().mid_p - 0.5).abs() < 1e-12);
        assert!((approximate(&[cell; 4]).unwrap().mid_p - 0.5).abs() < 1e-12);
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
