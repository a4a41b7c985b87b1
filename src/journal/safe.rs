//! Results that cost money survive a power failure: the disk is asked to keep them, on a thread of its own.

use std::fs::File;
use std::io;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use crate::event::{Event, EventKind, TrialRecord};

/// What took less than this, in seconds, is had again sooner than the disk would have kept it.
const WORTH: f64 = 1.0;

/// Asks the disk, at most once at a time: what comes meanwhile is kept by the next time.
#[derive(Debug)]
pub(super) struct Safe {
    /// Whether every result is worth it.
    all: bool,
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Safe {
    pub(super) fn start(file: File, all: bool) -> io::Result<Self> {
        let (wake, woken) = sync_channel(1);
        let work = move || {
            while woken.recv().is_ok() {
                // What cannot be kept is no worse off than before.
                if let Err(error) = file.sync_data() {
                    tracing::debug!(%error, "the journal is not safe from a power failure");
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("forge-journal".to_owned())
            .spawn(work)?;
        Ok(Self {
            all,
            wake: Some(wake),
            thread: Some(thread),
        })
    }

    /// These events have been written.
    pub(super) fn after(&self, events: &[Event]) {
        if !events.iter().any(|it| self.is_worth(&it.kind)) {
            return;
        }
        match self.wake.as_ref().map(|wake| wake.try_send(())) {
            // It is about to be woken already.
            Some(Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(()))) | None => {}
        }
    }

    fn is_worth(&self, kind: &EventKind) -> bool {
        let cost = |record: &TrialRecord| record.runtime_s.is_some_and(|it| it >= WORTH);
        matches!(kind, EventKind::TrialFinished(record) if self.all || cost(record))
    }
}

impl Drop for Safe {
    fn drop(&mut self) {
        drop(self.wake.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to say.
            thread.join().ok();
        }
    }
}
