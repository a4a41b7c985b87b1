//! Looks: when it is looked whether further trials can be spared, and at what level a difference counts then.

use std::ops::RangeInclusive;

use crate::event::{PlannedCandidate, PlannedObjective, RunPlan};
use crate::statistics::rejects::Phases;
use crate::statistics::{self, looks};

/// How many repeats of an objective, of `repeats` in all, have ended at look `look` of `looks`, from 1.
#[must_use]
pub const fn repeats_by(repeats: u32, look: u32, looks: u32) -> u32 {
    (repeats * look).div_ceil(looks)
}

/// How many of a candidate's `repeats` have had their turn by the end of a round, of `rounds` in all: those of a
/// control, which has more of them than there are rounds, are spread over all rounds.
#[must_use]
pub fn turns_by(repeats: u32, round: u32, rounds: u32) -> u32 {
    let share = u64::from(round) * u64::from(repeats) / u64::from(rounds.max(1));
    u32::try_from(share).unwrap_or(u32::MAX)
}

/// A part of a run's trials, with the look at its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Which look, from 1.
    pub look: u32,
    /// The level at which a difference counts at it.
    pub level: f64,
    /// How many rounds of each objective have ended by then, in the plan's order.
    pub rounds: Vec<u32>,
    /// How many candidates go on after it, where the looks drop the worst.
    pub left: Option<usize>,
}

impl Stage {
    /// How many of a candidate's repeats of an objective, by its place in the plan, have ended by then.
    #[must_use]
    pub fn repeats(&self, plan: &RunPlan, candidate: &PlannedCandidate, at: usize) -> u32 {
        let of = |objective: &PlannedObjective| {
            let rounds = self.rounds.get(at).copied().unwrap_or(objective.repeats);
            turns_by(
                plan.repeats(candidate, objective),
                rounds,
                objective.repeats,
            )
        };
        plan.objectives.get(at).map_or(0, of)
    }
}

/// The stages of a plan, the last one at its end. Those that would end at the same repeat are one.
#[must_use]
pub fn stages(plan: &RunPlan) -> Vec<Stage> {
    if let Some(phases) = plan.rejects.then(|| rejects(plan)).flatten() {
        return dropping(plan, &phases);
    }
    let by = |look: u32| -> Vec<u32> {
        let objectives = plan.objectives.iter();
        objectives
            .map(|it| repeats_by(it.repeats, look, plan.looks))
            .collect()
    };
    let mut rounds: Vec<Vec<u32>> = (1..=plan.looks).map(by).collect();
    rounds.dedup();
    let all = plan.objectives.iter().map(|it| it.repeats).sum::<u32>();
    let share = |rounds: &Vec<u32>| f64::from(rounds.iter().sum::<u32>()) / f64::from(all.max(1));
    let shares: Vec<f64> = rounds.iter().map(share).collect();
    // One look has all of the error, to the last digit.
    let levels = if shares.len() > 1 {
        looks::levels(plan.rule.alpha, &shares)
    } else {
        Vec::new()
    };
    let stages = (1..).zip(rounds).enumerate();
    stages
        .map(|(at, (look, rounds))| Stage {
            look,
            level: levels.get(at).map_or(plan.rule.alpha, |it| it.level),
            rounds,
            left: None,
        })
        .collect()
}

/// The fewest candidates, and the fewest repeats for each of them on average, for which dropping the worst pays.
const MANY: usize = 5;
const BUDGET: u64 = 4;

/// How a plan that asks who leads, and of which further trials may be spared, drops the worst of many candidates: so that
/// nobody has more repeats than are planned. `None` where the looks ask whether anything is certain instead.
#[must_use]
pub fn rejects(plan: &RunPlan) -> Option<Phases> {
    let asked = plan.looks > 1 && plan.comparisons.is_empty() && plan.candidates.len() >= MANY;
    let candidates = u32::try_from(plan.candidates.len())
        .ok()
        .filter(|_| asked)?;
    let many = u64::from(candidates);
    let most = u64::from(plan.objectives.iter().map(|it| it.repeats).max()?);
    let fits = |phases: &Phases| phases.repeats.last() == Some(&most);
    let mut budgets = (BUDGET * many..=most * many).rev();
    budgets.find_map(|budget| statistics::rejects::plan(candidates, budget).filter(fits))
}

/// The stages of successive rejects; phases that end at the same repeat are one.
fn dropping(plan: &RunPlan, phases: &Phases) -> Vec<Stage> {
    let most = phases.repeats.last().copied().unwrap_or(1).max(1);
    let rounds = |repeats: u64| -> Vec<u32> {
        let share = |all: u32| (u64::from(all) * repeats).div_ceil(most);
        let objectives = plan.objectives.iter();
        objectives
            .map(|it| u32::try_from(share(it.repeats)).unwrap_or(it.repeats))
            .collect()
    };
    let mut stages: Vec<Stage> = Vec::new();
    for (ended, repeats) in (1..).zip(&phases.repeats) {
        let (rounds, left) = (rounds(*repeats), Some(plan.candidates.len() - ended));
        match stages.last_mut().filter(|it| it.rounds == rounds) {
            Some(same) => same.left = left,
            None => stages.push(Stage {
                look: u32::try_from(stages.len() + 1).unwrap_or(u32::MAX),
                level: plan.rule.alpha,
                rounds,
                left,
            }),
        }
    }
    stages
}

/// Of which trials verdicts are.
#[derive(Debug, Clone, Copy)]
pub(super) enum When<'a> {
    /// Of those that had ended by a look.
    Look(&'a Stage),
    /// Of all, at a level.
    End(f64),
}

impl When<'_> {
    /// The repeats of a candidate on an objective, by its place in the plan, that are judged; of what was run again,
    /// if it is, these alone.
    pub(super) fn repeats(
        self,
        plan: &RunPlan,
        candidate: &PlannedCandidate,
        at: usize,
        is_fresh: bool,
    ) -> RangeInclusive<u32> {
        let planned = || {
            let objective = plan.objectives.get(at);
            objective.map_or(0, |it| plan.repeats(candidate, it))
        };
        match self {
            Self::Look(stage) => 1..=stage.repeats(plan, candidate, at),
            Self::End(_) if is_fresh => planned() + 1..=u32::MAX,
            Self::End(_) => 1..=planned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::{Comparison, Question};
    use crate::summary::tests::History;

    fn plan(candidates: &[&str], repeats: &[u32], looks: u32) -> RunPlan {
        let objectives = ["code", "docs", "logs", "post"];
        let history = History::of(candidates, &objectives[..repeats.len()], 1);
        let mut plan = history.summary().plan.unwrap();
        for (objective, repeats) in plan.objectives.iter_mut().zip(repeats) {
            objective.repeats = *repeats;
        }
        plan.looks = looks;
        plan.rejects = rejects(&plan).is_some();
        plan
    }

    fn rounds(plan: &RunPlan) -> Vec<Vec<u32>> {
        stages(plan).into_iter().map(|it| it.rounds).collect()
    }

    #[test]
    fn a_plan_is_looked_at_in_thirds_and_where_there_is_nothing_between_only_once() {
        let two = ["a", "b"];
        assert_eq!(rounds(&plan(&two, &[9], 3)), [[3], [6], [9]]);
        assert_eq!(rounds(&plan(&two, &[2], 3)), [[1], [2]]);
        assert_eq!(rounds(&plan(&two, &[1], 3)), [[1]]);
        assert_eq!(rounds(&plan(&two, &[1, 4], 3)), [[1, 2], [1, 3], [1, 4]]);
        assert_eq!(rounds(&plan(&two, &[9], 1)), [[9]]);
        let once = stages(&plan(&two, &[9], 1));
        assert_eq!(once[0].level.to_bits(), 0.05_f64.to_bits());
        let levels: Vec<f64> = stages(&plan(&two, &[9], 3))
            .iter()
            .map(|it| it.level)
            .collect();
        for (level, known) in levels.iter().zip([0.000_687, 0.016_144, 0.045_056]) {
            assert!((level - known).abs() < 1e-6, "{level} {known}");
        }
    }

    #[test]
    fn who_has_more_repeats_has_the_same_share_of_them_at_every_look() {
        let mut plan = plan(&["a", "b"], &[9], 3);
        let own = (plan.objectives[0].name.clone(), 18);
        plan.candidates[0].repeats.extend([own]);
        let of_first = stages(&plan);
        let of_first = of_first
            .iter()
            .map(|it| it.repeats(&plan, &plan.candidates[0], 0));
        assert_eq!(of_first.collect::<Vec<_>>(), [6, 12, 18]);
    }

    #[test]
    fn of_many_candidates_the_worst_are_dropped_and_nobody_has_more_repeats_than_planned() {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let five = plan(&names[..5], &[9, 3], 3);
        assert!(five.rejects);
        assert_eq!(rounds(&five), [[4, 2], [5, 2], [6, 2], [9, 3]]);
        let left: Vec<Option<usize>> = stages(&five).iter().map(|it| it.left).collect();
        assert_eq!(left, [4, 3, 2, 1].map(Some));
        for count in 5..=8 {
            for repeats in 1..=12 {
                let plan = plan(&names[..count], &[repeats], 3);
                let stages = stages(&plan);
                assert_eq!(stages.last().unwrap().rounds, [repeats]);
                assert!(stages.windows(2).all(|it| it[0].rounds < it[1].rounds));
                assert!(stages.windows(2).all(|it| it[0].left >= it[1].left));
                assert!(repeats > 4 || !plan.rejects, "{count} {repeats}");
            }
        }
        assert!(!plan(&names[..4], &[9], 3).rejects);
        assert!(!plan(&names, &[9], 1).rejects);
        let mut compared = plan(&names, &[9], 3);
        compared.comparisons.push(Comparison {
            question: Question::Control,
            candidate: compared.candidates[1].name.clone(),
            against: compared.candidates[0].name.clone(),
            how: crate::rule::How::Beside,
        });
        assert_eq!(rejects(&compared), None);
    }
}
