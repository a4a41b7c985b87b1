//! Signals and deadlines: whatever the moment, nothing is left and every planned trial has a row.

use std::process::{Child, Command};

use crate::support::workspace::{Workspace, finish, pause, wait};

const SLEEPS: &str = "#!/bin/sh\necho began\ntrap '' TERM\n(setsid sleep 300 &)\nsleep 300\n";

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(child.id().to_string())
        .status();
    assert!(status.unwrap().success());
}

/// Four trials that hang, two at once.
fn workspace() -> Workspace {
    Workspace::with(&[
        ("a.sh", SLEEPS),
        ("b.sh", SLEEPS),
        ("c.sh", SLEEPS),
        ("d.sh", SLEEPS),
    ])
}

/// Waits until that many trials are at work.
fn wait_for_trials(workspace: &Workspace, count: usize) {
    for _ in 0..1500 {
        let run = std::fs::canonicalize(workspace.path("artifacts/latest")).unwrap_or_default();
        let began = |name: &&&str| {
            let log = run.join("task").join(name).join("1/stdout.log");
            std::fs::read(log).is_ok_and(|text| text.starts_with(b"began"))
        };
        let found = ["a", "b", "c", "d"].iter().filter(began).count();
        if found >= count {
            return;
        }
        pause();
    }
    panic!("the trials do not begin");
}

#[track_caller]
fn check(signals: &[&str], code: i32) {
    let workspace = workspace();
    let child = workspace.command(["task", "-j2"]).spawn().unwrap();
    wait_for_trials(&workspace, 2);
    for name in signals {
        signal(&child, name);
        // Apart, or the second is one with the first.
        wait(30);
    }
    finish(child).expect(code);
    let trials = workspace.trials();
    assert_eq!(trials.len(), 4);
    let kinds: Vec<&str> = trials
        .values()
        .map(|row| row["error_kind"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds.iter().filter(|kind| **kind == "cancelled").count(),
        2,
        "{kinds:?}"
    );
    assert_eq!(
        kinds.iter().filter(|kind| **kind == "not_run").count(),
        2,
        "{kinds:?}"
    );
    workspace.assert_nothing_left();
}

#[test]
fn sigint_ends_with_130_and_leaves_nothing() {
    check(&["INT"], 130);
}

#[test]
fn sigterm_ends_with_143_and_leaves_nothing() {
    check(&["TERM"], 143);
}

#[test]
fn sighup_ends_with_143_and_leaves_nothing() {
    check(&["HUP"], 143);
}

#[test]
fn under_nohup_a_hangup_is_ignored() {
    let workspace = Workspace::with(&[(
        "a.sh",
        "#!/bin/sh\necho began\nsleep 1\necho \"hello from the script\" > \"$2\"\n",
    )]);
    let forge = workspace.command(["task"]);
    let mut nohup = Command::new("nohup");
    nohup.arg(forge.get_program()).args(forge.get_args());
    nohup
        .current_dir(workspace.path(""))
        .env("FORGE_LOCAL_ROOT", "allow")
        .env("TMPDIR", workspace.path("tmp"));
    let streams = [std::process::Stdio::piped(), std::process::Stdio::piped()];
    let [stdout, stderr] = streams;
    let child = nohup
        .stdin(std::process::Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .spawn()
        .unwrap();
    wait_for_trials(&workspace, 1);
    signal(&child, "HUP");
    finish(child).expect(0);
    workspace.assert_nothing_left();
}

/// The first may have ended the run before the second comes, so only what is left counts.
#[test]
fn two_signals_leave_nothing_either() {
    for name in ["INT", "TERM", "HUP"] {
        let workspace = workspace();
        let child = workspace.command(["task", "-j2"]).spawn().unwrap();
        wait_for_trials(&workspace, 2);
        signal(&child, name);
        let _second = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(child.id().to_string())
            .output();
        let ended = finish(child);
        assert!(matches!(ended.code, Some(130 | 143)), "{ended:?}");
        assert_eq!(workspace.trials().len(), 4);
        workspace.assert_nothing_left();
    }
}

#[test]
fn a_signal_at_any_moment_leaves_nothing() {
    for milliseconds in [0, 3, 7, 12, 20, 35, 60, 100, 180] {
        let quick = "#!/bin/sh\n(setsid sleep 300 &)\necho \"hello from the script\" > \"$2\"\n";
        let workspace = Workspace::with(&[("a.sh", quick), ("b.sh", quick)]);
        let child = workspace.command(["task", "-k5", "-j2"]).spawn().unwrap();
        wait(milliseconds);
        signal(&child, "INT");
        let ended = finish(child);
        if workspace.path("artifacts/latest").exists() && ended.code.is_some() {
            assert!(matches!(ended.code, Some(0 | 130)), "{ended:?}");
            assert_eq!(workspace.trials().len(), 10);
        }
        workspace.assert_nothing_left();
    }
}

#[test]
fn kill_9_of_forge_leaves_no_process_and_the_next_run_no_folder() {
    let workspace = workspace();
    let child = workspace.command(["task", "-j2"]).spawn().unwrap();
    wait_for_trials(&workspace, 2);
    signal(&child, "KILL");
    assert_eq!(finish(child).code, None);
    let killed = std::fs::canonicalize(workspace.path("artifacts/latest")).unwrap();
    let scored = workspace.forge(["score", "latest"]);
    assert!(!scored.stderr.contains("is gone"), "{}", scored.stderr);
    let quick = workspace.candidate(
        "a.sh",
        "#!/bin/sh\necho \"hello from the script\" > \"$2\"\n",
    );
    quick.forge(["task", "-c", "a"]).expect(0);
    let id = killed.file_name().unwrap().to_str().unwrap();
    let swept = quick.forge(["sweep", "--run", id]).expect(0).stdout;
    let told: Vec<&str> = swept.lines().collect();
    assert_eq!(told.len(), 2, "{swept}");
    assert!(
        told.iter().all(|it| it.starts_with("gone already: ")),
        "{swept}"
    );
    quick.assert_nothing_left();
}

#[test]
fn the_deadline_stops_the_run_and_what_is_lost_is_no_loss() {
    let quick = "#!/bin/sh\necho \"hello from the script\" > \"$2\"\n";
    let workspace = Workspace::with(&[("a.sh", quick), ("b.sh", SLEEPS)]);
    workspace
        .forge(["task", "--deadline", "5s", "-j2"])
        .expect(3);
    let trials = workspace.trials();
    assert!(trials["task/a/1"]["score"].is_number());
    assert!(trials["task/b/1"]["score"].is_null());
    workspace.assert_nothing_left();
}
