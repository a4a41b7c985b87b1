//! Runs that go on: killed at any moment, gone on with, and in the end as if nothing had been.

mod corners;
mod kills;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use forge::sandbox::ledger;
use serde_json::Value;

use crate::support::workspace::{Workspace, finish, pause, read_json};

/// A script that depends on nothing but the seed of its trial, takes so many seconds, and fails its gates every third
/// time.
pub(crate) fn steady(seconds: &str) -> String {
    format!(
        "#!/bin/sh\nsleep {seconds}\n[ $((FORGE_SEED % 3)) = 0 ] && exit 3\n\
         echo \"as the seed says: $((FORGE_SEED % 7)) $1\" > \"$2\"\n"
    )
}

/// By which some trials of each run pass and some do not.
const SEED: &str = "--seed=1";

/// All weight lies on what does not depend on the time.
pub(crate) const TASK: &str = "prompt: do it\nscoring:\n  weights: {success: 0.5, quality: 0.5, speed: 0}\n  \
                    quality:\n    - {regex: 'says: [0-3]'}\n";

fn project() -> Workspace {
    Workspace::new()
        .file("objectives/task.yaml", TASK)
        .candidate("a.sh", &steady("0.1"))
        .candidate("b.sh", &steady("0.1"))
}

/// The events of the newest run, as far as they are whole.
fn events(workspace: &Workspace) -> Vec<Value> {
    let path = workspace.path("artifacts/latest/events.jsonl");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines = text.split_inclusive('\n').filter(|it| it.ends_with('\n'));
    lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

fn named(trial: &Value) -> String {
    let text = |key: &str| trial[key].as_str().unwrap().to_owned();
    format!(
        "{}/{}/{}",
        text("objective"),
        text("candidate"),
        trial["repeat"]
    )
}

/// The trials that these events tell of.
fn trials(events: &[Value], event: &str) -> Vec<String> {
    let those = events.iter().filter(|it| it["event"] == event);
    those.map(|it| named(&it["trial"])).collect()
}

/// Kills it when so many trials have ended, and gives those that then had.
#[track_caller]
pub(crate) fn kill_after(
    command: &mut Command,
    workspace: &Workspace,
    ended: usize,
) -> BTreeSet<String> {
    let mut child = command.spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(120);
    while trials(&events(workspace), "trial_finished").len() < ended {
        assert!(Instant::now() < until, "{ended} trials do not end");
        assert!(child.try_wait().unwrap().is_none(), "it has ended before");
        pause();
    }
    child.kill().unwrap();
    assert_eq!(finish(child).code, None);
    trials(&events(workspace), "trial_finished")
        .into_iter()
        .collect()
}

/// What was run when the run went on: each once, and none that had a result.
#[track_caller]
fn assert_only_missing(workspace: &Workspace, before: &BTreeSet<String>, all: usize) {
    let events = events(workspace);
    let at = events.iter().rposition(|it| it["event"] == "run_resumed");
    let since = &events[at.unwrap()..];
    let run = trials(since, "trial_finished");
    let unique: BTreeSet<String> = run.iter().cloned().collect();
    assert_eq!(unique.len(), run.len(), "one has two results");
    assert!(unique.is_disjoint(before), "one was run again");
    assert_eq!(unique.len() + before.len(), all);
    let started: BTreeSet<String> = trials(since, "trial_started").into_iter().collect();
    assert_eq!(started, unique);
    let numbers: Vec<u64> = events
        .iter()
        .map(|it| it["seq"].as_u64().unwrap())
        .collect();
    assert!(numbers.iter().copied().eq(0..numbers.len() as u64));
}

/// What a run came to, but for times and what only another run of the same has.
pub(crate) fn without_times(run: &Value) -> Value {
    let rows = run["trials"].as_array().unwrap().iter().map(|row| {
        let keys = [
            "objective",
            "candidate",
            "repeat",
            "score",
            "quality",
            "exit_code",
            "disqualified",
        ];
        keys.map(|key| row[key].clone())
    });
    let standings = run["standings"]["overall"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| ["candidate", "score", "rank", "low", "high"].map(|key| row[key].clone()));
    serde_json::json!([
        rows.collect::<Vec<_>>(),
        standings.collect::<Vec<_>>(),
        run["lead"]
    ])
}

/// How many sandboxes the newest run has begun to make.
fn made(workspace: &Workspace) -> usize {
    let ledger = std::fs::read_to_string(workspace.run_folder().join("sandboxes.jsonl")).unwrap();
    ledger.matches("\"op\":\"create\"").count()
}

#[test]
fn a_run_that_was_killed_ends_like_one_that_was_not() {
    let arguments = ["task", "-k12", "-j1", SEED, "--no-progress", "-q"];
    let undisturbed = project();
    undisturbed.forge(arguments).expect(0);
    let workspace = project();
    let before = kill_after(&mut workspace.command(arguments), &workspace, 7);
    let (begun, id) = (made(&workspace), workspace.run_folder());
    let ended = workspace
        .forge(["--resume", "latest", "--no-progress"])
        .expect(0);
    let told = format!("goes on: {} results of 24 kept", before.len());
    assert!(ended.stderr.contains(&told), "{ended:?}");
    assert_eq!(workspace.run_folder(), id);
    assert_only_missing(&workspace, &before, 24);
    assert_eq!(made(&workspace) - begun, 24 - before.len());
    assert_eq!(
        without_times(&workspace.run_json()),
        without_times(&undisturbed.run_json())
    );
    workspace.assert_nothing_left();
    // Also those of before that nobody had told of.
    let cleanup = &workspace.run_json()["cleanup"];
    let (names, ids) = (BTreeSet::new(), BTreeSet::new());
    let deleted = ledger::deleted(&workspace.run_folder(), &names, &ids).unwrap();
    assert_eq!(cleanup["deleted"], deleted.count, "{cleanup}");
    // There is nothing left to do, and the report is the same.
    let again = workspace.forge(["--resume", "latest", "-q"]).expect(0);
    assert!(again.stderr.is_empty(), "{again:?}");
    assert_eq!(made(&workspace) - begun, 24 - before.len());
    assert_eq!(
        without_times(&workspace.run_json()),
        without_times(&undisturbed.run_json())
    );
}

#[test]
fn a_run_that_was_interrupted_says_how_it_goes_on() {
    let workspace = project();
    let mut child = workspace.command(["task", "-k12", "-j2", "--no-progress"]);
    let child = child.spawn().unwrap();
    while trials(&events(&workspace), "trial_finished").is_empty() {
        pause();
    }
    crate::cloud::signal(&child, "INT");
    let ended = finish(child).expect(130);
    let next = ended
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("Next: forge "));
    let words: Vec<&str> = next.unwrap().split(' ').collect();
    assert_eq!(words[0], "--resume");
    let ended = workspace.forge(words).expect(0);
    assert!(ended.stdout.contains("24 trials in"), "{ended:?}");
    let run = workspace.run_json();
    assert!(
        run["trials"]
            .as_array()
            .unwrap()
            .iter()
            .all(|row| row["error_kind"] != "cancelled")
    );
}

#[test]
fn what_has_changed_is_run_again_and_told() {
    let workspace = project();
    workspace.forge(["task", "-k3", "-q", SEED]).expect(0);
    let workspace = workspace.candidate("b.sh", &steady("0.01"));
    let ended = workspace.forge(["--resume", "latest"]).expect(0);
    let told = "goes on: 3 results of 6 kept, 3 to be run; 3 again: candidate `b` has changed";
    assert!(ended.stderr.contains(told), "{ended:?}");
    // What was asked for then holds, and what is asked for now above it.
    let ended = workspace
        .forge(["--resume", "latest", "--timeout=20s"])
        .expect(0);
    let told =
        "goes on: 0 results of 6 kept, 6 to be run; 6 again: timeout was not set, and is 20s";
    assert!(ended.stderr.contains(told), "{ended:?}");
    let ended = workspace
        .forge(["--resume", "latest", "--retry=failed"])
        .expect(0);
    let failed = workspace
        .trials()
        .values()
        .filter(|it| it["exit_code"] == 3)
        .count();
    let told = format!(
        "goes on: {} results of 6 kept, {failed} to be run",
        6 - failed
    );
    assert!(ended.stderr.contains(&told), "{ended:?}");
}

#[test]
fn the_same_command_goes_on_by_itself_where_it_was_cut_off() {
    let workspace = project();
    let arguments = ["task", "-k12", "-j1", "--no-progress"];
    let auto = |arguments: &[&str]| {
        let mut command = workspace.command(arguments);
        command.env("FORGE_RESUME", "auto");
        command
    };
    let before = kill_after(&mut auto(&arguments), &workspace, 3);
    let cut_off = workspace.run_folder();
    // Another command is another run.
    finish(auto(&["task", "-k1", "-q", SEED]).spawn().unwrap()).expect(0);
    assert_ne!(workspace.run_folder(), cut_off);
    let ended = finish(auto(&arguments).spawn().unwrap()).expect(0);
    assert_eq!(workspace.run_folder(), cut_off);
    assert!(ended.stderr.contains("goes on: "), "{ended:?}");
    assert_only_missing(&workspace, &before, 24);
    // What is whole does not go on.
    finish(auto(&arguments).spawn().unwrap()).expect(0);
    assert_ne!(workspace.run_folder(), cut_off);
}

#[test]
fn two_never_share_a_folder() {
    let workspace = Workspace::with(&[("a.sh", "#!/bin/sh\nexec sleep 300\n")]);
    let child = workspace.command(["task"]).spawn().unwrap();
    while trials(&events(&workspace), "trial_started").is_empty() {
        pause();
    }
    let second = workspace.command(["--resume", "latest"]).spawn().unwrap();
    let score = workspace.forge(["score", "latest"]).expect(2);
    assert!(
        score.stderr.contains("is in use by another forge"),
        "{score:?}"
    );
    let refused = finish(second).expect(2);
    assert!(
        refused.stderr.contains("is in use by another forge"),
        "{refused:?}"
    );
    // Who only looks is told.
    let report = workspace.forge(["report", "latest", "-q"]);
    assert!(report.stderr.contains("still going on"), "{report:?}");
    // Whoever goes on where there is something to go on with begins anew.
    let alive = workspace.run_folder();
    let workspace = workspace.candidate("a.sh", "#!/bin/sh\necho it is done by now > \"$2\"\n");
    let mut auto = workspace.command(["task"]);
    let begun = finish(auto.env("FORGE_RESUME", "auto").spawn().unwrap()).expect(0);
    let told = "is in use by another forge: this is a new run";
    assert!(begun.stderr.contains(told), "{begun:?}");
    assert_ne!(workspace.run_folder(), alive);
    crate::cloud::signal(&child, "INT");
    finish(child).expect(130);
    workspace.assert_nothing_left();
}

#[test]
fn what_was_cut_off_within_a_line_goes_on_behind_the_last_whole_one() {
    let workspace = project();
    let arguments = ["task", "-k12", "-j1", "-q", "--no-progress", SEED];
    kill_after(&mut workspace.command(arguments), &workspace, 2);
    let journal = workspace.run_folder().join("events.jsonl");
    let text = std::fs::read(&journal).unwrap();
    let ends: Vec<usize> = (0..text.len()).filter(|at| text[*at] == b'\n').collect();
    let last = ends[ends.len() - 2];
    for cut in [last + 2, last + 40, text.len() - 1] {
        let mut torn = text[..cut].to_vec();
        // What a file system may leave where it had not written yet.
        torn.extend([0; 64]);
        std::fs::write(&journal, torn).unwrap();
        workspace.forge(["report", "latest", "-q"]);
        workspace.forge(["--resume", "latest", "-q"]).expect(0);
        assert_eq!(workspace.trials().len(), 24);
        let numbers = events(&workspace);
        assert!((0..).zip(&numbers).all(|(at, it)| it["seq"] == at));
    }
    // A line in the middle that is not what was written is no matter of a crash.
    let text = std::fs::read_to_string(&journal).unwrap();
    let changed = text.replacen("\"attempt\":1", "\"attempt\":2", 1);
    std::fs::write(&journal, changed).unwrap();
    let ended = workspace.forge(["--resume", "latest"]).expect(2);
    assert!(
        ended.stderr.contains("its checksum is another"),
        "{ended:?}"
    );
}

#[test]
fn a_run_of_a_later_forge_is_not_touched() {
    let workspace = project();
    workspace.forge(["task", "-q", SEED]).expect(0);
    let journal = workspace.run_folder().join("events.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    let (first, rest) = text.split_once('\n').unwrap();
    let (object, _sum) = first.rsplit_once(",\"sum\":").unwrap();
    let later = object.replacen("\"format\":2", "\"format\":99", 1) + "}\n" + rest;
    std::fs::write(&journal, &later).unwrap();
    for arguments in [
        ["--resume", "latest"],
        ["report", "latest"],
        ["score", "latest"],
    ] {
        let ended = workspace.forge(arguments);
        assert!(
            ended
                .stderr
                .contains("in format 99, and this forge reads up to 2"),
            "{ended:?}"
        );
        assert_ne!(ended.code, Some(0));
    }
    assert_eq!(std::fs::read_to_string(&journal).unwrap(), later);
}

#[test]
fn what_cannot_be_one_run_is_refused_before_anything_is_started() {
    let workspace = project();
    workspace
        .forge(["task", "-q", SEED, "--alpha=0.1"])
        .expect(0);
    let folder = workspace.run_folder();
    let before = std::fs::read(folder.join("events.jsonl")).unwrap();
    let cases: [(&[&str], &str); 7] = [
        (&["--resume", "latest", "--seed=2"], "the run's seed is"),
        (
            &["--resume", "latest", "--alpha=0.2"],
            "what counts as a difference",
        ),
        (&["--resume", "latest", "-c", "none*"], "none*"),
        (
            &["--resume", "latest", "-c", "a"],
            "task/b/1; a run can be finished",
        ),
        (&["--resume", "nothing"], "there is no run `nothing`"),
        (
            &["plan", "--resume", "latest"],
            "`forge plan` cannot go on with a run",
        ),
        (&["--retry", "failed"], "--resume"),
    ];
    for (arguments, why) in cases {
        let ended = workspace.forge(arguments).expect(2);
        assert!(ended.stderr.contains(why), "{ended:?}");
    }
    assert_eq!(std::fs::read(folder.join("events.jsonl")).unwrap(), before);
}

#[test]
fn a_secret_of_the_command_is_not_kept() {
    let workspace = project().file("candidates/a.yaml", "pass_env: [API_TOKEN]\n");
    let with_secret = |arguments: &[&str]| {
        let mut command = workspace.command(arguments);
        command.env("API_TOKEN", "s3cr3t-t0k3n-value");
        finish(command.spawn().unwrap())
    };
    with_secret(&["task", "-q", SEED, "--env=COPY=s3cr3t-t0k3n-value"]).expect(0);
    let journal = workspace.run_folder().join("events.jsonl");
    let text = std::fs::read_to_string(journal).unwrap();
    assert!(!text.contains("s3cr3t"), "{text}");
    let ended = with_secret(&["--resume", "latest"]).expect(2);
    assert!(ended.stderr.contains("give --env again"), "{ended:?}");
    with_secret(&["--resume", "latest", "--env=COPY=s3cr3t-t0k3n-value"]).expect(0);
}

/// What the reports of a run say that went on is what its events say.
#[test]
fn a_run_that_went_on_is_replayed_as_it_was() {
    let workspace = project();
    let arguments = ["task", "-k12", "-j1", "-q", "--no-progress"];
    kill_after(&mut workspace.command(arguments), &workspace, 4);
    workspace.forge(["--resume", "latest", "-q"]).expect(0);
    let file = |name: &str| workspace.run_folder().join(name);
    let texts = |names: &[&str]| -> BTreeMap<String, Vec<u8>> {
        let read = |name: &&str| ((*name).to_owned(), std::fs::read(file(name)).unwrap());
        names.iter().map(read).collect()
    };
    let names = ["run.json", "report.md", "trials.csv", "junit.xml"];
    let live = texts(&names);
    workspace.forge(["report", "latest", "-q"]).expect(0);
    let replayed = texts(&names);
    for name in names {
        let (live, replayed) = (&live[name], &replayed[name]);
        assert_eq!(
            String::from_utf8_lossy(live),
            String::from_utf8_lossy(replayed),
            "{name}"
        );
    }
    assert!(is_whole(&file("run.json")));
}

fn is_whole(run: &Path) -> bool {
    let run = read_json(run);
    run["trials"]
        .as_array()
        .unwrap()
        .iter()
        .all(|row| !row["score"].is_null())
}
