//! Looking ahead, and a candidate against itself, through the program.

use std::process::Command;

use forge::statistics::decision::Rule;
use forge::statistics::operating::{Chances, Controls, Design, RUNS, Trials};
use serde_json::Value;

use super::support::workspace::{Ended, Workspace};

const ALL: &str = "scoring:\n  weights: {success: 1, quality: 0, speed: 0}\n";

/// Objectives on which everything counts that contains `good`, and candidates that do so but on those whose names match, a `case` pattern.
fn project(objectives: &[&str], candidates: &[(&str, &str)]) -> Workspace {
    let mut workspace = Workspace::new();
    for objective in objectives {
        let yaml = format!("prompt: do it\ngates:\n  - contains: good\n{ALL}");
        workspace = workspace.file(&format!("objectives/{objective}.yaml"), yaml);
    }
    for (name, bad) in candidates {
        let script = format!(
            "#!/bin/sh\ncase $FORGE_OBJECTIVE in {bad}) echo a bad answer ;; *) echo a good answer ;; esac >\"$2\"\necho '{{\"cost_usd\": 0.25}}' >\"${{3:-/dev/null}}\"\n"
        );
        workspace = workspace.candidate(&format!("{name}.sh"), &script);
    }
    workspace
}

fn forge(workspace: &Workspace, arguments: &str) -> Ended {
    workspace.forge(arguments.split_whitespace())
}

/// What is printed for programs.
fn document(workspace: &Workspace, arguments: &str) -> Value {
    let ended = forge(workspace, arguments);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    serde_json::from_str(&ended.stdout).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

#[test]
fn a_plan_says_what_would_run_and_runs_nothing() {
    let workspace = project(&["code", "logs"], &[("alpha", "none"), ("beta", "none")]);
    let planned = document(&workspace, "plan --json -k 3 --control alpha -j 4");
    assert_eq!(planned["candidates"], 2);
    assert_eq!(planned["cells"], 4);
    assert_eq!(planned["trials"], 12);
    assert_eq!(planned["jobs"], 4);
    assert_eq!(planned["expected"], Value::Null);
    let one = &planned["conclusions"][0];
    assert_eq!(one["question"], "control");
    assert_eq!(
        one["objectives"][0]["rate"],
        Value::Null,
        "nothing is known"
    );
    assert_eq!(one["chances"].as_array().unwrap().len(), 4);
    for chance in one["chances"].as_array().unwrap() {
        let each = ["regression", "improvement", "no_change", "inconclusive"];
        let sum: f64 = each.iter().map(|it| number(&chance[it])).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{chance}");
    }
    // Two objectives with three repeats see little.
    let enough = &one["misses"]["enough_repeats"];
    assert!(enough.as_u64().unwrap() > 3, "{one}");
    assert!(!workspace.path("artifacts").exists());
    let text = forge(&workspace, "plan -k 3 --control alpha");
    assert_eq!(text.code, Some(0), "{}", text.stderr);
    let says = "2 candidates × 2 objectives: 4 cells, 12 trials\n";
    assert!(text.stdout.starts_with(says), "{}", text.stdout);
    let warns = format!("`-k {enough}` would do");
    assert!(text.stderr.contains(&warns), "{} {warns}", text.stderr);
    workspace.assert_nothing_left();
}

#[test]
fn with_the_repeats_that_would_do_nothing_is_warned_of() {
    let workspace = project(
        &["code", "docs", "logs"],
        &[("alpha", "none"), ("beta", "none")],
    );
    let few = document(&workspace, "plan --json -k 2 --control alpha --seed 1");
    let enough = few["conclusions"][0]["misses"]["enough_repeats"].clone();
    let arguments = format!("plan --json -k {enough} --control alpha --seed 1");
    let then = document(&workspace, &arguments);
    let large = &then["conclusions"][0]["chances"][3];
    assert_eq!(large["loss"], 20.0);
    // Found with fewer simulated runs than it is told with.
    assert!(number(&large["regression"]) > 0.45, "{large}");
}

#[test]
fn the_chances_are_those_of_every_result_that_there_is() {
    let workspace = project(&["code", "logs"], &[("alpha", "logs"), ("beta", "none")]);
    assert_eq!(forge(&workspace, "-k 3").code, Some(0));
    let planned = document(&workspace, "plan --json -k 3 --control alpha --seed 5");
    let one = &planned["conclusions"][0];
    // What has passed three times of three, and never of three.
    let rates = [3.9 / 4.35, 0.9 / 4.35];
    let told = one["objectives"].as_array().unwrap();
    for (told, rate) in told.iter().zip(rates) {
        assert!((number(&told["rate"]) - rate).abs() < 1e-12, "{one}");
        assert_eq!(told["trials"], 3);
    }
    for chance in one["chances"].as_array().unwrap() {
        let loss = number(&chance["loss"]) / 100.0;
        let design = Design {
            controls: Controls::Shared,
            control: rates.to_vec(),
            candidates: vec![rates.iter().map(|rate| (rate - loss).max(0.0)).collect()],
            control_repeats: 3,
            repeats: 3,
            trials: Trials::Pass,
            rule: Rule {
                level: 0.05,
                threshold: 0.05,
                margin: 0.05,
            },
        };
        let (exact, drawn) = (design.chances(1), design.simulated(5, RUNS));
        assert_eq!(
            (exact.runs, &chance["simulated_runs"]),
            (None, &Value::Null)
        );
        let of = |chances: &Chances| {
            [
                chances.regression,
                chances.improvement,
                chances.no_change,
                chances.inconclusive,
            ]
        };
        let told = ["regression", "improvement", "no_change", "inconclusive"];
        let told = told.map(|key| number(&chance[key]));
        for ((told, exact), simulated) in told.into_iter().zip(of(&exact)).zip(of(&drawn)) {
            assert!((told - exact).abs() < 1e-9, "{told} {exact}");
            let error = drawn.standard_error(exact);
            assert!(
                (simulated - exact).abs() <= 2.0 * error + 1e-9,
                "{simulated} {exact}"
            );
        }
    }
    let expected = &planned["expected"];
    assert_eq!(expected["known_trials"], 12);
    assert!(number(&expected["seconds"]) > 0.0, "{expected}");
    assert_eq!(
        planned["conclusions"][0]["objectives"][0]["run"],
        expected["runs"][0]
    );
}

#[test]
fn without_a_comparison_it_is_asked_who_leads() {
    let workspace = project(
        &["code"],
        &[("alpha", "none"), ("beta", "none"), ("gamma", "none")],
    );
    let planned = document(&workspace, "plan --json -k 12");
    let one = &planned["conclusions"][0];
    assert_eq!(
        (&one["question"], &one["candidates"]),
        (&"lead".into(), &3.into())
    );
    let none = &one["chances"][0];
    assert!(
        number(&none["shown"]) + number(&none["wrong"]) < 0.08,
        "{none}"
    );
    let auto = document(
        &workspace,
        "plan --json -k auto --max-repeat 6 -c alpha -c beta",
    );
    assert_eq!(auto["looks"], serde_json::json!([2, 4, 6]));
    let level = number(&auto["conclusions"][0]["level"]);
    assert!((level - 0.045_056).abs() < 1e-6, "{level}");
}

#[test]
fn what_has_not_changed_would_not_be_run() {
    let workspace = project(&["code", "logs"], &[("alpha", "none")]);
    let workspace = workspace.file(".gitignore", "artifacts/\ntmp/\ncache/\n");
    for arguments in ["init -q -b main", "add -A", "commit -q -m one"] {
        let git = Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@example.org"])
            .args(arguments.split_whitespace())
            .current_dir(workspace.path("."))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .status();
        assert!(git.unwrap().success(), "{arguments}");
    }
    let nothing = forge(&workspace, "plan --baseline @main");
    assert_eq!(nothing.code, Some(0), "{}", nothing.stderr);
    assert_eq!(nothing.stdout, "alpha is unchanged\nnothing would run\n");
    let workspace = workspace.candidate("alpha.sh", "#!/bin/sh\necho bad >\"$2\"\n");
    let planned = document(&workspace, "plan --json -k 2 --baseline @main");
    assert_eq!(
        (&planned["candidates"], &planned["trials"]),
        (&2.into(), &8.into())
    );
    assert_eq!(planned["conclusions"][0]["question"], "baseline");
    workspace.assert_nothing_left();
}

#[test]
fn what_a_run_would_refuse_a_plan_refuses() {
    let workspace = project(&["code"], &[("alpha", "none")]);
    let refused = forge(&workspace, "plan --control alhpa");
    assert_eq!(refused.code, Some(2));
    assert!(
        refused.stderr.contains("did you mean `alpha`?"),
        "{}",
        refused.stderr
    );
    let told = forge(&workspace, "plan --json --control alhpa");
    let told: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(told["exit"]["code"], 2);
    assert_eq!(told["problems"][0]["path"], "--control");
}

#[test]
fn a_candidate_is_compared_with_itself_in_pairs() {
    let mut workspace = project(&["code", "docs", "logs"], &[("other", "none")]);
    // Whether it is better is chance.
    let dice = "#!/bin/sh\nn=$(od -An -N1 -tu1 /dev/urandom)\necho good >\"$2\"\n[ $((n % 2)) = 0 ] || echo better >>\"$2\"\n";
    workspace = workspace.candidate("dice.sh", dice);
    for objective in ["code", "docs", "logs"] {
        let yaml = "prompt: do it\ngates:\n  - contains: good\nscoring:\n  weights: {success: 0, quality: 1, speed: 0}\n  quality:\n    - contains: better\n";
        workspace = workspace.file(&format!("objectives/{objective}.yaml"), yaml);
    }
    let told = document(&workspace, "aa dice -n 4 -k 2 --json --quiet");
    assert_eq!(
        (&told["candidate"], &told["pairs"]),
        (&"dice".into(), &4.into())
    );
    assert_eq!(told["judged"], 4);
    let alarms = told["alarms"].as_u64().unwrap();
    assert!(alarms <= 4);
    assert!((number(&told["share"]) - alarms as f64 / 4.0).abs() < 1e-12);
    // Each by itself: nothing is adjusted for a family.
    let verdicts = told["verdicts"].as_array().unwrap();
    assert_eq!(verdicts.len(), 4);
    for (at, verdict) in (1..).zip(verdicts) {
        assert_eq!(verdict["candidate"], format!("dice@b{at}"));
        assert_eq!(verdict["against"], format!("dice@a{at}"));
        assert_eq!(verdict["p_worse"], verdict["p_worse_adjusted"]);
        assert_eq!(verdict["trials"]["candidate"], 6);
    }
    assert!(number(&told["noise"]["trials"]) > 1.0, "{}", told["noise"]);
    assert_eq!(told["between_runs"]["deviation"], Value::Null);
    // In one run, with nobody else.
    assert_eq!(workspace.trials().len(), 4 * 2 * 2 * 3);
    let again = forge(&workspace, "aa dice --pairs 2 -k 2 --quiet");
    assert_eq!(again.code, Some(0), "{}{}", again.stdout, again.stderr);
    assert!(again.stdout.contains("of 2 pairs"), "{}", again.stdout);
    let between = "in 2 runs of the same files in 1 place";
    assert!(again.stdout.contains(between), "{}", again.stdout);
    workspace.assert_nothing_left();
}

#[test]
fn comparisons_with_others_have_no_place_there_and_lost_trials_are_told() {
    let workspace = Workspace::with(&[
        ("slow.sh", "#!/bin/sh\nsleep 60\n"),
        ("b.sh", "#!/bin/sh\n"),
    ]);
    let refused = forge(&workspace, "aa slow --control b --fail-under 3 -k auto");
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    for flag in ["--control", "--fail-under", "--repeat auto"] {
        assert!(
            refused.stderr.contains(&format!("error: {flag}: ")),
            "{}",
            refused.stderr
        );
    }
    assert_eq!(forge(&workspace, "aa nobody").code, Some(2));
    assert!(!workspace.path("artifacts").exists());
    let lost = forge(&workspace, "aa slow -n 2 --deadline 1s --quiet");
    assert_eq!(lost.code, Some(3), "{}{}", lost.stdout, lost.stderr);
    assert!(
        lost.stdout.contains("no pair can be judged"),
        "{}",
        lost.stdout
    );
    workspace.assert_nothing_left();
}

#[test]
fn who_tells_of_no_cost_is_not_taken_to_have_some() {
    let tells = "#!/bin/sh\necho a good answer >\"$2\"\necho '{\"cost_usd\": 0.25}' >\"$FORGE_ARTIFACTS/metrics.json\"\n";
    let workspace = Workspace::with(&[
        ("a.sh", tells),
        ("b.sh", "#!/bin/sh\necho a good answer >\"$2\"\n"),
    ]);
    workspace.forge(["task", "-k2", "-q"]).expect(0);
    let planned = workspace.forge(["plan", "task", "-k4", "--json"]).expect(0);
    let planned: Value = serde_json::from_str(&planned.stdout).unwrap();
    assert_eq!(planned["expected"]["cost_usd"], 1.0, "{planned}");
}
