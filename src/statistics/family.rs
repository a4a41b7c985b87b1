//! Several questions at once: how often any of them is answered wrongly.

/// Holm's adjusted p-values (1979), in the order of the given ones: the chance that any of the family is wrongly called a
/// difference stays below the level with which they are compared.
#[must_use]
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let mut adjusted = vec![1.0; p.len()];
    let mut largest: f64 = 0.0;
    for (at, which) in order.into_iter().enumerate() {
        largest = largest.max((p[which] * (p.len() - at) as f64).min(1.0));
        adjusted[which] = largest;
    }
    adjusted
}

/// How many repeats the control of `candidates` challengers with `repeats` each is best given (Dunnett 1955):
/// the square root of their number times as many.
#[must_use]
pub fn control_repeats(candidates: u32, repeats: u32) -> u32 {
    let many = (f64::from(repeats) * f64::from(candidates).sqrt()).round();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive, and the cast saturates"
    )]
    let many = many as u32;
    many.max(repeats)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::golden::{close, golden, numbers};
    use crate::statistics::significant;
    use proptest::prelude::*;

    #[test]
    fn holm_has_the_golden_values() {
        for case in golden(2)["holm_family"].as_array().unwrap() {
            let got = holm(&numbers(&case["p"]));
            for (got, expected) in got.iter().zip(numbers(&case["holm"])) {
                close(*got, expected, 1e-9, "holm");
            }
            let alpha = case["alpha"].as_f64().unwrap();
            let rejected: Vec<bool> = got.iter().map(|p| significant(*p, alpha)).collect();
            assert_eq!(serde_json::json!(rejected), case["reject"]);
        }
        let multiplicity = &golden(1)["multiplicity"];
        let got = holm(&numbers(&multiplicity["p"]));
        for (got, expected) in got.iter().zip(numbers(&multiplicity["holm"])) {
            close(*got, expected, 1e-9, "holm");
        }
        assert!(holm(&[]).is_empty());
    }

    #[test]
    fn controls_get_the_golden_repeats() {
        for case in golden(2)["control_repeats"].as_array().unwrap() {
            let whole = |key: &str| u32::try_from(case[key].as_u64().unwrap()).unwrap();
            assert_eq!(
                control_repeats(whole("candidates"), whole("n")),
                whole("n0"),
                "{case}"
            );
        }
    }

    proptest! {
        #[test]
        fn adjusting_never_lowers_and_keeps_the_order(p in prop::collection::vec(0.0..=1.0_f64, 0..12)) {
            let got = holm(&p);
            for (p, got) in p.iter().zip(&got) {
                prop_assert!(got >= p && *got <= 1.0);
            }
            for (a, b) in (0..p.len()).flat_map(|a| (0..p.len()).map(move |b| (a, b))) {
                prop_assert!(p[a] > p[b] || got[a] <= got[b]);
            }
        }
    }

    proptest! {
        #[test]
        fn the_order_of_a_family_does_not_matter_and_more_questions_cost_more(
            p in prop::collection::vec(0.0..=1.0_f64, 1..12), by in 0..12_usize,
        ) {
            let by = by % p.len();
            let (mut turned, mut got) = (p.clone(), holm(&p));
            turned.rotate_left(by);
            got.rotate_left(by);
            prop_assert_eq!(holm(&turned), got);
            let fewer = holm(&p[1..]);
            for (all, fewer) in holm(&p)[1..].iter().zip(fewer) {
                prop_assert!(*all >= fewer - 1e-12);
            }
        }

        #[test]
        fn a_control_gets_no_fewer_repeats_than_its_challengers(candidates in 0..1000_u32, repeats in 0..1000_u32) {
            prop_assert!(control_repeats(candidates, repeats) >= repeats);
            prop_assert!(control_repeats(candidates + 1, repeats) >= control_repeats(candidates, repeats));
        }
    }
}
