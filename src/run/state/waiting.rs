//! Trials that wait, in the order in which it is their turn.
//!
//! Promises: those that follow one another in the run's order take no more room than one.

use std::collections::{VecDeque, vec_deque};
use std::iter::Flatten;
use std::ops::Range;

/// Trials by their places, in order.
#[derive(Debug, Default)]
pub(super) struct Waiting(VecDeque<Range<usize>>);

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one behind the others.
    pub(super) fn push_back(&mut self, trial: usize) {
        match self.0.back_mut() {
            Some(last) if last.end == trial => last.end += 1,
            Some(_) | None => self.0.push_back(trial..trial + 1),
        }
    }

    /// Adds one before the others.
    pub(super) fn push_front(&mut self, trial: usize) {
        match self.0.front_mut() {
            Some(first) if first.start == trial + 1 => first.start = trial,
            Some(_) | None => self.0.push_front(trial..trial + 1),
        }
    }

    /// Takes the first.
    pub(super) fn pop_front(&mut self) -> Option<usize> {
        let first = self.0.front_mut()?;
        let trial = first.next();
        if first.start == first.end {
            self.0.pop_front();
        }
        trial
    }
}

impl Extend<usize> for Waiting {
    fn extend<T: IntoIterator<Item = usize>>(&mut self, trials: T) {
        for trial in trials {
            self.push_back(trial);
        }
    }
}

impl IntoIterator for Waiting {
    type Item = usize;
    type IntoIter = Flatten<vec_deque::IntoIter<Range<usize>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_one_another_takes_no_more_room_than_one() {
        let mut waiting = Waiting::default();
        waiting.extend([5, 6, 7, 9]);
        waiting.push_front(4);
        waiting.push_front(8);
        assert_eq!(waiting.0, [8..9, 4..8, 9..10]);
        assert_eq!(
            [waiting.pop_front(), waiting.pop_front()],
            [Some(8), Some(4)]
        );
        assert_eq!(waiting.0, [5..8, 9..10]);
        waiting.push_front(4);
        assert_eq!(waiting.into_iter().collect::<Vec<_>>(), [4, 5, 6, 7, 9]);
        assert_eq!(Waiting::default().pop_front(), None);
    }
}
