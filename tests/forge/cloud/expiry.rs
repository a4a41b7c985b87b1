//! What is left when nobody is left who could delete it: the server ends it, in time.

use std::time::{Duration, Instant};

use reqwest::StatusCode;

use forge::sandbox::ledger::open_sandboxes;

use super::{Cloud, SLEEPS, WRITES, signal};
use crate::support::fake_daytona::fault::{Before, Canned, Rule, When};
use crate::support::fake_daytona::{Options, Route, Ttl};
use crate::support::workspace::{Workspace, finish, pause};

const MINUTE: Duration = Duration::from_secs(60);

/// Three sandboxes of a run that was killed while it used them, and of which none can be deleted, whoever asks.
fn forgotten(options: Options, yaml: &str, arguments: &[&str]) -> Cloud {
    let refused = Canned::error(StatusCode::INTERNAL_SERVER_ERROR, "injected");
    let options = Options {
        warm: true,
        faults: vec![Rule::route(
            Route::Delete,
            When::Always,
            Before::Answer(refused),
        )],
        ..options
    };
    let workspace = Workspace::with(&[("a.sh", SLEEPS)]).file("forge.yaml", yaml);
    let cloud = Cloud::new(options, workspace);
    let usual = ["--daytona", "task", "-k3", "-j3"];
    let child = cloud.start(usual.iter().chain(arguments).copied());
    cloud.wait_for_candidates(3);
    signal(&child, "KILL");
    assert_eq!(finish(child).code, None);
    let until = Instant::now() + Duration::from_secs(30);
    while cloud.fake.in_use() > 0 {
        assert!(Instant::now() < until, "the dead still use their sandboxes");
        pause();
    }
    assert_eq!(cloud.fake.alive().len(), 3);
    cloud
}

#[test]
fn what_a_killed_run_left_is_gone_ten_minutes_later_without_anybody() {
    let cloud = forgotten(Options::default(), "", &["--timeout", "10h"]);
    cloud.fake.advance(7 * MINUTE);
    assert_eq!(cloud.fake.alive().len(), 3, "nobody may be sure yet");
    cloud.fake.advance(4 * MINUTE);
    cloud.assert_none_alive();
    // Whoever looks finds nothing, and knows.
    cloud.fake.clear_faults();
    assert_eq!(
        open_sandboxes(&cloud.workspace.run_folder()).unwrap().len(),
        3
    );
    cloud.forge(["sweep"]).expect(0);
    assert_eq!(
        open_sandboxes(&cloud.workspace.run_folder()).unwrap().len(),
        0
    );
}

#[test]
fn what_seems_to_be_used_is_gone_a_quarter_of_an_hour_after_its_limits() {
    let yaml = "daytona: {auto_stop: 1000m}\n";
    let limits = ["--timeout", "3m", "--setup-timeout", "2m"];
    let cloud = forgotten(Options::default(), yaml, &limits);
    cloud.fake.advance(17 * MINUTE);
    assert_eq!(cloud.fake.alive().len(), 3, "its limits and fourteen");
    cloud.fake.advance(3 * MINUTE);
    cloud.assert_none_alive();
}

#[test]
fn whoever_keeps_a_sandbox_is_told_until_when_it_exists() {
    let options = Options {
        warm: true,
        auto_destroy_at: true,
        ..Options::default()
    };
    let cloud = Cloud::new(options, Workspace::with(&[("a.sh", WRITES)]));
    let ended = cloud.forge(["--daytona", "task", "--keep", "all"]);
    let text = ended.expect(0).stdout;
    let words: Vec<&str> = text.split_whitespace().collect();
    let told = words.join(" ");
    let id = &cloud.fake.alive()[0].id;
    for part in [
        id,
        "it exists until 20",
        "or 10 minutes after its last use",
        "at the latest until 20",
    ] {
        assert!(told.contains(part), "no {part} in {told}");
    }
    cloud.fake.advance(8 * MINUTE);
    assert!(cloud.is_alive(id));
    cloud.fake.advance(3 * MINUTE);
    cloud.assert_none_alive();
}

#[test]
fn results_say_what_became_of_the_time_to_live_and_nothing_was_renewed() {
    for (ttl, told) in [
        (Ttl::CappedAt(10), "time to live cut to 10 minutes"),
        (Ttl::Ignored, "without the time to live"),
    ] {
        let options = Options {
            warm: true,
            ttl,
            auto_destroy_at: true,
            ..Options::default()
        };
        let cloud = Cloud::new(options, Workspace::with(&[("a.sh", WRITES)]));
        cloud.forge(["--daytona", "task"]).expect(0);
        let isolation = cloud.trial("a")["isolation"].to_string();
        assert!(isolation.contains(told), "{isolation}");
        let calls = [Route::Interval, Route::Labels].map(|it| cloud.fake.requests_to(it));
        assert_eq!(calls, [0, 0]);
        cloud.assert_none_alive();
    }
}

#[test]
fn doctor_tells_when_sandboxes_end_by_themselves() {
    let yaml = "daytona: {auto_stop: 7m}\n";
    for (yaml, minutes) in [("", "10 minutes"), (yaml, "7 minutes")] {
        let workspace = Workspace::new().file("forge.yaml", yaml);
        let cloud = Cloud::new(Options::default(), workspace);
        let text = cloud.forge(["doctor"]).expect(0).stdout;
        let ends = format!("sandboxes end by themselves: {minutes} after their last use");
        for told in [ends.as_str(), "this server ignores it"] {
            assert!(text.contains(told), "{told}: {text}");
        }
    }
}
