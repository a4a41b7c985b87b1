//! How much more would settle a comparison that is inconclusive.
//!
//! Continuations are simulated: what has been run stays, what is added is drawn from what was seen, and [`Rule`] decides, until in three of five
//! it says what the truth is that they were drawn from. Repeats take the noise within objectives away, but not that one objective gains and another loses: *no change* needs
//! an interval over objectives, which that keeps wide however often they are repeated. Then only more objectives help.

mod kind;

use self::kind::{Kind, Spread};
use super::decision::{Found, Outcome, Rule};
use super::distribution::normal;
use super::draw::Random;
use super::equivalence::Sameness;
use super::{Cell, mean, variance};

/// In how many of the continuations a verdict is wanted; more than a half, because the truth is only estimated.
const WANTED: f64 = 0.6;
/// How many continuations are drawn for each number at the most, and at the least.
const CONTINUATIONS: (u32, u32) = (200, 40);
/// How many objectives are drawn for each number, about, where that leaves enough continuations.
const DRAWS: usize = 10_000;
/// By how much candidates are usually off each other: a larger difference that was seen is in part luck.
const USUAL: f64 = 0.1;

/// What is taken for the truth when continuations are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// On each objective just what was seen, however few its trials are: so differences between objectives that are noise are taken for
    /// real, and *no change* is often out of reach.
    Observed,
    /// What may be behind it, drawn anew for every continuation: the mean difference with its error, of which a part is luck, and
    /// between objectives what is more than the noise of their trials.
    Likely,
}

/// What would settle it; at least 1 where there is something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// So many more repeats of the side with fewer, and of the other in proportion.
    pub repeats: Option<u32>,
    /// Where no number of repeats would: so many more objectives of this kind, with as many repeats as these have.
    pub objectives: Option<u32>,
}

/// How many more trials would settle a comparison of scores in `0..=1`, up to `most`. `rule.level` is that of this comparison, less
/// than the family's where it has one. Depends on the seed only. Neither for cells that cannot be compared.
///
/// Costs about ten milliseconds on ten objectives, and less than a tenth of a second on a thousand.
#[must_use]
pub fn settle(cells: &[Cell<'_>], rule: &Rule, truth: Truth, most: u32, seed: u64) -> Settled {
    let neither = Settled {
        repeats: None,
        objectives: None,
    };
    let Some(known) = Known::of(cells, *rule, truth, seed) else {
        return neither;
    };
    let first = |share: &dyn Fn(u32) -> f64| first(most, |more| share(more) >= WANTED);
    match first(&|more| known.repeated(more)) {
        None => Settled {
            objectives: first(&|more| known.enlarged(more)),
            ..neither
        },
        repeats => Settled { repeats, ..neither },
    }
}

/// The first number up to `most` that is enough, where more than enough is enough: nearly so with what is drawn.
fn first(most: u32, enough: impl Fn(u32) -> bool) -> Option<u32> {
    let (mut short, mut at) = (0, 1);
    while at < most && !enough(at) {
        (short, at) = (at, at.saturating_add(at.div_ceil(2)));
    }
    let mut enough_at = at.min(most);
    if most == 0 || (at >= most && !enough(most)) {
        return None;
    }
    while enough_at - short > 1 {
        let middle = short.midpoint(enough_at);
        if enough(middle) {
            enough_at = middle;
        } else {
            short = middle;
        }
    }
    Some(enough_at)
}

/// A comparison, and what is known of its truth.
struct Known {
    /// With what was seen taken for the truth.
    kinds: Vec<Kind>,
    rule: Rule,
    truth: Truth,
    /// How often each side is run, where nothing was lost.
    repeats: [u32; 2],
    seed: u64,
    /// The mean difference, its variance over objectives, and the part of that which comes from trials.
    difference: f64,
    variance: f64,
    noise: f64,
}

impl Known {
    fn of(cells: &[Cell<'_>], rule: Rule, truth: Truth, seed: u64) -> Option<Self> {
        let both = |cell: &&Cell<'_>| !cell.baseline.is_empty() && !cell.candidate.is_empty();
        let cells: Vec<&Cell<'_>> = cells.iter().filter(both).collect();
        let usual = |side: fn(&Cell<'_>) -> usize| {
            let most = cells.iter().map(|cell| side(cell)).max();
            u32::try_from(most.unwrap_or(0)).unwrap_or(u32::MAX)
        };
        let spread = Spread::of(&cells);
        let kinds: Vec<Kind> = cells.iter().map(|cell| Kind::of(cell, &spread)).collect();
        let differences: Vec<f64> = kinds.iter().map(Kind::difference).collect();
        let noises: Vec<f64> = kinds.iter().map(Kind::noise).collect();
        Some(Self {
            rule,
            truth,
            repeats: [
                usual(|cell| cell.baseline.len()),
                usual(|cell| cell.candidate.len()),
            ],
            seed,
            difference: mean(&differences)?,
            variance: variance(&differences).unwrap_or(0.0),
            noise: mean(&noises)?,
            kinds,
        })
    }

    /// In which share of the continuations with so many more repeats there is a verdict.
    fn repeated(&self, more: u32) -> f64 {
        let [a, b] = self.repeats;
        let of = |side: u32| f64::from(more) * f64::from(side) / f64::from(a.min(b));
        let more = [whole(of(a)), whole(of(b))];
        self.share(self.kinds.len(), |random, kinds, objectives| {
            objectives.extend(kinds.iter().map(|kind| kind.continued(more, random)));
        })
    }

    /// In which share of those with so many more objectives there is one.
    fn enlarged(&self, more: u32) -> f64 {
        let count = self.kinds.len();
        self.share(count + more as usize, |random, kinds, objectives| {
            objectives.extend_from_slice(kinds);
            objectives.extend((0..more).map(|_| {
                let like = random.next() % u64::try_from(count).unwrap_or(1);
                let kind = &kinds[usize::try_from(like).unwrap_or(0)];
                kind.afresh().continued(self.repeats, random)
            }));
        })
    }

    fn share(&self, count: usize, continued: impl Fn(&mut Random, &[Kind], &mut Vec<Kind>)) -> f64 {
        let (most, least) = CONTINUATIONS;
        let many = u32::try_from(DRAWS / count).unwrap_or(most);
        let many = many.clamp(least, most);
        // The same chance for every number, so that more is not less by chance.
        let mut random = Random::new(self.seed);
        let sameness = Sameness::new(count, self.rule.margin);
        let mut kinds = self.kinds.clone();
        let mut objectives = Vec::with_capacity(count);
        let settled = (0..many).filter(|_| {
            match self.truth {
                Truth::Observed => {}
                Truth::Likely => self.supposed(&mut random, &mut kinds),
            }
            objectives.clear();
            continued(&mut random, &kinds, &mut objectives);
            let truth: f64 = kinds.iter().map(Kind::supposed).sum();
            self.is_settled(&objectives, truth / kinds.len() as f64, &sameness)
        });
        settled.count() as f64 / f64::from(many)
    }

    /// Rates as they may be in truth: of the mean difference, of the variance between objectives, and of each of these.
    fn supposed(&self, random: &mut Random, kinds: &mut [Kind]) {
        let free = (kinds.len() - 1) as f64;
        let squared_error = self.noise / kinds.len() as f64;
        let believed = USUAL.powi(2) / (USUAL.powi(2) + squared_error);
        let error = (squared_error * believed).sqrt();
        let overall = random.normal().mul_add(error, self.difference * believed);
        let whole = if free > 0.0 {
            self.variance * free / (2.0 * random.gamma(free / 2.0)).max(f64::MIN_POSITIVE)
        } else {
            0.0
        };
        let between = (whole - self.noise).max(0.0);
        for (kind, seen) in kinds.iter_mut().zip(&self.kinds) {
            let noise = seen.noise();
            let kept = if between > 0.0 {
                between / (between + noise)
            } else {
                0.0
            };
            let own = kept * (seen.difference() - self.difference);
            let off = random.normal() * (kept * noise).sqrt();
            kind.suppose(overall + own + off);
        }
    }

    /// Whether there is the verdict that this true difference deserves, with the exact test by its mean and its variance. Any other is
    /// luck, and the next continuation would have it the other way.
    fn is_settled(&self, objectives: &[Kind], truth: f64, sameness: &Sameness) -> bool {
        let (mut off, mut variance) = (0.0, 0.0);
        for kind in objectives {
            let (more, spread) = kind.permuted();
            off += more;
            variance += spread;
        }
        let worse = if variance > 0.0 {
            normal(-off / variance.sqrt())
        } else {
            0.5
        };
        let differences: Vec<f64> = objectives.iter().map(Kind::difference).collect();
        let found = Found {
            loss: -mean(&differences).unwrap_or(0.0),
            worse,
            better: 1.0 - worse,
            // Looked at by itself, because most of the time it need not be.
            same: false,
        };
        let binary = objectives.iter().all(Kind::is_one_pass);
        match self.rule.decide(&found) {
            Outcome::Regression => -truth >= self.rule.threshold,
            Outcome::Improvement => truth >= self.rule.threshold,
            Outcome::NoChange | Outcome::Inconclusive => {
                truth.abs() <= self.rule.margin && sameness.shown(&differences, binary)
            }
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positive, and the cast saturates"
)]
fn whole(value: f64) -> u32 {
    value.round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::equivalence::within;
    use crate::statistics::stratified::{self, POINT};
    use crate::statistics::{differences, paired};
    use proptest::prelude::*;

    const RULE: Rule = Rule {
        level: 0.05,
        threshold: 0.05,
        margin: 0.05,
    };

    type Arm = Vec<Vec<f64>>;

    fn decided(a: &Arm, b: &Arm) -> Outcome {
        let cells = paired(a, b);
        let exact = stratified::test(&cells, POINT).unwrap();
        RULE.decide(&Found {
            loss: exact.drop,
            worse: exact.mid_p,
            better: exact.mid_p_higher(),
            same: within(&differences(&cells), RULE.margin, false).is_some_and(|it| it.same),
        })
    }

    /// A score: a pass, or points around the rate.
    fn score(random: &mut Random, graded: bool, rate: f64) -> f64 {
        let rate = rate.clamp(0.01, 0.99);
        if graded {
            (random.beta(6.0 * rate, 6.0 * (1.0 - rate)) * 100.0).round() / 100.0
        } else {
            f64::from(u8::from(random.passes(rate)))
        }
    }

    fn arm(random: &mut Random, graded: bool, rates: &[f64], repeats: u32) -> Arm {
        let mut cell = |rate: &f64| (0..repeats).map(|_| score(random, graded, *rate)).collect();
        rates.iter().map(&mut cell).collect()
    }

    /// Continues a side with so many more repeats of what was seen.
    fn continued(random: &mut Random, graded: bool, side: &Arm, more: u32) -> Arm {
        let rates: Vec<f64> = side
            .iter()
            .map(|scores| (scores.iter().sum::<f64>() + 0.9) / (scores.len() as f64 + 1.35))
            .collect();
        let mut longer = arm(random, graded, &rates, more);
        for (scores, seen) in longer.iter_mut().zip(side) {
            scores.extend(seen);
        }
        longer
    }

    #[test]
    fn the_number_that_is_said_settles_most_continuations() {
        let (mut stated, mut right) = (0, 0);
        let mut random = Random::new(4);
        for (at, loss) in [0.0, 0.05, 0.1, 0.15, 0.2]
            .repeat(8)
            .into_iter()
            .enumerate()
        {
            let graded = at % 2 == 0;
            let rates: Vec<f64> = (0..8).map(|_| 0.4 + 0.5 * random.uniform()).collect();
            let worse: Vec<f64> = rates.iter().map(|rate| rate - loss).collect();
            let (a, b) = (
                arm(&mut random, graded, &rates, 3),
                arm(&mut random, graded, &worse, 3),
            );
            if decided(&a, &b) != Outcome::Inconclusive {
                continue;
            }
            let got = settle(&paired(&a, &b), &RULE, Truth::Observed, 40, 1);
            let Some(more) = got.repeats else {
                continue;
            };
            stated += 1;
            let settled = (0..31).filter(|_| {
                let a = continued(&mut random, graded, &a, more);
                let b = continued(&mut random, graded, &b, more);
                decided(&a, &b) != Outcome::Inconclusive
            });
            right += u32::from(settled.count() > 15);
        }
        assert!(
            stated >= 8 && right * 5 >= stated * 4,
            "{right} of {stated}"
        );
    }

    #[test]
    fn equal_candidates_are_settled_by_repeats_where_only_those_are_noise() {
        // The same four scores in another order.
        let a = vec![vec![0.2, 0.5, 0.8, 0.5]; 10];
        let b = vec![vec![0.5, 0.2, 0.5, 0.8]; 10];
        let mut b = b;
        b[0] = vec![0.5, 0.4, 0.7, 0.8];
        b[1] = vec![0.5, 0.1, 0.4, 0.6];
        let got = settle(&paired(&a, &b), &RULE, Truth::Likely, 1000, 1);
        assert!(
            got.repeats.is_some_and(|more| more < 200) && got.objectives.is_none(),
            "{got:?}"
        );
    }

    #[test]
    fn where_objectives_disagree_only_more_of_them_settle_it() {
        let (good, bad) = (vec![0.9; 6], vec![0.5; 6]);
        let a: Arm = (0..10)
            .map(|at| {
                if at % 2 == 0 {
                    good.clone()
                } else {
                    bad.clone()
                }
            })
            .collect();
        let b: Arm = a.iter().rev().cloned().collect();
        for truth in [Truth::Observed, Truth::Likely] {
            let got = settle(&paired(&a, &b), &RULE, truth, 1000, 1);
            assert_eq!(got.repeats, None, "{truth:?}");
            assert!(
                got.objectives.is_some_and(|more| more > 50),
                "{truth:?} {got:?}"
            );
        }
    }

    #[test]
    fn what_cannot_be_compared_is_not_settled() {
        let neither = Settled {
            repeats: None,
            objectives: None,
        };
        let empty = Cell {
            baseline: &[],
            candidate: &[1.0],
        };
        let odd = Cell {
            baseline: &[f64::NAN],
            candidate: &[1.0],
        };
        for truth in [Truth::Observed, Truth::Likely] {
            assert_eq!(settle(&[], &RULE, truth, 10, 1), neither);
            assert_eq!(settle(&[empty], &RULE, truth, 10, 1), neither);
            assert_eq!(settle(&[odd; 3], &RULE, truth, 10, 1), neither);
            let cell = Cell {
                baseline: &[1.0],
                candidate: &[0.0],
            };
            assert_eq!(settle(&[cell], &RULE, truth, 0, 1), neither);
        }
    }

    #[test]
    fn the_first_number_that_is_enough_is_found() {
        for most in [0, 1, 2, 10, 11, 999, u32::MAX] {
            for wanted in [1, 2, 3, 7, 10, 500, 998, 999, 1000] {
                let got = first(most, |at| {
                    assert!((1..=most).contains(&at));
                    at >= wanted
                });
                assert_eq!(got, (wanted <= most).then_some(wanted), "{most}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn it_depends_on_the_seed_only_and_a_wider_margin_takes_no_more(
            a in prop::collection::vec(prop::collection::vec(0.0..=1.0_f64, 1..4), 2..6),
            b in prop::collection::vec(prop::collection::vec(0.0..=1.0_f64, 1..4), 6),
            likely: bool, seed: u64,
        ) {
            let truth = if likely { Truth::Likely } else { Truth::Observed };
            let cells = paired(&a, &b);
            let got = settle(&cells, &RULE, truth, 60, seed);
            prop_assert_eq!(got, settle(&cells, &RULE, truth, 60, seed));
            prop_assert!(got.repeats.is_none() || got.objectives.is_none());
            prop_assert!(got.repeats.or(got.objectives).is_none_or(|more| (1..=60).contains(&more)));
            let wider = Rule { margin: 0.1, ..RULE };
            let easier = settle(&cells, &wider, truth, 60, seed);
            if let Some(more) = got.repeats {
                prop_assert!(easier.repeats.is_some_and(|it| it <= more));
            }
        }
    }
}
