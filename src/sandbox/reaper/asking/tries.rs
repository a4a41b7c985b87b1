//! The tries to end one sandbox: what they came to so far, and how long to wait for the next. Decides only.

use std::time::Duration;

use tokio::time::Instant;

use super::super::LONGEST_REST;
use super::{NOT_ENDED, Unended};
use crate::sandbox::{Presence, SandboxError};

/// The first pause between two looks at a sandbox that ends, and the longest.
pub(super) const LOOK: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// The shortest wait for which there is a timer.
const SOONEST: Duration = Duration::from_millis(1);

/// Ages so near each other are not told apart any further.
const NEAR: Duration = Duration::from_millis(2);

/// What a look has taught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Learned {
    /// When a destruction is over, of which nothing was known before.
    First,
    /// Something more, or nothing.
    More,
}

/// How long destructions take, by the looks at those before: a look that comes late holds a slot, one that comes early
/// is a call for nothing.
#[derive(Debug, Default)]
pub(super) struct Destructions {
    /// The least age, from the delete to the look, at which one was seen gone.
    gone: Option<Duration>,
    /// The greatest at which one was seen ending.
    ending: Duration,
    /// How many have asked before anything was known.
    asked: u32,
}

impl Destructions {
    /// The age at which to look first: between the two where they are apart, else when it is most likely gone, which may be
    /// at once. While nothing is known, each that asks looks later than the one before: one of them is about right, and
    /// the others know.
    pub(super) fn first_look(&mut self) -> Duration {
        let Some(gone) = self.gone else {
            let later = SOONEST * (1 << self.asked.min(8));
            self.asked = self.asked.saturating_add(1);
            return later.max(self.ending).min(LOOK.0);
        };
        if self.are_instant() {
            return Duration::ZERO;
        }
        let apart = gone.saturating_sub(self.ending);
        let is_known = apart <= NEAR.max(gone / 4);
        let age = if is_known {
            gone
        } else {
            gone.saturating_sub(apart / 2)
        };
        age.clamp(SOONEST, LOOK.1)
    }

    /// Whether none was seen ending, and some were gone as soon as could be.
    pub(super) fn are_instant(&self) -> bool {
        self.ending.is_zero() && self.gone.is_some_and(|gone| gone <= SOONEST + NEAR)
    }

    /// After a look that came too early at this age, the age at which it is most likely gone, if that is to come.
    pub(super) fn second_look(&self, age: Duration) -> Option<Duration> {
        self.gone.filter(|gone| *gone > age && *gone <= LOOK.1)
    }

    /// Learns from a look.
    pub(super) fn seen(&mut self, age: Duration, is_gone: bool) -> Learned {
        let was_known = self.gone.is_some();
        if is_gone {
            self.gone = Some(self.gone.map_or(age, |gone| gone.min(age)));
            // It may go faster than it did: that is tried again after a while.
            self.ending = self.ending.saturating_sub(self.ending / 64);
        } else {
            self.ending = self.ending.max(age);
            // What was learned from a faster one holds no more.
            self.gone = self.gone.filter(|gone| *gone > self.ending);
        }
        if self.gone.is_some() && !was_known {
            Learned::First
        } else {
            Learned::More
        }
    }
}

/// The tries to end a sandbox.
pub(super) struct Tries {
    /// Since when the provider is bound to destroying it.
    pub(super) ending: Option<Instant>,
    /// Looks since then.
    pub(super) looks: u32,
    first: Duration,
    next: Duration,
    /// What the last one came to, should there be no other.
    last: String,
}

impl Tries {
    pub(super) fn new(pause: Duration) -> Self {
        Self {
            ending: None,
            looks: 0,
            first: pause,
            next: pause,
            last: "no answer in time".to_owned(),
        }
    }

    pub(super) fn go_on(&mut self, presence: &Presence) {
        if *presence == Presence::Ending {
            NOT_ENDED.clone_into(&mut self.last);
            if self.ending.is_some() {
                self.looks += 1;
            } else {
                (self.looks, self.next) = (0, LOOK.0);
                self.ending = Some(Instant::now());
            }
        } else {
            "it is still there".clone_into(&mut self.last);
            self.ending = None;
        }
    }

    pub(super) fn failed(&mut self, error: &SandboxError, in_a_hurry: bool) {
        self.last = error.to_string();
        if let Some(after) = error.retry_after.filter(|_| !in_a_hurry) {
            self.next = self.next.max(after.min(LONGEST_REST));
        } else if in_a_hurry {
            self.next = self.first;
        }
        self.looks += u32::from(self.ending.is_some());
    }

    pub(super) fn unended(self) -> Unended {
        Unended {
            error: self.last,
            is_bound: self.ending.is_some(),
        }
    }

    pub(super) fn overstays(&self, most: Duration) -> bool {
        self.ending.is_some_and(|since| since.elapsed() > most)
    }

    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.next;
        let longest = if self.ending.is_some() {
            LOOK.1
        } else {
            self.first * 20
        };
        self.next = pause.mul_f64(1.5).min(longest);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at so many sandboxes that are each destroyed after this time. Gives the age at which most of the last ten
    /// were seen gone, and all looks.
    fn looks(destructions: &mut Destructions, many: u32, takes: Duration) -> (Duration, u32) {
        let (mut ages, mut looks) = (Vec::new(), 0);
        for _ in 0..many {
            let mut age = destructions.first_look();
            let mut is_second = true;
            loop {
                looks += 1;
                destructions.seen(age, age >= takes);
                if age >= takes {
                    break;
                }
                let known = destructions.second_look(age).filter(|_| is_second);
                age = known.unwrap_or(age + LOOK.0);
                is_second = false;
            }
            ages.push(age);
        }
        let mut last = ages.split_off(ages.len() - 10);
        last.sort_unstable();
        (last[6], looks)
    }

    #[test]
    fn a_slot_is_not_held_for_longer_than_destructions_take() {
        let ms = Duration::from_millis;
        for takes in [0, 5, 30, 80, 150, 400, 900].map(ms) {
            let (last, looks) = looks(&mut Destructions::default(), 100, takes);
            assert!(last <= takes + NEAR.max(takes / 2), "{takes:?}: {last:?}");
            assert!(looks <= 100 + 30, "{takes:?}: {looks} looks");
        }
    }

    #[test]
    fn of_the_first_that_end_together_one_is_looked_at_early() {
        let mut destructions = Destructions::default();
        let ages = [(); 9].map(|()| destructions.first_look());
        assert_eq!((ages[0], ages[8]), (SOONEST, LOOK.0));
        destructions.seen(ages[0], true);
        assert_eq!(destructions.first_look(), Duration::ZERO, "the next know");
    }

    #[test]
    fn what_is_not_gone_at_once_after_all_is_looked_at_when_others_were_gone() {
        let ms = Duration::from_millis;
        let mut destructions = Destructions::default();
        destructions.seen(ms(2), true);
        assert_eq!(destructions.first_look(), Duration::ZERO);
        let at_once = Duration::from_micros(50);
        destructions.seen(at_once, false);
        assert_eq!(destructions.second_look(at_once), Some(ms(2)));
        assert_eq!(destructions.first_look(), ms(2), "the next know");
        assert_eq!(destructions.second_look(ms(2)), None);
        // It would not be noticed for long if this one goes faster.
        destructions.seen(ms(5000), false);
        destructions.seen(ms(6000), true);
        assert_eq!(destructions.first_look(), LOOK.1);
        assert_eq!(destructions.second_look(LOOK.1), None);
    }

    #[test]
    fn what_goes_faster_or_slower_by_now_is_learned() {
        let ms = Duration::from_millis;
        let mut destructions = Destructions::default();
        looks(&mut destructions, 100, ms(20));
        let (slow, _) = looks(&mut destructions, 100, ms(600));
        assert!(slow <= ms(900), "{slow:?}");
        let (fast, _) = looks(&mut destructions, 600, ms(20));
        assert!(fast <= ms(60), "{fast:?}");
    }
}
