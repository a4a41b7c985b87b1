//! `forge doctor --container`: what the engine is, what it has, and which limits hold.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Boxes, WRITES, signal};
use crate::support::counting::{Counting, Decides, Fate};
use crate::support::engine::BUSYBOX;
use crate::support::workspace::{Ended, Workspace, finish, pause};

fn document(ended: &Ended) -> Value {
    let document: Value = serde_json::from_str(&ended.stdout).unwrap();
    document["container"].clone()
}

#[test]
fn limits_are_tried() {
    let Some(boxes) = Boxes::of(WRITES) else {
        return;
    };
    let found = document(&boxes.forge(["doctor", "--container", "--json"]));
    let version = found["engine"]["version"].as_str().unwrap();
    assert!(version.starts_with("Podman "), "{version}");
    assert_eq!(found["engine"]["address"], boxes.host());
    assert_eq!(found["engine"]["rootless"], false);
    assert_eq!(found["image"]["name"], BUSYBOX);
    assert_eq!(found["image"]["there"], true);
    // A tmpfs has its size everywhere; the rest is up to the machine, and is known afterwards.
    assert_eq!(found["limits"]["disk"], true, "{found}");
    for limit in ["memory", "processes"] {
        assert!(found["limits"][limit].is_boolean(), "{limit}: {found}");
    }
    let text = boxes.forge(["doctor", "--container"]).stdout;
    assert!(text.contains("  limit of disk: holds\n"), "{text}");
}

#[test]
fn limits_are_tried_only_when_that_is_asked_for() {
    let Some(boxes) = Boxes::of(WRITES) else {
        return;
    };
    let ended = boxes.forge(["doctor", "--json"]).expect(0);
    let found = document(&ended);
    assert_eq!(found["works"], true, "{found}");
    assert_eq!(found["limits"], Value::Null);
    let boxes = Boxes {
        workspace: boxes
            .workspace
            .file("forge.yaml", "container: {image: no-such-image}\n"),
        ..boxes
    };
    let ended = boxes.forge(["doctor", "--container", "--json"]).expect(0);
    let found = document(&ended);
    assert_eq!(found["image"]["there"], false, "and it was not pulled");
    assert_eq!(found["limits"], Value::Null);
    let named = ["doctor", "--container", "--image", BUSYBOX, "--json"];
    let found = document(&boxes.forge(named));
    assert_eq!(found["image"]["name"], BUSYBOX);
    assert_eq!(found["limits"]["disk"], true, "{found}");
}

/// It stops as a run does, and leaves nothing: not even a container that was made and not yet started.
#[test]
fn a_signal_ends_it_while_limits_are_tried() {
    let Some(boxes) = Boxes::of(WRITES) else {
        return;
    };
    let held: Decides = |call, _| {
        if call.ends_with("/start") {
            Fate::Held
        } else {
            Fate::Passed
        }
    };
    let proxy = Counting::deciding(&boxes.engine.socket(), held);
    let mut command = boxes.command(["doctor", "--container", "--json"]);
    command.env(
        "DOCKER_HOST",
        format!("unix://{}", proxy.socket().display()),
    );
    let child = command.spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while !proxy.calls().iter().any(|call| call.ends_with("/start")) {
        assert!(Instant::now() < until, "{:?}", proxy.calls());
        pause();
    }
    signal(&child, "INT");
    let ended = finish(child).expect(130);
    let found = document(&ended);
    assert_eq!(found["works"], false, "{found}");
    let calls = proxy.calls();
    let start = calls.iter().find(|call| call.ends_with("/start")).unwrap();
    let id = start.rsplit('/').nth(1).unwrap();
    let there = boxes
        .engine
        .podman()
        .args(["container", "exists", id])
        .status();
    assert_eq!(there.unwrap().code(), Some(1), "{calls:?}");
}

#[test]
fn no_engine_is_wrong_where_one_is_asked_for() {
    let workspace = Workspace::with(&[("a.sh", WRITES)]);
    let run = |words: &[&str]| finish(workspace.command(words).spawn().unwrap());
    let found = document(&run(&["doctor", "--json"]).expect(0));
    assert_eq!(found["works"], false);
    assert_eq!(found["problems"], serde_json::json!([]));
    let found = document(&run(&["doctor", "--container", "--json"]).expect(2));
    let problem = &found["problems"][0];
    let hint = problem["hint"].as_str().unwrap();
    assert!(hint.contains("DOCKER_HOST="), "{problem}");
}
