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
                write!(f, "the artifact passes a limit: judging it takes more than {limit}")
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
