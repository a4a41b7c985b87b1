//! Machines that refuse namespaces or do not know Landlock: forge takes the best level that works, says which
//! and why, and refuses to run when more was asked for.

use std::process::Command;

use serde_json::json;

use super::{Level, Yard, launched, succeeds};
use crate::support::workspace::{Ended, finish};

/// Says where it is.
const CANDIDATE: &str = "import sys\nopen(sys.argv[2], 'w').write('hello from the candidate')\n";

/// A machine, by the options of `launch.py`, and what local runs are worth on it.
struct Machine {
    options: &'static [&'static str],
    level: Level,
    /// What the line at the start says; all in lower case.
    says: &'static [&'static str],
}

const DOCKER: Machine = Machine {
    options: &["docker"],
    level: Level::Landlock,
    says: &["local runs: landlock (abi ", "eperm", "seccomp=unconfined"],
};
const APPARMOR: Machine = Machine {
    options: &["apparmor"],
    level: Level::Landlock,
    says: &["local runs: landlock (abi ", "mount"],
};
const OLD: Machine = Machine {
    options: &["no-landlock"],
    level: Level::Namespaces,
    says: &["local runs: namespaces"],
};
const OLD_DOCKER: Machine = Machine {
    options: &["docker", "no-landlock"],
    level: Level::Process,
    says: &[
        "local runs: process",
        "no isolation: scripts can read your files",
    ],
};
const MASKED: Machine = Machine {
    options: &["masked"],
    level: Level::Namespaces,
    says: &["local runs: namespaces (shared /proc)"],
};
const FAKE_ROOT: Machine = Machine {
    options: &["fake-root"],
    level: Level::Namespaces,
    says: &["local runs: namespaces"],
};

impl Machine {
    fn is_here(&self) -> bool {
        let works = succeeds(&mut launched(
            self.options,
            Command::new("/bin/true").current_dir("/"),
        ));
        if !works {
            eprintln!("SKIPPED: {:?} cannot be had here", self.options);
        }
        works && self.level.is_here()
    }

    fn run(&self, yard: &Yard, arguments: &[&str]) -> Ended {
        let mut all = vec!["run", "--no-progress"];
        all.extend(arguments);
        finish(launched(self.options, &yard.plain(&all)).spawn().unwrap())
    }

    /// Runs with whatever it has, with that and less asked for, and with more.
    fn check(&self) {
        if !self.is_here() {
            return;
        }
        let mine = Level::ALL.iter().position(|it| *it == self.level).unwrap();
        for asked in [None, Some(self.level)] {
            let yard = yard();
            let arguments = asked.map_or_else(Vec::new, |it| vec!["--isolation", it.name()]);
            let ended = self.run(&yard, &arguments).expect(0);
            let text = (ended.stdout + &ended.stderr).to_lowercase();
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            // What was asked for needs no reason.
            let says = self
                .says
                .iter()
                .take(if asked.is_some() { 1 } else { usize::MAX });
            for expected in says {
                assert!(text.contains(expected), "no `{expected}` in:\n{text}");
            }
            yard.trial(self.level, "task", "one");
            yard.workspace.assert_nothing_left();
        }
        for more in &Level::ALL[..mine] {
            let yard = yard();
            let ended = self.run(&yard, &["--isolation", more.name()]);
            assert!(
                matches!(ended.code, Some(2 | 3)),
                "{:?} {}{}",
                ended.code,
                ended.stdout,
                ended.stderr
            );
            let text = ended.stderr.to_lowercase();
            assert!(text.contains(more.name()), "{text}");
            assert!(text.contains("hint"), "there is no remedy in:\n{text}");
            assert!(!ended.stdout.contains("Winner"), "{}", ended.stdout);
            // Nothing was started.
            let trials = yard.workspace.path("artifacts/latest/task");
            assert!(!trials.exists(), "{}", trials.display());
            yard.workspace.assert_nothing_left();
        }
    }
}

fn yard() -> Yard {
    Yard::new(&[("one", CANDIDATE)]).objective("task", &json!({}), "")
}

#[test]
fn a_container_that_refuses_namespaces_leaves_landlock() {
    DOCKER.check();
}

#[test]
fn namespaces_without_mounts_leave_landlock() {
    APPARMOR.check();
}

#[test]
fn a_kernel_without_landlock_leaves_namespaces() {
    OLD.check();
}

#[test]
fn without_both_there_is_no_isolation_and_forge_says_so() {
    OLD_DOCKER.check();
}

#[test]
fn a_masked_proc_is_shared() {
    MASKED.check();
}

#[test]
fn a_user_who_is_called_root_has_namespaces_too() {
    FAKE_ROOT.check();
}

#[test]
fn an_untrusted_candidate_runs_where_it_cannot_read_files_and_nowhere_else() {
    for machine in [DOCKER, OLD_DOCKER] {
        if !machine.is_here() {
            continue;
        }
        let yard = yard().file("candidates/one/candidate.yaml", "trust: untrusted\n");
        let ended = machine.run(&yard, &[]);
        match machine.level {
            Level::Process => {
                assert_ne!(ended.code, Some(0), "{}", ended.stdout);
                let text = ended.stdout + &ended.stderr;
                assert!(text.contains("untrusted"), "{text}");
            }
            Level::Landlock | Level::Namespaces => {
                ended.expect(0);
            }
        }
        yard.workspace.assert_nothing_left();
    }
}

#[test]
fn a_blocked_network_is_blocked_or_an_error() {
    let reach = "import socket, sys, json\n\
        port = json.loads(sys.argv[1])['tcp']\n\
        try:\n  socket.create_connection(('127.0.0.1', port), 5); said = 'reached the neighbour'\n\
        except OSError as error:\n  said = f'did not reach it: {error}'\n\
        open(sys.argv[2], 'w').write(said)\n";
    for machine in [OLD, DOCKER, OLD_DOCKER] {
        if !machine.is_here() {
            continue;
        }
        let yard = Yard::new(&[("one", reach)]).objective("task", &json!({}), "network: block\n");
        let ended = machine.run(&yard, &[]);
        if ended.code == Some(0) {
            let said = yard.workspace.trial_file("one", "discord_post.md");
            let said = String::from_utf8(said).unwrap();
            assert!(said.starts_with("did not reach it"), "{said}");
        } else {
            let text = ended.stdout + &ended.stderr;
            assert!(text.contains("network"), "{text}");
        }
    }
}

/// What a candidate can see in a /proc that is not its own.
#[test]
fn a_shared_proc_shows_names_and_no_secrets() {
    if !MASKED.is_here() {
        return;
    }
    let script = "import sys\n\
        from common import attempt\n\
        import processes\n\
        names = ['other_environments', 'read_memory_by_file', 'open_descriptor', 'enter_root', 'trace', 'send_signal']\n\
        with open(sys.argv[2], 'w') as out:\n\
        \x20for name in names: print(name, *attempt(getattr(processes, name)), sep='\\t', file=out)\n";
    let yard = Yard::new(&[("one", script)]);
    // For want of a better one.
    let pid = yard.neighbour.told["pid"].to_string();
    let yard = yard
        .file(
            "candidates/one/processes.py",
            include_str!("probes/processes.py"),
        )
        .file("objectives/forge.pid", &pid)
        .objective("task", &json!({}), "inputs: [forge.pid]\n");
    MASKED.run(&yard, &[]).expect(0);
    for (probe, (verdict, why)) in yard.verdicts(Level::Namespaces, "task", "one") {
        assert_eq!(verdict, "BLOCKED", "{probe}: {why}");
    }
}

#[test]
fn doctor_explains_what_fails() {
    for machine in [DOCKER, APPARMOR, OLD_DOCKER] {
        if !machine.is_here() {
            continue;
        }
        let yard = yard();
        let mut command = launched(machine.options, &yard.plain(&["doctor"]));
        let ended = finish(command.spawn().unwrap());
        let text = (ended.stdout + &ended.stderr).to_lowercase();
        for level in Level::ALL {
            assert!(text.contains(level.name()), "{text}");
        }
    }
}
