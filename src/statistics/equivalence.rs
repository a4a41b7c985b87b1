//! Whether a candidate is no worse, or the same, within a margin.

use super::distribution::{normal, normal_quantile, student, student_quantile};
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

/// Whether the same is shown within a margin, of many lists of equally many differences: the quantiles, which are what costs,
/// are taken once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sameness {
    margin: f64,
    student: f64,
    normal: f64,
}

impl Sameness {
    /// For so many differences.
    pub(super) fn new(count: usize, margin: f64) -> Self {
        Self {
            margin,
            student: student_quantile(0.95, count.saturating_sub(1)),
            normal: normal_quantile(0.95),
        }
    }

    /// What [`within`] says of [`Equivalence::same`].
    pub(super) fn shown(&self, differences: &[f64], binary: bool) -> bool {
        Paired::of(differences, binary).is_some_and(|paired| {
            let half = paired.error * paired.df.map_or(self.normal, |_| self.student);
            let (low, high) = (paired.centre - half, paired.centre + half);
            low.max(-1.0) > -self.margin && high.min(1.0) < self.margin
        })
    }
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
            for binary in [false, true] {
                for margin in [margin, 1.5] {
                    let quick = Sameness::new(d.len(), margin).shown(&d, binary);
                    prop_assert_eq!(quick, within(&d, margin, binary).unwrap().same);
                }
            }
        }

        #[test]
        fn the_mirror_is_the_same_and_the_other_way_no_worse(d in prop::collection::vec(-0.2..=0.2_f64, 2..12), margin in 0.01..0.3_f64) {
            let turned: Vec<f64> = d.iter().rev().map(|d| -d).collect();
            let (one, other) = (within(&d, margin, false).unwrap(), within(&turned, margin, false).unwrap());
            prop_assert!((one.p_same - other.p_same).abs() < 1e-9);
            prop_assert!((0.0..=1.0).contains(&one.p_no_worse) && one.p_no_worse <= one.p_same);
            prop_assert_eq!(one.same, one.no_worse && other.no_worse);
        }
    }
}
