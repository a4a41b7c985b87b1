//! Times, tokens and costs: what is compared is how many times as much.

use super::distribution::{student, student_quantile};
use super::interval::{Interval, Paired};
use super::stratified::{self, Exact, LOGARITHM, STEPS};
use super::{Cell, all_equal, differences, paired};

/// How many times as much the candidate takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// The geometric mean over objectives.
    pub ratio: f64,
    /// Its interval; `None` for one objective, or where all ratios are the same.
    pub interval: Option<Interval>,
    /// p of "the ratio is the margin or more", against; `None` like the interval.
    pub p_no_more: Option<f64>,
    /// The exact test of the logarithms: *is the candidate's lower?*
    pub exact: Exact,
    /// On how many objectives.
    pub objectives: usize,
    /// The standard error of the mean of the logarithms; `None` like the interval.
    error: Option<f64>,
}

impl Ratio {
    /// The mid-p of *does the candidate take more?*
    #[must_use]
    pub fn mid_p_more(&self) -> f64 {
        self.exact.mid_p_higher()
    }

    /// Where the ratio lies with a confidence of its own; `None` like [`Ratio::interval`].
    #[must_use]
    pub fn interval_of(&self, confidence: f64) -> Option<Interval> {
        let mean = self.ratio.ln();
        self.error.map(|error| {
            // Not cut: these are logarithms.
            let half = student_quantile(0.5 + confidence / 2.0, self.objectives - 1) * error;
            Interval {
                low: (mean - half).exp(),
                high: (mean + half).exp().min(f64::MAX),
            }
        })
    }
}

/// Compares positive values; what is not positive, or not finite, is left out. `margin` is a ratio above 1. `None` when nothing
/// is to be compared.
#[must_use]
pub fn of(cells: &[Cell<'_>], margin: f64, confidence: f64) -> Option<Ratio> {
    of_within(cells, margin, confidence, STEPS)
}

/// The same, with an exact test of at most so many steps.
#[must_use]
pub fn of_within(cells: &[Cell<'_>], margin: f64, confidence: f64, steps: f64) -> Option<Ratio> {
    let (baseline, candidate) = logarithms(cells);
    let cells = paired(&baseline, &candidate);
    let exact = stratified::test_within(&cells, LOGARITHM, steps)?;
    let differences = differences(&cells);
    let mean = super::mean(&differences)?;
    let found = Paired::of(&differences, false).filter(|_| !all_equal(&differences));
    let p_no_more = found.map(|paired| {
        let t = (mean - margin.ln()) / paired.error.max(f64::MIN_POSITIVE);
        student(t, differences.len() - 1)
    });
    let mut found = Ratio {
        ratio: mean.exp().clamp(f64::MIN_POSITIVE, f64::MAX),
        interval: None,
        p_no_more,
        exact,
        objectives: differences.len(),
        error: found.map(|it| it.error),
    };
    found.interval = found.interval_of(confidence);
    Some(found)
}

/// The logarithms of both sides, without what has none.
pub(super) fn logarithms(cells: &[Cell<'_>]) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let of = |values: &[f64]| -> Vec<f64> {
        let usable = values.iter().filter(|it| it.is_finite() && **it > 0.0);
        usable.map(|value| value.ln()).collect()
    };
    let both = |cell: &Cell<'_>| (of(cell.baseline), of(cell.candidate));
    cells.iter().map(both).unzip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::golden::{Sides, close, golden};
    use proptest::prelude::*;

    #[test]
    fn the_golden_cases_are_met() {
        for case in golden(2)["ratio"].as_array().unwrap() {
            let sides = Sides::of(&case["a"], &case["b"]);
            let got = of(&sides.cells(), case["margin"].as_f64().unwrap(), 0.95);
            let Some(got) = got else {
                assert!(case["ratio"].is_null(), "{case}");
                continue;
            };
            assert_eq!(serde_json::json!(got.objectives), case["objectives"]);
            let expect = |key: &str, got: Option<f64>| match got {
                Some(got) => close(got, case[key].as_f64().unwrap(), 1e-9, key),
                None => assert!(case[key].is_null(), "{key}: {case}"),
            };
            expect("ratio", Some(got.ratio));
            expect("lo", got.interval.map(|it| it.low));
            expect("hi", got.interval.map(|it| it.high));
            expect("p_no_more", got.p_no_more);
            expect("mid_p_more", Some(got.mid_p_more()));
        }
    }

    #[test]
    fn what_is_not_positive_is_left_out() {
        let cell = Cell {
            baseline: &[0.0, -1.0, f64::NAN, f64::INFINITY],
            candidate: &[1.0],
        };
        assert_eq!(of(&[cell], 1.1, 0.95), None);
        let huge = Cell {
            baseline: &[f64::MIN_POSITIVE],
            candidate: &[f64::MAX],
        };
        let got = of(&[huge, huge], 1.1, 0.95).unwrap();
        assert!(got.ratio.is_finite());
    }

    proptest! {
        #[test]
        fn the_other_side_has_the_reciprocal_and_units_do_not_matter(
            a in prop::collection::vec(prop::collection::vec(0.1..100.0_f64, 1..4), 2..6),
            b in prop::collection::vec(prop::collection::vec(0.1..100.0_f64, 1..4), 6),
        ) {
            let cells = paired(&a, &b);
            let turned: Vec<Cell<'_>> = paired(&b, &a).into_iter().rev().collect();
            let (one, other) = (of(&cells, 1.1, 0.95).unwrap(), of(&turned, 1.1, 0.95).unwrap());
            prop_assert!((one.ratio * other.ratio - 1.0).abs() < 1e-9);
            prop_assert!((one.mid_p_more() + other.mid_p_more() - 1.0).abs() < 1e-9);
            if let (Some(one), Some(other)) = (one.interval, other.interval) {
                prop_assert!((one.low * other.high - 1.0).abs() < 1e-6);
                prop_assert!(one.low > 0.0 && one.low <= one.high);
            }
            let minutes = |side: &[Vec<f64>]| -> Vec<Vec<f64>> {
                side.iter().map(|it| it.iter().map(|value| value / 60.0).collect()).collect()
            };
            let (a, b) = (minutes(&a), minutes(&b));
            let same = of(&paired(&a, &b), 1.1, 0.95).unwrap();
            prop_assert!((one.ratio / same.ratio - 1.0).abs() < 1e-9);
            let wider = of(&paired(&a, &b), 1.3, 0.95).unwrap();
            prop_assert!(wider.p_no_more.zip(same.p_no_more).is_none_or(|(wider, one)| wider <= one + 1e-12));
        }
    }
}
