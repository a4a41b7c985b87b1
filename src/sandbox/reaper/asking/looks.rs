//! When a sandbox that ends is looked at.
//!
//! Promises: nobody looks before it makes sense, nor later than that while somebody waits for the slot; what is learned of
//! one destruction counts for all that wait.

use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::tries::{Destructions, Learned, Tries};
use super::{Asking, holds};
use crate::run::stop::Stopping;
use crate::sandbox::Presence;

impl Asking {
    /// Waits until the next try makes sense. What ends is looked at when it is as old as others were when they were gone;
    /// unless that is at once, only when somebody waits for it.
    pub(super) async fn pause(&self, tries: &mut Tries) {
        if let Some(at) = self.second_look(tries) {
            return sleep_until(at).await;
        }
        match (tries.ending, tries.looks) {
            (Some(since), 0) => {
                if !self.destructions().are_instant() {
                    tokio::select! {
                        () = holds(self.awaited.clone(), |awaited| *awaited) => {}
                        // The close, which waits for them all, comes soon, and shall not find all of the looks left to do.
                        () = holds(self.stopping.clone(), |it| *it > Stopping::No) => {}
                        // It must not overstay unseen.
                        () = sleep(self.patience.destruction / 2) => {}
                    }
                }
                self.first_look(since).await;
            }
            _ if self.in_a_hurry() => sleep(tries.pause()).await,
            _ => tokio::select! {
                () = sleep(tries.pause()) => {}
                () = self.hurried() => {}
            },
        }
    }

    /// Waits for the first look at what ends since then. What is learned from the others meanwhile counts.
    async fn first_look(&self, since: Instant) {
        loop {
            let known = self.known.notified();
            let first = self.destructions().first_look();
            // A timer takes longer than no time.
            if first.is_zero() {
                return;
            }
            tokio::select! {
                () = sleep_until(since + first) => return,
                () = known => {}
            }
        }
    }

    fn second_look(&self, tries: &Tries) -> Option<Instant> {
        let since = tries.ending.filter(|_| tries.looks == 1)?;
        let age = self.destructions().second_look(since.elapsed())?;
        Some(since + age)
    }

    pub(super) fn learn(&self, age: Duration, presence: &Presence) {
        let is_gone = match presence {
            Presence::Gone | Presence::Absent => true,
            Presence::Ending => false,
            Presence::Alive | Presence::Hidden(_) => return,
        };
        if self.destructions().seen(age, is_gone) == Learned::First {
            self.known.notify_waiters();
        }
    }

    fn destructions(&self) -> MutexGuard<'_, Destructions> {
        let known = self.destructions.lock();
        known.unwrap_or_else(PoisonError::into_inner)
    }
}
