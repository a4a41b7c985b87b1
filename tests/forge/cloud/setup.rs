//! The setup phase in the cloud: as on this machine, it sees its own files, and leaves no answer.

use serde_json::Value;

use super::Cloud;
use crate::support::fake_daytona::Options;
use crate::support::workspace::Workspace;

/// A project whose candidate has this setup.
fn cloud(script: &str, setup: &str) -> Cloud {
    let lines = serde_json::to_string(&[setup]).unwrap();
    let workspace = Workspace::with(&[("a.sh", script)])
        .file("candidates/a.yaml", format!("setup: {lines}\n"))
        .file(
            "objectives/task.yaml",
            "prompt: a secret task\ninputs: [in.txt]\n",
        )
        .file("objectives/in.txt", "an input");
    let options = Options {
        warm: true,
        ..Options::default()
    };
    Cloud::new(options, workspace)
}

#[test]
fn a_setup_sees_nothing_of_the_task_and_leaves_no_answer_there_either() {
    let setup = "env; find . ; echo 'an answer from the setup' > a_output.md; \
                 (setsid sh -c 'while :; do echo an answer from behind > a_output.md; sleep 0.05; done' >/dev/null 2>&1 &); sleep 0.3";
    let cloud = cloud(
        "#!/bin/sh\ncat inputs/in.txt \"$FORGE_PROMPT_FILE\"\nsleep 1\n",
        setup,
    );
    cloud.forge(["--daytona", "task"]).expect(1);
    let trial = cloud.trial("a");
    assert_eq!(trial["artifact"], Value::Null);
    assert_eq!(
        trial["warnings"],
        serde_json::json!(["the setup made an output before the run, and that was removed"])
    );
    let file = |name| String::from_utf8(cloud.workspace.trial_file("a", name)).unwrap();
    assert_eq!(file("stdout.log"), "an inputa secret task");
    let log = file("setup.log");
    for hidden in [
        "secret task",
        "inputs",
        "FORGE_OUTPUT",
        "FORGE_OBJECTIVE",
        "FORGE_PROMPT",
        "prompt.txt",
    ] {
        assert!(!log.contains(hidden), "{hidden} in:\n{log}");
    }
    cloud.assert_none_alive();
}
