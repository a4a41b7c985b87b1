//! Scores: points, what is judged, and how a trial's parts become one number.
//!
//! Promises: points are always 0..=100 and never NaN; a scorer that fails gives none, because what breaks a
//! scorer must not gain by it. No I/O but reading the evidence, no clock, no runtime.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::plain::LastWords;

mod artifact;
mod check;
mod compare;
mod evidence;
pub mod gate;
pub mod grader;
mod path;
pub mod pattern;
mod printed;
pub mod quality;

pub use check::{Check, Judgement, Limit};
pub use evidence::Evidence;
pub(crate) use evidence::without_mark;

/// A score: 0 to 100, never NaN. Serialised as a number.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Points(f64);

impl Points {
    /// No points.
    pub const ZERO: Self = Self(0.0);
    /// All points.
    pub const FULL: Self = Self(100.0);

    /// A value that is in range already.
    #[must_use]
    pub fn new(value: f64) -> Option<Self> {
        // `+ 0.0` turns the negative zero into the positive one: same input, same bytes.
        (0.0..=100.0).contains(&value).then_some(Self(value + 0.0))
    }

    /// A value brought into range; NaN counts as 0.
    #[must_use]
    pub fn clamped(value: f64) -> Self {
        if value.is_nan() {
            Self::ZERO
        } else {
            Self(value.clamp(0.0, 100.0) + 0.0)
        }
    }

    /// 100 for yes, 0 for no.
    #[must_use]
    pub const fn yes(condition: bool) -> Self {
        if condition { Self::FULL } else { Self::ZERO }
    }

    /// The number.
    #[must_use]
    pub const fn value(self) -> f64 {
        self.0
    }

    /// The value in tenths: what is shown, and by which candidates are ranked and tied.
    #[must_use]
    pub fn tenths(self) -> u16 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0..=1000"
        )]
        {
            (self.0 * 10.0).round() as u16
        }
    }
}

impl Eq for Points {}

#[expect(
    clippy::derive_ord_xor_partial_ord,
    reason = "never NaN, so both agree"
)]
impl Ord for Points {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl fmt::Display for Points {
    /// One decimal place unless a precision is given, from the tenths by which candidates are ranked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = f.precision().unwrap_or(1);
        f.pad_integral(
            true,
            "",
            &format!("{:.places$}", f64::from(self.tenths()) / 10.0),
        )
    }
}

impl TryFrom<f64> for Points {
    type Error = String;
    fn try_from(value: f64) -> Result<Self, String> {
        Self::new(value).ok_or_else(|| format!("a score is between 0 and 100, not {value}"))
    }
}

impl From<Points> for f64 {
    fn from(points: Points) -> Self {
        points.0
    }
}

/// What a scorer says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Verdict {
    /// A value, with the reason in words and numbers.
    Scored {
        /// The value.
        points: Points,
        /// Why: `12 of 15 links answer`.
        explanation: String,
    },
    /// No value: the scorer itself failed. It counts as 0 points; where it works on no other trial of the
    /// objective either, nobody wins by that objective.
    Unscored {
        /// Why.
        reason: String,
    },
}

impl Verdict {
    /// A value with its reason.
    #[must_use]
    pub fn scored(points: Points, explanation: impl Into<String>) -> Self {
        Self::Scored {
            points,
            explanation: explanation.into(),
        }
    }

    /// No value, for this reason.
    #[must_use]
    pub fn unscored(reason: impl Into<String>) -> Self {
        Self::Unscored {
            reason: reason.into(),
        }
    }
}

/// A judge of finished trials. Implement it to add your own; a panic in it is [`Verdict::Unscored`].
pub trait Scorer: Send + Sync {
    /// What it is called in reports.
    fn name(&self) -> String;
    /// Judges one trial. Called off the runtime's threads, so it may block.
    fn score(&self, evidence: &Evidence) -> Verdict;
}

/// What one gate said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateResult {
    /// The gate as written: `contains "https://"`.
    pub gate: String,
    /// Whether it held.
    pub passed: bool,
    /// Why, in words and numbers.
    pub explanation: String,
}

/// What one quality scorer said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScorerResult {
    /// The scorer as written: `regex /^#/ at_least 3`.
    pub scorer: String,
    /// Its weight among the quality scorers.
    pub weight: f64,
    /// Its value; absent when it failed, unless that is 0 points by its own rule or because it worked on
    /// others.
    pub points: Option<Points>,
    /// Why, in words and numbers.
    pub explanation: String,
    /// How it went; absent for the built-in scorers, which cannot fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub went: Option<Went>,
    /// The last that it said, where it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<LastWords>,
}

/// With what every explanation of a failure ends: these words and the reason.
const FAILED: &str = "it failed";

impl ScorerResult {
    /// Says what its failure comes to, now that it is known on how many other trials it worked. Does nothing
    /// to a scorer whose own rule says that, or that did not fail.
    pub fn settle(&mut self, worked: usize) {
        if self.went != Some(Went::Failed) {
            return;
        }
        let at = self.explanation.find(FAILED).unwrap_or_default();
        let why = &self.explanation[at..];
        (self.points, self.explanation) = if worked == 0 {
            (None, format!("ungraded, it worked on no artifact: {why}"))
        } else {
            let others = crate::quantity::counted(worked, "other artifact", "other artifacts");
            let explanation = format!("0 points, it worked on {others} but on this {why}");
            (Some(Points::ZERO), explanation)
        };
    }
}

/// How it went with a scorer that can fail: a grader, or one of the caller's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Went {
    /// It gave a value.
    Well,
    /// It gave one between 0 and 1, and nothing says what full marks are.
    Unscaled,
    /// It gave one by its exit code, and printed no verdict. Where it prints one for others, that is no value.
    Silent,
    /// It failed; what that means is decided when the run is over.
    Failed,
    /// It failed, and that is 0 points by its own rule.
    FailedAsZero,
    /// It failed, and by its own rule nobody wins by this objective then.
    FailedAsUngraded,
}

impl Went {
    /// Whether it failed.
    #[must_use]
    pub const fn failed(self) -> bool {
        match self {
            Self::Well | Self::Unscaled | Self::Silent => false,
            Self::Failed | Self::FailedAsZero | Self::FailedAsUngraded => true,
        }
    }
}

/// The weights of the three parts of a score. Finite, not negative, not all 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Weights {
    /// Of success.
    pub success: f64,
    /// Of quality.
    pub quality: f64,
    /// Of speed.
    pub speed: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            success: 0.2,
            quality: 0.6,
            speed: 0.2,
        }
    }
}

/// The score of one trial, with all that explains it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialScore {
    /// The total. 0 when a gate failed.
    pub total: Points,
    /// 100, or 0 when a gate failed.
    pub success: Points,
    /// The weighted mean of the quality scorers, 0 for those that failed; absent when there are none.
    pub quality: Option<Points>,
    /// Linear between the objective's two times.
    pub speed: Option<Points>,
    /// The first gate that failed, with its explanation.
    pub disqualified: Option<String>,
    /// Every gate.
    pub gates: Vec<GateResult>,
    /// Every quality scorer; empty when a gate failed.
    pub scorers: Vec<ScorerResult>,
    /// How the total came about, in one line.
    pub explanation: String,
}

/// The two times between which speed falls from 100 to 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpeedScale {
    /// At or below this: 100.
    pub full_marks: Duration,
    /// At or above this: 0.
    pub no_marks: Duration,
}

impl SpeedScale {
    /// The points for a time.
    #[must_use]
    pub fn points(&self, took: Duration) -> Points {
        let (full, none) = (self.full_marks.as_secs_f64(), self.no_marks.as_secs_f64());
        if none <= full {
            return Points::yes(took <= self.full_marks);
        }
        Points::clamped(100.0 * (none - took.as_secs_f64()) / (none - full))
    }
}

/// The weighted mean of what has a value; `None` when nothing has.
#[must_use]
pub fn weighted_mean(parts: impl IntoIterator<Item = (f64, Option<Points>)>) -> Option<Points> {
    let (sum, weight) = parts
        .into_iter()
        .filter_map(|(weight, points)| Some((weight, points?)))
        .fold((0.0, 0.0), |(sum, total), (weight, points)| {
            (sum + weight * points.value(), total + weight)
        });
    (weight > 0.0).then(|| Points::clamped(sum / weight))
}

/// Puts a trial's score together. Pure.
///
/// `speed` is the points for the run time. When a gate failed, the total is 0 and the scorers are left
/// out, because nobody should act on the quality of a disqualified artifact.
#[must_use]
pub fn combine(
    weights: Weights,
    gates: Vec<GateResult>,
    scorers: Vec<ScorerResult>,
    speed: Points,
) -> TrialScore {
    if let Some(failed) = gates.iter().find(|gate| !gate.passed) {
        let why = format!("{}: {}", failed.gate, failed.explanation);
        return TrialScore {
            total: Points::ZERO,
            success: Points::ZERO,
            quality: None,
            speed: None,
            explanation: format!("disqualified by {why}"),
            disqualified: Some(why),
            gates,
            scorers: Vec::new(),
        };
    }
    // What failed counts as 0: left out, the other weights would grow, and breaking a scorer would pay.
    let counted = |scorer: &ScorerResult| scorer.points.or(Some(Points::ZERO));
    let quality = weighted_mean(scorers.iter().map(|it| (it.weight, counted(it))));
    let parts = [
        ("success", weights.success, Some(Points::FULL)),
        ("quality", weights.quality, quality),
        ("speed", weights.speed, Some(speed)),
    ];
    let sum_of = |parts: &[(&str, f64, Option<Points>)]| -> f64 {
        let valued = parts.iter().filter(|(_, _, points)| points.is_some());
        valued.map(|(_, weight, _)| weight).sum()
    };
    // Where all the weight lies on a part without a value, the parts that have one count alike.
    let parts = if sum_of(&parts) > 0.0 {
        parts
    } else {
        parts.map(|(name, _, points)| (name, 1.0, points))
    };
    let sum = sum_of(&parts);
    let total = weighted_mean(parts.map(|(_, weight, points)| (weight, points)));
    let total = total.unwrap_or(Points::ZERO);
    let shown: Vec<String> = parts
        .iter()
        .filter_map(|(name, weight, points)| {
            let share = Points::clamped(100.0 * weight / sum);
            points.map(|points| format!("{share}% of {name} {points}"))
        })
        .collect();
    let left_out = if quality.is_none() {
        ", quality left out: no scorers"
    } else {
        ""
    };
    TrialScore {
        total,
        success: Points::FULL,
        quality,
        speed: Some(speed),
        disqualified: None,
        explanation: format!("{total} = {}{left_out}", shown.join(" + ")),
        gates,
        scorers,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn points(value: f64) -> Points {
        Points::new(value).unwrap()
    }

    fn gate(passed: bool) -> GateResult {
        GateResult {
            gate: "min_bytes 11".to_owned(),
            passed,
            explanation: "the artifact has 5 bytes".to_owned(),
        }
    }

    fn scorer(weight: f64, value: Option<f64>) -> ScorerResult {
        ScorerResult {
            scorer: "contains \"x\"".to_owned(),
            weight,
            points: value.map(points),
            explanation: String::new(),
            went: None,
            said: None,
        }
    }

    fn weights(success: f64, quality: f64, speed: f64) -> Weights {
        Weights {
            success,
            quality,
            speed,
        }
    }

    #[test]
    fn points_are_in_range_or_do_not_exist() {
        for bad in [-0.1, 100.1, f64::NAN, f64::INFINITY, -f64::INFINITY] {
            assert_eq!(Points::new(bad), None, "{bad}");
            assert!(serde_json::from_str::<Points>(&bad.to_string()).is_err());
        }
        for (value, brought) in [
            (-1.0, 0.0),
            (-0.0, 0.0),
            (55.5, 55.5),
            (1e300, 100.0),
            (f64::NAN, 0.0),
        ] {
            let bits = Points::clamped(value).value().to_bits();
            assert_eq!(bits, f64::to_bits(brought), "{value}");
        }
        assert_eq!(points(-0.0).value().to_bits(), 0);
        assert_eq!(serde_json::to_string(&points(66.5)).unwrap(), "66.5");
    }

    #[test]
    fn points_are_shown_in_tenths() {
        for (value, shown, tenths) in [
            (0.0, "0.0", 0),
            (66.666, "66.7", 667),
            (99.94, "99.9", 999),
            (99.96, "100.0", 1000),
            (100.0, "100.0", 1000),
        ] {
            assert_eq!(points(value).to_string(), shown);
            assert_eq!(points(value).tenths(), tenths);
        }
        assert_eq!(format!("{:>6}", points(5.0)), "   5.0");
    }

    #[test]
    fn speed_falls_linearly_between_its_two_times() {
        let scale = |full, none| SpeedScale {
            full_marks: Duration::from_secs(full),
            no_marks: Duration::from_secs(none),
        };
        for (scale, took, tenths) in [
            (scale(1, 61), 0, 1000),
            (scale(1, 61), 1, 1000),
            (scale(1, 61), 31, 500),
            (scale(1, 61), 61, 0),
            (scale(1, 61), u64::MAX, 0),
            (scale(0, 600), 60, 900),
            (scale(5, 5), 5, 1000),
            (scale(5, 5), 6, 0),
            (scale(0, 0), 0, 1000),
        ] {
            let got = scale.points(Duration::from_secs(took));
            assert_eq!(got.tenths(), tenths, "{scale:?} {took}");
        }
    }

    #[test]
    fn a_failed_gate_takes_everything_and_is_named() {
        let gates = vec![gate(true), gate(false), gate(false)];
        let score = combine(
            Weights::default(),
            gates.clone(),
            vec![scorer(1.0, Some(90.0))],
            Points::FULL,
        );
        let why = "min_bytes 11: the artifact has 5 bytes";
        assert_eq!(score.disqualified.as_deref(), Some(why));
        assert_eq!(score.explanation, format!("disqualified by {why}"));
        assert_eq!((score.total, score.success), (Points::ZERO, Points::ZERO));
        assert_eq!((score.quality, score.speed), (None, None));
        assert_eq!((score.gates, score.scorers), (gates, Vec::new()));
    }

    #[test]
    fn the_total_is_the_weighted_mean_of_the_parts_that_have_a_value() {
        let some = vec![scorer(3.0, Some(100.0)), scorer(1.0, Some(0.0))];
        let failed = vec![scorer(1.0, None), scorer(1.0, Some(100.0))];
        let none = Vec::new();
        for (weights, scorers, tenths, words) in [
            (
                Weights::default(),
                some.clone(),
                750,
                "75.0 = 20.0% of success 100.0 + 60.0% of quality 75.0 + 20.0% of speed 50.0",
            ),
            (
                weights(0.0, 3.0, 0.0),
                some,
                750,
                "75.0 = 0.0% of success 100.0 + 100.0% of quality 75.0 + 0.0% of speed 50.0",
            ),
            (
                Weights::default(),
                failed,
                600,
                "60.0 = 20.0% of success 100.0 + 60.0% of quality 50.0 + 20.0% of speed 50.0",
            ),
            (
                Weights::default(),
                vec![scorer(1.0, None)],
                300,
                "30.0 = 20.0% of success 100.0 + 60.0% of quality 0.0 + 20.0% of speed 50.0",
            ),
            (
                weights(3.0, 1.0, 1.0),
                Vec::new(),
                875,
                "87.5 = 75.0% of success 100.0 + 25.0% of speed 50.0, quality left out: no scorers",
            ),
            (
                weights(0.0, 1.0, 0.0),
                none,
                750,
                "75.0 = 50.0% of success 100.0 + 50.0% of speed 50.0, quality left out: no scorers",
            ),
        ] {
            let score = combine(weights, vec![gate(true)], scorers, points(50.0));
            assert_eq!(
                (score.total.tenths(), score.explanation.as_str()),
                (tenths, words)
            );
            assert_eq!(score.success, Points::FULL);
            assert_eq!(score.disqualified, None);
        }
    }

    #[test]
    fn a_failure_is_settled_by_the_other_trials_however_often() {
        let failed = |went| ScorerResult {
            explanation: "it failed in two sandboxes: exited with 2".to_owned(),
            went: Some(went),
            ..scorer(1.0, None)
        };
        let mut result = failed(Went::Failed);
        for (worked, points, explanation) in [
            (
                0,
                None,
                "ungraded, it worked on no artifact: it failed in two sandboxes: exited with 2",
            ),
            (
                1,
                Some(Points::ZERO),
                "0 points, it worked on 1 other artifact but on this it failed in two sandboxes: exited with 2",
            ),
            (
                0,
                None,
                "ungraded, it worked on no artifact: it failed in two sandboxes: exited with 2",
            ),
        ] {
            result.settle(worked);
            assert_eq!(
                (result.points, result.explanation.as_str()),
                (points, explanation)
            );
        }
        for went in [Went::FailedAsUngraded, Went::FailedAsZero, Went::Well] {
            let mut result = failed(went);
            result.settle(1);
            assert_eq!(result, failed(went));
        }
    }

    #[test]
    fn the_weighted_mean_of_nothing_is_nothing() {
        assert_eq!(weighted_mean([]), None);
        assert_eq!(weighted_mean([(1.0, None)]), None);
        assert_eq!(weighted_mean([(0.0, Some(Points::FULL))]), None);
    }

    #[test]
    fn evidence_without_an_artifact_is_empty() {
        let evidence = artifact::tests::nothing();
        assert_eq!(&*evidence.text().unwrap(), "");
        assert_eq!(evidence.bytes(), 0);
        assert_eq!(artifact::tests::with("abc").0.bytes(), 3);
    }

    proptest! {
        #[test]
        fn points_are_never_out_of_range(value in any::<f64>(), other in any::<f64>()) {
            let (a, b) = (Points::clamped(value), Points::clamped(other));
            prop_assert!((0.0..=100.0).contains(&a.value()));
            prop_assert!(a.tenths() <= 1000);
            prop_assert_eq!(a.partial_cmp(&b), Some(a.cmp(&b)));
            if a <= b {
                prop_assert!(a.tenths() <= b.tenths());
            }
            let text = serde_json::to_string(&a).unwrap();
            prop_assert_eq!(serde_json::from_str::<Points>(&text).unwrap(), a);
        }

        #[test]
        fn a_weighted_mean_lies_between_its_parts(
            parts in proptest::collection::vec((0.0..1e6_f64, proptest::option::of(0.0..=100.0_f64)), 0..6),
        ) {
            let valued = || parts.iter().filter(|(weight, _)| *weight > 0.0);
            let values = || valued().filter_map(|(_, value)| *value);
            let mean = weighted_mean(parts.iter().map(|(weight, value)| (*weight, value.map(points))));
            prop_assert_eq!(mean.is_some(), values().next().is_some());
            if let Some(mean) = mean {
                let least = values().fold(100.0, f64::min);
                let most = values().fold(0.0, f64::max);
                prop_assert!((least - 1e-6..=most + 1e-6).contains(&mean.value()));
            }
        }

        #[test]
        fn a_total_is_never_out_of_range(
            given in (0.0..1e6_f64, 0.0..1e6_f64, 0.0..1e6_f64),
            value in proptest::option::of(0.0..=100.0_f64),
            speed in 0.0..=100.0_f64,
            passed in any::<bool>(),
        ) {
            let weights = weights(given.0, given.1, given.2);
            let score = combine(weights, vec![gate(passed)], vec![scorer(1.0, value)], points(speed));
            prop_assert!((0.0..=100.0).contains(&score.total.value()));
            prop_assert!(passed || score.total == Points::ZERO);
        }
    }
}
