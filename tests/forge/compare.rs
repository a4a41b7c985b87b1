//! `forge compare`: two real runs, in folders and in files.

use std::fs;

use serde_json::Value;

use crate::support::workspace::{Ended, Workspace};

const GOOD: &str = "#!/bin/sh\necho a good artifact > \"$2\"\n";
const BAD: &str = "#!/bin/sh\nexit 3\n";

/// A project with two objectives, of which `good` passes both.
fn workspace() -> Workspace {
    let more = Workspace::with(&[("good.sh", GOOD), ("bad.sh", BAD)]);
    more.file("objectives/more.yaml", "prompt: do more\n")
}

impl Workspace {
    /// Runs everything; returns the run's id.
    fn night(&self, code: i32, more: &[&str]) -> String {
        self.forge(["-k3", "-q"].iter().chain(more)).expect(code);
        let folder = self.run_folder();
        folder.file_name().unwrap().to_str().unwrap().to_owned()
    }
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap()
}

/// Each candidate with its state.
fn states(document: &Value) -> Vec<(String, String)> {
    let text = |it: &Value| it.as_str().unwrap().to_owned();
    let verdicts = document["verdicts"].as_array().unwrap().iter();
    let mut states: Vec<_> = verdicts
        .map(|it| (text(&it["candidate"]), text(&it["state"])))
        .collect();
    states.sort();
    states
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let pairs = expected.iter();
    pairs
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
        .collect()
}

#[test]
fn two_runs_are_compared_without_running_anything_wherever_they_are() {
    let workspace = workspace();
    let first = workspace.night(0, &[]);
    workspace.forge(["baseline", "set", "latest"]).expect(0);
    let workspace = workspace.candidate("good.sh", "#!/bin/sh\nexit 1\n");
    let second = workspace.night(1, &[]);
    workspace
        .forge(["baseline", "export", "night.forge", first.as_str()])
        .expect(0);
    let before = fs::read_dir(workspace.path("artifacts")).unwrap().count();
    let expected = pairs(&[("bad", "steady"), ("good", "watch")]);
    let bare = format!("artifacts/{first}/run.json");
    let folder = format!("./artifacts/{first}");
    let mut effects = Vec::new();
    for base in [
        &*first,
        &first[..35],
        "blessed",
        "night.forge",
        &bare,
        &folder,
    ] {
        for new in [&*second, "latest"] {
            let ended = workspace.forge(["compare", base, new, "--json"]).expect(0);
            let document = json(&ended);
            assert_eq!(states(&document), expected, "{base} {new}");
            assert_eq!(document["base"]["run"], *first);
            assert_eq!(document["new"]["run"], *second);
            assert_eq!(document["lead"], workspace.run_json()["lead"]);
            assert_eq!(document["rule"], workspace.run_json()["rule"]);
            effects.push(document["verdicts"][0]["effect"].as_f64().unwrap());
        }
    }
    assert!(
        effects.iter().all(|it| (it - effects[0]).abs() < 1e-9),
        "{effects:?}"
    );
    assert!(effects[0] < -99.0);
    let ended = workspace.forge(["compare", "blessed", "latest"]).expect(0);
    let first_line = ended.stdout.lines().next().unwrap();
    assert!(
        first_line.starts_with("Verdict: WATCH  good lost 100.0 points against good@blessed"),
        "{}",
        ended.stdout
    );
    assert!(
        ended.stdout.contains("good@blessed  100.0  0.0"),
        "{}",
        ended.stdout
    );
    // The same files on both sides, and nothing moved.
    let same = workspace
        .forge(["compare", "latest", &*second, "--json"])
        .expect(0);
    assert_eq!(
        states(&json(&same)),
        pairs(&[("bad", "steady"), ("good", "steady")])
    );
    assert_eq!(
        fs::read_dir(workspace.path("artifacts")).unwrap().count(),
        before
    );
    workspace.assert_nothing_left();
}

#[test]
fn a_world_that_moved_is_drifted_and_fails_only_those_who_ask() {
    // What it depends on is outside of its files.
    let script =
        |world: &std::path::Path| format!("#!/bin/sh\ncat '{}' > \"$2\"\n", world.display());
    let workspace = Workspace::new();
    let world = workspace.path("world");
    let workspace = workspace
        .file("world", "a good artifact")
        .file(
            "objectives/task.yaml",
            "prompt: do it\ngates: [{contains: good}]\n",
        )
        .file(
            "objectives/more.yaml",
            "prompt: do more\ngates: [{contains: good}]\n",
        )
        .candidate("good.sh", &script(&world));
    let first = workspace.night(0, &["--isolation", "process"]);
    fs::write(&world, "another artifact").unwrap();
    let second = workspace.night(1, &["--isolation", "process"]);
    let ended = workspace.forge(["compare", &*first, &*second]).expect(0);
    assert!(
        ended
            .stdout
            .starts_with("Verdict: DRIFTED  good lost 100.0 points"),
        "{}",
        ended.stdout
    );
    let fail = ["compare", &*first, &*second, "--fail-on", "drifted"];
    let ended = workspace.forge(fail).expect(1);
    assert!(ended.stderr.contains("DRIFTED"), "{}", ended.stderr);
    assert!(ended.stderr.contains("(exit code 1)"), "{}", ended.stderr);
    let document = json(&workspace.forge(fail.iter().chain(&["--json"])).expect(1));
    assert_eq!(document["exit"]["name"], "below");
    assert_eq!(document["verdicts"][0]["question"], "world");
}

#[test]
fn what_is_not_comparable_is_said_and_nothing_comparable_is_invalid() {
    let workspace = workspace();
    let first = workspace.night(0, &[]);
    let workspace = workspace
        .file("objectives/more.yaml", "prompt: do even more\n")
        .candidate("new.sh", GOOD);
    fs::remove_file(workspace.path("candidates/bad.sh")).unwrap();
    let second = workspace.night(0, &[]);
    let ended = workspace.forge(["compare", &*first, &*second]).expect(0);
    assert!(
        ended.stdout.contains(
            "Not comparable: more: the objective, its scoring or its inputs have changed"
        ),
        "{}",
        ended.stdout
    );
    for told in [
        format!("candidate `bad` is only in the run {first}"),
        format!("candidate `new` is only in the run {second}"),
    ] {
        assert!(ended.stderr.contains(&told), "{}", ended.stderr);
    }
    // Other isolation, other limits, another rule: no verdict.
    let elsewhere = workspace.night(0, &["--isolation", "process"]);
    let ended = workspace
        .forge(["compare", &*second, &*elsewhere])
        .expect(2);
    assert!(ended.stdout.contains("INVALID"), "{}", ended.stdout);
    assert!(
        ended.stdout.contains("it ran elsewhere"),
        "{}",
        ended.stdout
    );
    let slower = workspace.night(0, &["--timeout", "7s"]);
    let ended = workspace.forge(["compare", &*second, &*slower]).expect(2);
    assert!(ended.stdout.contains("and is 7 s now"), "{}", ended.stdout);
    let stricter = workspace.night(0, &["--max-drop", "2"]);
    let ended = workspace.forge(["compare", &*second, &*stricter]).expect(2);
    assert!(
        ended.stdout.contains("the runs have different rules"),
        "{}",
        ended.stdout
    );
    assert!(
        ended.stderr.contains("`max_drop` 5.0 then, 2.0 now"),
        "{}",
        ended.stderr
    );
    let ended = workspace
        .forge(["compare", &*second, &*stricter, "--max-drop", "3", "--json"])
        .expect(0);
    let document = json(&ended);
    assert_eq!(
        states(&document),
        pairs(&[("good", "steady"), ("new", "steady")])
    );
    assert_eq!(document["rule"]["max_drop"], 3.0);
    // What forge.yaml says is asked for as well.
    let workspace = workspace.file("forge.yaml", "compare: {max_drop: 4}\n");
    let ended = workspace.forge(["compare", &*second, &*stricter]).expect(0);
    assert!(
        ended
            .stderr
            .contains("both are judged by the one that was asked for"),
        "{}",
        ended.stderr
    );
}

#[test]
fn what_is_no_run_is_told_for_both_at_once() {
    let workspace = workspace();
    let told = workspace
        .forge(["compare", "latest", "@main"])
        .expect(2)
        .stderr;
    assert!(
        told.contains("BASE: there is no run in `artifacts`"),
        "{told}"
    );
    assert!(told.contains("NEW: `@main` is a git revision"), "{told}");
    assert!(told.contains("`forge --baseline @main`"), "{told}");
    let first = workspace.night(0, &["-c", "good"]);
    let second = workspace.night(1, &["-c", "bad"]);
    let ended = workspace
        .forge(["compare", &*first, &*second, "--json"])
        .expect(2);
    let problem = &json(&ended)["problems"][0];
    assert!(
        problem["message"]
            .as_str()
            .unwrap()
            .contains("no candidate in common")
    );
    let workspace = workspace.file("notes.txt", "not a run\n");
    let told = workspace
        .forge(["compare", "notes.txt", "latest"])
        .expect(2)
        .stderr;
    assert!(told.contains("notes.txt: this is no stored run"), "{told}");
    workspace.forge(["compare", "latest"]).expect(2);
}
