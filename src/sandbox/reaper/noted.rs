//! Creates that wait until their names are safe in the ledger.
//!
//! Promises: the disk is waited for on another thread, so that nothing else of the reaper stands still;
//! one wait does for all names that were written before it, and those that come meanwhile share the next.

use std::io;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::asking::Reply;
use crate::sandbox::ledger::Ledger;
use crate::sandbox::{SandboxError, SandboxSpec};

/// A create that was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) spec: SandboxSpec,
    /// Hears why it has to wait.
    pub(super) waits: Option<mpsc::UnboundedSender<String>>,
    pub(super) reply: Reply,
    /// For whom, in the log.
    pub(super) span: tracing::Span,
}

impl Asked {
    /// Refuses it: its name could not be put where a sweep finds it.
    pub(super) fn refuse(self, error: &io::Error) {
        let error = io::Error::new(error.kind(), error.to_string());
        let error = SandboxError::home("write the ledger of sandboxes", error);
        drop(self.reply.send(Err(error)));
    }
}

/// What waits, in the order of the ledger's lines.
#[derive(Debug, Default)]
pub(super) struct Noted {
    /// For the next wait.
    next: Vec<Asked>,
    /// For the wait under way.
    now: Vec<Asked>,
    wait: Option<JoinHandle<io::Result<()>>>,
}

impl Noted {
    /// Adds one whose name has been appended to the ledger.
    pub(super) fn push(&mut self, one: Asked) {
        self.next.push(one);
    }

    /// Waits for some of them to be safe, and gives them, or why they are not. Waits for ever when there
    /// are none.
    ///
    /// # Cancel safety
    /// Safe: the next call goes on with the same wait.
    pub(super) async fn safe(&mut self, ledger: &Ledger) -> (Vec<Asked>, io::Result<()>) {
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
    pub(super) fn into_all(mut self) -> Vec<Asked> {
        self.now.append(&mut self.next);
        self.now
    }
}
