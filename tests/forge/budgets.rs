//! What a run may spend: sandboxes, and money by what candidates say and by the time of sandboxes.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::workspace::Workspace;

/// A second each, of which it says that it cost so much.
const PAID: &str = "#!/bin/sh\nsleep 0.2\necho \"hello from the script\" > \"$2\"\n\
                    echo '{\"cost_usd\": 0.5}' > \"$FORGE_ARTIFACTS/metrics.json\"\n";

/// The trials that ran, by candidate, and why the others did not.
fn ran(trials: &BTreeMap<String, Value>) -> (BTreeMap<&str, usize>, Vec<&str>) {
    let mut by_candidate = BTreeMap::new();
    let mut reasons = Vec::new();
    for row in trials.values() {
        if row["score"].is_number() {
            *by_candidate
                .entry(row["candidate"].as_str().unwrap())
                .or_default() += 1;
        } else {
            assert_eq!(row["error_kind"], "not_run", "{row}");
            reasons.push(row["error_message"].as_str().unwrap());
        }
    }
    (by_candidate, reasons)
}

#[test]
fn a_budget_that_ends_early_leaves_as_many_trials_of_each_candidate() {
    let names = ["a.sh", "b.sh", "c.sh"];
    let workspace = Workspace::with(&names.map(|name| (name, PAID)));
    let arguments = ["task", "-k4", "-j2", "--max-sandboxes", "6"];
    workspace.forge(arguments).expect(3);
    let trials = workspace.trials();
    let (by_candidate, reasons) = ran(&trials);
    assert_eq!(by_candidate, [("a", 2), ("b", 2), ("c", 2)].into());
    let reason = "not begun: the budget of 6 sandboxes is used up";
    assert_eq!(reasons, [reason; 6]);
    // What was spent before counts; more may be given.
    workspace.forge(["--resume", "latest"]).expect(3);
    assert_eq!(ran(&workspace.trials()).1.len(), 6);
    let more = ["--resume", "latest", "--max-sandboxes", "9"];
    workspace.forge(more).expect(3);
    let trials = workspace.trials();
    assert_eq!(ran(&trials).0, [("a", 3), ("b", 3), ("c", 3)].into());
    workspace.assert_nothing_left();
}

#[test]
fn money_is_spent_as_candidates_say() {
    let workspace = Workspace::with(&[("a.sh", PAID), ("b.sh", PAID)]);
    let arguments = ["task", "-k4", "-j1", "--max-cost", "1"];
    workspace.forge(arguments).expect(3);
    let trials = workspace.trials();
    let (by_candidate, reasons) = ran(&trials);
    assert_eq!(by_candidate, [("a", 1), ("b", 1)].into());
    let reason = "not begun: the budget of 1 USD is used up: 1.00 by what the candidates say";
    assert_eq!(reasons, [reason; 6]);
    assert_eq!(workspace.run_json()["sandbox_cost_usd"], Value::Null);
    workspace.assert_nothing_left();
}

#[test]
fn sandboxes_cost_their_time_where_an_hour_has_a_price() {
    // A dollar for five milliseconds: of trials that take two hundred, the first is too much.
    let prices = "daytona: {price_per_hour: 0}\nlocal: {price_per_hour: 720000}\n";
    let workspace = Workspace::with(&[("a.sh", PAID)]).file("forge.yaml", prices);
    let arguments = ["task", "-k3", "-j1", "--max-cost", "2.5"];
    workspace.forge(arguments).expect(3);
    let trials = workspace.trials();
    let (by_candidate, reasons) = ran(&trials);
    assert_eq!(by_candidate, [("a", 1)].into());
    let end = "by what the candidates say and what their sandboxes cost";
    assert!(reasons.iter().all(|it| it.ends_with(end)), "{reasons:?}");
    let run = workspace.run_json();
    assert!(run["sandbox_cost_usd"].as_f64() > Some(40.0), "{run}");
    // What it cost before counts, too.
    workspace.forge(["--resume", "latest"]).expect(3);
    assert_eq!(ran(&workspace.trials()).0, [("a", 1)].into());
    let planned = workspace.forge(["plan", "task"]).expect(0);
    assert!(
        planned.stdout.contains("for sandboxes"),
        "{}",
        planned.stdout
    );
    workspace.assert_nothing_left();
}

#[test]
fn a_price_that_is_none_is_refused_where_it_stands() {
    let settings = "container: {price_per_hour: -1}\n";
    let workspace = Workspace::with(&[("a.sh", PAID)]).file("forge.yaml", settings);
    let ended = workspace.forge(["task"]).expect(2);
    let place = "forge.yaml:1:29: container.price_per_hour";
    assert!(ended.stderr.contains(place), "{}", ended.stderr);
}
