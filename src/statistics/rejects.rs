//! Who is best, with fewer trials: successive rejects (Audibert, Bubeck & Munos 2010).

/// How often each phase's candidates have been run by its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phases {
    /// For each phase, how many repeats of the suite every candidate that is left has by its end; then the worst is dropped.
    pub repeats: Vec<u64>,
    /// How many repeats that takes, all candidates together.
    pub used: u64,
}

/// Plans for `candidates` and a budget of repeats of the whole suite. `None` for fewer than two candidates, and for fewer
/// than two repeats each.
#[must_use]
pub fn plan(candidates: u32, budget: u64) -> Option<Phases> {
    let many = u64::from(candidates);
    if candidates < 2 || budget < 2 * many {
        return None;
    }
    let rest: f64 = (2..=candidates).map(|at| 1.0 / f64::from(at)).sum();
    let spread = 0.5 + rest;
    let repeats: Vec<u64> = (1..candidates)
        .map(|phase| {
            let share = (budget - many) as f64 / (spread * f64::from(candidates + 1 - phase));
            // A quotient that is whole is not to be one more by rounding.
            whole((share - 1e-9).ceil())
        })
        .collect();
    let last = repeats.last().copied().unwrap_or(0);
    Some(Phases {
        used: repeats.iter().sum::<u64>() + last,
        repeats,
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positive, and the cast saturates"
)]
fn whole(value: f64) -> u64 {
    value.max(1.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::golden::golden;

    #[test]
    fn the_golden_plans_are_met() {
        for case in golden(2)["successive_rejects"].as_array().unwrap() {
            let candidates = u32::try_from(case["candidates"].as_u64().unwrap()).unwrap();
            let got = plan(candidates, case["budget"].as_u64().unwrap());
            match got {
                Some(got) => {
                    assert_eq!(serde_json::json!(got.repeats), case["n"], "{case}");
                    assert_eq!(serde_json::json!(got.used), case["used"], "{case}");
                }
                None => assert!(case["n"].is_null(), "{case}"),
            }
        }
    }

    #[test]
    fn no_budget_is_overdrawn() {
        for candidates in 2..40 {
            for budget in 0..400 {
                let Some(got) = plan(candidates, budget) else {
                    assert!(budget < 2 * u64::from(candidates));
                    continue;
                };
                assert!(got.used <= budget, "{candidates} {budget} {got:?}");
                assert!(got.repeats.windows(2).all(|two| two[0] <= two[1]));
            }
        }
    }
}
