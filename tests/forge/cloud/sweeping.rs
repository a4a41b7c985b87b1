//! `forge sweep`: what dead runs left goes, and nothing else does.

use serde_json::{Value, json};

use super::{Cloud, SLEEPS, WRITES, signal};
use crate::support::workspace::finish;
use crate::watching::Watch;

/// A run that was killed with its watch, a sandbox alive.
fn killed() -> (Cloud, String, String) {
    let cloud = Cloud::of(SLEEPS, vec![]);
    let child = cloud.start(["--daytona", "task"]);
    cloud.wait_for_candidate();
    Watch::of(&child).kill_with(child);
    let folder = cloud.workspace.run_folder();
    let run = folder.file_name().unwrap().to_str().unwrap().to_owned();
    let id = cloud.fake.alive()[0].id.clone();
    (cloud, run, id)
}

fn labels(host: &str, created: &str) -> Value {
    let run = forge::name::RunId::generate().to_string();
    json!({
        "forge": "1", "forge.run": run, "forge.name": format!("forge-{host}-x"),
        "forge.host": host, "forge.created": created,
    })
}

#[test]
fn what_would_be_deleted_is_told_to_programs_and_stays() {
    let (cloud, run, id) = killed();
    let found = |arguments: &[&str], code| -> Value {
        let words = ["sweep", "--dry-run", "--json"].iter().chain(arguments);
        let ended = cloud.forge(words.copied()).expect(code);
        serde_json::from_str(&ended.stdout).unwrap()
    };
    let document = found(&[], 0);
    let own = &document["sandboxes"][0];
    assert_eq!(document["sandboxes"].as_array().unwrap().len(), 1);
    for (field, value) in [
        ("provider", "daytona"),
        ("id", &id),
        ("run", &run),
        ("would", "delete"),
    ] {
        assert_eq!(own[field], value, "{document}");
    }
    assert!(own["name"].as_str().unwrap().starts_with("forge-"));
    assert_eq!(own["doubt"], Value::Null);
    assert_eq!(document["problems"], json!([]));
    assert_eq!(found(&["--older-than", "1h"], 0)["sandboxes"], json!([]));
    // Nobody knows whose it is, without the ledger.
    std::fs::remove_dir_all(cloud.workspace.path("artifacts")).unwrap();
    let document = found(&[], 0);
    assert_eq!(document["sandboxes"][0]["would"], "leave");
    let doubt = document["sandboxes"][0]["doubt"].as_str().unwrap();
    assert!(doubt.contains("may need it"), "{doubt}");
    assert!(cloud.is_alive(&id), "nothing was deleted");
    let named = found(&["--run", &run, "--yes"], 0);
    assert_eq!(named["sandboxes"][0]["would"], "delete");
    // Only what would be done is told so.
    cloud.forge(["sweep", "--json"]).expect(2);
    assert!(cloud.is_alive(&id));
    cloud.forge(["sweep", "--run", &run, "--yes"]).expect(0);
    cloud.assert_none_alive();
}

#[test]
fn what_a_killed_run_left_is_shown_and_deleted() {
    let (cloud, run, id) = killed();
    let ended = cloud.forge(["sweep", "--dry-run"]).expect(0);
    assert!(
        ended.stdout.contains("would delete daytona sandbox"),
        "{}",
        ended.stdout
    );
    cloud.forge(["sweep", "--older-than", "1h"]).expect(0);
    let other = forge::name::RunId::generate().to_string();
    cloud.forge(["sweep", "--run", &other]).expect(0);
    assert!(cloud.is_alive(&id), "not this one");
    let ended = cloud.forge(["sweep", "--run", &run]).expect(0);
    assert!(ended.stdout.contains("deleted forge-"), "{}", ended.stdout);
    cloud.assert_none_alive();
    let ended = cloud.forge(["sweep"]).expect(0);
    assert_eq!(ended.stdout, "nothing to sweep\n");
}

/// No list, and no ledger that names anything: that there is nothing would be a guess.
#[test]
fn nothing_to_sweep_is_only_said_after_a_list() {
    let workspace = crate::support::workspace::Workspace::with(&[("writes.sh", WRITES)]);
    let mut command = workspace.command(["sweep"]);
    command.env("DAYTONA_API_KEY", "dtn_0123456789");
    command.env("DAYTONA_API_URL", "http://127.0.0.1:1/api");
    let ended = finish(command.spawn().unwrap()).expect(3);
    assert!(ended.stderr.contains("cannot list"), "{}", ended.stderr);
    assert!(ended.stdout.ends_with("is not known\n"), "{}", ended.stdout);
    command.args(["--dry-run", "--json"]);
    let ended = finish(command.spawn().unwrap()).expect(3);
    let document: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(document["not_asked"], json!(["Daytona"]));
    assert_eq!(document["problems"][0]["path"], "Daytona");
}

/// The ledger is gone, or was another folder's: then the run may be alive for as long as the labels say, and
/// somebody has to name it.
#[test]
fn without_a_ledger_the_labels_tell() {
    let (cloud, run, id) = killed();
    std::fs::remove_dir_all(cloud.workspace.path("artifacts")).unwrap();
    for arguments in [&["sweep"][..], &["sweep", "--yes"]] {
        let ended = cloud.forge(arguments.iter().copied()).expect(0);
        assert!(ended.stdout.contains("may need it"), "{}", ended.stdout);
        assert!(cloud.is_alive(&id));
    }
    let ended = cloud.forge(["sweep", "--run", &run]).expect(0);
    assert!(ended.stdout.contains("say --yes"), "{}", ended.stdout);
    assert!(cloud.is_alive(&id));
    cloud.forge(["sweep", "--run", &run, "--yes"]).expect(0);
    cloud.assert_none_alive();
}

#[test]
fn what_is_not_a_dead_runs_of_here_is_spared() {
    let cloud = Cloud::of(SLEEPS, vec![]);
    let unlabeled = cloud.strange(&json!({"owner": "somebody"}));
    let foreign = cloud.strange(&labels("another-host", "2020-01-01T00:00:00Z"));
    let child = cloud.start(["--daytona", "task"]);
    cloud.wait_for_candidate();
    let live: Vec<String> = cloud.fake.alive().into_iter().map(|row| row.id).collect();
    let ended = cloud.forge(["sweep", "--dry-run"]).expect(0);
    let told = "would leave daytona sandbox";
    assert!(ended.stdout.starts_with(told), "{}", ended.stdout);
    cloud.forge(["sweep"]).expect(0);
    assert!(cloud.is_alive(&foreign), "another host's needs a yes");
    let ended = cloud.forge(["sweep", "--dry-run", "--yes"]).expect(0);
    let told = "would delete daytona sandbox";
    assert!(ended.stdout.starts_with(told), "{}", ended.stdout);
    let ended = cloud
        .forge(["sweep", "--yes", "--older-than", "1h"])
        .expect(0);
    assert!(!cloud.is_alive(&foreign), "{}", ended.stdout);
    cloud.forge(["sweep", "--yes"]).expect(0);
    for id in live.iter().filter(|id| **id != foreign) {
        assert!(
            cloud.is_alive(id),
            "it is a live run's, or nobody's of forge"
        );
    }
    signal(&child, "INT");
    finish(child).expect(130);
    let alive = cloud.fake.alive();
    assert!(alive.len() == 1 && alive[0].id == unlabeled, "{alive:#?}");
    cloud.fake.allow_leaks();
}

#[test]
fn kept_sandboxes_are_named_and_swept_later() {
    let fails = "#!/bin/sh\nexit 3\n";
    let cloud = Cloud::of(fails, vec![]);
    let ended = cloud
        .forge(["--daytona", "task", "--keep", "failed"])
        .expect(1);
    let alive = cloud.fake.alive();
    assert_eq!(alive.len(), 1);
    let folder = cloud.workspace.run_folder();
    let command = format!(
        "forge sweep --run {}",
        folder.file_name().unwrap().to_str().unwrap()
    );
    for needle in [&alive[0].id, &command] {
        assert!(
            ended.stdout.contains(needle),
            "no {needle} in {}",
            ended.stdout
        );
    }
    cloud.forge(command.split(' ').skip(1)).expect(0);
    cloud.assert_none_alive();

    let cloud = Cloud::of(WRITES, vec![]);
    cloud
        .forge(["--daytona", "task", "--keep", "failed"])
        .expect(0);
    cloud.assert_none_alive();
}

/// Another server, or another account, does not have it: that is not to say that it is gone.
#[test]
fn what_another_server_does_not_have_is_not_called_deleted() {
    let (cloud, _, id) = killed();
    let other = Cloud::of(WRITES, vec![]);
    let artifacts = cloud.workspace.path("artifacts");
    let artifacts = artifacts.to_str().unwrap();
    let ended = other.forge(["sweep", "--artifacts", artifacts]).expect(4);
    assert!(!ended.stdout.contains("deleted"), "{}", ended.stdout);
    let wanted = format!("made with {}", cloud.fake.api_url());
    assert!(ended.stderr.contains(&wanted), "{}", ended.stderr);
    assert!(cloud.is_alive(&id), "and the ledger is still open:");
    let ended = cloud.forge(["sweep"]).expect(0);
    assert!(ended.stdout.contains("deleted forge-"), "{}", ended.stdout);
    cloud.assert_none_alive();
}
