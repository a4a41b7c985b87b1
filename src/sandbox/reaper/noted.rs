//! Creates that wait until their names are safe in the ledger.
//!
//! Promises: the disk is waited for on another thread, so that nothing else of the reaper stands still;
//! one wait does for all names that were written before it, and those that come meanwhile share the next.

use std::io;

use tokio::task::JoinHandle;

use crate::sandbox::ledger::Ledger;

/// What waits, in the order of the ledger's lines.
#[derive(Debug)]
pub(super) struct Noted<T> {
    /// For the next wait.
    next: Vec<T>,
    /// For the wait under way.
    now: Vec<T>,
    wait: Option<JoinHandle<io::Result<()>>>,
}

impl<T> Default for Noted<T> {
    fn default() -> Self {
        Self {
            next: Vec::new(),
            now: Vec::new(),
            wait: None,
        }
    }
}

impl<T> Noted<T> {
    /// Adds one whose name has been appended to the ledger.
    pub(super) fn push(&mut self, one: T) {
        self.next.push(one);
    }

    /// Waits for some of them to be safe, and gives them, or why they are not. Waits for ever when there
    /// are none.
    ///
    /// # Cancel safety
    /// Safe: the next call goes on with the same wait.
    pub(super) async fn safe(&mut self, ledger: &Ledger) -> (Vec<T>, io::Result<()>) {
        if self.wait.is_none() {
            if self.next.is_empty() {
                std::future::pending::<()>().await;
            }
            self.now.append(&mut self.next);
            self.wait = ledger.sync().map(tokio::task::spawn_blocking);
        }
        let synced = match &mut self.wait {
            Some(wait) => wait.await.unwrap_or_else(|error| Err(error.into())),
            None => Ok(()),
        };
        self.wait = None;
        (std::mem::take(&mut self.now), synced)
    }

    /// All of them, safe or not.
    pub(super) fn into_all(mut self) -> Vec<T> {
        self.now.append(&mut self.next);
        self.now
    }
}
