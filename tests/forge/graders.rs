//! Graders through the whole program: what they say, and that breaking one never pays.

use serde_json::Value;

use crate::support::workspace::{Ended, Workspace};

const HELLO: &str = "#!/bin/sh\necho \"hello from the script\" > \"$2\"\n";

/// What a grader does is what the artifact says: the first word of its first line.
const OBEYS: &str = "word=$(cut -d' ' -f1 discord_post.md)\n\
    case $word in\n\
    hang) sleep 600 ;;\n\
    kill) kill -9 $$ ;;\n\
    all) kill -9 -1; sleep 600 ;;\n\
    crash) exit 139 ;;\n\
    missing) no-such-program ;;\n\
    raise) python3 -c 'raise ValueError(1)' ;;\n\
    quiet*) exit 0 ;;\n\
    torn) printf '{\"score\": 100' ;;\n\
    flood) head -c 3000000 /dev/zero | tr '\\0' x; echo '{\"score\": 100}' ;;\n\
    *) echo \"{\\\"score\\\": $word}\" ;;\n\
    esac\n";

/// Candidates whose artifacts begin with these words, on an objective with this scorer, where only quality
/// counts.
fn judged_by(words: &[&str], scorer: &str) -> Workspace {
    let objective = format!(
        "prompt: x\nscoring:\n  weights: {{success: 0.4, quality: 0.6, speed: 0}}\n  quality:\n    - {{{scorer}}}\n"
    );
    let workspace = Workspace::new()
        .file("objectives/task.yaml", objective)
        .file("objectives/checks/obeys.sh", OBEYS);
    words.iter().fold(workspace, |workspace, word| {
        let script = format!("#!/bin/sh\necho \"{word} and eleven bytes\" > \"$2\"\n");
        workspace.candidate(&format!("c{word}.sh"), &script)
    })
}

/// The only scorer of the only trial of a grader with these arguments, and how forge ended.
fn graded(grader: &str) -> (Value, Ended) {
    let workspace = Workspace::with(&[("a.sh", HELLO)]).file(
        "objectives/checks/grade.sh",
        "grep -q hello discord_post.md && [ \"$FORGE_OUTPUT\" -ef discord_post.md ]\n",
    );
    let objective =
        format!("prompt: x\nscoring:\n  quality:\n    - {{command: {grader}, timeout: 1s}}\n");
    let workspace = workspace.file("objectives/task.yaml", objective);
    let ended = workspace.forge(["task"]);
    workspace.assert_nothing_left();
    let scorer = workspace.trials()["task/a/1"]["scorers"][0].clone();
    (scorer, ended)
}

#[test]
fn a_grader_says_what_it_thinks_by_exit_code_or_json() {
    for (grader, points) in [
        ("[sh, checks/grade.sh]", 100.0),
        ("[sh, -c, exit 1]", 0.0),
        (r#"[sh, -c, 'echo "{\"score\": 42.5}"; echo Done.']"#, 42.5),
        (
            r#"[sh, -c, 'echo "{\"score\": 7, \"max_score\": 10}"; exit 3']"#,
            70.0,
        ),
    ] {
        let (scorer, ended) = graded(grader);
        assert_eq!(scorer["points"], points, "{scorer}");
        let went = if grader.contains("score") {
            "well"
        } else {
            "silent"
        };
        assert_eq!(scorer["went"], went, "{scorer}");
        ended.expect(0);
    }
}

#[test]
fn a_grader_that_never_worked_leaves_no_winner() {
    for grader in [
        "[sh, -c, exit 2]",
        "[no-such-program]",
        "[sh, -c, no-such-program]",
        "[sh, -c, sleep 60]",
        "[sh, -c, kill -9 $$]",
        r#"[sh, -c, 'echo "{\"score\": 4711}"']"#,
        r#"[sh, -c, 'echo "{\"score\": 12}" >&2']"#,
        "[python3, -c, raise ValueError]",
    ] {
        let (scorer, ended) = graded(grader);
        assert!(scorer["points"].is_null(), "{grader}: {scorer}");
        let said = scorer["explanation"].as_str().unwrap();
        assert!(said.starts_with("ungraded, "), "{scorer}");
        let ended = ended.expect(3);
        let first: Vec<&str> = ended.stdout.lines().take(3).collect();
        assert_eq!(first[1], "No winner: nothing was graded");
        assert!(
            first[2].starts_with("Ungraded: task: `command "),
            "{first:?}"
        );
    }
}

#[test]
fn an_artifact_that_breaks_the_grader_has_no_points_from_it() {
    let breakers = [
        "hang", "kill", "all", "crash", "missing", "raise", "torn", "flood",
    ];
    let words: Vec<&str> = breakers.iter().copied().chain(["40"]).collect();
    let workspace = judged_by(&words, "command: [sh, checks/obeys.sh], timeout: 2s");
    let ended = workspace.forge(["task"]).expect(0);
    workspace.assert_nothing_left();
    assert!(ended.stdout.contains("Winner: c40 "), "{}", ended.stdout);
    let trials = workspace.trials();
    assert_eq!(trials["task/c40/1"]["score"], 64.0);
    for word in breakers {
        let trial = &trials[&format!("task/c{word}/1")];
        let scorer = &trial["scorers"][0];
        assert_eq!(
            (&scorer["points"], &trial["score"]),
            (&0.0.into(), &40.0.into()),
            "{trial}"
        );
        let said = scorer["explanation"].as_str().unwrap();
        let begin =
            "0 points, it worked on 1 other artifact but on this it failed in two sandboxes: ";
        assert!(said.starts_with(begin), "{said}");
    }
    // A replay knows the same.
    let run_json = || std::fs::read(workspace.run_folder().join("run.json")).unwrap();
    let before = run_json();
    workspace.forge(["report", "latest"]).expect(0);
    assert_eq!(run_json(), before);
}

#[test]
fn an_artifact_that_ends_its_grader_before_the_verdict_has_no_points_from_it() {
    let check = |words: &[&str], on_error: &str, code, expected: Value| {
        let scorer = format!("command: [sh, checks/obeys.sh]{on_error}");
        let workspace = judged_by(words, &scorer);
        let trial = || workspace.trials()["task/cquiet/1"].clone();
        workspace.forge(["task"]).expect(code);
        let first = trial();
        assert_eq!(first["scorers"][0]["points"], expected, "{first}");
        for again in [["report", "latest"], ["score", "latest"]] {
            workspace.forge(again).expect(code);
            assert_eq!(trial()["score"], first["score"]);
            assert_eq!(trial()["scorers"], first["scorers"]);
        }
        first
    };
    let trial = check(&["quiet", "40"], "", 0, 0.0.into());
    assert_eq!(trial["score"], 40.0);
    assert_eq!(
        trial["scorers"][0]["explanation"],
        "0 points, it worked on 1 other artifact but on this it failed: it exited with 0, without the verdict \
         that it prints on others"
    );
    check(&["quiet", "40"], ", on_error: zero", 0, 0.0.into());
    check(&["quiet", "40"], ", on_error: ungraded", 3, Value::Null);
    // Where it prints a verdict for nobody, the exit code is one.
    check(&["quiet", "quiet2"], "", 0, 100.0.into());
}

#[test]
fn a_scorer_may_say_itself_what_its_failure_means() {
    let check = |words: &[&str], on_error: &str, code, points: Value| {
        let scorer = format!("command: [sh, checks/obeys.sh], on_error: {on_error}");
        let workspace = judged_by(words, &scorer);
        let ended = workspace.forge(["task"]).expect(code);
        let standings = &workspace.run_json()["standings"];
        assert_eq!(standings["winner"].is_null(), code == 3, "{}", ended.stdout);
        let crash = &workspace.trials()["task/ccrash/1"]["scorers"][0];
        assert_eq!(crash["points"], points, "{crash}");
    };
    check(&["crash"], "zero", 0, 0.0.into());
    check(&["crash", "40"], "zero", 0, 0.0.into());
    check(&["crash", "40"], "ungraded", 3, Value::Null);
}

#[test]
fn every_report_begins_with_what_is_ungraded_and_the_rest_is_ranked_without_it() {
    let workspace = judged_by(&["40", "30"], "command: [no-such-program]").file(
        "objectives/other.yaml",
        "prompt: x\nscoring:\n  quality:\n    - {command: [sh, checks/obeys.sh]}\n",
    );
    let ended = workspace.forge::<&str>([]).expect(3);
    let run = workspace.run_json();
    assert_eq!(run["standings"]["winner"]["candidate"], "c40");
    let places = run["standings"]["objectives"].as_array().unwrap();
    assert_eq!(places[0]["winner"]["candidate"], "c40");
    assert!(places[1]["winner"].is_null() && places[1]["standings"][0]["rank"].is_null());
    assert!(run["ungraded"]["task"].is_string() && run["ungraded"]["other"].is_null());
    assert!(
        ended
            .stdout
            .contains("Overall, the mean over 1 of 2 objectives")
    );
    assert!(
        ended
            .stderr
            .contains("objective task is ungraded (exit code 3)")
    );
    let read = |name: &str| std::fs::read_to_string(workspace.run_folder().join(name)).unwrap();
    for name in ["report.md", "report.html"] {
        assert!(
            read(name).contains("none, the objective is ungraded"),
            "{name}"
        );
    }
    for (name, needle) in [
        ("report.md", "**Ungraded:** task: "),
        ("report.html", "Ungraded: task: "),
        ("run.json", "\"ungraded\": {"),
        ("trials.csv", ",ungraded,"),
        ("junit.xml", "type=\"ungraded\""),
    ] {
        let text = read(name);
        let from = if name == "report.html" {
            text.find("<h1").unwrap()
        } else {
            0
        };
        let from = if name == "junit.xml" {
            text.find("name=\"task\"").unwrap()
        } else {
            from
        };
        let first: String = text[from..].lines().take(6).collect();
        assert!(first.contains(needle), "{name}: {first}");
    }
    assert!(workspace.run_folder().join("other/winner").exists());
    assert!(!workspace.run_folder().join("task/winner").exists());
}

#[test]
fn a_grader_that_is_broken_later_takes_the_winner_away_and_a_mended_one_gives_it_back() {
    let workspace = judged_by(&["40", "30"], "command: [sh, checks/obeys.sh]");
    workspace.forge(["task"]).expect(0);
    let link = workspace.run_folder().join("task/winner");
    assert!(link.exists());
    let broken = workspace.file("objectives/checks/obeys.sh", "exit 7\n");
    let ended = broken.forge(["score", "latest"]).expect(3);
    assert!(
        ended
            .stdout
            .starts_with("No winner: nothing was graded\nUngraded: task: ")
    );
    assert!(!link.exists());
    broken.forge(["report", "latest"]).expect(3);
    let mended = broken.file("objectives/checks/obeys.sh", OBEYS);
    let ended = mended.forge(["score", "latest"]).expect(0);
    assert!(ended.stdout.starts_with("Winner: c40 "), "{}", ended.stdout);
    assert!(link.exists());
}

/// The first grader runs the artifact, as graders of programs do.
#[test]
fn an_artifact_that_one_grader_runs_cannot_change_another_grader() {
    let script = "#!/bin/sh\necho 'echo exit 0 >checks/second.sh' > \"$2\"\n";
    let workspace = Workspace::with(&[("a.sh", script)])
        .file(
            "objectives/checks/first.sh",
            "sh discord_post.md >&2\necho '{\"score\": 50}'\n",
        )
        .file(
            "objectives/checks/second.sh",
            "echo '{\"score\": 7}'\n",
        )
        .file(
            "objectives/task.yaml",
            "prompt: x\nscoring:\n  quality:\n    - {command: [sh, checks/first.sh]}\n    - {command: [sh, checks/second.sh]}\n",
        );
    workspace.forge(["task"]).expect(0);
    let scorers = &workspace.trials()["task/a/1"]["scorers"];
    let points = [&scorers[0]["points"], &scorers[1]["points"]];
    assert_eq!(points, [50.0, 7.0], "{scorers}");
    workspace.assert_nothing_left();
}

#[test]
fn small_scores_are_doubted_first_in_every_report_unless_the_scale_is_said() {
    let workspace = judged_by(&["0.5", "0.9"], "command: [sh, checks/obeys.sh]");
    let ended = workspace.forge(["task"]).expect(0);
    let said = "Warning: task: `command sh checks/obeys.sh` gave scores between 0 and 1 only";
    assert!(ended.stdout.contains(said), "{}", ended.stdout);
    let warning = &workspace.run_json()["warnings"][0];
    assert!(
        warning.as_str().unwrap().contains("`scale: 1`"),
        "{warning}"
    );
    assert_eq!(workspace.trials()["task/c0.9/1"]["quality"], 0.9);

    let workspace = judged_by(&["0.5", "0.9"], "command: [sh, checks/obeys.sh], scale: 1");
    let ended = workspace.forge(["task"]).expect(0);
    assert!(!ended.stdout.contains("Warning"), "{}", ended.stdout);
    assert_eq!(workspace.trials()["task/c0.9/1"]["quality"], 90.0);
}
