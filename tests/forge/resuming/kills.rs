//! Killed at random moments on every provider: exactly what is missing is run, and nothing is left.

use std::io::Write as _;

use super::{TASK, assert_only_missing, events, kill_after, made, trials};
use crate::boxes::Boxes;
use crate::cloud::Cloud;
use crate::support::fake_daytona::Options;
use crate::support::fake_daytona::fault::scramble;
use crate::support::workspace::{Workspace, finish};
use crate::watching::{kills, open};

const SCRIPT: &str = "#!/bin/sh\nsleep 0.2\necho \"hello from there: $FORGE_SEED\" > \"$2\"\n";

/// Kills a run when so many of its trials have ended, and goes on with it until it is whole.
fn cut_off_locally(trials: usize, ended: usize) {
    let workspace = Workspace::with(&[("a.sh", SCRIPT)]).file("objectives/task.yaml", TASK);
    let count = format!("-k{trials}");
    let arguments = ["task", &count, "-j4", "-q", "--no-progress"];
    let before = kill_after(&mut workspace.command(arguments), &workspace, ended);
    let begun = made(&workspace);
    workspace
        .forge(["--resume", "latest", "-q", "--no-progress"])
        .expect(0);
    assert_only_missing(&workspace, &before, trials);
    assert_eq!(made(&workspace) - begun, trials - before.len());
    assert_eq!(open(&workspace), 0);
    workspace.assert_nothing_left();
}

fn cut_off_in_the_cloud(trials: usize, ended: usize) {
    let options = Options {
        warm: true,
        tombstones: true,
        ..kills::busy()
    };
    let cloud = Cloud::new(options, Workspace::with(&[("a.sh", SCRIPT)]));
    let count = format!("-k{trials}");
    let arguments = ["--daytona", "task", &count, "-j8", "-q", "--no-progress"];
    let before = kill_after(&mut cloud.command(arguments), &cloud.workspace, ended);
    cloud
        .forge(["--resume", "latest", "-q", "--no-progress"])
        .expect(0);
    assert_only_missing(&cloud.workspace, &before, trials);
    // By the server's own count: one for each trial, and those that were under way.
    let under_way = self::under_way(&cloud.workspace);
    let rows = cloud.fake.rows().len();
    assert!(
        rows >= trials && rows <= trials + under_way,
        "{rows}, {under_way}"
    );
    cloud.assert_none_alive();
    assert_eq!(open(&cloud.workspace), 0);
}

/// Without an engine nothing, loudly.
fn cut_off_in_containers(trials: usize, ended: usize) -> Option<()> {
    let boxes = Boxes::of(SCRIPT)?;
    let count = format!("-k{trials}");
    let arguments = ["--container", "task", &count, "-j8", "-q", "--no-progress"];
    let before = kill_after(&mut boxes.command(arguments), &boxes.workspace, ended);
    let rest = boxes
        .command(["--resume", "latest", "-q", "--no-progress"])
        .spawn();
    finish(rest.unwrap()).expect(0);
    assert_only_missing(&boxes.workspace, &before, trials);
    assert_eq!(open(&boxes.workspace), 0);
    assert_eq!(boxes.alive(&boxes.run()), Vec::<String>::new());
    Some(())
}

/// How many trials had begun without a result when the run was cut off.
fn under_way(workspace: &Workspace) -> usize {
    let events = events(workspace);
    let at = events.iter().position(|it| it["event"] == "run_resumed");
    let before = &events[..at.unwrap()];
    trials(before, "trial_started").len() - trials(before, "trial_finished").len()
}

#[test]
fn a_local_run_is_cut_off_and_ends_whole() {
    cut_off_locally(32, 5);
}

#[test]
fn a_run_in_the_cloud_is_cut_off_and_ends_whole() {
    cut_off_in_the_cloud(24, 5);
}

#[test]
fn a_run_in_containers_is_cut_off_and_ends_whole() {
    cut_off_in_containers(16, 3);
}

/// Thirty moments of a run of 200 trials, for people.
fn table(place: &str, cut_off: impl Fn(usize, usize)) {
    for number in 0..30 {
        let ended = usize::try_from(scramble(number) % 190).unwrap() + 1;
        cut_off(200, ended);
        writeln!(std::io::stderr().lock(), "{place} after {ended}: whole").unwrap();
    }
}

/// For people: `cargo test --release --test forge resuming::kills::table -- --ignored --nocapture`
#[test]
#[ignore = "takes ten minutes; prints a table for people"]
fn table_of_this_machine() {
    table("local", cut_off_locally);
}

#[test]
#[ignore = "takes ten minutes; prints a table for people"]
fn table_of_the_cloud() {
    table("cloud", cut_off_in_the_cloud);
}

#[test]
#[ignore = "takes half an hour; prints a table for people"]
fn table_of_containers() {
    table("containers", |trials, ended| {
        cut_off_in_containers(trials, ended);
    });
}
