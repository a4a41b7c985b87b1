//! Looking before the end: the levels at which an early look may stop.
//!
//! Spending of the error as in Lan & `DeMets` (1983), with α(t) = 2 - 2Φ(z(1 - α/2)/√t); the bounds are found by
//! integrating the density of the sum that was not stopped (Armitage, `McPherson` & Rowe 1969).

use super::P_SLACK;
use super::distribution::{normal, normal_density, normal_quantile};

/// The steps of Simpson's rule; even.
const STEPS: usize = 600;
/// How many standard deviations below nothing the density is followed.
const BELOW: f64 = 8.0;

/// One look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// Which share of the planned trials is there.
    pub share: f64,
    /// How much of the error has been spent by then.
    pub spent: f64,
    /// The bound as a normal quantile.
    pub z: f64,
    /// The level with which an adjusted p-value is compared at this look.
    pub level: f64,
}

/// The levels of looks at rising shares in `0 < t ≤ 1`, for one-sided tests at `alpha` in `0..=1`. Empty where the shares are not
/// rising in that range. A p-value that is adjusted for its family is compared with them as it is. About 5 ms a look
/// after the first.
#[must_use]
pub fn levels(alpha: f64, shares: &[f64]) -> Vec<Look> {
    let rising = shares.windows(2).all(|two| two[0] < two[1]);
    if !rising || shares.iter().any(|share| !(*share > 0.0 && *share <= 1.0)) {
        return Vec::new();
    }
    let edge = normal_quantile(1.0 - alpha / 2.0);
    let spent = |share: f64| 2.0 - 2.0 * normal(edge / share.sqrt());
    let mut looks: Vec<Look> = Vec::new();
    let mut density: Option<Density> = None;
    for &share in shares {
        // Nobody asks for the density behind the last bound.
        let is_last = looks.len() + 1 == shares.len();
        let (z, next) = if let (Some(before), Some(last)) = (&density, looks.last()) {
            let step = (share - last.share).sqrt();
            let bound = before.bound(step, spent(share) - last.spent);
            let next = (!is_last).then(|| before.after(bound, step, share));
            (bound / share.sqrt(), next)
        } else {
            let z = normal_quantile(1.0 - spent(share));
            (z, (!is_last).then(|| Density::first(z, share)))
        };
        density = next;
        looks.push(Look {
            share,
            spent: spent(share),
            z,
            level: 1.0 - normal(z),
        });
    }
    looks
}

/// Whether a look before the last may stop because nothing will come of it: the adjusted p-value is above one half, the candidate is on the
/// other side. Not binding: going on all the same costs no error.
#[must_use]
pub fn futile(p_adjusted: f64) -> bool {
    p_adjusted > 0.5 + P_SLACK
}

/// The density of the sum where no look has stopped, on a grid up to the last bound.
struct Density {
    from: f64,
    width: f64,
    at: Vec<f64>,
}

impl Density {
    fn on(bound: f64, share: f64, density: impl Fn(f64) -> f64) -> Self {
        let from = (-BELOW * share.sqrt()).min(bound - 1e-9);
        let width = (bound - from) / STEPS as f64;
        let at = (0..=STEPS)
            .map(|step| density(from + width * step as f64))
            .collect();
        Self { from, width, at }
    }

    fn first(z: f64, share: f64) -> Self {
        let sd = share.sqrt();
        Self::on(z * sd, share, |y| normal_density(y / sd) / sd)
    }

    /// Simpson's rule for the density times a function.
    fn integral(&self, with: impl Fn(f64) -> f64) -> f64 {
        let weight = |step: usize| match step {
            0 | STEPS => 1.0,
            step if step % 2 == 1 => 4.0,
            _ => 2.0,
        };
        let terms = self.at.iter().enumerate().map(|(step, density)| {
            weight(step) * density * with(self.from + self.width * step as f64)
        });
        terms.sum::<f64>() * self.width / 3.0
    }

    /// The bound that a step of this standard deviation passes with this chance.
    fn bound(&self, step: f64, chance: f64) -> f64 {
        let passes = |bound: f64| self.integral(|y| normal((y - bound) / step));
        let (mut low, mut high) = (-20.0, 20.0);
        for _ in 0..80 {
            let middle = f64::midpoint(low, high);
            if passes(middle) > chance {
                low = middle;
            } else {
                high = middle;
            }
        }
        f64::midpoint(low, high)
    }

    fn after(&self, bound: f64, step: f64, share: f64) -> Self {
        Self::on(bound, share, |x| {
            self.integral(|y| normal_density((x - y) / step) / step)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::golden::{close, golden, numbers};
    use proptest::prelude::*;

    #[test]
    fn the_golden_bounds_are_met() {
        for case in golden(2)["group_sequential"].as_array().unwrap() {
            let got = levels(case["alpha"].as_f64().unwrap(), &numbers(&case["looks"]));
            for (at, look) in got.iter().enumerate() {
                let expected = |key: &str| numbers(&case[key])[at];
                close(look.spent, expected("spent"), 1e-6, "spent");
                close(look.z, expected("z"), 1e-6, "z");
                close(look.level, expected("level"), 1e-6, "level");
            }
            assert_eq!(got.len(), numbers(&case["looks"]).len());
        }
    }

    #[test]
    fn one_look_has_all_of_the_error_and_nonsense_none() {
        let one = levels(0.05, &[1.0]);
        close(one[0].level, 0.05, 1e-12, "level");
        for nonsense in [
            &[0.0, 1.0][..],
            &[0.5, 0.5],
            &[0.5, 1.5],
            &[f64::NAN],
            &[1.0, 0.5],
        ] {
            assert!(levels(0.05, nonsense).is_empty(), "{nonsense:?}");
        }
        assert!(levels(0.05, &[]).is_empty());
    }

    #[test]
    fn only_what_points_the_other_way_is_futile() {
        assert!(!futile(0.05) && !futile(0.5) && futile(0.51) && futile(1.0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn levels_of_any_looks_stay_below_the_error_and_spend_all_of_it(
            alpha in 0.001..0.3_f64, steps in prop::collection::vec(0.05..1.0_f64, 1..5),
        ) {
            let whole: f64 = steps.iter().sum();
            let mut so_far = 0.0;
            let mut shares: Vec<f64> = steps.iter().map(|step| { so_far += step / whole; so_far }).collect();
            *shares.last_mut().unwrap() = 1.0;
            let got = levels(alpha, &shares);
            prop_assert_eq!(got.len(), shares.len());
            close(got.last().unwrap().spent, alpha, 1e-9, "all of it");
            let mut before = 0.0;
            for look in &got {
                prop_assert!(look.level > 0.0 && look.level <= alpha + 1e-9, "{:?}", got);
                // No look costs more than what it spends, nor less than the plain increments.
                prop_assert!(look.level >= look.spent - before - 1e-9, "{:?}", got);
                prop_assert!(look.level <= look.spent + 1e-9, "{:?}", got);
                before = look.spent;
            }
        }
    }

    #[test]
    fn any_error_has_finite_levels() {
        for alpha in [-1.0, 0.0, 1e-12, 0.5, 1.0, 2.0, f64::NAN] {
            for look in levels(alpha, &[0.001, 0.5, 0.5001, 1.0]) {
                assert!(
                    look.z.is_finite() && (0.0..=1.0).contains(&look.level),
                    "{alpha} {look:?}"
                );
            }
        }
    }
}
