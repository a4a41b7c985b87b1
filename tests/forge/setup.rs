//! The setup phase: it sees the candidate's own files, and nothing that it leaves is an answer.

use serde_json::Value;

use crate::support::workspace::Workspace;

const OBJECTIVE: &str = "prompt: a secret task\ninputs: [in.txt]\nartifacts: ['*.txt']\n";

fn workspace(script: &str, setup: &str) -> Workspace {
    let lines = serde_json::to_string(&[setup]).unwrap();
    Workspace::with(&[("a.sh", script)])
        .file("objectives/task.yaml", OBJECTIVE)
        .file("objectives/in.txt", "an input")
        .file("candidates/a.yaml", format!("setup: {lines}\n"))
}

fn warnings(trial: &Value) -> Vec<&str> {
    let all = trial["warnings"].as_array().unwrap().iter();
    all.map(|it| it.as_str().unwrap()).collect()
}

#[test]
fn a_setup_sees_no_prompt_no_inputs_and_no_place_for_an_output() {
    let looks = "env; ls -A . ..; find / -name in.txt -path '*inputs*' 2>/dev/null; find .. -name 'prompt*' 2>/dev/null; true";
    let script =
        "#!/bin/sh\ncat inputs/in.txt \"$FORGE_PROMPT_FILE\" > \"$2\"; echo \"$1\" >> \"$2\"\n";
    let workspace = workspace(script, looks);
    workspace.forge(["task"]).expect(0);
    let log = String::from_utf8(workspace.trial_file("a", "setup.log")).unwrap();
    for hidden in [
        "secret task",
        "in.txt",
        "inputs",
        "FORGE_OUTPUT",
        "FORGE_ARTIFACTS",
        "FORGE_OBJECTIVE",
        "FORGE_PROMPT",
        "FORGE_INPUTS",
        "FORGE_TRIAL",
    ] {
        assert!(!log.contains(hidden), "{hidden} in:\n{log}");
    }
    assert!(log.contains("FORGE_CANDIDATE=a"), "{log}");
    let written = String::from_utf8(workspace.trial_file("a", "discord_post.md")).unwrap();
    assert_eq!(written, "an inputa secret taska secret task\n");
    assert_eq!(
        workspace.trials()["task/a/1"]["warnings"],
        serde_json::json!([])
    );
    workspace.assert_nothing_left();
}

#[test]
fn what_a_setup_leaves_in_the_place_of_the_output_is_removed_and_said() {
    let cheats = "echo 'an answer from the setup' > a_output.md; chmod 400 a_output.md; mkdir -p inputs; \
                  ln -s /etc inputs/in.txt; echo x > ../artifacts/early.txt; mkdir ../artifacts/d.txt; chmod 500 ../artifacts .";
    let workspace = workspace("#!/bin/sh\ncat inputs/in.txt\n", cheats);
    workspace.forge(["task"]).expect(1);
    let trials = workspace.trials();
    let trial = &trials["task/a/1"];
    assert_eq!(trial["artifact"], Value::Null);
    assert_eq!(trial["files"], serde_json::json!([]));
    assert_eq!(trial["score"], 0.0);
    assert_eq!(workspace.trial_file("a", "stdout.log"), b"an input");
    let said = warnings(trial);
    assert_eq!(
        said,
        [
            "the setup made an output before the run, and that was removed",
            "the setup made files in FORGE_ARTIFACTS before the run, and those were removed"
        ]
    );
    let report = std::fs::read_to_string(workspace.run_folder().join("report.md")).unwrap();
    assert!(
        report.contains("the setup made an output before the run"),
        "{report}"
    );
    workspace.assert_nothing_left();
}

#[test]
fn a_setup_that_removes_its_own_folders_is_no_loss_and_a_failed_one_is_shown_as_written() {
    for isolation in ["process", "best"] {
        let workspace = workspace("#!/bin/sh\ntrue\n", "rm -rf ../work ../artifacts; true");
        let arguments = ["task", "--isolation", isolation];
        let arguments = &arguments[..if isolation == "best" { 1 } else { 3 }];
        workspace.forge(arguments).expect(1);
        let trial = workspace.trials()["task/a/1"].clone();
        assert_eq!(trial["score"], 0.0, "{trial}");
        assert_eq!(trial["attempts"], 1, "{trial}");
        workspace.assert_nothing_left();
    }
    let workspace = workspace("#!/bin/sh\ntrue\n", "cat no/such");
    workspace.forge(["task"]).expect(1);
    let trial = workspace.trials()["task/a/1"].clone();
    let said = trial["error_message"].as_str().unwrap();
    let begin = "setup failed: `cat no/such` exited with code 1: ";
    assert!(said.starts_with(begin), "{said}");
}

#[test]
fn what_a_setup_leaves_in_place_of_the_artifacts_is_removed_and_said() {
    let planted =
        "mkdir q; echo x > q/early.txt; rm -rf ../artifacts; ln -s \"$PWD/q\" ../artifacts; true";
    let workspace = workspace("#!/bin/sh\ntrue\n", planted);
    workspace
        .forge(["task", "--isolation", "process"])
        .expect(1);
    let trials = workspace.trials();
    let trial = &trials["task/a/1"];
    assert_eq!(trial["files"], serde_json::json!([]));
    assert_eq!(
        warnings(trial),
        ["the setup made files in FORGE_ARTIFACTS before the run, and those were removed"]
    );
}

#[test]
fn what_a_setup_left_running_does_not_answer() {
    let waits = "(setsid sh -c 'while :; do echo an answer from behind > a_output.md; sleep 0.01; done' >/dev/null 2>&1 &); sleep 0.3";
    let workspace = workspace("#!/bin/sh\nsleep 0.5\n", waits);
    workspace.forge(["task"]).expect(1);
    assert_eq!(workspace.trials()["task/a/1"]["artifact"], Value::Null);
    workspace.assert_nothing_left();
}

#[test]
fn an_output_among_the_candidates_own_files_is_left_out_and_said() {
    let workspace = Workspace::new()
        .file("objectives/task.yaml", "prompt: x\n")
        .candidate("a/main.sh", "#!/bin/sh\nls\n")
        .file(
            "candidates/a/a_output.md",
            "an answer that was always there",
        );
    workspace.forge(["task"]).expect(1);
    let trials = workspace.trials();
    assert_eq!(trials["task/a/1"]["artifact"], Value::Null);
    assert_eq!(
        warnings(&trials["task/a/1"]),
        ["a file of the candidate's own has the name of the output, and was left out"]
    );
}
