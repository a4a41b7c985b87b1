//! What is refused before anything starts, each with exit code 2 and a remedy.

use super::{Boxes, WRITES};
use crate::support::workspace::{Ended, Workspace, finish};

#[track_caller]
fn assert_told(ended: Ended, told: &[&str]) {
    let ended = ended.expect(2);
    for told in told {
        assert!(ended.stderr.contains(told), "{told}: {}", ended.stderr);
    }
}

#[track_caller]
fn assert_nothing_was_run(workspace: &Workspace) {
    assert!(!workspace.path("artifacts").exists());
}

#[test]
fn no_engine_is_told_and_nothing_runs_here_instead() {
    let workspace = Workspace::with(&[("a.sh", WRITES)]);
    for (host, told) in [
        (
            "unix:///nowhere/engine.sock",
            ["cannot be reached", "hint: start it, or say where"],
        ),
        ("ssh://me@there", ["reached by `ssh`", "ssh -N -L"]),
        ("nonsense", ["is no address", "unix:///var/run/docker.sock"]),
    ] {
        let mut command = workspace.command(["--container", "task"]);
        command.env("DOCKER_HOST", host);
        let ended = finish(command.spawn().unwrap());
        assert!(!ended.stdout.contains("LOCAL"), "{}", ended.stdout);
        assert_told(ended, &told);
    }
    assert_nothing_was_run(&workspace);
}

#[test]
fn what_is_asked_for_of_two_places_is_refused() {
    for (settings, arguments, told) in [
        ("", &["--container", "--daytona"][..], "cannot be used with"),
        (
            "",
            &["--container", "--require-daytona"],
            "--container: Daytona is required",
        ),
        (
            "provider: container\nrequire: true\n",
            &[],
            "`require: true` allows nothing else",
        ),
        (
            "",
            &["--container", "--isolation", "process"],
            "--isolation: that is for local sandboxes",
        ),
        (
            "",
            &["--container", "--snapshot", "small"],
            "--snapshot: that is for Daytona",
        ),
        (
            "",
            &["--container", "--memory", "1KiB"],
            "hint: at least 16 MiB",
        ),
        (
            "",
            &["--container", "--image", "a b"],
            "--image: \"a b\" is not the name",
        ),
        (
            "container: {dockerfile: nowhere}\n",
            &["--container"],
            "nowhere: cannot read this file",
        ),
    ] {
        let workspace = Workspace::with(&[("a.sh", WRITES)]).file("forge.yaml", settings);
        let all = arguments.iter().copied().chain(["task"]);
        assert_told(workspace.forge(all), &[told]);
        assert_nothing_was_run(&workspace);
    }
}

/// What is typed or exported is above what is written.
#[test]
fn a_flag_is_above_the_settings() {
    let workspace =
        Workspace::with(&[("a.sh", WRITES)]).file("forge.yaml", "provider: container\n");
    assert_told(workspace.forge(["task"]), &["cannot be reached"]);
    let ended = workspace.forge(["--daytona", "task"]).expect(0);
    assert!(
        ended.stdout.contains("Execution: LOCAL"),
        "{}",
        ended.stdout
    );
    assert_told(
        workspace.forge(["--require-daytona", "task"]),
        &["Daytona is not configured"],
    );
}

#[test]
fn a_list_of_networks_is_refused_where_it_is_said() {
    let list = "10.0.0.0/8";
    let told = "containers know `open` and `block`, no lists of networks";
    let workspace = Workspace::with(&[("a.sh", WRITES)]);
    for command in ["run", "check"] {
        let ended = workspace.forge([command, "--container", "task", "--network", list]);
        assert_told(ended, &[&format!("--network: {told}")]);
    }
    let objective = format!("prompt: do it\nnetwork: [{list}]\n");
    let workspace = workspace.file("objectives/task.yaml", objective);
    let ended = workspace.forge(["--container", "task"]);
    assert_told(ended, &[&format!("task.yaml:2:10: network: {told}")]);
    let settings = format!("container: {{network: {{run: {list}}}}}\n");
    let workspace = workspace.file("forge.yaml", settings);
    let ended = workspace.forge(["task"]);
    assert_told(ended, &[&format!("container.network: {told}")]);
    assert_nothing_was_run(&workspace);
}

#[test]
fn an_image_that_is_not_there_and_not_to_be_pulled_is_refused() {
    let Some(boxes) = Boxes::of(WRITES) else {
        return;
    };
    let ended = boxes.forge(["--container", "task", "--image", "no-such-image"]);
    assert_told(
        ended,
        &[
            "the image `no-such-image` is not there",
            "hint: `docker pull no-such-image`",
        ],
    );
    assert_nothing_was_run(&boxes.workspace);
    let ended = boxes
        .forge(["check", "--container", "task", "--json"])
        .expect(0);
    let checked: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(checked["place"], "container");
}
