//! What a suite can see: the smallest difference that it would find four times in five.

use super::distribution::normal_quantile;
use super::{Cell, variance};

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
}
