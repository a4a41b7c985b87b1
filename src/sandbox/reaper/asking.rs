//! What the reaper asks the provider for, patiently: a sandbox that is to come to be, one that is looked for
//! by its name, one that is to end.
//!
//! Promises: a provider that panics is one that fails; whatever is asked for ends, at the latest when the
//! patience does; a delete goes by id, and is over when the sandbox is seen gone.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::{Notify, Semaphore, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::gate::Gate;
use super::leaving;
use super::noted::Asked;
use super::{LONGEST_REST, Lease, Patience};
use crate::name::{RunId, SandboxId, SandboxName};
use crate::run::stop::Stopping;
use crate::sandbox::{
    CreateFailed, Created, ErrorKind, Listed, Presence, Provider, Remains, Remedy, Sandbox,
    SandboxError,
};

mod looks;
mod tries;

use tries::{Destructions, Tries};

const CREATE: &str = "create a sandbox";

/// Creates under way at once: each has a connection, and a server that is asked for more at the same moment keeps some
/// of them waiting for that alone.
const CREATES: usize = 1024;

/// What the caller of a create waits for.
pub(super) type Reply = oneshot::Sender<Result<Lease, SandboxError>>;

/// What became of a create.
#[expect(
    clippy::large_enum_variant,
    reason = "made one at a time, and looked at once"
)]
pub(super) enum Birth {
    /// It exists, and its caller waits for it to be ready.
    Created { created: Created, reply: Reply },
    /// Nothing exists; it may be asked for again.
    Refused { asked: Asked, error: SandboxError },
    /// It exists, and nobody wants it.
    Orphan(SandboxId),
    /// Nothing is found by its name.
    Absent,
    /// Whether it exists is not known, for this reason.
    Unclear(String),
    /// The create was not answered while there was patience, nor was anything found by its name.
    Abandoned(String),
}

/// What became of waiting for a sandbox to be ready; `None` when nobody wants it any more.
pub(super) struct Started {
    pub(super) name: SandboxName,
    pub(super) id: SandboxId,
    pub(super) reply: Reply,
    pub(super) result: Option<Result<Box<dyn Sandbox>, SandboxError>>,
}

/// How it is known that a sandbox has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// It was seen destroyed.
    Seen,
    /// The provider does not know it, or no longer, if it took a delete before. Its list must not show it either.
    Absent { was_there: bool },
}

/// Why a sandbox is not known to have ended.
#[derive(Debug)]
pub(super) struct Unended {
    pub(super) error: String,
    /// Whether the provider has bound itself to destroying it, so that there is nothing left to ask for.
    pub(super) is_bound: bool,
}

/// What became of a delete.
pub(super) struct Ended {
    pub(super) name: SandboxName,
    pub(super) id: SandboxId,
    pub(super) result: Result<Proof, Unended>,
}

/// What all requests of a reaper share.
#[derive(Debug)]
pub(super) struct Asking {
    provider: Arc<dyn Provider>,
    patience: Patience,
    stopping: watch::Receiver<Stopping>,
    /// Whether the reaper is closing.
    closing: watch::Receiver<bool>,
    /// Whether somebody waits for sandboxes to be gone.
    awaited: watch::Receiver<bool>,
    gate: Gate,
    creates: Semaphore,
    destructions: Mutex<Destructions>,
    /// Tells that something is known of destructions.
    known: Notify,
}

impl Asking {
    pub(super) fn new(
        provider: Arc<dyn Provider>,
        patience: Patience,
        stopping: watch::Receiver<Stopping>,
        closing: watch::Receiver<bool>,
        awaited: watch::Receiver<bool>,
    ) -> Self {
        Self {
            provider,
            patience,
            stopping,
            closing,
            awaited,
            gate: Gate::new(),
            creates: Semaphore::new(CREATES),
            destructions: Mutex::default(),
            known: Notify::new(),
        }
    }

    pub(super) fn provider(&self) -> &dyn Provider {
        &*self.provider
    }

    /// Creates a sandbox. From the close on its name is looked up beside that, where `looks_up` says so.
    pub(super) async fn create(
        self: Arc<Self>,
        asked: Asked,
        looks_up: bool,
    ) -> (SandboxName, Birth) {
        let name = asked.spec.name.clone();
        let run = asked.spec.run;
        let admit = AssertUnwindSafe(async {
            // It is never closed.
            let turn = self.creates.acquire().await;
            self.provider.admit(&asked.spec).await.map(|()| turn)
        });
        let admitted = tokio::select! {
            biased;
            () = holds(self.closing.clone(), |closing| *closing) => {
                let error = SandboxError::new(ErrorKind::Stopped, CREATE, "forge is stopping");
                return (name, Birth::Refused { asked, error });
            }
            admitted = admit.catch_unwind() => admitted.unwrap_or_else(|_panic| Err(panicked(CREATE))),
        };
        let _turn = match admitted {
            Ok(turn) => turn,
            Err(error) => return (name, Birth::Refused { asked, error }),
        };
        let answer = {
            let create = AssertUnwindSafe(self.provider.create(&asked.spec)).catch_unwind();
            tokio::pin!(create);
            let found = async {
                holds(self.closing.clone(), |closing| *closing).await;
                if !looks_up {
                    std::future::pending::<()>().await;
                }
                self.find(Some(&run), &name, None).await
            };
            tokio::select! {
                biased;
                answer = &mut create => Ok(answer.unwrap_or_else(|_panic| {
                    Err(CreateFailed::maybe(panicked(CREATE)))
                })),
                found = found => Err(found),
            }
        };
        let birth = match answer {
            Ok(Ok(created)) => Birth::Created {
                created: leaving::noting(created, &asked, self.provider.requests()),
                reply: asked.reply,
            },
            Ok(Err(CreateFailed { error, remains })) => match remains {
                Remains::Nothing => Birth::Refused {
                    asked,
                    error: *error,
                },
                Remains::Maybe(Some(id)) => {
                    drop(asked.reply.send(Err(*error)));
                    Birth::Orphan(id)
                }
                Remains::Maybe(None) => {
                    // Whoever waits may try again under another name meanwhile.
                    drop(asked.reply.send(Err(*error)));
                    if !looks_up {
                        return (name, Birth::Unclear("it was not looked for".to_owned()));
                    }
                    let settled = Instant::now() + self.provider.settles();
                    self.find(Some(&run), &name, Some(settled)).await.into()
                }
            },
            Err(Ok(found)) => Ok(found).into(),
            Err(Err(error)) => Birth::Abandoned(error),
        };
        (name, birth)
    }

    /// Looks for a sandbox of which only the name is known.
    pub(super) async fn look_up(
        self: Arc<Self>,
        run: Option<RunId>,
        name: SandboxName,
    ) -> (SandboxName, Birth) {
        let found = self.find(run.as_ref(), &name, Some(Instant::now())).await;
        (name, found.into())
    }

    /// Looks for a name until it is found, or not found after `settled`.
    async fn find(
        &self,
        run: Option<&RunId>,
        name: &SandboxName,
        settled: Option<Instant>,
    ) -> Result<Option<SandboxId>, String> {
        let ends = self.patience_ends(Instant::now() + self.patience.look_again);
        tokio::pin!(ends);
        let mut pause = self.patience.pause;
        let mut last = "its creation did not come to an end, and may still succeed".to_owned();
        loop {
            let ask = self.ask("look for a sandbox", self.provider.find(run, name));
            let looked = tokio::select! {
                biased;
                looked = ask => looked,
                () = &mut ends => return Err(last),
            };
            match looked {
                Ok(Some(id)) => return Ok(Some(id)),
                Ok(None) if settled.is_some_and(|at| at <= Instant::now()) => return Ok(None),
                Ok(None) => {}
                Err(error) if error.remedy() == Remedy::GiveUp => return Err(error.to_string()),
                Err(error) => last = error.to_string(),
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = &mut ends => return Err(last),
            }
            pause = (pause * 2).min(self.patience.pause * 16);
        }
    }

    /// Waits for a sandbox to be ready, for as long as somebody wants it.
    pub(super) async fn start(
        self: Arc<Self>,
        name: SandboxName,
        created: Created,
        mut reply: Reply,
    ) -> Started {
        let Created { id, ready } = created;
        let result = tokio::select! {
            biased;
            () = reply.closed() => None,
            () = holds(self.closing.clone(), |closing| *closing) => None,
            ready = AssertUnwindSafe(ready).catch_unwind() => {
                Some(ready.unwrap_or_else(|_panic| Err(panicked("start a sandbox"))))
            }
        };
        Started {
            name,
            id,
            reply,
            result,
        }
    }

    /// Deletes a sandbox, and waits until it is gone.
    ///
    /// Gives up after `budget`, at an error that no repetition can mend, when its destruction overstays, or,
    /// in a hurry, when the patience for that ends.
    pub(super) async fn end(
        self: Arc<Self>,
        name: SandboxName,
        id: SandboxId,
        budget: Duration,
    ) -> Ended {
        let ends = self.patience_ends(Instant::now() + budget);
        tokio::pin!(ends);
        let mut tries = Tries::new(self.patience.pause);
        let result = loop {
            let age = tries.ending.map(|since| since.elapsed());
            let answer = tokio::select! {
                biased;
                answer = self.end_once(&id, age.is_some()) => answer,
                () = &mut ends => break Err(tries.unended()),
            };
            if let (Some(age), Ok(presence)) = (age, &answer) {
                self.learn(age, presence);
            }
            match answer {
                Ok(Presence::Gone) => break Ok(Proof::Seen),
                Ok(Presence::Absent) => {
                    let was_there = tries.ending.is_some();
                    break Ok(Proof::Absent { was_there });
                }
                Ok(Presence::Hidden(why)) => {
                    let error = hidden(&why);
                    break Err(Unended {
                        error,
                        is_bound: true,
                    });
                }
                Ok(presence @ (Presence::Alive | Presence::Ending)) => tries.go_on(&presence),
                Err(error) => {
                    tries.failed(&error, self.in_a_hurry());
                    if error.remedy() == Remedy::GiveUp {
                        break Err(tries.unended());
                    }
                }
            }
            if tries.overstays(self.patience.destruction) {
                break Err(tries.unended());
            }
            tokio::select! {
                () = self.pause(&mut tries) => {}
                () = &mut ends => break Err(tries.unended()),
            }
        };
        Ended { name, id, result }
    }

    async fn end_once(&self, id: &SandboxId, is_ending: bool) -> Result<Presence, SandboxError> {
        if is_ending {
            self.ask("look at a sandbox", self.provider.look(id)).await
        } else {
            self.ask("delete a sandbox", self.provider.delete(id)).await
        }
    }

    /// Lists what the provider has of a run; tries until the time is over.
    pub(super) async fn list(&self, run: &RunId, until: Instant) -> Result<Vec<Listed>, String> {
        let mut pause = self.patience.pause;
        let mut last = "no answer in time".to_owned();
        loop {
            let listed = tokio::select! {
                biased;
                listed = self.ask("list sandboxes", self.provider.list(run)) => listed,
                () = sleep_until(until) => return Err(last),
            };
            match listed {
                Ok(listed) => return Ok(listed),
                Err(error) if error.remedy() == Remedy::GiveUp => return Err(error.to_string()),
                Err(error) => last = error.to_string(),
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = sleep_until(until) => return Err(last),
            }
            pause = (pause * 2).min(self.patience.pause * 16);
        }
    }

    /// One request, through the gate.
    async fn ask<T>(
        &self,
        operation: &'static str,
        request: impl Future<Output = Result<T, SandboxError>>,
    ) -> Result<T, SandboxError> {
        let pass = self.gate.enter().await;
        let answer = AssertUnwindSafe(request).catch_unwind().await;
        let answer = answer.unwrap_or_else(|_panic| Err(panicked(operation)));
        match &answer {
            Ok(_) => pass.went_well(),
            Err(error) if error.kind == ErrorKind::Throttled => {
                let rest = error.retry_after.unwrap_or(self.patience.pause * 4);
                pass.throttled(rest.min(LONGEST_REST));
            }
            Err(_) => drop(pass),
        }
        answer
    }

    pub(super) fn in_a_hurry(&self) -> bool {
        *self.stopping.borrow() == Stopping::Hurry
    }

    async fn hurried(&self) {
        holds(self.stopping.clone(), |it| *it == Stopping::Hurry).await;
    }

    /// Ends at this time, or so long after the run was told to hurry.
    async fn patience_ends(&self, until: Instant) {
        let hurried = async {
            self.hurried().await;
            sleep(self.patience.hurry).await;
        };
        tokio::select! {
            () = sleep_until(until) => {}
            () = hurried => {}
        }
    }
}

impl From<Result<Option<SandboxId>, String>> for Birth {
    fn from(found: Result<Option<SandboxId>, String>) -> Self {
        match found {
            Ok(Some(id)) => Self::Orphan(id),
            Ok(None) => Self::Absent,
            Err(error) => Self::Unclear(error),
        }
    }
}

/// What is said of a sandbox whose destruction overstays.
pub(super) const NOT_ENDED: &str = "its destruction was begun and has not ended";

/// What is said of a sandbox that the provider's list shows alive, while its id is not found.
pub(super) const CONTRADICTED: &str = "the server lists it, and does not know it";

/// What is said of a sandbox that is not found while the provider cannot list what it hides.
pub(super) fn unlisted(error: &str) -> String {
    format!("the server does not know it, and does not say whether it hides it: {error}")
}

/// What is said of a sandbox whose destruction failed.
pub(super) fn hidden(why: &str) -> String {
    format!(
        "its destruction failed, and the server hides it ({why}): it may still run; look at it in the \
         provider's console, or ask its support"
    )
}

fn panicked(operation: &'static str) -> SandboxError {
    SandboxError::new(ErrorKind::Protocol, operation, "the provider panicked")
}

/// Ends when it holds; never when nobody can tell any more.
async fn holds<T>(mut told: watch::Receiver<T>, is_so: impl FnMut(&T) -> bool) {
    if told.wait_for(is_so).await.is_err() {
        std::future::pending::<()>().await;
    }
}
