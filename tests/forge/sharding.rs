//! Runs in parts, one machine each, and put together again.

mod slurm;

use forge::event::Part;
use forge::name::ObjectiveName;
use serde_json::Value;

use crate::resuming::{TASK, kill_after, steady, without_times};
use crate::support::workspace::{Ended, Workspace};

const SHARDS: usize = 8;

/// So many objectives for two candidates.
fn project(objectives: usize, seconds: &str) -> Workspace {
    let steady = steady(seconds);
    let workspace = Workspace::new()
        .candidate("a.sh", &steady)
        .candidate("b.sh", &steady);
    (0..objectives).fold(workspace, |workspace, number| {
        workspace.file(&format!("objectives/o{number}.yaml"), TASK)
    })
}

/// Runs a part into a folder of its own, as another machine would.
fn part(workspace: &Workspace, index: usize, more: &[&str]) -> Ended {
    let (shard, artifacts) = (format!("--shard={index}/{SHARDS}"), folder(index));
    let arguments = [&shard, "--artifacts", &artifacts, "--no-progress"];
    workspace.forge(arguments.iter().chain(more))
}

/// The part with the most of so many objectives.
fn busiest(objectives: usize) -> usize {
    let names = (0..objectives).map(|it| ObjectiveName::parse(&format!("o{it}")).unwrap());
    let names: Vec<ObjectiveName> = names.collect();
    let has = |part: &Part| names.iter().filter(|it| part.has_objective(it)).count();
    let part = Part::all(u32::try_from(SHARDS).unwrap()).max_by_key(has);
    part.unwrap().index as usize
}

fn folder(index: usize) -> String {
    format!("machines/{index}")
}

/// The only run of a part.
fn run_of(workspace: &Workspace, index: usize) -> String {
    let latest = workspace.path(&folder(index)).join("latest");
    let run = std::fs::canonicalize(latest).unwrap();
    run.to_str().unwrap().to_owned()
}

fn merged(workspace: &Workspace, parts: impl IntoIterator<Item = usize>) -> Ended {
    let parts = parts.into_iter().map(|index| run_of(workspace, index));
    let arguments = ["merge".to_owned(), "-q".to_owned()]
        .into_iter()
        .chain(parts);
    workspace.forge(arguments)
}

#[test]
fn parts_one_of_them_cut_off_come_to_what_the_whole_would() {
    let workspace = project(10, "0.1");
    let cut_off = busiest(10);
    for index in 1..=SHARDS {
        if index != cut_off {
            part(&workspace, index, &["-k4", "-q"]).expect(0);
        }
    }
    let artifacts = folder(cut_off);
    // Linked, the folder is where the helpers of these tests look.
    std::os::unix::fs::symlink(&artifacts, workspace.path("artifacts")).unwrap();
    let shard = format!("--shard={cut_off}/{SHARDS}");
    let arguments = [
        &shard,
        "--artifacts",
        &artifacts,
        "-k4",
        "-j1",
        "-q",
        "--no-progress",
    ];
    let before = kill_after(&mut workspace.command(arguments), &workspace, 2);
    assert!(!before.is_empty());
    std::fs::remove_file(workspace.path("artifacts")).unwrap();
    // What has no result by then is told to be missing.
    let lost = merged(&workspace, 1..=SHARDS).expect(3);
    assert!(lost.stderr.contains("no verdict on"), "{lost:?}");
    let reasons: Vec<Value> = workspace.trials().into_values().collect();
    let reason = format!("its shard {cut_off}/{SHARDS} ended without a result of it");
    assert!(reasons.iter().any(|row| row["error_message"] == *reason));
    workspace
        .forge(["--resume", "latest", "--artifacts", &artifacts, "-q"])
        .expect(0);
    merged(&workspace, 1..=SHARDS).expect(0);
    let in_parts = workspace.run_json();
    let seed = format!("--seed={}", in_parts["plan"]["seed"]);
    workspace.forge(["-k4", "-q", &seed]).expect(0);
    let whole = workspace.run_json();
    assert_eq!(without_times(&in_parts), without_times(&whole));
    assert_eq!(in_parts["verdicts"], whole["verdicts"]);
    assert_eq!(in_parts["trials"].as_array().unwrap().len(), 80);
    // Its files are there, and are its own.
    let row = &workspace.trials()["o0/a/1"];
    assert_eq!(row["objective"], "o0");
    workspace.forge(["report", "latest", "-q"]).expect(0);
}

#[test]
fn repeats_can_be_parted_where_there_is_one_objective() {
    let workspace = project(1, "0.02");
    for index in 1..=SHARDS {
        part(&workspace, index, &["--shard-by=repeat", "-q", "-k12"]).expect(0);
    }
    merged(&workspace, 1..=SHARDS).expect(0);
    let in_parts = workspace.run_json();
    let seed = format!("--seed={}", in_parts["plan"]["seed"]);
    // Of what was put together, no begin is told; the phases are known: 24 trials of 20 ms at the least.
    let in_sandboxes = in_parts["sandbox_seconds"].as_f64();
    assert!(in_sandboxes > Some(0.2), "{in_sandboxes:?}");
    workspace.forge(["-k12", "-q", &seed]).expect(0);
    assert_eq!(
        without_times(&in_parts),
        without_times(&workspace.run_json())
    );
}

#[test]
fn a_part_that_is_missing_is_named_and_an_empty_one_says_so() {
    let workspace = project(2, "0.02");
    let used: Vec<usize> = (1..=SHARDS)
        .filter(|index| {
            let ended = part(&workspace, *index, &["-k4"]).expect(0);
            let is_empty = ended.stderr.contains("no objective falls to it");
            assert_ne!(
                is_empty,
                ended.stderr.contains(" of 2 objectives"),
                "{ended:?}"
            );
            !is_empty
        })
        .collect();
    assert!((1..=2).contains(&used.len()));
    let all_but = |left_out: usize| (1..=SHARDS).filter(move |it| *it != left_out);
    let ended = merged(&workspace, all_but(used[0])).expect(3);
    let missing = format!("shard {}/8 is missing", used[0]);
    assert!(ended.stderr.contains(&missing), "{ended:?}");
    let text = std::fs::read_to_string(workspace.run_folder().join("report.md")).unwrap();
    assert!(text.contains(&missing), "{text}");
    // Nothing is missing without one that had nothing to do; twice the same is once.
    let empty = (1..=SHARDS).find(|it| !used.contains(it)).unwrap();
    merged(&workspace, all_but(empty)).expect(0);
    merged(&workspace, (1..=SHARDS).chain([used[0]])).expect(0);
    let history = std::fs::read_to_string(workspace.path("artifacts/history.jsonl")).unwrap();
    assert!(history.lines().count() >= 2);
    for index in 1..=SHARDS {
        let own = workspace.path(&folder(index)).join("history.jsonl");
        assert!(!own.exists(), "a part is no run to be compared with");
    }
}

#[test]
fn what_is_of_no_one_whole_is_not_put_together() {
    let workspace = project(6, "0.02");
    for index in 1..SHARDS {
        part(&workspace, index, &["-k4", "-q"]).expect(0);
    }
    let whole = workspace.forge(["-q", "-k4"]);
    whole.expect(0);
    let latest = workspace.run_folder();
    let latest = latest.to_str().unwrap();
    let first = run_of(&workspace, 1);
    let ended = workspace.forge(["merge", &first, latest]).expect(2);
    assert!(
        ended
            .stderr
            .contains("is no part of a run, but a whole one"),
        "{ended:?}"
    );
    let ended = workspace.forge(["merge", "machines/1/"]).expect(2);
    assert!(
        ended.stderr.contains("but a folder of runs: the newest is"),
        "{ended:?}"
    );
    // The same part again is another run.
    std::fs::rename(
        workspace.path("machines/1"),
        workspace.path("machines/other"),
    )
    .unwrap();
    part(&workspace, 1, &["-k4", "-q"]).expect(0);
    let other = workspace.path("machines/other/latest");
    let other = std::fs::canonicalize(other).unwrap();
    let ended = workspace.forge(["merge", &run_of(&workspace, 1), other.to_str().unwrap()]);
    assert!(ended.expect(2).stderr.contains("shard 1/8 is there twice"));
    let workspace = workspace.candidate("b.sh", &steady("0.01"));
    part(&workspace, SHARDS, &["-k4", "-q"]).expect(0);
    let ended = merged(&workspace, 1..=SHARDS).expect(2);
    assert!(
        ended.stderr.contains("their candidates are not the same"),
        "{ended:?}"
    );
    part(&workspace, SHARDS, &["-k4", "-q", "--timeout=20s"]).expect(0);
    for (arguments, why) in [
        (["--shard=0/8", "-q", "-q"], "written as 3/8"),
        (
            ["--shard=1/8", "--repeat=auto", "--max-repeat=9"],
            "a part has only its own",
        ),
        (["--shard-by=repeat", "-q", "-k2"], "--shard"),
    ] {
        let ended = workspace.forge(arguments).expect(2);
        assert!(ended.stderr.contains(why), "{ended:?}");
    }
}

#[test]
fn a_part_that_cannot_be_read_is_named() {
    let workspace = project(2, "0.01");
    for index in [1, 2] {
        workspace
            .forge([
                &format!("--shard={index}/2"),
                "-q",
                "--artifacts",
                &folder(index),
            ])
            .expect(0);
    }
    let broken = run_of(&workspace, 2);
    let journal = std::path::Path::new(&broken).join("events.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    std::fs::write(&journal, text.replacen("\"at\"", "\"aT\"", 1)).unwrap();
    let ended = merged(&workspace, [1, 2]).expect(2);
    let said = format!("`{broken}` cannot be read: events.jsonl:1: ");
    assert!(ended.stderr.contains(&said), "{ended:?}");
}

/// Of repeats in several parts, no part can know that an artifact has ended a grader before it could speak.
#[test]
fn a_grader_that_fell_silent_in_another_part_is_taken_back() {
    let grader =
        "#!/bin/sh\nif grep -q EVEN \"$FORGE_OUTPUT\"; then exit 0; fi\necho '{\"score\": 50}'\n";
    let script =
        "#!/bin/sh\n[ $((FORGE_SEED % 2)) = 0 ] && echo EVEN > \"$2\" || echo odd > \"$2\"\n";
    let objective = "prompt: do it\nscoring:\n  weights: {success: 0, quality: 1, speed: 0}\n  \
                     quality:\n    - command: [sh, grade.sh]\n";
    let workspace = Workspace::new()
        .candidate("a.sh", script)
        .file("objectives/grade.sh", grader)
        .file("objectives/o0.yaml", objective);
    for index in 1..=SHARDS {
        part(&workspace, index, &["--shard-by=repeat", "-q", "-k16"]);
    }
    merged(&workspace, 1..=SHARDS);
    let in_parts = workspace.run_json();
    let seed = format!("--seed={}", in_parts["plan"]["seed"]);
    workspace.forge(["-k16", "-q", &seed]);
    assert_eq!(
        without_times(&in_parts),
        without_times(&workspace.run_json())
    );
}

#[test]
fn what_can_fail_a_run_is_said_of_all_parts() {
    let workspace = project(2, "0.02");
    for index in 1..=SHARDS {
        let floor = if index == 2 {
            "--fail-under=1"
        } else {
            "--fail-under=2"
        };
        part(&workspace, index, &["-k4", "-q", floor]).expect(0);
    }
    let ended = merged(&workspace, 1..=SHARDS).expect(2);
    assert!(
        ended.stderr.contains("were asked for other things"),
        "{ended:?}"
    );
}
