//! What a run may spend, and when going on would only lose more.

use std::collections::VecDeque;
use std::time::Instant;

use crate::event::{Phase, TrialRecord};
use crate::summary::{RunSummary, TrialRow};

/// The metric by which candidates say what they have cost, in US dollars.
pub const COST: &str = "cost_usd";

/// What a run may spend at the most; what is not said is not bounded.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Budget {
    /// Sandboxes made, attempts of trials that is.
    pub sandboxes: Option<u64>,
    /// US dollars: what the candidates themselves say in `cost_usd`, and the time of the sandboxes where an hour has a
    /// price. Trials that are under way when it is used up come to their end.
    pub cost: Option<f64>,
}

/// What was spent.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spending {
    /// Sandboxes made.
    pub sandboxes: u64,
    /// US dollars.
    pub cost: f64,
}

/// What the trials that have a result have cost by what they say, and the time of all sandboxes, in US dollars.
#[must_use]
pub fn cost_of(summary: &RunSummary) -> f64 {
    let metrics = summary.trials.iter().flat_map(TrialRow::metrics);
    let costs = metrics.filter(|(name, _)| **name == *COST);
    let said: f64 = costs.map(|(_, value)| spent(*value)).sum();
    said + summary.sandboxes_cost().unwrap_or(0.0)
}

/// What a candidate says that it has cost: nobody gives anything back.
const fn spent(said: f64) -> f64 {
    said.max(0.0)
}

/// An amount of US dollars, short whatever was said.
fn dollars(amount: f64) -> String {
    if amount < 1e9 {
        format!("{amount:.2}")
    } else {
        format!("{amount:.0e}")
    }
}

/// So many trials that ended last are looked at, or twice as many as run at once.
const LEAST: usize = 8;

/// What was spent, and how the trials ended last.
#[derive(Debug)]
pub(super) struct Spent {
    budget: Budget,
    so_far: Spending,
    price_per_hour: f64,
    /// How many sandboxes there are, and until when their time is in what was spent.
    open: u32,
    counted: Option<Instant>,
    /// Of the trials that ended last, whether no sandbox could be made for them.
    unmade: VecDeque<bool>,
    looked_at: usize,
}

impl Spent {
    pub(super) fn new(jobs: usize) -> Self {
        Self {
            budget: Budget::default(),
            so_far: Spending::default(),
            price_per_hour: 0.0,
            open: 0,
            counted: None,
            unmade: VecDeque::new(),
            looked_at: LEAST.max(2 * jobs),
        }
    }

    /// The same with a budget and a price, of which so much was spent before the run was gone on with.
    pub(super) fn within(self, budget: Budget, price_per_hour: f64, before: Spending) -> Self {
        Self {
            budget,
            price_per_hour,
            so_far: before,
            ..self
        }
    }

    /// An attempt begins.
    pub(super) fn begin(&mut self, now: Instant) {
        self.count(now);
        self.open += 1;
        self.so_far.sandboxes += 1;
    }

    /// An attempt that was begun is over.
    pub(super) fn leave(&mut self, now: Instant) {
        self.count(now);
        self.open -= 1;
    }

    /// Adds the time that has gone by, of every sandbox that there was.
    fn count(&mut self, now: Instant) {
        let since = self.counted.replace(now).unwrap_or(now);
        let hours = now.saturating_duration_since(since).as_secs_f64() / 3600.0;
        self.so_far.cost += f64::from(self.open) * hours * self.price_per_hour;
    }

    /// A trial has its result.
    pub(super) fn end(&mut self, record: &TrialRecord) {
        self.so_far.cost += record.metrics.get(COST).map_or(0.0, |it| spent(*it));
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
    pub(super) fn is_used_up(&mut self, now: Instant) -> Option<String> {
        self.count(now);
        let Spending { sandboxes, cost } = self.so_far;
        if let Some(most) = self.budget.sandboxes.filter(|most| sandboxes >= *most) {
            return Some(format!("the budget of {most} sandboxes is used up"));
        }
        let most = self.budget.cost.filter(|most| cost >= *most)?;
        let by = if self.price_per_hour > 0.0 {
            "what the candidates say and what their sandboxes cost"
        } else {
            "what the candidates say"
        };
        Some(format!(
            "the budget of {most} USD is used up: {} by {by}",
            dollars(cost)
        ))
    }

    /// Whether sandboxes could not be made for three of four trials that ended last.
    pub(super) fn is_hopeless(&self) -> bool {
        let unmade = self.unmade.iter().filter(|it| **it).count();
        self.unmade.len() == self.looked_at && unmade * 4 >= self.looked_at * 3
    }
}
