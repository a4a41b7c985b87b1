//! What goes wrong in the cloud: trials that fail, creates and deletes that do, keys that lose their say.

use std::time::Duration;

use axum::http::StatusCode;

use serde_json::Value;

use super::{Cloud, SLEEPS, WRITES};
use crate::support::fake_daytona::Route;
use crate::support::fake_daytona::fault::{After, Before, Canned, During, Fault, Rule, When};
use crate::support::workspace::finish;

#[test]
fn nothing_is_left_when_all_fail_or_run_out_of_time() {
    let fails = "#!/bin/sh\necho bad; exit 3\n";
    let cloud = Cloud::of(fails, vec![]);
    cloud.forge(["--daytona", "task", "-k3"]).expect(1);
    cloud.assert_none_alive();
    let overstays = "#!/bin/sh\necho began\necho 'half an answer' > \"$2\"\nsleep 300\n";
    let cloud = Cloud::of(overstays, vec![]);
    cloud
        .forge(["--daytona", "task", "-k3", "--timeout", "1s"])
        .expect(1);
    cloud.assert_none_alive();
    let trial = cloud.trial("a");
    assert_eq!(trial["error_kind"], "timeout");
    assert_eq!(trial["output"], "began\n", "what was printed until then");
    assert_eq!(trial["artifact_content"], "half an answer\n");
}

/// One fault, and a trial that passes all the same.
#[track_caller]
fn recovers(attempts: u64, faults: Vec<(Route, When, Fault)>) {
    let rules = faults
        .into_iter()
        .map(|(route, when, fault)| Rule::route(route, when, fault));
    let cloud = Cloud::of(WRITES, rules.collect());
    cloud.forge(["--daytona", "task"]).expect(0);
    cloud.assert_none_alive();
    assert_eq!(cloud.trial("a")["attempts"], attempts);
}

fn refuses(status: StatusCode) -> Fault {
    Before::Answer(Canned::status(status)).into()
}

#[test]
fn a_delete_that_fails_twice_is_repeated() {
    let bad = refuses(StatusCode::BAD_GATEWAY);
    recovers(1, vec![(Route::Delete, When::First(2), bad)]);
    recovers(
        1,
        vec![(Route::Delete, When::First(2), Before::Drop.into())],
    );
}

/// The trial goes on under another name meanwhile.
#[test]
fn a_create_whose_reply_is_lost_is_found_by_its_name_and_deleted() {
    recovers(2, vec![(Route::Create, When::Nth(1), After::Drop.into())]);
}

#[test]
fn a_create_that_fails_and_leaves_a_row_is_tried_again_and_the_row_is_named() {
    // The last one reads like a full pool, and is none: the row exists.
    for fault in [
        During::CreateLeavesRow("no disk".to_owned()),
        During::CreateErrs("bad node".to_owned()),
        During::CreateLeavesRow("disk limit exceeded".to_owned()),
    ] {
        let rule = Rule::route(Route::Create, When::Nth(1), fault);
        let cloud = Cloud::of(WRITES, vec![rule]);
        let ended = cloud.forge(["--daytona", "task"]).expect(4);
        assert_eq!(cloud.trial("a")["attempts"], 2);
        // A server says of a sandbox that failed and was deleted neither that it is there nor that it is gone.
        assert!(ended.stdout.contains("hides it"), "{}", ended.stdout);
        cloud.assert_none_alive();
    }
}

#[test]
fn a_sandbox_that_dies_under_a_trial_costs_an_attempt() {
    let dies = During::DaemonDies(Duration::from_millis(100));
    let slow = "#!/bin/sh\nsleep 1\necho \"hello from the cloud\" > \"$2\"\n";
    let cloud = Cloud::of(slow, vec![Rule::route(Route::Execute, When::Nth(1), dies)]);
    cloud.forge(["--daytona", "task"]).expect(0);
    assert_eq!(cloud.trial("a")["attempts"], 2);
    cloud.assert_none_alive();
}

/// A candidate may cost money: it does not run again because nobody can judge what it did.
#[test]
fn a_grader_without_a_sandbox_leaves_a_lost_trial_and_neither_a_score_nor_a_second_attempt() {
    let refused = refuses(StatusCode::FORBIDDEN);
    let cloud = Cloud::of(
        WRITES,
        vec![Rule::route(Route::Create, When::Nth(2), refused)],
    );
    let objective = "prompt: x\nscoring:\n  quality:\n    - {command: [sh, -c, exit 0]}\n";
    std::fs::write(cloud.workspace.path("objectives/task.yaml"), objective).unwrap();
    let ended = cloud.forge(["--daytona", "task"]).expect(3);
    assert!(
        ended
            .stdout
            .contains("\nNo winner: no trial has a verdict\n")
    );
    let trial = cloud.trial("a");
    assert_eq!(trial["end"]["phase"], "scoring", "{trial}");
    assert_eq!(
        (&trial["scores"], &trial["attempts"]),
        (&Value::Null, &1.into())
    );
    assert_eq!(trial["artifact_content"], "hello from the cloud\n");
    cloud.assert_none_alive();
}

#[test]
fn an_errored_sandbox_is_deleted_and_not_called_gone() {
    let cloud = Cloud::of(SLEEPS, vec![]);
    let child = cloud.start(["--daytona", "task", "--deadline", "4s"]);
    cloud.wait_for_candidate();
    let id = cloud.fake.alive()[0].id.clone();
    assert!(cloud.fake.break_sandbox(&id, "out of memory"));
    let ended = finish(child).expect(4);
    assert!(ended.stdout.contains("hides it"), "{}", ended.stdout);
    cloud.assert_none_alive();
}

#[test]
fn a_key_that_may_not_delete_is_refused_before_anything_exists() {
    let cloud = Cloud::of(WRITES, vec![]);
    cloud.fake.set_permissions(&["write:sandboxes"]);
    let ended = cloud.forge(["--daytona", "task"]).expect(3);
    assert!(
        ended.stderr.contains("delete:sandboxes"),
        "{}",
        ended.stderr
    );
    let told = cloud.forge(["--daytona", "task", "--json"]).expect(3);
    let told: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(told["exit"]["name"], "incomplete");
    let message = told["problems"][0]["message"].as_str().unwrap();
    assert!(message.contains("delete:sandboxes"), "{message}");
    assert_eq!(cloud.fake.rows(), []);
    assert!(!cloud.workspace.path("artifacts/latest").exists());
}

#[test]
fn what_cannot_be_deleted_is_named_with_the_command_that_deletes_it_later() {
    let cloud = Cloud::of("#!/bin/sh\nsleep 1\n", vec![]);
    let child = cloud.start(["--daytona", "task"]);
    cloud.wait_for(Route::Execute);
    cloud.fake.set_permissions(&[]);
    let ended = finish(child).expect(4);
    let alive = cloud.fake.alive();
    let folder = cloud.workspace.run_folder();
    let run = folder.file_name().unwrap().to_str().unwrap();
    assert_eq!(alive.len(), 1);
    for needle in [
        alive[0].id.as_str(),
        &format!("forge sweep --run {run}"),
        "Forbidden",
    ] {
        assert!(
            ended.stdout.contains(needle),
            "no {needle} in {}",
            ended.stdout
        );
    }
    cloud.forge(["sweep", "--run", run]).expect(4);
    cloud
        .fake
        .set_permissions(&["write:sandboxes", "delete:sandboxes"]);
    cloud.forge(["sweep", "--run", run]).expect(0);
    cloud.assert_none_alive();
}

/// An older server does not tell what a key may do; then the deletes tell.
#[test]
fn a_server_that_does_not_tell_permissions_lets_the_run_find_out() {
    let untold = || {
        let missing = Canned::error(StatusCode::NOT_FOUND, "Cannot GET /api/api-keys/current");
        Rule::route(Route::CurrentKey, When::Always, Before::Answer(missing))
    };
    let cloud = Cloud::of(WRITES, vec![untold()]);
    cloud.fake.set_permissions(&["write:sandboxes"]);
    // Stopping one of forge's ends it as well.
    cloud.forge(["--daytona", "task"]).expect(0);
    cloud.assert_none_alive();

    let stops = Rule::route(Route::Stop, When::Always, refuses(StatusCode::FORBIDDEN));
    let cloud = Cloud::of(WRITES, vec![untold(), stops]);
    cloud.fake.set_permissions(&["write:sandboxes"]);
    let ended = cloud.forge(["--daytona", "task"]).expect(4);
    assert!(
        ended.stdout.contains(&cloud.fake.alive()[0].id),
        "{}",
        ended.stdout
    );
    cloud.fake.allow_leaks();
}
