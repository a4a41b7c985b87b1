//! forge as a library: what a Rust program can say and hear.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forge::event::{Event, EventKind, StopCause, Subscriber};
use forge::exit::ExitCode;
use forge::objective::LimitOverrides;
use forge::sandbox::local::{LocalOptions, RootSandboxes};
use forge::score::{Evidence, Points, Scorer, Verdict};
use forge::{Forge, ForgeBuilder, ForgeError, ObjectiveSource, Place};

use crate::support::workspace::Workspace;

const HELLO: &str = "#!/bin/sh\necho \"hello from $FORGE_CANDIDATE\" > \"$2\"\n";
const HANGS: &str = "#!/bin/sh\necho began\n(setsid sleep 300 &)\nsleep 300\n";

fn options(workspace: &Workspace) -> LocalOptions {
    LocalOptions {
        base: workspace.path("tmp"),
        path: std::env::var_os("PATH").unwrap().into_string().unwrap(),
        helper: Some(env!("CARGO_BIN_EXE_forge").into()),
        // Root's Python may be its own; what is tested is something else.
        root: RootSandboxes::Allow,
        ..forge::settings::local_options_without_helper(&BTreeMap::new())
    }
}

fn builder(workspace: &Workspace) -> ForgeBuilder {
    Forge::builder()
        .candidates(workspace.path("candidates"))
        .objectives(workspace.path("objectives"))
        .artifacts(workspace.path("artifacts"))
        .place(Place::Local(options(workspace)))
        .jobs(2)
}

fn task() -> [ObjectiveSource; 1] {
    ["task".into()]
}

/// Likes artifacts that mention a word.
struct Mentions(&'static str);

impl Scorer for Mentions {
    fn name(&self) -> String {
        format!("mentions {}", self.0)
    }

    fn score(&self, evidence: &Evidence) -> Verdict {
        let text = evidence.text().unwrap();
        Verdict::scored(Points::yes(text.contains(self.0)), "looked for it")
    }
}

/// Does not bear a word.
struct PanicsAt(&'static str);

impl Scorer for PanicsAt {
    fn name(&self) -> String {
        format!("panics at {}", self.0)
    }

    fn score(&self, evidence: &Evidence) -> Verdict {
        assert!(!evidence.text().unwrap().contains(self.0), "on purpose");
        Verdict::scored(Points::clamped(10.0), "bore it")
    }
}

struct Panics;

impl Scorer for Panics {
    fn name(&self) -> String {
        "panics".to_owned()
    }

    fn score(&self, _: &Evidence) -> Verdict {
        panic!("on purpose");
    }
}

#[tokio::test]
async fn a_program_hears_logs_and_events_and_adds_its_own_scorer() {
    #[derive(Clone, Default)]
    struct Finished(Arc<Mutex<usize>>);
    impl Subscriber for Finished {
        fn on_event(&mut self, event: &Event) {
            if let EventKind::TrialFinished(_) = event.kind {
                *self.0.lock().unwrap() += 1;
            }
        }
    }
    let workspace = Workspace::with(&[("a.sh", HELLO), ("b.sh", HELLO)]);
    let (lines, finished) = (Arc::new(Mutex::new(Vec::new())), Finished::default());
    let heard = Arc::clone(&lines);
    let result = builder(&workspace)
        .repeat(2)
        .scorer(1.0, Mentions("from b"))
        .on_log(move |candidate, message| {
            heard
                .lock()
                .unwrap()
                .push(format!("{candidate}: {message}"));
        })
        .subscriber(finished.clone())
        .build()
        .run(task())
        .await
        .unwrap();
    let best = result.winner().unwrap();
    let winner = best.leader();
    assert_eq!(winner.candidate.as_str(), "b");
    assert_eq!(format!("{:.1}", winner.score), "100.0");
    assert_eq!(*finished.0.lock().unwrap(), 4);
    assert!(
        lines
            .lock()
            .unwrap()
            .contains(&"a: [Run] Executing...".to_owned())
    );
    assert_eq!(result.cleanup().cleanup().deleted, 4);
    assert_eq!(result.exit().0, ExitCode::Ok);
    workspace.assert_nothing_left();
}

#[tokio::test]
async fn a_scorer_that_always_panics_leaves_no_winner_and_the_run_goes_on() {
    let workspace = Workspace::with(&[("a.sh", HELLO)]);
    let result = builder(&workspace)
        .scorer(1.0, Panics)
        .build()
        .run(task())
        .await
        .unwrap();
    let reason = "task is ungraded: `panics` failed on 1 artifact and worked on none; it failed: the scorer panicked";
    assert_eq!(result.winner().unwrap_err().reason, reason);
    assert_eq!(result.exit().0, ExitCode::Incomplete);
    let record = result
        .folder()
        .record(&result.summary().trials.get(0).unwrap().trial())
        .unwrap();
    let scorer = &record.score.unwrap().scorers[0];
    assert_eq!(
        (scorer.points, scorer.explanation.as_str()),
        (
            None,
            "ungraded, it worked on no artifact: it failed: the scorer panicked"
        )
    );
    workspace.assert_nothing_left();
}

#[tokio::test]
async fn an_artifact_on_which_a_scorer_panics_has_no_points_from_it() {
    let breaks = "#!/bin/sh\necho \"panic! panic! panic!\" > \"$2\"\n";
    let workspace = Workspace::with(&[("a.sh", HELLO), ("b.sh", breaks)]);
    let result = builder(&workspace)
        .scorer(1.0, PanicsAt("panic!"))
        .build()
        .run(task())
        .await
        .unwrap();
    assert_eq!(result.winner().unwrap().leader().candidate.as_str(), "a");
    assert_eq!(result.exit().0, ExitCode::Ok);
    let record = result
        .folder()
        .record(&result.summary().trials.get(1).unwrap().trial())
        .unwrap();
    let scorer = &record.score.unwrap().scorers[0];
    assert_eq!(scorer.points, Some(Points::ZERO), "{scorer:?}");
}

#[test]
fn dropping_the_future_deletes_every_sandbox_before_the_runtime_is_gone() {
    let workspace = Workspace::with(&[("a.sh", HANGS), ("b.sh", HANGS)]);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let run = builder(&workspace).build().run(task());
    let began = |path: &Path| std::fs::read(path).is_ok_and(|text| text == b"began\n");
    runtime.block_on(async {
        let wait = async {
            loop {
                tokio::time::sleep(Duration::from_millis(10)).await;
                let Ok(run) = std::fs::canonicalize(workspace.path("artifacts/latest")) else {
                    continue;
                };
                if ["a", "b"]
                    .iter()
                    .all(|it| began(&run.join(format!("task/{it}/1/stdout.log"))))
                {
                    return;
                }
            }
        };
        tokio::select! {
            _ = run => panic!("it hangs on purpose"),
            () = wait => {}
        }
    });
    drop(runtime);
    let left: Vec<_> = std::fs::read_dir(workspace.path("tmp")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    workspace.assert_nothing_left();
}

#[tokio::test]
async fn a_caller_may_stop_a_run() {
    let workspace = Workspace::with(&[("a.sh", HANGS)]);
    let (stop, causes) = tokio::sync::mpsc::channel(1);
    let stopper = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        stop.send(StopCause::Caller).await.unwrap();
        std::future::pending::<()>().await;
    };
    let run = builder(&workspace).stop_on(causes).build().run(task());
    let result = tokio::select! {
        result = run => result.unwrap(),
        () = stopper => panic!("never ends"),
    };
    assert_eq!(result.summary().stopped, Some(StopCause::Caller));
    assert!(result.winner().is_err());
    workspace.assert_nothing_left();
}

#[test]
fn without_a_runtime_there_is_a_blocking_form() {
    let workspace = Workspace::with(&[("a.sh", HELLO)]);
    let result = forge::blocking::run(builder(&workspace).build(), task()).unwrap();
    assert_eq!(result.winner().unwrap().leader().candidate.as_str(), "a");
    let limits = LimitOverrides {
        run: Some(Duration::from_millis(200)),
        ..LimitOverrides::default()
    };
    let slow = workspace.candidate("a.sh", HANGS);
    let timed = forge::blocking::run(builder(&slow).limits(limits).build(), task()).unwrap();
    assert!(timed.winner().is_err());
    slow.assert_nothing_left();
}

#[test]
fn mistakes_come_back_as_problems_and_nothing_is_started() {
    let workspace = Workspace::new();
    match forge::blocking::run(builder(&workspace).build(), task()) {
        Err(ForgeError::Problems(problems)) => assert!(!problems.0.is_empty()),
        other => panic!("{other:?}"),
    }
    assert!(!workspace.path("artifacts").exists());
}
