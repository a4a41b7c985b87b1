//! The rule of a run: what counts as a difference, on which measures, and what fails for it.
//!
//! Promises: declared once, before the run, and kept in its plan; two rules are the same when their digests
//! are, so that verdicts by different rules are never mixed silently.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::name::CandidateName;

mod asked;

pub use asked::{BaselineSource, Comparing, MAX_AUTO_REPEAT};

/// What is compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Measure {
    /// The total, in points.
    Score,
    /// Its quality part, in points.
    Quality,
    /// The share of trials that passed their gates, in points.
    Passed,
    /// The time of the run phase, in seconds.
    Seconds,
    /// The largest resident memory of any one process, in bytes.
    PeakMemory,
    /// One of the candidates' own metrics.
    Metric(String),
}

impl Measure {
    /// Those that have a name of their own.
    pub const NAMED: [(&'static str, Self); 5] = [
        ("score", Self::Score),
        ("quality", Self::Quality),
        ("passed", Self::Passed),
        ("seconds", Self::Seconds),
        ("peak_memory", Self::PeakMemory),
    ];

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Score => "score",
            Self::Quality => "quality",
            Self::Passed => "passed",
            Self::Seconds => "seconds",
            Self::PeakMemory => "peak_memory",
            Self::Metric(name) => name,
        }
    }

    /// In what its differences are told. Of what is spent less is better, and a difference is one in percent.
    #[must_use]
    pub const fn unit(&self) -> Unit {
        match self {
            Self::Score | Self::Quality | Self::Passed => Unit::Points,
            Self::Seconds | Self::PeakMemory | Self::Metric(_) => Unit::Percent,
        }
    }

    /// Whether a smaller value of it is a cheaper candidate, whatever else there is.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        match self {
            Self::Score | Self::Quality | Self::Passed | Self::PeakMemory => false,
            Self::Seconds => true,
            Self::Metric(name) => name.starts_with("cost") || name.ends_with("cost"),
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<Measure> for String {
    fn from(measure: Measure) -> Self {
        measure.as_str().to_owned()
    }
}

impl FromStr for Measure {
    type Err = String;

    /// Anything that is not one of forge's own, nor nearly, is a metric.
    fn from_str(text: &str) -> Result<Self, String> {
        let own = Self::NAMED.into_iter().find(|(name, _)| *name == text);
        let names = Self::NAMED.iter().map(|(name, _)| *name);
        match (own, crate::suggest::nearest(text, names)) {
            (Some((_, measure)), _) => Ok(measure),
            (None, _) if text.trim().is_empty() => Err("a measure needs a name".to_owned()),
            // It would be missed when all trials have run.
            (None, Some(near)) => Err(format!("`{text}`: did you mean `{near}`?")),
            (None, None) => Ok(Self::Metric(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Measure {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// In what a difference is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Points, candidate minus against: more is better.
    Points,
    /// Percent of the other side: less is better.
    Percent,
}

impl Unit {
    /// How much worse an effect makes a candidate.
    #[must_use]
    pub fn loss(self, effect: f64) -> f64 {
        match self {
            Self::Points => -effect,
            Self::Percent => effect,
        }
    }
}

/// What is said of one candidate against another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictState {
    /// Nothing is comparable, or too many trials were lost.
    Invalid,
    /// It is worse, by the threshold or more.
    Regression,
    /// A stored run without its files: it looks worse.
    Watch,
    /// The same files, other scores than then.
    Drifted,
    /// Nothing is shown.
    Inconclusive,
    /// It is better, by the threshold or more.
    Improvement,
    /// No worse, and better on what it spends.
    Cheaper,
    /// The same, within the threshold.
    NoChange,
    /// The same files, the same scores as then.
    Steady,
    /// The same files on both sides: nothing was run for it.
    Unchanged,
}

impl VerdictState {
    /// Every one, the worst first.
    pub const ALL: [Self; 10] = [
        Self::Invalid,
        Self::Regression,
        Self::Watch,
        Self::Drifted,
        Self::Inconclusive,
        Self::Improvement,
        Self::Cheaper,
        Self::NoChange,
        Self::Steady,
        Self::Unchanged,
    ];

    /// As in files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Regression => "regression",
            Self::Watch => "watch",
            Self::Drifted => "drifted",
            Self::Inconclusive => "inconclusive",
            Self::Improvement => "improvement",
            Self::Cheaper => "cheaper",
            Self::NoChange => "no_change",
            Self::Steady => "steady",
            Self::Unchanged => "unchanged",
        }
    }

    /// As people shout it: `NO CHANGE`.
    #[must_use]
    pub fn shouted(self) -> String {
        self.as_str().replace('_', " ").to_uppercase()
    }
}

/// What a verdict is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// Is it better or worse than the control?
    Control,
    /// Did it get worse?
    Baseline,
    /// Did the world move?
    World,
}

/// For which objectives a verdict is meant to hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Suite {
    /// For these.
    #[default]
    Fixed,
    /// For objectives of this kind: shown beside the other, and never gates.
    General,
}

/// When a difference is one, and what fails for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rule {
    /// How often a family of comparisons may claim a change where there is none; above 0, below 1.
    pub alpha: f64,
    /// Points: a smaller loss is never a regression, a smaller gain never an improvement.
    pub max_drop: f64,
    /// The same in percent, where less is better.
    pub max_rise: BTreeMap<Measure, f64>,
    /// What can fail a run.
    pub gate: Vec<Measure>,
    /// What is shown besides; `None`: passed, quality, seconds and every metric.
    pub show: Option<Vec<Measure>>,
    /// Which states fail a run.
    pub fail_on: Vec<VerdictState>,
    /// For which objectives.
    pub question: Suite,
}

/// By how many percent anything that is spent may rise, unless said.
pub const MAX_RISE: f64 = 10.0;

/// The states that [`Rule::fail_on`] may name.
pub const CAN_FAIL: [VerdictState; 4] = [
    VerdictState::Regression,
    VerdictState::Inconclusive,
    VerdictState::Drifted,
    VerdictState::Invalid,
];

impl Default for Rule {
    fn default() -> Self {
        Self {
            alpha: 0.05,
            max_drop: 5.0,
            max_rise: BTreeMap::new(),
            gate: vec![Measure::Score],
            show: None,
            fail_on: vec![VerdictState::Regression],
            question: Suite::Fixed,
        }
    }
}

impl Rule {
    /// By how much a measure may get worse: points, or percent.
    #[must_use]
    pub fn threshold(&self, measure: &Measure) -> f64 {
        match measure.unit() {
            Unit::Points => self.max_drop,
            Unit::Percent => self.max_rise.get(measure).copied().unwrap_or(MAX_RISE),
        }
    }

    /// Whether a measure can fail a run.
    #[must_use]
    pub fn gates(&self, measure: &Measure) -> bool {
        self.gate.contains(measure)
    }

    /// What tells this rule from another, in hex: the SHA-256 of what it judges by. What fails a run is no part of that.
    #[must_use]
    pub fn digest(&self) -> String {
        // Maps are ordered and numbers have one form, so the same rule has the same text.
        let judging = Self {
            fail_on: Vec::new(),
            ..self.clone()
        };
        let text = serde_json::to_vec(&judging).unwrap_or_default();
        crate::plain::hex(&Sha256::digest(&text))
    }
}

/// Who is compared with whom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Why.
    pub question: Question,
    /// One of today's candidates.
    pub candidate: CandidateName,
    /// What it is compared with, as it is shown: `gamma@4f1c9e2`, or the control's name.
    pub against: CandidateName,
    /// Where the scores of that come from.
    pub how: How,
}

/// Where the scores of the other side come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// It runs beside the candidate, interleaved.
    Beside,
    /// Only a stored run has them: the former files cannot be had.
    Screened,
    /// A stored run has them, of the same files: whether the world moved.
    Again,
    /// It is the same, and nothing is run for it.
    Unchanged,
}

/// Reads a percentage, with or without its sign: `20%`.
///
/// # Errors
/// What was expected.
pub fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim().trim_end_matches('%').trim_end();
    let value = number.parse::<f64>().ok().filter(|it| it.is_finite());
    value.ok_or_else(|| format!("expected a percentage, for example `20%`, got `{text}`"))
}

/// Whether a rise of a measure can be limited, and to so many percent.
///
/// # Errors
/// Why not.
pub fn checked_rise(measure: &Measure, percent: f64) -> Result<(), String> {
    if measure.unit() == Unit::Points {
        return Err(format!(
            "of `{measure}` more is better, and `max_drop` says how much less may be"
        ));
    }
    if (0.0..=10_000.0).contains(&percent) {
        Ok(())
    } else {
        Err(format!(
            "expected a percentage from 0 to 10000, got {percent}"
        ))
    }
}
