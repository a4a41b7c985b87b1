//! Python environments that are made once, as layers, by the whole program.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Boxes, signal};
use crate::support::counting::Counting;
use crate::support::engine::{PYTHON, engine_with_python};
use crate::support::workspace::{finish, pause};

/// Writes where its environment is, and of which Python.
const MAIN: &str = "import sys\nprint(sys.prefix, '%d.%d' % sys.version_info[:2], 'is it', file=open(sys.argv[2], 'w'))\n";

/// An image whose own Python is called `real`, after which come these lines.
fn image(lines: &str) -> String {
    format!("FROM localhost/{PYTHON}\nRUN mv /bin/python3 /bin/real\n{lines}\n")
}

/// The same, where `python3` does this before it is the real one.
fn image_where_python3(does: &str) -> String {
    let script = format!("#!/bin/sh\\n{does}\\nexec real \"$@\"\\n");
    image(&format!(
        "RUN printf '{script}' >/bin/python3 && chmod 755 /bin/python3"
    ))
}

/// One candidate that needs a package, which is in every environment; `None`, loudly, without an engine.
fn boxes(dockerfile: &str) -> Option<Boxes> {
    engine_with_python()?;
    let Boxes { engine, workspace } = Boxes::with(&[])?;
    let workspace = workspace
        .file("candidates/a/main.py", MAIN)
        .file("candidates/a/requirements.txt", "pip\n")
        .file("candidates/a/Dockerfile", dockerfile);
    Some(Boxes { engine, workspace })
}

/// Where the environment of a candidate was, and of which Python.
fn made(boxes: &Boxes, candidate: &str) -> (String, String) {
    let artifact = boxes.workspace.trial_file(candidate, "discord_post.md");
    let artifact = String::from_utf8(artifact).unwrap();
    let mut words = artifact.split(' ').map(str::to_owned);
    (words.next().unwrap(), words.next().unwrap())
}

/// An installer may need what only the trial is told; and one that fails is not tried for every trial.
#[test]
fn what_only_works_with_the_trials_own_variables_is_made_inside() {
    let dockerfile = image_where_python3("[ -n \"$ALLOWED\" ] || exit 9");
    let Some(boxes) = boxes(&dockerfile) else {
        return;
    };
    let proxy = Counting::before(&boxes.engine.socket());
    let mut command = boxes.command(["--container", "task", "-k4", "-j2", "--env", "ALLOWED=yes"]);
    let host = format!("unix://{}", proxy.socket().display());
    finish(command.env("DOCKER_HOST", host).spawn().unwrap()).expect(0);
    assert_eq!(made(&boxes, "a").0, "/home/forge/forge/venv");
    let calls = proxy.calls();
    let creates = calls.iter().filter(|it| it.ends_with("/containers/create"));
    assert_eq!(creates.count(), 4 + 1, "{calls:?}");
    assert_eq!(boxes.alive(&boxes.run()), [""; 0]);
}

/// What was looked for and found good is what the layer is made with.
#[test]
fn a_layer_is_made_with_the_python_that_the_trial_would_take() {
    let Some(boxes) = boxes(&image("RUN ln -s real /bin/python")) else {
        return;
    };
    // There is none of the usual name.
    let wants = "[project]\nname = \"a\"\nversion = \"1\"\nrequires-python = \">=3.8\"\n";
    let workspace = boxes.workspace.file("candidates/a/pyproject.toml", wants);
    let boxes = Boxes { workspace, ..boxes };
    boxes.forge(["--container", "task"]).expect(0);
    let (place, version) = made(&boxes, "a");
    assert_eq!(place, "/home/forge-python");

    // What would be deleted is told to programs, and stays.
    for _ in 0..2 {
        let found = ["sweep", "--layers", "--dry-run", "--json"];
        let found = boxes.forge(found).expect(0).stdout;
        let found: Value = serde_json::from_str(&found).unwrap();
        let layers = found["layers"].as_array().unwrap();
        let python = layers.iter().find(|it| it["what"] == "python").unwrap();
        assert_eq!(python["would"], "delete", "{found}");
        assert!(python["bytes"].as_u64().unwrap() > 0, "{found}");
    }

    // The one of the usual name does not work, and is not what is asked for.
    let pinned = image(&format!(
        "RUN ln -sf /bin/real /bin/python{version} && ln -s false /bin/python3"
    ));
    let workspace = boxes
        .workspace
        .file("candidates/b/main.py", MAIN)
        .file("candidates/b/requirements.txt", "pip\n")
        .file("candidates/b/Dockerfile", pinned)
        .file("candidates/b/.python-version", format!("{version}\n"));
    let boxes = Boxes { workspace, ..boxes };
    boxes.forge(["--container", "task"]).expect(0);
    assert_eq!(made(&boxes, "b"), (place, version));
}

/// Nothing of the trials' own names is there yet, and nobody waits for it.
#[test]
fn an_interrupt_while_a_layer_is_made_leaves_nothing() {
    let Some(boxes) = boxes(&image_where_python3("sleep 300")) else {
        return;
    };
    let child = boxes.start(["--container", "task", "-k3", "-j3"]);
    let until = Instant::now() + Duration::from_secs(120);
    let run = loop {
        let runs = std::fs::read_dir(boxes.workspace.path("artifacts"));
        let runs = runs.into_iter().flatten().flatten();
        let mut runs = runs.map(|it| it.file_name().to_string_lossy().into_owned());
        let has_some = |run: &String| boxes.alive(run).iter().any(|it| it.ends_with("-layer"));
        if let Some(run) = runs.find(has_some) {
            break run;
        }
        assert!(Instant::now() < until, "no layer is made");
        pause();
    };
    signal(&child, "INT");
    let ended = finish(child).expect(130);
    assert!(!ended.stdout.contains("not confirmed"), "{ended:?}");
    assert_eq!(boxes.alive(&run), [""; 0]);
}
