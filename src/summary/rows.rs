//! Some trials of a run that follow one another.

use super::row::TrialRow;
use super::trials::Trials;

/// Some trials of a run that follow one another.
#[derive(Debug, Clone, Copy)]
pub struct TrialRows<'a> {
    trials: &'a Trials,
    from: usize,
    to: usize,
}

impl<'a> TrialRows<'a> {
    pub(super) const fn of(trials: &'a Trials, from: usize, to: usize) -> Self {
        Self { trials, from, to }
    }

    /// How many there are.
    #[must_use]
    pub const fn len(self) -> usize {
        self.to - self.from
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.from == self.to
    }

    /// The first one.
    #[must_use]
    pub fn first(self) -> Option<TrialRow<'a>> {
        self.iter().next()
    }

    /// One after the other.
    #[must_use]
    pub fn iter(self) -> Iter<'a> {
        Iter {
            rows: self,
            cell: self.trials.cell(self.from),
        }
    }

    /// Those of each candidate on each objective.
    pub fn cells(self) -> impl Iterator<Item = Self> {
        let mut left = self;
        std::iter::from_fn(move || {
            if left.is_empty() {
                return None;
            }
            let Self { trials, from, to } = left;
            left.from = trials.range(trials.cell(from)).end.min(to);
            Some(Self::of(trials, from, left.from))
        })
    }
}

impl<'a> IntoIterator for TrialRows<'a> {
    type Item = TrialRow<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Trials of a run, one after the other.
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    /// Those that are left.
    rows: TrialRows<'a>,
    /// The cell of the first of them.
    cell: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = TrialRow<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let TrialRows { trials, from, to } = self.rows;
        if from >= to {
            return None;
        }
        while trials.range(self.cell).end <= from {
            self.cell += 1;
        }
        self.rows.from += 1;
        Some(TrialRow::at(trials, self.cell, from))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.rows.len(), Some(self.rows.len()))
    }
}

impl ExactSizeIterator for Iter<'_> {}
