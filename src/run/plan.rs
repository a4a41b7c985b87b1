//! What a run's trials are made of: who does what, with which limits and networks.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::order::{self, Slot};
use super::state::Planned;
use crate::candidate::Candidate;
use crate::name::TrialId;
use crate::objective::{LimitOverrides, Limits, Objective};
use crate::policy::NetworkOverrides;
use crate::sandbox::Networks;
use crate::trial::Job;

/// What trials are made of.
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) candidates: Vec<Arc<Candidate>>,
    pub(super) environments: Vec<Arc<BTreeMap<String, String>>>,
    pub(super) objectives: Vec<Arc<Objective>>,
    pub(super) limits: LimitOverrides,
    pub(super) network: NetworkOverrides,
    pub(super) slots: Vec<Slot>,
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

    fn follows_addresses(&self, slot: Slot) -> bool {
        let said = self.network.over(&self.objectives[slot.objective].network);
        said.follows_addresses(self.candidates[slot.candidate].trust)
    }

    /// The trials in their order, with the class of sandbox that each asks for, and the group of those that
    /// are set up like it.
    pub(super) fn planned(&self) -> Vec<Planned> {
        let (mut classes, mut setups) = (Vec::new(), Vec::new());
        let slots = self.slots.iter();
        slots
            .map(|&slot| {
                let networks = self.networks(slot);
                let limits = self.limits(slot);
                let follows = self.follows_addresses(slot);
                let setup = (
                    slot.candidate,
                    networks.setup.clone(),
                    limits.setup,
                    follows,
                );
                Planned {
                    id: self.id(slot),
                    class: numbered(
                        &mut classes,
                        (networks, self.candidates[slot.candidate].trust),
                    ),
                    setup: numbered(&mut setups, setup),
                }
            })
            .collect()
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
            follows_addresses: self.follows_addresses(slot),
            seed: order::trial_seed(self.seed, slot.objective, slot.repeat),
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
