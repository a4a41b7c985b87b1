//! Whatever goes wrong between the answer to a create and the last look: what is alive is named, what is called
//! deleted is gone, and nobody else's sandbox is touched.

use std::time::Duration;

use forge::sandbox::ledger::open_sandboxes;
use reqwest::StatusCode;

use super::{Cloud, SLEEPS, WRITES, signal};
use crate::support::fake_daytona::fault::{
    After, Before, Canned, During, Fault, Rule, Stale, When,
};
use crate::support::fake_daytona::{Options, RateLimit, RateLimits, Route, ToolboxUrl};
use crate::support::workspace::{Workspace, finish};

/// What the ledger of the run does not know to be gone.
fn open(cloud: &Cloud) -> usize {
    open_sandboxes(&cloud.workspace.run_folder()).unwrap().len()
}

fn refuses(status: StatusCode) -> Fault {
    Before::Answer(Canned::error(status, "injected")).into()
}

/// Every look at what starts is refused for a while, and so are the deletes of all of it.
#[test]
fn nothing_is_forgotten_when_the_accounts_limit_is_met_by_an_interruption() {
    let limit = RateLimit {
        requests: 45,
        window: Duration::from_secs(6),
    };
    let options = Options {
        start: Duration::from_secs(4),
        hold: Duration::from_millis(50),
        limits: RateLimits {
            authenticated: Some(limit),
            ..RateLimits::default()
        },
        ..Options::default()
    };
    let cloud = Cloud::new(options, Workspace::with(&[("a.sh", SLEEPS)]));
    let child = cloud.start(["--daytona", "task", "-k16", "-j16"]);
    cloud.wait_for_many(Route::Create, 16);
    cloud.wait_for_many(Route::Get, 20);
    signal(&child, "INT");
    let ended = finish(child).expect(130);
    cloud.assert_none_alive();
    assert_eq!(open(&cloud), 0, "{}", ended.stdout);
    let refused = cloud.fake.throttled();
    assert!(refused < 100, "{refused} requests were refused");
}

/// What fails after the answer to the POST says nothing about whether the sandbox exists.
#[test]
fn what_fails_after_a_create_is_no_refusal_of_it() {
    for (route, status) in [
        (Route::Get, StatusCode::UNAUTHORIZED),
        (Route::Get, StatusCode::TOO_MANY_REQUESTS),
        (Route::Get, StatusCode::NOT_FOUND),
        (Route::ToolboxUrl, StatusCode::UNAUTHORIZED),
        (Route::ToolboxUrl, StatusCode::INTERNAL_SERVER_ERROR),
    ] {
        let options = Options {
            start: Duration::from_millis(300),
            hold: Duration::ZERO,
            toolbox_url: ToolboxUrl::OnRequest,
            tombstones: true,
            faults: vec![
                Rule::route(route, When::First(2), refuses(status)),
                Rule::route(Route::List, When::Always, refuses(StatusCode::UNAUTHORIZED)),
            ],
            ..Options::default()
        };
        let cloud = Cloud::new(options, Workspace::with(&[("a.sh", WRITES)]));
        let ended = finish(cloud.start(["--daytona", "task", "-k2"]));
        cloud.assert_none_alive();
        let shown = format!("{route:?} {status}: {}", ended.stdout);
        assert!(ended.stdout.contains("could not list"), "{shown}");
        // All of them were seen destroyed, list or not.
        assert_eq!(open(&cloud), 0, "{shown}");
        assert!(
            matches!(ended.code, Some(0 | 3)),
            "{:?} {shown}",
            ended.code
        );
    }
}

#[test]
fn a_teardown_that_fails_hangs_or_never_comes_is_never_called_deleted() {
    for fault in [
        During::TeardownFails("the node is gone".to_owned()),
        During::TeardownHangs,
    ] {
        let shown = format!("{fault:?}");
        let rule = Rule::route(Route::Delete, When::Nth(1), fault);
        let cloud = Cloud::of(WRITES, vec![rule]);
        let child = cloud.start(["--daytona", "task", "-k2"]);
        let ended = finish(child).expect(4);
        let alive = cloud.fake.alive();
        assert_eq!(alive.len(), 1, "{shown}");
        let named = ended.stdout.contains(&alive[0].id);
        assert!(named, "{shown}: {}", ended.stdout);
        let summary = "1 deleted, 1 not confirmed deleted";
        assert!(ended.stdout.contains(summary), "{shown}: {}", ended.stdout);
        assert_eq!(open(&cloud), 1, "{shown}");
        if shown.starts_with("TeardownFails") {
            let ended = cloud.forge(["sweep"]).expect(4);
            assert!(!ended.stdout.contains("deleted"), "{}", ended.stdout);
            assert!(ended.stderr.contains("hides it"), "{}", ended.stderr);
            assert_eq!(open(&cloud), 1);
        }
        cloud.fake.allow_leaks();
    }
}

/// What is called alive after its delete, for longer than lists may lag, may be: the next list tells.
#[test]
fn a_stale_list_is_no_proof_that_a_teardown_succeeded() {
    let fails = During::TeardownFails("the node is gone".to_owned());
    let cloud = Cloud::of(
        WRITES,
        vec![
            Rule::route(Route::Delete, When::Nth(1), fails),
            Rule::route(
                Route::List,
                When::First(2),
                During::StaleList(Stale::Ghosts),
            ),
        ],
    );
    let ended = cloud.forge(["--daytona", "task"]).expect(4);
    let alive = cloud.fake.alive();
    assert_eq!(alive.len(), 1);
    assert!(ended.stdout.contains(&alive[0].id), "{}", ended.stdout);
    assert_eq!(open(&cloud), 1);
    cloud.fake.allow_leaks();
}

/// The page of a proxy that knows no such route says nothing about sandboxes.
#[test]
fn only_the_api_itself_says_that_a_sandbox_is_gone() {
    let page = |route, when| Rule::route(route, when, Before::Answer(Canned::proxy_not_found()));
    let cloud = Cloud::of(WRITES, vec![page(Route::Delete, When::First(3))]);
    cloud.forge(["--daytona", "task"]).expect(0);
    cloud.assert_none_alive();
    assert_eq!(cloud.fake.requests_to(Route::Delete), 4);
}

#[test]
fn somebody_elses_sandbox_of_the_same_name_is_left_alone() {
    let rule = Rule::route(Route::Create, When::Nth(1), During::NameTaken);
    let cloud = Cloud::of(WRITES, vec![rule]);
    cloud.forge(["--daytona", "task"]).expect(0);
    assert_eq!(cloud.fake.foreign().len(), 1);
    assert!(!cloud.fake.foreign_lost());
    cloud.assert_none_alive();
}

/// Its row exists before its answer comes, and its name finds it.
#[test]
fn a_create_that_is_never_answered_does_not_keep_an_interruption_waiting() {
    let rule = Rule::route(Route::Create, When::Always, After::Hang);
    let cloud = Cloud::of(WRITES, vec![rule]);
    let child = cloud.start(["--daytona", "task", "-k3", "-j3"]);
    cloud.wait_for_many(Route::Create, 3);
    signal(&child, "INT");
    finish(child).expect(130);
    cloud.assert_none_alive();
    assert_eq!(open(&cloud), 0);
}

/// What is judged is judged on this machine, whoever has the sandboxes.
#[test]
fn folders_in_which_a_killed_run_judged_are_removed_by_the_next_one() {
    let cloud = Cloud::of(WRITES, vec![]);
    let user = rustix::process::geteuid().as_raw();
    let left = format!("tmp/forge-{user}-scratch-1-1");
    std::fs::create_dir(cloud.workspace.path(&left)).unwrap();
    std::fs::write(cloud.workspace.path(&left).join("artifact"), "x").unwrap();
    cloud.forge(["--daytona", "task"]).expect(0);
    cloud.workspace.assert_nothing_left();
}
