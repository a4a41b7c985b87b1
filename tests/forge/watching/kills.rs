//! Forge killed in every way: alone, with its group, with its terminal; while the server fails, or is slow.

use std::os::unix::process::CommandExt as _;
use std::time::{Duration, Instant};

use reqwest::StatusCode;

use super::{Watch, assert_ended, in_terminal, kill, open};
use crate::cloud::{Cloud, WRITES, signal};
use crate::support::fake_daytona::fault::{Before, Canned, On, Rule, When, scramble};
use crate::support::fake_daytona::{Options, Route};
use crate::support::workspace::{Workspace, finish, wait};

/// Takes a while, so that something is always under way.
pub(super) const TAKES: &str = "#!/bin/sh\nsleep 0.2\necho \"hello from the cloud\" > \"$2\"\n";

/// A server that takes its time over everything.
pub(crate) fn busy() -> Options {
    Options {
        start: Duration::from_millis(200),
        destroy: Duration::from_millis(200),
        latency: Duration::from_millis(20),
        list_lag: Duration::from_secs(1),
        ..Options::default()
    }
}

/// A run of 200 trials, 8 at once.
pub(super) const MANY: [&str; 6] = ["--daytona", "task", "-k200", "-j8", "-q", "--no-progress"];

pub(super) fn cloud(options: Options) -> Cloud {
    Cloud::new(options, Workspace::with(&[("a.sh", TAKES)]))
}

/// A moment, in milliseconds, that is another one in each run of the tests.
pub(super) fn moment(most: u64) -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    scramble(u64::from(now.unwrap().subsec_nanos())) % most
}

#[test]
fn nothing_is_left_of_a_forge_that_is_killed_at_any_moment() {
    for _ in 0..2 {
        let cloud = cloud(busy());
        let child = cloud.start(MANY);
        let watch = Watch::of(&child);
        cloud.wait_for_many(Route::Create, 8);
        wait(moment(1500));
        signal(&child, "KILL");
        let died = Instant::now();
        assert_eq!(finish(child).code, None);
        assert_ended(&cloud, watch, died);
        let swept = cloud.forge(["sweep"]).expect(0);
        assert_eq!(swept.stdout, "nothing to sweep\n");
    }
}

#[test]
fn nothing_is_left_when_the_whole_process_group_is_killed() {
    let cloud = cloud(busy());
    let child = cloud.command(MANY).process_group(0).spawn().unwrap();
    let watch = Watch::of(&child);
    cloud.wait_for_many(Route::Create, 12);
    let status = std::process::Command::new("kill")
        .args(["-KILL", "--", &format!("-{}", child.id())])
        .status();
    assert!(status.unwrap().success());
    let died = Instant::now();
    assert_eq!(finish(child).code, None);
    assert_ended(&cloud, watch, died);
}

#[test]
fn nothing_is_left_when_the_terminal_is_closed_and_forge_is_killed() {
    let cloud = cloud(busy());
    let (mut child, terminal) = in_terminal(&cloud.command(MANY));
    let watch = Watch::of(&child);
    cloud.wait_for_many(Route::Create, 12);
    drop(terminal);
    wait(100);
    // It is deleting by itself, and is not to get to the end of that.
    child.kill().unwrap();
    let died = Instant::now();
    child.wait().unwrap();
    assert_ended(&cloud, watch, died);
}

#[test]
fn a_server_that_fails_for_a_while_is_asked_until_it_does_not() {
    let throttled = Canned::throttled("retry-after", 1);
    let broken = Canned::error(StatusCode::INTERNAL_SERVER_ERROR, "injected");
    for answer in [throttled, broken] {
        let cloud = cloud(busy());
        let child = cloud.start(MANY);
        let watch = Watch::of(&child);
        cloud.wait_for_many(Route::Create, 12);
        let refuses = Before::Answer(answer);
        cloud
            .fake
            .add_fault(Rule::new(On::Any, When::Always, refuses));
        signal(&child, "KILL");
        let died = Instant::now();
        assert_eq!(finish(child).code, None);
        wait(5000);
        cloud.fake.clear_faults();
        assert_ended(&cloud, watch, died);
    }
}

/// It comes to be when forge is gone, and nobody but the run's label tells of it.
#[test]
fn a_create_that_was_under_way_is_waited_for() {
    let slow = Options {
        latency: Duration::from_millis(600),
        ..busy()
    };
    let late = Before::Delay(Duration::from_secs(5));
    let very_slow = Options {
        faults: vec![Rule::route(Route::Create, When::Always, late)],
        ..busy()
    };
    for (options, takes) in [(slow, 600), (very_slow, 5000)] {
        let cloud = cloud(options);
        let child = cloud.start(MANY);
        let watch = Watch::of(&child);
        cloud.wait_for_many(Route::Create, 8);
        let rows = cloud.fake.rows().len();
        signal(&child, "KILL");
        let died = Instant::now();
        assert_eq!(finish(child).code, None);
        wait(takes + 300);
        assert!(cloud.fake.rows().len() > rows, "none came to be late");
        assert_ended(&cloud, watch, died);
    }
}

#[test]
fn forge_and_watch_killed_at_once_is_what_sweep_is_for() {
    let cloud = Cloud::of("#!/bin/sh\nexec sleep 300\n", vec![]);
    let child = cloud.start(["--daytona", "task", "-k3", "-j3"]);
    let watch = Watch::of(&child);
    cloud.wait_for_many(Route::Execute, 3);
    watch.kill_with(child);
    wait(500);
    assert_eq!((cloud.fake.alive().len(), open(&cloud.workspace)), (3, 3));
    let swept = cloud.forge(["sweep"]).expect(0);
    assert_eq!(swept.stdout.matches("deleted forge-").count(), 3);
    cloud.assert_none_alive();
    assert_eq!(open(&cloud.workspace), 0);
}

/// The third one ends forge at once.
#[test]
fn a_third_signal_leaves_the_rest_to_the_watch() {
    let slow = Before::Delay(Duration::from_millis(1500));
    let delete = Rule::new(On::Route(Route::Delete), When::First(4), slow);
    let cloud = Cloud::of("#!/bin/sh\nexec sleep 300\n", vec![delete]);
    let child = cloud.start(["--daytona", "task", "-k4", "-j4"]);
    let watch = Watch::of(&child);
    cloud.wait_for_many(Route::Execute, 4);
    for _ in 0..3 {
        signal(&child, "INT");
        wait(100);
    }
    let ended = finish(child).expect(130);
    let died = Instant::now();
    assert!(ended.stderr.contains("ended without waiting"), "{ended:?}");
    assert_ended(&cloud, watch, died);
}

/// Where nobody can look at a ledger any more, the run's label tells.
#[test]
fn a_run_whose_folder_is_gone_is_deleted_all_the_same() {
    let cloud = Cloud::of("#!/bin/sh\nexec sleep 300\n", vec![]);
    let child = cloud.start(["--daytona", "task", "-k2", "-j2"]);
    let watch = Watch::of(&child);
    cloud.wait_for_many(Route::Execute, 2);
    std::fs::remove_dir_all(cloud.workspace.path("artifacts")).unwrap();
    kill("KILL", child.id());
    finish(child);
    watch.wait_gone();
    cloud.assert_none_alive();
}

#[test]
fn what_was_kept_on_purpose_stays() {
    let fails = "#!/bin/sh\nexit 3\n";
    let sleeps = "#!/bin/sh\nexec sleep 300\n";
    let workspace = Workspace::with(&[("fails.sh", fails), ("sleeps.sh", sleeps)]);
    let options = Options {
        warm: true,
        ..Options::default()
    };
    let cloud = Cloud::new(options, workspace);
    let child = cloud.start(["--daytona", "task", "-j2", "--keep", "failed"]);
    let watch = Watch::of(&child);
    let kept = || {
        let folder = cloud.workspace.path("artifacts/latest");
        let ledger = std::fs::read_to_string(folder.join("sandboxes.jsonl"));
        ledger.is_ok_and(|text| text.contains("\"kept\""))
    };
    cloud.wait_for_many(Route::Execute, 2);
    let until = Instant::now() + Duration::from_secs(20);
    while !kept() {
        assert!(Instant::now() < until, "nothing is kept");
        wait(20);
    }
    signal(&child, "KILL");
    assert_eq!(finish(child).code, None);
    watch.wait_gone();
    assert_eq!(cloud.fake.alive().len(), 1);
    cloud.forge(["sweep"]).expect(0);
    cloud.assert_none_alive();
}

/// Forge still lives and has nothing left, so it is not the watch's turn.
#[test]
fn a_run_that_ends_by_itself_leaves_no_log_of_a_watch() {
    let cloud = Cloud::of(WRITES, vec![]);
    cloud.forge(["--daytona", "task", "-k2"]).expect(0);
    let log = cloud.workspace.run_folder().join("watch.log");
    assert!(!log.exists());
}
