//! Waits that end when they are to. Those of tokio are up to two milliseconds late, which a server's own would
//! not be: a run of a thousand sandboxes would take that for the time of its provider.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// How long nobody is waited for at once.
const LONG: Duration = Duration::from_secs(3600);

/// A thread of its own that wakes whoever waits, from the first wait on.
#[derive(Debug, Default)]
pub(crate) struct Alarms(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    set: Mutex<Set>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Set {
    /// By when they are due, and then by their number.
    waiting: BTreeMap<(Instant, u64), oneshot::Sender<()>>,
    /// How many there have been.
    made: u64,
    is_over: bool,
}

impl Alarms {
    /// Waits for so long; no time is none.
    pub(crate) async fn pass(&self, time: Duration) {
        self.until(Instant::now() + time).await;
    }

    /// Waits until then.
    pub(crate) async fn until(&self, at: Instant) {
        if at <= Instant::now() {
            return;
        }
        let (wakes, woken) = oneshot::channel();
        self.set(at, wakes);
        // Nobody wakes any more where the server has ended.
        let _ = woken.await;
    }

    fn set(&self, at: Instant, wakes: oneshot::Sender<()>) {
        let mut set = self.0.lock();
        if set.made == 0 {
            let shared = Arc::clone(&self.0);
            let thread = thread::Builder::new().name("fake-alarms".to_owned());
            if thread.spawn(move || shared.ring()).is_err() {
                return;
            }
        }
        let number = set.made;
        set.made += 1;
        set.waiting.insert((at, number), wakes);
        if set
            .waiting
            .first_key_value()
            .is_some_and(|it| it.0.1 == number)
        {
            self.0.changed.notify_one();
        }
    }
}

impl Drop for Alarms {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.changed.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Set> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes those whose time has come, until the server ends.
    fn ring(&self) {
        let mut set = self.lock();
        while !set.is_over {
            let now = Instant::now();
            while let Some(first) = set.waiting.first_entry().filter(|it| it.key().0 <= now) {
                let _ = first.remove().send(());
            }
            let next = set.waiting.first_key_value().map(|it| it.0.0);
            let left = next.map_or(LONG, |at| at.saturating_duration_since(now));
            let waited = self.changed.wait_timeout(set, left);
            set = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
