//! Whether a candidate is no worse, or the same, within a margin.

use super::distribution::{normal, student};
use super::interval::{Interval, Paired};

/// What the differences say about a margin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Equivalence {
    /// The interval of 90 %, which is what two one-sided tests at .05 look at (Schuirmann 1987).
    pub interval: Interval,
    /// p of "it is worse by the margin or more", against.
    pub p_no_worse: f64,
    /// p of "it differs by the margin or more, either way", against.
    pub p_same: f64,
    /// Whether it is shown to be no worse by the margin.
    pub no_worse: bool,
    /// Whether it is shown to be within the margin on both sides.
    pub same: bool,
}

/// Compares paired differences (candidate minus baseline, one an objective) with a margin above 0. `None` of fewer
/// than two. `binary` says that each is of one pass or fail a side.
#[must_use]
pub fn within(differences: &[f64], margin: f64, binary: bool) -> Option<Equivalence> {
    let paired = Paired::of(differences, binary)?;
    // No error at all would be one that is too small to be told from it.
    let error = paired.error.max(f64::MIN_POSITIVE);
    let share = |t: f64| paired.df.map_or_else(|| normal(t), |df| student(t, df));
    let p_no_worse = 1.0 - share((paired.centre + margin) / error);
    let p_no_better = share((paired.centre - margin) / error);
    let interval = paired.interval(0.90);
    Some(Equivalence {
        interval,
        p_no_worse,
        p_same: p_no_worse.max(p_no_better),
        no_worse: interval.low > -margin,
        same: interval.low > -margin && interval.high < margin,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::golden::{close, golden, numbers};
    use proptest::prelude::*;

    #[test]
    fn the_golden_cases_are_met() {
        for case in golden(2)["no_worse"].as_array().unwrap() {
            let binary = case["binary_k1"].as_bool().unwrap();
            let got = within(
                &numbers(&case["d"]),
                case["delta"].as_f64().unwrap(),
                binary,
            );
            let Some(got) = got else {
                assert!(case["p_tost"].is_null(), "{case}");
                continue;
            };
            close(
                got.p_no_worse,
                case["p_non_inferior"].as_f64().unwrap(),
                1e-9,
                "no worse",
            );
            close(got.p_same, case["p_tost"].as_f64().unwrap(), 1e-9, "same");
            close(
                got.interval.low,
                case["lower95"].as_f64().unwrap(),
                1e-9,
                "lower",
            );
            assert_eq!(
                serde_json::json!(got.no_worse),
                case["non_inferior"],
                "{case}"
            );
            assert_eq!(serde_json::json!(got.same), case["no_change"], "{case}");
        }
    }

    proptest! {
        #[test]
        fn a_wider_margin_is_easier(d in prop::collection::vec(-1.0..=1.0_f64, 2..12), margin in 0.01..0.5_f64) {
            let (one, wider) = (within(&d, margin, false).unwrap(), within(&d, margin * 2.0, false).unwrap());
            prop_assert!(wider.p_same <= one.p_same + 1e-12);
            prop_assert!(!one.same || wider.same);
            prop_assert!(!one.same || one.no_worse);
        }
    }
}
