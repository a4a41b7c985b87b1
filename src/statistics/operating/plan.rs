//! What is known before a run, and the chance of each verdict from it.

use super::{Chances, Controls, Design, Judge, RUNS, Rule, Trials};
use crate::statistics::draw::Random;

/// How objectives are thought to be passed, with no earlier run: two in three trials, mostly on objectives that are easy or hard.
pub(super) const SHAPES: (f64, f64) = (0.9, 0.45);

/// The rates of the objectives.
#[derive(Debug, Clone, PartialEq)]
pub enum Rates {
    /// Those of an earlier run.
    Known(Vec<f64>),
    /// Of so many objectives nothing is known: drawn anew for every run, from the beta distribution with the shapes .9 and .45.
    Drawn(usize),
}

impl Rates {
    /// Those of an earlier run, given as (passed, all) for each objective: (passed + .9) of (all + 1.35), so that none is thought
    /// to be certain.
    #[must_use]
    pub fn of_passed(objectives: &[(u32, u32)]) -> Self {
        let one = |(passed, all): &(u32, u32)| rate(f64::from(*passed), f64::from(*all));
        Self::Known(objectives.iter().map(one).collect())
    }

    /// The same of scores, one list an objective: what a trial scored is a part of a pass.
    #[must_use]
    pub fn of_scores(objectives: &[Vec<f64>]) -> Self {
        let one = |scores: &Vec<f64>| rate(scores.iter().sum(), scores.len() as f64);
        Self::Known(objectives.iter().map(one).collect())
    }
}

fn rate(passed: f64, all: f64) -> f64 {
    let (a, b) = SHAPES;
    (passed + a) / (all + a + b)
}

/// A comparison of candidates with a control that has not been run.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Those of the control.
    pub rates: Rates,
    /// By how much the first candidate's are lower, in `-1..=1`; as far as a rate can be. The others' are the control's.
    pub loss: f64,
    /// What a trial gives.
    pub trials: Trials,
    /// How many candidates there are.
    pub candidates: usize,
    /// Whether they share the control.
    pub controls: Controls,
    /// How often the control is run.
    pub control_repeats: u32,
    /// How often each candidate is run.
    pub repeats: u32,
    /// When a difference is one.
    pub rule: Rule,
}

impl Plan {
    /// The chance of each verdict on the first candidate. Exact where rates are known and few; else of [`RUNS`] runs that depend on
    /// the seed only.
    #[must_use]
    pub fn chances(&self, seed: u64) -> Chances {
        match &self.rates {
            Rates::Known(rates) => self.design(rates.clone()).chances(seed),
            Rates::Drawn(_) => self.simulated(seed, RUNS),
        }
    }

    /// The same from a number of runs.
    #[must_use]
    pub fn simulated(&self, seed: u64, runs: u32) -> Chances {
        let objectives = match &self.rates {
            Rates::Known(rates) => return self.design(rates.clone()).simulated(seed, runs),
            Rates::Drawn(objectives) => *objectives,
        };
        let mut random = Random::new(seed);
        let judge = Judge::new(self.rule, self.controls, objectives);
        let (a, b) = SHAPES;
        let mut chances = Chances::NONE;
        for _ in 0..runs {
            let rates = (0..objectives).map(|_| random.beta(a, b)).collect();
            chances.add(self.design(rates).drawn(&judge, &mut random), 1.0);
        }
        chances.shared(runs)
    }

    fn design(&self, control: Vec<f64>) -> Design {
        let lower: Vec<f64> = control
            .iter()
            .map(|rate| (rate - self.loss).clamp(0.0, 1.0))
            .collect();
        let others = vec![control.clone(); self.candidates.saturating_sub(1)];
        let first = (self.candidates > 0).then_some(lower);
        Design {
            controls: self.controls,
            candidates: first.into_iter().chain(others).collect(),
            control,
            control_repeats: self.control_repeats,
            repeats: self.repeats,
            trials: self.trials,
            rule: self.rule,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::golden::close;

    fn plan(rates: Rates, loss: f64) -> Plan {
        Plan {
            rates,
            loss,
            trials: Trials::Pass,
            candidates: 1,
            controls: Controls::Shared,
            control_repeats: 3,
            repeats: 3,
            rule: Rule {
                level: 0.05,
                threshold: 0.05,
                margin: 0.05,
            },
        }
    }

    #[test]
    fn more_loss_is_found_more_often_and_none_rarely() {
        for trials in [Trials::Pass, Trials::Points { deviation: 0.2 }] {
            let of = |loss: f64| {
                let plan = Plan {
                    trials,
                    ..plan(Rates::Drawn(6), loss)
                };
                plan.simulated(1, 300)
            };
            let (none, some, much) = (of(0.0), of(0.1), of(0.3));
            assert!(none.regression < 0.1 && none.improvement < 0.1, "{none:?}");
            assert!(none.regression < some.regression && some.regression < much.regression);
            let gain = of(-0.3);
            assert!(gain.improvement > 0.1 && gain.regression < 0.02, "{gain:?}");
            let all = some.regression + some.improvement + some.no_change + some.inconclusive;
            close(all, 1.0, 1e-9, "all of it");
            assert_eq!(some, of(0.1), "the seed decides");
        }
    }

    #[test]
    fn a_small_plan_is_exact_and_a_drawn_one_agrees() {
        let known = plan(Rates::of_passed(&[(3, 3), (1, 3)]), 0.4);
        let (exact, drawn) = (known.chances(1), known.simulated(1, 2000));
        assert_eq!(exact.runs, None);
        close(exact.standard_error(exact.regression), 0.0, 0.0, "exact");
        let error = drawn.standard_error(exact.regression);
        close(
            drawn.regression,
            exact.regression,
            4.0 * error,
            "regression",
        );
        close(
            drawn.inconclusive,
            exact.inconclusive,
            4.0 * drawn.standard_error(exact.inconclusive),
            "inconclusive",
        );
    }

    #[test]
    fn a_family_is_harder_to_find_one_in() {
        let one = plan(Rates::Known(vec![0.8; 8]), 0.3);
        let four = Plan {
            candidates: 4,
            ..one.clone()
        };
        assert!(four.simulated(2, 300).regression < one.simulated(2, 300).regression);
        let apart = Plan {
            controls: Controls::Own,
            ..four
        };
        assert!(apart.simulated(2, 300).regression < one.simulated(2, 300).regression);
        let none = Plan {
            candidates: 0,
            ..one
        };
        close(none.simulated(2, 10).inconclusive, 1.0, 1e-12, "nobody");
    }

    #[test]
    fn rates_of_an_earlier_run_are_never_certain() {
        let Rates::Known(got) = Rates::of_passed(&[(0, 3), (3, 3), (0, 0)]) else {
            panic!("known");
        };
        close(got[0], 0.9 / 4.35, 1e-12, "none");
        close(got[1], 3.9 / 4.35, 1e-12, "all");
        close(got[2], 0.9 / 1.35, 1e-12, "never run");
        let scores = [vec![0.0; 3], vec![1.0; 3], vec![]];
        assert_eq!(Rates::of_scores(&scores), Rates::Known(got));
    }
}
