//! What a run may spend, and when going on would only lose more.

use std::collections::VecDeque;

use crate::event::{Phase, TrialRecord};
use crate::summary::RunSummary;

/// The metric by which candidates say what they have cost, in US dollars.
pub const COST: &str = "cost_usd";

/// What a run may spend at the most; what is not said is not bounded.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Budget {
    /// Sandboxes made, attempts of trials that is.
    pub sandboxes: Option<u64>,
    /// US dollars, by what the candidates themselves say in `cost_usd`. Trials that are under way when it is used up
    /// come to their end.
    pub cost: Option<f64>,
}

/// What the trials that have a result have cost, in US dollars, by what they say.
#[must_use]
pub fn cost_of(summary: &RunSummary) -> f64 {
    let metrics = summary.trials.iter().flat_map(|row| &row.metrics);
    let costs = metrics.filter(|(name, _)| **name == *COST);
    costs.map(|(_, value)| value).sum()
}

/// So many trials that ended last are looked at, or twice as many as run at once.
const LEAST: usize = 8;

/// What was spent, and how the trials ended last.
#[derive(Debug)]
pub(super) struct Spent {
    budget: Budget,
    sandboxes: u64,
    cost: f64,
    /// Of the trials that ended last, whether no sandbox could be made for them.
    unmade: VecDeque<bool>,
    looked_at: usize,
}

impl Spent {
    pub(super) fn new(jobs: usize) -> Self {
        Self {
            budget: Budget::default(),
            sandboxes: 0,
            cost: 0.0,
            unmade: VecDeque::new(),
            looked_at: LEAST.max(2 * jobs),
        }
    }

    /// The same with a budget, of which so much was spent before the run was gone on with.
    pub(super) fn within(self, budget: Budget, sandboxes: u64, cost: f64) -> Self {
        Self {
            budget,
            sandboxes,
            cost,
            ..self
        }
    }

    /// An attempt begins.
    pub(super) const fn begin(&mut self) {
        self.sandboxes += 1;
    }

    /// A trial has its result.
    pub(super) fn end(&mut self, record: &TrialRecord) {
        self.cost += record.metrics.get(COST).copied().unwrap_or(0.0);
        self.note(false);
    }

    /// The infrastructure has lost a trial in this phase for good.
    pub(super) fn lose(&mut self, phase: Phase) {
        self.note(phase == Phase::Creating);
    }

    fn note(&mut self, is_unmade: bool) {
        if self.unmade.len() == self.looked_at {
            self.unmade.pop_front();
        }
        self.unmade.push_back(is_unmade);
    }

    /// Why no further trial may begin, if so.
    pub(super) fn is_used_up(&self) -> Option<String> {
        let sandboxes = self.budget.sandboxes.filter(|most| self.sandboxes >= *most);
        let cost = self.budget.cost.filter(|most| self.cost >= *most);
        match (sandboxes, cost) {
            (Some(most), _) => Some(format!("the budget of {most} sandboxes is used up")),
            (None, Some(most)) => Some(format!(
                "the budget of {most} USD is used up: {:.2} by what the candidates say",
                self.cost
            )),
            (None, None) => None,
        }
    }

    /// Whether sandboxes could not be made for three of four trials that ended last.
    pub(super) fn is_hopeless(&self) -> bool {
        let unmade = self.unmade.iter().filter(|it| **it).count();
        self.unmade.len() == self.looked_at && unmade * 4 >= self.looked_at * 3
    }
}
