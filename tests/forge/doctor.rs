//! What `forge doctor` finds on this machine and in the project, for people and for programs.

use serde_json::Value;

use crate::support::workspace::{Ended, Workspace, finish};

const HELLO: &str = "#!/bin/sh\necho \"hello from the script\" > \"$2\"\n";

fn document(ended: &Ended) -> Value {
    let document: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(document["schema_version"], 1);
    assert_eq!(document["exit"]["code"], ended.code.unwrap());
    document
}

fn tool<'d>(document: &'d Value, name: &str) -> &'d Value {
    let tools = document["tools"].as_array().unwrap();
    tools.iter().find(|tool| tool["name"] == name).unwrap()
}

#[test]
fn a_folder_without_a_project_is_no_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let workspace = Workspace::new();
    let run = |words: &[&str]| {
        let mut command = workspace.command(words);
        finish(command.current_dir(folder.path()).spawn().unwrap()).expect(0)
    };
    let document = document(&run(&["doctor", "--json"]));
    assert_eq!(document["project"]["found"], false);
    assert_eq!(document["daytona"]["configured"], false);
    assert!(document["isolation"]["in_force"].is_string(), "{document}");
    assert!(
        document["machine"]["sandboxes"]["free_bytes"].is_u64(),
        "{document}"
    );
    assert_eq!(document["watch"]["works"], true, "{document}");
    let sh = tool(&document, "sh");
    assert_eq!(sh["found"], true, "{sh}");
    assert!(
        std::path::Path::new(sh["path"].as_str().unwrap()).exists(),
        "{sh}"
    );
    let text = run(&["doctor"]).stdout;
    for part in [
        "none in this folder: there is no `candidates`",
        "Watch\n  can be started: ",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn what_the_candidates_of_the_project_need_is_told_with_who_needs_it() {
    let workspace = Workspace::with(&[
        ("a.sh", HELLO),
        ("b", "#!/usr/bin/env no-such-one\n"),
        ("c.sh", HELLO),
        ("d.sh", HELLO),
    ])
    .file("candidates/c.yaml", "run: [no-such-one, c.sh]\n")
    .file("candidates/d.yaml", "setup: [no-such-tool all]\n");
    let found = document(&workspace.forge(["doctor", "--json"]).expect(0));
    let missing = tool(&found, "no-such-one");
    assert_eq!(missing["found"], false);
    assert_eq!(missing["needed_by"], serde_json::json!(["b", "c"]));
    assert!(
        missing["remedy"].as_str().unwrap().contains("install it"),
        "{missing}"
    );
    assert_eq!(tool(&found, "no-such-tool")["needed_by"][0], "d");
    let problems = found["project"]["problems"].as_array().unwrap();
    let place = |at: usize| {
        (
            &problems[at]["file"],
            &problems[at]["line"],
            &problems[at]["column"],
        )
    };
    assert_eq!(place(0), (&"candidates/b".into(), &1.into(), &1.into()));
    assert_eq!(
        place(1),
        (&"candidates/c.yaml".into(), &1.into(), &7.into())
    );
    assert_eq!(
        place(2),
        (&"candidates/d.yaml".into(), &1.into(), &9.into())
    );
    let text = workspace.forge(["doctor"]).expect(0).stdout;
    for told in [
        "not found; needed by `b`, `c`: install it",
        "4 candidates in candidates",
        "wrong: candidates/c.yaml:1:7: run[0]: `no-such-one` is not installed here",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
    let wrong = workspace.file("candidates/d.yaml", "setpu: [x]\n");
    let found = document(&wrong.forge(["doctor", "--json"]).expect(0));
    assert_eq!(found["project"]["problems"][0]["file"], "candidates/d.yaml");
}

#[test]
fn a_tool_that_says_its_version_is_told_with_it() {
    let found = document(&Workspace::new().forge(["doctor", "--json"]).expect(0));
    for name in ["python3", "node", "bash", "perl", "npm", "uv", "git", "cc"] {
        let tool = tool(&found, name);
        if tool["found"] == true {
            let version = tool["version"].as_str().unwrap();
            assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{tool}");
        } else {
            eprintln!("skipped: the version of {name}: it is not on this machine");
        }
    }
}

#[test]
fn settings_that_are_wrong_are_in_the_document_too() {
    let workspace = Workspace::with(&[("a.sh", HELLO)]).file("forge.yaml", "jbos: 3\n");
    let found = document(&workspace.forge(["doctor", "--json"]).expect(2));
    assert_eq!(found["problems"][0]["file"], "./forge.yaml");
    assert_eq!(found["problems"][0]["line"], 1);
    assert_eq!(found["problems"][0]["hint"], "did you mean `jobs`?");
}

#[test]
fn limits_that_are_too_low_are_told_with_a_remedy() {
    let workspace = Workspace::with(&[("a.sh", HELLO)]);
    let script = "ulimit -n 70; ulimit -f 100000; exec \"$0\" doctor \"$@\"";
    let run = |more: &[&str]| {
        let mut command = std::process::Command::new("sh");
        command
            .args(["-c", script, env!("CARGO_BIN_EXE_forge")])
            .args(more)
            .current_dir(workspace.path(""))
            .env("TMPDIR", workspace.path("tmp"))
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        finish(command.spawn().unwrap())
    };
    let text = run(&[]).stdout;
    for told in [
        "wrong: the limit of open files is 70",
        "`ulimit -n ",
        "wrong: the limit of bytes of a file is ",
        "`ulimit -f ",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
    let found = document(&run(&["--json"]));
    let limits = found["machine"]["limits"].as_array().unwrap();
    assert!(limits[0]["remedy"].is_string(), "{found}");
    assert_eq!(limits[0]["value"], 70);
}

#[test]
fn a_place_without_room_for_sandboxes_is_told() {
    let workspace =
        Workspace::with(&[("a.sh", HELLO)]).file("forge.yaml", "local: {disk: 900000TiB}\n");
    let found = document(&workspace.forge(["doctor", "--json"]).expect(0));
    let problem = &found["machine"]["problems"][0];
    assert!(
        problem["hint"].as_str().unwrap().contains("`TMPDIR`"),
        "{problem}"
    );
    let mut command = workspace.command(["doctor"]);
    command.env("TMPDIR", workspace.path("candidates/a.sh"));
    let said = finish(command.spawn().unwrap()).expect(3).stdout;
    assert!(
        said.contains("wrong: sandboxes cannot be made in "),
        "{said}"
    );
}

#[test]
fn a_server_that_is_not_reached_has_a_remedy() {
    let port = {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.local_addr().unwrap().port()
    };
    let workspace = Workspace::with(&[("a.sh", HELLO)]);
    let run = |words: &[&str]| {
        let mut command = workspace.command(words);
        command
            .env("DAYTONA_API_KEY", "a-key-of-somebody")
            .env("DAYTONA_API_URL", format!("http://127.0.0.1:{port}/api"));
        finish(command.spawn().unwrap()).expect(3)
    };
    let found = document(&run(&["doctor", "--json"]));
    assert_eq!(found["daytona"]["works"], false);
    let hint = found["daytona"]["problems"][0]["hint"].as_str().unwrap();
    let said = run(&["--daytona", "task"]).stderr;
    assert!(said.contains("no connection to 127.0.0.1"), "{said}");
    for told in ["DAYTONA_API_URL", "HTTPS_PROXY", "`forge doctor`"] {
        assert!(
            hint.contains(told) && said.contains(told),
            "{told}: {hint} {said}"
        );
    }
}
