//! A sandbox for as long as somebody uses it: its end is put off before it comes.
//!
//! Promises: what happens in a sandbox is not cut short by its time to live, however slow its start, its uploads
//! and its downloads are; what is over in the time that was asked for at its birth costs no call; nothing that
//! happens in it waits for this, or fails with it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use reqwest::StatusCode;
use tokio::time::{Instant, sleep_until};

use super::client::{Client, Failed};
use super::expiry::{self, Granted};
use super::retry::Failure;
use super::spec::LABEL_UNTIL;
use super::wire::SandboxRow;
use crate::sandbox::MARGIN;

/// The longest that a start may take, of the time that a sandbox is needed for. After a slower one it is needed
/// for as long as from its birth.
const PROMPT: Duration = Duration::from_secs(120);

/// How long after a renewal that failed the next one is tried.
const PAUSE: Duration = Duration::from_secs(30);

/// The longest time that is counted with: nobody waits for longer.
const AGES: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// When one sandbox ends by itself, as far as that is promised.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    ends: Option<Timestamp>,
    kept: Option<Timestamp>,
}

/// What is known of how the sandboxes of one account end by themselves.
#[derive(Debug, Default)]
pub(crate) struct Tenures {
    told: Mutex<BTreeMap<String, Told>>,
    /// Whether the server has refused to renew one for what it is itself.
    refuses: AtomicBool,
}

impl Tenures {
    fn note(&self, id: &str, ends: Option<Timestamp>) {
        lock(&self.told).entry(id.to_owned()).or_default().ends = ends;
    }

    /// That a sandbox is left for a look since then.
    pub(crate) fn keep(&self, id: &str, at: Timestamp) {
        lock(&self.told).entry(id.to_owned()).or_default().kept = Some(at);
    }

    /// That a sandbox is deleted.
    pub(crate) fn forget(&self, id: &str) {
        lock(&self.told).remove(id);
    }

    /// Until when a sandbox exists that was kept, in words.
    pub(crate) fn kept_until(&self, id: &str, idle: Duration) -> Option<String> {
        let Told { ends, kept } = lock(&self.told).get(id).copied()?;
        Some(expiry::kept_until(kept?, idle, ends))
    }
}

/// What was asked for when a sandbox was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    /// Before that.
    pub(crate) began: Instant,
    /// The same by the clock.
    pub(crate) created: Timestamp,
    /// How long it may be needed.
    pub(crate) lifetime: Duration,
    /// The time to live, in minutes.
    pub(crate) ttl: u64,
    /// How long one of the server's minutes is.
    pub(crate) minute: Duration,
}

/// What holds until it is renewed.
#[derive(Debug)]
struct Term {
    /// When to renew it.
    due: Instant,
    /// When the sandbox ends; `None` where that is not promised, or cannot be changed.
    ends: Option<Instant>,
    is_renewed: bool,
    /// For how long it is needed at the least when it is renewed next.
    at_least: Duration,
    /// All of the sandbox's labels, where the server tells them.
    labels: Option<BTreeMap<String, String>>,
}

/// What became of the wish for a new end.
#[derive(Debug, Clone, Copy)]
enum Answer {
    Granted(Granted),
    /// The server does not do that.
    Refused,
    /// It may have been granted.
    Unknown,
}

/// One sandbox's.
#[derive(Debug)]
pub(crate) struct Tenure {
    client: Arc<Client>,
    shared: Arc<Tenures>,
    id: String,
    asked: Asked,
    term: Mutex<Term>,
    /// Held while it is renewed.
    renewing: tokio::sync::Mutex<()>,
}

impl Tenure {
    /// Of a sandbox that the server has just answered with.
    pub(crate) fn new(
        client: Arc<Client>,
        shared: Arc<Tenures>,
        row: &SandboxRow,
        asked: Asked,
    ) -> Self {
        let tenure = Self {
            client,
            shared,
            id: row.id.clone(),
            asked,
            term: Mutex::new(Term {
                due: asked.began,
                ends: None,
                is_renewed: false,
                at_least: Duration::ZERO,
                labels: row.labels.clone(),
            }),
            renewing: tokio::sync::Mutex::new(()),
        };
        tenure.begin(tenure.granted(row));
        tenure
    }

    /// What a row says of what was asked for at its birth.
    fn granted(&self, row: &SandboxRow) -> Granted {
        let Asked { ttl, created, .. } = self.asked;
        expiry::granted(row, ttl, row.created_at.as_deref(), created)
    }

    /// Counts from the birth of the sandbox.
    fn begin(&self, granted: Granted) {
        let Asked {
            began,
            created,
            lifetime,
            ttl,
            ..
        } = self.asked;
        self.hold(granted, ttl, lifetime.max(MARGIN), (began, created));
    }

    /// Takes what the server granted at a time as what holds. Whether the end has come later by that.
    fn hold(
        &self,
        granted: Granted,
        ttl: u64,
        needed: Duration,
        (at, by_clock): (Instant, Timestamp),
    ) -> bool {
        let asked = Duration::from_secs(60).saturating_mul(u32::try_from(ttl).unwrap_or(u32::MAX));
        let (ends, promised) = match granted {
            Granted::AsAsked => (Some(asked), Some(asked)),
            Granted::Cut(to) => (Some(to), Some(to)),
            // It may be so.
            Granted::Untold => (Some(asked), None),
            Granted::NotTaken => (None, None),
        };
        let promised = promised.and_then(|after| by_clock.checked_add(after).ok());
        self.shared.note(&self.id, promised);
        let mut term = lock(&self.term);
        term.due = at + self.real(expiry::renewal(needed, ends));
        let ends = ends.map(|ends| at + self.real(ends));
        let has_moved = match (term.ends, ends) {
            (Some(old), Some(new)) => new > old + self.real(PAUSE),
            (Some(_) | None, None) | (None, Some(_)) => true,
        };
        term.ends = ends;
        has_moved
    }

    /// Waits for a start.
    pub(crate) async fn while_starting<T>(&self, starting: impl Future<Output = T>) -> T {
        self.keep_up(starting, || self.asked.lifetime).await
    }

    /// Takes note of the row of a sandbox that has started. Says what the server granted at its birth.
    pub(crate) fn has_started(&self, row: &SandboxRow) -> Granted {
        let granted = self.granted(row);
        if !lock(&self.term).is_renewed {
            self.begin(granted);
        }
        let mut term = lock(&self.term);
        if row.labels.is_some() {
            term.labels.clone_from(&row.labels);
        }
        if self.asked.began.elapsed() > self.real(PROMPT) {
            term.due = Instant::now();
            term.at_least = self.asked.lifetime;
        }
        granted
    }

    /// Does something in the sandbox that is limited to so long, besides its transfers. In a place of its own: what is
    /// handed on from one future to the next is in memory for each of them, and thousands may wait here.
    pub(crate) async fn while_used<T>(&self, limit: Duration, work: BoxFuture<'_, T>) -> T {
        let until = Instant::now() + limit.min(AGES);
        let needed = || {
            let left = until.saturating_duration_since(Instant::now());
            self.of_server(left).saturating_add(MARGIN)
        };
        self.keep_up(work, needed).await
    }

    /// Does something, and renews the term as often as it is due meanwhile.
    async fn keep_up<T>(&self, work: impl Future<Output = T>, needed: impl Fn() -> Duration) -> T {
        tokio::select! {
            biased;
            done = work => done,
            never = self.renew_forever(&needed) => match never {},
        }
    }

    async fn renew_forever(&self, needed: impl Fn() -> Duration) -> Infallible {
        loop {
            let due = lock(&self.term).due;
            sleep_until(due).await;
            // In a place of its own while it lasts: it is rare, and thousands wait for it.
            Box::pin(self.renew(&needed)).await;
        }
    }

    async fn renew(&self, needed: impl Fn() -> Duration) {
        let _alone = self.renewing.lock().await;
        let (mut labels, needed) = {
            let mut term = lock(&self.term);
            let now = Instant::now();
            if term.due > now {
                return;
            }
            term.due = now + self.real(PAUSE);
            (term.labels.clone(), needed().max(term.at_least).max(MARGIN))
        };
        let (at, by_clock) = (Instant::now(), Timestamp::now());
        let until = by_clock.checked_add(needed).unwrap_or(Timestamp::MAX);
        let label = async {
            let Some(labels) = &mut labels else {
                return;
            };
            labels.insert(LABEL_UNTIL.to_owned(), until.to_string());
            if let Err(failed) = self.client.set_labels(&self.id, labels).await {
                tracing::debug!(id = %self.id, error = %failed.error, "not labelled");
            }
        };
        let ttl = expiry::intervals(needed, None).ttl;
        let ((), answer) = futures::future::join(label, self.ask(ttl)).await;
        let has_moved = match answer {
            Answer::Unknown => return,
            Answer::Refused => false,
            Answer::Granted(granted) => self.hold(granted, ttl, needed, (at, by_clock)),
        };
        let mut term = lock(&self.term);
        term.is_renewed = true;
        term.at_least = Duration::ZERO;
        if !has_moved {
            // It ends when the server likes, or never: asking again and again would not change that.
            term.due = at + self.real(expiry::renewal(needed, None));
        }
        tracing::debug!(id = %self.id, ttl, ?answer, "renewed");
    }

    /// Asks for a new end.
    async fn ask(&self, ttl: u64) -> Answer {
        if self.shared.refuses.load(Ordering::Relaxed) {
            return Answer::Refused;
        }
        match self.client.set_ttl(&self.id, ttl).await {
            Ok(Some(row)) => {
                let since = row.updated_at.as_deref();
                Answer::Granted(expiry::granted(&row, ttl, since, Timestamp::now()))
            }
            Ok(None) => Answer::Granted(Granted::Untold),
            Err(failed) => {
                tracing::debug!(id = %self.id, error = %failed.error, "not renewed");
                if !is_refused(&failed) {
                    return Answer::Unknown;
                }
                // What is wrong with one sandbox is not wrong with the others.
                if !failed.says_none {
                    self.shared.refuses.store(true, Ordering::Relaxed);
                }
                Answer::Refused
            }
        }
    }

    /// How long so much of the server's time takes.
    fn real(&self, time: Duration) -> Duration {
        scaled(time, self.asked.minute.as_secs_f64() / 60.0)
    }

    /// How much of the server's time passes in so long.
    fn of_server(&self, time: Duration) -> Duration {
        scaled(time, 60.0 / self.asked.minute.as_secs_f64())
    }
}

fn scaled(time: Duration, by: f64) -> Duration {
    if (by - 1.0).abs() < f64::EPSILON {
        return time.min(AGES);
    }
    let seconds = time.as_secs_f64() * by;
    Duration::try_from_secs_f64(seconds).map_or(AGES, |time| time.min(AGES))
}

/// Whether a server would say the same again.
fn is_refused(failed: &Failed) -> bool {
    match failed.failure {
        Failure::Answered(status) => {
            let passes = [
                StatusCode::UNAUTHORIZED,
                StatusCode::REQUEST_TIMEOUT,
                StatusCode::CONFLICT,
                StatusCode::TOO_EARLY,
                StatusCode::TOO_MANY_REQUESTS,
            ];
            status.is_client_error() && !passes.contains(&status)
        }
        Failure::NotSent | Failure::NoReply | Failure::NotAdmitted => false,
    }
}

/// Locks; nothing is left half done where a panic could come from.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
