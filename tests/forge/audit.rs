//! What `forge audit` says of a run: all that the server saw, and nothing that is nobody's business.

use axum::http::StatusCode;
use serde_json::Value;

use crate::cloud::{Cloud, WRITES};
use crate::support::fake_daytona::Route;
use crate::support::fake_daytona::fault::{Before, Canned, Rule, When};
use crate::support::workspace::{Ended, Workspace};

fn parsed(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"))
}

fn sum(rows: &Value, key: &str) -> u64 {
    let rows = rows.as_array().unwrap().iter();
    rows.map(|row| row[key].as_u64().unwrap()).sum()
}

#[test]
fn every_attempt_that_the_server_saw_is_told_and_no_value_of_anything() {
    let busy = StatusCode::SERVICE_UNAVAILABLE;
    let fault = Before::Answer(Canned::status(busy));
    let cloud = Cloud::of(
        WRITES,
        vec![Rule::route(Route::Download, When::Nth(1), fault)],
    );
    let arguments = ["--daytona", "-k", "2", "-q", "--pass-env", "MY_TOKEN"];
    let mut command = cloud.command(arguments);
    command.env("MY_TOKEN", "hunter22-hunter22");
    crate::support::workspace::finish(command.spawn().unwrap()).expect(0);
    let seen = cloud.fake.requests() as u64;

    let audit = parsed(&cloud.forge(["audit", "latest", "--json"]).expect(0));
    let operations = &audit["operations"];
    let attempts = sum(operations, "requests") + sum(operations, "further_attempts");
    assert_eq!(attempts, seen, "{operations:#}");
    assert_eq!(sum(operations, "further_attempts"), 1);
    assert_eq!(
        sum(&audit["hosts"], "requests"),
        sum(operations, "requests")
    );
    assert_eq!(audit["complete"], true);
    assert_eq!(
        audit["left_this_machine"], false,
        "127.0.0.1 is this machine"
    );
    let of = |operation: &str| {
        let rows = operations.as_array().unwrap().iter();
        let row = rows.clone().find(|row| row["operation"] == operation);
        row.unwrap_or_else(|| panic!("no {operation}: {operations:#}"))
    };
    assert_eq!(of("upload files")["replies"]["200"], 2);
    assert!(of("upload files")["sent"].as_u64() > Some(2 * WRITES.len() as u64));
    assert_eq!(of("download a file")["replies"]["503"], 1);
    assert!(of("download a file")["received"].as_u64() > Some(100));
    let sandboxes = &audit["sandboxes"];
    assert_eq!(sandboxes["candidates"][0]["files"][0]["path"], "a.sh");
    assert_eq!(sandboxes["objectives"][0]["files"][0]["bytes"], 5);
    let variables = sandboxes["commands"][0]["variables"].to_string();
    assert!(variables.contains("MY_TOKEN"), "{variables}");

    let shown = cloud.forge(["audit", "latest"]).expect(0).stdout;
    let log = cloud.workspace.run_folder().join("requests.jsonl");
    let log = std::fs::read_to_string(log).unwrap();
    for secret in [
        "hunter22",
        cloud.fake.api_key(),
        "do it",
        "labels=",
        "path=",
    ] {
        assert!(!log.contains(secret) && !shown.contains(secret), "{secret}");
    }
    assert!(
        shown.contains("200×1 503×1") || shown.contains("503×1"),
        "{shown}"
    );
    assert!(shown.contains("prompt.txt (5 B), the prompt"), "{shown}");
}

#[test]
fn a_local_run_asked_nobody_and_is_audited_wherever_it_is() {
    let workspace =
        Workspace::with(&[("a.sh", WRITES)]).file("objectives/other.yaml", "prompt: x\n");
    for shard in ["--shard=1/2", "--shard=2/2"] {
        let folder = format!("--artifacts={}", &shard[8..9]);
        workspace
            .forge(["-q", shard, &folder, "--network", "block"])
            .expect(0);
    }
    let audit = |run: &str| workspace.forge(["audit", run]);
    let nothing = "nothing: forge itself asked no other machine";
    let one = audit("1/latest").expect(0);
    assert!(one.stdout.contains(nothing), "{one:?}");
    assert!(one.stdout.contains("block"), "{one:?}");
    workspace
        .forge(["merge", "-q", "1/latest", "2/latest"])
        .expect(0);
    let merged = parsed(&workspace.forge(["audit", "latest", "--json"]).expect(0));
    assert_eq!(merged["of"].as_array().unwrap().len(), 2, "{merged:#}");
    assert_eq!(merged["complete"], true);
    let objectives = merged["sandboxes"]["objectives"].as_array().unwrap();
    assert_eq!(objectives.len(), 2, "{objectives:#?}");

    workspace.forge(["export", "latest", "run.tar"]).expect(0);
    let elsewhere = audit("run.tar").expect(0);
    assert!(elsewhere.stdout.contains(nothing), "{elsewhere:?}");
    std::fs::remove_file(workspace.run_folder().join("requests.jsonl")).unwrap();
    let unlogged = audit("latest").expect(2);
    assert!(unlogged.stderr.contains("was not noted"), "{unlogged:?}");
}
