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
//!    provider is asked for the run's sandboxes by label, those included whose destruction failed. Only what
//!    was seen destroyed, or what neither an id nor that list knows, is gone.
//! 7. *Ledger.* The name is on disk before the create request leaves, and the id before anything else is
//!    asked. The disk is waited for on another thread, and once for all names that have come meanwhile.
//!
//! (8, the [`watch`](crate::watch), goes on by the ledger when this process is gone: [`end_inherited`]. 9, expiry at
//! the provider, is in every [`SandboxSpec`].)
//!
//! There are never more sandboxes than jobs: a slot is free when its sandbox is gone, and what the provider
//! refuses because its pool is full waits here for one.
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

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tracing::Instrument as _;

use super::ledger::Ledger;
use super::{ErrorKind, Provider, Sandbox, SandboxError, SandboxSpec};
use crate::event::{Cleanup, Undeleted};
use crate::name::{RunId, SandboxName};
use crate::run::stop::Stopping;

mod asking;
mod gate;
mod inherited;
mod keeper;
mod leaving;
mod noted;
mod slots;
mod strays;

pub use inherited::{Inherited, end_inherited};
pub use strays::{Stray, StrayEnd, delete_strays};

use keeper::{Keeper, Setting};
use noted::Asked;

/// How patient the reaper is.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How long a delete is tried again. A cold start may refuse it for half a minute.
    pub delete: Duration,
    /// How long a name of unclear fate is looked up, and a create that is still under way at close is
    /// waited for.
    pub look_again: Duration,
    /// How long a sandbox is waited for to be gone, once the provider has bound itself to destroying it.
    pub destruction: Duration,
    /// The first pause between two tries; doubles up to 20 times this.
    pub pause: Duration,
    /// How much longer, in a hurry, creates are waited for and deletes are tried again, without growing
    /// pauses. A sandbox that has just been asked for cannot be deleted at once.
    pub hurry: Duration,
}

/// The longest that a provider is left alone because it asks for that: then it is asked again, for its word may
/// be wrong, and what is alive costs money meanwhile.
const LONGEST_REST: Duration = Duration::from_secs(60);

impl Default for Patience {
    fn default() -> Self {
        Self {
            delete: Duration::from_secs(120),
            look_again: Duration::from_secs(60),
            destruction: Duration::from_secs(30),
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
    has_ended: bool,
    requests: mpsc::UnboundedSender<Request>,
}

impl Lease {
    /// Ends the lease, of which only what it [has at hand](Sandbox::has_at_hand) can be collected from now on. Where it
    /// is to `keep` the sandbox, that is left for debugging; it still expires at the provider.
    pub fn end(&mut self, keep: bool) {
        if !std::mem::replace(&mut self.has_ended, true) {
            let release = Request::Release {
                name: self.name.clone(),
                keep,
            };
            // A reaper that has closed has deleted this sandbox already.
            drop(self.requests.send(release));
        }
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
        self.end(false);
    }
}

/// What became of every sandbox of a run. Only [`Reaper::close`], and [`end_inherited`] in its place, make one.
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
    Create(Box<Asked>),
    Release { name: SandboxName, keep: bool },
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

    /// Waits for a slot, and for a new sandbox in it. `waits` hears in the provider's words when it has no
    /// room, and forge asks again later.
    ///
    /// # Errors
    /// What the provider said; [`ErrorKind::Quota`] when its pool has been full for minutes of what is not
    /// this run's; [`ErrorKind::Stopped`] when the reaper is closing.
    ///
    /// # Cancel safety
    /// Safe: a sandbox whose caller has gone is deleted as soon as it exists.
    pub async fn acquire(
        &self,
        spec: SandboxSpec,
        waits: Option<mpsc::UnboundedSender<String>>,
    ) -> Result<Lease, SandboxError> {
        let (reply, answer) = oneshot::channel();
        let stopped =
            || SandboxError::new(ErrorKind::Stopped, "create a sandbox", "forge is stopping");
        let asked = Asked {
            spec,
            waits,
            reply,
            span: tracing::Span::current(),
        };
        self.requests
            .send(Request::Create(Box::new(asked)))
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
    /// Starts the reaper of a run on a thread of its own, for at most `jobs` sandboxes at once.
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
        jobs: usize,
        stopping: watch::Receiver<Stopping>,
        patience: Patience,
    ) -> std::io::Result<Self> {
        Self::start_then(provider, run, ledger, jobs, stopping, patience, |_| ())
    }

    /// The same, with something to be done on that thread when the reaper has closed, whoever waits for it.
    ///
    /// # Errors
    /// When the thread's runtime cannot be made; then it is not done.
    pub fn start_then(
        provider: Arc<dyn Provider>,
        run: RunId,
        ledger: Ledger,
        jobs: usize,
        stopping: watch::Receiver<Stopping>,
        patience: Patience,
        then: impl FnOnce(&CleanupReport) + Send + 'static,
    ) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let setting = Setting {
            provider,
            run,
            ledger,
            jobs,
            stopping,
            patience,
            layers: Layers::ALL,
        };
        let (this, task) = Self::parts(setting, then);
        // What it asks for belongs to the run, in the log.
        let task = task.instrument(tracing::Span::current());
        // Detached on purpose: the task's end is told by the report, and no caller can abort it.
        let _detached = tokio::task::spawn_blocking(move || runtime.block_on(task));
        Ok(this)
    }

    fn parts(
        setting: Setting,
        then: impl FnOnce(&CleanupReport) + Send + 'static,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (requests, inbox) = mpsc::unbounded_channel();
        let (report_to, report) = oneshot::channel();
        let leaser = Leaser {
            requests: requests.clone(),
            serial: Arc::new(AtomicU64::new(setting.ledger.last_serial(&setting.run) + 1)),
            run: setting.run,
        };
        let keeper = Keeper::new(setting, requests.downgrade());
        let this = Self {
            requests,
            report: Some(report),
            leaser,
        };
        (this, async move {
            let report = keeper.work(inbox).await;
            then(&report);
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

#[cfg(test)]
mod tests;
