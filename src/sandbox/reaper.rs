//! The reaper: the one owner of every sandbox of a run, and the deletion guarantee.
//!
//! Rust cannot forbid `mem::forget`, cannot await in `drop`, and cannot survive `kill -9`, so the guarantee
//! is made of layers, each able to stand alone:
//!
//! 1. *No words for it.* [`Sandbox`] has no delete, a [`Lease`] cannot be cloned or made elsewhere, and only
//!    this file calls a [`Provider`].
//! 2. *Drop tells, the owner acts.* Dropping a lease sends a message; the reaper awaits the delete.
//! 3. *Create runs in the reaper.* When the caller is cancelled meanwhile, the reply cannot be delivered,
//!    and the undelivered lease is dropped like any other.
//! 4. *Registry.* [`Reaper::close`] deletes whatever is still registered, whoever forgot it.
//! 5. *Closing is the only way to a result.* Only [`Reaper::close`] makes a [`CleanupReport`]; a reaper that
//!    is dropped closes itself all the same.
//! 6. *Look again.* At close, every name whose fate is unclear is looked up until it is gone, then the
//!    provider is asked for the run's sandboxes by label.
//! 7. *Ledger.* The name is on disk before the create request leaves. The disk is waited for on another
//!    thread, and once for all names that have come meanwhile.
//!
//! (8, expiry at the provider, is in every [`SandboxSpec`].)
//!
//! The reaper has a thread and a runtime of its own, started as a blocking task of the caller's runtime:
//! a caller that drops its future, or its whole runtime, still waits for the deletes.
//!
//! A lease is what a trial may touch; it cannot be copied,
//! ```compile_fail
//! fn twice(lease: forge::sandbox::reaper::Lease) -> forge::sandbox::reaper::Lease { lease.clone() }
//! ```
//! made,
//! ```compile_fail
//! let lease = forge::sandbox::reaper::Lease { };
//! ```
//! deleted by hand,
//! ```compile_fail
//! fn by_hand(lease: forge::sandbox::reaper::Lease) { lease.delete(); }
//! ```
//! or outlived by its sandbox:
//! ```compile_fail
//! fn after(lease: forge::sandbox::reaper::Lease) -> &'static dyn forge::sandbox::Sandbox {
//!     let sandbox: &dyn forge::sandbox::Sandbox = &*lease;
//!     drop(lease);
//!     sandbox
//! }
//! ```
//! And nobody else makes a report:
//! ```compile_fail
//! let report = forge::sandbox::reaper::CleanupReport(Default::default());
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::ledger::{Entry as LedgerEntry, Ledger};
use super::{Deletion, ErrorKind, Provider, Remedy, Sandbox, SandboxError, SandboxSpec};
use crate::event::{Cleanup, Undeleted};
use crate::name::{RunId, SandboxId, SandboxName};
use crate::run::stop::Stopping;

mod noted;

use noted::{Asked, Noted};

/// How patient the reaper is.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How long a delete is tried again. A cold start may refuse it for half a minute.
    pub delete: Duration,
    /// How long a name of unclear fate is looked up, and a create that is still under way at close is
    /// waited for.
    pub look_again: Duration,
    /// The first pause between two tries; doubles up to 20 times this.
    pub pause: Duration,
    /// How much longer, in a hurry, creates are waited for and deletes are tried again, without growing
    /// pauses. A sandbox that has just been asked for cannot be deleted at once.
    pub hurry: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            delete: Duration::from_secs(120),
            look_again: Duration::from_secs(95),
            pause: Duration::from_millis(250),
            hurry: Duration::from_secs(10),
        }
    }
}

/// Which layers are on. All of them, but in the tests that show that each can stand alone.
#[derive(Debug, Clone, Copy)]
struct Layers {
    drop_tells: bool,
    registry: bool,
    look_again: bool,
}

impl Layers {
    const ALL: Self = Self {
        drop_tells: true,
        registry: true,
        look_again: true,
    };
}

/// A trial's hold on its sandbox. Dropping it is how it ends.
#[derive(Debug)]
pub struct Lease {
    sandbox: Box<dyn Sandbox>,
    name: SandboxName,
    keep: bool,
    requests: mpsc::UnboundedSender<Request>,
}

impl Lease {
    /// Ends the lease but leaves the sandbox for debugging; it still expires at the provider.
    pub fn keep(mut self) {
        self.keep = true;
    }
}

impl Deref for Lease {
    type Target = dyn Sandbox;

    fn deref(&self) -> &(dyn Sandbox + 'static) {
        &*self.sandbox
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let release = Request::Release {
            name: self.name.clone(),
            keep: self.keep,
        };
        // A reaper that has closed has deleted this sandbox already.
        drop(self.requests.send(release));
    }
}

/// What became of every sandbox of a run. Only [`Reaper::close`] makes one.
#[derive(Debug, Clone)]
pub struct CleanupReport(Cleanup);

impl CleanupReport {
    /// What became of them.
    #[must_use]
    pub const fn cleanup(&self) -> &Cleanup {
        &self.0
    }
}

#[derive(Debug)]
enum Request {
    Create {
        spec: Box<SandboxSpec>,
        reply: oneshot::Sender<Result<Lease, SandboxError>>,
    },
    Release {
        name: SandboxName,
        keep: bool,
    },
    Close,
}

/// Gives out leases. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Leaser {
    requests: mpsc::UnboundedSender<Request>,
    serial: Arc<AtomicU64>,
    run: RunId,
}

impl Leaser {
    /// A fresh name for a sandbox, unique within the run.
    #[must_use]
    pub fn name(&self, what: &str) -> SandboxName {
        SandboxName::new(&self.run, self.serial.fetch_add(1, Ordering::Relaxed), what)
    }

    /// Waits for a new sandbox.
    ///
    /// # Errors
    /// What the provider said; [`ErrorKind::Stopped`] when the reaper is closing.
    ///
    /// # Cancel safety
    /// Safe: a sandbox whose caller has gone is deleted as soon as it exists.
    pub async fn acquire(&self, spec: SandboxSpec) -> Result<Lease, SandboxError> {
        let (reply, answer) = oneshot::channel();
        let stopped =
            || SandboxError::new(ErrorKind::Stopped, "create a sandbox", "forge is stopping");
        self.requests
            .send(Request::Create {
                spec: Box::new(spec),
                reply,
            })
            .map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

/// The one owner of every sandbox of a run.
#[derive(Debug)]
pub struct Reaper {
    requests: mpsc::UnboundedSender<Request>,
    report: Option<oneshot::Receiver<CleanupReport>>,
    leaser: Leaser,
}

impl Reaper {
    /// Starts the reaper of a run on a thread of its own.
    ///
    /// `stopping` makes it hurry. Must be called on a tokio runtime; that runtime's shutdown waits for the
    /// reaper.
    ///
    /// # Errors
    /// When the thread's runtime cannot be made.
    pub fn start(
        provider: Arc<dyn Provider>,
        run: RunId,
        ledger: Ledger,
        stopping: watch::Receiver<Stopping>,
        patience: Patience,
    ) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (this, task) = Self::parts(provider, run, ledger, stopping, patience, Layers::ALL);
        // Detached on purpose: the task's end is told by the report, and no caller can abort it.
        let _detached = tokio::task::spawn_blocking(move || runtime.block_on(task));
        Ok(this)
    }

    fn parts(
        provider: Arc<dyn Provider>,
        run: RunId,
        ledger: Ledger,
        stopping: watch::Receiver<Stopping>,
        patience: Patience,
        layers: Layers,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (requests, inbox) = mpsc::unbounded_channel();
        let (report_to, report) = oneshot::channel();
        let leaser = Leaser {
            requests: requests.clone(),
            serial: Arc::new(AtomicU64::new(1)),
            run,
        };
        let keeper = Keeper {
            provider,
            run,
            ledger,
            stopping,
            patience,
            layers,
            // Weak, so that the channel closes when everybody else has gone.
            requests: requests.downgrade(),
            registry: BTreeMap::new(),
            abandoned: BTreeSet::new(),
            cleanup: Cleanup::default(),
        };
        let this = Self {
            requests,
            report: Some(report),
            leaser,
        };
        (this, async move {
            let report = keeper.work(inbox).await;
            // The caller may have gone: then nobody wants the report, but the work is done.
            drop(report_to.send(report));
        })
    }

    /// What gives out leases.
    #[must_use]
    pub fn leaser(&self) -> Leaser {
        self.leaser.clone()
    }

    /// Deletes everything that is left, makes sure, and says what became of it.
    ///
    /// # Cancel safety
    /// Safe: a reaper whose caller has gone closes all the same.
    pub async fn close(mut self) -> CleanupReport {
        drop(self.requests.send(Request::Close));
        let lost = || {
            let error = "the reaper ended without a report".to_owned();
            let undeleted = Undeleted {
                name: "unknown".to_owned(),
                id: None,
                error,
            };
            CleanupReport(Cleanup {
                unconfirmed: vec![undeleted],
                ..Cleanup::default()
            })
        };
        match self.report.take() {
            Some(report) => report.await.unwrap_or_else(|_| lost()),
            None => lost(),
        }
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        drop(self.requests.send(Request::Close));
    }
}

/// What the reaper knows of a sandbox that it has asked for.
#[derive(Debug, Clone, PartialEq)]
enum Fate {
    /// The create request is under way.
    Creating,
    /// It exists and is leased, or its lease was forgotten.
    Live(SandboxId),
    /// It is being deleted.
    Deleting(Option<SandboxId>),
    /// The create failed in a way that may have left something, or a delete could not be confirmed.
    Unclear {
        id: Option<SandboxId>,
        error: String,
    },
    /// It was left on purpose.
    Kept(SandboxId),
}

struct Keeper {
    provider: Arc<dyn Provider>,
    run: RunId,
    ledger: Ledger,
    stopping: watch::Receiver<Stopping>,
    patience: Patience,
    layers: Layers,
    requests: mpsc::WeakUnboundedSender<Request>,
    /// What is not known to be gone. What is gone is only counted, so that this stays small.
    registry: BTreeMap<SandboxName, Fate>,
    /// Creates that were not waited for to the end: that nothing has their name yet proves nothing.
    abandoned: BTreeSet<SandboxName>,
    cleanup: Cleanup,
}

type Created = (
    SandboxName,
    oneshot::Sender<Result<Lease, SandboxError>>,
    Result<Box<dyn Sandbox>, SandboxError>,
);
type Deleted = (SandboxName, Option<SandboxId>, Result<(), String>);

/// The work under way.
#[derive(Default)]
struct Works {
    creates: FuturesUnordered<BoxFuture<'static, Created>>,
    deletes: FuturesUnordered<BoxFuture<'static, Deleted>>,
}

impl Keeper {
    async fn work(mut self, mut inbox: mpsc::UnboundedReceiver<Request>) -> CleanupReport {
        let mut works = Works::default();
        let mut noted = Noted::default();
        loop {
            tokio::select! {
                request = inbox.recv() => match request {
                    Some(Request::Create { spec, reply }) => {
                        self.note_create(Asked { spec: *spec, reply }, &mut noted);
                    }
                    Some(Request::Release { name, keep }) => self.release(name, keep, &works),
                    Some(Request::Close) | None => break,
                },
                (safe, synced) = noted.safe(&self.ledger) => {
                    self.begin_creates(safe, &synced, &works);
                }
                Some(created) = works.creates.next() => self.end_create(created, &works),
                Some(deleted) = works.deletes.next() => self.end_delete(deleted),
            }
        }
        self.refuse_and_drain(inbox, noted, &works);
        self.close(works).await
    }

    /// Takes what was sent before the close: releases count, creates are refused.
    fn refuse_and_drain(
        &mut self,
        mut inbox: mpsc::UnboundedReceiver<Request>,
        noted: Noted,
        works: &Works,
    ) {
        inbox.close();
        // Their requests have not left: nothing came to be.
        for asked in noted.into_all() {
            self.gone(&asked.spec.name, false);
        }
        while let Ok(request) = inbox.try_recv() {
            match request {
                // Dropping the reply is the refusal.
                Request::Create { .. } | Request::Close => {}
                Request::Release { name, keep } => self.release(name, keep, works),
            }
        }
    }

    /// Layer 7: the name goes into the ledger; the create begins when it is safe there.
    fn note_create(&mut self, asked: Asked, noted: &mut Noted) {
        let entry = LedgerEntry::Create {
            provider: self.provider.name().to_owned(),
            name: asked.spec.name.clone(),
        };
        match self.ledger.append(&entry) {
            Ok(()) => noted.push(asked),
            Err(error) => asked.refuse(&error),
        }
    }

    fn begin_creates(&mut self, safe: Vec<Asked>, synced: &std::io::Result<()>, works: &Works) {
        for asked in safe {
            match synced {
                Ok(()) => self.begin_create(asked, works),
                Err(error) => asked.refuse(error),
            }
        }
    }

    fn begin_create(&mut self, Asked { spec, reply }: Asked, works: &Works) {
        let name = spec.name.clone();
        self.registry.insert(name.clone(), Fate::Creating);
        let provider = Arc::clone(&self.provider);
        let create = async move {
            let create = AssertUnwindSafe(provider.create(&spec)).catch_unwind();
            let result = create.await.unwrap_or_else(|_| {
                Err(SandboxError::new(
                    ErrorKind::Protocol,
                    "create a sandbox",
                    "the provider panicked",
                ))
            });
            (name, reply, result)
        };
        works.creates.push(create.boxed());
    }

    fn end_create(&mut self, (name, reply, result): Created, works: &Works) {
        match result {
            Ok(sandbox) => {
                let id = sandbox.id().clone();
                self.note(&LedgerEntry::Created {
                    name: name.clone(),
                    id: id.clone(),
                });
                let Some(requests) = self.requests.upgrade() else {
                    // Nobody is left who could hold a lease.
                    self.registry.insert(name.clone(), Fate::Live(id));
                    self.release(name, false, works);
                    return;
                };
                self.registry.insert(name.clone(), Fate::Live(id));
                let lease = Lease {
                    sandbox,
                    name,
                    keep: false,
                    requests,
                };
                // To a caller that has gone this delivers nothing: the lease comes back and is dropped here.
                drop(reply.send(Ok(lease)));
            }
            Err(error) => {
                match error.kind {
                    // Refused before anything could come to be.
                    ErrorKind::Unauthorized | ErrorKind::Quota | ErrorKind::Throttled => {
                        self.gone(&name, false);
                    }
                    ErrorKind::Forbidden
                    | ErrorKind::Invalid
                    | ErrorKind::Busy
                    | ErrorKind::Unreachable
                    | ErrorKind::TimedOut
                    | ErrorKind::Server
                    | ErrorKind::Lost
                    | ErrorKind::Machine
                    | ErrorKind::Protocol
                    | ErrorKind::Stopped => {
                        let fate = Fate::Unclear {
                            id: None,
                            error: error.to_string(),
                        };
                        self.registry.insert(name.clone(), fate);
                        if self.layers.look_again {
                            self.begin_delete(name, None, works);
                        }
                    }
                }
                drop(reply.send(Err(error)));
            }
        }
    }

    fn release(&mut self, name: SandboxName, keep: bool, works: &Works) {
        let Some(Fate::Live(id)) = self.registry.get(&name).cloned() else {
            return;
        };
        if keep {
            self.note(&LedgerEntry::Kept { name: name.clone() });
            self.provider.kept(&id);
            self.registry.insert(name, Fate::Kept(id));
        } else if self.layers.drop_tells {
            self.begin_delete(name, Some(id), works);
        }
    }

    fn begin_delete(&mut self, name: SandboxName, id: Option<SandboxId>, works: &Works) {
        let deleting = Fate::Deleting(id.clone());
        let before = self.registry.insert(name.clone(), deleting);
        let budget = match (&id, before) {
            // Refused for all the time that there is: another chance, not all of that once more.
            (Some(_), Some(Fate::Unclear { id: Some(_), .. })) => self.patience.delete / 4,
            (Some(_), _) => self.patience.delete,
            (None, _) => self.patience.look_again,
        };
        let delete = delete_until_gone(
            Arc::clone(&self.provider),
            name,
            id,
            self.stopping.clone(),
            self.patience,
            Instant::now() + budget,
        );
        works.deletes.push(delete.boxed());
    }

    fn end_delete(&mut self, (name, id, result): Deleted) {
        match result {
            Ok(()) if id.is_none() && self.abandoned.contains(&name) => {
                let error = "its creation did not end, and may still succeed".to_owned();
                self.registry.insert(name, Fate::Unclear { id, error });
            }
            Ok(()) => self.gone(&name, id.is_some()),
            Err(error) => {
                self.registry.insert(name, Fate::Unclear { id, error });
            }
        }
    }

    fn gone(&mut self, name: &SandboxName, existed: bool) {
        self.note(&LedgerEntry::Deleted { name: name.clone() });
        self.registry.remove(name);
        self.cleanup.deleted += u64::from(existed);
    }

    /// Appends what is not needed for safety: a lost line here makes a sweep look once more, no worse.
    fn note(&mut self, entry: &LedgerEntry) {
        if let Err(error) = self.ledger.append(entry) {
            tracing::warn!(%error, "cannot write the ledger");
        }
    }

    async fn close(mut self, mut works: Works) -> CleanupReport {
        if self.layers.registry {
            let live: Vec<(SandboxName, SandboxId)> = self
                .registry
                .iter()
                .filter_map(|(name, fate)| match fate {
                    Fate::Live(id) => Some((name.clone(), id.clone())),
                    Fate::Creating | Fate::Deleting(_) | Fate::Unclear { .. } | Fate::Kept(_) => {
                        None
                    }
                })
                .collect();
            for (name, id) in live {
                self.begin_delete(name, Some(id), &works);
            }
        }
        self.drain(&mut works).await;
        if self.layers.look_again {
            self.look_again(&mut works).await;
        }
        self.report()
    }

    /// Waits for the creates and deletes under way. Creates that overstay are given up: their names are
    /// looked up afterwards.
    async fn drain(&mut self, works: &mut Works) {
        let until = Instant::now() + self.patience.look_again;
        let ends = patience_ends(self.stopping.clone(), until, self.patience.hurry);
        tokio::pin!(ends);
        loop {
            tokio::select! {
                Some(created) = works.creates.next() => self.end_create_at_close(created, works),
                Some(deleted) = works.deletes.next() => self.end_delete(deleted),
                () = &mut ends, if !works.creates.is_empty() => {
                    self.give_up_creates(works, "the create request did not come to an end");
                }
                else => return,
            }
        }
    }

    fn end_create_at_close(&mut self, created: Created, works: &Works) {
        let (name, reply, result) = created;
        match result {
            Ok(sandbox) => {
                let id = sandbox.id().clone();
                self.note(&LedgerEntry::Created {
                    name: name.clone(),
                    id: id.clone(),
                });
                self.begin_delete(name, Some(id), works);
            }
            Err(error) => self.end_create((name, reply, Err(error)), works),
        }
    }

    fn give_up_creates(&mut self, works: &mut Works, why: &str) {
        works.creates = FuturesUnordered::new();
        for (name, fate) in &mut self.registry {
            if *fate == Fate::Creating {
                self.abandoned.insert(name.clone());
                *fate = Fate::Unclear {
                    id: None,
                    error: why.to_owned(),
                };
            }
        }
    }

    /// Layer 6: first every name of unclear fate, then everything that bears the run's label.
    async fn look_again(&mut self, works: &mut Works) {
        let unclear: Vec<(SandboxName, Option<SandboxId>)> = self
            .registry
            .iter()
            .filter_map(|(name, fate)| match fate {
                Fate::Unclear { id, .. } => Some((name.clone(), id.clone())),
                Fate::Live(id) => Some((name.clone(), Some(id.clone()))),
                Fate::Creating | Fate::Deleting(_) | Fate::Kept(_) => None,
            })
            .collect();
        for (name, id) in unclear {
            self.begin_delete(name, id, works);
        }
        self.drain(works).await;
        // A list may be stale, so what it shows is deleted once more, and what it does not show proves
        // nothing; the names above are what counts. Asked again only after it showed something.
        for _ in 0..3 {
            if *self.stopping.borrow() == Stopping::Hurry {
                break;
            }
            let Ok(listed) = self.provider.list(&self.run).await else {
                break;
            };
            let strangers: Vec<_> = listed
                .into_iter()
                .filter(|it| !self.registry.contains_key(&it.name))
                .collect();
            if strangers.is_empty() {
                break;
            }
            for stranger in strangers {
                self.begin_delete(stranger.name, Some(stranger.id), works);
            }
            self.drain(works).await;
        }
    }

    fn report(mut self) -> CleanupReport {
        for (name, fate) in std::mem::take(&mut self.registry) {
            let name = name.to_string();
            let undeleted = |id, error: &str| Undeleted {
                name,
                id,
                error: error.to_owned(),
            };
            match fate {
                Fate::Kept(id) => self.cleanup.kept.push(id),
                Fate::Unclear { id, error } => {
                    self.cleanup.unconfirmed.push(undeleted(id, &error));
                }
                Fate::Live(id) => {
                    self.cleanup
                        .unconfirmed
                        .push(undeleted(Some(id), "it was not deleted"));
                }
                Fate::Deleting(id) => {
                    self.cleanup
                        .unconfirmed
                        .push(undeleted(id, "its deletion did not end"));
                }
                Fate::Creating => {
                    self.cleanup
                        .unconfirmed
                        .push(undeleted(None, "its creation did not end"));
                }
            }
        }
        CleanupReport(self.cleanup)
    }
}

/// Deletes sandboxes that a dead run has left, side by side, with the same patience as for its own.
///
/// Each is looked up by its name where no id is known. Returns for each whether it is gone, or the last
/// error.
///
/// # Cancel safety
/// Dropping the future leaves some of them; call it again.
pub async fn delete_left(
    provider: Arc<dyn Provider>,
    left: Vec<(SandboxName, Option<SandboxId>)>,
    patience: Patience,
) -> Vec<(SandboxName, Result<(), String>)> {
    let (_stop, stopping) = watch::channel(Stopping::No);
    let until = Instant::now() + patience.delete;
    let work = left.into_iter().map(|(name, id)| {
        let provider = Arc::clone(&provider);
        delete_until_gone(provider, name, id, stopping.clone(), patience, until)
    });
    let deleted = futures::stream::iter(work).buffer_unordered(100);
    deleted
        .map(|(name, _id, result)| (name, result))
        .collect()
        .await
}

/// Deletes a sandbox until it is gone: by id where there is one, else by looking its name up.
///
/// Gives up at `until`, at an error that no repetition can mend, or, in a hurry, when the patience for that
/// ends.
async fn delete_until_gone(
    provider: Arc<dyn Provider>,
    name: SandboxName,
    mut id: Option<SandboxId>,
    mut stopping: watch::Receiver<Stopping>,
    patience: Patience,
    until: Instant,
) -> Deleted {
    let ends = patience_ends(stopping.clone(), until, patience.hurry);
    tokio::pin!(ends);
    let mut pause = patience.pause;
    loop {
        let attempt = AssertUnwindSafe(delete_once(&*provider, &name, &mut id)).catch_unwind();
        let tried = tokio::select! {
            biased;
            tried = attempt => Some(tried),
            () = &mut ends => None,
        };
        let failed = |kind, what| SandboxError::new(kind, "delete a sandbox", what);
        let error = match tried {
            Some(Ok(Ok(()))) => return (name, id, Ok(())),
            Some(Ok(Err(error))) => error,
            Some(Err(_panic)) => failed(ErrorKind::Protocol, "the provider panicked"),
            None => {
                let error = failed(ErrorKind::TimedOut, "no answer in time");
                return (name, id, Err(error.to_string()));
            }
        };
        let in_a_hurry = *stopping.borrow() == Stopping::Hurry;
        let wait = match error.remedy() {
            Remedy::GiveUp => return (name, id, Err(error.to_string())),
            Remedy::Retry { .. } | Remedy::WaitForSlot { .. } if in_a_hurry => patience.pause,
            Remedy::Retry { after } | Remedy::WaitForSlot { after } => after.unwrap_or(pause),
        };
        tokio::select! {
            () = sleep(wait) => {}
            () = hurried(&mut stopping), if !in_a_hurry => {}
            () = &mut ends => return (name, id, Err(error.to_string())),
        }
        pause = (pause * 2).min(patience.pause * 20);
    }
}

async fn delete_once(
    provider: &dyn Provider,
    name: &SandboxName,
    id: &mut Option<SandboxId>,
) -> Result<(), SandboxError> {
    let known = match id {
        Some(known) => known,
        None => match provider.find(name).await? {
            Some(found) => id.insert(found),
            None => return Ok(()),
        },
    };
    match provider.delete(known).await? {
        Deletion::Confirmed => Ok(()),
        Deletion::Requested => match provider.find(name).await? {
            None => Ok(()),
            Some(_) => Err(SandboxError::new(
                ErrorKind::Busy,
                "delete a sandbox",
                "it is still there",
            )),
        },
    }
}

/// Ends at this time, or so long after the run was told to hurry.
async fn patience_ends(mut stopping: watch::Receiver<Stopping>, until: Instant, hurry: Duration) {
    let hurried = async {
        hurried(&mut stopping).await;
        sleep(hurry).await;
    };
    tokio::select! {
        () = sleep_until(until) => {}
        () = hurried => {}
    }
}

/// Ends when the run is told to hurry; never when nobody can tell any more.
async fn hurried(stopping: &mut watch::Receiver<Stopping>) {
    if stopping
        .wait_for(|it| *it == Stopping::Hurry)
        .await
        .is_err()
    {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests;
