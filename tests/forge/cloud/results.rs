//! What comes home from the cloud is what comes home from this machine, in as many calls as it takes.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Cloud, WRITES};
use crate::support::fake_daytona::{Options, Route};
use crate::support::workspace::Workspace;

/// Quotes, line ends, what a shell would expand, blanks at both ends, and more than ASCII.
const PROMPT: &str =
    " it's \"quoted\" $HOME `id` $(id) \\n \\ %s\n\n\ttab; & | < > * ?\r\n🦀 äöü \u{200b}end ";

const ECHO: &str = r#"#!/usr/bin/env python3
import os, sys
with open(sys.argv[2], "wb") as file:
    file.write(os.fsencode(sys.argv[1]))
with open(os.environ["FORGE_PROMPT_FILE"], "rb") as file:
    same = file.read() == os.fsencode(sys.argv[1])
print("stdin:", repr(sys.stdin.read()), "file:", same, "args:", len(sys.argv))
print("to stderr", file=sys.stderr)
sys.stdout.buffer.write(b"\xff\xfe raw\n")
"#;

/// Perl adds no variables of its own, and is seldom a wrapper that does.
const VARIABLES: &str = r#"#!/usr/bin/env perl
open(my $file, ">:raw", $ARGV[1]) or die;
print $file "$_=$ENV{$_}\0" for sort keys %ENV;
"#;

/// 5 MiB of everything.
const LARGE: &str = r#"#!/usr/bin/env python3
import hashlib, os, sys
data = b"".join(hashlib.sha256(b"%d" % i).digest() for i in range(163840))
open(sys.argv[2], "wb").write(data)
os.makedirs(os.environ["FORGE_ARTIFACTS"] + "/deep/er")
open(os.environ["FORGE_ARTIFACTS"] + "/deep/er/ünd so.bin", "wb").write(data[::-1])
os.symlink("/etc/passwd", os.environ["FORGE_ARTIFACTS"] + "/deep/link.bin")
open(os.environ["FORGE_ARTIFACTS"] + "/metrics.json", "w").write('{"tokens": 12}')
"#;

fn files(folder: &std::path::Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let name = path
                .strip_prefix(folder)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(name, std::fs::read(path).unwrap());
            }
        }
    }
    found
}

#[test]
fn the_same_candidates_leave_the_same_on_this_machine_and_in_the_cloud() {
    let quoted = serde_json::to_string(PROMPT).unwrap();
    let objective = format!(
        "prompt: {quoted}\ninputs: [in.txt]\nartifacts: [\"deep/**\"]\noutput: answer.bin\n"
    );
    let workspace = Workspace::new()
        .file("objectives/task.yaml", objective)
        .file("objectives/in.txt", "input\n")
        .candidate("echo.py", ECHO)
        .candidate("variables.pl", VARIABLES)
        .candidate("large.py", LARGE)
        .candidate("fails.sh", "#!/bin/sh\ncat inputs/in.txt; kill -9 $$\n");
    let cloud = Cloud::new(
        Options {
            warm: true,
            ..Options::default()
        },
        workspace,
    );
    let declared = "ODD=a 'b' \"c\"\n$HOME 🦀\\";
    let run = |mode: &[&str]| {
        let arguments = mode.iter().copied();
        let arguments = arguments.chain(["task", "--seed", "7", "--env", declared]);
        cloud.forge(arguments).expect(0);
        let folder = cloud.workspace.run_folder().join("task");
        ["echo", "variables", "large", "fails"].map(|name| files(&folder.join(name).join("1")))
    };
    let mut here = run(&[]);
    let mut there = run(&["--daytona"]);
    assert_eq!(cloud.fake.rows().len(), 4);
    assert_eq!(here[0]["answer.bin"], PROMPT.as_bytes());
    // Paths differ.
    let env = |files: &mut BTreeMap<String, Vec<u8>>| -> BTreeMap<String, String> {
        let text = String::from_utf8(files.remove("answer.bin").unwrap()).unwrap();
        let pairs = text
            .split_terminator('\0')
            .map(|pair| pair.split_once('=').unwrap());
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    };
    let (mine, theirs) = (env(&mut here[1]), env(&mut there[1]));
    let names: Vec<&str> = theirs.keys().map(String::as_str).collect();
    let expected = [
        "FORGE_ARTIFACTS",
        "FORGE_CANDIDATE",
        "FORGE_INPUTS",
        "FORGE_OBJECTIVE",
        "FORGE_OUTPUT",
        "FORGE_PROMPT",
        "FORGE_PROMPT_FILE",
        "FORGE_RUN",
        "FORGE_SEED",
        "FORGE_TRIAL",
        "HOME",
        "LANG",
        "ODD",
        "PATH",
        "TMPDIR",
    ];
    assert_eq!(names, expected);
    for name in [
        "FORGE_CANDIDATE",
        "FORGE_OBJECTIVE",
        "FORGE_PROMPT",
        "FORGE_SEED",
        "FORGE_TRIAL",
        "LANG",
        "ODD",
    ] {
        assert_eq!(mine[name], theirs[name], "{name}");
    }
    assert_eq!(theirs["FORGE_OBJECTIVE"], "task");
    assert_eq!(theirs["FORGE_PROMPT"], PROMPT);
    assert_eq!(theirs["ODD"], declared.strip_prefix("ODD=").unwrap());
    for (mine, theirs) in here.iter_mut().zip(&mut there) {
        let shared = |files: &mut BTreeMap<String, Vec<u8>>| -> Value {
            let trial = files.remove("trial.json").unwrap();
            let mut trial: Value = serde_json::from_slice(&trial).unwrap();
            let row = trial.as_object_mut().unwrap();
            for own in [
                "sandbox_id",
                "runtime_seconds",
                "timings",
                "scores",
                "usage",
                "isolation",
            ] {
                row.remove(own);
            }
            if row["candidate_id"] == "variables" {
                row.remove("artifact");
                row.remove("artifact_content");
                row.remove("gates");
            }
            trial
        };
        assert_eq!(shared(mine), shared(theirs));
        let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(mine), names(theirs));
        for (name, bytes) in mine {
            assert!(*bytes == theirs[name], "{name} differs");
        }
    }
    assert_eq!(there[2]["answer.bin"].len(), 5 << 20);
    cloud.assert_none_alive();
}

/// Counts by the server: calls for a run as a whole, and the most for one trial.
fn cost(options: Options, trials: usize) -> (usize, usize) {
    let cloud = Cloud::new(options, Workspace::with(&[("a.sh", WRITES)]));
    let repeats = format!("-k{trials}");
    cloud
        .forge(["--daytona", "task", &repeats, "-j4"])
        .expect(0);
    cloud.assert_none_alive();
    let rows = cloud.fake.rows();
    assert_eq!(rows.len(), trials);
    let of_trials = rows.iter().map(|row| cloud.fake.requests_for(&row.id));
    // Its create has no id yet.
    let most = of_trials.clone().max().unwrap() + 1;
    let creates = cloud.fake.requests_to(Route::Create);
    (
        cloud.fake.requests() - creates - of_trials.sum::<usize>(),
        most,
    )
}

#[test]
fn a_trial_costs_six_calls_warm_and_seven_cold() {
    let warm = Options {
        warm: true,
        ..Options::default()
    };
    let cold = Options {
        start: std::time::Duration::from_millis(300),
        ..Options::default()
    };
    // The last of each sees the sandbox destroyed.
    for (options, calls) in [(warm, 6), (cold, 7)] {
        let (of_the_run, of_a_trial) = cost(options, 8);
        assert_eq!(of_a_trial, calls);
        assert!(of_the_run <= 3, "{of_the_run} calls besides the trials'");
    }
}

#[test]
fn graders_run_in_sandboxes_of_their_own_there_too() {
    let graded =
        "prompt: do it\nscoring:\n  quality:\n    - {command: [sh, grade.sh], files: [want.txt]}\n";
    let grade = "cmp \"$FORGE_OUTPUT\" want.txt && echo '{\"score\": 64, \"explanation\": \"as wanted\"}'\n";
    let workspace = Workspace::with(&[("a.sh", WRITES)])
        .file("objectives/task.yaml", graded)
        .file("objectives/grade.sh", grade)
        .file("objectives/want.txt", "hello from the cloud\n");
    let options = Options {
        warm: true,
        ..Options::default()
    };
    let cloud = Cloud::new(options, workspace);
    cloud.forge(["--daytona", "task"]).expect(0);
    let trial = cloud.trial("a");
    assert_eq!(trial["scores"]["quality"], 64.0, "{trial:#}");
    let rows = cloud.fake.rows();
    assert_eq!(rows.len(), 2);
    assert!(rows[1].labels.contains_key("forge.grader"), "{rows:#?}");
    cloud.assert_none_alive();
}

#[test]
fn the_python_of_a_cloud_sandbox_is_asked_whether_it_will_do() {
    let script = "import sys\nopen(sys.argv[2], 'w').write('long enough to be an artifact')\n";
    let block =
        |range: &str| format!("# /// script\n# requires-python = '{range}'\n# ///\n{script}");
    let workspace = Workspace::with(&[("good.py", &block(">=3.1")), ("bad.py", &block(">=3.99"))])
        .file("candidates/.python-version", "3.98.1\n");
    let options = Options {
        warm: true,
        ..Options::default()
    };
    let cloud = Cloud::new(options, workspace);
    cloud.forge(["--daytona", "task"]).expect(0);
    cloud.assert_none_alive();
    let bad = cloud.trial("bad");
    assert_eq!(bad["error_kind"], "setup", "{bad}");
    let message = bad["error_message"].as_str().unwrap();
    assert!(
        message.contains("its block asks for Python >=3.99"),
        "{message}"
    );
    let good = cloud.trial("good");
    assert_eq!(good["success"], true, "{good}");
    let note = good["warnings"][0].as_str().unwrap();
    assert!(note.contains("`.python-version` says 3.98.1"), "{note}");
}
