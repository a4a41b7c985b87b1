//! What is to be done: where its text may be, and under which names a candidate and a grader find it.

use crate::support::workspace::Workspace;

/// Writes what the contract says of the task, and ends with 0 when all the forms of the prompt are the same.
const TELLS: &str = "#!/bin/sh
echo \"objective=$FORGE_OBJECTIVE old=${FORGE_OBJECTIVE_FILE-none} bytes=${#FORGE_PROMPT}\" > \"$2\"
printf %s \"$1\" | cmp - \"$FORGE_PROMPT_FILE\" && printf %s \"$FORGE_PROMPT\" | cmp - \"$FORGE_PROMPT_FILE\"
";

#[test]
fn a_candidate_and_a_grader_are_told_the_objectives_name_and_its_prompt() {
    let check = "test \"$FORGE_OBJECTIVE\" = weekly && test \"$FORGE_PROMPT\" = 'Write a post' && \
                 test \"$(cat \"$FORGE_PROMPT_FILE\")\" = 'Write a post' && test -z \"${FORGE_OBJECTIVE_FILE+x}\"\n";
    let workspace = Workspace::new()
        .candidate("a.sh", TELLS)
        .file("objectives/check.sh", check)
        .file(
            "objectives/weekly.yaml",
            "prompt: Write a post\nscoring: {quality: [{command: [sh, check.sh]}]}\n",
        );
    workspace.forge(["weekly"]).expect(0);
    let trial = &workspace.trials()["weekly/a/1"];
    assert_eq!(trial["scorers"][0]["points"], 100.0, "{trial}");
    let path = workspace.run_folder().join("weekly/a/1/discord_post.md");
    assert_eq!(
        std::fs::read_to_string(path).unwrap(),
        "objective=weekly old=none bytes=12\n"
    );
    workspace.assert_nothing_left();
}

#[test]
fn a_typed_prompt_is_called_after_its_words() {
    let workspace = Workspace::new().candidate("a.sh", TELLS);
    workspace.forge(["Write: a post!"]).expect(0);
    let path = workspace
        .run_folder()
        .join("write-a-post/a/1/discord_post.md");
    assert_eq!(
        std::fs::read_to_string(path).unwrap(),
        "objective=write-a-post old=none bytes=14\n"
    );
}

#[test]
fn the_longest_prompt_reaches_a_candidate_in_every_form() {
    let workspace = Workspace::new()
        .candidate("a.sh", TELLS)
        .file("objectives/long.txt", "x".repeat(96 * 1024))
        .file("objectives/task.yaml", "prompt: file://long.txt\n");
    workspace.forge(["task"]).expect(0);
    assert_eq!(workspace.trials()["task/a/1"]["exit_code"], 0);
    let written = workspace.trial_file("a", "discord_post.md");
    assert_eq!(
        String::from_utf8(written).unwrap(),
        "objective=task old=none bytes=98304\n"
    );
    let workspace = workspace.file("objectives/long.txt", "x".repeat(96 * 1024 + 1));
    let refused = workspace.forge(["task"]).expect(2);
    assert!(
        refused
            .stderr
            .contains("objectives/task.yaml:1:9: prompt: `long.txt`: the prompt has 98305 bytes"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_typed_name_of_a_file_is_no_prompt() {
    let workspace = Workspace::new()
        .candidate("a.sh", TELLS)
        .file("prompt.txt", "Write a haiku.\n");
    for typed in ["file://prompt.txt", "@prompt.txt"] {
        let refused = workspace.forge([typed]).expect(2);
        assert!(
            refused
                .stderr
                .contains("its text as a prompt is `forge \"$(cat prompt.txt)\"`"),
            "{typed}: {}",
            refused.stderr
        );
    }
    assert!(!workspace.path("artifacts").exists());
}
