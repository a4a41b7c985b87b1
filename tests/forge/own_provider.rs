//! The provider of `examples/own_provider`, which the documentation shows: it keeps what is promised of
//! providers, it serves a whole run, and it needs no more in its sandboxes than BusyBox.

use std::os::unix::fs::symlink;
use std::panic::AssertUnwindSafe;
use std::path::Path;

use forge::Forge;
use forge::conformance::{self, Case, Harness, Just, Lack, Outcome};
use forge::exit::ExitCode;
use forge::name::RunId;
use forge::sandbox::Provider;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::support::workspace::Workspace;

#[path = "../../examples/own_provider/folder.rs"]
mod folder;
#[path = "../../examples/own_provider/folders.rs"]
mod folders;

use folders::Folders;

const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

struct Setup {
    base: tempfile::TempDir,
    /// What its `PATH` may lead to.
    tools: tempfile::TempDir,
    provider: Folders,
    run: RunId,
}

impl Setup {
    fn new(path: &str) -> Self {
        let base = tempfile::tempdir().unwrap();
        let provider = Folders {
            base: base.path().to_owned(),
            path: path.to_owned(),
        };
        Self {
            base,
            tools: tempfile::tempdir().unwrap(),
            provider,
            run: RunId::generate(),
        }
    }
}

impl Harness for Setup {
    fn provider(&self) -> &dyn Provider {
        &self.provider
    }

    fn run(&self) -> RunId {
        self.run
    }

    fn assert_nothing_left(&self) -> BoxFuture<'_, ()> {
        async {
            let left: Vec<_> = std::fs::read_dir(self.base.path()).unwrap().collect();
            assert!(left.is_empty(), "{left:?}");
        }
        .boxed()
    }
}

mod usual {
    forge::conformance_tests!(Some(super::Setup::new(super::PATH)));
}

mod busybox {
    forge::conformance_tests!(super::with_busybox());
}

/// With nothing but the applets of BusyBox on the sandboxes' `PATH`.
fn with_busybox() -> Option<Setup> {
    let found = PATH.split(':').map(|it| Path::new(it).join("busybox"));
    let Some(busybox) = found.into_iter().find(|it| it.is_file()) else {
        let test = std::thread::current();
        crate::support::skipped(test.name().unwrap_or("a test"), "there is no busybox");
        return None;
    };
    let mut setup = Setup::new("");
    let listed = std::process::Command::new(&busybox).arg("--list").output();
    for applet in String::from_utf8(listed.unwrap().stdout).unwrap().lines() {
        symlink(&busybox, setup.tools.path().join(applet)).unwrap();
    }
    setup.provider.path = setup.tools.path().to_str().unwrap().to_owned();
    Some(setup)
}

fn case(name: &str) -> &'static Case {
    let mut cases = conformance::cases().iter();
    cases.find(|it| it.name() == name).unwrap()
}

/// Otherwise a provider that keeps nothing would pass.
#[tokio::test]
async fn a_promise_that_is_not_kept_is_told_and_leaves_no_sandbox() {
    // No program is found.
    let setup = Setup::new("/nonexistent");
    for name in ["exit_codes_are_told", "two_sandboxes_share_nothing"] {
        let checked = AssertUnwindSafe(case(name).check(&setup)).catch_unwind();
        let panic = checked.await.unwrap_err();
        let said = panic.downcast_ref::<String>().unwrap();
        assert!(said.contains("NotFound"), "{name}: {said}");
        setup.assert_nothing_left().await;
    }
}

#[tokio::test]
async fn what_a_provider_lacks_is_not_asked_of_it() {
    let lacking = Just::new(Setup::new("/nonexistent").provider).lacking(Lack::Signals);
    let checked = case("a_signal_is_told").check(&lacking).await;
    assert_eq!(checked, Outcome::Skipped(Lack::Signals));
}

#[tokio::test]
async fn an_own_provider_serves_a_whole_run() {
    let workspace = Workspace::with(&[
        (
            "good",
            "#!/bin/sh\necho \"hello from $FORGE_CANDIDATE\" > \"$2\"\n",
        ),
        ("idle", "#!/bin/sh\nsleep 1000 &\n"),
    ]);
    let base = workspace.path("tmp");
    let path = PATH.to_owned();
    let forge = Forge::builder()
        .candidates(workspace.path("candidates"))
        .objectives(workspace.path("objectives"))
        .artifacts(workspace.path("artifacts"))
        .provider(Folders { base, path })
        .build();
    let result = forge.run(["task".into()]).await.unwrap();
    assert_eq!(result.exit(), (ExitCode::Ok, Vec::new()));
    let best = result.winner().unwrap();
    assert_eq!(best.leader().candidate.as_str(), "good");
    workspace.assert_nothing_left();
}
