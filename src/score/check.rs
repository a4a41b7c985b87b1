//! One thing to be judged, and what came of it: how a gate or a built-in scorer is given to another process.
//!
//! Promises: an artifact that passes a limit fails the gate or has 0 points from the scorer, and the limit
//! is named.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::gate::Gate;
use super::quality::Quality;
use super::{Evidence, GateResult, Points, Verdict};

/// A gate, or a scorer that needs nothing but the evidence.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Check {
    /// A gate.
    Gate(Gate),
    /// A scorer. A grader or one of the caller's own cannot be given away, and is never judged by this.
    Scorer(Quality),
}

/// What came of a [`Check`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Judgement {
    /// Of a gate.
    Gate(GateResult),
    /// Of a scorer.
    Scorer(Verdict),
}

impl Judgement {
    /// Whether it is a gate that failed.
    #[must_use]
    pub const fn disqualifies(&self) -> bool {
        match self {
            Self::Gate(gate) => !gate.passed,
            Self::Scorer(_) => false,
        }
    }
}

/// What judging one artifact may take; an artifact that passes it is not judged any further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Limit {
    /// Of time, in words: `10.0 s of computing time`.
    Time(String),
    /// Of memory, in words: `192 MiB of memory`.
    Memory(String),
    /// Of the stack.
    Depth,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(limit) | Self::Memory(limit) => {
                write!(
                    f,
                    "the artifact passes a limit: judging it takes more than {limit}"
                )
            }
            Self::Depth => f.write_str("the artifact passes a limit: it is nested too deeply"),
        }
    }
}

impl Check {
    /// Whether judging it takes time and memory in proportion to the artifact, whatever that is, and needs
    /// no limits.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        match self {
            Self::Gate(gate) => gate.is_plain(),
            Self::Scorer(quality) => quality.is_plain(),
        }
    }

    /// Judges one trial, right here.
    #[must_use]
    pub fn judge(&self, evidence: &Evidence) -> Judgement {
        match self {
            Self::Gate(gate) => Judgement::Gate(gate.check(evidence)),
            Self::Scorer(quality) => {
                let none = || Verdict::unscored("it cannot be judged here");
                Judgement::Scorer(quality.score(evidence).unwrap_or_else(none))
            }
        }
    }

    /// The judgement on an artifact that could not be judged for what it is: no gate holds, and there are no
    /// points.
    #[must_use]
    pub fn refused(&self, why: String) -> Judgement {
        match self {
            Self::Gate(gate) => Judgement::Gate(GateResult {
                gate: gate.name(),
                passed: false,
                explanation: why,
            }),
            Self::Scorer(_) => Judgement::Scorer(Verdict::scored(Points::ZERO, why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::super::artifact::tests::with;
    use super::super::gate::Schema;
    use super::super::pattern;
    use super::super::quality::{JsonExpectation, LengthUnit, Path, Range};
    use super::*;

    const ONE: Range = Range {
        at_least: Some(1),
        at_most: None,
    };

    fn checks() -> Vec<Check> {
        let pattern = || pattern::compile("^\"a\" *$").unwrap();
        let schema = || Schema::compile("s.json".to_owned(), json!({"type": "string"})).unwrap();
        let path = |text, expected| Quality::JsonPath(Path::parse(text).unwrap(), expected);
        let gates = [
            Gate::ExitCode(0),
            Gate::MinBytes(1),
            Gate::MaxBytes(9),
            Gate::Contains("a".to_owned()),
            Gate::NotContains("b".to_owned()),
            Gate::Regex(pattern()),
            Gate::JsonSchema(schema()),
        ];
        let scorers = [
            Quality::Contains(vec!["a".to_owned()]),
            Quality::Regex(pattern(), ONE),
            Quality::Length(LengthUnit::Words, ONE),
            Quality::JsonSchema(schema()),
            path("$", JsonExpectation::Equals(json!("a"))),
            path(
                "$..*..*",
                JsonExpectation::Count(Range {
                    at_least: None,
                    at_most: Some(0),
                }),
            ),
            path(
                "$['it\\'s'][?@.a == \"b\\\"\"]",
                JsonExpectation::Count(Range {
                    at_least: Some(0),
                    ..ONE
                }),
            ),
            Quality::Equals("\"a\"".to_owned()),
            Quality::Golden {
                name: "a.json".to_owned(),
                expected: Arc::from("\"a\"\n"),
            },
        ];
        let gates = gates.into_iter().map(Check::Gate);
        gates
            .chain(scorers.into_iter().map(Check::Scorer))
            .collect()
    }

    #[test]
    fn every_check_judges_the_same_after_it_was_sent() {
        let (evidence, _folder) = with("\"a\"\r\n");
        let sent = serde_json::to_string(&evidence).unwrap();
        let received: Evidence = serde_json::from_str(&sent).unwrap();
        for check in checks() {
            let sent = serde_json::to_string(&check).unwrap();
            let again: Check = serde_json::from_str(&sent).unwrap();
            let (before, after) = (check.judge(&evidence), again.judge(&received));
            assert_eq!(before, after, "{sent}");
            let holds = match &before {
                Judgement::Gate(gate) => gate.passed,
                Judgement::Scorer(Verdict::Scored { points, .. }) => *points == Points::FULL,
                Judgement::Scorer(Verdict::Unscored { .. }) => false,
            };
            assert!(holds, "{sent}: {before:?}");
            let sent = serde_json::to_string(&before).unwrap();
            assert_eq!(serde_json::from_str::<Judgement>(&sent).unwrap(), before);
        }
    }

    #[test]
    fn what_passes_a_limit_fails_gates_and_has_no_points() {
        let limit = Limit::Memory("192 MiB of memory".to_owned());
        let words = "the artifact passes a limit: judging it takes more than 192 MiB of memory";
        for check in checks() {
            match check.refused(limit.to_string()) {
                Judgement::Gate(gate) => {
                    assert!(!gate.passed);
                    assert_eq!(gate.explanation, words);
                }
                Judgement::Scorer(verdict) => {
                    assert_eq!(verdict, Verdict::scored(Points::ZERO, words));
                }
            }
        }
    }
}
