//! What a run can conclude before it is run: the chance of each verdict, for losses that may be true.
//!
//! Promises: the verdicts are those of the functions that decide in a run; exact where that is cheap, else of simulated runs
//! that depend on the seed only.

use crate::name::{ObjectiveName, RunId};
use crate::rule::{Measure, Rule};
use crate::statistics::decision;
use crate::statistics::family::control_repeats;
use crate::statistics::operating::{Chances, Controls, Leading, Led, Plan, RUNS, Rates, Trials};

/// The losses that are asked about, in points.
pub const LOSSES: [f64; 4] = [0.0, 5.0, 10.0, 20.0];
/// The loss that a run should not miss more often than not.
pub const LARGE: f64 = 20.0;
/// So many trials are drawn for each loss at the most, and so many runs at the least.
const DRAWN: f64 = 2e7;
const LEAST: u32 = 400;
/// So many repeats are worth telling of, and of so many runs that is found.
const MOST_REPEATS: u32 = 100;
const TRIED: u32 = 1_000;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// Whether candidates are better or worse than the control.
    Control,
    /// Whether they are worse than they were.
    Baseline,
    /// Who is best, and whether that is real.
    Lead,
}

/// How an objective was done, as far as that is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// Which objective.
    pub objective: ObjectiveName,
    /// In which run.
    pub run: Option<RunId>,
    /// What its trials gave, as shares; none where nothing is known.
    pub values: Vec<f64>,
}

/// What is planned, as far as it decides what can be concluded.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Asked {
    pub(super) about: About,
    pub(super) measure: Measure,
    /// How many candidates are compared; of a lead, all.
    pub(super) candidates: usize,
    /// How often each is run, and what it is compared with.
    pub(super) repeats: u32,
    pub(super) control_repeats: u32,
    /// Whether the latter was said, and does not grow with the former.
    pub(super) is_fixed: bool,
    /// The level at the end, before it is shared in the family.
    pub(super) level: f64,
    pub(super) known: Vec<Known>,
}

/// What a run can conclude about one question.
#[derive(Debug, Clone, PartialEq)]
pub struct Conclusion {
    /// What is asked.
    pub about: About,
    /// On what it is decided.
    pub measure: Measure,
    /// How many candidates are compared; of a lead, all.
    pub candidates: usize,
    /// How often each of them does an objective.
    pub repeats: u32,
    /// How often what they are compared with does.
    pub control_repeats: u32,
    /// The level at the end.
    pub level: f64,
    /// The smallest loss that is a regression, in points.
    pub threshold: f64,
    /// How the objectives were done.
    pub known: Vec<Known>,
    /// What is taken for the truth of them.
    pub rates: Rates,
    /// What is thought that a trial gives.
    pub trials: Trials,
    /// For each of [`LOSSES`].
    pub chances: Vec<Chance>,
    /// Where a loss of [`LARGE`] points would be missed more often than not: how many repeats would do.
    pub misses: Option<Misses>,
}

/// What is concluded of a loss, or a lead, of so many points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chance {
    /// The loss; or the lead.
    pub points: f64,
    /// What is concluded.
    pub of: Of,
}

/// The chances themselves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Of {
    /// Of each verdict on the candidate that loses so much; the others lose nothing.
    Verdicts(Chances),
    /// That the lead is shown.
    Lead(Led),
}

/// A large loss, or lead, would be missed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Misses {
    /// How often it is found.
    pub found: f64,
    /// How many repeats would find it more often than not; `None` where a hundred would not.
    pub enough: Option<u32>,
}

impl Of {
    /// How often the loss, or the lead, is found.
    #[must_use]
    pub const fn found(&self) -> f64 {
        match self {
            Self::Verdicts(chances) => chances.regression,
            Self::Lead(led) => led.shown,
        }
    }
}

impl Asked {
    /// What can be concluded.
    pub(super) fn conclude(self, rule: &Rule, seed: u64) -> Conclusion {
        let (rates, trials) = self.truth();
        let share = |points: f64| Chance {
            points,
            of: self.chances(rule, &rates, trials, points, self.repeats, RUNS, seed),
        };
        let chances: Vec<Chance> = LOSSES.into_iter().map(share).collect();
        let large = chances.iter().find(|it| it.points >= LARGE);
        let found = large.map_or(1.0, |it| it.of.found());
        let enough = |repeats: u32| {
            let of = self.chances(rule, &rates, trials, LARGE, repeats, TRIED, seed);
            of.found() >= 0.5
        };
        let misses = (found < 0.5).then(|| Misses {
            found,
            enough: first(self.repeats, MOST_REPEATS, enough),
        });
        Conclusion {
            about: self.about,
            measure: self.measure,
            candidates: self.candidates,
            repeats: self.repeats,
            control_repeats: self.control_repeats,
            level: self.level,
            threshold: rule.max_drop,
            known: self.known,
            rates,
            trials,
            chances,
            misses,
        }
    }

    /// What is taken for the truth: of an earlier run, or drawn.
    fn truth(&self) -> (Rates, Trials) {
        let values: Vec<Vec<f64>> = self.known.iter().map(|it| it.values.clone()).collect();
        if values.iter().all(Vec::is_empty) {
            (Rates::Drawn(values.len()), Trials::Pass)
        } else {
            (Rates::of_scores(&values), Trials::of_scores(&values))
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "each is told apart by its type or its name"
    )]
    fn chances(
        &self,
        rule: &Rule,
        rates: &Rates,
        trials: Trials,
        points: f64,
        repeats: u32,
        runs: u32,
        seed: u64,
    ) -> Of {
        let all = (self.known.len() * (self.candidates + 1)) as f64 * f64::from(repeats);
        let runs = runs.min(affordable(all));
        let share = points / 100.0;
        if self.about == About::Lead {
            let leading = Leading {
                rates: rates.clone(),
                lead: share,
                trials,
                candidates: self.candidates,
                repeats,
                level: self.level,
            };
            return Of::Lead(leading.simulated(seed, runs));
        }
        let plan = Plan {
            rates: rates.clone(),
            loss: share,
            trials,
            candidates: self.candidates,
            controls: if self.about == About::Baseline {
                Controls::Own
            } else {
                Controls::Shared
            },
            control_repeats: self.beside(repeats),
            repeats,
            rule: decision::Rule {
                // Those of one family share it: a measure that is not asked about here has its part.
                level: self.level / rule.gate.len().max(1) as f64,
                threshold: rule.max_drop / 100.0,
                margin: rule.max_drop / 100.0,
            },
        };
        Of::Verdicts(if runs == RUNS {
            plan.chances(seed)
        } else {
            plan.simulated(seed, runs)
        })
    }

    /// How often what candidates are compared with would be run, with so many repeats of theirs.
    fn beside(&self, repeats: u32) -> u32 {
        if repeats == self.repeats || self.is_fixed {
            return self.control_repeats;
        }
        let challengers = match self.about {
            About::Control => u32::try_from(self.candidates).unwrap_or(u32::MAX),
            About::Baseline | About::Lead => 1,
        };
        control_repeats(challengers, repeats)
    }
}

/// How many runs of so many trials each are simulated.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positive, and the cast saturates"
)]
fn affordable(trials: f64) -> u32 {
    ((DRAWN / trials.max(1.0)) as u32).clamp(LEAST, RUNS)
}

/// The first number above `from` and up to `most` that is enough, where more than enough is enough.
fn first(from: u32, most: u32, enough: impl Fn(u32) -> bool) -> Option<u32> {
    let (mut short, mut at) = (from, from.saturating_add(1));
    while at < most && !enough(at) {
        (short, at) = (at, at.saturating_mul(2).min(most));
    }
    if at > most || (at == most && !enough(most)) {
        return None;
    }
    while at - short > 1 {
        let middle = short.midpoint(at);
        if enough(middle) {
            at = middle;
        } else {
            short = middle;
        }
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(about: About, values: &[&[f64]]) -> Asked {
        let known = values.iter().zip('a'..).map(|(values, name)| Known {
            objective: ObjectiveName::parse(&name.to_string()).unwrap(),
            run: None,
            values: values.to_vec(),
        });
        Asked {
            about,
            measure: Measure::Score,
            candidates: 1,
            repeats: 3,
            control_repeats: 3,
            is_fixed: false,
            level: 0.05,
            known: known.collect(),
        }
    }

    #[test]
    fn few_known_objectives_are_exact_and_larger_losses_are_found_more_often() {
        let seen: [&[f64]; 2] = [&[1.0, 1.0, 1.0], &[1.0, 0.0, 1.0]];
        for about in [About::Control, About::Baseline] {
            let got = asked(about, &seen).conclude(&Rule::default(), 1);
            let found: Vec<f64> = got.chances.iter().map(|it| it.of.found()).collect();
            assert!(found.is_sorted() && found[0] < 0.05, "{found:?}");
            for chance in &got.chances {
                let Of::Verdicts(chances) = chance.of else {
                    panic!("{chance:?}");
                };
                assert_eq!(chances.runs, None, "exact");
            }
            let misses = got.misses.unwrap();
            assert!(misses.found < 0.5 && misses.enough.is_some_and(|it| it > 3));
        }
    }

    #[test]
    fn what_is_not_known_is_drawn() {
        let got = asked(About::Lead, &[&[], &[]]);
        let got = Asked {
            candidates: 2,
            repeats: 1,
            control_repeats: 1,
            ..got
        };
        let got = got.conclude(&Rule::default(), 1);
        assert_eq!((got.rates, got.trials), (Rates::Drawn(2), Trials::Pass));
        // Two objectives once each: no lead can be shown.
        assert!(got.chances.iter().all(|it| it.of.found() < 1e-12));
        assert!(got.misses.unwrap().enough.is_some_and(|it| it > 3));
    }

    #[test]
    fn a_control_grows_with_the_repeats_unless_it_was_said() {
        let four = Asked {
            candidates: 4,
            control_repeats: 6,
            ..asked(About::Control, &[&[]])
        };
        assert_eq!((four.beside(3), four.beside(5)), (6, 10));
        let own = Asked {
            about: About::Baseline,
            control_repeats: 3,
            ..four.clone()
        };
        assert_eq!(own.beside(5), 5);
        let fixed = Asked {
            is_fixed: true,
            ..four
        };
        assert_eq!(fixed.beside(5), 6);
    }

    #[test]
    fn the_first_number_that_is_enough_is_found() {
        for from in [0, 1, 3, 99, 100, 200] {
            for wanted in [1, 2, 4, 7, 50, 99, 100, 101] {
                let expected = wanted.max(from + 1);
                let got = first(from, 100, |it| it >= wanted);
                assert_eq!(
                    got,
                    (expected <= 100).then_some(expected),
                    "{from} {wanted}"
                );
            }
        }
    }
}
