//! Who leads, and whether the lead is real.
//!
//! The best is ahead of all when the largest of its two-sided p-values against each other one, unadjusted, is at or below the
//! level: the two-sided test already pays for the choice of the winner (Hung & Fithian 2019, arXiv 1610.03944).

use super::family::holm;
use super::stratified::{self, POINT};
use super::{P_SLACK, mean, paired, significant};

/// Means that are this near are the same.
const SAME: f64 = 1e-9;

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
#[derive(Debug, Clone, PartialEq)]
pub struct Pairs {
    /// The means over the objectives on which an arm has trials.
    pub means: Vec<Option<f64>>,
    /// The pairs, the lower index first.
    pub pairs: Vec<(usize, usize)>,
    /// Two-sided mid-p for each; 1 where nothing can be compared.
    pub p: Vec<f64>,
    /// The same, adjusted for their number.
    pub adjusted: Vec<f64>,
}

impl Pairs {
    /// Compares arms, each with one list of scores an objective.
    #[must_use]
    pub fn of(arms: &[Vec<Vec<f64>>]) -> Self {
        let means = arms.iter().map(|arm| mean_of(arm)).collect();
        let pairs: Vec<(usize, usize)> = (0..arms.len())
            .flat_map(|a| (a + 1..arms.len()).map(move |b| (a, b)))
            .collect();
        let p: Vec<f64> = pairs
            .iter()
            .map(|(a, b)| {
                let cells = paired(&arms[*a], &arms[*b]);
                stratified::test(&cells, POINT).map_or(1.0, |exact| exact.mid_p_two_sided())
            })
            .collect();
        Self {
            means,
            adjusted: holm(&p),
            pairs,
            p,
        }
    }

    /// The two-sided p-value of two arms.
    #[must_use]
    pub fn p_between(&self, a: usize, b: usize) -> Option<f64> {
        self.between(a, b).map(|at| self.p[at])
    }

    fn between(&self, a: usize, b: usize) -> Option<usize> {
        let pair = (a.min(b), a.max(b));
        self.pairs.iter().position(|it| *it == pair)
    }

    /// Who is in front, and whether that is real at `level`.
    #[must_use]
    pub fn lead(&self, level: f64) -> Lead {
        let best = self.means.iter().flatten().copied().reduce(f64::max);
        let Some(best) = best else {
            return Lead::Nobody;
        };
        let with_mean = || (0..self.means.len()).filter_map(|arm| Some((arm, self.means[arm]?)));
        let first: Vec<usize> = with_mean()
            .filter(|(_, mean)| (best - mean).abs() <= SAME)
            .map(|(arm, _)| arm)
            .collect();
        let [winner] = first[..] else {
            return Lead::Tie(first);
        };
        let others = || with_mean().map(|(arm, _)| arm).filter(|arm| *arm != winner);
        let against = |other: usize| self.between(winner, other);
        let worst = others()
            .filter_map(|other| Some((other, self.p[against(other)?])))
            .reduce(|a, b| if b.1 > a.1 { b } else { a });
        match worst {
            Some((which, p)) if !significant(p, level) => Lead::Unclear {
                leader: winner,
                p: Some(p),
                not_separated: others()
                    .filter(|other| {
                        let adjusted = against(*other).map_or(1.0, |at| self.adjusted[at]);
                        *other == which || adjusted > level + P_SLACK
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
            for (at, (a, b)) in self.pairs.iter().enumerate() {
                if (*a != arm && *b != arm) || !significant(self.adjusted[at], level) {
                    continue;
                }
                let other = self.means[if *a == arm { *b } else { *a }]?;
                if other > own {
                    better += 1;
                } else {
                    worse += 1;
                }
            }
            Some((better + 1, count - worse))
        };
        (0..self.means.len()).map(rank).collect()
    }
}

fn mean_of(arm: &[Vec<f64>]) -> Option<f64> {
    let means: Vec<f64> = arm.iter().filter_map(|scores| mean(scores)).collect();
    mean(&means)
}

#[cfg(test)]
mod tests {
    use super::*;
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

    proptest! {
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
