//! Who leads, and whether the lead is real.
//!
//! The best is ahead of all when the largest of its two-sided p-values against each other one, unadjusted, is at or below the
//! level: the two-sided test already pays for the choice of the winner (Hung & Fithian 2019, arXiv 1610.03944).

use super::family::holm;
use super::stratified::{self, POINT};
use super::{Cell, P_SLACK, mean, paired, significant};

/// Means that are this near are the same.
const SAME: f64 = 1e-9;
/// The most steps for all pairs together, each exact: half a second at the most.
pub const STEPS: f64 = 5e8;
/// The most steps for one of the pairs that decide who leads, where not all are exact; beyond that, it is exact of scores that are
/// rounded more coarsely.
const DECIDING: f64 = 1e8;
/// About as many steps as it takes to prepare the test of an objective, or to find out how many it takes.
const LOOKING: f64 = 4e3;
/// How many of those nearest to the winner are compared with it exactly, at the least.
const NEAREST: usize = 3;
/// The same where several are as near, at the most.
const MOST_NEAR: usize = 16;

/// Who is in front.
#[derive(Debug, Clone, PartialEq)]
pub enum Lead {
    /// Nobody has a mean.
    Nobody,
    /// One, ahead of all others or alone.
    Clear {
        /// Which.
        winner: usize,
        /// The largest p-value against another; `None` without another.
        p: Option<f64>,
    },
    /// One, whose lead over some may be chance.
    Unclear {
        /// Which.
        leader: usize,
        /// The largest p-value against another; `None` where nothing can be compared.
        p: Option<f64>,
        /// Those that it is not separated from: by Holm over all pairs, and at least the one of that p-value.
        not_separated: Vec<usize>,
    },
    /// Several with the same mean.
    Tie(Vec<usize>),
}

/// All pairs of arms, compared.
///
/// Exactly, while that costs no more than [`STEPS`]. Beyond that, a pair is exact which costs no more than its share, and the others are
/// [approximated](stratified::approximate), but for the winner against those nearest to it: the largest p-value of the winner is always of
/// the exact test. 100 arms on 50 objectives with 10 repeats take a quarter of a second.
#[derive(Debug, Clone, PartialEq)]
pub struct Pairs {
    /// The means over the objectives on which an arm has trials.
    pub means: Vec<Option<f64>>,
    /// The pairs, the lower index first, in rising order.
    pub pairs: Vec<(usize, usize)>,
    /// Two-sided mid-p for each; 1 where nothing can be compared.
    pub p: Vec<f64>,
    /// The same, adjusted for their number.
    pub adjusted: Vec<f64>,
    /// Whether that of a pair is of the exact test.
    pub exact: Vec<bool>,
}

impl Pairs {
    /// Compares arms, each with one list of scores an objective.
    #[must_use]
    pub fn of(arms: &[Vec<Vec<f64>>]) -> Self {
        Self::within(arms, STEPS)
    }

    /// The same in about so many steps for all pairs together, the winner's apart.
    #[must_use]
    pub fn within(arms: &[Vec<Vec<f64>>], steps: f64) -> Self {
        let pairs: Vec<(usize, usize)> = (0..arms.len())
            .flat_map(|a| (a + 1..arms.len()).map(move |b| (a, b)))
            .collect();
        let cells = |(a, b): (usize, usize)| paired(&arms[a], &arms[b]);
        let exact = affordable(arms, &pairs, steps);
        let p = pairs.iter().zip(&exact).map(|(pair, exact)| {
            if *exact {
                exactly(&cells(*pair))
            } else {
                let found = stratified::approximate(&cells(*pair));
                found.map_or(1.0, |it| it.mid_p_two_sided())
            }
        });
        let mut all = Self {
            means: arms.iter().map(|arm| mean_of(arm)).collect(),
            p: p.collect(),
            pairs,
            adjusted: Vec::new(),
            exact,
        };
        all.decide_exactly(cells);
        all.adjusted = holm(&all.p);
        all
    }

    /// Compares the winner exactly with those nearest to it: until the largest p-value is exact, and some more.
    fn decide_exactly<'a>(&mut self, cells: impl Fn((usize, usize)) -> Vec<Cell<'a>>) {
        let first = self.first();
        let [winner] = first[..] else {
            return;
        };
        for look in 0.. {
            let others =
                (0..self.means.len()).filter(|it| *it != winner && self.means[*it].is_some());
            let mut order: Vec<usize> = others.map(|other| self.between(winner, other)).collect();
            order.sort_by(|a, b| self.p[*b].total_cmp(&self.p[*a]));
            let wanted = if look == 0 { NEAREST } else { 1 };
            let Some(last) = order.get(wanted - 1).or(order.last()) else {
                return;
            };
            // With all that are as near, so that it does not matter which of them is the first.
            let bound = self.p[*last] - P_SLACK;
            let near = order.iter().take_while(|at| self.p[**at] >= bound);
            let near: Vec<usize> = near
                .take(MOST_NEAR)
                .copied()
                .filter(|at| !self.exact[*at])
                .collect();
            if near.is_empty() {
                return;
            }
            for at in near {
                self.p[at] = exactly(&cells(self.pairs[at]));
                self.exact[at] = true;
            }
        }
    }

    /// The two-sided p-value of two arms; `None` of an arm with itself, or of one that is not there.
    #[must_use]
    pub fn p_between(&self, a: usize, b: usize) -> Option<f64> {
        let known = a != b && a.max(b) < self.means.len();
        known.then(|| self.p[self.between(a, b)])
    }

    /// Which pair these two are.
    fn between(&self, a: usize, b: usize) -> usize {
        let (low, high) = (a.min(b), a.max(b));
        // Before those of `low` come those of every lower one, one fewer each time.
        low * (2 * self.means.len() - low - 1) / 2 + high - low - 1
    }

    /// Those with the best mean.
    fn first(&self) -> Vec<usize> {
        let best = self.means.iter().flatten().copied().reduce(f64::max);
        let near = |mean: f64| best.is_some_and(|best| (best - mean).abs() <= SAME);
        let all = (0..self.means.len()).filter(|arm| self.means[*arm].is_some_and(near));
        all.collect()
    }

    /// Who is in front, and whether that is real at `level`.
    #[must_use]
    pub fn lead(&self, level: f64) -> Lead {
        let first = self.first();
        let winner = match first[..] {
            [] => return Lead::Nobody,
            [winner] => winner,
            _ => return Lead::Tie(first),
        };
        let others =
            || (0..self.means.len()).filter(|arm| *arm != winner && self.means[*arm].is_some());
        let against = |other: usize| self.between(winner, other);
        let worst = others()
            .map(|other| (other, self.p[against(other)]))
            .reduce(|a, b| if b.1 > a.1 { b } else { a });
        match worst {
            Some((which, p)) if !significant(p, level) => Lead::Unclear {
                leader: winner,
                p: Some(p),
                not_separated: others()
                    .filter(|other| {
                        *other == which || self.adjusted[against(*other)] > level + P_SLACK
                    })
                    .collect(),
            },
            other => Lead::Clear {
                winner,
                p: other.map(|(_, p)| p),
            },
        }
    }

    /// The places that each arm may have: from 1 more than the arms that are shown to be better, to the number less
    /// those shown to be worse.
    #[must_use]
    pub fn ranks(&self, level: f64) -> Vec<Option<(usize, usize)>> {
        let count = self.means.iter().flatten().count();
        let rank = |arm: usize| {
            let own = self.means[arm]?;
            let (mut better, mut worse) = (0, 0);
            for other in (0..self.means.len()).filter(|other| *other != arm) {
                let Some(mean) = self.means[other] else {
                    continue;
                };
                if !significant(self.adjusted[self.between(arm, other)], level) {
                    continue;
                }
                // Where the means are the same, none of the two is better.
                if mean > own + SAME {
                    better += 1;
                } else if own > mean + SAME {
                    worse += 1;
                }
            }
            Some((better + 1, count - worse))
        };
        (0..self.means.len()).map(rank).collect()
    }
}

/// Which pairs are compared exactly.
fn affordable(arms: &[Vec<Vec<f64>>], pairs: &[(usize, usize)], steps: f64) -> Vec<bool> {
    let share = steps / pairs.len().max(1) as f64;
    let objectives = arms.iter().map(Vec::len).max().unwrap_or(0);
    let looking = LOOKING * objectives as f64;
    // What no pair costs more than is found without looking at each.
    if dearest(arms) + looking <= share {
        return vec![true; pairs.len()];
    }
    // Neither to count, nor to find out what counting takes.
    if looking > share {
        return vec![false; pairs.len()];
    }
    let cost = |(a, b): &(usize, usize)| stratified::cost(&paired(&arms[*a], &arms[*b]), POINT);
    let costs: Vec<f64> = pairs.iter().map(cost).collect();
    // By a pair's own cost, so that it does not matter which arm is the first.
    let most = if costs.iter().sum::<f64>() <= steps {
        f64::INFINITY
    } else {
        share
    };
    costs.iter().map(|cost| *cost <= most).collect()
}

/// What a pair costs at the most: as many trials as any arm has, and scores as far apart and as near together as any.
fn dearest(arms: &[Vec<Vec<f64>>]) -> f64 {
    let objectives = arms.iter().map(Vec::len).max().unwrap_or(0);
    let cells: Vec<(Vec<f64>, Vec<f64>)> = (0..objectives)
        .map(|objective| {
            let each = || arms.iter().filter_map(|arm| arm.get(objective));
            let most = each().map(Vec::len).max().unwrap_or(0);
            let all = || each().flatten().copied().filter(|it| it.is_finite());
            let low = all().fold(f64::INFINITY, f64::min);
            let high = all().fold(f64::NEG_INFINITY, f64::max);
            let step = all().fold(0.0, |step, score| {
                divisor(step, ((score - low) / POINT).round())
            });
            let next = low + step * POINT;
            let few = [low, next].into_iter().chain(std::iter::repeat(high));
            (few.take(most).collect(), vec![high; most])
        })
        .collect();
    let lent = cells.iter().map(|(baseline, candidate)| Cell {
        baseline,
        candidate,
    });
    stratified::cost(&lent.collect::<Vec<_>>(), POINT)
}

/// The greatest common divisor of whole numbers; of 0 and a number, that number.
fn divisor(mut a: f64, mut b: f64) -> f64 {
    while b > 0.5 {
        (a, b) = (b, a % b);
    }
    a
}

fn exactly(cells: &[Cell<'_>]) -> f64 {
    let found = stratified::test_within(cells, POINT, DECIDING);
    found.map_or(1.0, |exact| exact.mid_p_two_sided())
}

fn mean_of(arm: &[Vec<f64>]) -> Option<f64> {
    let means: Vec<f64> = arm.iter().filter_map(|scores| mean(scores)).collect();
    mean(&means)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::draw::Random;
    use crate::statistics::golden::{close, golden, numbers};
    use proptest::prelude::*;

    #[test]
    fn the_golden_pairs_and_leads_are_met() {
        for case in golden(2)["all_pairs"].as_array().unwrap() {
            let arms: Vec<Vec<Vec<f64>>> = serde_json::from_value(case["arms"].clone()).unwrap();
            let got = Pairs::of(&arms);
            assert_eq!(
                serde_json::json!(got.pairs),
                case["pairs"],
                "{}",
                case["case"]
            );
            for (got, expected) in got.p.iter().zip(numbers(&case["mid_p_two_sided"])) {
                close(*got, expected, 1e-9, "p");
            }
            for (got, expected) in got.adjusted.iter().zip(numbers(&case["holm"])) {
                close(*got, expected, 1e-9, "holm");
            }
            let clear = case["clear_winner"].as_bool().unwrap();
            match got.lead(0.05) {
                Lead::Nobody => panic!("{case}"),
                Lead::Tie(tied) => assert_eq!(serde_json::json!(tied), case["tied"]),
                Lead::Clear { winner, p } => {
                    assert_eq!(serde_json::json!(winner), case["winner"]);
                    // One arm alone leads nobody.
                    assert!(clear || p.is_none(), "{case}");
                    assert_eq!(p.is_none(), case["lead_p"].is_null());
                }
                Lead::Unclear {
                    leader,
                    p,
                    not_separated,
                } => {
                    assert!(!clear);
                    assert_eq!(serde_json::json!(leader), case["winner"]);
                    close(p.unwrap(), case["lead_p"].as_f64().unwrap(), 1e-9, "lead");
                    assert_eq!(serde_json::json!(not_separated), case["not_separated"]);
                }
            }
        }
    }

    #[test]
    fn beyond_the_budget_what_decides_is_exact_and_the_rest_is_near() {
        let arms = many(8, 15, 5);
        let (all, some) = (
            Pairs::within(&arms, f64::INFINITY),
            Pairs::within(&arms, 1e5),
        );
        assert!(all.exact.iter().all(|exact| *exact));
        assert!(some.exact.iter().filter(|exact| **exact).count() >= NEAREST);
        assert!(some.exact.iter().any(|exact| !exact));
        for (one, other) in all.p.iter().zip(&some.p) {
            close(*one, *other, 0.02, "near");
        }
        let p = |pairs: &Pairs| match pairs.lead(0.05) {
            Lead::Clear { p, .. } | Lead::Unclear { p, .. } => p.unwrap(),
            other @ (Lead::Nobody | Lead::Tie(_)) => panic!("{other:?}"),
        };
        close(p(&some), p(&all), 1e-12, "what is shown");
    }

    #[test]
    fn no_pair_costs_more_than_the_dearest() {
        let mut random = Random::new(5);
        for at in 0..40 {
            let step = [1.0, 5.0, 10.0, 100.0][at % 4];
            let mut score = || (random.uniform() * 100.0 / step).round() * step / 100.0;
            let mut arm = || (0..5).map(|_| (0..4).map(|_| score()).collect()).collect();
            let arms: Vec<Vec<Vec<f64>>> = (0..4).map(|_| arm()).collect();
            let dearest = dearest(&arms);
            for (a, b) in [(0, 1), (0, 2), (1, 3)] {
                let cost = stratified::cost(&paired(&arms[a], &arms[b]), POINT);
                assert!(cost <= dearest * 1.5, "{step} {cost} {dearest}");
            }
        }
    }

    #[test]
    fn a_pair_is_found_without_looking_for_it() {
        let pairs = Pairs::of(&many(7, 1, 1));
        for (at, (a, b)) in pairs.pairs.iter().enumerate() {
            assert_eq!(pairs.between(*a, *b), at);
            assert_eq!(pairs.between(*b, *a), at);
        }
    }

    #[test]
    fn equal_arms_tie_and_no_arms_are_nobody() {
        let arm = vec![vec![0.5, 1.0], vec![0.25], vec![]];
        let pairs = Pairs::of(&[arm.clone(), arm.clone(), arm]);
        assert_eq!(pairs.lead(0.05), Lead::Tie(vec![0, 1, 2]));
        assert_eq!(pairs.ranks(0.05), vec![Some((1, 3)); 3]);
        assert_eq!(Pairs::of(&[]).lead(0.05), Lead::Nobody);
        assert_eq!(Pairs::of(&[vec![vec![]], vec![]]).lead(0.05), Lead::Nobody);
        let alone = Pairs::of(&[vec![vec![]], vec![vec![0.0]]]).lead(0.05);
        assert_eq!(alone, Lead::Clear { winner: 1, p: None });
    }

    fn many(arms: u32, objectives: usize, repeats: usize) -> Vec<Vec<Vec<f64>>> {
        let mut random = Random::new(11);
        let mut score = |arm: u32| (random.uniform() * 80.0 + f64::from(arm)).round() / 100.0;
        let mut scores = |arm| (0..repeats).map(|_| score(arm)).collect();
        let mut of = |arm| (0..objectives).map(|_| scores(arm)).collect();
        (0..arms).map(&mut of).collect()
    }

    fn arms() -> impl Strategy<Value = Vec<Vec<Vec<f64>>>> {
        // A cell may be lost, and points may be the same.
        let score = (0..=4_i32).prop_map(|quarter| f64::from(quarter) / 4.0);
        let cell = prop::collection::vec(score, 0..4);
        prop::collection::vec(prop::collection::vec(cell, 4), 1..6)
    }

    proptest! {
        #[test]
        fn permuting_the_arms_permutes_the_answer(arms in arms(), by in 0..6_usize, cheap: bool) {
            let count = arms.len();
            let was = |at: usize| (at + by) % count;
            let turned: Vec<_> = (0..count).map(|at| arms[was(at)].clone()).collect();
            let steps = if cheap { 300.0 } else { STEPS };
            let (one, other) = (Pairs::within(&arms, steps), Pairs::within(&turned, steps));
            for (at, (a, b)) in other.pairs.iter().enumerate() {
                let same = one.between(was(*a), was(*b));
                prop_assert!((one.p[same] - other.p[at]).abs() < 1e-9);
                prop_assert!((one.adjusted[same] - other.adjusted[at]).abs() < 1e-9);
            }
            let (ranks, own) = (other.ranks(0.2), one.ranks(0.2));
            for at in 0..count {
                prop_assert_eq!(ranks[at], own[was(at)]);
            }
            let sorted = |arms: &[usize], named: &dyn Fn(usize) -> usize| {
                let mut arms: Vec<usize> = arms.iter().map(|arm| named(*arm)).collect();
                arms.sort_unstable();
                arms
            };
            match (one.lead(0.2), other.lead(0.2)) {
                (Lead::Nobody, Lead::Nobody) => {}
                (Lead::Clear { winner: a, .. }, Lead::Clear { winner: b, .. }) => prop_assert_eq!(a, was(b)),
                (
                    Lead::Unclear { leader: a, not_separated: from, .. },
                    Lead::Unclear { leader: b, not_separated: other, .. },
                ) => {
                    prop_assert_eq!(a, was(b));
                    prop_assert_eq!(sorted(&from, &|arm| arm), sorted(&other, &was));
                }
                (Lead::Tie(a), Lead::Tie(b)) => prop_assert_eq!(sorted(&a, &|arm| arm), sorted(&b, &was)),
                (one, other) => prop_assert!(false, "{one:?} {other:?}"),
            }
        }

        #[test]
        fn the_order_of_the_objectives_does_not_matter(arms in arms(), by in 0..4_usize) {
            let turned: Vec<_> = arms.iter().map(|arm| {
                let mut arm = arm.clone();
                arm.rotate_left(by);
                for scores in &mut arm {
                    scores.reverse();
                }
                arm
            }).collect();
            let (one, other) = (Pairs::of(&arms), Pairs::of(&turned));
            for (one, other) in one.p.iter().zip(&other.p) {
                prop_assert!((0.0..=1.0).contains(one) && (one - other).abs() < 1e-9);
            }
            prop_assert_eq!(one.ranks(0.2), other.ranks(0.2));
        }

        #[test]
        fn renaming_the_arms_renames_the_lead(
            arms in prop::collection::vec(prop::collection::vec(prop::collection::vec(0.0..=1.0_f64, 1..3), 3), 1..5),
        ) {
            let count = arms.len();
            let reversed: Vec<_> = arms.iter().rev().cloned().collect();
            let (one, other) = (Pairs::of(&arms).lead(0.05), Pairs::of(&reversed).lead(0.05));
            let turned = |arm: usize| count - 1 - arm;
            match (one, other) {
                (Lead::Clear { winner: a, .. }, Lead::Clear { winner: b, .. })
                | (Lead::Unclear { leader: a, .. }, Lead::Unclear { leader: b, .. }) => {
                    prop_assert_eq!(a, turned(b));
                }
                (Lead::Tie(a), Lead::Tie(b)) => prop_assert_eq!(a.len(), b.len()),
                (one, other) => prop_assert!(false, "{one:?} {other:?}"),
            }
        }

        #[test]
        fn a_rank_lies_in_its_range(
            arms in prop::collection::vec(prop::collection::vec(prop::collection::vec(0.0..=1.0_f64, 3), 5), 1..5),
        ) {
            let got = Pairs::of(&arms);
            for (from, to) in got.ranks(0.05).into_iter().flatten() {
                prop_assert!(1 <= from && from <= to && to <= arms.len());
            }
        }
    }
}
