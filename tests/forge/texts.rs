//! What is judged is what the candidate wrote: its text, whatever its line ends and marks are, and with the
//! secrets that nobody else gets to see.

use crate::support::workspace::Workspace;

const SECRET: &str = "open-sesame-4711";

fn secretive(objective: &str) -> Workspace {
    let script = "#!/bin/sh\necho \"the key is $KEY\" > \"$2\"\necho \"$KEY\" > \"$FORGE_ARTIFACTS/$KEY.txt\"\necho \"{\\\"n-$KEY\\\": 4}\" > \"$FORGE_ARTIFACTS/metrics.json\"\n";
    Workspace::with(&[("a.sh", script)])
        .file("candidates/a.yaml", "pass_env: [KEY]\n")
        .file("objectives/task.yaml", objective)
}

fn holds_secret(folder: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(holds_secret(&path));
        } else if path.is_file() {
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            if text.contains(SECRET) || path.to_string_lossy().contains(SECRET) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[test]
fn what_is_judged_has_its_secrets_and_what_is_saved_has_not() {
    let objective = format!(
        "prompt: x\nartifacts: ['*.txt']\ngates: [{{contains: {SECRET}}}]\nscoring:\n  quality:\n    - {{equals: \"the key is {SECRET}\"}}\n    \
         - {{command: [sh, -c, 'grep -q {SECRET} discord_post.md && grep {SECRET} \"$FORGE_ARTIFACTS/{SECRET}.txt\" >&2; exit 1']}}\n"
    );
    let workspace = secretive(&objective);
    let mut command = workspace.command(["task"]);
    let child = command.env("KEY", SECRET).spawn().unwrap();
    let ended = crate::support::workspace::finish(child).expect(0);
    assert!(!ended.stdout.contains(SECRET) && !ended.stderr.contains(SECRET));
    let trials = workspace.trials();
    let trial = &trials["task/a/1"];
    let scorers = trial["scorers"].as_array().unwrap();
    assert_eq!(scorers[0]["points"], 100.0, "{scorers:?}");
    assert_eq!(scorers[1]["explanation"], "the grader exited with 1: ***");
    assert_eq!(trial["artifact"]["redacted"], true);
    assert_eq!(trial["metrics"]["n-***"], 4.0);
    assert_eq!(
        workspace.trial_file("a", "discord_post.md"),
        b"the key is ***\n"
    );
    assert_eq!(workspace.trial_file("a", "files/***.txt"), b"***\n");
    assert_eq!(
        holds_secret(&workspace.path("artifacts")),
        Vec::<String>::new()
    );
    workspace.assert_nothing_left();
}

#[test]
fn scoring_again_says_that_the_secrets_are_gone() {
    let workspace = secretive(&format!(
        "prompt: x\nscoring: {{quality: [{{contains: {SECRET}}}]}}\n"
    ));
    let mut command = workspace.command(["task"]);
    crate::support::workspace::finish(command.env("KEY", SECRET).spawn().unwrap()).expect(0);
    assert_eq!(
        workspace.trials()["task/a/1"]["scorers"][0]["points"],
        100.0
    );
    let ended = workspace.forge(["score", "latest"]).expect(0);
    assert_eq!(workspace.trials()["task/a/1"]["scorers"][0]["points"], 0.0);
    let said = "task/a/1: what was saved is without its secrets, and was scored like that";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
}

#[test]
fn marks_and_line_ends_are_no_part_of_a_text() {
    let script = "#!/bin/sh\nprintf '\\357\\273\\277# Title\\r\\none\\r\\ntwo\\r\\n' > \"$2\"\n";
    let objective = "prompt: x\ngates: [{regex: '^# Title$'}, {contains: \"one\\ntwo\"}]\nscoring:\n  quality:\n    - {golden: want.txt}\n    \
                     - {equals: \"# Title\\none\\ntwo\"}\n    - {regex: 'e$'}\n    - {contains: [\"one\\ntwo\\n\"]}\n";
    let workspace = Workspace::with(&[("a.sh", script)])
        .file("objectives/task.yaml", objective)
        .file("objectives/want.txt", "\u{feff}# Title\none\ntwo\n");
    workspace.forge(["task"]).expect(0);
    let trials = workspace.trials();
    for scorer in trials["task/a/1"]["scorers"].as_array().unwrap() {
        assert_eq!(scorer["points"], 100.0, "{scorer}");
    }
}

#[test]
fn a_text_that_is_utf_16_is_said_to_be_that() {
    let script = "#!/bin/sh\nprintf '\\377\\376h\\000e\\000l\\000l\\000o\\000 \\000y\\000o\\000u\\000' > \"$2\"\n";
    let workspace = Workspace::with(&[("a.sh", script)]).file(
        "objectives/task.yaml",
        "prompt: x\ngates: [{not_contains: bye}]\n",
    );
    workspace.forge(["task"]).expect(1);
    let said = workspace.trials()["task/a/1"]["disqualified"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(said.contains("it is UTF-16, and text is UTF-8"), "{said}");
}

#[test]
fn a_metric_that_is_no_number_costs_that_metric_only_and_is_said() {
    let script = "#!/bin/sh\necho hello to everybody > \"$2\"\necho '{\"tokens\": 12, \"loss\": NaN, \"note\": null}' > \"$FORGE_ARTIFACTS/metrics.json\"\n";
    let workspace = Workspace::with(&[("a.sh", script)]);
    let ended = workspace.forge(["task"]).expect(0);
    let trials = workspace.trials();
    assert_eq!(
        trials["task/a/1"]["metrics"],
        serde_json::json!({"tokens": 12.0})
    );
    let said = "task/a/1: metrics.json: `loss` is left out: NaN is no finite number";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
}
