//! The tries to end one sandbox: what they came to so far, and how long to wait for the next. Decides only.

use std::time::Duration;

use tokio::time::Instant;

use super::super::LONGEST_REST;
use super::{NOT_ENDED, Unended};
use crate::sandbox::{Presence, SandboxError};

/// The first pause between two looks at a sandbox that ends, and the longest.
pub(super) const LOOK: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

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
