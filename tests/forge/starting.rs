//! `forge init`, `forge new`, completions and the man page: from an empty folder to a verdict.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::schemas;
use crate::support::workspace::{Ended, Workspace, finish};

/// Runs the program in a folder of the workspace.
fn within(workspace: &Workspace, folder: &str, arguments: &[&str]) -> Ended {
    let mut command = workspace.command(arguments);
    command.current_dir(workspace.path(folder));
    finish(command.spawn().unwrap())
}

fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let path = path.strip_prefix(folder).unwrap();
                found.push(path.to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Without what every project of the tests has.
fn empty() -> Workspace {
    let workspace = Workspace::new();
    for folder in ["candidates", "objectives"] {
        std::fs::remove_dir(workspace.path(folder)).unwrap();
    }
    workspace
}

#[test]
fn an_empty_folder_becomes_a_project_whose_first_run_has_a_winner() {
    let workspace = empty();
    let made = workspace.forge(["init", "my demo"]).expect(0);
    assert!(
        made.stdout.contains("candidates/careful.py"),
        "{}",
        made.stdout
    );
    assert!(
        made.stdout.contains("`cd 'my demo' && forge`"),
        "{}",
        made.stdout
    );
    for file in files(&workspace.path("my demo")) {
        assert!(
            made.stdout.contains(&format!("  {file}")),
            "{file}: {}",
            made.stdout
        );
    }
    let checked = within(&workspace, "my demo", &["check"]).expect(0);
    assert_eq!(checked.stdout, "ok: 2 candidates, 1 objective, 10 trials\n");
    let run = within(&workspace, "my demo", &[]).expect(0);
    assert!(
        run.stdout.contains("Winner: careful with"),
        "{}",
        run.stdout
    );
    assert!(run.stdout.contains("the lead is real"), "{}", run.stdout);
    let folder = workspace.path("my demo/artifacts/latest");
    schemas::assert_folder(&std::fs::canonicalize(folder).unwrap());
    workspace.assert_nothing_left();
}

#[test]
fn the_controls_find_nothing_broken_in_a_new_project() {
    let workspace = empty();
    workspace.forge(["init"]).expect(0);
    let checked = workspace.forge(["check", "--controls"]).expect(0);
    let line = "controls on release-notes: noop 0.0; oracle 100.0; cheat at most 0.0\n";
    assert!(checked.stdout.starts_with(line), "{}", checked.stdout);
    workspace.assert_nothing_left();
}

#[test]
fn what_is_there_is_named_and_stays_and_nothing_else_is_written() {
    let workspace = empty()
        .file("demo/forge.yaml", "jobs: 1\n")
        .file("demo/candidates", "no folder\n");
    let told = workspace.forge(["init", "demo"]).expect(2);
    assert_eq!(
        told.stderr,
        "error: demo/candidates: is there already\n\
         error: demo/forge.yaml: is there already\n  \
         hint: nothing was written; move it away, or choose another folder or name\n"
    );
    assert_eq!(files(&workspace.path("demo")), ["candidates", "forge.yaml"]);
    let text = std::fs::read_to_string(workspace.path("demo/forge.yaml"));
    assert_eq!(text.unwrap(), "jobs: 1\n");
    // A second time in the same folder, too.
    workspace.forge(["init", "twice"]).expect(0);
    let before = files(&workspace.path("twice"));
    workspace.forge(["init", "twice"]).expect(2);
    assert_eq!(files(&workspace.path("twice")), before);
}

#[test]
fn a_folder_that_cannot_be_made_is_told() {
    let workspace = empty().file("file", "x");
    let told = workspace.forge(["init", "file/demo"]).expect(3);
    assert!(told.stderr.contains("file"), "{}", told.stderr);
    assert_eq!(files(&workspace.path("")), ["file"]);
}

#[test]
fn new_candidates_run_in_whatever_language_is_here() {
    let workspace = Workspace::new();
    workspace.forge(["new", "objective", "post"]).expect(0);
    let mut run = 0;
    for (language, program, file) in [
        ("sh", "sh", "sh.sh"),
        ("bash", "bash", "bash.bash"),
        ("python", "python3", "python.py"),
        ("node", "node", "node.mjs"),
        ("perl", "perl", "perl.pl"),
        ("tcl", "tclsh", "tcl.tcl"),
        ("ruby", "ruby", "ruby.rb"),
        ("php", "php", "php.php"),
        ("lua", "lua", "lua.lua"),
    ] {
        if !has(program) {
            println!("skipped: there is no {program}");
            continue;
        }
        let made = workspace.forge(["new", "candidate", language, "--lang", language]);
        let made = made.expect(0);
        assert!(
            made.stdout.contains(&format!("candidates/{file}")),
            "{}",
            made.stdout
        );
        assert!(
            made.stdout
                .ends_with(&format!("Next: write it, then `forge -c {language}`\n"))
        );
        let rights = std::fs::metadata(workspace.path("candidates").join(file))
            .unwrap()
            .permissions();
        assert_eq!(rights.mode() & 0o111, 0o111, "{file}");
        run += 1;
    }
    assert!(run >= 2);
    workspace.forge(["check"]).expect(0);
    let ended = workspace.forge(["-k", "1"]).expect(0);
    let trials = workspace.trials();
    assert_eq!(trials.len(), run, "{}", ended.stdout);
    for (trial, row) in trials {
        assert_eq!(row["passed"], true, "{trial}: {row:#}");
    }
}

fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

#[test]
fn names_that_no_loader_would_take_are_refused_before_anything_is_written() {
    let workspace = Workspace::new()
        .candidate("agent_fast.py", "print()\n")
        .file("objectives/post.yml", "prompt: do it\n");
    let before = files(&workspace.path(""));
    for (arguments, told) in [
        (
            &["candidate", "../x", "--lang", "sh"][..],
            "a name consists of ASCII letters",
        ),
        (&["candidate", "", "--lang", "sh"], "a name cannot be empty"),
        (
            &["candidate", "fast", "--lang", "sh"],
            "there is a candidate `fast` already",
        ),
        (
            &["candidate", "FAST", "--lang", "sh"],
            "there is a candidate `FAST` already",
        ),
        (
            &["candidate", "agent_x", "--lang", "sh"],
            "would not be called `agent_x`",
        ),
        (&["candidate", "x@1", "--lang", "sh"], "is none of them"),
        (
            &["candidate", "x", "--lang", "cobol"],
            "invalid value 'cobol'",
        ),
        (&["candidate", "x"], "--lang"),
        (&["objective", "a/b"], "a name consists of ASCII letters"),
        (
            &["objective", "post"],
            "there is an objective `post` already",
        ),
    ] {
        let typed: Vec<&str> = ["new"].iter().chain(arguments).copied().collect();
        let ended = workspace.forge(typed).expect(2);
        assert!(
            ended.stderr.contains(told),
            "{arguments:?}: {}",
            ended.stderr
        );
    }
    assert_eq!(files(&workspace.path("")), before);
}

#[test]
fn new_files_are_where_the_project_has_its_folders_and_name_their_schema() {
    let workspace = empty().file("forge.yaml", "candidates: src/agents\n");
    let words = ["new", "candidate", "fast", "--lang", "sh"];
    workspace.forge(words).expect(0);
    let settings = std::fs::read_to_string(workspace.path("src/agents/fast.yaml")).unwrap();
    let line = "# yaml-language-server: $schema=../../.forge/schemas/candidate.json\n";
    assert!(settings.starts_with(line), "{settings}");
    let schema = std::fs::read(workspace.path(".forge/schemas/candidate.json")).unwrap();
    let schema: Value = serde_json::from_slice(&schema).unwrap();
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    // Outside of the project there is no path that is right everywhere.
    let outside = workspace.path("elsewhere");
    let outside = outside.to_str().unwrap();
    workspace
        .forge(["new", "objective", "post", "--objectives", outside])
        .expect(0);
    let text = std::fs::read_to_string(workspace.path("elsewhere/post.yaml")).unwrap();
    assert!(text.starts_with("title: \"post\"\n"), "{text}");
    assert!(!workspace.path(".forge/schemas/objective.json").exists());
}

#[test]
fn shells_take_their_completions_and_the_man_page_has_every_option() {
    let workspace = empty();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let text = workspace.forge(["completions", shell]).expect(0).stdout;
        assert!(
            text.contains("max-drop") && text.contains("baseline"),
            "{shell}"
        );
        let script = workspace.path("completion");
        std::fs::write(&script, &text).unwrap();
        if ["bash", "zsh", "fish"].contains(&shell) && has(shell) {
            let parsed = Command::new(shell).arg("-n").arg(&script).output().unwrap();
            assert!(parsed.status.success(), "{shell}: {parsed:?}");
        }
    }
    let page = workspace.forge(["man"]).expect(0).stdout;
    let help = workspace.forge(["--help"]).expect(0).stdout;
    let options = regex::Regex::new("--[a-z][a-z-]+").unwrap();
    for option in options.find_iter(&help) {
        let option = option.as_str();
        // As roff has it.
        assert!(page.contains(&option.replace('-', "\\-")), "{option}");
    }
    assert!(page.contains("FORGE SWEEP"));
    assert!(!help.contains("  man "), "it is not hidden");
}

#[test]
fn a_run_is_exported_and_shown_elsewhere() {
    let workspace = Workspace::with(&[("a.sh", "#!/bin/sh\necho hello, world >\"$2\"\n")]);
    workspace.forge::<&str>([]).expect(0);
    let told = workspace
        .forge(["export", "latest", "out/run.tar"])
        .expect(0);
    assert!(
        told.stdout.contains("`forge report out/run.tar`"),
        "{}",
        told.stdout
    );
    // Elsewhere there is nothing but the file.
    let elsewhere = empty();
    std::fs::copy(workspace.path("out/run.tar"), elsewhere.path("run.tar")).unwrap();
    let here = workspace.forge(["report", "latest", "--json"]).expect(0);
    let there = elsewhere
        .forge(["report", "run.tar", "--json", "--html", "report.html"])
        .expect(0);
    assert_eq!(here.stdout, there.stdout);
    let html = std::fs::read(elsewhere.path("report.html")).unwrap();
    assert_eq!(
        html,
        std::fs::read(workspace.run_folder().join("report.html")).unwrap()
    );
    let text = elsewhere.forge(["report", "run.tar"]).expect(0);
    assert!(text.stdout.contains("Report: run.tar"), "{}", text.stdout);
    // What would be changed in it is gone in a moment.
    let told = elsewhere.forge(["score", "run.tar"]).expect(2);
    assert!(told.stderr.contains("`forge view FILE`"), "{}", told.stderr);
    elsewhere.assert_nothing_left();
    // What is no such file is told, and what is half of one.
    let whole = std::fs::read(workspace.path("out/run.tar")).unwrap();
    std::fs::write(elsewhere.path("half.tar"), &whole[..whole.len() / 2]).unwrap();
    for file in ["half.tar", "report.html"] {
        let told = elsewhere.forge(["report", file]).expect(2);
        assert!(
            told.stderr.starts_with(&format!("error: {file}: ")),
            "{}",
            told.stderr
        );
    }
    elsewhere.assert_nothing_left();
}

#[test]
fn what_there_is_can_be_read_by_programs() {
    let workspace = Workspace::with(&[("a.sh", "#!/bin/sh\necho hello, world >\"$2\"\n")]);
    workspace.forge::<&str>([]).expect(0);
    let listed = workspace.forge(["list", "--json"]).expect(0).stdout;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["candidates"][0]["name"], "a");
    assert_eq!(listed["objectives"][0]["file"], "objectives/task.yaml");
    assert_eq!(listed["runs"][0]["trials"], 1);
    assert_eq!(listed["runs"][0]["winner"]["candidate"], "a");
    assert_eq!(listed["problems"], Value::Array(Vec::new()));
    let broken = workspace.file("objectives/b.yaml", "promt: x\n");
    let listed = broken.forge(["list", "--json"]).expect(2).stdout;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["exit"]["code"], 2);
    assert_eq!(listed["candidates"][0]["name"], "a");
    assert!(!listed["problems"].as_array().unwrap().is_empty());
}
