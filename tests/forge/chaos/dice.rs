//! Draws that follow from a seed alone.

use crate::support::fake_daytona::fault::scramble;

/// Draws from a seed.
#[derive(Debug)]
pub(super) struct Dice {
    seed: u64,
    drawn: u64,
}

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self { seed, drawn: 0 }
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.drawn += 1;
        scramble(scramble(self.seed).wrapping_add(self.drawn)) % end.max(1)
    }

    /// From 1 to this.
    pub(super) fn up_to(&mut self, most: u32) -> u32 {
        u32::try_from(1 + self.below(u64::from(most))).unwrap()
    }

    pub(super) fn hits(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(super) fn one_of<T: Clone>(&mut self, of: &[T]) -> T {
        let at = usize::try_from(self.below(of.len() as u64)).unwrap();
        of[at].clone()
    }
}
