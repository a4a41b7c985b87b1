//! The order of trials: interleaved and seeded, so that no candidate is favoured by the machine's mood.

use crate::name::ObjectiveName;
use crate::statistics::draw::Random;
use crate::verdict::looking::turns_by;

/// A seed made of a run's id, for runs that were given none.
#[must_use]
pub fn seed_of(run: &crate::name::RunId) -> u64 {
    // 53 bits survive every language's numbers.
    stirred(&run.to_string()) >> 11
}

/// One planned trial, by its indices; `repeat` and `round` count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// Which objective.
    pub objective: usize,
    /// Which candidate.
    pub candidate: usize,
    /// Which repeat.
    pub repeat: u32,
    /// In which round of the objective it is its turn.
    pub round: u32,
}

/// How often an objective is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turns {
    /// In how many rounds: its own repeats.
    pub rounds: u32,
    /// How often by each candidate, in the plan's order. Who has other repeats than rounds has them spread over all
    /// rounds, so that it meets the same weather as the others.
    pub repeats: Vec<u32>,
}

impl Turns {
    /// The candidates whose turn it is in a round, each with its repeats.
    fn of(&self, round: u32) -> impl Iterator<Item = (usize, u32)> + '_ {
        let candidates = self.repeats.iter().enumerate();
        candidates.flat_map(move |(candidate, repeats)| {
            let by = |round| turns_by(*repeats, round, self.rounds);
            let turns = by(round - 1) + 1..=by(round);
            turns.map(move |repeat| (candidate, repeat))
        })
    }
}

/// All trials: round after round of repeats; in each, the objectives in a shuffled order; for each, all whose turn
/// it is in a shuffled order. At any moment every candidate has begun about the same share of its trials.
///
/// They are made a round at a time: no list of all of them is held.
pub fn interleaved(objectives: Vec<Turns>, seed: u64) -> impl Iterator<Item = Slot> {
    let mut random = Random::new(seed);
    let rounds = objectives.iter().map(|it| it.rounds).max().unwrap_or(0);
    (1..=rounds).flat_map(move |round| {
        let mut order = Vec::new();
        let mut due: Vec<usize> = (0..objectives.len())
            .filter(|objective| objectives[*objective].rounds >= round)
            .collect();
        random.shuffle(&mut due);
        for objective in due {
            let mut all: Vec<(usize, u32)> = objectives[objective].of(round).collect();
            random.shuffle(&mut all);
            order.extend(all.into_iter().map(|(candidate, repeat)| Slot {
                objective,
                candidate,
                repeat,
                round,
            }));
        }
        order
    })
}

/// The seed that a trial's candidate is given: the same for all candidates, so that they can be paired, and whatever
/// other objectives there are.
#[must_use]
pub fn trial_seed(seed: u64, objective: &ObjectiveName, repeat: u32) -> u64 {
    let place = stirred(objective.as_str()) ^ u64::from(repeat);
    // 53 bits survive every language's numbers.
    Random::new(seed ^ Random::new(place).next()).next() >> 11
}

/// A number made of a text.
fn stirred(text: &str) -> u64 {
    let stir = |number: u64, byte: u8| Random::new(number ^ u64::from(byte)).next();
    text.bytes().fold(0, stir)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn turns(rounds: u32, repeats: &[u32]) -> Turns {
        Turns {
            rounds,
            repeats: repeats.to_vec(),
        }
    }

    fn interleaved(objectives: &[Turns], seed: u64) -> Vec<Slot> {
        super::interleaved(objectives.to_vec(), seed).collect()
    }

    fn equal(candidates: usize, repeats: &[u32]) -> Vec<Turns> {
        let objectives = repeats.iter();
        objectives
            .map(|repeats| turns(*repeats, &vec![*repeats; candidates]))
            .collect()
    }

    #[test]
    fn every_trial_is_planned_once_and_candidates_take_turns() {
        let order = interleaved(&equal(3, &[2, 5]), 42);
        assert_eq!(order.len(), 3 * 7);
        assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), order.len());
        for block in order.chunks(3) {
            let candidates: BTreeSet<_> = block.iter().map(|slot| slot.candidate).collect();
            assert_eq!(candidates.len(), 3, "{block:?}");
        }
    }

    #[test]
    fn the_seed_decides_the_order() {
        let eight = equal(8, &[3]);
        assert_eq!(interleaved(&eight, 1), interleaved(&eight, 1));
        assert_ne!(interleaved(&eight, 1), interleaved(&eight, 2));
        assert_eq!(interleaved(&equal(0, &[3]), 1), []);
        assert_eq!(interleaved(&[], 1), []);
    }

    /// Runs that have been recorded can be had again in the same order.
    #[test]
    fn the_order_of_equal_repeats_is_what_it_always_was() {
        let order = interleaved(&equal(3, &[2, 1]), 7);
        let shown: Vec<String> = order
            .iter()
            .map(|it| format!("{}{}{}", it.objective, it.candidate, it.repeat))
            .collect();
        assert_eq!(shown.join(" "), "011 021 001 111 121 101 012 022 002");
    }

    #[test]
    fn who_has_more_or_fewer_repeats_has_all_of_them_spread_over_the_rounds() {
        for (rounds, repeats) in [(2, 4), (3, 4), (3, 7), (1, 5), (9, 2), (3, 0)] {
            let order = interleaved(&[turns(rounds, &[rounds, repeats])], 3);
            let own = |candidate: usize| order.iter().filter(move |it| it.candidate == candidate);
            assert_eq!(own(0).count(), rounds as usize);
            let all: BTreeSet<u32> = own(1).map(|it| it.repeat).collect();
            assert_eq!(all, (1..=repeats).collect(), "{rounds} {repeats}");
            let rising: Vec<u32> = own(1).map(|it| it.round).collect();
            assert!(rising.is_sorted());
            for round in 1..=rounds {
                let by = rising.iter().filter(|it| **it <= round).count();
                assert_eq!(by, (round * repeats / rounds) as usize);
            }
        }
    }

    #[test]
    fn trial_seeds_differ_by_objective_and_repeat_and_fit_a_double() {
        let objective = |number: u32| ObjectiveName::parse(&format!("o{number}")).unwrap();
        let seeds: BTreeSet<u64> = (0..10)
            .flat_map(|o| (1..10).map(move |r| trial_seed(7, &objective(o), r)))
            .collect();
        assert_eq!(seeds.len(), 90);
        assert!(seeds.iter().all(|seed| *seed < 1 << 53));
    }
}
