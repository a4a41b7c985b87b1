//! What repeats say: pass@k and pass^k, flakiness, and where the noise comes from.

use super::{mean, variance};

/// How many ways there are to choose `k` of `n`; infinite beyond what a number holds.
#[must_use]
pub fn choose(n: usize, k: usize) -> f64 {
    if k > n {
        return 0.0;
    }
    let k = k.min(n - k);
    (1..=k).fold(1.0, |ways, at| ways * (n - k + at) as f64 / at as f64)
}

/// The chance that at least one of `k` trials passes, of `passed` among `all` (Chen 2021, arXiv 2107.03374). `None` for
/// fewer trials than `k`, and for no `k`.
#[must_use]
pub fn pass_at(all: usize, passed: usize, k: usize) -> Option<f64> {
    let failed = all.checked_sub(passed)?;
    drawn(all, failed, k).map(|all_fail| 1.0 - all_fail)
}

/// The chance that all of `k` trials pass (Yao 2024, arXiv 2406.12045). `None` like [`pass_at`].
#[must_use]
pub fn pass_all(all: usize, passed: usize, k: usize) -> Option<f64> {
    all.checked_sub(passed)?;
    drawn(all, passed, k)
}

/// The chance that `k` drawn of `all` are among the `wanted`: C(wanted, k)/C(all, k), term by term so that nothing
/// overflows.
fn drawn(all: usize, wanted: usize, k: usize) -> Option<f64> {
    if k == 0 || k > all {
        return None;
    }
    let terms = (0..k).map(|at| wanted.saturating_sub(at) as f64 / (all - at) as f64);
    Some(terms.product())
}

/// The share of objectives, given as (passed, all), on which some trials pass and some fail. `None` without any trial.
#[must_use]
pub fn flaky(objectives: &[(usize, usize)]) -> Option<f64> {
    let with_trials: Vec<_> = objectives.iter().filter(|(_, all)| *all > 0).collect();
    let flaky = |(passed, all): &&&(usize, usize)| *passed > 0 && passed < all;
    (!with_trials.is_empty())
        .then(|| with_trials.iter().filter(flaky).count() as f64 / with_trials.len() as f64)
}

/// Where the variance of a mean over objectives comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Split {
    /// From the choice of the objectives.
    pub objectives: f64,
    /// From the repeats.
    pub repeats: f64,
}

/// Splits it (Miller 2024): the variance of objectives' means is that of the objectives and what repeats leave. `None` for
/// fewer than two objectives with trials, or where none has two repeats.
#[must_use]
pub fn split(objectives: &[Vec<f64>]) -> Option<Split> {
    let with_trials: Vec<&Vec<f64>> = objectives.iter().filter(|it| !it.is_empty()).collect();
    let means: Vec<f64> = with_trials.iter().filter_map(|it| mean(it)).collect();
    let between = variance(&means)?;
    let within: Vec<f64> = with_trials
        .iter()
        .filter_map(|scores| Some(variance(scores)? / scores.len() as f64))
        .collect();
    let within = mean(&within)?;
    let count = means.len() as f64;
    Some(Split {
        objectives: (between - within).max(0.0) / count,
        repeats: within / count,
    })
}

/// The usual variance of the trials of one objective: pooled over objectives. `None` where none has two.
#[must_use]
pub fn within(objectives: &[Vec<f64>]) -> Option<f64> {
    let each = objectives.iter().map(|scores| {
        let free = scores.len().saturating_sub(1) as f64;
        (variance(scores).unwrap_or(0.0) * free, free)
    });
    let (squares, free) = each.fold((0.0, 0.0), |(a, b), (c, d)| (a + c, b + d));
    (free > 0.0).then(|| squares / free)
}

/// The variance of the mean over objectives between runs of the same, beyond what their trials make of it. Each run has one list of scores an
/// objective; those that lack one are left out. `None` of fewer than two runs, or without repeats that tell the noise of trials.
#[must_use]
pub fn between(runs: &[Vec<Vec<f64>>]) -> Option<f64> {
    let width = runs.iter().map(Vec::len).max()?;
    let whole = |run: &&Vec<Vec<f64>>| run.len() == width && run.iter().all(|it| !it.is_empty());
    let runs: Vec<&Vec<Vec<f64>>> = runs.iter().filter(whole).collect();
    let all: Vec<Vec<f64>> = runs.iter().flat_map(|run| run.iter().cloned()).collect();
    let own = within(&all)?;
    let means = runs.iter().map(|run| {
        let each: Vec<f64> = run.iter().filter_map(|scores| mean(scores)).collect();
        mean(&each)
    });
    let means: Vec<f64> = means.collect::<Option<_>>()?;
    let noise = runs.iter().map(|run| {
        let each = run.iter().map(|scores| own / scores.len() as f64);
        each.sum::<f64>() / (run.len() as f64).powi(2)
    });
    let noise: Vec<f64> = noise.collect();
    Some((variance(&means)? - mean(&noise)?).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::golden::{close, golden};
    use proptest::prelude::*;

    #[test]
    fn the_golden_cases_are_met() {
        for case in golden(1)["pass_at_k"].as_array().unwrap() {
            let whole = |key: &str| usize::try_from(case[key].as_u64().unwrap()).unwrap();
            let (n, c, k) = (whole("n"), whole("c"), whole("k"));
            close(
                pass_at(n, c, k).unwrap(),
                case["pass_at_k"].as_f64().unwrap(),
                1e-9,
                "pass@k",
            );
            close(
                pass_all(n, c, k).unwrap(),
                case["pass_hat_k"].as_f64().unwrap(),
                1e-9,
                "pass^k",
            );
        }
    }

    #[test]
    fn edges_have_answers_or_none() {
        assert_eq!(pass_at(3, 1, 4), None);
        assert_eq!(pass_at(3, 4, 1), None);
        assert_eq!(pass_all(0, 0, 1), None);
        assert_eq!(pass_at(3, 3, 0), None);
        assert!(pass_at(100_000, 50_000, 50_000).unwrap().is_finite());
        assert_eq!(flaky(&[(0, 3), (1, 3), (3, 3), (0, 0)]), Some(1.0 / 3.0));
        assert_eq!(flaky(&[(0, 0)]), None);
        assert_eq!(split(&[vec![1.0], vec![0.0]]), None);
        let got = split(&[vec![1.0, 0.0], vec![1.0, 0.0]]).unwrap();
        assert!(got.objectives.abs() < 1e-12 && got.repeats > 0.0);
        assert!((choose(20, 10) - 184_756.0).abs() < 1e-6);
        assert!(choose(20_000, 10_000).is_infinite());
    }

    #[test]
    fn nights_that_differ_more_than_their_trials_are_told_apart() {
        let run = |moved: f64| vec![vec![0.4 + moved, 0.6 + moved]; 4];
        let none = between(&[run(0.0), run(0.0), run(0.0)]).unwrap();
        assert!(none.abs() < 1e-12);
        // The means vary by 0.04; the trials' part is 0.02 of each score, of two each, of four objectives.
        let got = between(&[run(0.0), run(0.2), run(0.4)]).unwrap();
        close(got, 0.04 - 0.02 / 8.0, 1e-12, "beyond");
        assert_eq!(between(&[run(0.0)]), None);
        assert_eq!(between(&[]), None);
        assert_eq!(between(&[vec![vec![0.1]], vec![vec![0.2]]]), None);
        // A run without one of the objectives is no run of the same.
        assert_eq!(between(&[run(0.0), vec![vec![0.5, 0.6]]]), None);
        close(
            within(&[vec![0.0, 1.0], vec![0.5]]).unwrap(),
            0.5,
            1e-12,
            "within",
        );
        assert_eq!(within(&[vec![0.5]]), None);
    }

    proptest! {
        #[test]
        fn more_draws_pass_once_more_often_and_all_less_often(all in 1..40_usize, passed in 0..40_usize, k in 1..40_usize) {
            let passed = passed.min(all);
            let (at, every) = (pass_at(all, passed, k), pass_all(all, passed, k));
            prop_assert_eq!(at.is_some(), k <= all);
            let (Some(at), Some(every)) = (at, every) else { return Ok(()); };
            prop_assert!((0.0..=1.0).contains(&at) && (0.0..=1.0).contains(&every) && every <= at + 1e-12);
            // Those that fail are those that do not pass.
            prop_assert!((at - (1.0 - pass_all(all, all - passed, k).unwrap())).abs() < 1e-12);
            if let (Some(more_at), Some(more_every)) = (pass_at(all, passed, k + 1), pass_all(all, passed, k + 1)) {
                prop_assert!(more_at >= at - 1e-12 && more_every <= every + 1e-12);
            }
        }

        #[test]
        fn neither_part_of_the_variance_is_negative_and_order_does_not_matter(
            scores in prop::collection::vec(prop::collection::vec(0.0..=1.0_f64, 0..5), 0..6),
        ) {
            let turned: Vec<Vec<f64>> = scores.iter().rev().map(|it| it.iter().rev().copied().collect()).collect();
            let (one, other) = (split(&scores), split(&turned));
            prop_assert_eq!(one.is_some(), other.is_some());
            if let (Some(one), Some(other)) = (one, other) {
                prop_assert!(one.objectives >= 0.0 && one.repeats >= 0.0);
                prop_assert!((one.objectives - other.objectives).abs() < 1e-9 && (one.repeats - other.repeats).abs() < 1e-9);
            }
        }
    }
}
