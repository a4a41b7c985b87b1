//! The schemas that `forge schema` prints say what the program reads and writes.

use forge::schema::Kind;
use serde_json::Value;

use crate::support::schemas;
use crate::support::workspace::Workspace;

#[track_caller]
fn validates(kind: Kind, text: &str, what: &str) {
    let schema: Value = serde_json::from_str(kind.text()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let value: Value = serde_yaml::from_str(text).unwrap();
    let told: Vec<String> = validator
        .iter_errors(&value)
        .map(|it| format!("{} {it}", it.instance_path()))
        .collect();
    assert!(told.is_empty(), "{what}: {told:#?}");
}

#[test]
fn every_schema_is_one_and_is_printed_as_it_is() {
    let workspace = Workspace::new();
    for kind in Kind::ALL {
        let printed = workspace.forge(["schema", kind.name()]).expect(0).stdout;
        assert_eq!(printed, kind.text());
        let schema: Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(
            schema["$schema"],
            "https://json-schema.org/draft/2020-12/schema"
        );
        assert!(jsonschema::meta::is_valid(&schema), "{}", kind.name());
    }
    workspace.forge(["schema", "nothing"]).expect(2);
}

#[test]
fn shipped_and_generated_files_are_as_their_schemas_say() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = Workspace::new();
    workspace.forge(["init", "demo"]).expect(0);
    let words = ["new", "candidate", "fast", "--lang", "sh"];
    workspace.forge(words).expect(0);
    workspace.forge(["new", "objective", "post"]).expect(0);
    let mut count = 0;
    for (folder, kind) in [
        (root.join("objectives"), Kind::Objective),
        (root.join("candidates"), Kind::Candidate),
        (workspace.path("demo/objectives"), Kind::Objective),
        (workspace.path("demo/candidates"), Kind::Candidate),
        (workspace.path("demo"), Kind::Forge),
        (workspace.path("candidates"), Kind::Candidate),
        (workspace.path("objectives"), Kind::Objective),
    ] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let mut path = entry.unwrap().path();
            if path.is_dir() {
                path = path.join("candidate.yaml");
            }
            if path.extension().is_some_and(|it| it == "yaml") && path.is_file() {
                let text = std::fs::read_to_string(&path).unwrap();
                validates(kind, &text, &path.display().to_string());
                count += 1;
            }
        }
    }
    assert!(count >= 13, "{count}");
}

#[test]
fn what_a_run_leaves_is_as_its_schemas_say_however_trials_end() {
    let workspace = Workspace::new()
        .file(
            "objectives/task.yaml",
            "title: T\nprompt: do it\noutput: out.md\nartifacts: ['*']\nlimits: {run: 2s, output: 1KiB}\ngates: [contains: hello]\n\
             scoring: {quality: [{length: words, at_least: 2}, {command: [sh, judge.sh]}], speed: {full_marks: 0s, no_marks: 9s}}\n",
        )
        .file("objectives/judge.sh", "grep -q good out.md && echo '{\"score\": 9}' || { echo broken >&2; exit 7; }\n")
        .candidate(
            "good.sh",
            "#!/bin/sh\necho hello good \"$SECRET_WORD\" >\"$2\"\necho '{\"tokens\": 3}' >\"$FORGE_ARTIFACTS/metrics.json\"\necho x >\"$FORGE_ARTIFACTS/x\"\nln -s x \"$FORGE_ARTIFACTS/y\"\n",
        )
        .file("candidates/good.yaml", "description: good\npass_env: [SECRET_WORD]\n")
        .candidate("odd.sh", "#!/bin/sh\necho hello odd >\"$2\"\n")
        .candidate("fails.sh", "#!/bin/sh\necho no >&2\nexit 3\n")
        .candidate("dies.sh", "#!/bin/sh\nkill -9 $$\n")
        .candidate("slow.sh", "#!/bin/sh\nyes | head -c 9000\nsleep 60\n")
        .candidate("setup.sh", "#!/bin/sh\n")
        .file("candidates/setup.yaml", "setup: ['exit 4']\n");
    let mut command = workspace.command(["--control", "good", "-k", "2", "--fail-under", "good=1"]);
    command.env("SECRET_WORD", "a-long-secret-word");
    crate::support::workspace::finish(command.spawn().unwrap());
    schemas::assert_folder(&workspace.run_folder());
    let mut command =
        workspace.command(["-c", "good", "-c", "odd", "-k", "2", "--baseline", "latest"]);
    command.env("SECRET_WORD", "a-long-secret-word");
    crate::support::workspace::finish(command.spawn().unwrap());
    schemas::assert_folder(&workspace.run_folder());
    workspace.forge([
        "-c",
        "slow",
        "-c",
        "good",
        "--deadline",
        "1s",
        "-j",
        "1",
        "-k",
        "3",
    ]);
    schemas::assert_folder(&workspace.run_folder());
    workspace.forge(["score", "latest"]);
    schemas::assert_folder(&workspace.run_folder());
}
