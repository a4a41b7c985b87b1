//! The order of trials: interleaved and seeded, so that no candidate is favoured by the machine's mood.

use crate::statistics::draw::Random;

/// A seed made of a run's id, for runs that were given none.
#[must_use]
pub fn seed_of(run: &crate::name::RunId) -> u64 {
    let seed = run.to_string().bytes().fold(0, |seed: u64, byte| {
        Random::new(seed ^ u64::from(byte)).next()
    });
    // 53 bits survive every language's numbers.
    seed >> 11
}

/// One planned trial, by its indices; `repeat` counts from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// Which objective.
    pub objective: usize,
    /// Which candidate.
    pub candidate: usize,
    /// Which repeat.
    pub repeat: u32,
}

/// All trials: round after round of repeats; in each, the objectives in a shuffled order; for each, all
/// candidates in a shuffled order. At any moment every candidate has begun about as often as any other.
#[must_use]
pub fn interleaved(candidates: usize, repeats: &[u32], seed: u64) -> Vec<Slot> {
    let mut random = Random::new(seed);
    let mut order = Vec::new();
    for repeat in 1..=repeats.iter().copied().max().unwrap_or(0) {
        let mut objectives: Vec<usize> = (0..repeats.len())
            .filter(|objective| repeats[*objective] >= repeat)
            .collect();
        random.shuffle(&mut objectives);
        for objective in objectives {
            let mut all: Vec<usize> = (0..candidates).collect();
            random.shuffle(&mut all);
            order.extend(all.into_iter().map(|candidate| Slot {
                objective,
                candidate,
                repeat,
            }));
        }
    }
    order
}

/// The seed that a trial's candidate is given: the same for all candidates, so that they can be paired.
#[must_use]
pub fn trial_seed(seed: u64, objective: usize, repeat: u32) -> u64 {
    let at = (objective as u64) << 32 | u64::from(repeat);
    // 53 bits survive every language's numbers.
    Random::new(seed ^ Random::new(at).next()).next() >> 11
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_trial_is_planned_once_and_candidates_take_turns() {
        let order = interleaved(3, &[2, 5], 42);
        assert_eq!(order.len(), 3 * 7);
        assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), order.len());
        for block in order.chunks(3) {
            let candidates: BTreeSet<_> = block.iter().map(|slot| slot.candidate).collect();
            assert_eq!(candidates.len(), 3, "{block:?}");
        }
    }

    #[test]
    fn the_seed_decides_the_order() {
        assert_eq!(interleaved(8, &[3], 1), interleaved(8, &[3], 1));
        assert_ne!(interleaved(8, &[3], 1), interleaved(8, &[3], 2));
        assert_eq!(interleaved(0, &[3], 1), []);
        assert_eq!(interleaved(3, &[], 1), []);
    }

    #[test]
    fn trial_seeds_differ_by_objective_and_repeat_and_fit_a_double() {
        let seeds: BTreeSet<u64> = (0..10)
            .flat_map(|o| (1..10).map(move |r| trial_seed(7, o, r)))
            .collect();
        assert_eq!(seeds.len(), 90);
        assert!(seeds.iter().all(|seed| *seed < 1 << 53));
    }
}
