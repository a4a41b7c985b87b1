//! Intervals of means, of shares, and of paired differences.

use super::distribution::{normal_quantile, student_quantile};
use super::{all_equal, mean, variance};

/// Where a value lies, with a given confidence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Interval {
    fn around(centre: f64, half: f64) -> Self {
        Self {
            low: centre - half,
            high: centre + half,
        }
    }

    /// Cut to a range.
    #[must_use]
    pub fn clipped(self, low: f64, high: f64) -> Self {
        Self {
            low: self.low.clamp(low, high),
            high: self.high.clamp(low, high),
        }
    }
}

/// Wilson's score interval (1927) of a share, `passed` of `all` trials of one objective; `None` without any.
#[must_use]
pub fn wilson(passed: usize, all: usize, confidence: f64) -> Option<Interval> {
    if all == 0 {
        return None;
    }
    let (n, p) = (all as f64, passed.min(all) as f64 / all as f64);
    let z = normal_quantile(0.5 + confidence / 2.0);
    let scale = 1.0 + z * z / n;
    let centre = (p + z * z / (2.0 * n)) / scale;
    let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt() / scale;
    Some(Interval::around(centre, half).clipped(0.0, 1.0))
}

/// The interval of a mean over objectives, of scores in `0..=1`, each a mean over repeats.
///
/// Student's interval of the logit, mapped back; where all scores are the same, what Markov's inequality leaves, which is
/// right for any distribution on `0..=1` (and is Clopper's and Pearson's where that score is 0 or 1). `None` of fewer than two.
#[must_use]
pub fn of_mean(scores: &[f64], confidence: f64) -> Option<Interval> {
    let (m, sd) = (mean(scores)?, variance(scores)?.sqrt());
    let count = scores.len() as f64;
    if all_equal(scores) {
        return Some(boundary(m, count, confidence));
    }
    Some(logit(m, sd / count.sqrt(), scores.len() - 1, confidence))
}

/// The same with a standard error of clusters (Miller 2024, arXiv 2411.00640): `clusters` names the cluster of
/// each score. `None` with fewer than two clusters.
#[must_use]
pub fn of_clustered_mean(scores: &[f64], clusters: &[usize], confidence: f64) -> Option<Interval> {
    let m = mean(scores)?;
    let (error, count) = clustered_error(scores, clusters)?;
    if error <= f64::EPSILON {
        return Some(boundary(m, count as f64, confidence));
    }
    Some(logit(m, error, count - 1, confidence))
}

/// The standard error of a mean whose scores come in clusters, and the number of clusters.
#[must_use]
pub fn clustered_error(scores: &[f64], clusters: &[usize]) -> Option<(f64, usize)> {
    let m = mean(scores)?;
    let mut sums = std::collections::BTreeMap::<usize, f64>::new();
    for (score, cluster) in scores.iter().zip(clusters) {
        *sums.entry(*cluster).or_default() += score - m;
    }
    let count = sums.len();
    let squares: f64 = sums.values().map(|sum| sum * sum).sum();
    let correction = (count as f64 / (count.max(2) - 1) as f64).sqrt();
    (count > 1 && scores.len() == clusters.len())
        .then(|| (squares.sqrt() / scores.len() as f64 * correction, count))
}

fn boundary(value: f64, count: f64, confidence: f64) -> Interval {
    let a = ((1.0 - confidence) / 2.0).powf(1.0 / count);
    // Where the value is at an end, all of the error is on the other side of it; that it is the same
    // level on both is what keeps this one formula.
    let value = value.clamp(0.0, 1.0);
    Interval {
        low: value * a,
        high: 1.0 - (1.0 - value) * a,
    }
}

fn logit(m: f64, error: f64, df: usize, confidence: f64) -> Interval {
    // The scores differ, so their mean is at neither end.
    let m = m.clamp(f64::EPSILON, 1.0 - f64::EPSILON);
    let g = (m / (1.0 - m)).ln();
    let half = student_quantile(0.5 + confidence / 2.0, df) * error / (m * (1.0 - m));
    let back = |g: f64| 1.0 / (1.0 + (-g).exp());
    Interval {
        low: back(g - half),
        high: back(g + half),
    }
}

/// How a paired difference lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Paired {
    /// The mean difference.
    pub difference: f64,
    /// What the interval is around, and what a test takes for the estimate.
    pub centre: f64,
    /// The standard error of that.
    pub error: f64,
    /// The degrees of freedom of Student's t; `None` where it is the normal distribution's.
    pub df: Option<usize>,
}

impl Paired {
    /// What is to be known of paired differences in `-1..=1`, one an objective; `None` of fewer than two.
    ///
    /// Student's t; where every cell is one pass or fail (`binary`), or where all differences are the same, Bonett's and
    /// Price's adjusted Wald method (2012), which has an error there too.
    #[must_use]
    pub fn of(differences: &[f64], binary: bool) -> Option<Self> {
        let (m, v) = (mean(differences)?, variance(differences)?);
        let count = differences.len() as f64;
        if binary || all_equal(differences) {
            let sum: f64 = differences.iter().sum();
            let squares: f64 = differences.iter().map(|d| d * d).sum();
            let centre = sum / (count + 2.0);
            let v = (squares + 2.0) / (count + 2.0) - centre * centre;
            return Some(Self {
                difference: m,
                centre,
                error: (v.max(0.0) / (count + 2.0)).sqrt(),
                df: None,
            });
        }
        Some(Self {
            difference: m,
            centre: m,
            error: (v / count).sqrt(),
            df: Some(differences.len() - 1),
        })
    }

    /// The interval, cut to `-1..=1`.
    #[must_use]
    pub fn interval(&self, confidence: f64) -> Interval {
        let p = 0.5 + confidence / 2.0;
        let quantile = self
            .df
            .map_or_else(|| normal_quantile(p), |df| student_quantile(p, df));
        Interval::around(self.centre, quantile * self.error).clipped(-1.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::golden::{close, golden, interval, numbers};
    use proptest::prelude::*;

    #[test]
    fn wilson_has_the_golden_values() {
        for case in golden(1)["wilson95"].as_array().unwrap() {
            let whole = |key: &str| usize::try_from(case[key].as_u64().unwrap()).unwrap();
            let got = wilson(whole("k"), whole("n"), 0.95).unwrap();
            let expected = numbers(&case["wilson"]);
            close(got.low, expected[0], 1e-9, "low");
            close(got.high, expected[1], 1e-9, "high");
        }
        assert_eq!(wilson(0, 0, 0.95), None);
    }

    #[test]
    fn means_have_the_golden_intervals() {
        for case in golden(2)["mean_interval95"].as_array().unwrap() {
            interval(of_mean(&numbers(&case["scores"]), 0.95), case);
        }
    }

    #[test]
    fn clusters_have_the_golden_error() {
        let golden = golden(1);
        let case = &golden["clustered_se"];
        let clusters: Vec<usize> = serde_json::from_value(case["clusters"].clone()).unwrap();
        let (error, count) = clustered_error(&numbers(&case["scores"]), &clusters).unwrap();
        let expected = &case["clustered_se_finite_C_over_Cminus1"];
        close(error, expected.as_f64().unwrap(), 1e-9, "error");
        assert_eq!(count, 4);
        assert_eq!(clustered_error(&[0.1, 0.2], &[7, 7]), None);
    }

    #[test]
    fn differences_have_the_golden_intervals() {
        let golden = golden(2);
        for case in golden["bonett_price95"].as_array().unwrap() {
            let got = Paired::of(&numbers(&case["d"]), true);
            interval(got.map(|it| it.interval(0.95)), case);
            if let Some(got) = got {
                close(got.centre, case["centre"].as_f64().unwrap(), 1e-9, "centre");
            }
        }
        for case in golden["paired_interval95"].as_array().unwrap() {
            let binary = case["binary_k1"].as_bool().unwrap();
            let got = Paired::of(&numbers(&case["d"]), binary);
            interval(got.map(|it| it.interval(0.95)), case);
        }
    }

    proptest! {
        #[test]
        fn an_interval_holds_its_mean_and_stays_in_range(
            scores in prop::collection::vec(0.0..=1.0_f64, 2..30), confidence in 0.5..0.999_f64,
        ) {
            let got = of_mean(&scores, confidence).unwrap();
            let m = mean(&scores).unwrap();
            prop_assert!(0.0 <= got.low && got.low <= m + 1e-12 && m - 1e-12 <= got.high && got.high <= 1.0);
            let wider = of_mean(&scores, confidence + (1.0 - confidence) / 2.0).unwrap();
            prop_assert!(wider.low <= got.low + 1e-12 && got.high <= wider.high + 1e-12);
        }

        #[test]
        fn a_mirror_gives_the_mirror(scores in prop::collection::vec(0.0..=1.0_f64, 2..20)) {
            let got = of_mean(&scores, 0.95).unwrap();
            let mirrored: Vec<f64> = scores.iter().map(|score| 1.0 - score).collect();
            let other = of_mean(&mirrored, 0.95).unwrap();
            prop_assert!((got.low - (1.0 - other.high)).abs() < 1e-9);
        }

        #[test]
        fn differences_are_symmetric_and_in_range(
            d in prop::collection::vec(-1.0..=1.0_f64, 2..30), binary: bool,
        ) {
            let got = Paired::of(&d, binary).unwrap().interval(0.95);
            let turned: Vec<f64> = d.iter().rev().map(|d| -d).collect();
            let other = Paired::of(&turned, binary).unwrap().interval(0.95);
            prop_assert!((got.low + other.high).abs() < 1e-9 && (got.high + other.low).abs() < 1e-9);
            prop_assert!(-1.0 <= got.low && got.low <= got.high && got.high <= 1.0);
        }
    }
}
