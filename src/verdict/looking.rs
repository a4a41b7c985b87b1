//! Looks: when it is looked whether further trials can be spared, and at what level a difference counts then.

use crate::event::RunPlan;
use crate::statistics::looks::{self, Look};

/// How many repeats of an objective, of `repeats` in all, have ended at look `look` of `looks`, from 1.
#[must_use]
pub const fn repeats_by(repeats: u32, look: u32, looks: u32) -> u32 {
    (repeats * look).div_ceil(looks)
}

/// The looks of a plan with their levels, the last one at the end. Those that come at the same repeat are one.
#[must_use]
pub fn levels(plan: &RunPlan) -> Vec<Look> {
    let all: u32 = plan.objectives.iter().map(|it| it.repeats).sum();
    let by = |look: u32| -> u32 {
        let objectives = plan.objectives.iter();
        objectives
            .map(|it| repeats_by(it.repeats, look, plan.looks))
            .sum()
    };
    let mut shares: Vec<f64> = (1..=plan.looks)
        .map(|look| f64::from(by(look)) / f64::from(all.max(1)))
        .collect();
    shares.dedup();
    looks::levels(plan.rule.alpha, &shares)
}
