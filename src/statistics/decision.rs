//! What is said of one candidate against another on one measure, from what the methods found.

use super::significant;

/// How near to its limit a loss may be and still reach it.
const DROP_SLACK: f64 = 1e-9;

/// When a difference is one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule {
    /// The level with which an adjusted p-value is compared.
    pub level: f64,
    /// The smallest loss, or gain, that counts; in the unit of the effect, 0 or more.
    pub threshold: f64,
    /// Within what it is the same; the threshold, unless said.
    pub margin: f64,
}

/// What is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is worse, by the threshold or more.
    Regression,
    /// It is better, by the threshold or more.
    Improvement,
    /// It is the same, within the margin.
    NoChange,
    /// None of these is shown.
    Inconclusive,
}

/// What was found of one comparison.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found {
    /// How much worse the candidate is.
    pub loss: f64,
    /// The p-value of *it is worse*, adjusted for its family.
    pub worse: f64,
    /// That of *it is better*, adjusted for its own.
    pub better: f64,
    /// Whether it is shown to be the same, within the margin.
    pub same: bool,
}

impl Rule {
    /// Decides.
    #[must_use]
    pub fn decide(&self, found: &Found) -> Outcome {
        let counts = |change: f64| change >= self.threshold - DROP_SLACK;
        if significant(found.worse, self.level) && counts(found.loss) {
            Outcome::Regression
        } else if significant(found.better, self.level) && counts(-found.loss) {
            Outcome::Improvement
        } else if found.same {
            Outcome::NoChange
        } else {
            Outcome::Inconclusive
        }
    }
}
