//! Looks: when it is looked whether further trials can be spared, and at what level a difference counts then.

use std::ops::RangeInclusive;

use crate::event::{PlannedCandidate, PlannedObjective, RunPlan};
use crate::statistics::looks;

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
    let levels = looks::levels(
        plan.rule.alpha,
        &rounds.iter().map(share).collect::<Vec<_>>(),
    );
    let stages = (1..).zip(rounds).enumerate();
    stages
        .map(|(at, (look, rounds))| Stage {
            look,
            level: levels.get(at).map_or(plan.rule.alpha, |it| it.level),
            rounds,
        })
        .collect()
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
