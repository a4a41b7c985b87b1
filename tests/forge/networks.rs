//! The setup has one network, the run another: on every level of isolation, for every language, and in what
//! is said when there is none.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::isolation::levels;
use crate::support::skipped;
use crate::support::workspace::{Ended, Workspace, finish};

/// Counts who comes, and knows nothing of what they ask for.
struct Listener {
    address: SocketAddr,
    came: Arc<AtomicUsize>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Listener {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let came = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&came);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                stream
                    .set_read_timeout(Some(Duration::from_secs(5)))
                    .unwrap();
                let mut asked = [0; 4096];
                let length = stream.read(&mut asked).unwrap_or(0);
                if asked.starts_with(b"end") {
                    return;
                }
                count.fetch_add(1, Ordering::SeqCst);
                if length > 0 {
                    let answer =
                        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                    // Whoever only knocked is gone.
                    stream.write_all(answer).ok();
                }
            }
        });
        Self {
            address,
            came,
            thread: Some(thread),
        }
    }

    fn came(&self) -> usize {
        self.came.load(Ordering::SeqCst)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        TcpStream::connect(self.address)
            .unwrap()
            .write_all(b"end")
            .unwrap();
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Prints whether the listener is reached; ends well either way.
fn knock(listener: &Listener) -> String {
    format!(
        "python3 -c \"import socket; socket.create_connection(('127.0.0.1', {}), 5)\" 2>/dev/null && echo reached || echo shut",
        listener.address.port()
    )
}

/// A setup line that knocks, as it is written in YAML, and a candidate that does.
fn knocking(listener: &Listener) -> (String, String) {
    let line = serde_json::to_string(&knock(listener)).unwrap();
    let script = format!(
        "#!/bin/sh\n{{ {}; echo '123456789'; }} > \"$2\"\n",
        knock(listener)
    );
    (line, script)
}

fn run(workspace: &Workspace, level: &str, more: &[&str]) -> Ended {
    let mut command = workspace.command([&["task", "--isolation", level][..], more].concat());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let lower = name.to_lowercase();
        if ["pip_", "uv_", "npm_", "http", "all_proxy", "no_proxy"]
            .iter()
            .any(|it| lower.starts_with(it))
        {
            command.env_remove(name);
        }
    }
    finish(command.spawn().unwrap())
}

fn log(workspace: &Workspace) -> String {
    String::from_utf8(workspace.trial_file("a", "setup.log")).unwrap()
}

fn trial(workspace: &Workspace) -> Value {
    serde_json::from_slice(&workspace.trial_file("a", "trial.json")).unwrap()
}

#[test]
fn the_setup_has_the_network_that_is_declared_for_it_and_the_run_its_own() {
    for level in levels() {
        for (objective, flags, trust, setup, written) in [
            ("network: block", &[][..], "trusted", "reached", "shut"),
            (
                "network: {setup: block, run: open}",
                &[],
                "trusted",
                "shut",
                "reached",
            ),
            (
                "network: {setup: block}",
                &["--network", "block"],
                "trusted",
                "shut",
                "shut",
            ),
            (
                "network: {setup: block, run: block}",
                &["--setup-network", "open", "--network", "open"],
                "trusted",
                "reached",
                "reached",
            ),
            ("network: block", &[], "untrusted", "shut", "shut"),
            (
                "network: {setup: open, run: block}",
                &[],
                "untrusted",
                "reached",
                "shut",
            ),
        ] {
            let listener = Listener::new();
            let (line, script) = knocking(&listener);
            let workspace = Workspace::with(&[("a.sh", &script)])
                .file("objectives/task.yaml", format!("prompt: p\n{objective}\n"))
                .file(
                    "candidates/a.yaml",
                    format!(
                        "setup: [{line}]\n{}",
                        if trust == "untrusted" {
                            "trust: untrusted\n"
                        } else {
                            ""
                        }
                    ),
                );
            let ended = run(&workspace, level, flags);
            if trust == "untrusted" && ended.code == Some(2 /* usage */) {
                continue;
            }
            if trust == "untrusted" && ended.stderr.contains("untrusted candidate") {
                // `process`, and `landlock` for root.
                continue;
            }
            ended.expect(0);
            let what = format!("{level}, {objective}, {flags:?}, {trust}");
            assert_eq!(log(&workspace), format!("{setup}\n"), "{what}");
            let artifact = workspace.trial_file("a", "discord_post.md");
            let artifact = String::from_utf8(artifact).unwrap();
            assert_eq!(artifact, format!("{written}\n123456789\n"), "{what}");
            let isolation = trial(&workspace)["isolation"].to_string();
            let word = |said: &str| if said == "shut" { "none" } else { "host" };
            let expected = if setup == written {
                format!("network: {};", word(written))
            } else {
                format!("network: {} (setup: {});", word(written), word(setup))
            };
            assert!(isolation.contains(&expected), "{isolation}");
            workspace.assert_nothing_left();
        }
    }
}

/// Whether there is a program.
fn has(program: &str) -> bool {
    let found = std::process::Command::new(program)
        .arg("--version")
        .output();
    found.is_ok_and(|output| output.status.success())
}

/// The candidate asks for a package that nobody has, of the index that the user has set.
#[test]
fn installers_without_a_network_ask_nobody_and_fail_at_once_with_the_reason() {
    let python = ("main.py", "requirements.txt", "no-such-package\n");
    let node = (
        "main.js",
        "package.json",
        "{\"name\": \"a\", \"dependencies\": {\"no-such-package\": \"1\"}}",
    );
    for (program, (entry, file, text), variable) in [
        ("python3", python, "PIP_INDEX_URL"),
        ("npm", node, "npm_config_registry"),
    ] {
        if !has(program) {
            skipped("installers without a network", &format!("no {program}"));
            continue;
        }
        for level in levels() {
            for (flags, is_asked) in [
                (&["--network", "block"][..], true),
                (&["--setup-network", "block"], false),
            ] {
                // What is open is the same on all of them.
                if is_asked && level != levels()[0] {
                    continue;
                }
                let listener = Listener::new();
                let index = format!("http://{}/", listener.address);
                let workspace = Workspace::with(&[])
                    .file(&format!("candidates/a/{entry}"), "x\n")
                    .file(&format!("candidates/a/{file}"), text);
                let arguments = [&["task", "--isolation", level, "-j1"][..], flags].concat();
                let mut command = workspace.command(arguments);
                command.env(variable, &index).env_remove("UV_INDEX_URL");
                finish(command.spawn().unwrap()).expect(1);
                let trial = trial(&workspace);
                assert_eq!(trial["error_kind"], "setup", "{trial}");
                let said = trial["error_message"].as_str().unwrap();
                assert_eq!(listener.came() > 0, is_asked, "{level} {program}: {said}");
                let reason =
                    "its setup has no network, which `network: {setup: open}` would give it";
                assert_eq!(said.contains(reason), !is_asked, "{said}");
                workspace.assert_nothing_left();
            }
        }
    }
}

#[test]
fn a_package_beside_the_candidate_needs_no_network() {
    if !has("npm") {
        return skipped("a package beside the candidate", "no npm");
    }
    let workspace = Workspace::with(&[])
        .file(
            "candidates/a/package.json",
            "{\"name\": \"a\", \"dependencies\": {\"lib\": \"file:lib\"}}",
        )
        .file(
            "candidates/a/lib/package.json",
            "{\"name\": \"lib\", \"version\": \"1.0.0\", \"main\": \"i.js\"}",
        )
        .file(
            "candidates/a/lib/i.js",
            "module.exports = 'of the package'\n",
        )
        .file(
            "candidates/a/main.js",
            "require('fs').writeFileSync(process.argv[3], 'a text ' + require('lib'))\n",
        );
    let ended = workspace.forge(["task", "--network", "block", "--setup-network", "block"]);
    if ended
        .stderr
        .contains("cannot keep a candidate from the network")
    {
        return skipped("a package beside the candidate", "no filter here");
    }
    ended.expect(0);
}

/// A setup that failed twice in the same way fails the other repeats without being run.
#[test]
fn a_setup_that_fails_is_not_repeated_for_every_repeat() {
    let workspace = Workspace::with(&[
        ("a.sh", "#!/bin/sh\n"),
        ("b.sh", "#!/bin/sh\necho 'works, and writes' > \"$2\"\n"),
    ])
    .file("objectives/other.yaml", "prompt: another\n")
    // What is printed differs each time.
    .file("candidates/a.yaml", "setup: ['echo why $$; exit 7']\n");
    let ended = workspace.forge(["-k4", "-j1"]).expect(0);
    let trials = workspace.trials();
    let of = |candidate: &str| {
        let mine = trials
            .iter()
            .filter(|(name, _)| name.contains(&format!("/{candidate}/")));
        mine.map(|(_, trial)| trial.clone()).collect::<Vec<Value>>()
    };
    assert_eq!((of("a").len(), of("b").len()), (8, 8));
    let (mut begun, mut repeated) = (0, 0);
    for trial in of("a") {
        let said = trial["error_message"].as_str().unwrap();
        assert_eq!(trial["error_kind"], "setup", "{trial}");
        assert_eq!(trial["score"], 0.0, "{trial}");
        assert!(
            said.contains("setup failed: `echo why $$; exit 7` exited with code 7"),
            "{said}"
        );
        let folder = format!(
            "{}/a/{}/setup.log",
            trial["objective"].as_str().unwrap(),
            trial["repeat"]
        );
        let log = std::fs::read_to_string(workspace.run_folder().join(folder)).unwrap();
        if trial["attempts"] == 1 {
            begun += 1;
            assert!(log.starts_with("why "), "{log}");
        } else {
            repeated += 1;
            assert!(said.starts_with("not repeated, as in "), "{said}");
            assert!(log.starts_with("not run: it failed in "), "{log}");
        }
    }
    assert_eq!((begun, repeated), (2, 6), "{}", ended.stdout);
    for trial in of("b") {
        assert_eq!(trial["error_kind"], Value::Null, "{trial}");
    }
    let report = std::fs::read_to_string(workspace.run_folder().join("report.md")).unwrap();
    assert!(report.contains("not repeated, as in"), "{report}");
    workspace.forge(["score", "latest"]).expect(0);
    for (name, trial) in workspace.trials() {
        assert_eq!(trial["score"], trials[&name]["score"], "{name}");
    }
    workspace.assert_nothing_left();
}

#[test]
fn a_setup_that_works_at_times_is_tried_in_every_repeat() {
    let folder = tempfile::tempdir().unwrap();
    let counter = folder.path().join("counter");
    let line = format!(
        "n=$(cat {0} 2>/dev/null || echo 0); echo $((n + 1)) > {0}; [ $((n % 2)) = 1 ]",
        counter.display()
    );
    let workspace = Workspace::with(&[("a.sh", "#!/bin/sh\necho 'works, and writes' > \"$2\"\n")])
        .file(
            "candidates/a.yaml",
            format!("setup: [{}]\n", serde_json::to_string(&line).unwrap()),
        );
    let began = Instant::now();
    // Of root, each trial may have a user of its own.
    std::fs::write(&counter, "0\n").unwrap();
    for (path, mode) in [(folder.path(), 0o711), (&counter, 0o666)] {
        let open = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(path, open).unwrap();
    }
    let ended = workspace
        .forge(["task", "-k6", "-j1", "--isolation", "process"])
        .expect(0);
    let failed = workspace
        .trials()
        .values()
        .filter(|it| it["error_kind"] == "setup")
        .count();
    assert_eq!(failed, 3, "{}, {:?}", ended.stdout, began.elapsed());
}

#[test]
fn a_network_that_is_none_is_answered_with_those_that_are() {
    let workspace = Workspace::with(&[("a.sh", "#!/bin/sh\n")]);
    for (flags, told) in [
        (
            ["--network", "nonsense"],
            "--network: expected `open`, `block` or IPv4 networks",
        ),
        (["--network", "bloc"], "did you mean `block`?"),
        (["--setup-network", "opn"], "did you mean `open`?"),
        (
            ["--setup-network", "10.0.0.1/8"],
            "the network is `10.0.0.0/8`",
        ),
    ] {
        let said = workspace
            .forge([&["task"][..], &flags].concat())
            .expect(2)
            .stderr;
        assert!(said.contains(told), "{said}");
    }
    let workspace = workspace.file(
        "objectives/task.yaml",
        "prompt: p\nnetwork: {setup: bloc, runs: open}\n",
    );
    let said = workspace.forge(["task"]).expect(2).stderr;
    for told in [
        "objectives/task.yaml:2:18: network.setup: expected `open`, `block`",
        "did you mean `block`?",
        "unknown stage `runs`",
        "did you mean `run`?",
    ] {
        assert!(said.contains(told), "{said}");
    }
}

/// What `forge.yaml` says of this place is above what it says of every place, and below what is typed.
#[test]
fn what_forge_yaml_says_of_networks_is_kept_for_each_stage() {
    let level = levels()[0];
    let listener = Listener::new();
    let (line, script) = knocking(&listener);
    let workspace = Workspace::with(&[("a.sh", &script)])
        .file(
            "objectives/task.yaml",
            "prompt: p\nnetwork: {setup: open, run: open}\n",
        )
        .file("candidates/a.yaml", format!("setup: [{line}]\n"))
        .file(
            "forge.yaml",
            "network: {setup: block, run: block}\nlocal: {network: {run: open}}\n",
        );
    for (flags, setup, written) in [
        (&[][..], "shut", "reached"),
        (&["--network", "block"], "shut", "shut"),
        (&["--setup-network", "open"], "reached", "reached"),
    ] {
        run(&workspace, level, flags).expect(0);
        assert_eq!(log(&workspace), format!("{setup}\n"), "{flags:?}");
        let artifact = String::from_utf8(workspace.trial_file("a", "discord_post.md")).unwrap();
        assert_eq!(artifact, format!("{written}\n123456789\n"), "{flags:?}");
        let settings = &workspace.run_json()["plan"]["settings"];
        let origin = if flags.contains(&"--network") {
            "flag"
        } else {
            "forge.yaml"
        };
        assert_eq!(settings["network"]["origin"], origin, "{settings}");
    }
}
