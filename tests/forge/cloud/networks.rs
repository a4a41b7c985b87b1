//! A setup that may reach more than its run: the network is changed between the two, or nothing runs.

use std::time::Duration;

use serde_json::Value;

use super::{Cloud, WRITES};
use crate::support::fake_daytona::fault::{During, Rule, When};
use crate::support::fake_daytona::outside::Outside;
use crate::support::fake_daytona::{Options, Route};
use crate::support::skipped;
use crate::support::workspace::Workspace;

/// Says whether the world answers.
const REACH: &str =
    "if (: <>/dev/tcp/1.1.1.1/443) 2>/dev/null; then echo it is open; else echo it is shut; fi";

fn workspace(objective: &str, candidate: &str) -> Workspace {
    let script = format!("#!/bin/bash\n{REACH} >\"$2\"\n");
    let line = serde_json::to_string(&format!("exec bash -c '{REACH}'")).unwrap();
    Workspace::new()
        .candidate("a.sh", &script)
        .file("candidates/a.yaml", format!("setup: [{line}]\n{candidate}"))
        .file(
            "objectives/task.yaml",
            format!("prompt: do it\n{objective}\n"),
        )
}

fn options(faults: Vec<Rule>) -> Option<Options> {
    if let Err(error) = Outside::open() {
        skipped("network rules", &format!("no network namespace: {error}"));
        return None;
    }
    Some(Options {
        warm: true,
        outside: true,
        faults,
        ..Options::default()
    })
}

impl Cloud {
    fn said(&self, file: &str) -> String {
        String::from_utf8(self.workspace.trial_file("a", file)).unwrap()
    }
}

#[test]
fn the_setup_reaches_what_the_run_does_not_and_the_change_is_waited_for() {
    let late = During::RulesLate(Duration::from_millis(1500));
    for (objective, candidate, faults, setup, changes) in [
        ("network: block", "", vec![], "open", 1),
        (
            "network: block",
            "",
            vec![Rule::route(Route::NetworkSettings, When::Always, late)],
            "open",
            1,
        ),
        ("network: [10.0.0.0/8]", "", vec![], "open", 1),
        ("network: {setup: block, run: block}", "", vec![], "shut", 0),
        ("network: block", "trust: untrusted\n", vec![], "shut", 0),
    ] {
        let Some(options) = options(faults) else {
            return;
        };
        let cloud = Cloud::new(options, workspace(objective, candidate));
        cloud.forge(["--daytona", "task"]).expect(0);
        assert_eq!(
            cloud.said("setup.log"),
            format!("it is {setup}\n"),
            "{objective}"
        );
        assert_eq!(cloud.said("discord_post.md"), "it is shut\n", "{objective}");
        assert_eq!(cloud.fake.requests_to(Route::NetworkSettings), changes);
        cloud.assert_none_alive();
    }
}

#[test]
fn a_change_that_never_comes_into_force_loses_the_trial_before_the_run() {
    let never = Rule::route(Route::NetworkSettings, When::First(1), During::RulesNever);
    let Some(options) = options(vec![never]) else {
        return;
    };
    let cloud = Cloud::new(options, workspace("network: block", ""));
    cloud.forge(["--daytona", "task"]).expect(0);
    // The next sandbox keeps them.
    assert_eq!(cloud.trial("a")["attempts"], 2);
    assert_eq!(cloud.said("discord_post.md"), "it is shut\n");
    cloud.assert_none_alive();
}

/// One refusal is one lost trial; those without a setup are shut from their birth, as ever.
#[test]
fn an_account_that_cannot_change_a_network_is_told_once_with_a_remedy() {
    let options = Options {
        warm: true,
        network_override: false,
        ..Options::default()
    };
    let workspace = Workspace::new()
        .candidate("a.sh", WRITES)
        .file("candidates/a.yaml", "setup: ['true']\n")
        .file("objectives/task.yaml", "prompt: do it\nnetwork: block\n");
    let cloud = Cloud::new(options, workspace);
    let ended = cloud.forge(["--daytona", "task", "-k6", "-j1"]).expect(3);
    let trials = cloud.workspace.trials();
    assert_eq!(trials.len(), 6);
    let of = |kind: &str| {
        trials
            .values()
            .filter(|it| it["error_kind"] == kind)
            .count()
    };
    assert_eq!(
        (of("infrastructure"), of("not_run")),
        (2, 4),
        "{}",
        ended.stdout
    );
    assert_eq!(
        cloud.fake.requests_to(Route::Create),
        1,
        "the others would be lost too"
    );
    let hint = |trial: &Value| trial["end"]["hint"].to_string();
    let told = trials
        .values()
        .any(|it| hint(it).contains("network: {setup: block, run: block}"));
    let report = std::fs::read_to_string(cloud.workspace.run_folder().join("report.md")).unwrap();
    assert!(
        told || report.contains("setup: block"),
        "{report}\n{trials:#?}"
    );
    assert!(report.contains("change a sandbox's network"), "{report}");
    cloud.assert_none_alive();
}

#[test]
fn a_setup_that_fails_costs_two_sandboxes() {
    let options = Options {
        warm: true,
        ..Options::default()
    };
    let workspace =
        Workspace::with(&[("a.sh", WRITES)]).file("candidates/a.yaml", "setup: ['exit 3']\n");
    let cloud = Cloud::new(options, workspace);
    cloud.forge(["--daytona", "task", "-k8", "-j1"]).expect(1);
    let trials = cloud.workspace.trials();
    assert_eq!(
        trials
            .values()
            .filter(|it| it["error_kind"] == "setup")
            .count(),
        8
    );
    assert_eq!(cloud.fake.requests_to(Route::Create), 2);
    cloud.assert_none_alive();
}
