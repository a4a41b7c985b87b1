//! The candidates that come with forge: the same artifacts and scores on this machine, in the cloud and in
//! containers.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::cloud::Cloud;
use crate::support::engine::{PYTHON, engine_with_python};
use crate::support::fake_daytona::Options;
use crate::support::workspace::{Workspace, finish, read_json};

/// What is one trial's own, wherever it runs: times, and paths, which what a candidate says on its second stream
/// has in it.
const OWN: [&str; 7] = [
    "isolation",
    "runtime_seconds",
    "said",
    "sandbox_id",
    "stderr",
    "timings",
    "usage",
];

/// Candidates and objectives as they are in the repository, but that no trial is so slow that it costs points:
/// how fast this machine is just now is nobody's score.
fn shipped() -> Workspace {
    let workspace = Workspace::new();
    for folder in ["candidates", "objectives"] {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        copy(&from, &workspace.path(folder));
    }
    for objective in ["triage-logs", "weekly-ai-events"] {
        let path = workspace.path(&format!("objectives/{objective}.yaml"));
        let text = std::fs::read_to_string(&path).unwrap();
        let patient = text.replace(
            "{full_marks: 100ms, no_marks: 5s}",
            "{full_marks: 5m, no_marks: 10m}",
        );
        let patient = patient.replace("limits: {run: 30s}", "limits: {run: 5m}");
        assert_eq!(patient.matches("5m").count(), 2, "{patient}");
        std::fs::write(path, patient).unwrap();
    }
    let settings = format!("container: {{image: {PYTHON}, pull: never}}\n");
    workspace.file("forge.yaml", settings)
}

/// With what is below it, and who may execute it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// What the newest run's results files say of each trial, by `objective/candidate`, without [`OWN`].
fn results(workspace: &Workspace) -> BTreeMap<String, Value> {
    let folder = workspace.run_folder();
    let trials = workspace.trials();
    let trial = |name: &String| {
        let mut trial = read_json(&folder.join(name).join("trial.json"));
        let row = trial.as_object_mut().unwrap();
        for own in OWN {
            assert!(row.remove(own).is_some(), "{name}: no `{own}`");
        }
        (name.trim_end_matches("/1").to_owned(), trial)
    };
    trials.keys().map(trial).collect()
}

#[test]
fn the_shipped_candidates_do_the_same_on_every_provider() {
    let Some(engine) = engine_with_python() else {
        return;
    };
    let options = Options {
        warm: true,
        ..Options::default()
    };
    let cloud = Cloud::new(options, shipped());
    let run = |mode: &[&str], name: &str| {
        let mut command = cloud.command(mode.iter().copied());
        let host = format!("unix://{}", engine.socket().display());
        command.env("DOCKER_HOST", host).args(["--seed", "7"]);
        finish(command.spawn().unwrap()).expect(0);
        let plan = &cloud.workspace.run_json()["plan"];
        assert_eq!(plan["mode"], name);
        results(&cloud.workspace)
    };
    let here = run(&["--isolation", "process"], "local");
    let there = run(&["--daytona"], "daytona");
    let boxed = run(&["--container"], "container");

    // So much is compared: who wins, who fails and why, and whose files came home.
    assert_eq!(here.len(), 10);
    let total = |name: &str| here[name]["scores"]["total"].as_f64().unwrap();
    assert!(total("triage-logs/gamma") > total("triage-logs/alpha"));
    assert_eq!(here["triage-logs/delta"]["exit_code"], 1);
    let gate = &here["weekly-ai-events/epsilon"]["scores"]["disqualified"];
    assert!(gate.is_string(), "{gate}");
    let beta = &here["weekly-ai-events/beta"];
    let sum = beta["artifact"]["sha256"].as_str().unwrap();
    assert_eq!(sum.len(), 64);
    assert_eq!(beta["files"].as_array().unwrap().len(), 2);

    for (name, trial) in &here {
        assert_eq!(*trial, there[name], "{name}, here and in the cloud");
        assert_eq!(*trial, boxed[name], "{name}, here and in a container");
    }
    cloud.assert_none_alive();
}
