//! `history.jsonl` and `forge history`: real runs, at once, killed, scored again, and taken to another machine.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::support::workspace::{Workspace, finish, pause};

const GOOD: &str = "#!/bin/sh\necho '{\"cost_usd\": 0.5, \"\\u001b[2Jhidden\": 1}' > \"$FORGE_ARTIFACTS/metrics.json\"\necho a good artifact > \"$2\"\n";
const BAD: &str = "#!/bin/sh\nexit 3\n";

fn workspace() -> Workspace {
    Workspace::with(&[("good.sh", GOOD), ("bad.sh", BAD)])
}

fn file(workspace: &Workspace) -> Vec<Value> {
    let text = fs::read_to_string(workspace.path("artifacts/history.jsonl")).unwrap();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// What `--json` prints.
fn shown(workspace: &Workspace, arguments: &[&str]) -> Value {
    let arguments = ["history", "--json"].iter().chain(arguments);
    let ended = workspace.forge(arguments).expect(0);
    serde_json::from_str(&ended.stdout).unwrap()
}

/// How many lines each run has.
fn runs(lines: &[Value]) -> BTreeMap<String, usize> {
    let mut runs = BTreeMap::new();
    for line in lines {
        let run = line["run"].as_str().unwrap().to_owned();
        *runs.entry(run).or_insert(0) += 1;
    }
    runs
}

#[test]
fn every_run_adds_a_line_a_candidate_and_the_table_shows_the_trend() {
    let workspace = workspace();
    let empty = workspace.forge(["history"]).expect(0);
    assert!(empty.stdout.starts_with("There is no history yet"));
    workspace.forge(["task", "-k2"]).expect(0);
    workspace.forge(["task", "-k2"]).expect(0);
    let workspace = workspace.candidate("good.sh", "#!/bin/sh\nexit 1\n");
    workspace.forge(["task", "-k2"]).expect(1);
    let lines = file(&workspace);
    assert_eq!(lines.len(), 6);
    let run = workspace.run_json();
    let last = &lines[5];
    assert_eq!(last["candidate"], "good");
    assert_eq!(last["run"], run["plan"]["run"]);
    assert_eq!(last["rule"], run["rule"]["digest"]);
    assert_eq!(last["digest"], run["plan"]["candidates"][1]["digest"]);
    assert_eq!((&last["score"], &last["judged"]), (&0.0.into(), &2.into()));
    assert_eq!(lines[1]["metrics"]["cost_usd"], 0.5);
    let document = shown(&workspace, &["good", "-n2"]);
    let points = document["history"].as_array().unwrap();
    assert_eq!(points.len(), 2);
    assert_eq!(
        (&points[0]["changed"], &points[1]["changed"]),
        (&false.into(), &true.into())
    );
    assert!(points[1]["change"].as_f64().unwrap() < -99.0);
    let names: Vec<&String> = points[0]["metrics"].as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        ["cost_usd", "hidden"],
        "what steers a terminal is not printed"
    );
    let table = workspace.forge(["history"]).expect(0).stdout;
    assert_eq!(table.matches(" good ").count(), 3, "{table}");
    assert!(table.contains("*  the candidate has changed"), "{table}");
    assert!(
        table.contains("good  ██▁  0.0 to 100.0, now 0.0"),
        "{table}"
    );
    assert!(!table.contains('\u{1b}'));
    // The next is on other objectives: it stands apart.
    let workspace = workspace.file("objectives/more.yaml", "prompt: do more\n");
    workspace.forge(["-c", "good"]).expect(1);
    let table = workspace.forge(["history", "good"]).expect(0).stdout;
    assert!(table.contains("good  ██▁┆▁"), "{table}");
    assert!(table.contains("other objectives"), "{table}");
    let told = workspace.forge(["history", "god"]).expect(2).stderr;
    assert!(told.contains("did you mean `good`?"), "{told}");
    workspace.forge(["history", "-n0"]).expect(2);
    workspace.forge(["history", "../x"]).expect(2);
    workspace.assert_nothing_left();
}

#[test]
fn a_run_that_is_scored_again_supersedes_its_lines_and_one_that_is_rendered_again_does_not() {
    let workspace = Workspace::new()
        .file(
            "objectives/task.yaml",
            "prompt: do it\nscoring: {quality: [{contains: nothing like it}]}\n",
        )
        .candidate("good.sh", GOOD);
    workspace.forge(["task"]).expect(0);
    workspace.forge(["report", "latest"]).expect(0);
    assert_eq!(file(&workspace).len(), 1);
    let before = shown(&workspace, &[])["history"][0]["score"]
        .as_f64()
        .unwrap();
    let workspace = workspace.file(
        "objectives/task.yaml",
        "prompt: do it\nscoring: {quality: [{contains: good}]}\n",
    );
    workspace.forge(["score", "latest"]).expect(0);
    let lines = file(&workspace);
    assert_eq!((lines.len(), &lines[1]["revision"]), (2, &1.into()));
    let document = shown(&workspace, &[]);
    assert_eq!(document["history"].as_array().unwrap().len(), 1);
    assert!(document["history"][0]["score"].as_f64().unwrap() > before);
    // What was taken elsewhere is scored there, and adds nothing here.
    fs::rename(workspace.run_folder(), workspace.path("taken")).unwrap();
    workspace.forge(["score", "./taken"]).expect(0);
    assert_eq!(file(&workspace).len(), 2);
    assert!(!workspace.path("history.jsonl").exists());
}

#[test]
fn twenty_runs_at_once_lose_no_line_whoever_replaces_the_file_or_is_killed_meanwhile() {
    let workspace = workspace();
    workspace.forge(["task"]).expect(0);
    let elsewhere = workspace.path("elsewhere.jsonl");
    fs::copy(workspace.path("artifacts/history.jsonl"), &elsewhere).unwrap();
    let runs_at_once: Vec<_> = (0..20)
        .map(|_| workspace.command(["task", "-q"]).spawn().unwrap())
        .collect();
    let merge = ["history", "--merge", elsewhere.to_str().unwrap(), "-n1"];
    for round in 0..30 {
        let arguments = if round % 3 == 0 {
            &["history", "--rebuild", "-n1"][..]
        } else {
            &merge
        };
        let mut child = workspace.command(arguments).spawn().unwrap();
        if round % 2 == 0 {
            (0..round % 5).for_each(|_| pause());
            child.kill().unwrap();
            child.wait().unwrap();
        } else {
            finish(child).expect(0);
        }
    }
    for child in runs_at_once {
        let ended = finish(child).expect(0);
        assert!(!ended.stderr.contains("history"), "{}", ended.stderr);
    }
    let lines = file(&workspace);
    let runs = runs(&lines);
    assert_eq!(runs.len(), 21);
    assert!(runs.values().all(|lines| *lines == 2), "{runs:?}");
    let rebuilt = workspace.forge(["history", "--rebuild"]).expect(0);
    assert!(
        rebuilt
            .stderr
            .contains("0 added, 0 replaced; history.jsonl has 42 lines"),
        "{}",
        rebuilt.stderr
    );
    workspace.assert_nothing_left();
}

#[test]
fn a_history_is_made_again_from_the_runs_and_keeps_those_that_are_gone() {
    let workspace = workspace();
    for _ in 0..3 {
        workspace.forge(["task"]).expect(0);
    }
    let path = workspace.path("artifacts/history.jsonl");
    let whole = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let rebuilt = workspace.forge(["history", "--rebuild"]).expect(0);
    assert!(
        rebuilt.stderr.contains("3 runs were read again: 6 added"),
        "{}",
        rebuilt.stderr
    );
    assert_eq!(
        String::from_utf8(fs::read(&path).unwrap()).unwrap(),
        String::from_utf8(whole.clone()).unwrap(),
        "replayed as it was live"
    );
    // One is gone, one was never over, one makes no sense.
    let oldest = file(&workspace)[0]["run"].as_str().unwrap().to_owned();
    fs::remove_dir_all(workspace.path("artifacts").join(&oldest)).unwrap();
    let newest = workspace.run_folder();
    let journal = fs::read_to_string(newest.join("events.jsonl")).unwrap();
    let begun = "01900000-0000-7000-8000-000000000001";
    let broken = "01900000-0000-7000-8000-000000000002";
    let id = newest.file_name().unwrap().to_str().unwrap().to_owned();
    let first = journal.lines().next().unwrap().replace(&id, begun);
    let workspace = workspace
        .file(&format!("artifacts/{begun}/events.jsonl"), first + "\n")
        .file(&format!("artifacts/{broken}/events.jsonl"), "{}\n");
    let rebuilt = workspace.forge(["history", "--rebuild"]).expect(0);
    assert!(
        rebuilt
            .stderr
            .contains(&format!("the run {broken} cannot be read"))
    );
    assert!(
        rebuilt
            .stderr
            .contains("2 runs were read again: 0 added, 0 replaced")
    );
    assert_eq!(fs::read(&path).unwrap(), whole);
}

#[test]
fn a_history_from_another_machine_is_merged_once() {
    let (here, there) = (workspace(), workspace());
    there.forge(["task"]).expect(0);
    here.forge(["task"]).expect(0);
    let other = there.path("artifacts/history.jsonl");
    let other = other.to_str().unwrap();
    let merged = here.forge(["history", "--merge", other]).expect(0);
    assert!(
        merged.stderr.contains("2 added, 0 replaced"),
        "{}",
        merged.stderr
    );
    let merged = here.forge(["history", "--merge", other]).expect(0);
    assert!(
        merged.stderr.contains("0 added, 0 replaced"),
        "{}",
        merged.stderr
    );
    let lines = file(&here);
    assert_eq!(lines.len(), 4);
    assert_eq!(
        lines[0]["run"],
        file(&there)[0]["run"],
        "the earlier one first"
    );
    // Where there is nothing at all yet, as in a fresh job.
    let empty = Workspace::new();
    empty.forge(["history", "--merge", other]).expect(0);
    assert_eq!(file(&empty), file(&there));
    let here = here.file("other.md", "# no history\n");
    let before = file(&here);
    let told = here
        .forge(["history", "--merge", "other.md"])
        .expect(2)
        .stderr;
    assert!(told.contains("other.md: it is no history"), "{told}");
    let told = here
        .forge(["history", "--merge", "none.jsonl"])
        .expect(2)
        .stderr;
    assert!(
        told.contains("none.jsonl: cannot read this file: it is not there"),
        "{told}"
    );
    assert_eq!(file(&here), before);
}

#[test]
fn a_run_whose_history_cannot_be_written_says_so_and_counts_all_the_same() {
    let workspace = workspace();
    fs::create_dir_all(workspace.path("artifacts/history.jsonl")).unwrap();
    let ended = workspace.forge(["task"]).expect(0);
    assert!(
        ended
            .stderr
            .contains("forge: this run is not in the history: "),
        "{}",
        ended.stderr
    );
    let ended = workspace.forge(["history"]).expect(3);
    assert!(ended.stderr.contains("it is a folder"), "{}", ended.stderr);
}
