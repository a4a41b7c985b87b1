//! What runs leave in containers: what is kept on purpose, what ends by itself, and `forge sweep`.

use super::{Boxes, FAILS, SLEEPS, WRITES};
use crate::support::workspace::finish;
use crate::watching::Watch;

#[test]
fn kept_containers_are_named_and_swept_later() {
    let Some(boxes) = Boxes::of(FAILS) else {
        return;
    };
    let ended = boxes
        .forge(["--container", "task", "--keep", "failed"])
        .expect(1);
    let run = boxes.run();
    assert_eq!(boxes.alive(&run).len(), 1);
    let command = format!("forge sweep --run {run}");
    for told in ["docker exec -it ", &command] {
        assert!(ended.stdout.contains(told), "{told}: {}", ended.stdout);
    }
    let ended = boxes.forge(["sweep", "--dry-run"]).expect(0);
    let told = "would delete container sandbox forge-";
    assert!(ended.stdout.contains(told), "{}", ended.stdout);
    let ended = boxes.forge(command.split(' ').skip(1)).expect(0);
    assert!(ended.stdout.contains("deleted forge-"), "{}", ended.stdout);
    assert_eq!(boxes.alive(&run), [""; 0]);
    let ended = boxes.forge(["sweep", "--run", &run]).expect(0);
    assert_eq!(ended.stdout, "nothing to sweep\n");

    let Some(boxes) = Boxes::of(WRITES) else {
        return;
    };
    boxes
        .forge(["--container", "task", "--keep", "failed"])
        .expect(0);
    assert_eq!(boxes.alive(&boxes.run()), [""; 0]);
}

/// Without the watch: its first process sees the end of its input, and then the engine removes it.
#[test]
fn a_killed_forge_leaves_nothing_for_long() {
    let Some(boxes) = Boxes::of(SLEEPS) else {
        return;
    };
    let child = boxes.start(["--container", "task"]);
    let run = boxes.wait_for_candidate();
    Watch::of(&child).kill_with(child);
    boxes.wait_until_gone(&run);
    let ended = boxes.forge(["sweep", "--run", &run]).expect(0);
    assert!(ended.stdout.contains("gone already: "), "{}", ended.stdout);
}

/// With `--keep` a container outlives forge, however that ends; then somebody has to delete it.
#[test]
fn what_could_be_kept_and_was_killed_is_swept() {
    let Some(boxes) = Boxes::of(SLEEPS) else {
        return;
    };
    let child = boxes.start(["--container", "task", "--keep", "all"]);
    let run = boxes.wait_for_candidate();

    // The run is alive: from here by its ledger, from elsewhere by its labels.
    let other = Boxes::of(WRITES).unwrap();
    for boxes in [&boxes, &other] {
        for arguments in [&["sweep", "--yes"][..], &["sweep"]] {
            boxes.forge(arguments.iter().copied()).expect(0);
        }
    }
    let ended = other.forge(["sweep", "--dry-run"]).expect(0);
    let told = "would leave container sandbox forge-";
    assert!(ended.stdout.contains(told), "{}", ended.stdout);
    assert_eq!(boxes.alive(&run).len(), 1);

    Watch::of(&child).kill_with(child);
    let ended = boxes.forge(["sweep", "--run", &run]).expect(0);
    assert!(ended.stdout.contains("deleted forge-"), "{}", ended.stdout);
    assert_eq!(boxes.alive(&run), [""; 0]);
}

/// Whoever runs nothing in containers needs no engine; whoever does is told that it is gone.
#[test]
fn an_engine_that_is_gone_is_told_where_it_matters() {
    let Some(boxes) = Boxes::of(FAILS) else {
        return;
    };
    let without = |words: &[&str]| finish(boxes.workspace.command(words).spawn().unwrap());
    let ended = without(&["sweep"]).expect(0);
    assert_eq!(ended.stdout, "nothing to sweep\n");
    boxes
        .forge(["--container", "task", "--keep", "all"])
        .expect(1);
    let ended = without(&["sweep"]).expect(4);
    for told in ["cannot be reached", "1 sandbox is in containers"] {
        assert!(ended.stderr.contains(told), "{told}: {}", ended.stderr);
    }
    let run = boxes.run();
    assert_eq!(boxes.alive(&run).len(), 1, "and the ledger is still open:");
    let ended = boxes.forge(["sweep", "--run", &run]).expect(0);
    assert!(ended.stdout.contains("deleted forge-"), "{}", ended.stdout);
}
