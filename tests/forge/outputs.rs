//! What a run leaves and prints for machines.

use serde_json::Value;

use crate::support::workspace::{Workspace, finish};

const HELLO: &str = "#!/bin/sh\necho \"hello from the script\" > \"$2\"\n";

fn workspace() -> Workspace {
    Workspace::with(&[("good.sh", HELLO), ("bad.sh", "#!/bin/sh\nexit 3\n")])
}

#[test]
fn json_on_stdout_is_run_json_and_nothing_else() {
    let workspace = workspace();
    let ended = workspace.forge(["task", "--json"]).expect(0);
    assert_eq!(
        ended.stdout,
        std::fs::read_to_string(workspace.run_folder().join("run.json")).unwrap()
    );
    assert!(
        ended.stderr.contains("Execution: LOCAL"),
        "{}",
        ended.stderr
    );
}

#[test]
fn the_folder_is_laid_out_as_promised() {
    let workspace = workspace();
    workspace.forge(["task", "-k2"]).expect(0);
    let run = workspace.run_folder();
    for file in [
        "run.json",
        "events.jsonl",
        "sandboxes.jsonl",
        "report.md",
        "report.html",
        "junit.xml",
        "trials.csv",
        "verdicts.csv",
        "comment.md",
        "badge.json",
        "trace.json",
        "task/good/1/trial.json",
        "task/good/2/stdout.log",
        "task/good/2/stderr.log",
        "task/good/2/discord_post.md",
        "task/bad/2/trial.json",
        "task/winner/discord_post.md",
    ] {
        assert!(run.join(file).is_file(), "{file}");
    }
    let target = std::fs::read_link(run.join("task/winner")).unwrap();
    assert!(target.starts_with("good"), "{}", target.display());
    assert!(!run.join("task/bad/1/discord_post.md").exists());
}

#[test]
fn replaying_the_journal_gives_the_same_reports() {
    let workspace = workspace();
    let live = workspace.forge(["task", "-k2"]).expect(0);
    let read = |name: &str| std::fs::read(workspace.run_folder().join(name)).unwrap();
    let names = [
        "run.json",
        "report.md",
        "report.html",
        "junit.xml",
        "trials.csv",
        "verdicts.csv",
        "comment.md",
        "badge.json",
        "trace.json",
    ];
    let before: Vec<Vec<u8>> = names.iter().map(|name| read(name)).collect();
    let replayed = workspace.forge(["report", "latest"]).expect(0);
    for (name, before) in names.iter().zip(before) {
        assert!(read(name) == before, "{name} differs");
    }
    let table = |text: &str| text.split_once('\n').unwrap().1.to_owned();
    assert_eq!(table(&live.stdout), replayed.stdout);
}

#[test]
fn extra_outputs_are_written_where_asked_and_refused_before_the_run() {
    let workspace = workspace();
    let formats = [
        "--junit",
        "out/j.xml",
        "--markdown",
        "out/m.md",
        "--html",
        "out/h.html",
        "--csv",
        "out/c.csv",
    ];
    workspace
        .forge([&["task"], &formats[..]].concat())
        .expect(0);
    for (copy, original) in [
        ("j.xml", "junit.xml"),
        ("m.md", "report.md"),
        ("h.html", "report.html"),
        ("c.csv", "trials.csv"),
    ] {
        let copy = std::fs::read(workspace.path("out").join(copy)).unwrap();
        assert_eq!(
            copy,
            std::fs::read(workspace.run_folder().join(original)).unwrap()
        );
    }
    let before = workspace.run_folder();
    let refused = workspace
        .forge(["task", "--junit", "/proc/no/such.xml"])
        .expect(2);
    assert!(refused.stderr.contains("--junit"), "{}", refused.stderr);
    assert_eq!(workspace.run_folder(), before, "nothing was started");
}

#[test]
fn every_event_is_in_the_journal_in_one_order() {
    let workspace = workspace();
    workspace.forge(["task", "-k3"]).expect(0);
    let text = std::fs::read_to_string(workspace.run_folder().join("events.jsonl")).unwrap();
    let events: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for (seq, event) in events.iter().enumerate() {
        assert_eq!(event["seq"], seq);
    }
    let of = |kind: &str| events.iter().filter(|event| event["event"] == kind).count();
    assert_eq!(
        (of("run_started"), of("trial_finished"), of("run_finished")),
        (1, 6, 1)
    );
    assert_eq!(events.last().unwrap()["event"], "run_finished");
}

#[test]
fn the_ledger_knows_every_sandbox_to_be_gone() {
    let workspace = workspace();
    workspace.forge(["task", "-k3"]).expect(0);
    let text = std::fs::read_to_string(workspace.run_folder().join("sandboxes.jsonl")).unwrap();
    let count = |op: &str| text.matches(&format!("\"op\":\"{op}\"")).count();
    assert_eq!(
        (count("create"), count("created"), count("deleted")),
        (6, 6, 6),
        "{text}"
    );
}

#[test]
fn a_kept_sandbox_is_named_and_really_there() {
    let workspace = workspace();
    let ended = workspace.forge(["task", "--keep", "failed"]).expect(0);
    let run = workspace.run_folder();
    let kept = workspace.run_json()["cleanup"]["kept"].clone();
    assert_eq!(kept.as_array().unwrap().len(), 1, "{kept}");
    let sandbox = workspace.path("tmp").join(kept[0].as_str().unwrap());
    // The next run cleans up after dead ones, and leaves it.
    workspace.forge(["task"]).expect(0);
    assert!(sandbox.join("work").is_dir());
    let run = run.file_name().unwrap().to_str().unwrap().to_owned();
    workspace.forge(["sweep", "--run", &run]).expect(0);
    workspace.assert_nothing_left();
    assert!(
        ended.stdout.contains(kept[0].as_str().unwrap()),
        "{}",
        ended.stdout
    );
}

#[test]
fn version_and_help_are_no_errors() {
    let workspace = Workspace::new();
    let version = workspace.forge(["--version"]).expect(0);
    assert_eq!(
        version.stdout,
        format!("forge {}\n", env!("CARGO_PKG_VERSION"))
    );
    let help = workspace.forge(["--help"]).expect(0);
    assert!(help.stdout.contains("Exit codes"), "{}", help.stdout);
    let trial = workspace.path("artifacts");
    assert!(!trial.exists());
}

#[test]
fn a_result_that_cannot_be_printed_is_no_success() {
    let workspace = workspace();
    let commands: [&[&str]; 3] = [
        &["task", "--json"],
        &["check", "--json"],
        &["doctor", "--json"],
    ];
    for (command, (to, code)) in commands
        .into_iter()
        .flat_map(|it| [(it, ("/dev/full", 3)), (it, ("/dev/null", 0))])
    {
        let stdout = std::fs::OpenOptions::new().write(true).open(to).unwrap();
        let status = workspace
            .command(command)
            .stdout(stdout)
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(code), "{command:?} {to}");
    }
}

#[test]
fn programs_are_told_in_json_why_nothing_can_be_started() {
    let workspace = workspace();
    for what in ["check", "doctor"] {
        let script = format!("ulimit -n 20; exec \"$0\" {what} --json");
        let mut command = std::process::Command::new("sh");
        command
            .args(["-c", &script, env!("CARGO_BIN_EXE_forge")])
            .current_dir(workspace.path(""))
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let ended = finish(command.spawn().unwrap()).expect(2);
        let document: Value = serde_json::from_str(&ended.stdout).unwrap();
        let problem = &document["problems"][0];
        let message = problem["message"].as_str().unwrap();
        assert!(message.contains("open files"), "{document}");
        assert!(problem["hint"].is_string(), "{document}");
    }
}

#[test]
fn programs_are_told_in_json_what_is_refused_and_people_as_ever() {
    let workspace = workspace().file("notes.txt", "no run");
    workspace.forge(["task"]).expect(0);
    for words in [
        &["task", "-c", "nobody"][..],
        &["run", "task", "--csv", "/proc/no/such.csv"],
        &["task", "--log-file", "/proc/no/such.log"],
        &["task", "--require", "nobody"],
        &["task", "--require-daytona"],
        &["aa", "nobody"],
        &["plan", "nothing.yaml"],
        &["check", "nothing.yaml"],
        &["report", "0000"],
        &["report", "notes.txt"],
        &["score", "0000"],
        &["compare", "0000", "latest"],
        &["history", "nobody"],
        &["baseline", "show"],
        &["sweep", "--dry-run", "--run", "0000"],
    ] {
        let before = workspace.run_folder();
        let people = workspace.forge(words).expect(2);
        let asked = words.iter().chain(&["--json"]);
        let programs = workspace.forge(asked).expect(2);
        let document: Value = serde_json::from_str(&programs.stdout).unwrap();
        assert_eq!(document["exit"]["code"], 2, "{words:?}");
        assert_eq!(document["exit"]["name"], "usage", "{words:?}");
        let problems = document["problems"].as_array().unwrap();
        assert!(!problems.is_empty(), "{words:?}");
        for problem in problems {
            let message = problem["message"].as_str().unwrap();
            assert!(people.stderr.contains(message), "{words:?}: {message}");
            let keys: Vec<&String> = problem.as_object().unwrap().keys().collect();
            let all = ["column", "file", "hint", "line", "message", "path"];
            assert_eq!(keys, all, "{words:?}");
        }
        // What a check finds is its result.
        if words[0] != "check" {
            assert_eq!(programs.stderr, people.stderr, "{words:?}");
        }
        assert_eq!(workspace.run_folder(), before, "{words:?}");
    }
    let broken = workspace.file("forge.yaml", "jobs: many\n");
    for words in [
        &["task"][..],
        &["list"],
        &["check", "task"],
        &["plan", "task"],
        &["report", "latest"],
        &["score", "latest"],
        &["compare", "latest", "latest"],
        &["history"],
        &["baseline", "show"],
        &["doctor"],
        &["sweep", "--dry-run"],
    ] {
        let ended = broken.forge(words.iter().chain(&["--json"])).expect(2);
        let document: Value = serde_json::from_str(&ended.stdout).unwrap();
        let problem = &document["problems"][0];
        let file = problem["file"].as_str().unwrap();
        assert!(file.ends_with("forge.yaml"), "{words:?}: {document}");
        assert_eq!(problem["line"], 1, "{words:?}: {document}");
    }
}

#[test]
fn an_empty_name_is_no_run() {
    let workspace = workspace();
    workspace.forge(["task"]).expect(0);
    workspace.forge(["report", ""]).expect(2);
    workspace.forge(["score", ""]).expect(2);
}

/// A limit on the size of files stands in for a full disk.
#[test]
fn a_full_disk_takes_nothing_from_what_is_shown() {
    let workspace = workspace();
    let limited = "trap '' XFSZ; ulimit -f 60; exec \"$0\" task -k20";
    let mut shell = workspace.command([""; 0]);
    let environment: Vec<_> = shell
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect();
    shell = std::process::Command::new("sh");
    let child = shell
        .args(["-c", limited, env!("CARGO_BIN_EXE_forge")])
        .envs(environment)
        .current_dir(workspace.path(""))
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let ended = crate::support::workspace::finish(child).expect(3);
    assert!(ended.stdout.contains("Winner: good"), "{}", ended.stdout);
    assert!(ended.stdout.contains("40 trials"), "{}", ended.stdout);
    assert!(
        ended.stderr.contains("could not all be written"),
        "{}",
        ended.stderr
    );
    workspace.assert_nothing_left();
}
