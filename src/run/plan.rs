//! What the trials of a run are made of, and when it is their turn.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::order::{self, Slot, Turns};
use super::state::{Group, Planned};
use crate::candidate::Candidate;
use crate::event::{RunPlan, TrialRecord};
use crate::name::TrialId;
use crate::objective::{LimitOverrides, Limits, Objective};
use crate::policy::NetworkOverrides;
use crate::sandbox::Networks;
use crate::summary::{RunSummary, TrialRow};
use crate::trial::Job;
use crate::verdict::looking::Stage;
use crate::verdict::spending::Confirming;

/// All planned trials, in their order.
fn slots(plan: &RunPlan) -> impl Iterator<Item = Slot> {
    let objectives = plan.objectives.iter();
    let turns: Vec<Turns> = objectives
        .map(|objective| {
            let candidates = plan.candidates.iter();
            Turns {
                rounds: objective.repeats,
                repeats: candidates.map(|it| plan.repeats(it, objective)).collect(),
            }
        })
        .collect();
    order::interleaved(turns, plan.seed).filter(|it| plan.has_repeat(it.repeat))
}

/// How often each candidate does each objective, by their places.
pub(super) fn repeats(plan: &RunPlan) -> Vec<Vec<u32>> {
    let candidates = plan.candidates.iter();
    let of = |candidate| {
        let objectives = plan.objectives.iter();
        objectives.map(|it| plan.repeats(candidate, it)).collect()
    };
    candidates.map(of).collect()
}

/// What trials are made of.
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) candidates: Vec<Arc<Candidate>>,
    pub(super) environments: Vec<Arc<BTreeMap<String, String>>>,
    pub(super) objectives: Vec<Arc<Objective>>,
    pub(super) limits: LimitOverrides,
    pub(super) network: NetworkOverrides,
    /// How many of each candidate's repeats were planned before anything was confirmed, objective by objective.
    pub(super) repeats: Vec<Vec<u32>>,
}

/// Whether a trial has its result already.
fn is_known(summary: &RunSummary, trial: &TrialId) -> bool {
    summary.trial(trial).is_some_and(TrialRow::has_result)
}

impl Plan {
    fn id(&self, slot: Slot) -> TrialId {
        TrialId {
            objective: self.objectives[slot.objective].name.clone(),
            candidate: self.candidates[slot.candidate].name.clone(),
            repeat: slot.repeat,
        }
    }

    fn networks(&self, candidate: usize, objective: usize) -> Networks {
        let said = self.network.over(&self.objectives[objective].network);
        self.candidates[candidate].networks(&said)
    }

    fn limits(&self, candidate: usize, objective: usize) -> Limits {
        let own = self.candidates[candidate].limits;
        let objective = self.objectives[objective].limits;
        Limits::resolve(self.limits.over(own).over(objective))
    }

    /// What the trials of each candidate on each objective have in common: the class of sandbox that they ask for, and
    /// the number of those that are set up like them. All objectives of a candidate are together.
    pub(super) fn groups(&self) -> Vec<Group> {
        let (mut classes, mut setups) = (Vec::new(), Vec::new());
        let mut groups = Vec::new();
        for (candidate, who) in self.candidates.iter().enumerate() {
            for (objective, what) in self.objectives.iter().enumerate() {
                let networks = self.networks(candidate, objective);
                let limits = self.limits(candidate, objective);
                let setup = (candidate, networks.setup.clone(), limits.setup);
                groups.push(Group {
                    objective: what.name.clone(),
                    candidate: who.name.clone(),
                    class: numbered(&mut classes, (networks, who.trust)),
                    setup: numbered(&mut setups, setup),
                });
            }
        }
        groups
    }

    /// The candidate and the objective of a group, by their places.
    fn of_group(&self, group: u32) -> (usize, usize) {
        let objectives = self.objectives.len().max(1);
        (group as usize / objectives, group as usize % objectives)
    }

    fn planned(&self, slot: Slot, stage: u32, summary: &RunSummary) -> Planned {
        let group = slot.candidate * self.objectives.len() + slot.objective;
        Planned {
            group: u32::try_from(group).unwrap_or(u32::MAX),
            repeat: slot.repeat,
            stage,
            is_known: is_known(summary, &self.id(slot)),
        }
    }

    /// All planned trials, in their order, each with the stage whose look it comes before.
    pub(super) fn staged(
        &self,
        plan: &RunPlan,
        stages: &[Stage],
        summary: &RunSummary,
    ) -> Vec<Planned> {
        let stage = |slot: &Slot| {
            let mut stages = stages.iter();
            let comes_before = stages.find(|it| it.rounds[slot.objective] >= slot.round);
            comes_before.map_or(1, |it| it.look)
        };
        // There is one for each: no more room than that.
        let mut planned = Vec::with_capacity(plan.len());
        planned.extend(slots(plan).map(|slot| self.planned(slot, stage(&slot), summary)));
        planned
    }

    /// The trials of what is run again, interleaved; those of them that could show nothing have their result at
    /// once.
    pub(super) fn confirm(
        &self,
        confirming: &Confirming,
        summary: &RunSummary,
    ) -> (Vec<Planned>, Vec<TrialRecord>) {
        let (mut more, mut spared) = (Vec::new(), Vec::new());
        let Some(rounds) = confirming.confirmations.first().map(|it| it.trials) else {
            return (more, spared);
        };
        let again = |candidate: &Candidate| {
            let mut confirmations = confirming.confirmations.iter();
            confirmations.any(|it| it.candidate == candidate.name || it.against == candidate.name)
        };
        let each = self.candidates.iter();
        let repeats: Vec<u32> = each.map(|it| if again(it) { rounds } else { 0 }).collect();
        let turns = vec![Turns { rounds, repeats }; self.objectives.len()];
        // Another order than that of the first rounds.
        for slot in order::interleaved(turns, self.seed ^ 1) {
            let before = self.repeats[slot.candidate][slot.objective];
            let slot = Slot {
                repeat: before + slot.repeat,
                ..slot
            };
            let objective = &self.objectives[slot.objective].name;
            if confirming.ungraded.contains(objective) {
                if is_known(summary, &self.id(slot)) {
                    continue;
                }
                let reason = "spared: the objective is ungraded";
                spared.push(TrialRecord::spared(self.id(slot), reason));
            } else {
                // They come after all looks.
                more.push(self.planned(slot, 1, summary));
            }
        }
        (more, spared)
    }

    pub(super) fn job(&self, planned: Planned) -> Job {
        let (candidate, objective) = self.of_group(planned.group);
        let (limits, networks) = (
            self.limits(candidate, objective),
            self.networks(candidate, objective),
        );
        let env = Arc::clone(&self.environments[candidate]);
        let candidate = Arc::clone(&self.candidates[candidate]);
        let objective = Arc::clone(&self.objectives[objective]);
        Job {
            id: TrialId {
                objective: objective.name.clone(),
                candidate: candidate.name.clone(),
                repeat: planned.repeat,
            },
            limits,
            env,
            networks,
            seed: order::trial_seed(self.seed, &objective.name, planned.repeat),
            candidate,
            objective,
        }
    }
}

/// The place of something among those that are known; what is not, becomes the last of them.
fn numbered<T: PartialEq>(known: &mut Vec<T>, this: T) -> usize {
    let place = known.iter().position(|it| *it == this);
    place.unwrap_or_else(|| {
        known.push(this);
        known.len() - 1
    })
}
