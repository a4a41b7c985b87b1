//! Hostile artifacts against built-in gates and scorers: limits are named, memory and time are bounded, and
//! signals are heard in the middle of it.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::workspace::{Workspace, finish, pause};

/// What forge and all that it starts may have at once, in bytes.
const MOST_MEMORY: u64 = 300 << 20;

/// Arrays in arrays, with a thousand short ones at the bottom.
const NESTED: &str = "#!/bin/sh\npython3 -c 'print(\"[\"*100 + \",\".join([\"[1,1,1,1]\"]*20000) + \"]\"*100)' > \"$2\"\n";
const SMALL: &str = "#!/bin/sh\necho '{\"a\": {\"b\": [1, 2, 3]}}' > \"$2\"\n";

fn workspace(candidates: &[(&str, &str)], objective: &str) -> Workspace {
    Workspace::with(candidates).file("objectives/task.yaml", objective)
}

fn scorers(workspace: &Workspace, candidate: &str) -> Vec<(Option<f64>, String)> {
    let trial = &workspace.trials()[&format!("task/{candidate}/1")];
    let all = trial["scorers"].as_array().unwrap().iter();
    all.map(|it| {
        let explanation = it["explanation"].as_str().unwrap().to_owned();
        (it["points"].as_f64(), explanation)
    })
    .collect()
}

fn tree(root: u32) -> BTreeSet<u32> {
    let mut all = BTreeSet::from([root]);
    let mut open = vec![root];
    while let Some(pid) = open.pop() {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter();
        for task in tasks.flatten().flatten() {
            let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            let children = text.split_whitespace().filter_map(|it| it.parse().ok());
            open.extend(children.filter(|child| all.insert(*child)));
        }
    }
    all
}

/// The memory of a process that is its own, in bytes: not what it has mapped from its program's file.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|it| it.strip_prefix("RssAnon:"));
    let kib = line.and_then(|it| it.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// The judging process of a forge, when there is one.
fn judge_of(forge: u32) -> Option<u32> {
    let is_judge = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.ends_with(b"\0__judge\0")
    };
    tree(forge).into_iter().find(is_judge)
}

#[test]
fn an_artifact_that_passes_a_limit_has_no_points_from_that_scorer_which_names_it() {
    let objective = "prompt: x\noutput: out.json\nscoring:\n  quality:\n    - {json_path: '$..*..*..*', at_least: 1}\n    \
                     - {length: bytes, at_least: 1}\n    - {json_path: '$', at_least: 1}\n";
    let values = "#!/bin/sh\npython3 -c 'print(\"[\" + \",\".join([\"{\\\"a\\\":1}\"]*900000) + \"]\")' > \"$2\"\n";
    let deep = "#!/bin/sh\nhead -c 20000000 /dev/zero | tr '\\0' '[' > \"$2\"\n";
    let candidates = [
        ("nested.sh", NESTED),
        ("values.sh", values),
        ("deep.sh", deep),
        ("small.sh", SMALL),
    ];
    let workspace = workspace(&candidates, objective);
    let child = workspace.command(["task", "-j4"]).spawn().unwrap();
    let pid = child.id();
    let watch = std::thread::spawn(move || {
        let mut most = 0;
        while std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|it| !it.is_empty()) {
            // The candidates and those who keep them have limits of their own.
            let forge_itself = [Some(pid), judge_of(pid)];
            most = most.max(forge_itself.into_iter().flatten().map(memory).sum());
            pause();
        }
        most
    });
    finish(child).expect(0);
    let most = watch.join().unwrap();
    assert!(most < MOST_MEMORY, "{} MiB", most >> 20);
    let limit = "the artifact passes a limit: judging it takes more than 192 MiB of memory";
    let nested = scorers(&workspace, "nested");
    assert_eq!(nested[0], (Some(0.0), limit.to_owned()));
    assert_eq!(
        (nested[1].0, nested[2].0),
        (Some(100.0), Some(100.0)),
        "{nested:?}"
    );
    let values = scorers(&workspace, "values");
    assert_eq!(values[0], (Some(0.0), limit.to_owned()));
    assert_eq!(values[1].0, Some(100.0));
    let deep = scorers(&workspace, "deep");
    assert_eq!(deep[0].0, Some(0.0));
    assert!(deep[0].1.contains("and the limit is 8 MiB"), "{deep:?}");
    let small: Vec<_> = scorers(&workspace, "small")
        .into_iter()
        .map(|it| it.0)
        .collect();
    assert_eq!(small[1..], [Some(100.0), Some(100.0)]);
    workspace.assert_nothing_left();
}

#[test]
fn an_artifact_that_is_too_much_for_a_schema_fails_it_as_a_gate() {
    // Each level is looked at twice: 2 to the power of the depth.
    let schema = r##"{"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [
        {"type": "array", "items": {"$ref": "#/$defs/a"}, "maxItems": 0},
        {"type": "array", "items": {"allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]}}]}}}"##;
    let deep = "#!/bin/sh\npython3 -c 'print(\"[\"*100 + \"1\" + \"]\"*100)' > \"$2\"\n";
    let flat = "#!/bin/sh\necho '[[], [[], []]]' > \"$2\"\n";
    let workspace = workspace(
        &[("deep.sh", deep), ("flat.sh", flat)],
        "prompt: x\ngates: [{json_schema: s.json}, {min_bytes: 12}, {contains: nowhere}]\n",
    )
    .file("objectives/s.json", schema);
    workspace.forge(["task"]).expect(1);
    let gates = |candidate: &str| -> Vec<(bool, String)> {
        let trial = &workspace.trials()[&format!("task/{candidate}/1")];
        let said = |it: &Value| it["explanation"].as_str().unwrap().to_owned();
        let gates = trial["gates"].as_array().unwrap().iter();
        gates
            .map(|it| (it["passed"].as_bool().unwrap(), said(it)))
            .collect()
    };
    let deep = gates("deep");
    let limit = "the artifact passes a limit: judging it takes more than ";
    let passed = deep.iter().filter(|it| !it.0 && it.1.starts_with(limit));
    assert_eq!(passed.count(), 1, "{deep:?}");
    // Those that come after it are checked all the same.
    assert!(
        deep.iter().any(|it| it.1 == "the artifact has 202 bytes"),
        "{deep:?}"
    );
    let flat = gates("flat");
    assert!(flat.contains(&(true, "valid".to_owned())), "{flat:?}");
    assert_eq!(flat.len(), deep.len());
}

/// Until the artifact is being judged.
fn wait_for_judge(forge: u32) -> u32 {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(judge) = judge_of(forge) {
            return judge;
        }
        assert!(Instant::now() < until, "nothing is judged");
        pause();
    }
}

/// Judging this takes hours: every node is looked at for every node for every node.
fn slow() -> Workspace {
    let wide =
        "#!/bin/sh\npython3 -c 'print(\"[\" + \",\".join([\"1\"]*20000) + \"]\")' > \"$2\"\n";
    let path = "$[?count($[?count($[?@ == 2]) == 2]) == 2]";
    let objective = format!(
        "prompt: x\nscoring: {{quality: [{{json_path: '{path}'}}, {{length: words, at_least: 1}}]}}\n"
    );
    workspace(&[("a.sh", wide)], &objective)
}

#[test]
fn what_takes_too_long_to_judge_has_no_points() {
    let workspace = slow();
    workspace.forge(["task"]).expect(0);
    let limit = "the artifact passes a limit: judging it takes more than 10.0 s of computing time";
    let said = scorers(&workspace, "a");
    assert_eq!(said[0], (Some(0.0), limit.to_owned()));
    assert_eq!(said[1].0, Some(100.0));
}

#[test]
fn a_signal_is_heard_while_an_artifact_is_judged() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let workspace = slow();
        let child = workspace.command(["task"]).spawn().unwrap();
        wait_for_judge(child.id());
        let sent = Command::new("kill")
            .args([&format!("-{signal}"), &child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
        finish(child).expect(code);
        assert_eq!(workspace.trials()["task/a/1"]["error_kind"], "cancelled");
        workspace.assert_nothing_left();
    }
}

#[test]
fn a_deadline_ends_judging() {
    let workspace = slow();
    workspace.forge(["task", "--deadline", "3s"]).expect(3);
    assert_eq!(workspace.trials()["task/a/1"]["error_kind"], "cancelled");
    workspace.assert_nothing_left();
}

#[test]
fn what_judges_ends_with_a_forge_that_was_killed() {
    let workspace = slow();
    let mut child = workspace.command(["task"]).spawn().unwrap();
    let judge = wait_for_judge(child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    let until = Instant::now() + Duration::from_secs(5);
    let lives = || {
        let line = std::fs::read(format!("/proc/{judge}/cmdline")).unwrap_or_default();
        line.ends_with(b"__judge\0")
    };
    while lives() {
        assert!(Instant::now() < until, "it goes on");
        pause();
    }
}

#[test]
fn scoring_again_has_the_same_limits() {
    let objective =
        "prompt: x\noutput: out.json\nscoring:\n  quality:\n    - {length: bytes, at_least: 1}\n";
    let workspace = workspace(&[("nested.sh", NESTED)], objective);
    workspace.forge(["task"]).expect(0);
    let objective = "prompt: x\noutput: out.json\nscoring:\n  quality:\n    - {json_path: '$..*..*..*', at_least: 1}\n";
    let workspace = workspace.file("objectives/task.yaml", objective);
    workspace.forge(["score", "latest"]).expect(0);
    let nested = scorers(&workspace, "nested");
    assert_eq!(nested[0].0, Some(0.0));
    assert!(
        nested[0].1.starts_with("the artifact passes a limit"),
        "{nested:?}"
    );
}
