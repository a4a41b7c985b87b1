//! What an account limits: the pace of creates, the pool of sandboxes, the features of its tier.

use std::time::Duration;

use super::{Cloud, WRITES};
use crate::support::fake_daytona::{Options, Quota, RateLimit, RateLimits, Route};
use crate::support::workspace::Workspace;

fn attempts(cloud: &Cloud) -> Vec<u64> {
    let folder = cloud.workspace.run_folder().join("task/a");
    std::fs::read_dir(folder)
        .unwrap()
        .map(|trial| trial.unwrap().path().join("trial.json"))
        .filter(|path| path.exists())
        .map(|path| {
            crate::support::workspace::read_json(&path)["attempts"]
                .as_u64()
                .unwrap()
        })
        .collect()
}

#[test]
fn creates_keep_the_pace_of_the_account_and_no_trial_fails() {
    let limit = RateLimit {
        requests: 5,
        window: Duration::from_secs(1),
    };
    let limits = RateLimits {
        sandbox_create: Some(limit),
        ..RateLimits::default()
    };
    let options = Options {
        warm: true,
        limits,
        ..Options::default()
    };
    let cloud = Cloud::new(options, Workspace::with(&[("a.sh", WRITES)]));
    cloud.forge(["--daytona", "task", "-k20", "-j4"]).expect(0);
    assert_eq!(attempts(&cloud), [1; 20]);
    assert_eq!(cloud.fake.throttled(), 0, "the headers tell");
    assert_eq!(cloud.fake.requests_to(Route::Create), 20);
    cloud.assert_none_alive();
}

#[test]
fn a_small_pool_is_waited_for_and_costs_no_attempt() {
    let options = Options {
        warm: true,
        quota: Some(Quota {
            cpu: 3,
            memory: 3,
            disk: 9,
            ..Quota::UNLIMITED
        }),
        destroy: Duration::from_millis(50),
        ..Options::default()
    };
    let works = "#!/bin/sh\nsleep 0.2\necho \"hello from the cloud\" > \"$2\"\n";
    let graded = "prompt: do it\nscoring:\n  quality:\n    - {command: [sh, grade.sh]}\n";
    let workspace = Workspace::with(&[("a.sh", works)])
        .file("objectives/task.yaml", graded)
        .file("objectives/grade.sh", "echo '{\"score\": 70}'\n");
    let cloud = Cloud::new(options, workspace);
    cloud.forge(["--daytona", "task", "-k8", "-j8"]).expect(0);
    assert_eq!(attempts(&cloud), [1; 8]);
    assert!(cloud.fake.peak_alive() <= 3, "{}", cloud.fake.peak_alive());
    for (name, trial) in cloud.workspace.trials() {
        assert_eq!(trial["quality"], 70.0, "{name} was not graded: {trial:#}");
    }
    cloud.assert_none_alive();
}

#[test]
fn a_feature_that_the_tier_lacks_is_one_error_and_the_rest_goes_on() {
    let options = Options {
        warm: true,
        network_override: false,
        ..Options::default()
    };
    let workspace = Workspace::new()
        .candidate("a.sh", WRITES)
        .file("objectives/open.yaml", "prompt: do it\n")
        .file("objectives/closed.yaml", "prompt: do it\nnetwork: block\n");
    let cloud = Cloud::new(options, workspace);
    let ended = cloud.forge(["--daytona", "-k4", "-j8"]).expect(3);
    let kinds = |objective: &str| -> Vec<String> {
        let trials = cloud.workspace.trials();
        let mine = trials
            .iter()
            .filter(|(name, _)| name.starts_with(objective));
        let mut kinds: Vec<String> = mine.map(|(_, row)| row["error_kind"].to_string()).collect();
        kinds.sort();
        kinds
    };
    let not_run = "\"not_run\"";
    assert_eq!(
        kinds("closed"),
        ["\"infrastructure\"", not_run, not_run, not_run]
    );
    assert_eq!(kinds("open"), ["null"; 4], "{}", ended.stdout);
    let report = std::fs::read_to_string(cloud.workspace.run_folder().join("report.md")).unwrap();
    assert!(report.contains("Network access overrides"), "{report}");
    cloud.assert_none_alive();
}

#[test]
fn doctor_tells_what_the_key_and_the_account_can() {
    let limit = RateLimit {
        requests: 300,
        window: Duration::from_secs(60),
    };
    let options = Options {
        quota: Some(Quota {
            cpu: 10,
            memory: 10,
            disk: 30,
            ..Quota::UNLIMITED
        }),
        limits: RateLimits {
            sandbox_create: Some(limit),
            ..RateLimits::default()
        },
        ..Options::default()
    };
    let cloud = Cloud::new(options, Workspace::new());
    let ended = cloud.forge(["doctor"]).expect(0);
    for needle in [
        "0.190.0",
        "write:sandboxes, delete:sandboxes",
        "sandboxCreate: 300 in 60 s",
        "10 sandboxes, 10 of them now (1 CPU, 1 GiB memory, 3 GiB disk each)",
    ] {
        assert!(
            ended.stdout.contains(needle),
            "no {needle} in {}",
            ended.stdout
        );
    }
    let cloud = Cloud {
        workspace: cloud
            .workspace
            .file("forge.yaml", "daytona: {snapshot: daytona-medium}\n"),
        fake: cloud.fake,
    };
    let ended = cloud.forge(["doctor"]).expect(0);
    assert!(
        ended.stdout.contains("2 sandboxes, 2 of them now"),
        "{}",
        ended.stdout
    );
    cloud.fake.set_permissions(&["write:sandboxes"]);
    let ended = cloud.forge(["doctor"]).expect(3);
    assert!(
        ended
            .stdout
            .contains("lacks the permission `delete:sandboxes`"),
        "{}",
        ended.stdout
    );
    assert_eq!(cloud.fake.rows(), []);
}
