//! Who leads, before it is run: the chance that a lead is shown to be real.

use super::plan::SHAPES;
use super::{RUNS, Rates, Scores, Trials, mid_p};
use crate::statistics::draw::Random;
use crate::statistics::{mean, paired, significant};

/// Means that are this near are the same.
const SAME: f64 = 1e-9;

/// Candidates that are compared with each other, of which one is ahead of all others by the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Leading {
    /// The rates of the one that is ahead.
    pub rates: Rates,
    /// By how much those of all others are lower, in `0..=1`; as far as a rate can be.
    pub lead: f64,
    /// What a trial gives.
    pub trials: Trials,
    /// How many candidates there are, the one that is ahead among them.
    pub candidates: usize,
    /// How often each is run.
    pub repeats: u32,
    /// At which level a lead is real.
    pub level: f64,
}

/// How often which is said to lead.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Led {
    /// The one that is ahead, and its lead is real.
    pub shown: f64,
    /// Another one, and its lead is real.
    pub wrong: f64,
    /// In how many simulated runs.
    pub runs: u32,
}

impl Leading {
    /// How often which is said to lead, in [`RUNS`] runs that depend on the seed only.
    #[must_use]
    pub fn chances(&self, seed: u64) -> Led {
        self.simulated(seed, RUNS)
    }

    /// The same in a number of runs.
    #[must_use]
    pub fn simulated(&self, seed: u64, runs: u32) -> Led {
        let mut random = Random::new(seed);
        let (mut shown, mut wrong) = (0_u32, 0_u32);
        for _ in 0..runs {
            match self.winner(&mut random) {
                Some(0) => shown += 1,
                Some(_) => wrong += 1,
                None => {}
            }
        }
        let share = |count: u32| f64::from(count) / f64::from(runs.max(1));
        Led {
            shown: share(shown),
            wrong: share(wrong),
            runs,
        }
    }

    /// Who is ahead of all others in one run, where that is no chance.
    fn winner(&self, random: &mut Random) -> Option<usize> {
        let (a, b) = SHAPES;
        let best: Vec<f64> = match &self.rates {
            Rates::Known(rates) => rates.clone(),
            Rates::Drawn(objectives) => (0..*objectives).map(|_| random.beta(a, b)).collect(),
        };
        let behind = best.iter().map(|rate| (rate - self.lead).clamp(0.0, 1.0));
        let behind: Vec<f64> = behind.collect();
        let arms: Vec<Scores> = (0..self.candidates)
            .map(|at| {
                let rates = if at == 0 { &best } else { &behind };
                let drawn = |rate: &f64| self.trials.drawn(*rate, self.repeats, random);
                rates.iter().map(drawn).collect()
            })
            .collect();
        leader(&arms, self.level)
    }
}

/// Who is ahead of all others at a level: as [`Pairs::lead`](crate::statistics::lead::Pairs::lead) finds it, without the pairs that do not decide.
fn leader(arms: &[Scores], level: f64) -> Option<usize> {
    let mean_of = |arm: &Scores| {
        let means: Vec<f64> = arm.iter().filter_map(|it| mean(it)).collect();
        mean(&means)
    };
    let means: Vec<f64> = arms.iter().map(mean_of).collect::<Option<_>>()?;
    let best = means.iter().copied().reduce(f64::max)?;
    let mut first = (0..arms.len()).filter(|arm| best - means[*arm] <= SAME);
    let (winner, None) = (first.next()?, first.next()) else {
        return None;
    };
    let is_behind = |other: usize| {
        let (lower, higher) = mid_p(&paired(&arms[winner], &arms[other]));
        significant((2.0 * lower.min(higher)).min(1.0), level)
    };
    // The nearest first: it is the one that most often is not separated.
    let mut others: Vec<usize> = (0..arms.len()).filter(|arm| *arm != winner).collect();
    others.sort_by(|a, b| means[*b].total_cmp(&means[*a]));
    others.into_iter().all(is_behind).then_some(winner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::lead::{Lead, Pairs};

    fn leading(lead: f64, candidates: usize) -> Leading {
        Leading {
            rates: Rates::Known(vec![1.0, 0.9, 0.8, 0.7, 0.95, 0.6]),
            lead,
            trials: Trials::Points { deviation: 0.2 },
            candidates,
            repeats: 3,
            level: 0.05,
        }
    }

    #[test]
    fn equal_candidates_rarely_lead_and_a_large_lead_is_mostly_shown() {
        for candidates in [2, 3] {
            let none = leading(0.0, candidates).simulated(1, 600);
            assert!(none.shown + none.wrong < 0.09, "{none:?}");
            let large = leading(0.3, candidates).simulated(1, 300);
            assert!(large.shown > 0.8 && large.wrong < 0.01, "{large:?}");
            assert_eq!(large, leading(0.3, candidates).simulated(1, 300));
        }
        let unknown = Leading {
            rates: Rates::Drawn(8),
            ..leading(0.3, 2)
        };
        assert!(unknown.simulated(1, 200).shown > 0.5);
    }

    #[test]
    fn one_alone_leads_and_nobody_does_without_trials() {
        assert!((leading(0.2, 1).simulated(1, 10).shown - 1.0).abs() < 1e-12);
        let none = Leading {
            repeats: 0,
            ..leading(0.2, 2)
        };
        assert!(none.simulated(1, 10).shown.abs() < 1e-12);
        assert_eq!(leader(&[], 0.05), None);
    }

    #[test]
    fn it_is_who_the_standings_name() {
        let mut random = Random::new(3);
        for at in 0..60 {
            let lead = f64::from(at % 4) / 10.0;
            let arms: Vec<Scores> = (0..3)
                .map(|arm| {
                    let rate = if arm == 1 { 0.9 } else { 0.9 - lead };
                    (0..6)
                        .map(|_| Trials::Pass.drawn(rate, 3, &mut random))
                        .collect()
                })
                .collect();
            let expected = match Pairs::of(&arms).lead(0.05) {
                Lead::Clear { winner, .. } => Some(winner),
                Lead::Nobody | Lead::Tie(_) | Lead::Unclear { .. } => None,
            };
            assert_eq!(leader(&arms, 0.05), expected, "{arms:?}");
        }
    }
}
