//! What a candidate declares is honoured, or it is said that it is not: in `check`, in the run, in its report.
//!
//! Everything is made here and from what is on this machine; nothing is fetched.

use std::path::PathBuf;
use std::process::Command;

use crate::support::workspace::{Workspace, finish};

/// The Python of this machine, and its number.
fn python() -> Option<(PathBuf, String)> {
    let answer = Command::new("python3")
        .args([
            "-I",
            "-c",
            "import platform, sys; print(sys.executable); print(platform.python_version())",
        ])
        .output()
        .ok()?;
    let text = String::from_utf8(answer.stdout).ok()?;
    let (file, version) = text.trim().split_once('\n')?;
    Some((file.into(), version.to_owned()))
}

/// Runs the candidates; returns what stderr said.
fn run(workspace: &Workspace, code: i32) -> String {
    workspace.forge(["task"]).expect(code).stderr
}

fn trial(workspace: &Workspace, candidate: &str) -> serde_json::Value {
    serde_json::from_slice(&workspace.trial_file(candidate, "trial.json")).unwrap()
}

const WRITES: &str = "import sys\nopen(sys.argv[2], 'w').write('long enough to be an artifact')\n";

#[test]
fn a_python_that_is_not_there_is_never_replaced_by_another() {
    if python().is_none() {
        return;
    }
    for (file, text) in [
        (
            "block",
            "# /// script\n# requires-python = '>=3.99'\n# ///\n",
        ),
        ("project", ""),
    ] {
        let workspace = Workspace::with(&[])
            .file("candidates/a/main.py", format!("{text}{WRITES}"))
            .file(
                "candidates/a/pyproject.toml",
                "[project]\nrequires-python = '>=3.99'\n",
            );
        let said = run(&workspace, 1);
        let trial = trial(&workspace, "a");
        assert_eq!(trial["error_kind"], "setup", "{file}: {trial}");
        let message = trial["error_message"].as_str().unwrap();
        assert!(
            message.contains("asks for Python >=3.99"),
            "{file}: {message}"
        );
        assert!(
            said.contains("warning: candidate `a`: its "),
            "{file}: {said}"
        );
        let checked = workspace.forge(["check"]).expect(2).stderr;
        assert!(
            checked.contains("asks for Python >=3.99"),
            "{file}: {checked}"
        );
    }
}

#[test]
fn a_version_file_takes_its_python_and_says_so_when_there_is_none() {
    let Some((python, version)) = python() else {
        return;
    };
    let workspace = Workspace::with(&[])
        .file("candidates/a/main.py", WRITES)
        .file("candidates/a/.python-version", format!("{version}\n"))
        .file("candidates/b/main.py", WRITES)
        .file("candidates/b/.python-version", "3.99.1\n");
    let said = run(&workspace, 0);
    let note = format!(
        "`.python-version` says 3.99.1, which is not here or will not do: it runs on {version}"
    );
    assert!(
        said.contains(&format!("warning: candidate `b`: {note}")),
        "{said}"
    );
    assert!(!said.contains("candidate `a`"), "{said}");
    assert_eq!(
        trial(&workspace, "b")["warnings"][0],
        note,
        "{}",
        python.display()
    );
    assert_eq!(trial(&workspace, "a")["warnings"], serde_json::json!([]));
    let report = std::fs::read_to_string(workspace.run_folder().join("report.md")).unwrap();
    assert!(report.contains("3.99.1, which is not here"), "{report}");
}

#[test]
fn a_first_line_of_windows_is_named_with_a_remedy() {
    let workspace = Workspace::with(&[("a", "#!/bin/sh\r\necho hello > \"$2\"\r\n")]);
    run(&workspace, 1);
    let trial = trial(&workspace, "a");
    assert_eq!(trial["error_kind"], "setup", "{trial}");
    let message = trial["error_message"].as_str().unwrap();
    for part in ["CRLF", "`/bin/sh\\r`", "sed -i"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn the_packages_of_a_project_file_are_installed_or_the_setup_fails() {
    let Some((python, _)) = python() else {
        return;
    };
    let venv = Command::new(python)
        .args(["-c", "import venv, ensurepip"])
        .output();
    if !venv.is_ok_and(|it| it.status.success()) {
        return;
    }
    let workspace = Workspace::with(&[])
        .file("candidates/a/main.py", WRITES)
        .file(
            "candidates/a/pyproject.toml",
            "[project]\ndependencies = ['no-such @ file:none-1-py3-none-any.whl']\n",
        )
        .file("candidates/a/uv.lock", "");
    let said = run(&workspace, 1);
    assert!(said.contains("`uv.lock` is not read"), "{said}");
    let trial = trial(&workspace, "a");
    assert_eq!(trial["error_kind"], "setup", "{trial}");
    let log = String::from_utf8(workspace.trial_file("a", "setup.log")).unwrap();
    assert!(log.contains("packages of its `pyproject.toml`"), "{log}");
}

#[test]
fn packages_of_this_machine_are_named_where_they_are_imported_undeclared() {
    let Some((python, _)) = python() else {
        return;
    };
    let workspace = Workspace::with(&[]);
    let venv = workspace.path("home/env");
    let made = Command::new(python)
        .args(["-m", "venv", "--without-pip"])
        .arg(&venv)
        .output();
    if !made.is_ok_and(|it| it.status.success()) {
        return;
    }
    let site = Command::new(venv.join("bin/python3"))
        .args(["-c", "import site; print(site.getsitepackages()[0])"])
        .output()
        .unwrap();
    let site = String::from_utf8(site.stdout).unwrap();
    std::fs::write(PathBuf::from(site.trim()).join("ours.py"), "X = 1\n").unwrap();
    let workspace = workspace
        .file("candidates/a.py", format!("import ours, nosuch\n{WRITES}"))
        .file("candidates/b.py", format!("import json\n{WRITES}"));
    let path = format!("{}:/usr/bin:/bin", venv.join("bin").display());
    // What has an environment of its own sees nothing of it.
    let workspace = workspace
        .file("candidates/c/main.py", format!("import ours\n{WRITES}"))
        .file("candidates/c/requirements.txt", "");
    let mut command = workspace.command(["task"]);
    command.env("PATH", &path);
    finish(command.spawn().unwrap());
    assert_eq!(trial(&workspace, "b")["success"], true);
    let isolated = trial(&workspace, "c");
    let stderr = String::from_utf8(workspace.trial_file("c", "stderr.log")).unwrap();
    let setup = isolated["error_kind"] == "setup";
    assert!(
        setup || stderr.contains("No module named 'ours'"),
        "{isolated} {stderr}"
    );
    for word in ["check", "doctor"] {
        let mut command = workspace.command([word]);
        command.env("PATH", &path);
        let said = finish(command.spawn().unwrap()).expect(0).stdout;
        let named = "candidate `a`: its files import what it does not declare, `ours`:";
        assert!(said.contains(named), "{said}");
        for other in ["candidate `b`", "candidate `c`", "nosuch"] {
            assert!(!said.contains(other), "{said}");
        }
        let usual = said.contains("declare no packages run on Python 3");
        assert_eq!(usual, word == "doctor", "{said}");
    }
}

#[test]
fn a_shell_script_finds_the_python_of_its_own_environment() {
    let Some((python, _)) = python() else {
        return;
    };
    let venv = Command::new(python)
        .args(["-c", "import venv, ensurepip"])
        .output();
    if !venv.is_ok_and(|it| it.status.success()) {
        return;
    }
    let says = "python3 -c 'import sys; print(sys.prefix, \"and more\")' > \"$2\"\n";
    for level in crate::isolation::levels() {
        let workspace = Workspace::with(&[])
            .file("candidates/a/main.sh", says)
            .file("candidates/a/requirements.txt", "");
        let level: &[&str] = match level {
            "process" => &["task"],
            _ => &["task", "--isolation", level],
        };
        workspace.forge(level).expect(0);
        let trial = trial(&workspace, "a");
        let text = trial["artifact_content"].as_str().unwrap();
        assert!(text.trim().ends_with("/venv and more"), "{level:?}: {text}");
    }
}
