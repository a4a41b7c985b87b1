//! What the trials of a run are made of, and when it is their turn.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::order::{self, Slot, Turns};
use super::state::Planned;
use crate::candidate::Candidate;
use crate::event::{RunPlan, TrialRecord};
use crate::name::TrialId;
use crate::objective::{LimitOverrides, Limits, Objective};
use crate::policy::NetworkOverrides;
use crate::sandbox::Networks;
use crate::trial::Job;
use crate::verdict::looking::Stage;
use crate::verdict::spending::Confirming;

/// All planned trials, in their order.
pub(super) fn slots(plan: &RunPlan) -> Vec<Slot> {
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
    let mut slots = order::interleaved(&turns, plan.seed);
    slots.retain(|it| plan.has_repeat(it.repeat));
    slots
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
    pub(super) slots: Vec<Slot>,
    /// How many of each candidate's repeats were planned before anything was confirmed, objective by objective.
    pub(super) repeats: Vec<Vec<u32>>,
    /// The trials that have their result already.
    pub(super) known: HashSet<TrialId>,
}

impl Plan {
    pub(super) fn id(&self, slot: Slot) -> TrialId {
        TrialId {
            objective: self.objectives[slot.objective].name.clone(),
            candidate: self.candidates[slot.candidate].name.clone(),
            repeat: slot.repeat,
        }
    }

    fn networks(&self, slot: Slot) -> Networks {
        let said = self.network.over(&self.objectives[slot.objective].network);
        self.candidates[slot.candidate].networks(&said)
    }

    fn limits(&self, slot: Slot) -> Limits {
        let own = self.candidates[slot.candidate].limits;
        let objective = self.objectives[slot.objective].limits;
        Limits::resolve(self.limits.over(own).over(objective))
    }

    /// The trials from a place in their order on, with the class of sandbox that each asks for, the group of those
    /// that are set up like it, and the stage whose look it comes before.
    pub(super) fn planned(&self, from: usize, stages: &[Stage]) -> Vec<Planned> {
        let (mut classes, mut setups) = (Vec::new(), Vec::new());
        // Also of those before: numbers mean the same in all lists.
        let slots = self.slots.iter();
        let all = slots.map(|&slot| {
            let networks = self.networks(slot);
            let limits = self.limits(slot);
            let setup = (slot.candidate, networks.setup.clone(), limits.setup);
            let trust = self.candidates[slot.candidate].trust;
            let comes_before = |stage: &&Stage| stage.rounds[slot.objective] >= slot.round;
            let id = self.id(slot);
            Planned {
                is_known: self.known.contains(&id),
                id,
                class: numbered(&mut classes, (networks, trust)),
                setup: numbered(&mut setups, setup),
                stage: stages.iter().find(comes_before).map_or(1, |it| it.look),
            }
        });
        all.collect::<Vec<_>>().split_off(from)
    }

    /// Adds the trials of what is run again, interleaved; those of them that could show nothing have their result at
    /// once.
    pub(super) fn confirm(&mut self, confirming: &Confirming) -> (Vec<Planned>, Vec<TrialRecord>) {
        let (from, mut spared) = (self.slots.len(), Vec::new());
        let Some(rounds) = confirming.confirmations.first().map(|it| it.trials) else {
            return (Vec::new(), spared);
        };
        let again = |candidate: &Candidate| {
            let mut confirmations = confirming.confirmations.iter();
            confirmations.any(|it| it.candidate == candidate.name || it.against == candidate.name)
        };
        let each = self.candidates.iter();
        let repeats: Vec<u32> = each.map(|it| if again(it) { rounds } else { 0 }).collect();
        let turns = vec![Turns { rounds, repeats }; self.objectives.len()];
        // Another order than that of the first rounds.
        for slot in order::interleaved(&turns, self.seed ^ 1) {
            let before = self.repeats[slot.candidate][slot.objective];
            let slot = Slot {
                repeat: before + slot.repeat,
                ..slot
            };
            let objective = &self.objectives[slot.objective].name;
            if confirming.ungraded.contains(objective) {
                if self.known.contains(&self.id(slot)) {
                    continue;
                }
                let reason = "spared: the objective is ungraded";
                spared.push(TrialRecord::spared(self.id(slot), reason));
            } else {
                self.slots.push(slot);
            }
        }
        // They come after all looks.
        (self.planned(from, &[]), spared)
    }

    pub(super) fn job(&self, trial: usize) -> Job {
        let slot = self.slots[trial];
        let candidate = Arc::clone(&self.candidates[slot.candidate]);
        let objective = Arc::clone(&self.objectives[slot.objective]);
        Job {
            id: self.id(slot),
            limits: self.limits(slot),
            env: Arc::clone(&self.environments[slot.candidate]),
            networks: self.networks(slot),
            seed: order::trial_seed(self.seed, &objective.name, slot.repeat),
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
