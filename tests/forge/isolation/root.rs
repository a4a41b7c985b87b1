//! A forge that is root, whose sandboxes cannot be other users: refused below namespaces, unless it is allowed.

use std::process::Command;

use serde_json::json;

use super::{Level, Yard, is_root, launched, on, python, set_mode};
use crate::support::workspace::{Ended, finish};

const CANDIDATE: &str = "import os, sys\n\
    with open('trace', 'w') as file: file.write('x')\n\
    os.chmod('trace', 0o600)\n\
    open(sys.argv[2], 'w').write(f'hello from user {os.getuid()}')\n";

/// A yard with a Python that only root may read.
struct Closed {
    yard: Yard,
    folder: tempfile::TempDir,
}

impl Closed {
    fn new(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        set_mode(folder.path(), 0o700);
        let original = std::fs::canonicalize(python()).unwrap();
        std::fs::copy(original, folder.path().join("python3")).unwrap();
        let yard = Yard::new(&[("one", CANDIDATE)])
            .objective("task", &json!({}), "")
            .file("forge.yaml", settings);
        Self { yard, folder }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.yard.plain(arguments);
        let path = format!("{}:/usr/bin:/bin", self.folder.path().display());
        // Nobody shall be asked for anything.
        command.env("PATH", path).env_remove("DAYTONA_API_KEY");
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        finish(self.command(arguments).spawn().unwrap())
    }

    /// It was said what is wrong and what to do, and nothing was started.
    fn assert_refused(&self, ended: &Ended, reason: &str) {
        let text = format!("{}{}", ended.stdout, ended.stderr);
        assert_eq!(ended.code, Some(2), "{text}");
        for part in [
            reason,
            "--isolation namespaces",
            "root: allow",
            "FORGE_LOCAL_ROOT=allow",
        ] {
            assert!(text.contains(part), "no `{part}` in:\n{text}");
        }
        assert!(!self.yard.workspace.path("artifacts").exists());
        self.yard.workspace.assert_nothing_left();
    }
}

fn can_be_tried() -> bool {
    let can = is_root() && python().starts_with('/');
    if !can {
        let why = "this is not root, or there is no python of the system";
        crate::support::skipped("a root whose python is its own", why);
    }
    can
}

#[test]
fn root_is_refused_below_namespaces_and_says_why() {
    if !can_be_tried() {
        return;
    }
    for level in [Level::Landlock, Level::Process] {
        on(level, |level| {
            let closed = Closed::new("");
            for command in ["run", "check", "doctor"] {
                let settings = format!("local: {{isolation: {}}}\n", level.name());
                std::fs::write(closed.yard.workspace.path("forge.yaml"), settings).unwrap();
                let ended = closed.run(&[command]);
                closed.assert_refused(&ended, "other users cannot read");
            }
        });
    }
    // Nothing better than a refusal is left for `auto` either.
    if super::succeeds(&mut launched(
        &["docker"],
        Command::new("true").current_dir("/"),
    )) {
        let closed = Closed::new("");
        let mut command = launched(&["docker"], &closed.command(&["run"]));
        let ended = finish(command.spawn().unwrap());
        closed.assert_refused(&ended, "/usr/bin");
    }
}

#[test]
fn a_python_that_nothing_calls_is_not_in_roots_way() {
    if !can_be_tried() {
        return;
    }
    for level in [Level::Landlock, Level::Process] {
        on(level, |level| {
            let mut closed = Closed::new("");
            let settings = format!("local: {{isolation: {}}}\n", level.name());
            let shell = "#!/bin/sh\necho \"hello from user $(id -u)\" > \"$2\"\n";
            for (path, text) in [
                ("candidates/shell.sh", shell),
                ("objectives/task.yaml", "prompt: do it\n"),
                ("forge.yaml", &settings),
            ] {
                closed.yard = closed.yard.file(path, text);
            }
            let python = closed.yard.workspace.path("candidates/one");
            std::fs::rename(&python, closed.yard.workspace.path("one")).unwrap();
            for command in ["check", "doctor", "run"] {
                let ended = closed.run(&[command]);
                let text = format!("{}{}", ended.stdout, ended.stderr);
                assert!(!text.contains("cannot read"), "{text}");
                assert!(command == "doctor" || ended.code == Some(0), "{text}");
            }
            let artifact = closed.yard.workspace.trial_file("shell", "discord_post.md");
            let text = String::from_utf8(artifact).unwrap();
            assert!(!text.ends_with("user 0\n"), "{text}");
            // One that does is enough for all of them to be refused.
            std::fs::remove_dir_all(closed.yard.workspace.path("artifacts")).unwrap();
            std::fs::rename(closed.yard.workspace.path("one"), python).unwrap();
            for command in ["run", "check", "doctor"] {
                closed.assert_refused(&closed.run(&[command]), "other users cannot read");
            }
        });
    }
}

#[test]
fn a_folder_of_roots_own_is_refused_too() {
    if !can_be_tried() {
        return;
    }
    on(Level::Landlock, |level| {
        let closed = Closed::new("");
        let own = closed.folder.path().join("tmp");
        std::fs::create_dir(&own).unwrap();
        let mut command = closed.yard.command(level, &[]);
        let ended = finish(command.env("TMPDIR", &own).spawn().unwrap());
        closed.assert_refused(&ended, "TMPDIR");
        assert_eq!(std::fs::read_dir(&own).unwrap().count(), 0);
    });
}

#[test]
fn namespaces_need_no_other_users_and_what_is_allowed_runs() {
    if !can_be_tried() {
        return;
    }
    let check = |closed: &Closed, command: &mut Command, user: Option<&str>| {
        finish(command.spawn().unwrap()).expect(0);
        let artifact = closed.yard.workspace.trial_file("one", "discord_post.md");
        let text = String::from_utf8(artifact).unwrap();
        assert!(user.is_none_or(|user| text.ends_with(user)), "{text}");
        closed.yard.workspace.assert_nothing_left();
    };
    on(Level::Namespaces, |level| {
        let closed = Closed::new("");
        check(
            &closed,
            &mut closed.command(&["run", "--isolation", level.name()]),
            None,
        );
    });
    for level in [Level::Landlock, Level::Process] {
        on(level, |level| {
            let arguments = ["run", "--isolation", level.name()];
            let closed = Closed::new("local: {root: allow}\n");
            check(&closed, &mut closed.command(&arguments), Some("user 0"));
            // The environment is above the file.
            let mut command = closed.command(&arguments);
            let ended = finish(command.env("FORGE_LOCAL_ROOT", "refuse").spawn().unwrap());
            assert_eq!(ended.code, Some(2), "{}", ended.stderr);
            let closed = Closed::new("local: {root: refuse}\n");
            let mut command = closed.command(&arguments);
            check(
                &closed,
                command.env("FORGE_LOCAL_ROOT", "allow"),
                Some("user 0"),
            );
        });
    }
}

#[test]
fn a_root_whose_python_is_everybodys_needs_no_setting() {
    if !is_root() || !python().starts_with('/') {
        return;
    }
    for level in Level::ALL {
        on(level, |level| {
            let yard = Yard::new(&[("one", CANDIDATE)]).objective("task", &json!({}), "");
            yard.forge(level, &[]).expect(0);
            let artifact = yard.workspace.trial_file("one", "discord_post.md");
            let text = String::from_utf8(artifact).unwrap();
            assert!(!text.ends_with("user 0"), "{text}");
        });
    }
}

#[test]
fn a_word_that_is_no_answer_is_an_error() {
    let yard = Yard::new(&[("one", CANDIDATE)]).objective("task", &json!({}), "");
    let mut command = yard.plain(&["check"]);
    let ended = finish(command.env("FORGE_LOCAL_ROOT", "alow").spawn().unwrap()).expect(2);
    assert!(
        ended.stderr.contains("did you mean `allow`"),
        "{}",
        ended.stderr
    );
    let yard = yard.file("forge.yaml", "local: {root: yes}\n");
    let ended = finish(yard.plain(&["check"]).spawn().unwrap()).expect(2);
    assert!(ended.stderr.contains("forge.yaml:1:15"), "{}", ended.stderr);
}
