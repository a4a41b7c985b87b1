//! A slot is free when its sandbox is gone, and not before.

use std::time::Duration;

use serde_json::Value;

use super::{Cloud, WRITES};
use crate::support::fake_daytona::{Options, Quota};
use crate::support::workspace::Workspace;

#[test]
fn no_more_than_jobs_run_at_once_however_long_deletes_take() {
    let options = Options {
        warm: true,
        destroy: Duration::from_secs(2),
        ..Options::default()
    };
    let cloud = Cloud::new(options, Workspace::with(&[("a.sh", WRITES)]));
    let ended = cloud.forge(["--daytona", "task", "-k12", "-j4"]).expect(0);
    let peak = cloud.fake.peak_alive();
    assert!(peak <= 4, "{peak} at once: {}", ended.stdout);
    cloud.assert_none_alive();
}

#[test]
fn no_trial_is_lost_to_a_quota_that_its_own_run_fills() {
    let options = Options {
        warm: true,
        destroy: Duration::from_millis(300),
        quota: Some(Quota {
            cpu: 4,
            ..Quota::UNLIMITED
        }),
        ..Options::default()
    };
    let cloud = Cloud::new(options, Workspace::with(&[("a.sh", WRITES)]));
    cloud.forge(["--daytona", "task", "-k40", "-j4"]).expect(0);
    let trials = cloud.workspace.trials();
    assert_eq!(trials.len(), 40);
    for (name, trial) in trials {
        assert_eq!(trial["error_kind"], serde_json::Value::Null, "{name}");
    }
    assert!(cloud.fake.peak_alive() <= 4);
    cloud.assert_none_alive();
}

/// Begins of trials as `+` and their results as `-`, in the order of the journal, of a run of one sandbox at a time.
fn order(workspace: Workspace) -> String {
    let options = Options {
        warm: true,
        ..Options::default()
    };
    let cloud = Cloud::new(options, workspace);
    cloud.forge(["--daytona", "task", "-k3", "-j1"]);
    cloud.assert_none_alive();
    assert_eq!(cloud.fake.peak_alive(), 1);
    let journal = std::fs::read_to_string(cloud.workspace.run_folder().join("events.jsonl"));
    let journal = journal.unwrap();
    let events = journal.lines().map(|line| {
        let event: Value = serde_json::from_str(line).unwrap();
        match event["event"].as_str().unwrap() {
            "trial_started" => "+",
            "trial_finished" => "-",
            _ => "",
        }
    });
    events.collect()
}

#[test]
fn the_next_trial_does_not_wait_for_the_result_of_the_last_one() {
    // Judged in a process of its own.
    let pattern = "prompt: do it\ngates:\n  - {regex: '^hello'}\n";
    let workspace = Workspace::with(&[("a.sh", WRITES)]).file("objectives/task.yaml", pattern);
    assert_eq!(order(workspace), "++-+--");
}

#[test]
fn graders_have_the_slot_of_the_trial_that_they_judge() {
    let graded =
        "prompt: do it\nscoring:\n  quality:\n    - {command: [echo, '{\"score\": 64}']}\n";
    let workspace = Workspace::with(&[("a.sh", WRITES)]).file("objectives/task.yaml", graded);
    assert_eq!(order(workspace), "+-+-+-");
}

#[test]
fn a_setup_that_failed_is_known_before_the_next_one_begins() {
    let workspace = Workspace::with(&[("a.sh", WRITES)]);
    let workspace = workspace.file("candidates/a.yaml", "setup: ['false']\n");
    assert_eq!(order(workspace), "+-+--");
}
