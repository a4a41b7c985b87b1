//! Create, find, list, delete, and the key.

use std::time::{Duration, Instant};

use futures::future::join_all;
use reqwest::StatusCode;

use forge::name::SandboxId;
use forge::sandbox::daytona::{Credential, Daytona, DaytonaOptions};
use forge::sandbox::{ErrorKind, Network, Networks, Presence, Provider, Remains, Remedy};

use forge::secret::Secret;

use super::{Setup, config};
use crate::support::fake_daytona::fault::{Before, Canned, During, Rule, When};
use crate::support::fake_daytona::{ORGANIZATION, Options, Quota, RateLimit, RateLimits, Route};
use forge::conformance::make;

fn quick() -> DaytonaOptions {
    DaytonaOptions {
        start_budget: Duration::from_secs(2),
        ..DaytonaOptions::default()
    }
}

/// What a failed create says, whether it says that something may exist, and whether something does, which is
/// then deleted.
#[expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot begin has failed"
)]
async fn create_fails(options: Options) -> (ErrorKind, String, bool, bool) {
    let setup = Setup::with(options, quick());
    let spec = setup.spec(1);
    let (error, may_exist) = match setup.daytona.create(&spec).await {
        Err(failed) => (*failed.error, failed.remains != Remains::Nothing),
        Ok(created) => (created.ready.await.expect_err("a failure"), true),
    };
    let run = Some(&setup.run);
    let left = setup.daytona.find(run, &spec.name).await.unwrap();
    if let Some(id) = &left {
        match setup.daytona.delete(id).await {
            Ok(presence) => assert_ne!(presence, Presence::Alive),
            // It is still starting: the reaper would come again.
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::Busy);
                setup.fake.allow_leaks();
            }
        }
    }
    (error.kind, error.to_string(), may_exist, left.is_some())
}

fn fault(rule: Rule) -> Options {
    Options {
        faults: vec![rule],
        ..Options::default()
    }
}

#[tokio::test]
async fn a_failed_create_says_why_and_what_it_left_is_found() {
    let answer = |status, text: &str| {
        fault(Rule::route(
            Route::Create,
            When::Always,
            Before::Answer(Canned::error(status, text)),
        ))
    };
    let during = |fault_: During| fault(Rule::route(Route::Create, When::Always, fault_));
    let one = Quota {
        cpu: 0,
        memory: 0,
        disk: 0,
        ..Quota::UNLIMITED
    };
    let slow = Options {
        start: Duration::from_secs(60),
        hold: Duration::from_millis(50),
        ..Options::default()
    };
    for (options, kind, text, may_exist, left) in [
        (
            during(During::CreateLeavesRow("no disk".to_owned())),
            ErrorKind::Server,
            "no disk",
            true,
            true,
        ),
        (
            during(During::CreateErrs("bad image".to_owned())),
            ErrorKind::Server,
            "bad image",
            true,
            true,
        ),
        (
            answer(StatusCode::INTERNAL_SERVER_ERROR, "oops"),
            ErrorKind::Server,
            "oops",
            true,
            false,
        ),
        (
            answer(StatusCode::NOT_FOUND, "Region not found"),
            ErrorKind::Invalid,
            "Region not found",
            false,
            false,
        ),
        (
            answer(StatusCode::FORBIDDEN, "network tier"),
            ErrorKind::Invalid,
            "network tier",
            false,
            false,
        ),
        (
            Options {
                quota: Some(one),
                ..Options::default()
            },
            // Not one fits, however many go.
            ErrorKind::Invalid,
            "limit exceeded",
            false,
            false,
        ),
        (slow, ErrorKind::TimedOut, "has not started", true, true),
    ] {
        let (got, message, says, found) = create_fails(options).await;
        assert_eq!((got, says, found), (kind, may_exist, left), "{message}");
        assert!(message.contains(text), "{message}");
    }
}

#[tokio::test]
async fn a_key_without_a_say_is_noticed_at_once_and_nothing_is_created() {
    let setup = Setup::new(Options::default());
    let began = Instant::now();
    let daytona = Daytona::new(&config(&setup.fake.api_url(), "wrong"), quick()).unwrap();
    let error = daytona.preflight().await.expect_err("a failure");
    assert_eq!(
        (error.kind, error.remedy()),
        (ErrorKind::Unauthorized, Remedy::GiveUp)
    );
    assert!(error.hint.is_some() && !format!("{error:?}").contains("wrong"));
    let failed = daytona.create(&setup.spec(1)).await.expect_err("a failure");
    assert_eq!(failed.remains, Remains::Nothing);
    let error = failed.error;
    assert_eq!((error.kind, error.attempts), (ErrorKind::Unauthorized, 1));
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "that is what a user waits for the news"
    );
    assert_eq!(setup.fake.rows(), []);

    setup.daytona.preflight().await.unwrap();
    setup.fake.set_permissions(&["write:sandboxes"]);
    let error = setup.daytona.preflight().await.expect_err("a failure");
    assert_eq!(error.kind, ErrorKind::Forbidden);
    assert!(error.message.contains("delete:sandboxes"), "{error}");
}

#[tokio::test]
async fn a_token_goes_with_its_organization() {
    let setup = Setup::new(Options {
        jwt: Some("token".to_owned()),
        ..Options::default()
    });
    for (organization, works) in [(ORGANIZATION, true), ("another", false)] {
        let mut config = config(&setup.fake.api_url(), "");
        config.credential = Credential::Jwt {
            token: Secret::new("token"),
            organization: organization.to_owned(),
        };
        let daytona = Daytona::new(&config, quick()).unwrap();
        assert_eq!(daytona.preflight().await.is_ok(), works, "{organization}");
    }
}

#[tokio::test]
async fn a_url_without_its_api_part_is_called_wrong() {
    let setup = Setup::new(Options::default());
    let url = setup.fake.api_url();
    let url = url.strip_suffix("/api").unwrap();
    let daytona = Daytona::new(&config(url, setup.fake.api_key()), quick()).unwrap();
    for error in [
        daytona.preflight().await.expect_err("a failure"),
        make(&daytona, &setup.spec(1)).await.expect_err("a failure"),
    ] {
        assert_eq!(error.kind, ErrorKind::Protocol);
        assert!(error.hint.unwrap().contains("wrong API URL?"));
    }
}

#[tokio::test]
async fn a_server_says_what_it_is() {
    let setup = Setup::new(Options::default());
    let config = setup.daytona.server_config().await.unwrap().unwrap();
    assert!(config.version.is_some() && config.default_snapshot.is_some());
}

#[tokio::test]
async fn a_sandbox_that_still_starts_is_busy_and_one_that_goes_is_confirmed() {
    let slow = Options {
        start: Duration::from_millis(700),
        hold: Duration::from_millis(10),
        destroy: Duration::from_secs(5),
        ..Options::default()
    };
    let setup = Setup::new(slow);
    let spec = setup.spec(1);
    let name = spec.name.clone();
    let run = Some(&setup.run);
    let (created, ()) = tokio::join!(make(&setup.daytona, &spec), async {
        let id = loop {
            if let Some(id) = setup.daytona.find(run, &name).await.unwrap() {
                break id;
            }
        };
        let error = setup.daytona.delete(&id).await.expect_err("a conflict");
        assert_eq!((error.kind, error.attempts), (ErrorKind::Busy, 1));
    });
    let sandbox = created.unwrap();
    for _ in 0..2 {
        let presence = setup.daytona.delete(sandbox.id()).await.unwrap();
        assert_eq!(presence, Presence::Ending);
        assert_eq!(setup.daytona.find(run, &name).await.unwrap(), None);
        let listed = setup.daytona.list(&setup.run).await.unwrap();
        assert_eq!(listed[0].presence, Presence::Ending);
    }
    setup.delete(sandbox.as_ref()).await;
    assert_eq!(setup.daytona.list(&setup.run).await.unwrap(), []);
    let unknown = SandboxId::new("no such/sandbox?");
    assert_eq!(
        setup.daytona.delete(&unknown).await.unwrap(),
        Presence::Absent
    );
    setup.fake.allow_leaks();
}

#[tokio::test]
async fn a_key_that_may_not_delete_stops_instead() {
    let setup = Setup::new(Options {
        warm: true,
        ..Options::default()
    });
    let sandbox = setup.sandbox().await;
    setup.fake.set_permissions(&["write:sandboxes"]);
    setup.delete(sandbox.as_ref()).await;
    assert_eq!(setup.fake.alive(), []);

    setup
        .fake
        .set_permissions(&["write:sandboxes", "delete:sandboxes"]);
    let other = make(&setup.daytona, &setup.spec(2)).await.unwrap();
    setup.fake.set_permissions(&[]);
    let error = setup
        .daytona
        .delete(other.id())
        .await
        .expect_err("a refusal");
    assert_eq!(
        (error.kind, error.remedy()),
        (ErrorKind::Forbidden, Remedy::GiveUp)
    );
    assert!(error.hint.is_some());
    setup.fake.allow_leaks();
}

#[tokio::test]
async fn a_delete_is_one_attempt_and_the_reapers_to_repeat() {
    let refuse = Before::Answer(Canned::status(StatusCode::BAD_GATEWAY));
    let setup = Setup::with_fault(Rule::route(Route::Delete, When::Nth(1), refuse));
    let sandbox = setup.sandbox().await;
    let error = setup
        .daytona
        .delete(sandbox.id())
        .await
        .expect_err("a failure");
    assert!(matches!(error.remedy(), Remedy::Retry { .. }));
    assert_eq!(setup.fake.requests_to(Route::Delete), 1);
    setup.delete(sandbox.as_ref()).await;
}

#[tokio::test]
async fn sandboxes_are_listed_by_run_with_the_names_forge_gave_them() {
    let setup = Setup::new(Options {
        warm: true,
        ..Options::default()
    });
    let mut sandboxes = Vec::new();
    for serial in 1..=3 {
        sandboxes.push(make(&setup.daytona, &setup.spec(serial)).await.unwrap());
    }
    let listed = setup.daytona.list(&setup.run).await.unwrap();
    let names: Vec<_> = listed.iter().map(|listed| listed.name.clone()).collect();
    assert_eq!(names, [1, 2, 3].map(|serial| setup.spec(serial).name));
    let left = setup.daytona.left().await.unwrap();
    assert_eq!(left.len(), 3);
    assert_eq!(left[0].run, Some(setup.run.to_string()));
    assert!(left[0].created.is_some());
    let other = forge::name::RunId::generate();
    assert_eq!(setup.daytona.list(&other).await.unwrap(), []);
    for sandbox in sandboxes {
        setup.delete(sandbox.as_ref()).await;
    }
}

#[tokio::test]
async fn creates_keep_the_accounts_pace() {
    let limit = RateLimit {
        requests: 5,
        window: Duration::from_secs(1),
    };
    let limits = RateLimits {
        sandbox_create: Some(limit),
        ..RateLimits::default()
    };
    let setup = Setup::new(Options {
        warm: true,
        limits,
        ..Options::default()
    });
    // The first answer tells of the limit; what was sent before it is not held back.
    let create = async |serial| {
        let spec = setup.spec(serial);
        setup.daytona.admit(&spec).await.unwrap();
        make(&setup.daytona, &spec).await.unwrap()
    };
    let first = create(1).await;
    let created = join_all((2..=14).map(create)).await;
    assert_eq!(setup.fake.throttled(), 0);
    setup.delete(first.as_ref()).await;
    for sandbox in created {
        setup.delete(sandbox.as_ref()).await;
    }
}

#[tokio::test]
async fn a_throttled_create_is_refused_with_the_time_to_wait() {
    let mut refusal = Canned::error(StatusCode::TOO_MANY_REQUESTS, "Rate limit exceeded");
    refusal
        .headers
        .push(("retry-after-sandbox-create", "1".to_owned()));
    let setup = Setup::with_fault(Rule::route(
        Route::Create,
        When::Nth(1),
        Before::Answer(refusal),
    ));
    let failed = setup.daytona.create(&setup.spec(1)).await;
    let failed = failed.expect_err("a refusal");
    assert_eq!(failed.remains, Remains::Nothing);
    let second = Some(Duration::from_secs(1));
    assert_eq!(
        (failed.error.kind, failed.error.retry_after),
        (ErrorKind::Throttled, second)
    );
}

#[tokio::test]
async fn a_network_that_is_none_is_refused_before_anything_is_asked() {
    let setup = Setup::new(Options::default());
    let mut spec = setup.spec(1);
    let none = Network::Allow(vec!["everything".to_owned()]);
    for networks in [
        Networks::same(none.clone()),
        Networks {
            run: none,
            ..Networks::default()
        },
    ] {
        spec.networks = networks;
        let error = make(&setup.daytona, &spec).await.expect_err("a refusal");
        assert_eq!((error.kind, setup.fake.requests()), (ErrorKind::Invalid, 0));
    }
}
