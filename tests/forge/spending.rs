//! How trials are spent: the control's repeats, looks that spare the rest, and what is run again to be sure.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use crate::support::workspace::{Workspace, finish, pause};

const GOOD: &str = "#!/bin/sh\necho \"hello from the script\" > \"$2\"\n";

#[test]
fn a_control_does_all_of_the_repeats_that_are_planned_for_it() {
    let names = ["a.sh", "b.sh", "c.sh", "d.sh", "e.sh"];
    let workspace = Workspace::with(&names.map(|name| (name, GOOD)));
    // √4 times as often as each of the four others.
    workspace.forge(["task", "--control", "a", "-k2"]).expect(0);
    let trials = workspace.trials();
    assert_eq!(trials.len(), 4 + 4 * 2);
    for (id, row) in &trials {
        assert!(row["score"].is_number(), "{id}: {row}");
    }
    assert!(trials.contains_key("task/a/4"));
    workspace.forge(["task", "--control", "a", "-k2", "--control-repeats", "1"]);
    assert_eq!(workspace.trials().len(), 1 + 4 * 2);
    workspace.assert_nothing_left();
}

const BAD: &str = "#!/bin/sh\nexit 1\n";

/// Candidates on so many equal objectives.
fn suite(objectives: usize, candidates: &[(&str, &str)]) -> Workspace {
    let start = candidates
        .iter()
        .fold(Workspace::new(), |it, (name, script)| {
            it.candidate(name, script)
        });
    (0..objectives).fold(start, |it, at| {
        it.file(&format!("objectives/o{at}.yaml"), "prompt: do it\n")
    })
}

/// The trials of the newest run of one candidate: how many ran, how many of them passed, and why the others were spared.
fn spent(workspace: &Workspace, candidate: &str) -> (usize, usize, BTreeSet<String>) {
    let trials = workspace.trials();
    let own = trials
        .values()
        .filter(|it| it["candidate"] == candidate)
        .collect::<Vec<_>>();
    let spared = own.iter().filter(|it| it["error_kind"] == "not_run");
    let why = spared.map(|it| it["error_message"].as_str().unwrap().to_owned());
    (
        own.iter().filter(|it| it["score"].is_number()).count(),
        own.iter()
            .filter(|it| it["score"].as_f64() > Some(0.0))
            .count(),
        why.collect(),
    )
}

fn reasons(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|it| (*it).to_owned()).collect()
}

/// What happened, by the names of the events.
fn events(workspace: &Workspace, named: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(workspace.run_folder().join("events.jsonl")).unwrap();
    let all = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter(|it| it["event"] == named).collect()
}

/// Rendering the run again from its journal changes nothing.
fn assert_replays(workspace: &Workspace) {
    let path = workspace.run_folder().join("run.json");
    let before = std::fs::read_to_string(&path).unwrap();
    let code = workspace.run_json()["exit"]["code"].as_i64().unwrap();
    // It was told to stop then, and is not now.
    let code = if code == 130 { 3 } else { code };
    let code = i32::try_from(code).unwrap();
    workspace.forge(["report", "latest"]).expect(code);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
}

#[test]
fn a_regression_that_is_certain_at_the_first_look_spares_the_rest() {
    let workspace = suite(6, &[("bad.sh", BAD), ("good.sh", GOOD)]);
    let auto = [
        "--control",
        "good",
        "--repeat",
        "auto",
        "--max-repeat",
        "6",
        "-j4",
    ];
    workspace.forge(auto).expect(1);
    let why = "spared: a regression is certain at look 1 of 3";
    assert_eq!(spent(&workspace, "bad"), (12, 0, reasons(&[why])));
    let why = "spared: nobody is compared with it any more at look 1 of 3";
    assert_eq!(spent(&workspace, "good"), (12, 12, reasons(&[why])));
    assert_eq!(workspace.trials().len(), 72);
    let looks = events(&workspace, "looked");
    assert_eq!(looks.len(), 1);
    assert_eq!(looks[0]["stopped"].as_array().unwrap().len(), 2);
    assert_eq!(events(&workspace, "trial_finished").len(), 72);
    let verdict = &workspace.run_json()["verdicts"][0];
    assert_eq!(
        (&verdict["state"], &verdict["early"]),
        (&"regression".into(), &true.into())
    );
    assert_replays(&workspace);
    workspace.assert_nothing_left();
}

#[test]
fn where_nothing_changed_the_rest_is_spared_and_that_is_no_loss() {
    let workspace = suite(4, &[("old.sh", GOOD), ("new.sh", GOOD)]);
    let auto = ["--control", "old", "--repeat", "auto", "-j4"];
    workspace.forge(auto).expect(0);
    let why = "spared: nothing has changed at look 1 of 3";
    assert_eq!(spent(&workspace, "new"), (12, 12, reasons(&[why])));
    assert_eq!(spent(&workspace, "old").0, 12);
    assert_eq!(workspace.run_json()["verdicts"][0]["state"], "no_change");
    assert_replays(&workspace);
    workspace.assert_nothing_left();
}

#[test]
fn who_is_worse_is_stopped_and_the_others_go_on_with_the_control() {
    // Passes in every other repeat, so that it takes all of them to say something.
    let mixed = "#!/bin/sh\ncase $FORGE_TRIAL in *[13579]) exec sh -c 'echo hello from the script > \"$1\"' x \"$2\";; esac\nexit 1\n";
    let workspace = suite(
        5,
        &[("good.sh", GOOD), ("bad.sh", BAD), ("mixed.sh", mixed)],
    );
    let auto = [
        "--control",
        "mixed",
        "--control-repeats",
        "6",
        "--repeat",
        "auto",
        "--max-repeat",
        "6",
        "-j4",
    ];
    let ended = workspace.forge(auto);
    assert!(matches!(ended.code, Some(0 | 1)), "{ended:?}");
    let looks = events(&workspace, "looked");
    assert!(looks.len() > 1, "{looks:?}");
    for name in ["good", "bad", "mixed"] {
        let (ran, _, why) = spent(&workspace, name);
        assert_eq!(why.is_empty(), ran == 30, "{name} {ran} {why:?}");
    }
    let control = spent(&workspace, "mixed").0;
    let most = ["good", "bad"].map(|name| spent(&workspace, name).0);
    assert_eq!(Some(control), most.into_iter().max());
    assert_replays(&workspace);
}

#[test]
fn who_leads_is_looked_at_too() {
    let workspace = suite(5, &[("bad.sh", BAD), ("good.sh", GOOD)]);
    workspace.forge(["--repeat", "auto", "-j4"]).expect(0);
    let why = reasons(&["spared: the lead is clear at look 1 of 3"]);
    assert_eq!(spent(&workspace, "good"), (15, 15, why.clone()));
    assert_eq!(spent(&workspace, "bad"), (15, 0, why));
    assert_eq!(workspace.run_json()["lead"]["state"], "winner");
    assert_replays(&workspace);
}

#[test]
fn a_signal_between_two_looks_ends_the_run_and_every_trial_has_its_row() {
    let slow = "#!/bin/sh\nsleep 0.3\necho \"hello from the script\" > \"$2\"\n";
    let workspace = suite(3, &[("a.sh", slow), ("b.sh", slow)]);
    let child = workspace
        .command(["--repeat", "auto", "-j2"])
        .spawn()
        .unwrap();
    let journal = workspace.path("artifacts/latest/events.jsonl");
    for _ in 0..1500 {
        let text = std::fs::read_to_string(&journal).unwrap_or_default();
        if text.contains("\"event\":\"looked\"") {
            break;
        }
        pause();
    }
    let kill = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
    finish(child).expect(130);
    assert_eq!(workspace.trials().len(), 2 * 3 * 9);
    assert_eq!(events(&workspace, "trial_finished").len(), 2 * 3 * 9);
    assert_eq!(events(&workspace, "looked").len(), 1);
    assert_replays(&workspace);
    workspace.assert_nothing_left();
}

#[test]
fn what_looks_like_a_regression_is_run_again_on_both_sides_and_only_that() {
    let workspace = suite(4, &[("bad.sh", BAD), ("good.sh", GOOD), ("same.sh", GOOD)]);
    let confirm = ["--control", "good", "-k2", "--confirm", "2", "-j4"];
    workspace.forge(confirm).expect(1);
    assert_eq!(spent(&workspace, "bad"), (4 * (2 + 2), 0, reasons(&[])));
    // √2 times as many as the others.
    let control = 4 * (3 + 2);
    assert_eq!(spent(&workspace, "good"), (control, control, reasons(&[])));
    assert_eq!(spent(&workspace, "same"), (4 * 2, 4 * 2, reasons(&[])));
    assert_eq!(events(&workspace, "confirmation_planned").len(), 1);
    let run = workspace.run_json();
    let verdicts = run["verdicts"].as_array().unwrap();
    let of = |name: &str| {
        let mut of = verdicts.iter();
        of.find(|it| it["candidate"] == name && it["measure"] == "score")
            .unwrap()
    };
    assert_eq!(of("bad")["state"], "regression");
    assert_eq!(of("bad")["trials"]["candidate"], 4 * 2);
    assert_eq!(of("bad")["trials"]["against"], 4 * 2);
    assert_eq!(of("same")["trials"]["against"], 4 * 3);
    assert_replays(&workspace);
    workspace.assert_nothing_left();
}

#[test]
fn two_regressions_share_the_fresh_trials_of_the_control() {
    let workspace = suite(4, &[("bad.sh", BAD), ("good.sh", GOOD), ("worse.sh", BAD)]);
    let confirm = ["--control", "good", "-k2", "--confirm", "3", "-j4"];
    workspace.forge(confirm).expect(1);
    assert_eq!(events(&workspace, "confirmation_planned").len(), 2);
    assert_eq!(spent(&workspace, "good").0, 4 * (3 + 3));
    assert_eq!(events(&workspace, "trial_finished").len(), 4 * (5 + 5 + 6));
    assert_eq!(workspace.trials().len(), 4 * (5 + 5 + 6));
    assert_replays(&workspace);
}

#[test]
fn of_many_candidates_the_worst_are_dropped_one_after_the_other() {
    // The later its name, the fewer objectives it does.
    let fails = |objectives: &str| {
        format!(
            "#!/bin/sh\ncase $FORGE_OBJECTIVE in {objectives}) exit 1;; esac\necho \"hello from the script\" > \"$2\"\n"
        )
    };
    let scripts = ["x", "o0", "o[01]", "o[012]", "o[0123]"].map(fails);
    let names = ["a.sh", "b.sh", "c.sh", "d.sh", "e.sh"];
    let candidates: Vec<(&str, &str)> = names
        .into_iter()
        .zip(scripts.iter().map(String::as_str))
        .collect();
    let workspace = suite(5, &candidates);
    workspace.forge(["--repeat", "auto", "-j4"]).expect(0);
    let ran = |name: &str| spent(&workspace, name).0;
    assert_eq!(
        ["a", "b", "c", "d", "e"].map(ran),
        [9, 9, 6, 5, 4].map(|repeats| 5 * repeats)
    );
    let why = "spared: dropped after 4 repeats by successive rejects";
    assert_eq!(spent(&workspace, "e").2, reasons(&[why]));
    let run = workspace.run_json();
    assert_eq!(run["lead"]["candidate"], "a");
    assert!(run["lead"]["p"].is_null());
    assert_replays(&workspace);
}
