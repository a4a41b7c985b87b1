//! Why something failed: in the terminal, in every report and in `trial.json`, with the log's path.

use std::os::unix::fs::symlink;

use serde_json::Value;

use crate::support::workspace::{Workspace, finish, read_json};

/// Every report of a run.
const REPORTS: [&str; 5] = [
    "report.md",
    "report.html",
    "junit.xml",
    "run.json",
    "trials.csv",
];

const HELLO: &str = "#!/bin/sh\necho \"hello from the script\" > \"$2\"\n";

/// Forty lines, the last of them telling, and a failure.
const FAILS: &str = "#!/bin/sh
i=0; while [ $i -lt 40 ]; do echo \"noise $i\" >&2; i=$((i+1)); done
printf '\\033[31mKeyError: THE LAST WORD\\033[0m\\n' >&2
exit 3
";

fn said(workspace: &Workspace, candidate: &str) -> Value {
    let folder = workspace.run_folder().join(format!("task/{candidate}/1"));
    read_json(&folder.join("trial.json"))["said"].clone()
}

#[test]
fn the_reason_is_quoted_though_more_was_printed_than_is_kept() {
    let secret = "open-sesame-4711";
    let flood = "#!/bin/sh\nprintf 'x%.0s' $(seq 1 1017) >&2; echo \"$KEY, the key\" >&2\n\
                 i=0; while [ $i -lt 4000 ]; do echo \"noise $i\" >&2; i=$((i+1)); done\n\
                 echo 'KeyError: AT THE END' >&2\ni=0; while [ $i -lt 20 ]; do echo; echo '  '; i=$((i+1)); done >&2\n\
                 exit 3\n";
    let setup = "setup: ['i=0; while [ $i -lt 400 ]; do echo \"noise $i\" >&2; i=$((i+1)); done; \
                 echo NO COMPILER >&2; exit 1']\n";
    let blank = "#!/bin/sh\necho 'ABOVE THE BLANKS' >&2; head -c 100000 /dev/zero | tr '\\0' '\\n' >&2; exit 1\n";
    let workspace = Workspace::with(&[("flood.sh", flood), ("set.sh", HELLO), ("blank.sh", blank)])
        .file("candidates/flood.yaml", "pass_env: [KEY]\n")
        .file("candidates/set.yaml", setup)
        .file(
            "objectives/task.yaml",
            "prompt: x\nlimits: {output: 1KiB}\n",
        )
        .file("objectives/wide.yaml", "prompt: x\n");
    let mut command = workspace.command(["task"]);
    command.env("KEY", secret);
    let ended = finish(command.spawn().unwrap()).expect(1);
    for (candidate, last, log) in [
        ("flood", "KeyError: AT THE END", "stderr"),
        ("set", "NO COMPILER", "setup"),
    ] {
        assert!(
            ended.stdout.contains(&format!("| {last}\n")),
            "{}",
            ended.stdout
        );
        let said = said(&workspace, candidate);
        assert_eq!(said["log"], format!("{log}.log"));
        let hint = said["hint"].as_str().unwrap();
        assert!(hint.contains(&format!("{log}.end.log")), "{hint}");
        let end = workspace.trial_file(candidate, &format!("{log}.end.log"));
        let end = String::from_utf8(end).unwrap();
        assert!(end.contains(last) && end.len() <= 16 << 10, "{end}");
    }
    // The limit cuts through the key, of which no part is on either side.
    let kept = workspace.trial_file("flood", "stderr.log");
    let kept = String::from_utf8(kept).unwrap();
    assert!(kept.len() <= 1 << 10 && !kept.contains("open"), "{kept}");
    // The log with the default limit has all of it.
    workspace.forge(["wide", "-c", "blank"]).expect(1);
    let folder = workspace.run_folder().join("wide/blank/1");
    let trial = read_json(&folder.join("trial.json"));
    assert_eq!(
        trial["said"]["lines"],
        serde_json::json!(["ABOVE THE BLANKS"])
    );
    assert!(!folder.join("stderr.end.log").exists());
}

#[test]
fn the_last_words_of_a_failed_candidate_are_everywhere_with_the_path_of_the_log() {
    let workspace = Workspace::with(&[("good.sh", HELLO), ("bad.sh", FAILS)]);
    let ended = workspace.forge(["task"]).expect(0);
    let run = workspace.run_folder();
    let log = "task/bad/1/stderr.log";
    let terminal = &ended.stdout;
    assert!(
        terminal.contains("    | KeyError: THE LAST WORD\n"),
        "{terminal}"
    );
    assert!(terminal.contains("    | noise 39\n"), "{terminal}");
    assert!(
        terminal.contains("bad, trial 1: exited with code 3"),
        "{terminal}"
    );
    let path = terminal
        .lines()
        .find_map(|line| line.split_once("all of it: "))
        .unwrap()
        .1;
    assert!(workspace.path(path).is_file(), "{path}");
    for file in REPORTS {
        let text = std::fs::read_to_string(run.join(file)).unwrap();
        assert!(text.contains("KeyError: THE LAST WORD"), "{file}: {text}");
        assert!(!text.contains('\u{1b}'), "{file}");
        let names_the_log = text.contains(log) || file == "run.json";
        assert!(names_the_log, "{file}: {text}");
    }
    let bad = said(&workspace, "bad");
    assert_eq!(bad["log"], "stderr.log");
    assert_eq!(bad["lines"].as_array().unwrap().len(), 12);
    assert_eq!(said(&workspace, "good"), Value::Null);
    // Nothing of it is lost when the reports are written again.
    let again = workspace.forge(["report", "latest"]).expect(0);
    assert!(again.stdout.contains("| KeyError: THE LAST WORD\n"));
}

#[test]
fn whatever_was_said_last_is_said_and_long_lines_lose_their_beginning() {
    let workspace = Workspace::with(&[
        (
            "late.sh",
            "#!/bin/sh\necho waiting for the server >&2\nsleep 600\n",
        ),
        (
            "killed.sh",
            "#!/bin/sh\necho before the end >&2\nkill -9 $$\n",
        ),
        ("silent.sh", "#!/bin/sh\nexit 4\n"),
        (
            "stdout.sh",
            "#!/bin/sh\necho all is on standard output\nexit 5\n",
        ),
        (
            "long.sh",
            "#!/bin/sh\nhead -c 100000 /dev/zero | tr '\\0' x >&2; echo ' THE END' >&2\nexit 6\n",
        ),
        (
            "bar.sh",
            "#!/bin/sh\nfor i in 1 2 3 4 5 6 7 8 9 10 11 12; do printf '\\r%s%% done' $i >&2; done\nexit 7\n",
        ),
        ("missing.sh", "#!/bin/sh\nno-such-program-of-forge\n"),
    ]);
    let ended = workspace.forge(["task", "--timeout", "1s"]).expect(1);
    let terminal = &ended.stdout;
    for part in [
        "late, trial 1: timed out after 1.00 s\n    | waiting for the server\n",
        "killed, trial 1: ended by signal 9 (SIGKILL)\n    | before the end\n",
        "silent, trial 1: exited with code 4\n    it printed nothing\n",
        "stdout, trial 1: exited with code 5\n    | all is on standard output\n",
        "xxx THE END\n",
        "bar, trial 1: exited with code 7\n    | 12% done\n",
        "missing, trial 1: exited with code 127, a command was not found\n    | ",
        "/task/stdout/1/stdout.log\n",
    ] {
        assert!(terminal.contains(part), "{part:?}:\n{terminal}");
    }
    assert_eq!(
        said(&workspace, "silent"),
        serde_json::json!({"log": "", "lines": []})
    );
    assert_eq!(
        said(&workspace, "bar")["lines"],
        serde_json::json!(["12% done"])
    );
}

#[test]
fn what_is_there_instead_of_an_artifact_is_said() {
    let workspace = Workspace::new()
        .file(
            "objectives/task.yaml",
            "prompt: do it\nlimits: {artifacts: 1KiB}\n",
        )
        .file(
            "candidates/aside/main.sh",
            "echo it > answer.md; echo more > notes/part.md\n",
        )
        .file("candidates/aside/notes/own.md", "mine")
        .candidate("nothing.sh", "#!/bin/sh\n")
        .candidate("folder.sh", "#!/bin/sh\nmkdir \"$2\"\n")
        .candidate("link.sh", "#!/bin/sh\nln -s /etc/passwd \"$2\"\n")
        .candidate("fifo.sh", "#!/bin/sh\nmkfifo \"$2\"\n")
        .candidate("large.sh", "#!/bin/sh\nhead -c 2000 /dev/zero > \"$2\"\n")
        .candidate("empty.sh", "#!/bin/sh\n: > \"$2\"\n");
    let ended = workspace.forge(["task"]).expect(1);
    for (candidate, why) in [
        (
            "aside",
            "it wrote `answer.md`, `notes/part.md` in its working directory: write to argument 2",
        ),
        ("nothing", "it wrote nothing to argument 2"),
        ("folder", "what is at argument 2 is a folder"),
        ("link", "what is at argument 2 is a symbolic link"),
        ("fifo", "what is at argument 2 is a named pipe"),
        (
            "large",
            "what is at argument 2 is larger than 1 KiB (limits.artifacts)",
        ),
    ] {
        let line = format!("[{candidate} task#1] [Warn] Could not read artifact: {why}\n");
        assert!(ended.stderr.contains(&line), "{line}:\n{}", ended.stderr);
        let record = workspace
            .run_folder()
            .join(format!("task/{candidate}/1/trial.json"));
        assert_eq!(read_json(&record)["no_artifact"], why);
        // It is why the trial failed.
        let flat = ended
            .stdout
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        assert!(
            flat.contains(&format!("no artifact came home: {why}")),
            "{flat}"
        );
        let csv = std::fs::read_to_string(workspace.run_folder().join("trials.csv")).unwrap();
        assert!(csv.contains(why), "{csv}");
    }
    assert!(
        ended
            .stderr
            .contains("[empty task#1] [Warn] The artifact is empty\n")
    );
}

#[test]
fn a_setup_that_fails_is_quoted_with_its_log() {
    let workspace = Workspace::with(&[("good.sh", HELLO)])
        .file("candidates/built.sh", HELLO)
        .file(
            "candidates/built.yaml",
            "setup: ['echo first; echo second >&2; echo the compiler is missing; exit 9']\n",
        );
    let ended = workspace.forge(["task"]).expect(0);
    for part in [
        "    | first\n",
        "    | second\n",
        "    | the compiler is missing\n",
        "/built/1/setup.log\n",
    ] {
        assert!(ended.stdout.contains(part), "{part}:\n{}", ended.stdout);
    }
    assert_eq!(said(&workspace, "built")["log"], "setup.log");
}

#[test]
fn a_grader_that_fails_is_quoted_with_its_log() {
    let objective = "prompt: do it\nscoring:\n  quality:\n    - {command: [sh, check.sh]}\n";
    let check = "echo it looked at the artifact\necho step one >&2\necho the grader broke here >&2\nexit 7\n";
    let workspace = Workspace::with(&[("good.sh", HELLO)])
        .file("objectives/task.yaml", objective)
        .file("objectives/check.sh", check);
    let ended = workspace.forge(["task"]).expect(3);
    for part in [
        "command sh check.sh, on good, trial 1\n",
        "    | step one\n",
        "    | the grader broke here\n",
    ] {
        assert!(ended.stdout.contains(part), "{part}:\n{}", ended.stdout);
    }
    let folder = workspace.run_folder().join("task/good/1");
    let log = std::fs::read_to_string(folder.join("grader-1.log")).unwrap();
    assert!(
        log.contains("it looked at the artifact\n") && log.contains("step one\n"),
        "{log}"
    );
    let record = read_json(&folder.join("trial.json"));
    assert_eq!(
        record["scores"]["scorers"][0]["said"]["log"],
        "grader-1.log"
    );
    for file in REPORTS {
        let text = std::fs::read_to_string(workspace.run_folder().join(file)).unwrap();
        assert!(text.contains("the grader broke here"), "{file}: {text}");
    }
    // No number of an ungraded objective is in a table.
    let csv = std::fs::read_to_string(workspace.run_folder().join("trials.csv")).unwrap();
    assert!(csv.contains("task,good,1,ungraded,,,"), "{csv}");
}

#[test]
fn secrets_are_not_in_what_is_quoted() {
    let workspace = Workspace::with(&[(
        "bad.sh",
        "#!/bin/sh\necho \"no access with $API_TOKEN\" >&2\nexit 1\n",
    )])
    .file("candidates/bad.yaml", "env: {API_TOKEN: hunter2-hunter2}\n")
    .file("forge.yaml", "secrets: [API_TOKEN]\n");
    let mut command = workspace.command(["task", "--pass-env", "API_TOKEN"]);
    command.env("API_TOKEN", "hunter2-hunter2");
    let output = command.output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.contains("| no access with "), "{stdout}");
    assert!(!stdout.contains("hunter2-hunter2"), "{stdout}");
    assert!(
        !said(&workspace, "bad")
            .to_string()
            .contains("hunter2-hunter2")
    );
}

/// Writes a metric, and a number of lines that decides its quality.
const REPEATS: &str = "#!/bin/sh
n=${FORGE_TRIAL##*/}
case $n in 1) lines=1 tokens=10 ;; 2) lines=4 tokens=30 ;; *) lines=2 tokens=20 ;; esac
i=0; while [ $i -lt $lines ]; do echo '- item of the list' >> \"$2\"; i=$((i+1)); done
echo \"{\\\"tokens\\\": $tokens}\" > \"$FORGE_ARTIFACTS/metrics.json\"
";

#[test]
fn metrics_are_medians_in_every_report_and_a_typical_trial_is_explained() {
    let objective = "prompt: do it\nscoring:\n  weights: {success: 0, quality: 1, speed: 0}\n  quality:\n    - {regex: '^- ', at_least: 4}\n";
    let workspace = Workspace::with(&[("some.sh", REPEATS), ("none.sh", HELLO)])
        .file("objectives/task.yaml", objective);
    let ended = workspace.forge(["task", "-k3"]).expect(0);
    let header = ended
        .stdout
        .lines()
        .find(|line| line.contains("median time"))
        .unwrap();
    assert!(header.contains("tokens"), "{header}");
    let row = ended
        .stdout
        .lines()
        .find(|line| line.contains(" some ") && line.contains("3/3"))
        .unwrap();
    assert!(row.trim_end().ends_with("20"), "{row}");
    let read = |file: &str| std::fs::read_to_string(workspace.run_folder().join(file)).unwrap();
    let (markdown, html) = (read("report.md"), read("report.html"));
    assert!(
        markdown.contains("| median time | tokens | note |"),
        "{markdown}"
    );
    assert!(html.contains("<th class=\"n\">tokens"), "{html}");
    assert!(read("junit.xml").contains("name=\"metric.task.tokens\" value=\"20\""));
    assert_eq!(
        workspace.run_json()["standings"]["objectives"][0]["standings"][0]["metrics"]["tokens"],
        20.0
    );
    for text in [&markdown, &html] {
        assert!(text.contains("trial 3 of 3, the median"), "{text}");
        for repeat in 1..=3 {
            assert!(
                text.contains(&format!("task/some/{repeat}")),
                "{repeat}: {text}"
            );
        }
    }
}

#[test]
fn only_what_a_candidate_left_is_scored_again_and_no_link_is_followed() {
    let names = [
        "changed", "fifo", "flood", "folder", "fresh", "huge", "link", "other", "record",
    ];
    let workspace = names.iter().fold(
        Workspace::new().file("objectives/task.yaml", "prompt: do it\n"),
        |this, name| this.candidate(&format!("{name}.sh"), HELLO),
    );
    workspace.forge(["task"]).expect(0);
    let run = workspace.run_folder();
    let secret = "this is nobody's artifact but a secret of the user's";
    let workspace = workspace
        .file("outside/discord_post.md", secret)
        .file("outside/trial.json", "{}");
    let outside = workspace.path("outside");
    let at = |name: &str, file: &str| run.join(format!("task/{name}/1/{file}"));
    let replace = |name: &str, file: &str| std::fs::remove_file(at(name, file)).unwrap();
    std::fs::write(at("changed", "discord_post.md"), "hello from somebody else").unwrap();
    std::fs::copy(at("fresh", "trial.json"), at("other", "trial.json")).unwrap();
    for (name, file) in [("huge", "discord_post.md"), ("flood", "trial.json")] {
        let file = std::fs::File::options().write(true).open(at(name, file));
        file.unwrap().set_len(4 << 30).unwrap();
    }
    replace("link", "discord_post.md");
    symlink(
        outside.join("discord_post.md"),
        at("link", "discord_post.md"),
    )
    .unwrap();
    replace("fifo", "discord_post.md");
    let fifo = std::process::Command::new("mkfifo")
        .arg(at("fifo", "discord_post.md"))
        .status();
    assert!(fifo.unwrap().success());
    replace("record", "trial.json");
    symlink(outside.join("trial.json"), at("record", "trial.json")).unwrap();
    std::fs::rename(run.join("task/folder/1"), outside.join("1")).unwrap();
    symlink(outside.join("1"), run.join("task/folder/1")).unwrap();
    let before = std::fs::read(outside.join("1/trial.json")).unwrap();
    // What is written aside goes through no link either.
    symlink(outside.join("victim"), at("fresh", "trial.json.part")).unwrap();

    let ended = workspace.forge(["score", "latest"]).expect(0);
    for (name, why) in [
        (
            "changed",
            "discord_post.md is not what the candidate left: its sha256 is not the one in trial.json; put it back, or run again",
        ),
        ("fifo", "`task/fifo/1/discord_post.md` is a FIFO"),
        ("flood", "trial.json makes no sense"),
        ("huge", "discord_post.md is not what the candidate left"),
        ("other", "trial.json makes no sense, or is another trial's"),
        ("folder", "`task/folder/1` is a link"),
        ("link", "`task/link/1/discord_post.md` is a link"),
        ("record", "`task/record/1/trial.json` is a link"),
    ] {
        let line = format!("task/{name}#1 keeps its old score: {why}");
        let other = format!("task/{name}/1 keeps its old score: {why}");
        assert!(
            ended.stderr.contains(&line) || ended.stderr.contains(&other),
            "{line}:\n{}",
            ended.stderr
        );
    }
    assert!(!ended.stderr.contains("fresh"), "{}", ended.stderr);
    let journal = std::fs::read_to_string(run.join("events.jsonl")).unwrap();
    let scored = |line: &&str| line.contains("trial_rescored") && line.contains("fresh");
    assert_eq!(journal.lines().filter(scored).count(), 1);
    assert!(!outside.join("victim").exists());
    assert_eq!(std::fs::read(outside.join("1/trial.json")).unwrap(), before);
    assert_eq!(
        std::fs::read_to_string(outside.join("trial.json")).unwrap(),
        "{}"
    );
    for name in ["fresh", "link"] {
        let record = std::fs::read_to_string(at(name, "trial.json")).unwrap();
        assert!(!record.contains("nobody's artifact"), "{record}");
    }
    // Nor when reports are written again.
    let again = workspace.forge(["report", "latest"]).expect(0);
    assert!(!again.stdout.contains("nobody's artifact"));
}

#[test]
fn a_journal_that_is_a_link_is_neither_read_nor_written() {
    let workspace = Workspace::with(&[("good.sh", HELLO)]);
    workspace.forge(["task"]).expect(0);
    let journal = workspace.run_folder().join("events.jsonl");
    let elsewhere = workspace.path("elsewhere.jsonl");
    std::fs::rename(&journal, &elsewhere).unwrap();
    symlink(&elsewhere, &journal).unwrap();
    let before = std::fs::read(&elsewhere).unwrap();
    for again in [["score", "latest"], ["report", "latest"]] {
        let output = workspace.command(again).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_ne!(output.status.code(), Some(0), "{stderr}");
        assert!(
            stderr.contains("events.jsonl") && stderr.contains("is a link"),
            "{stderr}"
        );
    }
    assert_eq!(std::fs::read(&elsewhere).unwrap(), before);
}
