//! Results that cost money survive a power failure: the disk is asked to keep them, on a thread of its own.

use std::fs::File;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::event::{Event, EventKind, TrialRecord};

/// What took less than this, in seconds, is had again sooner than the disk would have kept it.
const WORTH: f64 = 1.0;
/// How long the disk has its peace after it was asked: of many results a second, it would do nothing else.
const PEACE: Duration = Duration::from_millis(50);

/// Asks the disk, at most once at a time: what comes meanwhile is kept by the next time.
#[derive(Debug)]
pub(super) struct Safe {
    /// Whether every result is worth it.
    all: bool,
    wanted: Arc<Wanted>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread is to do.
#[derive(Debug, Default)]
struct Wanted {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// There is something that the disk was not asked to keep.
    asks: bool,
    /// Nothing more will be written.
    ends: bool,
}

impl Wanted {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self) {
        self.state().asks = true;
        self.changed.notify_one();
    }

    fn end(&self) {
        self.state().ends = true;
        self.changed.notify_one();
    }

    /// Waits until the disk is to be asked; `false` when it never will be again.
    fn next(&self) -> bool {
        let is_idle = |state: &mut State| !state.asks && !state.ends;
        let waited = self.changed.wait_while(self.state(), is_idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut state.asks)
    }

    /// Lets the disk be, unless it is the last time.
    fn rest(&self) {
        let goes_on = |state: &mut State| !state.ends;
        drop(
            self.changed
                .wait_timeout_while(self.state(), PEACE, goes_on),
        );
    }
}

impl Safe {
    pub(super) fn start(file: File, all: bool) -> io::Result<Self> {
        Self::by(move || file.sync_data(), all)
    }

    fn by(
        mut keep: impl FnMut() -> io::Result<()> + Send + 'static,
        all: bool,
    ) -> io::Result<Self> {
        let wanted = Arc::new(Wanted::default());
        let of_thread = Arc::clone(&wanted);
        let work = move || {
            while of_thread.next() {
                // What cannot be kept is no worse off than before.
                if let Err(error) = keep() {
                    tracing::debug!(%error, "the journal is not safe from a power failure");
                }
                of_thread.rest();
            }
        };
        let thread = std::thread::Builder::new()
            .name("forge-journal".to_owned())
            .spawn(work)?;
        Ok(Self {
            all,
            wanted,
            thread: Some(thread),
        })
    }

    /// These events have been written.
    pub(super) fn after(&self, events: &[Event]) {
        if events.iter().any(|it| self.is_worth(&it.kind)) {
            self.wanted.ask();
        }
    }

    fn is_worth(&self, kind: &EventKind) -> bool {
        let cost = |record: &TrialRecord| record.runtime_s.is_some_and(|it| it >= WORTH);
        matches!(kind, EventKind::TrialFinished(record) if self.all || cost(record))
    }
}

impl Drop for Safe {
    fn drop(&mut self) {
        self.wanted.end();
        if let Some(thread) = self.thread.take() {
            // It has nothing to say.
            thread.join().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::time::Instant;

    use super::*;
    use crate::report::sample::{event, passed, trial};

    fn result(runtime_s: f64) -> Vec<Event> {
        let mut record = passed(trial("alpha", "weekly", 1), 50.0);
        record.runtime_s = Some(runtime_s);
        vec![event((EventKind::TrialFinished(Box::new(record)), 0))]
    }

    /// How often the disk is asked when these are written, each in turn, and what was written by the last time.
    fn asked(all: bool, results: &[Vec<Event>]) -> (usize, usize) {
        let [written, asks, seen] = [(); 3].map(|()| Arc::new(AtomicUsize::new(0)));
        let of_thread = [&written, &asks, &seen].map(Arc::clone);
        let keep = move || {
            let [written, asks, seen] = &of_thread;
            asks.fetch_add(1, SeqCst);
            seen.store(written.load(SeqCst), SeqCst);
            Ok(())
        };
        let safe = Safe::by(keep, all).unwrap();
        for result in results {
            written.fetch_add(1, SeqCst);
            safe.after(result);
        }
        drop(safe);
        (asks.load(SeqCst), seen.load(SeqCst))
    }

    #[test]
    fn the_disk_is_asked_to_keep_the_last_result_and_has_its_peace_between() {
        let results = vec![result(0.0); 10_000];
        let began = Instant::now();
        let (asks, kept) = asked(true, &results);
        let most = 2.0 + began.elapsed().div_duration_f64(PEACE);
        assert_eq!(kept, 10_000);
        assert!(asks as f64 <= most, "{asks} times, {most} at the most");
    }

    #[test]
    fn only_what_took_long_is_worth_it_where_nothing_costs_money() {
        assert_eq!(asked(false, &[result(0.1), result(0.1)]), (0, 0));
        assert_eq!(asked(false, &[result(0.1), result(2.0)]).1, 2);
    }
}
