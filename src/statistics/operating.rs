//! What a comparison can conclude before it is run: the chance of each verdict.
//!
//! The same functions decide here and in a run. Small designs are enumerated, larger ones simulated with a seed.

use super::decision::{Found, Outcome, Rule};
use super::draw::Random;
use super::equivalence::within;
use super::family::holm;
use super::stratified::{self, POINT};
use super::{Cell, differences, paired};

/// The most results of a design that are enumerated.
const ENUMERATED: f64 = 20_000.0;
/// How many runs are simulated of one that has more: the standard error is .8 points at the most.
pub const RUNS: u32 = 4_000;

/// A comparison of candidates with a control, as planned: every trial passes or fails.
#[derive(Debug, Clone, PartialEq)]
pub struct Design {
    /// The control's pass rate on each objective.
    pub control: Vec<f64>,
    /// Those of each candidate. The chances are of the first one's verdicts; the others are its family.
    pub candidates: Vec<Vec<f64>>,
    /// How often the control is run.
    pub control_repeats: u32,
    /// How often each candidate is run.
    pub repeats: u32,
    /// When a difference is one.
    pub rule: Rule,
}

/// The chance of each verdict.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chances {
    /// Of [`Outcome::Regression`].
    pub regression: f64,
    /// Of [`Outcome::Improvement`].
    pub improvement: f64,
    /// Of [`Outcome::NoChange`].
    pub no_change: f64,
    /// Of [`Outcome::Inconclusive`].
    pub inconclusive: f64,
    /// In how many simulated runs; `None` where they are exact.
    pub runs: Option<u32>,
}

impl Chances {
    const NONE: Self = Self {
        regression: 0.0,
        improvement: 0.0,
        no_change: 0.0,
        inconclusive: 0.0,
        runs: None,
    };

    fn add(&mut self, outcome: Outcome, chance: f64) {
        match outcome {
            Outcome::Regression => self.regression += chance,
            Outcome::Improvement => self.improvement += chance,
            Outcome::NoChange => self.no_change += chance,
            Outcome::Inconclusive => self.inconclusive += chance,
        }
    }
}

/// How many trials passed: for each arm, the control first, on each objective.
type Passed = Vec<Vec<u32>>;

impl Design {
    /// The chance of each verdict on the first candidate. Exact where that is cheap; else of [`RUNS`] runs that depend on the
    /// seed only.
    #[must_use]
    pub fn chances(&self, seed: u64) -> Chances {
        let a_cell = f64::from(self.control_repeats + 1)
            * f64::from(self.repeats + 1).powf(self.candidates.len() as f64);
        if a_cell.powf(self.control.len() as f64) <= ENUMERATED {
            self.enumerated()
        } else {
            self.simulated(seed, RUNS)
        }
    }

    /// The same from a number of runs.
    #[must_use]
    pub fn simulated(&self, seed: u64, runs: u32) -> Chances {
        let mut random = Random::new(seed);
        let mut chances = Chances::NONE;
        for _ in 0..runs {
            let passed: Passed = self
                .arms()
                .map(|(rates, repeats)| {
                    let one = |rate: &f64| random.passed(*rate, repeats);
                    rates.iter().map(one).collect()
                })
                .collect();
            chances.add(self.decide(&passed), 1.0 / f64::from(runs.max(1)));
        }
        Chances {
            runs: Some(runs),
            ..chances
        }
    }

    /// The control and the candidates, with how often each is run.
    fn arms(&self) -> impl Iterator<Item = (&Vec<f64>, u32)> {
        let candidates = self.candidates.iter().map(|rates| (rates, self.repeats));
        std::iter::once((&self.control, self.control_repeats)).chain(candidates)
    }

    fn enumerated(&self) -> Chances {
        let cells: Vec<(f64, u32)> = self
            .arms()
            .flat_map(|(rates, repeats)| rates.iter().map(move |rate| (*rate, repeats)))
            .collect();
        let width = self.control.len();
        let mut passed = vec![0; cells.len()];
        let mut chances = Chances::NONE;
        loop {
            let chance: f64 = cells
                .iter()
                .zip(&passed)
                .map(|((rate, repeats), passed)| binomial(*rate, *repeats, *passed))
                .product();
            if chance > 0.0 {
                let by_arm: Passed = passed.chunks(width.max(1)).map(<[u32]>::to_vec).collect();
                chances.add(self.decide(&by_arm), chance);
            }
            // Counts up, as a clock does.
            let mut places = passed.iter_mut().zip(&cells);
            let turned = places.find_map(|(passed, (_, repeats))| {
                if *passed == *repeats {
                    *passed = 0;
                    None
                } else {
                    *passed += 1;
                    Some(())
                }
            });
            if turned.is_none() {
                return chances;
            }
        }
    }

    fn decide(&self, passed: &Passed) -> Outcome {
        let scores: Vec<Vec<Vec<f64>>> = self
            .arms()
            .zip(passed)
            .map(|((_, repeats), passed)| {
                let one = |passed: &u32| {
                    (0..repeats)
                        .map(|at| f64::from(u8::from(at < *passed)))
                        .collect()
                };
                passed.iter().map(one).collect()
            })
            .collect();
        let Some((control, candidates)) = scores.split_first() else {
            return Outcome::Inconclusive;
        };
        let compared = candidates.iter().map(|it| paired(control, it));
        let compared: Vec<Vec<Cell<'_>>> = compared.collect();
        let tests: Vec<Option<stratified::Exact>> = compared
            .iter()
            .map(|cells| stratified::test(cells, POINT))
            .collect();
        let first = compared.first().map_or_else(Vec::new, |it| differences(it));
        let Some(Some(exact)) = tests.first() else {
            return Outcome::Inconclusive;
        };
        let adjusted = |one: fn(&stratified::Exact) -> f64| {
            let all: Vec<f64> = tests
                .iter()
                .map(|test| test.as_ref().map_or(1.0, one))
                .collect();
            holm(&all)[0]
        };
        let binary = self.repeats == 1 && self.control_repeats == 1;
        self.rule.decide(&Found {
            loss: exact.drop,
            worse: adjusted(|exact| exact.mid_p),
            better: adjusted(stratified::Exact::mid_p_higher),
            same: within(&first, self.rule.margin, binary).is_some_and(|it| it.same),
        })
    }
}

fn binomial(rate: f64, all: u32, passed: u32) -> f64 {
    let (all, passed) = (all as usize, passed as usize);
    let power = |base: f64, times: usize| base.powf(times as f64);
    super::repeats::choose(all, passed) * power(rate, passed) * power(1.0 - rate, all - passed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::golden::{close, golden, numbers};

    fn design(case: &serde_json::Value) -> Design {
        let whole = |key: &str| u32::try_from(case[key].as_u64().unwrap()).unwrap();
        Design {
            control: numbers(&case["p"]),
            candidates: vec![numbers(&case["q"])],
            control_repeats: whole("k_a"),
            repeats: whole("k_b"),
            rule: Rule {
                level: 0.05,
                threshold: 0.05,
                margin: case["delta"].as_f64().unwrap_or(0.05),
            },
        }
    }

    #[test]
    fn the_golden_chances_are_met() {
        for case in golden(2)["operating_characteristics"].as_array().unwrap() {
            let design = design(case);
            if case["method"] == "exact" {
                let got = design.enumerated();
                for (key, got) in [
                    ("regression", got.regression),
                    ("improvement", got.improvement),
                    ("no_change", got.no_change),
                    ("inconclusive", got.inconclusive),
                ] {
                    close(got, case[key].as_f64().unwrap(), 1e-9, key);
                }
                continue;
            }
            let runs = 200;
            let got = design.simulated(1, runs);
            for (key, got) in [
                ("regression", got.regression),
                ("improvement", got.improvement),
            ] {
                let p = case[key]["p"].as_f64().unwrap();
                let own = (p * (1.0 - p) / f64::from(runs)).sqrt();
                close(
                    got,
                    p,
                    5.0 * own.hypot(case[key]["se"].as_f64().unwrap()) + 1e-3,
                    key,
                );
            }
        }
    }

    #[test]
    fn counting_and_drawing_agree() {
        let design = Design {
            control: vec![0.9, 0.7],
            candidates: vec![vec![0.3, 0.2], vec![0.9, 0.7]],
            control_repeats: 3,
            repeats: 2,
            rule: Rule {
                level: 0.05,
                threshold: 0.05,
                margin: 0.05,
            },
        };
        let (exact, drawn) = (design.enumerated(), design.simulated(3, RUNS));
        let error = (exact.regression * (1.0 - exact.regression) / f64::from(RUNS)).sqrt();
        close(
            drawn.regression,
            exact.regression,
            4.0 * error,
            "regression",
        );
        let all = exact.regression + exact.improvement + exact.no_change + exact.inconclusive;
        close(all, 1.0, 1e-9, "all of it");
    }
}
