//! Following a run: its journal read as it grows, and what pages are told of it.
//!
//! Promises: it begins at the beginning, so whoever opens a view again sees all of it; pages are told at most a few times a
//! second, whatever the run does, and what is not new is not said.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;

use super::live::{Live, Snapshot, Status, Told, standings};
use super::wake::Wake;
use crate::event::Event;
use crate::journal::Tail;
use crate::name::RelativePath;
use crate::report::Format;
use crate::sandbox::ledger;
use crate::store::RunFolder;
use crate::tree::open_inside;

/// Pages are told no more often than this.
const PAUSE: Duration = Duration::from_millis(250);
/// So many events are read before anybody else may look.
const PIECE: usize = 2_000;
/// After so long without an event it is asked whether anybody is still at the run.
const SILENCE: Duration = Duration::from_secs(10);
/// Standings take no more than this share of the time.
const SHARE: u32 = 10;

/// What is known of the run; shared with those who answer requests.
pub(super) type Shared = Arc<Mutex<Live>>;

/// Reads a run and tells pages of it.
pub(super) struct Follower {
    folder: RunFolder,
    tail: Tail,
    live: Shared,
    status: Status,
    has_report: bool,
    /// The standings, at which place of the journal, and when the next may be asked for.
    standings: (Value, Option<u64>, Instant),
}

impl Follower {
    /// Opens a run's journal.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(super) fn open(folder: &RunFolder, live: &Shared) -> io::Result<Self> {
        Ok(Self {
            tail: Tail::open(folder.path())?,
            folder: folder.clone(),
            live: Arc::clone(live),
            status: Status::Running,
            has_report: false,
            standings: (Value::Null, None, Instant::now()),
        })
    }

    /// Follows the run for as long as it is polled. `closing` says that the server is about to go.
    ///
    /// # Errors
    /// When the journal cannot be read any more.
    pub(super) async fn follow(
        self,
        tell: &watch::Sender<Arc<Snapshot>>,
        mut closing: watch::Receiver<bool>,
    ) -> io::Result<()> {
        let mut wake = Wake::on(self.folder.path());
        let mut this = self;
        let mut before = None;
        loop {
            let is_closing = *closing.borrow_and_update();
            let look = move || {
                let read = this.read();
                let snapshot = read.map(|()| this.snapshot(is_closing));
                (this, snapshot)
            };
            let looked = tokio::task::spawn_blocking(look).await;
            let (back, looked) = looked.map_err(io::Error::other)?;
            this = back;
            let (snapshot, is_settled) = looked?;
            let said = (
                snapshot.seq,
                this.status,
                this.has_report,
                is_closing,
                is_settled,
            );
            if before.replace(said) != Some(said) {
                tell.send_replace(Arc::new(snapshot));
            }
            tokio::time::sleep(PAUSE).await;
            if is_settled {
                tokio::select! {
                    () = wake.next() => {}
                    // The sender stays as long as this is polled.
                    _ = closing.changed(), if !is_closing => {}
                }
            }
        }
    }

    /// Takes what has come.
    fn read(&mut self) -> io::Result<()> {
        loop {
            let mut piece: Vec<Event> = Vec::new();
            while piece.len() < PIECE
                && let Some(event) = self.tail.read()?
            {
                piece.push(event);
            }
            if piece.is_empty() {
                return Ok(());
            }
            let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
            for event in &piece {
                live.apply(event);
            }
        }
    }

    /// What pages are told now, and whether the standings in it are the last that there are.
    fn snapshot(&mut self, is_closing: bool) -> (Snapshot, bool) {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Timestamp::now();
        let silent = live.last().map(|at| now.duration_since(at).unsigned_abs());
        self.status = if live.is_over() {
            Status::Over
        } else if silent.is_some_and(|it| it > SILENCE)
            && ledger::is_held(self.folder.path()) == Some(false)
        {
            Status::BrokenOff
        } else {
            Status::Running
        };
        self.has_report = self.status != Status::Running && has_report(&self.folder);
        let told = Told {
            now,
            status: self.status,
            has_report: self.has_report,
            is_closing,
            unknown: self.tail.unknown(),
        };
        let seq = live.seq();
        let (value, at, next) = &mut self.standings;
        if *at != Some(seq) && Instant::now() >= *next {
            let began = Instant::now();
            *value = standings(&live.summary.standings());
            *at = Some(seq);
            *next = Instant::now() + began.elapsed() * SHARE;
        }
        (live.snapshot(&told, value), *at == Some(seq))
    }
}

/// Whether a run's folder has its page.
pub(super) fn has_report(folder: &RunFolder) -> bool {
    let name = RelativePath::parse(Format::Html.file_name());
    name.is_ok_and(|name| open_inside(folder.path(), &name).is_ok())
}
