//! How many sandboxes may exist at once, and when the next may be asked for. Pure: the time is an argument.
//!
//! Promises: never more than the jobs; a slot is held until its sandbox is gone; after a refusal nobody asks
//! until the pause is over; a refusal while sandboxes of this run hold the pool never ends anybody's patience.

use std::time::Duration;

use tokio::time::Instant;

use super::LONGEST_REST;

/// How often in a row the provider may refuse a slot while nothing of this run holds one.
pub(super) const MAX_REFUSALS: u32 = 10;
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// What a refusal means for whoever was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// Ask again when there is a slot.
    Wait,
    /// The pool is full, and has been for long, of what is not this run's.
    GiveUp,
}

/// When the next sandbox may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Now; the slot is taken.
    Now,
    /// Not before this time.
    At(Instant),
    /// When a sandbox of this run is gone.
    WhenOneIsGone,
}

/// The slots of a run.
#[derive(Debug)]
pub(super) struct Slots {
    jobs: usize,
    /// How many the pool has room for, as far as one can tell; at most `jobs`.
    room: usize,
    /// Asked for, or not yet gone.
    held: usize,
    /// Creates that succeeded since the room last changed.
    since_change: usize,
    /// Refusals in a row.
    refusals: u32,
    /// Of these, those while nothing of this run held a slot.
    foreign: u32,
    not_before: Option<Instant>,
}

impl Slots {
    pub(super) fn new(jobs: usize) -> Self {
        let jobs = jobs.max(1);
        Self {
            jobs,
            room: jobs,
            held: 0,
            since_change: 0,
            refusals: 0,
            foreign: 0,
            not_before: None,
        }
    }

    /// Takes a slot, if one may be taken now.
    pub(super) fn take(&mut self, now: Instant) -> Next {
        if self.held >= self.room {
            return Next::WhenOneIsGone;
        }
        match self.not_before {
            Some(at) if at > now => Next::At(at),
            Some(_) | None => {
                self.held += 1;
                Next::Now
            }
        }
    }

    /// A sandbox is gone, or was never made.
    pub(super) fn give_back(&mut self) {
        self.held -= 1;
    }

    /// A sandbox came to be: the pool may have more room by now.
    pub(super) fn took(&mut self) {
        self.refusals = 0;
        self.foreign = 0;
        self.since_change += 1;
        if self.room < self.jobs && self.since_change >= self.room {
            self.room += 1;
            self.since_change = 0;
        }
    }

    /// The provider refused a slot, which is given back here. `after` is what it asked to wait for.
    pub(super) fn refused(&mut self, after: Option<Duration>, now: Instant) -> Refused {
        self.give_back();
        self.room = self.held.clamp(1, self.room);
        self.since_change = 0;
        // Those that were asked for side by side are refused side by side: one refusal, one pause.
        if self.refusals == 0 || self.not_before.is_none_or(|at| at <= now) {
            self.refusals += 1;
            self.foreign = if self.held == 0 { self.foreign + 1 } else { 0 };
        }
        let pause = after.map_or_else(
            || backoff(self.refusals - 1),
            |after| after.min(LONGEST_REST),
        );
        let until = now + pause;
        self.not_before = Some(self.not_before.map_or(until, |at| at.max(until)));
        if self.foreign > MAX_REFUSALS {
            Refused::GiveUp
        } else {
            Refused::Wait
        }
    }
}

/// Half a second, doubled `times` times, at most a minute.
fn backoff(times: u32) -> Duration {
    FIRST_PAUSE
        .saturating_mul(1 << times.min(10))
        .min(LONGEST_REST)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn never_more_than_the_jobs_and_a_slot_is_free_when_it_is_given_back() {
        let (mut slots, now) = (Slots::new(2), Instant::now());
        assert_eq!([slots.take(now), slots.take(now)], [Next::Now, Next::Now]);
        assert_eq!(slots.take(now), Next::WhenOneIsGone);
        slots.give_back();
        assert_eq!(slots.take(now), Next::Now);
    }

    #[test]
    fn refusals_that_come_together_are_one_pause_for_all() {
        let (mut slots, now) = (Slots::new(8), Instant::now());
        for _ in 0..8 {
            slots.take(now);
        }
        for _ in 0..4 {
            assert_eq!(slots.refused(None, now), Refused::Wait);
        }
        assert_eq!((slots.held, slots.room, slots.refusals), (4, 4, 1));
        assert_eq!(slots.take(now), Next::WhenOneIsGone);
        slots.give_back();
        assert_eq!(slots.take(now), Next::At(now + FIRST_PAUSE));
        assert_eq!(slots.take(now + FIRST_PAUSE), Next::Now);
        for _ in 0..4 {
            slots.took();
        }
        assert_eq!(slots.room, 5, "and up again after as many as fit");
    }

    #[test]
    fn what_the_provider_asks_to_wait_for_is_waited_for() {
        let (mut slots, now) = (Slots::new(2), Instant::now());
        slots.take(now);
        let after = Duration::from_secs(7);
        assert_eq!(slots.refused(Some(after), now), Refused::Wait);
        assert_eq!(slots.take(now), Next::At(now + after));
    }

    #[test]
    fn a_pool_that_others_keep_full_is_given_up_after_minutes() {
        let (mut slots, began) = (Slots::new(4), Instant::now());
        let mut now = began;
        for _ in 0..MAX_REFUSALS {
            assert_eq!(slots.take(now), Next::Now);
            assert_eq!(slots.refused(None, now), Refused::Wait);
            let Next::At(at) = slots.take(now) else {
                panic!("nobody holds a slot");
            };
            now = at;
        }
        assert_eq!(slots.take(now), Next::Now);
        assert_eq!(slots.refused(None, now), Refused::GiveUp);
        assert!(now - began > Duration::from_secs(120));
    }

    proptest! {
        /// A pool that others share, whose slots come back late: a deleted sandbox counts for a while.
        #[test]
        fn nobody_is_lost_to_a_quota_that_this_run_itself_holds(
            jobs in 1_usize..12,
            quota in 1_usize..12,
            late_ms in 0_u64..3_000,
            lasts_ms in prop::collection::vec(0_u64..2_000, 1..60),
        ) {
            let mut slots = Slots::new(jobs);
            let mut now = Instant::now();
            let mut waiting = lasts_ms.len();
            // When each sandbox that exists is gone, and when the pool has its slot back.
            let mut alive: Vec<Instant> = Vec::new();
            let mut counted: Vec<Instant> = Vec::new();
            while waiting > 0 || !alive.is_empty() {
                alive.retain(|gone| {
                    let there = *gone > now;
                    if !there {
                        slots.give_back();
                    }
                    there
                });
                counted.retain(|back| *back > now);
                let mut wake = None;
                while waiting > 0 {
                    match slots.take(now) {
                        Next::Now if counted.len() >= quota => {
                            prop_assert_eq!(slots.refused(None, now), Refused::Wait);
                        }
                        Next::Now => {
                            waiting -= 1;
                            slots.took();
                            let gone = now + Duration::from_millis(lasts_ms[waiting]);
                            alive.push(gone);
                            counted.push(gone + Duration::from_millis(late_ms));
                            prop_assert!(alive.len() <= jobs);
                        }
                        Next::At(at) => {
                            wake = Some(at);
                            break;
                        }
                        Next::WhenOneIsGone => break,
                    }
                }
                now = alive.iter().copied().chain(wake).min().unwrap_or(now);
            }
        }
    }
}
