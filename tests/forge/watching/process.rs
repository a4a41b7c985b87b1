//! The watch as a process: what it is called, what it holds, what it costs, when it ends.

use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use super::{Watch, assert_ended, children, instead, is_watch, kill, stat, status};
use crate::cloud::{Cloud, WRITES, signal};
use crate::support::fake_daytona::fault::{Before, Rule, When};
use crate::support::fake_daytona::{Options, Route};
use crate::support::workspace::{Workspace, finish, pause, wait};

const SLEEPS: &str = "#!/bin/sh\nexec sleep 300\n";

/// A run that goes on until it is stopped, and its watch.
fn running(cloud: &Cloud) -> (std::process::Child, Watch) {
    let child = cloud.start(["--daytona", "task"]);
    let watch = Watch::of(&child);
    cloud.wait_for(Route::Execute);
    (child, watch)
}

fn interrupt(child: std::process::Child, watch: Watch) {
    signal(&child, "INT");
    finish(child).expect(130);
    assert!(!watch.runs(), "it is waited for");
    assert!(!watch.file("status").exists(), "and leaves no zombie");
}

#[test]
fn a_watch_ends_with_its_run_and_has_nothing_of_forges() {
    let cloud = Cloud::of(SLEEPS, vec![]);
    // Somebody above forge has left a file open for everybody.
    let leaked = std::fs::File::create(cloud.workspace.path("tmp/leaked")).unwrap();
    let line = format!(
        "exec 9<>/proc/{}/fd/{} && exec {} --daytona task",
        std::process::id(),
        leaked.as_raw_fd(),
        env!("CARGO_BIN_EXE_forge"),
    );
    let mut shell = instead(&cloud.command(["--daytona", "task"]), "sh");
    shell.args(["-c", &line]);
    shell.env("BUILD_ID", "12").env("RUNNER_TRACKING_ID", "x");
    // Where certificates are is the one thing that it gets.
    shell.env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR");
    shell.env("HTTPS_PROXY", "http://me:password@127.0.0.1:1");
    let child = shell.spawn().unwrap();
    let watch = Watch::of(&child);
    cloud.wait_for(Route::Execute);

    assert_eq!(watch.read("environ"), b"", "no mark, no key, no proxy");
    let line = String::from_utf8(watch.read("cmdline")).unwrap();
    let run = cloud.workspace.run_folder();
    let run = run.file_name().unwrap().to_str().unwrap();
    assert_eq!(line, format!("sandbox-watch\0__watch-apart\0{run}\0"));
    assert_eq!(watch.read("comm"), b"sandbox-watch\n");
    let folder = std::fs::read_link(watch.file("cwd")).unwrap();
    assert_eq!(folder.to_str(), Some("/"));

    let mut files: Vec<String> = std::fs::read_dir(watch.file("fd"))
        .unwrap()
        .map(|entry| std::fs::read_link(entry.unwrap().path()).unwrap())
        .map(|path| path.display().to_string())
        .map(|path| match path.split_once(':') {
            Some((kind, _)) => kind.to_owned(),
            None => path.replace(&run.to_string(), "RUN"),
        })
        .collect();
    files.sort();
    let ledger = std::fs::canonicalize(cloud.workspace.path("artifacts")).unwrap();
    let ledger = ledger.join("RUN/sandboxes.jsonl").display().to_string();
    let null = || "/dev/null".to_owned();
    let mut expected = vec![null(), null(), null(), ledger, "socket".to_owned()];
    expected.sort();
    assert_eq!(files, expected);

    let fields = stat(watch.pid).unwrap();
    let own = watch.pid.to_string();
    let [group, session, terminal] = [&fields[2], &fields[3], &fields[4]];
    assert_eq!([group, session, terminal], [&own, &own, "0"]);
    for name in ["HUP", "INT", "TERM", "QUIT", "USR1", "USR2", "TSTP", "XCPU"] {
        kill(name, watch.pid);
    }
    wait(200);
    assert!(watch.runs(), "nothing but SIGKILL ends it");
    interrupt(child, watch);
}

/// In kibibytes.
const MOST: u64 = 10 * 1024;

#[test]
fn an_idle_watch_takes_no_time_and_little_memory() {
    let cloud = Cloud::of(SLEEPS, vec![]);
    let (child, watch) = running(&cloud);
    let ticks = || {
        let fields = stat(watch.pid).unwrap();
        (fields[11].clone(), fields[12].clone())
    };
    let switches = || status(watch.pid, "voluntary_ctxt_switches:");
    let before = (ticks(), switches());
    wait(2000);
    assert_eq!((ticks(), switches()), before, "it never wakes up");
    assert_eq!(status(watch.pid, "Threads:").as_deref(), Some("1"));
    let resident = status(watch.pid, "VmRSS:").unwrap();
    let kibibytes: u64 = resident.split(' ').next().unwrap().parse().unwrap();
    assert!(kibibytes <= MOST, "{resident}");
    interrupt(child, watch);
}

#[test]
fn a_local_run_has_no_watch() {
    let workspace = Workspace::with(&[("a.sh", SLEEPS)]);
    let child = workspace.command(["task"]).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    let ledger = || std::fs::read_to_string(workspace.path("artifacts/latest/sandboxes.jsonl"));
    while !ledger().is_ok_and(|text| text.contains("created")) {
        assert!(Instant::now() < until, "no sandbox");
        pause();
    }
    let found = children(child.id()).into_iter().find(|pid| is_watch(*pid));
    assert_eq!(found, None);
    signal(&child, "INT");
    finish(child).expect(130);
}

/// A run is not lost for it, and people hear what it means.
#[test]
fn a_run_without_a_watch_goes_on_and_says_so() {
    let slow = Before::Delay(Duration::from_secs(1));
    let rule = Rule::route(Route::CurrentKey, When::Always, slow);
    let cloud = Cloud::of(WRITES, vec![rule]);
    let copy = cloud.workspace.path("tmp/copy");
    std::fs::copy(env!("CARGO_BIN_EXE_forge"), &copy).unwrap();
    let mut command = instead(&cloud.command([""]), copy.to_str().unwrap());
    command.args(["--daytona", "task"]);
    let child = command.spawn().unwrap();
    cloud.wait_for(Route::CurrentKey);
    // What runs goes on running; it cannot be started again.
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&copy, mode).unwrap();
    let ended = finish(child).expect(0);
    let said = "the watch cannot be started";
    assert_eq!(ended.stderr.matches(said).count(), 1, "{}", ended.stderr);
    let warnings = cloud.workspace.run_json()["warnings"].to_string();
    assert!(warnings.contains("`forge sweep`"), "{warnings}");
}

/// It has no terminal: what it did is in the run's folder, without the key.
#[test]
fn a_watch_that_had_to_work_says_what_it_did() {
    let cloud = Cloud::of(SLEEPS, vec![]);
    let (child, watch) = running(&cloud);
    signal(&child, "KILL");
    let died = Instant::now();
    assert_eq!(finish(child).code, None);
    assert_ended(&cloud, watch, died);
    let log = std::fs::read_to_string(cloud.workspace.run_folder().join("watch.log")).unwrap();
    for part in [
        "sandboxes not known to be gone: 1",
        "deleted: 1; nothing is left",
    ] {
        assert!(log.contains(part), "no `{part}` in {log}");
    }
    assert!(!log.contains(cloud.fake.api_key()), "{log}");
}

/// Its run is as alive as before.
#[test]
fn a_run_whose_watch_is_killed_goes_on() {
    let options = Options {
        warm: true,
        ..Options::default()
    };
    let cloud = Cloud::new(options, Workspace::with(&[("a.sh", SLEEPS)]));
    let (child, watch) = running(&cloud);
    kill("KILL", watch.pid);
    wait(100);
    signal(&child, "INT");
    finish(child).expect(130);
    assert!(!watch.file("status").exists(), "no zombie");
    cloud.assert_none_alive();
}
