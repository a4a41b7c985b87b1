//! `forge check --controls`: which objectives it says are broken, and by what. And the rules of `forge check`.

use serde_json::Value;

use crate::support::workspace::Workspace;

/// A project with this objective, and a candidate that reads its prompt.
fn with(objective: &str) -> Workspace {
    Workspace::new()
        .candidate("one.sh", "#!/bin/sh\necho \"$1\" >\"$2\"\n")
        .file("objectives/task.yaml", objective)
        .file("objectives/answer.md", "# Answer\n\nforty-two\n")
}

/// What each control came to: points, and why the objective is broken.
fn controls(workspace: &Workspace, code: i32) -> Vec<(String, Option<f64>, String)> {
    let ended = workspace
        .forge(["check", "--controls", "--json"])
        .expect(code);
    let document: Value = serde_json::from_str(&ended.stdout).unwrap();
    let controls = document["controls"].as_array().unwrap();
    let one = |it: &Value| {
        let class = it["class"].as_str().unwrap_or_default();
        let name = format!("{} {class}", it["control"].as_str().unwrap());
        let message = it["message"].as_str().unwrap_or_default().to_owned();
        (name.trim().to_owned(), it["points"].as_f64(), message)
    };
    controls.iter().map(one).collect()
}

fn broken(workspace: &Workspace, code: i32) -> Vec<String> {
    let all = controls(workspace, code).into_iter();
    all.filter(|it| !it.2.is_empty()).map(|it| it.0).collect()
}

#[test]
fn an_objective_with_a_gate_that_only_an_answer_passes_holds() {
    let workspace = with(
        "prompt: answer\nreference: answer.md\ngates: [regex: '^# Answer$']\n\
         scoring: {quality: [{contains: forty-two}]}\n",
    );
    let all = controls(&workspace, 0);
    let names: Vec<&str> = all.iter().map(|it| it.0.as_str()).collect();
    assert_eq!(
        names,
        [
            "noop",
            "oracle",
            "cheat empty",
            "cheat huge",
            "cheat prompt-echo",
            "cheat grader-source",
            "cheat json-bomb",
            "cheat links",
            "cheat injection",
            "cheat crash",
        ]
    );
    for (name, points, message) in all {
        let expected = if name == "oracle" { 100.0 } else { 0.0 };
        assert!(
            points.is_some_and(|it| (it - expected).abs() < 2.0),
            "{name} {points:?}"
        );
        assert_eq!(message, "", "{name}");
    }
    workspace.assert_nothing_left();
    assert!(!workspace.path("artifacts").exists());
}

#[test]
fn a_prompt_that_passes_for_its_answer_is_told_with_the_scorer() {
    let workspace = with(
        "prompt: say forty-two\nscoring: {quality: [{contains: forty-two}, {length: words, at_most: 9}]}\n",
    );
    let all = controls(&workspace, 2);
    let echo = all.iter().find(|it| it.0 == "cheat prompt-echo").unwrap();
    assert_eq!(
        echo.2,
        "broken: `cheat` (prompt-echo), which writes the prompt, has 100.0 points: it passes every gate, and has points by \
         `contains \"forty-two\"` (1 of 1 text found), `length in words at_most 9` (2 words, at most 9 wanted)"
    );
    let text = workspace.forge(["check", "--controls"]).expect(2);
    assert!(text.stderr.contains(&echo.2), "{}", text.stderr);
    assert!(
        text.stderr.contains("objectives/task.yaml: broken:"),
        "{}",
        text.stderr
    );
}

#[test]
fn every_kind_of_breakage_is_found() {
    let found = |objective: &str| broken(&with(objective), 2);
    // Nothing is judged: whatever is long enough is an answer.
    let nothing = found("prompt: write something, whatever it is\n");
    assert!(
        nothing.contains(&"cheat prompt-echo".to_owned()),
        "{nothing:?}"
    );
    assert!(
        nothing.contains(&"cheat injection".to_owned()),
        "{nothing:?}"
    );
    assert!(!nothing.contains(&"noop".to_owned()), "{nothing:?}");
    // Not even that there is an artifact.
    let none = found("prompt: do it\ngates: [min_bytes: 0]\n");
    assert!(none.contains(&"noop".to_owned()), "{none:?}");
    assert!(none.contains(&"cheat empty".to_owned()), "{none:?}");
    // A crash is taken for success.
    let crash =
        found("prompt: do it\nreference: answer.md\ngates: [regex: '^# Answer$', exit_code: 1]\n");
    assert_eq!(crash, ["oracle"]);
    // The reference is no answer.
    let denied = with(
        "prompt: answer\nreference: answer.md\ngates: [regex: '^# Answer$']\nscoring: {quality: [{contains: forty-three}]}\n",
    );
    let all = controls(&denied, 2);
    let oracle = all.iter().find(|it| it.0 == "oracle").unwrap();
    assert!(
        oracle
            .2
            .contains("has no full marks: `contains \"forty-three\"` gives 0.0"),
        "{}",
        oracle.2
    );
    // A grader that repeats what it reads.
    let echoing = with(
        "prompt: answer\nscoring: {weights: {success: 0, speed: 0}, quality: [{command: [cat, discord_post.md]}]}\n",
    );
    assert!(broken(&echoing, 2).contains(&"cheat injection".to_owned()));
}

#[test]
fn controls_are_not_run_where_a_run_would_be_refused() {
    let workspace = with("prompt: do it\nlimits: {run: 0}\n");
    let ended = workspace.forge(["check", "--controls", "--json"]).expect(2);
    let document: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(document["controls"], Value::Null);
}

#[test]
fn shipped_objectives_hold() {
    let root = env!("CARGO_MANIFEST_DIR");
    let workspace = Workspace::new();
    let folders = ["--candidates", "--objectives"]
        .iter()
        .zip(["candidates", "objectives"]);
    let folders =
        folders.flat_map(|(flag, folder)| [(*flag).to_owned(), format!("{root}/{folder}")]);
    let words = ["check", "--controls"]
        .map(str::to_owned)
        .into_iter()
        .chain(folders);
    let ended = workspace.forge(words.collect::<Vec<_>>()).expect(0);
    assert!(
        ended
            .stdout
            .contains("controls on triage-logs: noop 0.0; oracle 100.0; cheat at most 0.0"),
        "{}",
        ended.stdout
    );
}

#[test]
fn a_rule_is_named_and_can_be_allowed() {
    let objective = "prompt: do it\nscoring: {quality: [{regex: '.*', weight: 2}]}\n";
    let two = |workspace: Workspace| {
        let workspace =
            workspace.candidate("two.sh", "#!/bin/sh\necho hello, whoever reads this >out\n");
        workspace.candidate("one.sh", "#!/bin/sh\necho hello >out\n")
    };
    let workspace = two(with(objective));
    let ended = workspace.forge(["check"]).expect(0);
    for told in [
        "warning: objectives/task.yaml:2:21: scoring.quality[0]: `regex /.*/ at_least 1` gives full marks to all that pass the gates [scorer-cannot-lose]",
        "[weight-without-effect]",
        "warning: repeat: with 1 trial of each candidate in all, on 1 objective, no difference could be told from chance, however large [suite-too-small]",
        "no candidate reads its prompt, as far as their files show [prompt-unread]",
    ] {
        assert!(ended.stdout.contains(told), "{told}\n{}", ended.stdout);
    }
    assert!(
        ended
            .stdout
            .ends_with("ok: 2 candidates, 1 objective, 2 trials\n")
    );
    let json = workspace.forge(["check", "--json"]).expect(0);
    let document: Value = serde_json::from_str(&json.stdout).unwrap();
    let rules = document["lints"].as_array().unwrap().iter();
    let rules: Vec<&str> = rules.map(|it| it["rule"].as_str().unwrap()).collect();
    assert_eq!(
        rules,
        [
            "scorer-cannot-lose",
            "weight-without-effect",
            "suite-too-small",
            "prompt-unread"
        ]
    );
    // More trials, and rules that are allowed where they are found.
    let ended = workspace.forge(["check", "-k", "5"]).expect(0);
    assert!(
        !ended.stdout.contains("suite-too-small"),
        "{}",
        ended.stdout
    );
    let allowed = format!("{objective}allow: [scorer-cannot-lose, weight-without-effect]\n");
    let workspace =
        two(with(&allowed)).file("forge.yaml", "allow: [suite-too-small, prompt-unread]\n");
    let ended = workspace.forge(["check"]).expect(0);
    assert_eq!(ended.stdout, "ok: 2 candidates, 1 objective, 2 trials\n");
}
