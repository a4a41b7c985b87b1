//! The gate that requests about the ends of sandboxes pass: when the provider throttles one of them, all wait.
//!
//! Promises: after a refusal nothing is sent until the time that the provider asked for is over; then one
//! request tries, and each that goes well lets twice as many through.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Requests at once while nobody is throttled.
const WIDEST: usize = 256;

#[derive(Debug)]
struct Inner {
    width: usize,
    under_way: usize,
    not_before: Instant,
}

#[derive(Debug)]
pub(super) struct Gate {
    inner: Mutex<Inner>,
    changed: Notify,
}

/// A request's leave to be under way.
#[derive(Debug)]
pub(super) struct Pass<'a>(&'a Gate);

impl Gate {
    pub(super) fn new() -> Self {
        Self {
            inner: Mutex::new(Inner {
                width: WIDEST,
                under_way: 0,
                not_before: Instant::now(),
            }),
            changed: Notify::new(),
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until a request may be sent.
    ///
    /// # Cancel safety
    /// Safe.
    pub(super) async fn enter(&self) -> Pass<'_> {
        loop {
            let changed = self.changed.notified();
            let wait = self.with(|inner| {
                if inner.under_way >= inner.width {
                    return Some(None);
                }
                if inner.not_before > Instant::now() {
                    return Some(Some(inner.not_before));
                }
                inner.under_way += 1;
                None
            });
            match wait {
                None => return Pass(self),
                Some(None) => changed.await,
                Some(Some(at)) => {
                    // Who was woken for this may be cancelled before it is over: all who wait, wait for the time.
                    self.changed.notify_one();
                    sleep_until(at).await;
                }
            }
        }
    }
}

impl Pass<'_> {
    /// The provider refused the request for now, for this long.
    pub(super) fn throttled(self, pause: Duration) {
        self.0.with(|inner| {
            inner.width = 1;
            inner.not_before = inner.not_before.max(Instant::now() + pause);
        });
    }

    /// The provider took the request.
    pub(super) fn went_well(self) {
        self.0
            .with(|inner| inner.width = (inner.width * 2).min(WIDEST));
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let free = self.0.with(|inner| {
            inner.under_way -= 1;
            inner.width.saturating_sub(inner.under_way)
        });
        for _ in 0..free.min(2) {
            self.0.changed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn after_a_refusal_all_wait_and_then_one_tries() {
        let gate = Gate::new();
        gate.enter().await.throttled(Duration::from_secs(30));
        let began = Instant::now();
        let first = gate.enter().await;
        assert!(began.elapsed() >= Duration::from_secs(30));
        let second = tokio::time::timeout(Duration::from_secs(60), gate.enter()).await;
        assert!(second.is_err(), "the first has not been answered");
        first.went_well();
        let pair = (gate.enter().await, gate.enter().await);
        let third = tokio::time::timeout(Duration::from_secs(60), gate.enter()).await;
        assert!(third.is_err());
        drop(pair);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_cancelled_while_it_waits_keeps_nobody_else_waiting() {
        let gate = Gate::new();
        gate.enter().await.throttled(Duration::from_secs(1));
        let tries = gate.enter().await;
        let refuse = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            tries.throttled(Duration::from_secs(30));
        };
        let cancelled = tokio::time::timeout(Duration::from_secs(10), gate.enter());
        let other = tokio::time::timeout(Duration::from_secs(60), gate.enter());
        let (cancelled, other, ()) = futures::join!(cancelled, other, refuse);
        assert!(cancelled.is_err() && other.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn everybody_who_waits_gets_through_in_the_end() {
        let gate = Gate::new();
        gate.enter().await.throttled(Duration::from_secs(1));
        let all = (0..1000).map(|_| async {
            let pass = gate.enter().await;
            tokio::time::sleep(Duration::from_millis(10)).await;
            pass.went_well();
        });
        futures::future::join_all(all).await;
        assert_eq!(gate.with(|inner| inner.under_way), 0);
    }
}
