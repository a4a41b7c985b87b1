//! What CI systems are told: summaries, values, notes, folded logs, the short files of a run's folder.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::support::workspace::{Ended, Workspace, finish, read_json};

const GOOD: &str = "#!/bin/sh\nprintf '%s\\n' '- one of all' '- two of all' > \"$2\"\n";
const WORSE: &str = "#!/bin/sh\necho 'nothing of it' > \"$2\"\n";
const OBJECTIVE: &str = "prompt: do it\nscoring:\n  weights: {success: 0, quality: 1, speed: 0}\n  quality:\n    - {regex: '^- ', at_least: 2}\n";

/// Two objectives, and one candidate that is worse than the other on both.
fn workspace() -> Workspace {
    Workspace::with(&[("good.sh", GOOD), ("worse.sh", WORSE)])
        .file("objectives/task.yaml", OBJECTIVE)
        .file("objectives/other.yaml", OBJECTIVE)
}

/// The files that GitHub gives a step.
struct Step {
    summary: PathBuf,
    output: PathBuf,
}

impl Step {
    fn of(workspace: &Workspace) -> Self {
        Self {
            summary: workspace.path("summary.md"),
            output: workspace.path("output.txt"),
        }
    }

    fn forge(&self, workspace: &Workspace, arguments: &[&str]) -> Ended {
        let mut command = workspace.command(arguments);
        self.tell(&mut command);
        finish(command.spawn().unwrap())
    }

    fn tell(&self, command: &mut Command) {
        command
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_STEP_SUMMARY", &self.summary)
            .env("GITHUB_OUTPUT", &self.output);
    }
}

fn read(path: impl AsRef<std::path::Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Lines that GitHub takes for commands.
fn commands(text: &str) -> Vec<&str> {
    let lines = text.lines();
    lines
        .filter(|line| line.trim_start().starts_with("::") || line.contains("##["))
        .collect()
}

/// Calls git, a line of arguments at a time.
fn git(workspace: &Workspace, lines: &[&str]) {
    for line in lines {
        let mut command = Command::new("git");
        for setting in ["user.name=t", "user.email=t@t", "init.defaultBranch=main"] {
            command.args(["-c", setting]);
        }
        command
            .args(line.split(' '))
            .current_dir(workspace.path("."));
        let done = command.output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{line}: {said}");
    }
}

#[test]
fn github_learns_the_verdict_in_its_summary_its_values_and_its_notes() {
    let workspace = workspace();
    let step = Step::of(&workspace);
    fs::write(&step.output, "earlier=1\n").unwrap();
    let ended = step
        .forge(&workspace, &["--control", "good", "-k3"])
        .expect(1);
    let folder = workspace.run_folder();
    let run = folder.file_name().unwrap().to_str().unwrap();

    let summary = read(&step.summary);
    let begin = "# Verdict: REGRESSION  worse lost 100.0 points against good (";
    assert!(summary.starts_with(begin), "{summary}");
    assert_eq!(summary, read(folder.join("report.md")));
    let values = format!(
        "earlier=1\nverdict=regression\nwinner=good\nscore=100.0\nrun={run}\nregressions=[\"worse\"]\n"
    );
    assert_eq!(read(&step.output), values);

    let found = commands(&ended.stderr);
    let [group, end, note] = found[..] else {
        panic!("{}", ended.stderr)
    };
    assert!(group.starts_with("::group::") && group.contains("2 candidates"));
    assert_eq!(end, "::endgroup::");
    let begin = "::error title=forge%3A regression%3A worse::worse lost 100.0 points against good (95 %25 interval";
    assert!(note.starts_with(begin), "{note}");
    let (inside, _) = ended.stderr.split_once("\n::endgroup::\n").unwrap();
    let (_, inside) = inside.split_once(group).unwrap();
    assert_eq!(inside.matches("done: ").count(), run_trials(&workspace));

    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(lines[0], "Execution: LOCAL");
    assert!(lines[1].starts_with("Verdict: REGRESSION  worse lost 100.0 points"));
    let winner = lines
        .iter()
        .position(|it| it.starts_with("Winner: good with 100.0"));
    assert!(winner.is_some_and(|at| at < 5), "{}", ended.stdout);

    let comment = read(folder.join("comment.md"));
    assert!(comment.starts_with("<!-- forge:verdict -->\n### Verdict: REGRESSION  worse"));
    assert!(
        comment.contains(&format!("`forge report {run}`")),
        "{comment}"
    );
    let badge = read_json(&folder.join("badge.json"));
    assert_eq!(badge["message"], "regression: worse");
    assert!(
        read(folder.join("verdicts.csv"))
            .contains("\ncontrol,worse,good,score,true,regression,-100,points,")
    );
    let junit = read(folder.join("junit.xml"));
    assert!(junit.contains("<testcase name=\"worse score\" classname=\"verdicts.control\""));
}

fn run_trials(workspace: &Workspace) -> usize {
    workspace.trials().len()
}

#[test]
fn only_a_run_tells_and_only_where_it_is_asked() {
    let workspace = workspace();
    let step = Step::of(&workspace);
    let plain = workspace.forge(["task"]).expect(0);
    assert_eq!(commands(&plain.stderr), [""; 0]);
    assert!(plain.stderr.contains("done: "), "{}", plain.stderr);
    for again in ["report", "score"] {
        let ended = step.forge(&workspace, &[again, "latest"]).expect(0);
        assert_eq!(commands(&ended.stderr), [""; 0], "{again}");
        assert!(!step.summary.exists() && !step.output.exists(), "{again}");
    }
    let mut elsewhere = workspace.command(["task"]);
    elsewhere.env("GITHUB_ACTIONS", "false");
    let ended = finish(elsewhere.spawn().unwrap()).expect(0);
    assert_eq!(commands(&ended.stderr), [""; 0]);
    // One variable does not need the others, and a report for programs is no obstacle.
    let mut only = workspace.command(["task", "--json"]);
    only.env("GITHUB_OUTPUT", &step.output);
    let ended = finish(only.spawn().unwrap()).expect(0);
    serde_json::from_str::<Value>(&ended.stdout).unwrap();
    assert!(read(&step.output).starts_with("verdict=no_clear_winner\nwinner=\nscore=100.0\n"));
    assert!(!step.summary.exists());
}

#[test]
fn nothing_that_is_run_closes_the_fold_or_is_a_command() {
    let script = "#!/bin/sh\nprintf '::endgroup::\\n\\r::error::boo\\n##[endgroup]\\n  ::add-mask::good\\n::set-output name=winner::evil\\n' | tee /dev/stderr\n\
                  printf '::endgroup::\\n' > \"$2\"\nprintf '{\"::endgroup::\": 1}' > \"$FORGE_ARTIFACTS/metrics.json\"\nexit 1\n";
    let workspace = Workspace::with(&[("good.sh", GOOD), ("evil.sh", script)]);
    let step = Step::of(&workspace);
    let ended = step
        .forge(&workspace, &["task", "-v", "--require", "evil"])
        .expect(1);
    assert_eq!(commands(&ended.stdout), [""; 0]);
    let found = commands(&ended.stderr);
    let [group, end, note] = found[..] else {
        panic!("{found:?}\n{}", ended.stderr)
    };
    assert!(group.starts_with("::group::") && end == "::endgroup::");
    assert!(
        note.starts_with("::error title=forge%3A exit code 1::`evil`"),
        "{note}"
    );
    assert_eq!(read(&step.output).lines().count(), 5);
    assert!(!read(&step.output).contains("evil"));
}

#[test]
fn a_summary_is_shortened_until_it_fits_and_never_cut_off() {
    let limit = 1 << 20;
    let workspace = workspace();
    let step = Step::of(&workspace);
    let run = |there: usize| {
        fs::write(&step.summary, "x".repeat(there - 1) + "\n").unwrap();
        let ended = step
            .forge(&workspace, &["task", "--control", "good"])
            .expect(0);
        let all = read(&step.summary);
        assert!(all.len() < limit, "{}", all.len());
        (ended, all[there..].to_owned())
    };
    let (_, whole) = run(1000);
    assert!(
        whole.starts_with("\n# Verdict: ") && whole.contains("## The run"),
        "{whole}"
    );
    let (_, short) = run(limit - 2500);
    assert!(
        short.starts_with("\n<!-- forge:verdict -->\n### Verdict: "),
        "{short}"
    );
    let (_, line) = run(limit - 500);
    assert!(
        line.starts_with("\n`Verdict: ") && line.lines().count() == 2,
        "{line}"
    );
    let (full, nothing) = run(limit - 100);
    assert_eq!(nothing, "");
    let why = "warning: $GITHUB_STEP_SUMMARY could not be written: it has ";
    assert!(full.stderr.contains(why), "{}", full.stderr);
}

#[test]
fn what_cannot_be_told_is_a_warning() {
    let workspace = workspace();
    let mut step = Step::of(&workspace);
    step.summary = workspace.path("candidates");
    step.output = workspace.path("no/such/folder");
    let ended = step.forge(&workspace, &["task"]).expect(0);
    for name in ["GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT"] {
        let why = format!("warning: ${name} could not be written: ");
        assert!(ended.stderr.contains(&why), "{name}: {}", ended.stderr);
    }
    assert!(
        ended.stdout.contains("\nWinner: good with 100.0"),
        "{}",
        ended.stdout
    );
}

#[test]
fn a_report_that_was_asked_for_in_the_summary_is_there_once() {
    let workspace = workspace();
    let step = Step::of(&workspace);
    step.forge(&workspace, &["task", "--markdown", "summary.md"])
        .expect(0);
    assert_eq!(
        read(&step.summary),
        read(workspace.run_folder().join("report.md"))
    );
    // Another form of it there is no summary.
    fs::remove_file(&step.summary).unwrap();
    step.forge(&workspace, &["task", "--csv", "summary.md"])
        .expect(0);
    let both = read(&step.summary);
    assert!(
        both.starts_with("objective,candidate,") && both.contains("\n\n# Winner: "),
        "{both}"
    );
}

#[test]
fn where_nothing_has_changed_that_is_said_and_nobody_lost() {
    let workspace = workspace();
    git(
        &workspace,
        &["init -q .", "add candidates objectives", "commit -q -m all"],
    );
    let step = Step::of(&workspace);
    let ended = step.forge(&workspace, &["--baseline", "@HEAD"]).expect(0);
    assert!(
        ended.stdout.contains("Verdict: UNCHANGED  "),
        "{}",
        ended.stdout
    );
    assert!(!ended.stdout.contains("inner: "), "{}", ended.stdout);
    assert_eq!(commands(&ended.stderr).len(), 2, "{}", ended.stderr);
    assert!(read(&step.output).starts_with("verdict=unchanged\nwinner=\nscore=\n"));
    let folder = workspace.run_folder();
    assert_eq!(
        read_json(&folder.join("badge.json"))["message"],
        "unchanged"
    );
    for name in ["report.md", "report.html", "comment.md"] {
        let text = read(folder.join(name));
        assert!(
            text.contains("UNCHANGED") && !text.contains("No winner"),
            "{name}: {text}"
        );
    }
    let junit = read(folder.join("junit.xml"));
    assert!(junit.contains("failures=\"0\" errors=\"0\""), "{junit}");
}

#[test]
fn a_run_of_before_there_were_verdicts_is_rendered_and_scored() {
    let workspace = workspace();
    workspace.forge(["-k2"]).expect(0);
    let journal = workspace.run_folder().join("events.jsonl");
    let text = read(&journal);
    let (first, rest) = text.split_once('\n').unwrap();
    let mut plan: Value = serde_json::from_str(first).unwrap();
    assert_eq!(plan["event"], "run_started");
    let fields = plan.as_object_mut().unwrap();
    assert!(fields.contains_key("rule"));
    for new in ["rule", "comparisons", "looks", "demands"] {
        fields.remove(new);
    }
    for candidate in plan["candidates"].as_array_mut().unwrap() {
        candidate.as_object_mut().unwrap().remove("repeats");
    }
    fs::write(&journal, format!("{plan}\n{rest}")).unwrap();
    for again in ["report", "score"] {
        let ended = workspace.forge([again, "latest"]).expect(0);
        assert!(
            ended.stdout.starts_with("Winner: good with 100.0"),
            "{}",
            ended.stdout
        );
        let run = workspace.run_json();
        assert_eq!(run["verdicts"].as_array().map(Vec::len), Some(0));
        assert_eq!(run["lead"]["candidate"], "good");
        assert_eq!(run["rule"]["max_drop"], 5.0);
        let comment = read(workspace.run_folder().join("comment.md"));
        assert!(
            comment.starts_with("<!-- forge:verdict -->\n### Winner: good"),
            "{comment}"
        );
    }
}

/// The steps of the README's workflow that run something here, by name.
fn steps() -> Vec<(String, String)> {
    let readme = include_str!("../../README.md");
    let from = readme.find("# .github/workflows/agents.yml").unwrap();
    let text = &readme[from..];
    let text = &text[..text.find("```").unwrap()];
    let workflow: Value = serde_yaml::from_str(text).unwrap();
    let job = &workflow["jobs"]["agents"];
    assert!(job["timeout-minutes"].as_u64().unwrap() > 45);
    let steps = job["steps"].as_array().unwrap();
    let text = |step: &Value, key: &str| step[key].as_str().map(str::to_owned);
    let steps = steps
        .iter()
        .filter_map(|it| Some((text(it, "name")?, text(it, "run")?)));
    steps.collect()
}

#[test]
fn the_steps_of_the_readme_do_what_they_say() {
    let workspace = Workspace::new()
        .candidate("good.sh", GOOD)
        .candidate("other.sh", GOOD)
        .file("objectives/task.yaml", OBJECTIVE)
        .file("objectives/other.yaml", OBJECTIVE)
        .file(".gitignore", "artifacts/\ntmp/\ncache/\n*.md\n*.txt\n");
    let steps = steps();
    let script = |name: &str| {
        let mut steps = steps.iter();
        let found = steps.find(|it| it.0.starts_with(name));
        found.unwrap_or_else(|| panic!("{name}")).1.clone()
    };
    let step = Step::of(&workspace);
    let run = |name: &str, event: &str| {
        let program = workspace.command::<&str>([]);
        let mut command = Command::new("bash");
        // As GitHub calls it.
        let folder = std::path::Path::new(program.get_program())
            .parent()
            .unwrap();
        let path = std::env::var_os("PATH").unwrap().into_string().unwrap();
        command
            .args([
                "--noprofile",
                "--norc",
                "-eo",
                "pipefail",
                "-c",
                &script(name),
            ])
            .current_dir(program.get_current_dir().unwrap());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        step.tell(&mut command);
        command
            .env("PATH", format!("{}:{path}", folder.display()))
            .env("GITHUB_EVENT_NAME", event)
            .env("GITHUB_BASE_REF", "main")
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        finish(command.spawn().unwrap())
    };
    git(
        &workspace,
        &[
            "init -q .",
            "add .",
            "commit -q -m all",
            "update-ref refs/remotes/origin/main HEAD",
        ],
    );

    // The first night has nothing to be compared with, and is what the next one is compared with.
    let first = run("A night", "schedule").expect(0);
    assert!(
        first.stdout.contains("Tie: good and other"),
        "{}",
        first.stdout
    );
    let blessed = workspace.run_folder();
    run("Sweep", "schedule").expect(0);
    run("Keep", "schedule").expect(0);
    fs::write(&step.output, "").unwrap();
    let second = run("A night", "schedule").expect(0);
    assert!(
        second.stdout.contains("Verdict: STEADY  "),
        "{}",
        second.stdout
    );
    run("Keep", "schedule").expect(0);
    let left = fs::read_dir(workspace.path("artifacts")).unwrap();
    let left = left.map(|it| it.unwrap().path());
    let folders: Vec<PathBuf> = left.filter(|it| it.is_dir() && !it.is_symlink()).collect();
    assert_eq!(folders.len(), 1);
    assert_eq!(fs::canonicalize(&folders[0]).unwrap(), blessed);

    // A change that makes one worse is named, with the objective; nothing is run for the other.
    fs::write(workspace.path("candidates/other.sh"), WORSE).unwrap();
    git(&workspace, &["commit -q -a -m change"]);
    fs::write(&step.output, "").unwrap();
    let change = run("A change", "pull_request").expect(1);
    assert!(
        change
            .stdout
            .contains("Verdict: REGRESSION  other lost 100.0 points against other@"),
        "{}",
        change.stdout
    );
    assert_eq!(commands(&change.stderr).len(), 3, "{}", change.stderr);
    let values = read(&step.output);
    assert!(values.starts_with("verdict=regression\n"), "{values}");
    assert!(values.ends_with("regressions=[\"other\"]\n"), "{values}");
    let ran: Vec<String> = workspace.trials().into_keys().collect();
    assert!(ran.iter().all(|it| it.contains("/other")), "{ran:?}");
    let comment = read(workspace.path("artifacts/latest/comment.md"));
    assert!(
        comment.starts_with("<!-- forge:verdict -->\n### Verdict: REGRESSION"),
        "{comment}"
    );
    run("Sweep", "pull_request").expect(0);
}
