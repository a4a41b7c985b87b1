//! What `forge check` finds without running anything, and that a run really ends like that.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::support::workspace::{Ended, Workspace, finish};

const HELLO: &str = "#!/bin/sh\necho \"hello from the script\" > \"$2\"\n";

/// What `forge check --json` says, which ends like `forge check`, and whose problems are those of its text.
#[track_caller]
fn checked(workspace: &Workspace, options: &[&str], code: i32) -> Value {
    let words = |more: &[&'static str]| {
        let words = ["check"].iter().chain(more).chain(options).copied();
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    let text = workspace.forge(words(&[])).expect(code);
    let json = workspace.forge(words(&["--json"])).expect(code);
    let document: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(document["schema_version"], 1);
    assert_eq!(document["exit"]["code"], code);
    for problem in document["problems"].as_array().unwrap() {
        let message = problem["message"].as_str().unwrap();
        assert!(text.stderr.contains(message), "{message}: {}", text.stderr);
    }
    document
}

/// The places and messages of its problems.
fn problems(document: &Value) -> Vec<String> {
    let of = |problem: &Value| {
        let text = |key: &str| problem[key].as_str().unwrap_or_default().to_owned();
        let (file, message) = (text("file"), text("message"));
        format!(
            "{file}:{}:{}: {message}",
            problem["line"], problem["column"]
        )
    };
    document["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(of)
        .collect()
}

#[track_caller]
fn assert_one(found: &[String], told: &str) {
    let count = found.iter().filter(|it| it.starts_with(told)).count();
    assert_eq!(count, 1, "{told}: {found:#?}");
}

/// Candidates that cannot be started or set up: file, text, settings, and what is told of each.
const BROKEN: &[(&str, &str, &str, &str)] = &[
    (
        "crlf",
        "#!/bin/sh\r\n",
        "",
        "crlf:1:1: `crlf` has the line ends of Windows",
    ),
    (
        "named",
        "#!/usr/bin/env no-such-one\n",
        "",
        "named:1:1: `no-such-one`, which its first line asks for, is not installed",
    ),
    (
        "split",
        "#!/usr/bin/env -S no-such-one -x\n",
        "",
        "split:1:1: `no-such-one`, which",
    ),
    (
        "path",
        "#!/no/such/one -x\n",
        "",
        "path:1:1: its first line names `/no/such/one`, which is not there",
    ),
    (
        "relative",
        "#!sh\n",
        "",
        "relative:1:1: its first line names `sh`, which is no program",
    ),
    (
        "data",
        "#!/etc/passwd\n",
        "",
        "data:1:1: its first line names `/etc/passwd`, which cannot be executed",
    ),
    (
        "run.sh",
        HELLO,
        "run: [no-such-one, run.sh]\n",
        "run.yaml:1:7: `no-such-one` is not installed",
    ),
    (
        "at.sh",
        HELLO,
        "trust: trusted\nrun: [/no/such/one]\n",
        "at.yaml:2:7: `/no/such/one` is not installed",
    ),
    (
        "make.sh",
        HELLO,
        "setup: [\"true\", no-such-one all]\n",
        "make.yaml:1:17: `no-such-one` is not installed",
    ),
    #[cfg(target_os = "linux")]
    (
        "one",
        "#!/usr/bin/env sh -e\n",
        "",
        "one:1:1: its first line asks `env` for one program called `sh -e`",
    ),
    (
        "old.py",
        "# /// script\n# requires-python = '>=3.99'\n# ///\n",
        "",
        "old.py:null:null: its block asks for Python >=3.99",
    ),
];

#[test]
fn what_fails_all_trials_of_a_candidate_is_told_with_its_place() {
    // None of these is told, and all of them run.
    let mut workspace = Workspace::with(&[
        ("good.sh", HELLO),
        (
            "spaced",
            "#!  /bin/sh  \necho \"hello from the script\" > \"$2\"\n",
        ),
        (
            "splits",
            "#!/usr/bin/env -S sh -e\necho \"hello from the script\" > \"$2\"\n",
        ),
        ("nothing", "echo \"hello from the script\" > \"$2\"\n"),
        ("made.sh", HELLO),
    ])
    .file(
        "candidates/made.yaml",
        "name: made\nrun: [./made-later]\nsetup: ['cp made.sh made-later']\n",
    );
    for (name, script, settings, _) in BROKEN {
        workspace = workspace.candidate(name, script);
        if !settings.is_empty() {
            let stem = name.split('.').next().unwrap();
            workspace = workspace.file(&format!("candidates/{stem}.yaml"), settings);
        }
    }
    let found = problems(&checked(&workspace, &[], 2));
    for (.., told) in BROKEN {
        assert_one(&found, &format!("candidates/{told}"));
    }
    assert_eq!(found.len(), BROKEN.len(), "{found:#?}");
    assert!(!workspace.path("artifacts").exists());
    workspace.forge(["task"]).expect(0);
    let trials = workspace.trials();
    for (name, .., told) in BROKEN {
        let name = name.split('.').next().unwrap();
        let trial = &trials[&format!("task/{name}/1")];
        let failed = trial["error_kind"] == "setup" || trial["exit_code"] == 127;
        assert!(failed, "{told}: {trial}");
    }
    for name in ["good", "spaced", "splits", "nothing", "made"] {
        let trial = &trials[&format!("task/{name}/1")];
        assert_eq!(trial["passed"], true, "{trial}");
    }
}

#[test]
fn an_interpreter_by_its_extension_is_looked_for_like_in_a_run() {
    let known = [
        ("exs", "elixir"),
        ("jl", "julia"),
        ("tcl", "tclsh"),
        ("zsh", "zsh"),
    ];
    let is_here = |name: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(name).exists())
    };
    let Some((extension, program)) = known.into_iter().find(|it| !is_here(it.1)) else {
        eprintln!("skipped: a missing interpreter: this machine has all of {known:?}");
        return;
    };
    let file = format!("odd.{extension}");
    let workspace = Workspace::with(&[("good.sh", HELLO), (&file, "x")]);
    let found = problems(&checked(&workspace, &[], 2));
    assert_one(
        &found,
        &format!("candidates/{file}:null:null: `{program}` is not installed"),
    );
    workspace.forge(["task"]).expect(0);
    let trial = &workspace.trials()["task/odd/1"];
    assert!(
        trial["error_message"].as_str().unwrap().contains(program),
        "{trial}"
    );
}

#[test]
fn a_script_that_an_interpreter_is_given_must_be_there() {
    let workspace = Workspace::with(&[]).file("candidates/a/main.py", "").file(
        "candidates/a/candidate.yaml",
        "description: x\nrun: [python3, mian.py]\n",
    );
    for command in ["check", "run"] {
        let said = workspace.forge([command, "task"]).expect(2).stderr;
        let told = "candidates/a/candidate.yaml:2:16: run[1]: `mian.py` is not there\n  hint: did you mean `main.py`?";
        assert!(said.contains(told), "{said}");
    }
    assert!(!workspace.path("artifacts").exists());
    for good in [
        "setup: ['touch mian.py']\nrun: [python3, mian.py]\n",
        "run: [sh, -c, 'echo x.sh']\n",
        "run: [sh, data.txt]\n",
    ] {
        let workspace =
            Workspace::with(&[("x.sh", HELLO)]).file("candidates/a/candidate.yaml", good);
        checked(&workspace, &[], 0);
    }
}

#[test]
fn a_variable_that_is_not_set_is_told_with_its_place() {
    let workspace = Workspace::with(&[("a.sh", HELLO)]).file(
        "candidates/a.yaml",
        "description: x\npass_env: [OWN=HERE_IT_IS, NOT_SET_ANYWHERE]\n",
    );
    for command in ["check", "run"] {
        let mut child = workspace.command([command, "task"]);
        let said = finish(child.env("HERE_IT_IS", "a value").spawn().unwrap())
            .expect(2)
            .stderr;
        let told = "candidates/a.yaml:2:28: pass_env[1]: `NOT_SET_ANYWHERE`, which the candidate `a` is to get, is not set";
        assert!(said.contains(told), "{said}");
    }
    assert!(!workspace.path("artifacts").exists());
}

#[test]
fn a_setup_without_the_network_that_it_needs_is_told() {
    let workspace = Workspace::with(&[("line.sh", HELLO)])
        .file(
            "objectives/task.yaml",
            "prompt: x\nnetwork: {setup: block}\n",
        )
        .file("candidates/node/main.js", "")
        .file(
            "candidates/node/package.json",
            "{\"dependencies\": {\"no-such-package\": \"1\"}}",
        )
        .file("candidates/node/candidate.yaml", "limits: {setup: 1s}\n")
        .file(
            "candidates/line.yaml",
            "setup: ['echo x && git clone http://127.0.0.1:9/x']\n",
        );
    let document = checked(&workspace, &[], 2);
    let told = "`npm install` needs the network, and its setup has none on the objective `task`";
    assert_one(
        &problems(&document),
        &format!("candidates/node:null:null: {told}"),
    );
    let warning = &document["warnings"][0];
    assert_eq!(warning["file"], "candidates/line.yaml");
    assert_eq!(
        (&warning["line"], &warning["column"]),
        (&1.into(), &9.into())
    );
    let message = warning["message"].as_str().unwrap();
    assert!(
        message.starts_with("`git clone http://127.0.0.1:9/x` needs the network"),
        "{message}"
    );
    workspace.forge(["task"]).expect(1);
    for (name, trial) in workspace.trials() {
        assert_eq!(trial["error_kind"], "setup", "{name}: {trial}");
    }
    // What can only be warned of is no problem, and what has a network is neither.
    let line = ["-c", "line"];
    let document = checked(&workspace, &line, 0);
    assert_eq!(document["warnings"].as_array().unwrap().len(), 1);
    let document = checked(
        &workspace,
        &[&line[..], &["--setup-network", "open"]].concat(),
        0,
    );
    assert_eq!(document["warnings"].as_array().unwrap().len(), 0);
}

#[test]
fn a_grader_that_cannot_be_started_is_told() {
    for (command, told) in [
        (
            "[no-such-one, checks/x.py]",
            "2:32: `no-such-one` is not installed here",
        ),
        (
            "[/no/such/one]",
            "2:32: `/no/such/one` is not installed here",
        ),
        (
            "[./checks/plain.sh]",
            "2:32: `./checks/plain.sh` cannot be executed",
        ),
        (
            "[judge]",
            "2:32: `judge` is looked for on `PATH`, and is not there",
        ),
        (
            "[./checks/odd]",
            "2:32: `no-such-one`, which its first line asks for",
        ),
    ] {
        let workspace = Workspace::with(&[("a.sh", HELLO)])
            .file("objectives/checks/x.py", "")
            .file("objectives/checks/plain.sh", HELLO)
            .file("objectives/judge", HELLO)
            .file("objectives/checks/odd", "#!/usr/bin/env no-such-one\n")
            .file(
                "objectives/task.yaml",
                format!("prompt: x\nscoring: {{quality: [{{command: {command}}}]}}\n"),
            );
        for file in ["judge", "checks/odd"] {
            let path = workspace.path(&format!("objectives/{file}"));
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        assert_one(
            &problems(&checked(&workspace, &[], 2)),
            &format!("objectives/task.yaml:{told}"),
        );
        let ended = workspace.forge(["task"]).expect(3);
        assert!(
            ended.stderr.contains("ungraded"),
            "{command}: {}",
            ended.stderr
        );
    }
}

#[test]
fn what_this_machine_cannot_keep_is_told_with_who_asks_for_it() {
    let workspace = Workspace::with(&[("a.sh", HELLO)])
        .file("objectives/task.yaml", "prompt: x\nnetwork: [10.0.0.0/8]\n")
        .file("candidates/a.yaml", "trust: untrusted\n");
    let document = checked(&workspace, &["--isolation", "process"], 2);
    let found = problems(&document);
    assert_one(
        &found,
        "objectives/task.yaml:2:10: cannot create a sandbox: a local run cannot allow some networks",
    );
    assert_one(
        &found,
        "candidates/a.yaml:1:8: cannot create a sandbox: a local run without isolation refuses",
    );
    workspace
        .forge(["task", "--isolation", "process"])
        .expect(2);
    workspace
        .forge(["task", "--isolation", "process", "--network", "open"])
        .expect(2);
    let refused = workspace.forge(["check", "--require-daytona"]).expect(2);
    assert!(
        refused.stderr.contains("DAYTONA_API_KEY"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_level_that_is_not_to_be_had_is_told() {
    let here = crate::isolation::levels();
    for level in ["namespaces", "landlock", "process"] {
        let workspace = Workspace::with(&[("a.sh", HELLO)]);
        let code = if here.contains(&level) { 0 } else { 2 };
        let document = checked(&workspace, &["--isolation", level], code);
        let told = format!("this machine does not offer `--isolation {level}`");
        assert_eq!(
            document.to_string().contains(&told),
            code == 2,
            "{document}"
        );
        let ran = if code == 0 { 0 } else { 3 };
        workspace.forge(["task", "--isolation", level]).expect(ran);
    }
}

#[test]
fn an_interpreter_that_a_level_does_not_show_is_told() {
    for level in crate::isolation::levels() {
        let workspace = Workspace::with(&[]);
        let own = workspace.path("own/sh");
        std::fs::create_dir(own.parent().unwrap()).unwrap();
        std::fs::copy("/bin/sh", &own).unwrap();
        let script = format!(
            "#!{}\necho \"hello from the script\" > \"$2\"\n",
            own.display()
        );
        let workspace = workspace.candidate("a", &script);
        let is_shown = level == "process";
        let code = if is_shown { 0 } else { 2 };
        let document = checked(&workspace, &["--isolation", level], code);
        if !is_shown {
            assert_one(
                &problems(&document),
                "candidates/a:1:1: its first line names `",
            );
            workspace.forge(["task", "--isolation", level]).expect(1);
        }
    }
}

#[test]
fn what_cannot_be_written_is_told_and_nothing_is_made() {
    let workspace = Workspace::with(&[("a.sh", HELLO)]).file("taken", "");
    for options in [
        ["--junit", "candidates"],
        ["--csv", "taken/x.csv"],
        ["--log-file", "taken/x.log"],
        ["--html", "candidates/a.sh/x/y.html"],
        ["--artifacts", "taken"],
        ["--artifacts", "taken/x"],
    ] {
        let found = problems(&checked(&workspace, &options, 2));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].contains(options[1].split("/x").next().unwrap()),
            "{found:?}"
        );
        workspace
            .forge([&["task"][..], &options].concat())
            .expect(2);
    }
    checked(
        &workspace,
        &["--junit", "new/folder/x.xml", "--artifacts", "new/runs"],
        0,
    );
    assert!(!workspace.path("new").exists());
    let of = |word: &str| -> Ended {
        let mut command = workspace.command([word, "task"]);
        finish(
            command
                .env("TMPDIR", workspace.path("taken"))
                .spawn()
                .unwrap(),
        )
    };
    let said = of("check").expect(2).stderr;
    assert!(
        said.contains("error: TMPDIR: nothing can be written in `"),
        "{said}"
    );
    of("run").expect(3);
}

#[test]
fn what_is_wrong_in_files_is_in_the_document_too() {
    let workspace = Workspace::with(&[("a.sh", HELLO)]).file("objectives/b.yaml", "promt: x\n");
    let found = problems(&checked(&workspace, &[], 2));
    assert!(
        found
            .iter()
            .any(|it| it.starts_with("objectives/b.yaml:1:1: ")),
        "{found:?}"
    );
    let good = workspace.file("objectives/b.yaml", "prompt: x\n");
    let document = checked(&good, &["-k", "3"], 0);
    assert_eq!(document["exit"]["name"], "ok");
    assert_eq!(document["trials"], 6);
    assert_eq!(document["problems"], Value::Array(Vec::new()));
}

#[test]
fn in_the_cloud_only_what_is_the_same_everywhere_is_told_and_nobody_is_asked() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/api", listener.local_addr().unwrap());
    let workspace = Workspace::with(&[("a.sh", HELLO), ("crlf", "#!/bin/sh\r\n")])
        .file("candidates/a.yaml", "run: [no-such-one, a.sh]\n")
        .file(
            "objectives/task.yaml",
            "prompt: x\ngates: [{regex: '(a|b)*c'}]\n",
        );
    let run = |words: &[&str], code: i32| {
        let mut command = workspace.command(words);
        command.env("DAYTONA_API_KEY", "a-key-of-somebody");
        let child = command.env("DAYTONA_API_URL", &url).spawn().unwrap();
        let ended = finish(child).expect(code);
        serde_json::from_str::<Value>(&ended.stdout).unwrap()
    };
    let document = run(&["check", "--json", "--daytona"], 2);
    assert_eq!(document["place"], "daytona");
    let found = problems(&document);
    assert_one(
        &found,
        "candidates/crlf:null:null: `crlf` has the line ends",
    );
    assert_eq!(found.len(), 1, "{found:?}");
    run(&["check", "--json", "--daytona", "-c", "a"], 0);
    let asked = listener.accept().unwrap_err();
    assert_eq!(asked.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn where_a_run_would_fall_back_to_is_told() {
    let workspace = Workspace::with(&[("a.sh", HELLO)]);
    let document = checked(&workspace, &["--daytona"], 0);
    assert_eq!(document["place"], "local");
    let note = "(Daytona not configured, falling back to local)";
    assert_eq!(document["notes"], serde_json::json!([note]));
}
