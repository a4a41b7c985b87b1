//! What lies in people's folders: it does not stop a project, and does not run.

use std::os::unix::fs::symlink;

use crate::support::workspace::Workspace;

const HELLO: &str = "#!/bin/sh\necho 'hello hello hello' > \"$2\"\n";

#[test]
fn what_editors_and_tools_leave_is_no_candidate_and_no_objective() {
    let workspace = Workspace::with(&[
        ("a.sh", HELLO),
        ("a.sh~", HELLO),
        ("a.sh.bak", HELLO),
        ("a.sh.orig", HELLO),
        ("old~", HELLO),
        ("#a.sh#", HELLO),
        ("._a.sh", HELLO),
        ("folder/main.sh", HELLO),
        ("folder/main.sh~", HELLO),
        ("folder/main.bak", HELLO),
    ])
    .file("candidates/.DS_Store", "x")
    .file("candidates/__init__.py", "")
    .file("candidates/__pycache__/a.pyc", "x")
    .file("candidates/venv/pyvenv.cfg", "home = /usr/bin\n")
    .file("candidates/LICENSE", "x")
    .file("candidates/gone/__pycache__/main.pyc", "x")
    .file("candidates/folder/env/pyvenv.cfg", "home = /usr/bin\n")
    .file("objectives/task.yaml~", "prompt: other\n")
    .file("objectives/._task.yaml", "prompt: other\n")
    .file("objectives/.task.yaml.swp", "x")
    .file("forge.yaml", "allow: [suite-too-small, prompt-unread]\n");
    symlink("/usr/bin/env", workspace.path("candidates/venv/python")).unwrap();
    symlink(
        "/usr/bin/env",
        workspace.path("candidates/folder/env/python"),
    )
    .unwrap();
    symlink("me@host.1:2", workspace.path("candidates/.#a.sh")).unwrap();
    symlink("me@host.1:2", workspace.path("candidates/folder/.#main.sh")).unwrap();
    workspace.forge(["-q"]).expect(0);
    let trials: Vec<String> = workspace.trials().into_keys().collect();
    assert_eq!(trials, ["task/a/1", "task/folder/1"]);
    let checked = workspace.forge(["check"]).expect(0);
    assert_eq!(
        checked.stdout, "ok: 2 candidates, 1 objective, 2 trials\n",
        "nothing is said of what everybody knows"
    );
}

#[test]
fn what_a_project_leaves_out_does_not_stop_it() {
    let workspace = Workspace::with(&[("a.sh", HELLO), ("wip.sh", HELLO), ("mine.sh", HELLO)])
        .file("candidates/data.bin", "x")
        .file("candidates/lib/helper.rb", "x")
        .file("objectives/draft.yaml", "nonsense: [")
        .file("objectives/later.yaml", "prompt: later\n");
    let stopped = workspace.forge(["-q"]).expect(2);
    assert!(
        stopped
            .stderr
            .contains("candidates/data.bin: this is neither")
            && stopped.stderr.contains("name it in `.forgeignore`"),
        "{}",
        stopped.stderr
    );
    let workspace = workspace
        .file(".forgeignore", "data.bin\n")
        .file("candidates/.forgeignore", "lib/\n!mine.sh\n")
        .file("objectives/.forgeignore", "draft.yaml\n")
        .file(".gitignore", "wip.sh\nmine.sh\nlater.yaml\n");
    let ended = workspace.forge(["-q"]).expect(0);
    let trials: Vec<String> = workspace.trials().into_keys().collect();
    assert_eq!(trials, ["task/a/1", "task/mine/1"], "{}", ended.stderr);
    let said = workspace.run_json()["warnings"].to_string();
    let checked = workspace.forge(["check"]).expect(0);
    for part in [
        "`candidates/wip.sh` is no candidate, because `.gitignore` names it; `!/wip.sh` in `candidates/.forgeignore`",
        "`objectives/later.yaml` is left out, because `.gitignore` names it",
    ] {
        assert!(checked.stdout.contains(part), "{part}: {}", checked.stdout);
        assert!(said.contains(part), "{part}: {said}");
    }
    // What is named is taken.
    workspace.forge(["-q", "later"]).expect(0);
}
