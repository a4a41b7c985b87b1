//! What a comparison can conclude before it is run: the chance of each verdict.
//!
//! The same functions decide here and in a run. Small designs are enumerated, larger ones simulated with a seed. A [`Plan`] is what is
//! known before a run; it makes a [`Design`] of it, which has a rate for every objective.

mod leading;
mod plan;

pub use self::leading::{Leading, Led};
pub use self::plan::{Plan, Rates};

use super::decision::{Found, Outcome, Rule};
use super::draw::Random;
use super::equivalence::Sameness;
use super::family::holm;
use super::stratified::{self, POINT};
use super::{Cell, differences, mean, paired, variance};

/// The most results of a design that are enumerated.
const ENUMERATED: f64 = 20_000.0;
/// The most steps of an exact test in a simulated run, and the most trials of both sides. Beyond either, the
/// [approximate](stratified::approximate) one errs by less than a tenth of the standard error of the answer.
const STEPS: f64 = 2e5;
const TRIALS: usize = 500;
/// What is taken for the standard deviation of points where no objective has been repeated.
const UNKNOWN: f64 = 0.2;
/// How many runs are simulated of one that has more: the standard error is .8 points at the most.
pub const RUNS: u32 = 4_000;

/// What a trial gives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Trials {
    /// It passes or fails.
    Pass,
    /// Whole points of the beta distribution around the rate, with this standard deviation in `0..=1` where the rate allows it.
    Points {
        /// Of the trials of one objective.
        deviation: f64,
    },
}

/// With whom the candidates of a family are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controls {
    /// All with the trials of one control.
    Shared,
    /// Each with trials of its own: what it was.
    Own,
}

/// A comparison of candidates with a control, as planned.
#[derive(Debug, Clone, PartialEq)]
pub struct Design {
    /// Whether the candidates share it.
    pub controls: Controls,
    /// The control's rate on each objective: how often it passes, or its mean score.
    pub control: Vec<f64>,
    /// Those of each candidate. The chances are of the first one's verdicts; the others are its family.
    pub candidates: Vec<Vec<f64>>,
    /// How often the control is run.
    pub control_repeats: u32,
    /// How often each candidate is run.
    pub repeats: u32,
    /// What a trial gives.
    pub trials: Trials,
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

    /// The standard error of one of these chances; 0 where they are exact.
    #[must_use]
    pub fn standard_error(&self, chance: f64) -> f64 {
        let of = |runs: u32| {
            (chance * (1.0 - chance) / f64::from(runs.max(1)))
                .max(0.0)
                .sqrt()
        };
        self.runs.map_or(0.0, of)
    }

    /// From counts in so many runs.
    fn shared(self, runs: u32) -> Self {
        let share = |count: f64| count / f64::from(runs.max(1));
        Self {
            regression: share(self.regression),
            improvement: share(self.improvement),
            no_change: share(self.no_change),
            inconclusive: share(self.inconclusive),
            runs: Some(runs),
        }
    }

    fn add(&mut self, outcome: Outcome, chance: f64) {
        match outcome {
            Outcome::Regression => self.regression += chance,
            Outcome::Improvement => self.improvement += chance,
            Outcome::NoChange => self.no_change += chance,
            Outcome::Inconclusive => self.inconclusive += chance,
        }
    }
}

/// The scores of an arm: for each objective, of its trials.
type Scores = Vec<Vec<f64>>;

impl Design {
    /// The chance of each verdict on the first candidate. Exact where that is cheap; else of [`RUNS`] runs that depend on the
    /// seed only.
    #[must_use]
    pub fn chances(&self, seed: u64) -> Chances {
        let results: f64 = self
            .arms()
            .map(|(rates, repeats)| f64::from(repeats + 1).powf(rates.len() as f64))
            .product();
        if self.trials == Trials::Pass && results <= ENUMERATED {
            self.enumerated()
        } else {
            self.simulated(seed, RUNS)
        }
    }

    /// The same from a number of runs.
    #[must_use]
    pub fn simulated(&self, seed: u64, runs: u32) -> Chances {
        let mut random = Random::new(seed);
        let judge = Judge::new(self.rule, self.controls, self.control.len());
        let mut chances = Chances::NONE;
        for _ in 0..runs {
            chances.add(self.drawn(&judge, &mut random), 1.0);
        }
        chances.shared(runs)
    }

    /// The verdict of one run.
    fn drawn(&self, judge: &Judge, random: &mut Random) -> Outcome {
        let scores: Vec<Scores> = self
            .arms()
            .map(|(rates, repeats)| {
                let one = |rate: &f64| self.trials.drawn(*rate, repeats, random);
                rates.iter().map(one).collect()
            })
            .collect();
        judge.decide(&scores)
    }

    /// The control and the candidates, with how often each is run; before each candidate its own control, where it has one.
    fn arms(&self) -> impl Iterator<Item = (&Vec<f64>, u32)> {
        let control = (&self.control, self.control_repeats);
        let candidates = self.candidates.iter().enumerate();
        let candidates = candidates.flat_map(move |(at, rates)| {
            let own = (self.controls == Controls::Own && at > 0).then_some(control);
            own.into_iter().chain([(rates, self.repeats)])
        });
        std::iter::once(control).chain(candidates)
    }

    fn enumerated(&self) -> Chances {
        let cells: Vec<(f64, u32)> = self
            .arms()
            .flat_map(|(rates, repeats)| rates.iter().map(move |rate| (*rate, repeats)))
            .collect();
        let width = self.control.len();
        let judge = Judge::new(self.rule, self.controls, width);
        let mut passed = vec![0; cells.len()];
        let mut chances = Chances::NONE;
        loop {
            let chance: f64 = cells
                .iter()
                .zip(&passed)
                .map(|((rate, repeats), passed)| binomial(*rate, *repeats, *passed))
                .product();
            if chance > 0.0 {
                let cells = passed.iter().zip(&cells);
                let scores: Scores = cells
                    .map(|(passed, (_, all))| passes(*passed, *all))
                    .collect();
                let by_arm: Vec<Scores> = scores.chunks(width.max(1)).map(<[_]>::to_vec).collect();
                chances.add(judge.decide(&by_arm), chance);
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
}

impl Trials {
    /// What those of an earlier run give, one list of scores an objective.
    #[must_use]
    pub fn of_scores(objectives: &[Vec<f64>]) -> Self {
        let is_pass = |score: &f64| score.abs() < 1e-9 || (score - 1.0).abs() < 1e-9;
        if objectives.iter().flatten().all(is_pass) {
            return Self::Pass;
        }
        let (mut squares, mut free) = (0.0, 0.0);
        for scores in objectives {
            let own = scores.len().saturating_sub(1) as f64;
            squares += variance(scores).unwrap_or(0.0) * own;
            free += own;
        }
        let variance = if free > 0.0 {
            squares / free
        } else {
            UNKNOWN.powi(2)
        };
        Self::Points {
            deviation: variance.max(0.0).sqrt(),
        }
    }

    /// The scores of so many trials.
    fn drawn(self, rate: f64, repeats: u32, random: &mut Random) -> Vec<f64> {
        match self {
            Self::Pass => passes(random.passed(rate, repeats), repeats),
            Self::Points { deviation } => {
                let rate = rate.clamp(0.0, 1.0);
                // No distribution on 0 to 1 varies more than one of passes does.
                let most = rate * (1.0 - rate);
                let shape = most / deviation.powi(2).max(1e-6) - 1.0;
                let one = |_| {
                    let score = if most < 1e-6 {
                        rate
                    } else if shape > 1e-3 {
                        random.beta(rate * shape, (1.0 - rate) * shape)
                    } else {
                        f64::from(u8::from(random.passes(rate)))
                    };
                    (score * 100.0).round() / 100.0
                };
                (0..repeats).map(one).collect()
            }
        }
    }
}

fn passes(passed: u32, all: u32) -> Vec<f64> {
    (0..all)
        .map(|at| f64::from(u8::from(at < passed)))
        .collect()
}

/// Who decides over many runs of the same size.
struct Judge {
    rule: Rule,
    controls: Controls,
    sameness: Sameness,
}

impl Judge {
    fn new(rule: Rule, controls: Controls, objectives: usize) -> Self {
        Self {
            rule,
            controls,
            sameness: Sameness::new(objectives, rule.margin),
        }
    }

    /// The verdict on the first candidate: of the same functions as in a run, but that none is asked for what its answer cannot change.
    fn decide(&self, scores: &[Scores]) -> Outcome {
        let compared: Vec<Vec<Cell<'_>>> = match self.controls {
            Controls::Shared => {
                let candidates = scores.iter().skip(1);
                candidates.map(|it| paired(&scores[0], it)).collect()
            }
            Controls::Own => {
                let both = scores.chunks_exact(2);
                both.map(|both| paired(&both[0], &both[1])).collect()
            }
        };
        let differences = compared.first().map_or_else(Vec::new, |it| differences(it));
        let Some(difference) = mean(&differences) else {
            return Outcome::Inconclusive;
        };
        let found = Found {
            loss: -difference,
            worse: 0.0,
            better: 0.0,
            same: false,
        };
        // With the smallest p-values that there are: if that is no difference, none of them needs to be known.
        let large = self.rule.decide(&found) != Outcome::Inconclusive;
        let decided = if large {
            let found = Self::tested(&compared, found);
            self.rule.decide(&found)
        } else {
            Outcome::Inconclusive
        };
        let one_pass = |scores: &Vec<f64>| matches!(scores[..], [one] if one.abs() < 1e-9 || (one - 1.0).abs() < 1e-9);
        let binary = || scores.iter().take(2).flatten().all(one_pass);
        if decided == Outcome::Inconclusive && self.sameness.shown(&differences, binary()) {
            return Outcome::NoChange;
        }
        decided
    }

    fn tested(compared: &[Vec<Cell<'_>>], found: Found) -> Found {
        // Of each, the mid-p of *is it lower?* and of *is it higher?*
        let tests: Vec<(f64, f64)> = compared.iter().map(|cells| mid_p(cells)).collect();
        let adjusted = |one: fn(&(f64, f64)) -> f64| {
            let all: Vec<f64> = tests.iter().map(one).collect();
            holm(&all).first().copied().unwrap_or(1.0)
        };
        Found {
            worse: adjusted(|(lower, _)| *lower),
            better: adjusted(|(_, higher)| *higher),
            ..found
        }
    }
}

fn mid_p(cells: &[Cell<'_>]) -> (f64, f64) {
    let trials: usize = cells
        .iter()
        .map(|it| it.baseline.len() + it.candidate.len())
        .sum();
    if trials <= TRIALS && stratified::cost(cells, POINT) <= STEPS {
        let exact = stratified::test(cells, POINT);
        exact.map_or((1.0, 1.0), |it| (it.mid_p, it.mid_p_higher()))
    } else {
        let near = stratified::approximate(cells);
        near.map_or((1.0, 1.0), |it| (it.mid_p, it.mid_p_higher()))
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
            controls: Controls::Shared,
            control: numbers(&case["p"]),
            candidates: vec![numbers(&case["q"])],
            control_repeats: whole("k_a"),
            repeats: whole("k_b"),
            trials: Trials::Pass,
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
    fn what_is_drawn_is_within_two_standard_errors_of_what_is_counted() {
        for case in golden(2)["operating_characteristics"].as_array().unwrap() {
            if case["method"] != "exact" {
                continue;
            }
            let design = design(case);
            let (exact, drawn) = (design.chances(1), design.simulated(4, RUNS));
            for (exact, drawn) in [
                (exact.regression, drawn.regression),
                (exact.improvement, drawn.improvement),
                (exact.no_change, drawn.no_change),
                (exact.inconclusive, drawn.inconclusive),
            ] {
                let error = (exact * (1.0 - exact)).max(0.0) / f64::from(RUNS);
                close(drawn, exact, 2.0 * error.sqrt() + 1e-9, "drawn");
            }
        }
    }

    #[test]
    fn counting_and_drawing_agree() {
        let design = Design {
            controls: Controls::Shared,
            control: vec![0.9, 0.7],
            candidates: vec![vec![0.3, 0.2], vec![0.9, 0.7]],
            control_repeats: 3,
            repeats: 2,
            trials: Trials::Pass,
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

    #[test]
    fn points_have_the_mean_and_the_deviation_that_are_asked_for() {
        let mut random = Random::new(8);
        for (rate, deviation) in [(0.5, 0.2), (0.9, 0.05), (0.3, 0.1)] {
            let got = Trials::Points { deviation }.drawn(rate, 20_000, &mut random);
            close(mean(&got).unwrap(), rate, 0.005, "mean");
            let own = crate::statistics::variance(&got).unwrap().sqrt();
            close(own, deviation, 0.006, "deviation");
        }
        // Whatever is asked for, a score is one.
        for (rate, deviation) in [(0.0, 0.2), (1.0, 0.2), (0.5, 0.0), (0.5, 9.0), (2.0, 0.1)] {
            for score in (Trials::Points { deviation }).drawn(rate, 200, &mut random) {
                assert!((0.0..=1.0).contains(&score), "{score}");
            }
        }
    }

    #[test]
    fn what_trials_give_is_seen_in_an_earlier_run() {
        assert_eq!(
            Trials::of_scores(&[vec![0.0, 1.0], vec![1.0], vec![]]),
            Trials::Pass
        );
        assert_eq!(Trials::of_scores(&[]), Trials::Pass);
        let Trials::Points { deviation } =
            Trials::of_scores(&[vec![0.2, 0.4], vec![0.7, 0.9], vec![1.0]])
        else {
            panic!("points");
        };
        close(deviation, 0.02_f64.sqrt(), 1e-12, "deviation");
        let alone = Trials::of_scores(&[vec![0.5], vec![0.7]]);
        assert_eq!(alone, Trials::Points { deviation: UNKNOWN });
    }

    #[test]
    fn a_large_run_is_judged_as_a_small_one_is() {
        // Just below and just above what is tested exactly.
        let of = |repeats| Design {
            controls: Controls::Shared,
            control: vec![0.7; 50],
            candidates: vec![vec![0.6; 50]],
            control_repeats: repeats,
            repeats,
            trials: Trials::Pass,
            rule: Rule {
                level: 0.05,
                threshold: 0.05,
                margin: 0.05,
            },
        };
        let (exact, near) = (of(5).simulated(1, 300), of(6).simulated(1, 300));
        assert!(
            (exact.regression - near.regression).abs() < 0.15,
            "{exact:?} {near:?}"
        );
        assert!(near.regression > 0.6 && near.improvement < 0.01, "{near:?}");
    }

    #[test]
    fn nothing_to_compare_is_inconclusive() {
        let design = Design {
            controls: Controls::Shared,
            control: vec![],
            candidates: vec![],
            control_repeats: 3,
            repeats: 3,
            trials: Trials::Pass,
            rule: Rule {
                level: 0.05,
                threshold: 0.05,
                margin: 0.05,
            },
        };
        close(design.chances(1).inconclusive, 1.0, 1e-12, "nothing");
        let design = Design {
            controls: Controls::Shared,
            control: vec![0.5],
            candidates: vec![vec![0.5]],
            repeats: 0,
            ..design
        };
        close(design.chances(1).inconclusive, 1.0, 1e-12, "no trial");
    }
}
