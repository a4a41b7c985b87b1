//! What a suite can see: the smallest difference that it would find four times in five.

use super::distribution::normal_quantile;
use super::ratio::logarithms;
use super::{Cell, paired, variance};

/// The standard error of the mean difference on these objectives, from the variance of both sides' scores together on each. `None`
/// without a cell that has trials on both sides.
#[must_use]
pub fn error(cells: &[Cell<'_>]) -> Option<f64> {
    let cells: Vec<&Cell<'_>> = cells
        .iter()
        .filter(|cell| !cell.baseline.is_empty() && !cell.candidate.is_empty())
        .collect();
    if cells.is_empty() {
        return None;
    }
    let of = |cell: &&Cell<'_>| {
        let both: Vec<f64> = cell
            .baseline
            .iter()
            .chain(cell.candidate)
            .copied()
            .collect();
        let each = 1.0 / cell.baseline.len() as f64 + 1.0 / cell.candidate.len() as f64;
        variance(&both).unwrap_or(0.0) * each
    };
    let sum: f64 = cells.iter().map(of).sum();
    Some(sum.sqrt() / cells.len() as f64)
}

/// The smallest difference that these trials would show in 80 % of runs at a level of .05, one-sided; `None` where there is no noise to tell
/// it from.
#[must_use]
pub fn smallest(cells: &[Cell<'_>]) -> Option<f64> {
    let error = error(cells).filter(|error| *error > 0.0)?;
    Some((normal_quantile(0.95) + normal_quantile(0.80)) * error)
}

/// The same of a lead: either may be ahead, so the level of .05 is that of both sides together.
#[must_use]
pub fn smallest_two_sided(cells: &[Cell<'_>]) -> Option<f64> {
    let error = error(cells).filter(|error| *error > 0.0)?;
    Some((normal_quantile(0.975) + normal_quantile(0.80)) * error)
}

/// The same of times and costs, in shares: .2 when a fifth more would be seen. What is not positive, or not finite, is left out.
#[must_use]
pub fn smallest_ratio(cells: &[Cell<'_>]) -> Option<f64> {
    let (baseline, candidate) = logarithms(cells);
    smallest(&paired(&baseline, &candidate)).map(|seen| seen.exp_m1().min(f64::MAX))
}

/// How many objectives a difference of `delta` on objectives of this kind needs (Miller 2024): `between` is the variance of the
/// true differences, `a` and `b` the variances of one trial of each side, `repeats` how often each is run.
#[must_use]
pub fn objectives_needed(delta: f64, between: f64, a: f64, b: f64, repeats: u32) -> Option<u64> {
    let repeats = f64::from(repeats.max(1));
    let z = normal_quantile(0.975) + normal_quantile(0.80);
    let needed = z.powi(2) * (between + a / repeats + b / repeats) / delta.powi(2);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive, and the cast saturates"
    )]
    needed.is_finite().then(|| needed.ceil().max(1.0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::golden::{Sides, close, golden};
    use proptest::prelude::*;

    #[test]
    fn the_golden_cases_are_met() {
        for case in golden(2)["mde_fixed_suite"].as_array().unwrap() {
            let sides = Sides::of(&case["a"], &case["b"]);
            let cells = sides.cells();
            match error(&cells) {
                Some(got) => close(got, case["se"].as_f64().unwrap(), 1e-9, "se"),
                None => assert!(case["se"].is_null(), "{case}"),
            }
            match smallest(&cells) {
                Some(got) => close(got, case["mde"].as_f64().unwrap(), 1e-9, "mde"),
                None => assert!(case["mde"].is_null(), "{case}"),
            }
        }
    }

    #[test]
    fn the_golden_sizes_are_met() {
        for case in golden(1)["power_miller"].as_array().unwrap() {
            let number = |key: &str| case[key].as_f64().unwrap();
            let repeats = u32::try_from(case["K"].as_u64().unwrap()).unwrap();
            let got = objectives_needed(
                number("delta"),
                number("omega2"),
                number("sA2"),
                number("sB2"),
                repeats,
            );
            assert_eq!(serde_json::json!(got), case["n"], "{case}");
        }
        assert_eq!(objectives_needed(0.0, 1.0, 1.0, 1.0, 1), None);
    }

    proptest! {
        #[test]
        fn what_is_seen_of_a_lead_is_more_and_more_trials_see_less(
            a in prop::collection::vec(prop::collection::vec(0.01..=1.0_f64, 1..4), 1..6),
            b in prop::collection::vec(prop::collection::vec(0.01..=1.0_f64, 1..4), 6),
        ) {
            let cells = paired(&a, &b);
            let Some(one) = smallest(&cells) else {
                return Ok(());
            };
            prop_assert!(smallest_two_sided(&cells).unwrap() > one);
            let twice = |side: &[Vec<f64>]| -> Vec<Vec<f64>> { side.iter().map(|it| it.repeat(2)).collect() };
            let (a, b) = (twice(&a), twice(&b));
            prop_assert!(smallest(&paired(&a, &b)).unwrap() < one);
            let turned: Vec<Cell<'_>> = paired(&b, &a).into_iter().rev().collect();
            prop_assert!((smallest(&turned).unwrap() - smallest(&paired(&a, &b)).unwrap()).abs() < 1e-9);
            // That of a ratio does not depend on its unit.
            let slower = |side: &[Vec<f64>]| -> Vec<Vec<f64>> {
                side.iter().map(|it| it.iter().map(|value| value * 60.0).collect()).collect()
            };
            let (slow_a, slow_b) = (slower(&a), slower(&b));
            let (own, slow) = (smallest_ratio(&paired(&a, &b)).unwrap(), smallest_ratio(&paired(&slow_a, &slow_b)).unwrap());
            prop_assert!(own > 0.0 && (own - slow).abs() < 1e-6 * own.max(1.0));
        }
    }

    #[test]
    fn without_noise_nothing_is_said() {
        let cell = Cell {
            baseline: &[0.5, 0.5],
            candidate: &[0.5],
        };
        for cells in [&[][..], &[cell][..]] {
            assert_eq!(smallest(cells), None);
            assert_eq!(smallest_two_sided(cells), None);
            assert_eq!(smallest_ratio(cells), None);
        }
        let cell = Cell {
            baseline: &[0.0, -1.0, f64::NAN],
            candidate: &[1.0, 2.0],
        };
        assert_eq!(smallest_ratio(&[cell]), None);
        let cell = Cell {
            baseline: &[1.0, 1.1],
            candidate: &[1.0, 1.1],
        };
        assert!((smallest_ratio(&[cell; 10]).unwrap() - 0.0452).abs() < 0.001);
    }
}
