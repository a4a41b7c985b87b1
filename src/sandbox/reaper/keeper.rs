//! The reaper's own task: it alone knows every sandbox of the run, and what is under way about each.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tracing::Instrument as _;

use super::asking::{Asking, Birth, Ended, Proof, Started, Unended};
use super::noted::{Asked, Noted};
use super::slots::{Refused, Slots};
use super::{CleanupReport, Layers, Lease, Patience, Request};
use crate::event::Cleanup;
use crate::name::{RunId, SandboxId, SandboxName};
use crate::run::stop::Stopping;
use crate::sandbox::ledger::{Entry as LedgerEntry, Ledger};
use crate::sandbox::{ErrorKind, Provider, SandboxError};

mod closing;
mod inherited;
mod queue;

/// What the reaper knows of a sandbox that it has asked for.
#[derive(Debug, Clone, PartialEq)]
enum Fate {
    /// The create request is under way.
    Creating,
    /// It exists, and is not ready yet.
    Starting,
    /// It exists and is leased, or its lease was forgotten.
    Live(SandboxId),
    /// It is looked for, or being deleted.
    Ending(Option<SandboxId>),
    /// The provider does not know it. Its list has yet to say the same; `existed` says whether it ever did.
    Absent {
        id: Option<SandboxId>,
        existed: bool,
        /// Whether the provider took a delete before. If not, its word stands against its list's.
        took_delete: bool,
    },
    /// It may exist.
    Unclear {
        id: Option<SandboxId>,
        error: String,
        /// Whether the provider has bound itself to destroying it, so that there is nothing left to ask for.
        is_bound: bool,
    },
    /// The answer to its create was not waited for to the end: that nothing has its name proves nothing.
    Abandoned(String),
    /// It was left on purpose.
    Kept(SandboxId),
}

/// What a keeper is made of.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) provider: Arc<dyn Provider>,
    pub(super) run: RunId,
    pub(super) ledger: Ledger,
    pub(super) jobs: usize,
    pub(super) stopping: watch::Receiver<Stopping>,
    pub(super) patience: Patience,
    pub(super) layers: Layers,
}

pub(super) struct Keeper {
    run: RunId,
    ledger: Ledger,
    patience: Patience,
    layers: Layers,
    /// Weak, so that the channel closes when everybody else has gone.
    requests: mpsc::WeakUnboundedSender<Request>,
    asking: Arc<Asking>,
    closing: watch::Sender<bool>,
    awaited: watch::Sender<bool>,
    /// What has no slot yet, in order.
    queue: VecDeque<Asked>,
    slots: Slots,
    /// Whose slots are held.
    holders: BTreeSet<SandboxName>,
    /// When the queue may go on.
    wake: Option<Instant>,
    /// What is not known to be gone. What is gone is only counted, so that this stays small.
    registry: BTreeMap<SandboxName, Fate>,
    /// Whether anything can ever have existed.
    may_exist: bool,
    /// What only the provider's list knew, and deletes may find gone already.
    strangers: BTreeSet<SandboxName>,
    /// What the run left on purpose before it went on: it is told already, and stays.
    kept_before: BTreeSet<SandboxName>,
    cleanup: Cleanup,
    creates: FuturesUnordered<BoxFuture<'static, (SandboxName, Birth)>>,
    starts: FuturesUnordered<BoxFuture<'static, Started>>,
    ends: FuturesUnordered<BoxFuture<'static, Ended>>,
}

impl Keeper {
    pub(super) fn new(setting: Setting, requests: mpsc::WeakUnboundedSender<Request>) -> Self {
        let (closing, is_closing) = watch::channel(false);
        let (awaited, is_awaited) = watch::channel(false);
        let room = setting.provider.room(setting.jobs);
        let open = setting.ledger.open_sandboxes().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read the ledger");
            Vec::new()
        });
        let kept = open.into_iter().filter(|it| it.kept);
        let asking = Asking::new(
            setting.provider,
            setting.patience,
            setting.stopping,
            is_closing,
            is_awaited,
        );
        Self {
            run: setting.run,
            ledger: setting.ledger,
            patience: setting.patience,
            layers: setting.layers,
            requests,
            asking: Arc::new(asking),
            closing,
            awaited,
            queue: VecDeque::new(),
            slots: Slots::new(room),
            holders: BTreeSet::new(),
            wake: None,
            registry: BTreeMap::new(),
            may_exist: false,
            strangers: BTreeSet::new(),
            kept_before: kept.map(|it| it.name).collect(),
            cleanup: Cleanup::default(),
            creates: FuturesUnordered::new(),
            starts: FuturesUnordered::new(),
            ends: FuturesUnordered::new(),
        }
    }

    pub(super) async fn work(
        mut self,
        mut inbox: mpsc::UnboundedReceiver<Request>,
    ) -> CleanupReport {
        let mut noted = Noted::default();
        loop {
            tokio::select! {
                request = inbox.recv() => match request {
                    Some(Request::Create(asked)) => self.queue.push_back(*asked),
                    Some(Request::Release { name, keep }) => self.release(name, keep),
                    Some(Request::Close) | None => break,
                },
                (safe, synced) = noted.safe(&self.ledger) => self.begin_creates(safe, &synced),
                Some((name, birth)) = self.creates.next() => self.end_create(name, birth),
                Some(started) = self.starts.next() => self.end_start(started),
                Some(ended) = self.ends.next() => self.end_end(ended),
                () = at(self.wake) => self.wake = None,
            }
            self.fill_slots(&mut noted);
        }
        self.refuse_and_drain(inbox, noted);
        self.close().await
    }

    /// Takes what was sent before the close: releases count, creates are refused.
    fn refuse_and_drain(&mut self, mut inbox: mpsc::UnboundedReceiver<Request>, noted: Noted) {
        inbox.close();
        // Dropping the replies is the refusal.
        self.queue.clear();
        // Their requests have not left: nothing came to be.
        for asked in noted.into_all() {
            self.gone(&asked.spec.name, false);
        }
        while let Ok(request) = inbox.try_recv() {
            match request {
                Request::Create(_) | Request::Close => {}
                Request::Release { name, keep } => self.release(name, keep),
            }
        }
    }

    fn free_slot(&mut self, name: &SandboxName) {
        if self.holders.remove(name) {
            self.slots.give_back();
        }
    }

    /// Layer 7: the name goes into the ledger; the create begins when it is safe there.
    fn note_create(&mut self, asked: Asked, noted: &mut Noted) {
        let name = asked.spec.name.clone();
        let provider = self.asking.provider();
        let entry = LedgerEntry::Create {
            provider: provider.name().to_owned(),
            account: provider.account().map(str::to_owned),
            name: name.clone(),
        };
        self.holders.insert(name.clone());
        match self.ledger.append(&entry) {
            Ok(()) => noted.push(asked),
            Err(error) => {
                self.free_slot(&name);
                asked.refuse(&error);
            }
        }
    }

    fn begin_creates(&mut self, safe: Vec<Asked>, synced: &std::io::Result<()>) {
        for asked in safe {
            match synced {
                Ok(()) => {
                    self.registry
                        .insert(asked.spec.name.clone(), Fate::Creating);
                    let span = asked.span.clone();
                    let create = Arc::clone(&self.asking).create(asked, self.layers.look_again);
                    self.creates.push(create.instrument(span).boxed());
                }
                Err(error) => {
                    self.free_slot(&asked.spec.name);
                    asked.refuse(error);
                }
            }
        }
    }

    fn end_create(&mut self, name: SandboxName, birth: Birth) {
        match birth {
            Birth::Created { created, reply } => {
                self.slots.took();
                self.exists(&name, &created.id);
                self.registry.insert(name.clone(), Fate::Starting);
                let start = Arc::clone(&self.asking).start(name, created, reply);
                self.starts.push(start.boxed());
            }
            Birth::Refused { asked, error } => self.refused(asked, error),
            Birth::Orphan(id) => {
                self.exists(&name, &id);
                self.begin_end(name, id, self.patience.delete);
            }
            Birth::Absent => {
                self.may_exist = true;
                self.free_slot(&name);
                let fate = Fate::Absent {
                    id: None,
                    existed: false,
                    took_delete: false,
                };
                self.registry.insert(name, fate);
            }
            Birth::Unclear(error) => {
                self.may_exist = true;
                self.free_slot(&name);
                let fate = Fate::Unclear {
                    id: None,
                    error,
                    is_bound: false,
                };
                self.registry.insert(name, fate);
            }
            Birth::Abandoned(error) => {
                self.may_exist = true;
                self.registry.insert(name, Fate::Abandoned(error));
            }
        }
    }

    /// Nothing came to be. A full pool has room again some time; all else is for the caller to know.
    fn refused(&mut self, asked: Asked, error: SandboxError) {
        self.gone(&asked.spec.name, false);
        let is_passing = match error.kind {
            ErrorKind::Quota | ErrorKind::Throttled => {
                self.may_exist = true;
                true
            }
            // Who does not let anybody in has nothing, and no list either.
            ErrorKind::Unreachable => true,
            ErrorKind::Unauthorized | ErrorKind::Forbidden => false,
            // What is said of a refusal is no proof, and what it was to be made from may have left something: the
            // list at the end tells.
            ErrorKind::Invalid
            | ErrorKind::OutOfReach
            | ErrorKind::Busy
            | ErrorKind::TimedOut
            | ErrorKind::Server
            | ErrorKind::Lost
            | ErrorKind::Machine
            | ErrorKind::Unsaved
            | ErrorKind::Protocol
            | ErrorKind::Stopped => {
                self.may_exist = true;
                false
            }
        };
        if !is_passing || *self.closing.borrow() {
            self.free_slot(&asked.spec.name);
            drop(asked.reply.send(Err(error)));
            return;
        }
        self.holders.remove(&asked.spec.name);
        match self.slots.refused(error.retry_after, Instant::now()) {
            Refused::Wait => {
                if let Some(waits) = &asked.waits {
                    drop(waits.send(error.message));
                }
                self.queue.push_front(asked);
            }
            Refused::GiveUp => {
                // What one is refused now, all are.
                let message = format!("{}; so it has been for minutes", error.message);
                let mut refusal = SandboxError::new(ErrorKind::Quota, error.operation, message);
                refusal.hint = error.hint;
                self.queue.push_front(asked);
                self.refuse_queue(&refusal);
            }
        }
    }

    /// Before anything else is asked of it: it exists, and this is its id.
    fn exists(&mut self, name: &SandboxName, id: &SandboxId) {
        self.may_exist = true;
        self.note(&LedgerEntry::Created {
            name: name.clone(),
            id: id.clone(),
        });
    }

    fn end_start(&mut self, started: Started) {
        let Started {
            name,
            id,
            reply,
            result,
        } = started;
        let requests = self.requests.upgrade();
        match (result, requests) {
            (Some(Ok(sandbox)), Some(requests)) if !*self.closing.borrow() => {
                self.registry.insert(name.clone(), Fate::Live(id));
                let lease = Lease {
                    sandbox,
                    name,
                    has_ended: false,
                    requests,
                };
                // To a caller that has gone this delivers nothing: the lease comes back and is dropped here.
                drop(reply.send(Ok(lease)));
            }
            (result, _) => {
                if let Some(Err(error)) = result {
                    drop(reply.send(Err(error)));
                }
                self.begin_end(name, id, self.patience.delete);
            }
        }
    }

    fn release(&mut self, name: SandboxName, keep: bool) {
        let Some(Fate::Live(id)) = self.registry.get(&name).cloned() else {
            return;
        };
        if keep {
            self.note(&LedgerEntry::Kept { name: name.clone() });
            self.asking.provider().kept(&id);
            self.free_slot(&name);
            self.registry.insert(name, Fate::Kept(id));
        } else if self.layers.drop_tells {
            self.begin_end(name, id, self.patience.delete);
        }
    }

    fn begin_end(&mut self, name: SandboxName, id: SandboxId, budget: Duration) {
        self.registry
            .insert(name.clone(), Fate::Ending(Some(id.clone())));
        let end = Arc::clone(&self.asking).end(name, id, budget);
        self.ends.push(end.boxed());
    }

    fn end_end(&mut self, Ended { name, id, result }: Ended) {
        let is_refused = matches!(
            result,
            Err(Unended {
                is_bound: false,
                ..
            })
        );
        // What the provider does not bind itself to destroying holds its slot for good.
        if !is_refused {
            self.free_slot(&name);
        }
        match result {
            Ok(Proof::Seen) => self.gone(&name, true),
            Ok(Proof::Absent { was_there }) => {
                let fate = Fate::Absent {
                    id: Some(id),
                    existed: was_there || !self.strangers.contains(&name),
                    took_delete: was_there,
                };
                self.registry.insert(name, fate);
            }
            Err(Unended { error, is_bound }) => {
                let fate = Fate::Unclear {
                    id: Some(id),
                    error,
                    is_bound,
                };
                self.registry.insert(name, fate);
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
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
