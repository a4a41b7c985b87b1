//! What somebody who tried to break it has found.

use super::{SEED, TASK, events, kill_after, project, steady, trials};
use crate::cloud::{Cloud, WRITES};
use crate::support::workspace::{Workspace, finish, pause};

#[test]
fn a_run_is_meant_by_a_link_to_it_as_well() {
    let workspace = project();
    workspace.forge(["task", "-k2", "-q", SEED]).expect(0);
    let folder = workspace.run_folder();
    let trials = ["artifacts/latest", "./artifacts/latest"];
    for named in trials {
        workspace.forge(["--resume", named, "-q"]).expect(0);
        assert_eq!(workspace.run_folder(), folder);
    }
}

#[test]
fn what_was_decided_by_results_is_not_applied_to_others() {
    let workspace = (0..4).fold(project(), |workspace, number| {
        workspace.file(&format!("objectives/o{number}.yaml"), TASK)
    });
    let arguments = ["--repeat=auto", "--max-repeat=6", "--control=a", "-q", SEED];
    workspace.forge(arguments).expect(0);
    let workspace = workspace.candidate("b.sh", &steady("0.01"));
    let ended = workspace.forge(["--resume", "latest"]).expect(2);
    let told = "these do not stand: candidate `b` has changed";
    assert!(ended.stderr.contains(told), "{ended:?}");
    let workspace = workspace.candidate("b.sh", &steady("0.1"));
    workspace.forge(["--resume", "latest", "-q"]).expect(0);
}

#[test]
fn results_of_two_kinds_are_not_judged_together() {
    let workspace = project();
    workspace
        .forge(["task", "-c", "a", "-k2", "-q", SEED])
        .expect(0);
    let workspace = workspace.file("objectives/task.yaml", TASK.replace("[0-3]", "[0-6]"));
    let only_new = ["--resume", "latest", "--only-new"];
    let ended = workspace
        .forge(only_new.iter().chain(&["-c", "*"]))
        .expect(2);
    assert!(ended.stderr.contains("would be of two kinds"), "{ended:?}");
    let ended = workspace.forge(only_new).expect(0);
    assert!(
        ended.stderr.contains("the results of before are kept"),
        "{ended:?}"
    );
}

#[test]
fn the_files_of_what_made_the_results_are_kept_with_them() {
    let workspace = project();
    workspace.forge(["task", "-k2", "-q", SEED]).expect(0);
    let pack = workspace.run_folder().join("candidates/a.tar");
    let before = std::fs::read(&pack).unwrap();
    let workspace = workspace.candidate("a.sh", &steady("0.01"));
    workspace
        .forge(["--resume", "latest", "--only-new", "-q"])
        .expect(0);
    assert_eq!(std::fs::read(&pack).unwrap(), before);
    workspace.forge(["--resume", "latest", "-q"]).expect(0);
    assert_ne!(std::fs::read(&pack).unwrap(), before);
}

#[test]
fn a_result_whose_record_is_empty_is_none() {
    let workspace = project();
    workspace.forge(["task", "-k2", "-q", SEED]).expect(0);
    let record = workspace.run_folder().join("task/a/1/trial.json");
    std::fs::write(record, "").unwrap();
    let ended = workspace.forge(["--resume", "latest"]).expect(0);
    let told = "3 results of 4 kept, 1 to be run; 1 again: its files are gone";
    assert!(ended.stderr.contains(told), "{ended:?}");
}

#[test]
fn stars_in_a_prompt_are_no_secret() {
    let workspace = Workspace::with(&[("a.sh", "#!/bin/sh\necho \"$1\" > \"$2\"\n")]);
    workspace
        .forge(["write ***bold*** text, please", "-q"])
        .expect(0);
    workspace.forge(["--resume", "latest", "-q"]).expect(0);
}

/// The newest of then, though there is a newer one by now.
#[test]
fn what_a_run_is_compared_with_is_what_it_was() {
    let workspace = project();
    workspace.forge(["task", "-k8", "-q", SEED]).expect(0);
    let workspace = workspace.candidate("b.sh", &steady("0.11"));
    // Where the next one is to be seen.
    std::fs::remove_file(workspace.path("artifacts/latest")).unwrap();
    let arguments = [
        "task",
        "-k8",
        "-j1",
        "-q",
        "--no-progress",
        "--baseline=latest",
        SEED,
    ];
    kill_after(&mut workspace.command(arguments), &workspace, 2);
    let cut_off = workspace.run_folder();
    workspace.forge(["task", "-k8", "-q", SEED]).expect(0);
    let cut_off = cut_off.to_str().unwrap();
    let ended = workspace.forge(["--resume", cut_off]).expect(0);
    assert!(!ended.stderr.contains("again"), "{ended:?}");
}

/// By the same command as ever, though the run was gone on with by another one in between.
#[test]
fn what_a_run_was_asked_for_last_holds_when_it_goes_on_by_itself() {
    let workspace = project();
    let asked = ["task", "-k8", "-j1", "-q", "--no-progress", SEED];
    kill_after(&mut workspace.command(asked), &workspace, 2);
    let more = ["--resume", "latest", "--timeout=99s"];
    kill_after(&mut workspace.command(more), &workspace, 6);
    let mut command = workspace.command(["task", "-k8", "-j1", "--no-progress", SEED]);
    let ended = finish(command.env("FORGE_RESUME", "auto").spawn().unwrap()).expect(0);
    assert!(ended.stderr.contains("goes on: "), "{ended:?}");
    assert!(!ended.stderr.contains("again"), "{ended:?}");
}

#[test]
fn an_empty_variable_is_none() {
    let workspace = project();
    let mut command = workspace.command(["task", "-k8", "-q", SEED]);
    finish(command.env("FORGE_RESUME", "").spawn().unwrap()).expect(0);
}

#[test]
fn a_part_that_still_runs_is_not_put_together() {
    let workspace = Workspace::with(&[("a.sh", "#!/bin/sh\nexec sleep 300\n")]);
    let child = workspace.command(["task", "--shard=1/1"]).spawn().unwrap();
    while trials(&events(&workspace), "trial_started").is_empty() {
        pause();
    }
    let ended = workspace.forge(["merge", "latest"]).expect(2);
    assert!(
        ended.stderr.contains("is in use by another forge"),
        "{ended:?}"
    );
    crate::cloud::signal(&child, "INT");
    finish(child).expect(130);
}

#[test]
fn another_past_is_not_put_in_the_place_of_the_one_that_it_was_compared_with() {
    let workspace = project();
    workspace.forge(["task", "-k4", "-q", SEED]).expect(0);
    workspace.forge(["baseline", "set", "latest"]).expect(0);
    workspace
        .forge(["task", "-k4", "-q", "--baseline=blessed", SEED])
        .expect(0);
    let compared = workspace.run_folder();
    let compared = compared.to_str().unwrap();
    workspace.forge(["--resume", compared, "-q"]).expect(0);
    workspace.forge(["task", "-k4", "-q", SEED]).expect(0);
    workspace.forge(["baseline", "set", "latest"]).expect(0);
    let ended = workspace.forge(["--resume", compared]).expect(2);
    assert!(
        ended.stderr.contains("the run was compared with"),
        "{ended:?}"
    );
}

/// A list of what the run has shows it, too.
#[test]
fn what_was_kept_before_stays_when_the_run_goes_on() {
    let cloud = Cloud::of(WRITES, vec![]);
    let first = ["--daytona", "task", "-k2", "--keep", "all", "-q"];
    cloud.forge(first).expect(0);
    let next = ["--resume", "latest", "-k3", "-q"];
    cloud.forge(next).expect(0);
    assert_eq!(cloud.fake.alive().len(), 3);
    let run = cloud.workspace.run_json();
    assert_eq!(run["cleanup"]["kept"].as_array().unwrap().len(), 3);
    cloud.forge(["report", "latest", "-q"]).expect(0);
    assert_eq!(cloud.workspace.run_json()["cleanup"], run["cleanup"]);
    let swept = cloud.forge(["sweep"]).expect(0);
    assert_eq!(swept.stdout.matches("deleted forge-").count(), 3);
}

/// Also where the run that kept it was cut off before it could tell of it.
#[test]
fn what_a_run_had_kept_when_it_was_killed_is_told_by_the_one_that_goes_on() {
    let cloud = Cloud::of(&steady("0.2"), vec![]);
    let first = [
        "--daytona",
        "task",
        "-k4",
        "-j1",
        "--keep",
        "all",
        "-q",
        "--no-progress",
    ];
    kill_after(&mut cloud.command(first), &cloud.workspace, 2);
    cloud
        .forge(["--resume", "latest", "-q", "--no-progress"])
        .expect(0);
    let alive: Vec<String> = cloud.fake.alive().into_iter().map(|it| it.id).collect();
    let run = cloud.workspace.run_json();
    let kept = run["cleanup"]["kept"].as_array().unwrap();
    let mut kept: Vec<&str> = kept.iter().map(|it| it.as_str().unwrap()).collect();
    kept.sort_unstable();
    let mut alive: Vec<&str> = alive.iter().map(String::as_str).collect();
    alive.sort_unstable();
    assert_eq!(kept, alive);
    assert!(kept.len() >= 4, "{kept:?}");
    cloud.forge(["sweep"]).expect(0);
    cloud.assert_none_alive();
}
