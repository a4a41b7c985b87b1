//! Where the log's lines go: written by a thread of its own, because a pipe may have a reader that does not read.
//!
//! Promises: nobody waits for a pipe; what does not fit is counted and told at the end.

use std::fs::File;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// So many lines wait to be written.
const ROOM: usize = 8192;
/// How long the last of them may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// The one that there is.
static LOG: OnceLock<Log> = OnceLock::new();

struct Log {
    to: Sink,
    missing: AtomicU64,
    over: Mutex<Receiver<io::Result<()>>>,
}

/// A line to be written, or the end.
type Line = Option<Vec<u8>>;

/// Takes lines, each by one call.
pub(super) struct Sink {
    lines: SyncSender<Line>,
    /// A file takes what it is given; whoever fills it waits.
    is_file: bool,
}

impl Sink {
    /// Writes to a file, or to whatever was opened in its place. The first one counts.
    pub(super) fn start(mut to: File) -> io::Result<Self> {
        let is_file = to.metadata()?.is_file();
        let (lines, inbox) = sync_channel::<Line>(ROOM);
        let (ended, over) = sync_channel(1);
        let write = move || {
            let mut failed = Ok(());
            while let Ok(Some(line)) = inbox.recv() {
                // Whoever logs is not kept waiting because nothing can be written any more.
                failed = failed.and_then(|()| to.write_all(&line));
            }
            drop(ended.send(failed));
        };
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(write)?;
        let this = || Self {
            lines: lines.clone(),
            is_file,
        };
        let log = Log {
            to: this(),
            missing: AtomicU64::new(0),
            over: Mutex::new(over),
        };
        LOG.set(log).ok();
        Ok(this())
    }
}

impl Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let one = Some(line.to_vec());
        let is_taken = if self.is_file {
            self.lines.send(one).is_ok()
        } else {
            self.lines.try_send(one).is_ok()
        };
        if let (false, Some(log)) = (is_taken, LOG.get()) {
            log.missing.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits for the last lines, not for long. Says what is missing.
pub(super) fn end() -> Option<String> {
    let log = LOG.get()?;
    let over = log.over.lock().unwrap_or_else(PoisonError::into_inner);
    let is_told = if log.to.is_file {
        log.to.lines.send(None).is_ok()
    } else {
        log.to.lines.try_send(None).is_ok()
    };
    let ended = is_told.then(|| over.recv_timeout(PATIENCE).ok()).flatten();
    match (ended, log.missing.load(Ordering::Relaxed)) {
        (Some(Ok(())), 0) => None,
        (Some(Err(error)), _) => Some(format!("the log is not whole: {error}")),
        (Some(Ok(())) | None, _) => {
            Some("the log is not whole: nobody read it as fast as it was written".to_owned())
        }
    }
}
