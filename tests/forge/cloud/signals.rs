//! Signals in every phase of a trial, once and twice: nothing is left alive.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Barrier;

use super::{Cloud, SLEEPS, WRITES, signal};
use crate::support::fake_daytona::fault::{Before, Rule, When};
use crate::support::fake_daytona::{Commands, Options, Route};
use crate::support::workspace::{Workspace, finish, wait};

/// Signals as soon as this call has come, and again a little later.
#[track_caller]
fn check(options: &Options, script: &str, until: Route) {
    for (name, code) in [("INT", 130), ("TERM", 143), ("HUP", 143)] {
        for times in [1, 2] {
            let workspace = Workspace::with(&[("a.sh", script)]);
            let cloud = Cloud::new(options.clone(), workspace);
            let child = cloud.start(["--daytona", "task"]);
            cloud.wait_for(until);
            for _ in 0..times {
                signal(&child, name);
                // Apart, or the second is one with the first.
                wait(40);
            }
            finish(child).expect(code);
            cloud.assert_none_alive();
            let trials = cloud.workspace.trials();
            assert_eq!(trials.len(), 1, "{name} {times}");
        }
    }
}

fn held(route: Route) -> Options {
    let slow = Before::Delay(Duration::from_millis(700));
    Options {
        warm: true,
        faults: vec![Rule::route(route, When::Always, slow)],
        ..Options::default()
    }
}

#[test]
fn nothing_is_left_when_a_create_was_not_answered() {
    check(&held(Route::Create), WRITES, Route::Create);
}

/// Until it has started, the server refuses to delete it.
#[test]
fn nothing_is_left_when_a_sandbox_was_starting() {
    let options = Options {
        start: Duration::from_millis(1500),
        hold: Duration::from_millis(200),
        ..Options::default()
    };
    check(&options, WRITES, Route::Create);
    check(&options, WRITES, Route::Get);
}

#[test]
fn nothing_is_left_when_files_were_uploaded() {
    check(&held(Route::BulkUpload), WRITES, Route::BulkUpload);
}

#[test]
fn nothing_is_left_when_the_candidate_was_running() {
    let options = Options {
        warm: true,
        ..Options::default()
    };
    check(&options, SLEEPS, Route::Execute);
}

#[test]
fn nothing_is_left_when_results_were_collected() {
    check(&held(Route::Download), WRITES, Route::Download);
}

#[test]
fn nothing_is_left_when_the_sandbox_was_being_deleted() {
    check(&held(Route::Delete), WRITES, Route::Delete);
}

#[test]
fn a_signal_before_the_run_begins_ends_it() {
    let hangs = Rule::route(Route::CurrentKey, When::Always, Before::Hang);
    let cloud = Cloud::of(WRITES, vec![hangs]);
    let child = cloud.start(["--daytona", "task"]);
    cloud.wait_for(Route::CurrentKey);
    signal(&child, "INT");
    finish(child).expect(130);
    assert_eq!(cloud.fake.rows(), []);
}

#[test]
fn a_hundred_sandboxes_are_deleted_side_by_side() {
    // Nobody is told of a delete before all of them are under way.
    let together = Before::Together(Arc::new(Barrier::new(100)));
    let options = Options {
        warm: true,
        latency: Duration::from_millis(300),
        faults: vec![Rule::route(Route::Delete, When::Always, together)],
        ..Options::default()
    };
    let waits = "#!/bin/sh\nexec sleep 300\n";
    let cloud = Cloud::new(options, Workspace::with(&[("a.sh", waits)]));
    let child = cloud.start(["--daytona", "task", "-k100", "-j100"]);
    cloud.wait_for_many(Route::Execute, 100);
    signal(&child, "INT");
    finish(child).expect(130);
    cloud.assert_none_alive();
    let deletes = cloud.fake.requests_to(Route::Delete);
    assert_eq!(deletes, 100, "one call each");
}

/// More than are sent files at once, or are asked at once what they have printed.
#[test]
fn hundreds_of_sandboxes_at_once_are_all_deleted_after_a_signal() {
    let many = 600;
    let options = Options {
        warm: true,
        // Nothing is executed, so that this machine has no processes for it.
        commands: Commands::Answered,
        faults: vec![Rule::route(Route::Execute, When::Always, Before::Hang)],
        ..Options::default()
    };
    let cloud = Cloud::new(options, Workspace::with(&[("a.sh", WRITES)]));
    let arguments = [format!("-k{many}"), format!("-j{many}")];
    let arguments = arguments.iter().map(String::as_str);
    let child = cloud.start(["--daytona", "task"].into_iter().chain(arguments));
    cloud.wait_for_many(Route::Execute, many);
    signal(&child, "INT");
    finish(child).expect(130);
    cloud.assert_none_alive();
    assert_eq!(cloud.fake.rows().len(), many);
    assert_eq!(cloud.fake.requests_to(Route::Delete), many, "one call each");
    assert_eq!(cloud.workspace.trials().len(), many);
}
