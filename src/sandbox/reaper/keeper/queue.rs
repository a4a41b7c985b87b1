//! Who waits for a slot: who may begin, and who waits in vain.

use tokio::time::Instant;

use super::{Fate, Keeper};
use crate::sandbox::reaper::noted::Noted;
use crate::sandbox::reaper::slots::Next;
use crate::sandbox::{ErrorKind, SandboxError};

const CREATE: &str = "create a sandbox";

impl Keeper {
    /// Lets as many begin as there are slots for.
    pub(super) fn fill_slots(&mut self, noted: &mut Noted) {
        self.wake = None;
        let mut is_awaited = false;
        while let Some(asked) = self.queue.pop_front() {
            if asked.reply.is_closed() {
                continue;
            }
            let next = self.slots.take(Instant::now());
            let stuck = (next == Next::WhenOneIsGone)
                .then(|| self.stuck())
                .flatten();
            if let Some(why) = stuck {
                self.queue.push_front(asked);
                self.refuse_queue(&SandboxError::new(ErrorKind::Quota, CREATE, why));
                break;
            }
            match next {
                Next::Now => self.note_create(asked, noted),
                Next::At(_) | Next::WhenOneIsGone => {
                    is_awaited = next == Next::WhenOneIsGone;
                    if let Next::At(at) = next {
                        self.wake = Some(at);
                    }
                    self.queue.push_front(asked);
                    break;
                }
            }
        }
        self.awaited
            .send_if_modified(|awaited| std::mem::replace(awaited, is_awaited) != is_awaited);
    }

    /// Why no slot will ever be free: each is held by a sandbox that the provider does not delete. To make
    /// more would be to leave more behind.
    fn stuck(&self) -> Option<String> {
        let mut why = None;
        for name in &self.holders {
            let Some(Fate::Unclear { error, .. }) = self.registry.get(name) else {
                return None;
            };
            why = Some(error);
        }
        why.map(|why| format!("this run's sandboxes cannot be deleted, so none is made: {why}"))
    }

    /// Refuses all who wait for a slot.
    pub(super) fn refuse_queue(&mut self, error: &SandboxError) {
        for waiting in self.queue.drain(..) {
            let mut refusal =
                SandboxError::new(error.kind, error.operation, error.message.as_str());
            refusal.hint.clone_from(&error.hint);
            drop(waiting.reply.send(Err(refusal)));
        }
    }
}
