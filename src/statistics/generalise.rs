//! The other question, which is shown and never gates: would it be so on new objectives of this kind?

use super::P_SLACK;
use super::draw::Random;

/// The most objectives for which all signs are tried.
const ALL_SIGNS: usize = 20;
/// How many assignments are drawn beyond that.
const DRAWS: u32 = 10_000;

/// The sign-flip test of paired differences, two-sided: all assignments of signs up to 20 of them, else 10,000 that depend
/// on the seed only, with (b+1)/(B+1) (Phipson & Smyth 2010). `None` without any.
#[must_use]
pub fn sign_flip(differences: &[f64], seed: u64) -> Option<f64> {
    if differences.is_empty() {
        return None;
    }
    let far_out = differences.iter().sum::<f64>().abs();
    let as_far = |sum: f64| sum.abs() >= far_out - P_SLACK.max(far_out * 1e-12);
    if differences.len() <= ALL_SIGNS {
        let all = 1_u64 << differences.len();
        let sum = |signs: u64| -> f64 {
            let signed = differences.iter().enumerate();
            signed
                .map(|(at, d)| if signs >> at & 1 == 1 { -d } else { *d })
                .sum()
        };
        let far = (0..all).filter(|signs| as_far(sum(*signs))).count();
        return Some(far as f64 / all as f64);
    }
    let mut random = Random::new(seed);
    let far = (0..DRAWS)
        .filter(|_| {
            let sum = differences
                .iter()
                .map(|d| if random.passes(0.5) { -d } else { *d })
                .sum();
            as_far(sum)
        })
        .count();
    Some((far as f64 + 1.0) / f64::from(DRAWS + 1))
}

/// The chance of this many wins or more among `wins + losses` tosses of a coin: the sign test, ties dropped.
#[must_use]
pub fn sign_test(wins: u32, losses: u32) -> f64 {
    tail(wins + losses, losses)
}

/// `McNemar`'s exact test, two-sided, of one pass or fail on each objective: `b` only the one passed, `c` only the other.
#[must_use]
pub fn mcnemar(b: u32, c: u32) -> f64 {
    (2.0 * tail(b + c, b.min(c))).min(1.0)
}

/// P(X ≤ k) of n tosses of a coin.
fn tail(n: u32, k: u32) -> f64 {
    // Term by term in logarithms: 2^n is beyond a number for n above a thousand.
    let half = -std::f64::consts::LN_2 * f64::from(n);
    let mut term = half;
    let mut sum = half.exp();
    for at in 1..=k {
        term += (f64::from(n - at + 1) / f64::from(at)).ln();
        sum += term.exp();
    }
    sum.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::golden::{close, golden, numbers};
    use proptest::prelude::*;

    #[test]
    fn the_golden_cases_are_met() {
        let golden = golden(1);
        let paired = &golden["paired"];
        let d: Vec<f64> = numbers(&paired["a"])
            .iter()
            .zip(numbers(&paired["b"]))
            .map(|(a, b)| a - b)
            .collect();
        let expected = paired["p_signflip_exact_two_sided"].as_f64().unwrap();
        close(sign_flip(&d, 1).unwrap(), expected, 1e-9, "sign flip");
        let whole = |case: &serde_json::Value, key: &str| {
            u32::try_from(case[key].as_u64().unwrap()).unwrap()
        };
        for case in golden["sign_test_one_sided"].as_array().unwrap() {
            let got = sign_test(whole(case, "wins"), whole(case, "losses"));
            close(got, case["p"].as_f64().unwrap(), 1e-9, "sign test");
        }
        for case in golden["mcnemar"].as_array().unwrap() {
            let got = mcnemar(whole(case, "b"), whole(case, "c"));
            close(
                got,
                case["exact_two_sided"].as_f64().unwrap(),
                1e-9,
                "mcnemar",
            );
        }
    }

    #[test]
    fn more_than_can_be_tried_are_drawn_by_the_seed() {
        let d: Vec<f64> = (0..40).map(|at| f64::from(at % 5) / 10.0 - 0.15).collect();
        let got = sign_flip(&d, 7).unwrap();
        assert_eq!(sign_flip(&d, 7), Some(got));
        assert!(got > 0.0 && got <= 1.0);
        assert_eq!(sign_flip(&[], 1), None);
        assert!(mcnemar(5_000, 4_000) >= 0.0);
    }

    proptest! {
        #[test]
        fn signs_and_order_do_not_matter_and_every_p_is_a_chance(
            d in prop::collection::vec(-1.0..=1.0_f64, 1..10), scale in 0.01..100.0_f64,
        ) {
            let got = sign_flip(&d, 1).unwrap();
            let turned: Vec<f64> = d.iter().rev().map(|d| -d * scale).collect();
            prop_assert!((got - sign_flip(&turned, 1).unwrap()).abs() < 1e-9);
            // At the least, the signs that were seen and the opposite ones.
            prop_assert!((2.0_f64.powi(1 - i32::try_from(d.len()).unwrap()) - 1e-12..=1.0).contains(&got));
        }

        #[test]
        fn more_wins_are_less_likely(wins in 0..60_u32, losses in 0..60_u32) {
            let p = sign_test(wins, losses);
            prop_assert!((0.0..=1.0).contains(&p));
            prop_assert!(sign_test(wins + 1, losses) <= p + 1e-12 && sign_test(wins, losses + 1) >= p - 1e-12);
            prop_assert!((mcnemar(wins, losses) - mcnemar(losses, wins)).abs() < 1e-12);
            prop_assert!((0.0..=1.0).contains(&mcnemar(wins, losses)));
        }
    }

    #[test]
    fn no_difference_is_no_evidence() {
        assert_eq!(sign_flip(&[0.0; 5], 1), Some(1.0));
        assert_eq!(sign_flip(&[0.0; 30], 1), Some(1.0));
        assert_eq!(sign_flip(&[0.3], 1), Some(1.0));
        assert!((sign_test(0, 0) - 1.0).abs() < 1e-12 && (mcnemar(0, 0) - 1.0).abs() < 1e-12);
    }
}
