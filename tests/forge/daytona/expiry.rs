//! When sandboxes end by themselves: not while they are used, however slow that is, and soon after.
//!
//! Where forge has to act in time, a minute of the server is a second, and so is what forge takes for one. The server's
//! clock stands still while this process does, and there are ten of its minutes between the time when forge acts and
//! the time when it would be too late.

use std::time::Duration;

use futures::future::join_all;
use reqwest::StatusCode;

use forge::conformance::make;
use forge::sandbox::daytona::DaytonaOptions;
use forge::sandbox::{Command, CommandEnd, MARGIN, Presence, Provider as _, Sandbox, SandboxSpec};

use super::{Printed, Setup, shell, upload};
use crate::support::fake_daytona::fault::{Before, Canned, Rule, When};
use crate::support::fake_daytona::{Options, Route, Ttl};

const MINUTE: Duration = Duration::from_secs(60);

/// Runs until it is told to end.
const WAITS: &str =
    "touch begun; while [ ! -e go ]; do echo on; sleep 0.05; done; echo survived >&2";

/// Waits until something is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never happened: {what}");
}

/// With a server a minute of which is a second.
fn fast(options: Options) -> Setup {
    let options = Options {
        clock_speed: 60,
        ..options
    };
    let ours = DaytonaOptions {
        minute: Duration::from_secs(1),
        ..DaytonaOptions::default()
    };
    Setup::with(options, ours)
}

fn warm() -> Options {
    Options {
        warm: true,
        ..Options::default()
    }
}

/// For something that is limited to so long.
fn limited(setup: &Setup, limits: Duration) -> SandboxSpec {
    SandboxSpec {
        lifetime: limits + MARGIN,
        ..setup.spec(1)
    }
}

fn renewals(setup: &Setup) -> usize {
    setup.fake.requests_to(Route::Interval)
}

async fn sandbox(setup: &Setup, limits: Duration) -> Box<dyn Sandbox> {
    make(&setup.daytona, &limited(setup, limits)).await.unwrap()
}

/// Runs a command that waits while something else happens, and is told to end after that.
async fn run_during(setup: &Setup, sandbox: &dyn Sandbox, meanwhile: impl Future<Output = ()>) {
    let command = Command {
        limit: Duration::from_secs(100),
        ..shell(WAITS)
    };
    let home = setup.fake.home(sandbox.id().as_str()).unwrap();
    let meanwhile = async {
        until("it runs", || home.join("begun").exists()).await;
        meanwhile.await;
        std::fs::write(home.join("go"), "").unwrap();
    };
    let mut printed = Printed::default();
    let (result, ()) = tokio::join!(sandbox.run(&command, &mut printed), meanwhile);
    assert_eq!(result.unwrap().end, CommandEnd::Exited(0));
    assert_eq!(printed.texts().1, "survived\n");
}

#[tokio::test]
async fn what_everybody_has_forgotten_is_gone_ten_minutes_later() {
    let setup = Setup::new(warm());
    let sandbox = sandbox(&setup, 60 * MINUTE).await;
    sandbox
        .run(&shell("(setsid sleep 300 &)"), &mut Printed::default())
        .await
        .unwrap();
    let id = sandbox.id().clone();
    drop(sandbox);
    until("nobody uses it", || setup.fake.in_use() == 0).await;
    setup.fake.advance(8 * MINUTE);
    assert_eq!(setup.fake.alive().len(), 1);
    setup.fake.advance(3 * MINUTE);
    assert_eq!(setup.fake.alive(), []);
    let presence = setup.daytona.look(&id).await.unwrap();
    assert_eq!(presence, Presence::Absent);
}

/// Somebody's user interface, say, looks at it again and again.
#[tokio::test]
async fn what_seems_to_be_used_is_gone_less_than_a_quarter_of_an_hour_after_its_limits() {
    let options = DaytonaOptions {
        auto_stop: Some(1000 * MINUTE),
        ..DaytonaOptions::default()
    };
    let setup = Setup::with(warm(), options);
    drop(sandbox(&setup, 20 * MINUTE).await);
    setup.fake.advance(32 * MINUTE);
    assert_eq!(setup.fake.alive().len(), 1);
    setup.fake.advance(3 * MINUTE);
    assert_eq!(setup.fake.alive(), []);
}

#[tokio::test]
async fn a_long_command_keeps_its_sandbox_without_a_call() {
    let ours = DaytonaOptions {
        live_interval: Some(Duration::from_millis(50)),
        ..DaytonaOptions::default()
    };
    let setup = Setup::with(warm(), ours);
    let sandbox = sandbox(&setup, 120 * MINUTE).await;
    let hours = async {
        for _ in 0..11 {
            setup.fake.advance(11 * MINUTE);
            assert_eq!(setup.fake.alive().len(), 1);
        }
    };
    run_during(&setup, sandbox.as_ref(), hours).await;
    assert_eq!(renewals(&setup) + setup.fake.requests_to(Route::Labels), 0);
    setup.delete(sandbox.as_ref()).await;
}

/// What a command that takes far longer than its sandbox was made for asks for, with these options.
async fn outlasts(options: Options) -> (usize, Setup) {
    let shown = format!("{:?} {:?}", options.ttl, options.faults);
    let setup = fast(Options {
        warm: true,
        ..options
    });
    let sandbox = sandbox(&setup, Duration::ZERO).await;
    let before = setup.fake.rows().remove(0).labels;
    let long = async {
        let wanted = setup.fake.clock() + 22 * MINUTE;
        until("22 minutes are over", || {
            assert_eq!(setup.fake.alive().len(), 1, "{shown}");
            setup.fake.clock() > wanted
        })
        .await;
    };
    run_during(&setup, sandbox.as_ref(), long).await;
    let mut after = setup.fake.rows().remove(0).labels;
    let until = after.insert("forge.until".to_owned(), before["forge.until"].clone());
    assert!(until.unwrap() > before["forge.until"], "{shown}");
    assert_eq!(after, before, "{shown}");
    setup.delete(sandbox.as_ref()).await;
    (renewals(&setup), setup)
}

#[tokio::test]
async fn what_is_used_for_longer_than_it_was_made_for_is_renewed() {
    let refuse = |when, status, text: &str| {
        let answer = Before::Answer(Canned::error(status, text));
        vec![Rule::route(Route::Interval, when, answer)]
    };
    let told = || Options {
        auto_destroy_at: true,
        ..Options::default()
    };
    let cases = [
        (Options::default(), 1..=1),
        (told(), 1..=1),
        // A server that grants less is asked more often.
        (
            Options {
                ttl: Ttl::CappedAt(8),
                ..told()
            },
            3..=20,
        ),
        // One that grants nothing is asked once, and what is used lives there all the same.
        (
            Options {
                ttl: Ttl::Ignored,
                faults: refuse(When::Always, StatusCode::NOT_FOUND, "Cannot POST /api/x"),
                ..Options::default()
            },
            1..=1,
        ),
        (
            Options {
                ttl: Ttl::Ignored,
                faults: refuse(When::Always, StatusCode::BAD_REQUEST, "no such interval"),
                ..told()
            },
            1..=1,
        ),
        // One that has a bad moment is asked again.
        (
            Options {
                faults: refuse(When::First(2), StatusCode::INTERNAL_SERVER_ERROR, "oops"),
                ..told()
            },
            3..=3,
        ),
    ];
    let all = cases.map(async |(options, expected)| {
        let (asked, _setup) = outlasts(options).await;
        assert!(expected.contains(&asked), "{asked} instead of {expected:?}");
    });
    join_all(all).await;
}

#[tokio::test]
async fn a_sandbox_that_starts_slowly_does_not_end_meanwhile() {
    let setup = fast(Options {
        start: Duration::from_secs(17),
        hold: Duration::from_millis(50),
        ..Options::default()
    });
    let sandbox = sandbox(&setup, Duration::ZERO).await;
    let began = setup.fake.clock();
    let home = setup.fake.home(sandbox.id().as_str()).unwrap();
    let all = async { until("it runs", || home.join("begun").exists()).await };
    run_during(&setup, sandbox.as_ref(), all).await;
    assert!(began > 16 * MINUTE);
    assert!(renewals(&setup) > 0);
    setup.delete(sandbox.as_ref()).await;
}

#[tokio::test]
async fn a_sandbox_that_is_slow_to_be_filled_does_not_end_meanwhile() {
    let rule = Rule::route(
        Route::BulkUpload,
        When::Nth(1),
        Before::Delay(Duration::from_secs(17)),
    );
    let setup = fast(Options {
        faults: vec![rule],
        ..warm()
    });
    let sandbox = sandbox(&setup, Duration::ZERO).await;
    let files = [upload("note", "arrived", false)];
    sandbox.upload(&files).await.unwrap();
    assert!(renewals(&setup) > 0);
    let mut printed = Printed::default();
    let result = sandbox.run(&shell("cat note"), &mut printed).await;
    assert_eq!(result.unwrap().end, CommandEnd::Exited(0));
    assert_eq!(printed.texts().0, "arrived");
    setup.delete(sandbox.as_ref()).await;
}

#[tokio::test]
async fn what_became_of_the_time_to_live_is_in_the_isolation() {
    for (ttl, told, expected) in [
        (Ttl::Honoured, true, "Daytona container, network"),
        (
            Ttl::CappedAt(9),
            true,
            "Daytona container, time to live cut to 9 minutes, network",
        ),
        (
            Ttl::Ignored,
            true,
            "Daytona container, without the time to live that was asked for, network",
        ),
        (
            Ttl::Ignored,
            false,
            "Daytona container, time to live untold, network",
        ),
    ] {
        let setup = Setup::new(Options {
            ttl,
            auto_destroy_at: told,
            ..warm()
        });
        let sandbox = sandbox(&setup, MINUTE).await;
        let isolation = sandbox.isolation();
        assert!(isolation.starts_with(expected), "{isolation}");
        setup.delete(sandbox.as_ref()).await;
    }
}
