//! Gates and scorers through the whole program.

use crate::support::workspace::Workspace;

const HELLO: &str = "#!/bin/sh\necho \"hello from the script\" > \"$2\"\n";

#[test]
fn a_grader_sees_the_artifacts_and_its_own_files_only() {
    let script = "#!/bin/sh\necho \"hello from the script\" > \"$2\"\necho secret > leftover.txt\necho x > \"$FORGE_ARTIFACTS/more.txt\"\n";
    let objective = "prompt: x\ninputs: [data/in.txt]\nartifacts: ['*.txt']\nscoring:\n  quality:\n    \
                     - {command: [sh, checks/look.sh], files: [checks/expected.txt]}\n";
    let look = "find . -type f | sort | tr '\\n' ' ' >&2; ls \"$FORGE_ARTIFACTS\" >&2; [ \"$(find . -type f | sort | tr '\\n' ' ')\" = './checks/expected.txt ./checks/look.sh ./discord_post.md ' ] && [ \"$(ls \"$FORGE_ARTIFACTS\")\" = more.txt ]";
    let workspace = Workspace::with(&[("a.sh", script)])
        .file("objectives/task.yaml", objective)
        .file("objectives/data/in.txt", "input")
        .file("objectives/checks/expected.txt", "expected")
        .file("objectives/checks/look.sh", look);
    workspace.forge(["task"]).expect(0);
    let scorer = &workspace.trials()["task/a/1"]["scorers"][0];
    assert_eq!(scorer["points"], 100.0, "{scorer}");
}

#[test]
fn a_failed_gate_disqualifies_and_says_which() {
    let workspace = Workspace::with(&[
        ("good.sh", HELLO),
        ("short.sh", "#!/bin/sh\necho hello > \"$2\"\n"),
        (
            "wrong.sh",
            "#!/bin/sh\necho 'something else altogether' > \"$2\"\n",
        ),
    ])
    .file(
        "objectives/task.yaml",
        "prompt: x\ngates:\n  - contains: hello\n",
    );
    let ended = workspace.forge(["task"]).expect(0);
    let trials = workspace.trials();
    assert_eq!(trials["task/short/1"]["score"], 0.0);
    assert!(
        trials["task/short/1"]["disqualified"]
            .as_str()
            .unwrap()
            .starts_with("min_bytes")
    );
    assert!(
        trials["task/wrong/1"]["disqualified"]
            .as_str()
            .unwrap()
            .starts_with("contains")
    );
    assert!(ended.stdout.contains("Winner: good"), "{}", ended.stdout);
}

#[test]
fn equal_candidates_are_said_to_tie() {
    let objective = "prompt: x\nscoring:\n  weights: {speed: 0}\n";
    let workspace = Workspace::with(&[("a.sh", HELLO), ("b.sh", HELLO)])
        .file("objectives/task.yaml", objective);
    let ended = workspace.forge(["task"]).expect(0);
    assert!(ended.stdout.contains("tie"), "{}", ended.stdout);
    let winner = &workspace.run_json()["standings"]["winner"];
    assert_eq!(winner["tied_with"][0], "b", "{winner}");
    let listed = workspace.forge(["list"]).expect(0);
    assert!(listed.stdout.contains("tie of a, b"), "{}", listed.stdout);
}

#[test]
fn metrics_become_columns() {
    let script = "#!/bin/sh\necho \"hello from the script\" > \"$2\"\n\
                  echo '{\"tokens\": 1234, \"cost_usd\": 0.02, \"note\": \"text\"}' > \"$FORGE_ARTIFACTS/metrics.json\"\n";
    let workspace = Workspace::with(&[("a.sh", script)]);
    workspace.forge(["task"]).expect(0);
    assert_eq!(workspace.trials()["task/a/1"]["metrics"]["tokens"], 1234.0);
    let csv = std::fs::read_to_string(workspace.run_folder().join("trials.csv")).unwrap();
    assert!(csv.lines().next().unwrap().contains("tokens"), "{csv}");
}

#[test]
fn saved_artifacts_are_scored_again_by_a_changed_objective() {
    let workspace = Workspace::with(&[("a.sh", HELLO)]).file(
        "objectives/task.yaml",
        "prompt: x\nscoring:\n  quality:\n    - contains: hello\n",
    );
    workspace.forge(["task"]).expect(0);
    assert_eq!(workspace.trials()["task/a/1"]["quality"], 100.0);
    let changed = workspace.file(
        "objectives/task.yaml",
        "prompt: x\nscoring:\n  quality:\n    - contains: [hello, goodbye]\n    - {command: [sh, -c, 'grep -q hello discord_post.md']}\n",
    );
    changed.forge(["score", "latest"]).expect(0);
    assert_eq!(changed.trials()["task/a/1"]["quality"], 75.0);
    // The journal has both, and its replay gives the newer.
    let before = std::fs::read(changed.run_folder().join("run.json")).unwrap();
    changed.forge(["report", "latest"]).expect(0);
    assert_eq!(
        std::fs::read(changed.run_folder().join("run.json")).unwrap(),
        before
    );
}

#[test]
fn scoring_again_looks_where_the_project_says() {
    let workspace = Workspace::with(&[("a.sh", HELLO)])
        .file("forge.yaml", "objectives: goals\nartifacts: results\n")
        .file("goals/other.yaml", "prompt: x\n");
    workspace.forge(["other"]).expect(0);
    workspace.forge(["score", "latest"]).expect(0);
    let broken = workspace.file("forge.yaml", "objectives: [goals\n");
    for command in ["score", "report"] {
        let ended = broken.forge([command, "latest"]).expect(2);
        assert!(ended.stderr.contains("forge.yaml"), "{}", ended.stderr);
    }
}

#[test]
fn what_is_gone_keeps_its_score_and_is_said() {
    let workspace = Workspace::with(&[("a.sh", HELLO), ("b.sh", HELLO)]);
    workspace.forge(["task", "--fail-under", "99.9"]);
    let before = workspace.trials()["task/a/1"]["score"].clone();
    std::fs::remove_file(workspace.run_folder().join("task/a/1/discord_post.md")).unwrap();
    let scored = workspace.forge(["score", "latest"]);
    assert!(
        scored.stderr.contains("task/a/1 keeps its old score"),
        "{}",
        scored.stderr
    );
    assert_eq!(workspace.trials()["task/a/1"]["score"], before);
    let run_json = std::fs::read(workspace.run_folder().join("run.json")).unwrap();
    assert_eq!(workspace.forge(["report", "latest"]).code, scored.code);
    assert_eq!(
        std::fs::read(workspace.run_folder().join("run.json")).unwrap(),
        run_json
    );
}

#[test]
fn a_replay_knows_what_was_demanded() {
    let workspace = Workspace::with(&[("a.sh", HELLO), ("bad.sh", "exit 1\n")]);
    workspace.forge(["task", "--require", "bad"]).expect(1);
    let before = std::fs::read(workspace.run_folder().join("run.json")).unwrap();
    workspace.forge(["report", "latest"]).expect(1);
    assert_eq!(
        std::fs::read(workspace.run_folder().join("run.json")).unwrap(),
        before
    );
}
