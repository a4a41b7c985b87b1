//! What every provider owes forge, as one list of cases that anybody's provider can be held to.
//!
//! Behind the feature `conformance`, for tests only:
//!
//! ```toml
//! [dev-dependencies]
//! forge = { version = "0.1", features = ["conformance"] }
//! ```
//!
//! A provider joins with a [`Harness`], of which [`Just`] is the simplest, and one line. It makes one test of
//! each case, so that what fails has a name:
//!
//! ```no_run
//! # use std::{path::PathBuf, sync::Arc};
//! # fn mine() -> forge::sandbox::local::LocalProvider { panic!("your own") }
//! mod my_provider {
//!     // An `Option`: `None` where this machine cannot have it, which the expression itself says.
//!     forge::conformance_tests!(Some(forge::conformance::Just::new(super::mine())));
//! }
//! ```
//!
//! The expression is evaluated once for each test, on a runtime of its own, and may `.await`. Whoever wants
//! another order takes [`cases`], and calls [`Case::check`].
//!
//! Each case gets a fresh sandbox, which is deleted afterwards, also when the case fails, and is then looked
//! for. Inside of it the cases need a POSIX shell, and of the usual tools no more than BusyBox has. What a
//! provider cannot do by its nature, its harness says by name ([`Lack`]), and each case that is skipped for
//! that says so on standard error.
//!
//! What the list cannot see from outside is each provider's own to test: what becomes of it when the network
//! fails, and that what it calls gone is gone.

#![expect(
    clippy::unwrap_used,
    reason = "these are tests: one that cannot go on fails"
)]

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::name::{RunId, SandboxId, SandboxName};
use crate::network::Networks;
use crate::sandbox::{Presence, Provider, Sandbox, SandboxError, SandboxSpec, Trust};

mod commands;
mod files;
pub mod hands;
mod lives;

/// What a provider cannot do by its nature. Whoever uses it must know: its documentation has to say so too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// Folders of the layout that are made for the one sandbox: it keeps things of its own in forge's folder,
    /// and `TMPDIR` is that of the sandbox's system. Only the two others are then expected to be empty.
    OwnFolders,
    /// Telling a program that a signal ended from one that exits with 128 and more.
    Signals,
    /// Names of files that are not UTF-8 or have control characters.
    StrangeNames,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OwnFolders => "folders of its own",
            Self::Signals => "signals",
            Self::StrangeNames => "strange names",
        })
    }
}

/// A provider under test, with whatever it needs to live as long as it.
pub trait Harness: Send + Sync {
    /// The provider.
    fn provider(&self) -> &dyn Provider;

    /// The run that its sandboxes are to belong to; no other harness has the same.
    fn run(&self) -> RunId;

    /// What the provider cannot do.
    fn lacks(&self) -> &[Lack] {
        &[]
    }

    /// Panics when anything is left once all sandboxes are deleted, as far as can be seen from outside:
    /// processes, folders, rows at the vendor.
    fn assert_nothing_left(&self) -> BoxFuture<'_, ()> {
        Box::pin(futures::future::ready(()))
    }
}

/// A provider that needs nothing beside it.
#[derive(Debug)]
pub struct Just<P> {
    provider: P,
    run: RunId,
    lacks: Vec<Lack>,
}

impl<P: Provider> Just<P> {
    /// One that can do everything.
    #[must_use]
    pub fn new(provider: P) -> Self {
        let (run, lacks) = (RunId::generate(), Vec::new());
        Self {
            provider,
            run,
            lacks,
        }
    }

    /// The same, which cannot do this.
    #[must_use]
    pub fn lacking(mut self, lack: Lack) -> Self {
        self.lacks.push(lack);
        self
    }
}

impl<P: Provider> Harness for Just<P> {
    fn provider(&self) -> &dyn Provider {
        &self.provider
    }

    fn run(&self) -> RunId {
        self.run
    }

    fn lacks(&self) -> &[Lack] {
        &self.lacks
    }
}

/// What is asked of one sandbox.
type Check = for<'a> fn(&'a dyn Harness, &'a dyn Sandbox) -> BoxFuture<'a, ()>;

/// One promise, and how to try whether it is kept.
#[derive(Clone, Copy)]
pub struct Case {
    name: &'static str,
    needs: &'static [Lack],
    check: Check,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Case").field(&self.name).finish()
    }
}

/// What became of a [`Case`] that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The promise was kept.
    Kept,
    /// It was not asked for, because the provider lacks this.
    Skipped(Lack),
}

impl Case {
    /// The promise, as the name of a test: `exit_codes_are_told`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Tries it in a fresh sandbox, which is deleted whatever comes of that, as is all else of the harness's run:
    /// cases of one harness are to be checked one after another.
    ///
    /// # Panics
    /// When the promise is not kept, or the sandbox cannot be created or deleted.
    ///
    /// # Cancel safety
    /// None: a sandbox may be left.
    pub async fn check(&self, harness: &dyn Harness) -> Outcome {
        if let Some(lack) = self.needs.iter().find(|it| harness.lacks().contains(it)) {
            return Outcome::Skipped(*lack);
        }
        let sandbox = create(harness, self.name).await;
        let checked = AssertUnwindSafe((self.check)(harness, &*sandbox))
            .catch_unwind()
            .await;
        let deleted = AssertUnwindSafe(delete(harness, sandbox))
            .catch_unwind()
            .await;
        if checked.is_err() {
            delete_all(harness).await;
        }
        // The first failure is the one to be told.
        for end in [checked, deleted] {
            end.unwrap_or_else(|panic| resume_unwind(panic));
        }
        harness.assert_nothing_left().await;
        Outcome::Kept
    }
}

/// The list of all cases, for a macro: `macro! { what it was given; file::case; … }`. A case may name, in
/// brackets, the [`Lack`] for which it is skipped.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_list {
    ($($macro:ident)::+ $(, $given:expr)?) => {
        $($macro)::+! { $($given)?;
            lives::a_new_sandbox_is_empty;
            lives::a_sandbox_is_found_by_its_name_and_listed_by_its_run;
            lives::two_sandboxes_share_nothing;
            lives::a_deleted_sandbox_is_found_no_more;
            lives::what_is_at_hand_comes_home_when_its_sandbox_is_gone;
            commands::arguments_arrive_byte_for_byte;
            commands::the_environment_is_what_was_asked_for;
            commands::standard_input_is_closed;
            commands::the_streams_stay_apart;
            commands::output_over_the_limit_is_counted;
            commands::exit_codes_are_told;
            commands::a_signal_is_told [Signals];
            commands::the_first_program_that_exists_is_run;
            commands::missing_programs_are_named;
            commands::what_cannot_start_is_told;
            commands::the_limit_ends_the_whole_tree_and_keeps_what_was_written;
            commands::a_dropped_command_ends_and_its_sandbox_lives;
            files::uploaded_files_arrive_and_replace;
            files::a_file_of_this_machine_is_uploaded;
            files::only_what_was_asked_for_comes_home;
            files::what_was_announced_comes_home_the_same;
            files::names_that_are_no_plain_text_stay_away [StrangeNames];
            files::a_missing_artifact_is_nothing_to_tell;
            files::what_is_not_a_regular_file_stays_away;
            files::folders_that_are_links_are_not_entered;
            files::too_much_stays_away;
            files::an_empty_artifact_comes_home;
        }
    };
}

macro_rules! cases {
    (; $($file:ident::$case:ident $([$($lack:ident),+])?;)+) => {
        &[$(Case {
            name: stringify!($case),
            needs: &[$($(Lack::$lack),+)?],
            check: |harness, sandbox| Box::pin($file::$case(harness, sandbox)),
        }),+]
    };
}

/// All cases.
#[must_use]
pub fn cases() -> &'static [Case] {
    __conformance_list!(cases)
}

/// One test of each case, in the module where it stands; see [`conformance`](crate::conformance).
#[macro_export]
macro_rules! conformance_tests {
    ($harness:expr) => {
        $crate::__conformance_list! { $crate::__conformance_test, $harness }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_test {
    ($harness:expr; $($file:ident::$case:ident $([$($lack:ident),+])?;)+) => {
        $(
            #[test]
            fn $case() {
                $crate::conformance::test(stringify!($case), async { $harness });
            }
        )+
    };
}

/// Checks one case on a runtime of its own. What [`conformance_tests`] calls.
///
/// # Panics
/// As [`Case::check`], and when there is no such case.
pub fn test<H: Harness>(name: &str, harness: impl Future<Output = Option<H>>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let Some(harness) = harness.await else {
            return;
        };
        let case = cases().iter().find(|it| it.name == name).unwrap();
        if let Outcome::Skipped(lack) = case.check(&harness).await {
            let what = format!("{} of {}", case.name, harness.provider().name());
            skipped(&what, &format!("it lacks {lack}"));
        }
    });
}

/// Says that something was not tested, and why; also when the test passes, whose output nobody sees.
fn skipped(what: &str, why: &str) {
    use std::io::Write as _;
    // Nobody is there to be told that this failed.
    writeln!(std::io::stderr(), "SKIPPED {what}: {why}").ok();
}

/// What a trusted candidate gets, under a name that no other test of this process has used.
#[must_use]
pub fn spec(run: RunId, what: &str) -> SandboxSpec {
    static SERIAL: AtomicU64 = AtomicU64::new(1);
    SandboxSpec {
        name: SandboxName::new(&run, SERIAL.fetch_add(1, Ordering::Relaxed), what),
        run,
        labels: BTreeMap::new(),
        lifetime: Duration::from_secs(600),
        networks: Networks::default(),
        candidate: None,
        trust: Trust::Trusted,
        image: None,
        python: None,
        may_be_kept: false,
    }
}

/// A fresh sandbox.
///
/// # Panics
/// When it cannot be had.
pub async fn create(harness: &dyn Harness, what: &str) -> Box<dyn Sandbox> {
    let spec = spec(harness.run(), what);
    make(harness.provider(), &spec).await.unwrap()
}

/// Creates a sandbox, and waits until it is ready.
///
/// # Errors
/// What the provider said, of creating it or of waiting.
pub async fn make(
    provider: &dyn Provider,
    spec: &SandboxSpec,
) -> Result<Box<dyn Sandbox>, SandboxError> {
    provider.admit(spec).await?;
    provider.create(spec).await?.ready.await
}

/// Whether a sandbox is over, as the reaper would find it.
#[must_use]
pub const fn is_over(presence: &Presence) -> bool {
    matches!(presence, Presence::Gone | Presence::Absent)
}

/// Deletes what a case has left that failed, as far as the provider lets it.
async fn delete_all(harness: &dyn Harness) {
    let provider = harness.provider();
    for left in provider.list(&harness.run()).await.unwrap_or_default() {
        // There is a failure to be told already.
        provider.delete(&left.id).await.ok();
    }
}

/// Deletes a sandbox, and makes sure that it is gone and that one may say it twice.
///
/// # Panics
/// When it is still there 30 s later than the provider's list may lag.
pub async fn delete(harness: &dyn Harness, sandbox: Box<dyn Sandbox>) {
    let id = sandbox.id().clone();
    drop(sandbox);
    delete_by_id(harness, &id).await;
}

/// As [`delete`].
///
/// # Panics
/// As that.
pub async fn delete_by_id(harness: &dyn Harness, id: &SandboxId) {
    let provider = harness.provider();
    let patience = Instant::now() + provider.lags() + Duration::from_secs(30);
    let mut presence = provider.delete(id).await.unwrap();
    loop {
        let listed = provider.list(&harness.run()).await.unwrap();
        let shown = listed.iter().find(|it| it.id == *id);
        if shown.is_none_or(|it| is_over(&it.presence)) && is_over(&presence) {
            break;
        }
        assert!(Instant::now() < patience, "{id} is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
        presence = provider.look(id).await.unwrap();
    }
    assert!(is_over(&provider.delete(id).await.unwrap()), "once more");
}
