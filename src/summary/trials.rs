//! The trials of a run: which there are, and what is kept of each.
//!
//! Promises: what is kept of a trial is small, because it is kept for every planned one; names and places grow with
//! candidates and objectives, never with trials.

use std::collections::BTreeMap;
use std::ops::Range;

use super::kept::Kept;
use super::row::TrialRow;
use super::rows::{Iter, TrialRows};
use crate::event::RunPlan;
use crate::name::{CandidateName, ObjectiveName, TrialId};

/// What is kept of every planned trial, in the plan's order: those of an objective together, and of those the ones of a
/// candidate.
#[derive(Clone, Default)]
pub struct Trials {
    objectives: Names<ObjectiveName>,
    candidates: Names<CandidateName>,
    /// In order.
    cells: Vec<Cell>,
    /// The repeats of cells in which they are not evenly spaced, by the place of the cell.
    uneven: BTreeMap<usize, Vec<u32>>,
    len: usize,
    pub(super) kept: Kept,
}

/// Names in the plan's order, and the place of each.
#[derive(Debug, Clone)]
struct Names<T> {
    all: Vec<T>,
    places: BTreeMap<T, u32>,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self {
            all: Vec::new(),
            places: BTreeMap::new(),
        }
    }
}

impl<T: Clone + Ord> Names<T> {
    fn of<'a>(names: impl Iterator<Item = &'a T>) -> Self
    where
        T: 'a,
    {
        let all: Vec<T> = names.cloned().collect();
        let mut places = BTreeMap::new();
        for (name, at) in all.iter().zip(0..) {
            places.entry(name.clone()).or_insert(at);
        }
        Self { all, places }
    }
}

/// Where the trials of a candidate on an objective are: from here to where the next cell begins.
#[derive(Debug, Clone, Copy)]
struct Cell {
    objective: u32,
    candidate: u32,
    from: u32,
    /// The first repeat, and by how much the next is higher.
    first: u32,
    step: u32,
}

impl Trials {
    /// Those of a plan, without any result.
    pub(super) fn planned(plan: &RunPlan) -> Self {
        Self::of(plan, plan.trials())
    }

    /// These of a plan, in its order.
    fn of(plan: &RunPlan, trials: impl Iterator<Item = TrialId>) -> Self {
        let mut this = Self {
            objectives: Names::of(plan.objectives.iter().map(|it| &it.name)),
            candidates: Names::of(plan.candidates.iter().map(|it| &it.name)),
            ..Self::default()
        };
        for trial in trials {
            this.push(&trial);
        }
        this.cells.shrink_to_fit();
        this
    }

    fn push(&mut self, trial: &TrialId) {
        let last = self.cells.len().checked_sub(1);
        let is_of_last = last.is_some_and(|at| {
            self.objective(at) == &trial.objective && self.candidate(at) == &trial.candidate
        });
        if !is_of_last {
            let objective = self.objectives.places.get(&trial.objective);
            let candidate = self.candidates.places.get(&trial.candidate);
            let (Some(objective), Some(candidate)) = (objective, candidate) else {
                return;
            };
            // A name that somebody has written twice is there once.
            let before = last.map(|at| (self.cells[at].objective, self.cells[at].candidate));
            if before >= Some((*objective, *candidate)) {
                return;
            }
            self.cells.push(Cell {
                objective: *objective,
                candidate: *candidate,
                from: place(self.len),
                first: trial.repeat,
                step: 1,
            });
        } else if let Some(at) = last {
            let cell = &mut self.cells[at];
            let before = self.len - cell.from as usize;
            if before == 1 && trial.repeat > cell.first {
                cell.step = trial.repeat - cell.first;
            }
            let cell = self.cells[at];
            if let Some(uneven) = self.uneven.get_mut(&at) {
                uneven.push(trial.repeat);
            } else if cell.repeat(before) != Some(trial.repeat) {
                let even = (0..before).filter_map(|at| cell.repeat(at));
                let repeats = even.chain([trial.repeat]).collect();
                self.uneven.insert(at, repeats);
            }
        }
        self.len += 1;
    }

    /// The same with these of its plan besides, each behind those of its candidate and objective.
    pub(super) fn extended(&self, plan: &RunPlan, more: impl Iterator<Item = TrialId>) -> Self {
        let place = |trial: &TrialId| {
            let objective = self.objectives.places.get(&trial.objective)?;
            let candidate = self.candidates.places.get(&trial.candidate)?;
            Some((*objective, *candidate, trial.repeat))
        };
        let all = self.iter().map(TrialRow::trial).chain(more);
        let mut all: Vec<_> = all.filter_map(|it| place(&it)).collect();
        all.sort_unstable();
        let trial = |(objective, candidate, repeat)| TrialId {
            objective: ObjectiveName::clone(&self.objectives.all[objective as usize]),
            candidate: CandidateName::clone(&self.candidates.all[candidate as usize]),
            repeat,
        };
        let mut extended = Self::of(plan, all.into_iter().map(trial));
        extended.take_over(self, |_| true);
        extended
    }

    /// Takes over what another has of the same trials, where it is wanted.
    pub(super) fn take_over(&mut self, other: &Self, wanted: impl Fn(TrialRow<'_>) -> bool) {
        for at in 0..self.len {
            let row = self.get(at);
            let theirs = row.and_then(|row| other.find(&row.trial()));
            if let Some(theirs) = theirs.and_then(|at| other.get(at)).filter(|it| wanted(*it)) {
                self.copy(at, theirs);
            }
        }
    }

    /// Whether these are the trials of a plan, in its order.
    pub(super) fn are_of(&self, plan: &RunPlan) -> bool {
        let is = |(row, trial): (TrialRow<'_>, TrialId)| {
            let trial_of_row = (row.objective(), row.candidate(), row.repeat());
            trial_of_row == (&trial.objective, &trial.candidate, trial.repeat)
        };
        self.len == plan.len() && self.iter().zip(plan.trials()).all(is)
    }

    /// The place of a trial.
    pub(super) fn find(&self, trial: &TrialId) -> Option<usize> {
        let objective = self.objectives.places.get(&trial.objective)?;
        let candidate = self.candidates.places.get(&trial.candidate)?;
        let wanted = (*objective, *candidate);
        let of = |it: &Cell| (it.objective, it.candidate);
        let at = self.cells.binary_search_by_key(&wanted, of).ok()?;
        let range = self.range(at);
        let within = match self.uneven.get(&at) {
            Some(repeats) => repeats.binary_search(&trial.repeat).ok()?,
            None => self.cells[at].place(trial.repeat)?,
        };
        (within < range.len()).then_some(range.start + within)
    }

    pub(super) fn range(&self, cell: usize) -> Range<usize> {
        let next = self.cells.get(cell + 1);
        let to = next.map_or(self.len, |it| it.from as usize);
        self.cells[cell].from as usize..to
    }

    /// The cell that a trial is in.
    pub(super) fn cell(&self, at: usize) -> usize {
        let before = self.cells.partition_point(|it| it.from as usize <= at);
        before.saturating_sub(1)
    }

    pub(super) fn objective(&self, cell: usize) -> &ObjectiveName {
        &self.objectives.all[self.cells[cell].objective as usize]
    }

    pub(super) fn candidate(&self, cell: usize) -> &CandidateName {
        &self.candidates.all[self.cells[cell].candidate as usize]
    }

    pub(super) fn repeat(&self, cell: usize, at: usize) -> u32 {
        let within = at - self.cells[cell].from as usize;
        let uneven = self.uneven.get(&cell);
        let repeat = uneven.map_or_else(
            || self.cells[cell].repeat(within),
            |it| it.get(within).copied(),
        );
        repeat.unwrap_or(u32::MAX)
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The one in this place.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<TrialRow<'_>> {
        (at < self.len).then(|| TrialRow::at(self, self.cell(at), at))
    }

    /// All of them.
    #[must_use]
    pub const fn rows(&self) -> TrialRows<'_> {
        TrialRows::of(self, 0, self.len)
    }

    /// One after the other.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        self.rows().iter()
    }

    /// Those of an objective.
    #[must_use]
    pub fn of_objective(&self, objective: &ObjectiveName) -> TrialRows<'_> {
        let Some(objective) = self.objectives.places.get(objective) else {
            return TrialRows::of(self, 0, 0);
        };
        let from = self.cells.partition_point(|it| it.objective < *objective);
        let to = self.cells.partition_point(|it| it.objective <= *objective);
        let begin = |cell: usize| self.cells.get(cell).map_or(self.len, |it| it.from as usize);
        TrialRows::of(self, begin(from), begin(to))
    }

    /// Those of a candidate on an objective.
    #[must_use]
    pub fn of_cell(&self, objective: &ObjectiveName, candidate: &CandidateName) -> TrialRows<'_> {
        let find = || {
            let objective = self.objectives.places.get(objective)?;
            let candidate = self.candidates.places.get(candidate)?;
            let of = |it: &Cell| (it.objective, it.candidate);
            let wanted = (*objective, *candidate);
            self.cells.binary_search_by_key(&wanted, of).ok()
        };
        let range = find().map_or(0..0, |at| self.range(at));
        TrialRows::of(self, range.start, range.end)
    }
}

/// As a place in a cell, where no run has so many trials that it would not fit.
fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

impl Cell {
    fn repeat(self, at: usize) -> Option<u32> {
        place(at).checked_mul(self.step)?.checked_add(self.first)
    }

    fn place(self, repeat: u32) -> Option<usize> {
        let above = repeat.checked_sub(self.first)?;
        (above % self.step == 0).then_some((above / self.step) as usize)
    }
}

impl PartialEq for Trials {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other)
    }
}

impl std::fmt::Debug for Trials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl<'a> IntoIterator for &'a Trials {
    type Item = TrialRow<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
