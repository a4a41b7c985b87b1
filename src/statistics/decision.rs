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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(loss: f64, worse: f64, better: f64, same: bool) -> Found {
        Found {
            loss,
            worse,
            better,
            same,
        }
    }

    const RULE: Rule = Rule {
        level: 0.05,
        threshold: 0.05,
        margin: 0.05,
    };

    #[test]
    fn what_lies_at_its_limit_reaches_it() {
        assert_eq!(
            RULE.decide(&found(0.05 - 1e-12, 0.05, 0.95, true)),
            Outcome::Regression
        );
        assert_eq!(
            RULE.decide(&found(-0.05 + 1e-12, 0.95, 0.05, true)),
            Outcome::Improvement
        );
        // Real, but small; large, but maybe chance.
        assert_eq!(
            RULE.decide(&found(0.04, 0.001, 0.999, true)),
            Outcome::NoChange
        );
        assert_eq!(
            RULE.decide(&found(0.04, 0.001, 0.999, false)),
            Outcome::Inconclusive
        );
        assert_eq!(
            RULE.decide(&found(0.3, 0.051, 0.949, false)),
            Outcome::Inconclusive
        );
    }

    proptest! {
        #[test]
        fn the_mirror_has_the_mirrored_verdict(loss in -1.0..=1.0_f64, worse in 0.0..=1.0_f64, same: bool) {
            let (one, other) = (
                RULE.decide(&found(loss, worse, 1.0 - worse, same)),
                RULE.decide(&found(-loss, 1.0 - worse, worse, same)),
            );
            let mirrored = match one {
                Outcome::Regression => Outcome::Improvement,
                Outcome::Improvement => Outcome::Regression,
                Outcome::NoChange => Outcome::NoChange,
                Outcome::Inconclusive => Outcome::Inconclusive,
            };
            prop_assert_eq!(other, mirrored);
        }

        #[test]
        fn more_loss_and_less_doubt_never_end_a_regression(
            loss in -1.0..=1.0_f64, more in 0.0..1.0_f64, worse in 0.0..=1.0_f64, share in 0.0..=1.0_f64, same: bool,
        ) {
            if RULE.decide(&found(loss, worse, 1.0 - worse, same)) == Outcome::Regression {
                let further = found(loss + more, worse * share, 1.0 - worse * share, same);
                prop_assert_eq!(RULE.decide(&further), Outcome::Regression);
            }
        }
    }
}
