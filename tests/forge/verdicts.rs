//! Verdicts through the program: a pull request, a night, a control.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::support::workspace::{Ended, Workspace};

/// A candidate that is good on every objective but those whose names match, a `case` pattern.
fn good_but_on(pattern: &str) -> String {
    format!(
        "#!/bin/sh\ncase $FORGE_OBJECTIVE in {pattern}) echo a bad answer ;; *) echo a good answer ;; esac >\"$2\"\n"
    )
}

const OBJECTIVES: [&str; 4] = ["code", "logs", "post", "sql"];

/// Three candidates on four objectives, all good at all of them, with a commit of that.
fn project() -> Workspace {
    let mut workspace = Workspace::new();
    for objective in OBJECTIVES {
        let yaml = "prompt: do it\ngates:\n  - contains: good\nscoring:\n  weights: {success: 1, quality: 0, speed: 0}\n";
        workspace = workspace.file(&format!("objectives/{objective}.yaml"), yaml);
    }
    for candidate in ["alpha", "beta", "gamma"] {
        workspace = workspace.candidate(&format!("{candidate}.sh"), &good_but_on("none"));
    }
    let workspace = workspace.file(".gitignore", "artifacts/\ntmp/\ncache/\n");
    git(&workspace, &["init", "-q", "-b", "main"]);
    commit(&workspace);
    workspace
}

fn git(workspace: &Workspace, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=a", "-c", "user.email=a@example.org"])
        .args(arguments)
        .current_dir(workspace.path("."))
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn commit(workspace: &Workspace) {
    git(workspace, &["add", "-A"]);
    git(workspace, &["commit", "-q", "-m", "one"]);
}

fn forge(workspace: &Workspace, arguments: &str) -> Ended {
    workspace.forge(arguments.split_whitespace())
}

fn verdict(run: &Value, candidate: &str) -> Value {
    let verdicts = run["verdicts"].as_array().unwrap();
    let mut own = verdicts
        .iter()
        .filter(|it| it["candidate"] == candidate && it["measure"] == "score");
    own.next().unwrap().clone()
}

fn candidates(run: &Value) -> Vec<String> {
    let planned = run["plan"]["candidates"].as_array().unwrap();
    let names = planned.iter().map(|it| it["name"].as_str().unwrap());
    names.map(str::to_owned).collect()
}

#[test]
fn a_pull_request_that_makes_one_of_three_worse_fails_and_names_it() {
    let workspace = project();
    let revision = git(&workspace, &["rev-parse", "--short", "HEAD"]);
    let workspace = workspace.candidate("gamma.sh", &good_but_on("logs|sql"));
    commit(&workspace);
    let ended = forge(&workspace, "-k 3 --baseline @HEAD~1");
    assert_eq!(ended.code, Some(1), "{}{}", ended.stdout, ended.stderr);
    let former = format!("gamma@{revision}");
    let begins = format!("REGRESSION  gamma lost 50.0 points against {former} (95 % interval ");
    assert!(ended.stderr.contains(&begins), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("the most on logs and sql"),
        "{}",
        ended.stderr
    );
    let run = workspace.run_json();
    // Nothing was run for those that have not changed.
    assert_eq!(candidates(&run), ["gamma".to_owned(), former.clone()]);
    let regression = verdict(&run, "gamma");
    assert_eq!(regression["state"], "regression");
    assert_eq!(regression["effect"], -50.0);
    assert_eq!(regression["objectives"][0]["objective"], "logs");
    assert_eq!(verdict(&run, "alpha")["state"], "unchanged");
    assert_eq!(run["exit"]["code"], 1);
    assert_eq!(run["lead"], Value::Null);
    // Both were told that they are called gamma, and wrote to the same place.
    assert!(
        workspace
            .run_folder()
            .join("code")
            .join(&former)
            .join("1/discord_post.md")
            .is_file()
    );
    workspace.assert_nothing_left();
}

#[test]
fn a_pull_request_that_changes_nothing_runs_nothing() {
    let workspace = project().file("README.md", "more\n");
    commit(&workspace);
    let ended = forge(&workspace, "-k 3 --baseline @HEAD~1");
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    let run = workspace.run_json();
    assert_eq!(run["planned"], 0);
    for candidate in ["alpha", "beta", "gamma"] {
        assert_eq!(verdict(&run, candidate)["state"], "unchanged");
    }
    // A demand on one of them runs that one.
    let ended = forge(&workspace, "--baseline @HEAD~1 --require beta");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(candidates(&workspace.run_json()), ["beta"]);
}

#[test]
fn too_little_data_is_inconclusive_and_says_what_would_settle_it() {
    let workspace = project().candidate("gamma.sh", &good_but_on("logs"));
    let ended = forge(&workspace, "--baseline gamma@HEAD");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let run = workspace.run_json();
    let gamma = verdict(&run, "gamma");
    assert_eq!(gamma["state"], "inconclusive");
    assert_eq!(gamma["effect"], -25.0);
    let text = gamma["explanation"].as_str().unwrap();
    assert!(text.contains("would settle 5"), "{text}");
    let ended = forge(&workspace, "--baseline gamma@HEAD --fail-on inconclusive");
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(
        ended
            .stderr
            .contains("INCONCLUSIVE  gamma lost 25.0 points"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_night_compares_with_what_a_run_kept_and_says_whether_the_world_moved() {
    let workspace = project();
    assert_eq!(forge(&workspace, "-k 3").code, Some(0));
    assert_eq!(forge(&workspace, "baseline set latest").code, Some(0));
    // Nothing has changed: everything runs once, and scores as it did.
    let ended = forge(&workspace, "-k 3 --baseline blessed");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let run = workspace.run_json();
    assert_eq!(candidates(&run), ["alpha", "beta", "gamma"]);
    let states: Vec<&str> = run["verdicts"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["candidate"] == "gamma")
        .map(|it| it["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["unchanged", "steady"]);
    assert_eq!(run["lead"]["state"], "tie");
    // One got worse: it runs beside what it was, out of its pack.
    let workspace = workspace.candidate("gamma.sh", &good_but_on("logs|sql"));
    let ended = forge(&workspace, "-k 3 --baseline blessed");
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let run = workspace.run_json();
    assert_eq!(
        candidates(&run),
        ["alpha", "beta", "gamma", "gamma@blessed"]
    );
    assert_eq!(verdict(&run, "gamma")["state"], "regression");
    // Without its files, the same run only screens, and fails nothing.
    let stored = workspace.path("artifacts/blessed/run.json");
    std::fs::copy(stored, workspace.path("old.json")).unwrap();
    let ended = forge(&workspace, "-k 3 --baseline old.json");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(verdict(&workspace.run_json(), "gamma")["state"], "watch");
}

#[test]
fn a_rendered_run_has_the_same_verdicts_to_the_byte() {
    let workspace = project().candidate("gamma.sh", &good_but_on("logs"));
    forge(&workspace, "-k 2 --baseline @HEAD --control alpha");
    let path = workspace.run_folder().join("run.json");
    let first = std::fs::read_to_string(&path).unwrap();
    forge(&workspace, "report latest");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), first);
    let run: Value = serde_json::from_str(&first).unwrap();
    let questions: Vec<&str> = run["verdicts"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["gates"] == true)
        .map(|it| it["question"].as_str().unwrap())
        .collect();
    assert_eq!(
        questions,
        ["control", "control", "baseline", "baseline", "baseline"]
    );
}

#[test]
fn a_name_that_is_misspelt_is_refused_before_anything_starts() {
    let workspace = project();
    for (flags, flag) in [
        ("--require gama", "--require"),
        ("--fail-under gama=80", "--fail-under"),
        ("--control gama", "--control"),
        ("--baseline gama@HEAD", "--baseline"),
    ] {
        let ended = forge(&workspace, flags);
        assert_eq!(ended.code, Some(2), "{flags}: {}", ended.stderr);
        let message = format!("error: {flag}: no candidate of this run is called `gama`");
        assert!(ended.stderr.contains(&message), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("did you mean `gamma`?"),
            "{}",
            ended.stderr
        );
    }
    assert!(!Path::new(&workspace.path("artifacts")).exists());
}

#[test]
fn a_floor_of_one_candidate_is_its_own() {
    let workspace = project().candidate("gamma.sh", &good_but_on("logs"));
    assert_eq!(forge(&workspace, "--fail-under gamma=75").code, Some(0));
    let ended = forge(&workspace, "--fail-under gamma=80 --fail-under alpha=90");
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("`gamma` has 75.0 points, below 80.0"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_server_that_is_down_leaves_no_verdict() {
    let workspace = project().candidate("gamma.sh", &good_but_on("logs"));
    let mut command = workspace.command(["--daytona", "--baseline", "@HEAD"]);
    // Nobody listens there.
    command
        .env("DAYTONA_API_KEY", "dtn_0123456789")
        .env("DAYTONA_API_URL", "http://127.0.0.1:9/api");
    let ended = super::support::workspace::finish(command.spawn().unwrap());
    assert_eq!(ended.code, Some(3), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stderr.contains("no verdict"), "{}", ended.stderr);
}
