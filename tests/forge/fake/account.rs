//! The account: quotas, limits, keys, lifetimes.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::json;

use super::{Setup, send, until};
use crate::support::fake_daytona::{ORGANIZATION, Options, Quota, RateLimit, RateLimits, Route};

const LONG: Duration = Duration::from_secs(3600);

/// A question with the JWT and its organization.
fn as_token(setup: &Setup, path: &str) -> RequestBuilder {
    let url = format!("{}{path}", setup.fake.api_url());
    let request = setup.http.get(url).bearer_auth("a.b.c");
    request.header("X-Daytona-Organization-ID", ORGANIZATION)
}

#[tokio::test]
async fn a_full_pool_refuses_until_a_sandbox_is_deleted() {
    let quota = Quota {
        cpu: 2,
        ..Quota::UNLIMITED
    };
    let setup = Setup::new(Options {
        quota: Some(quota),
        jwt: Some("a.b.c".to_owned()),
        ..Options::default()
    });
    setup.sandbox("a").await;
    setup.sandbox("b").await;
    let full = setup.create(json!({"name": "c"})).await;
    assert_eq!(full.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        full.message(),
        "Total CPU limit exceeded. Maximum allowed: 2."
    );
    let usage = as_token(&setup, &format!("/organizations/{ORGANIZATION}/usage"));
    let usage = send(usage).await.json()["regionUsage"][0].clone();
    assert_eq!([&usage["totalCpuQuota"], &usage["currentCpuUsage"]], [2, 2]);
    setup.delete("a").await;
    setup.sandbox("c").await;
    setup.delete("b").await;
    setup.delete("c").await;
    let large = json!({"buildInfo": {"dockerfileContent": "FROM scratch"}, "cpu": 5});
    assert!(
        setup
            .create(large)
            .await
            .message()
            .contains("maximum allowed per sandbox")
    );
    assert_eq!(setup.fake.peak_alive(), 2);
}

#[tokio::test]
async fn a_slot_comes_back_when_its_box_is_gone() {
    let setup = Setup::new(Options {
        quota: Some(Quota {
            sandboxes: 1,
            ..Quota::UNLIMITED
        }),
        destroy: Duration::from_millis(300),
        ..Options::default()
    });
    setup.sandbox("a").await;
    setup.delete("a").await;
    let full = setup.create(json!({"name": "b"})).await;
    assert_eq!(
        full.message(),
        "Total sandbox limit exceeded. Maximum allowed: 1."
    );
    until("the slot is free", async || {
        setup.create(json!({"name": "b"})).await.status == StatusCode::OK
    })
    .await;
    setup.delete("b").await;
    until("all are gone", async || setup.fake.alive().is_empty()).await;
    assert_eq!(setup.fake.peak_alive(), 1);
}

#[tokio::test]
async fn one_request_too_many_blocks_for_a_whole_window() {
    let minute = Duration::from_secs(60);
    let limit = RateLimit {
        requests: 1,
        window: minute,
    };
    let setup = Setup::new(Options {
        limits: RateLimits {
            authenticated: Some(limit),
            ..RateLimits::default()
        },
        ..Options::default()
    });
    let told = setup.get("a").await;
    assert_eq!(told.header("x-ratelimit-remaining-authenticated"), "0");
    setup.fake.advance(minute / 2);
    let refused = setup.get("a").await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.message(), "ThrottlerException: Too Many Requests");
    assert_eq!(refused.header("retry-after-authenticated"), "60");
    assert_eq!(refused.header("x-ratelimit-limit-authenticated"), "");
    setup.fake.advance(Duration::from_secs(55));
    assert_eq!(setup.get("a").await.status, StatusCode::TOO_MANY_REQUESTS);
    setup.fake.advance(Duration::from_secs(6));
    assert_eq!(setup.get("a").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn calls_to_a_sandbox_spend_the_general_budget_at_first_and_every_two_minutes() {
    let limit = RateLimit {
        requests: 2,
        window: LONG,
    };
    let setup = Setup::new(Options {
        limits: RateLimits {
            authenticated: Some(limit),
            ..RateLimits::default()
        },
        ..Options::default()
    });
    let made = json!({"name": "a", "autoStopInterval": 0});
    let id = setup.create(made).await.field("id");
    for _ in 0..3 {
        setup.run(&id, "true").await;
    }
    setup.fake.advance(Duration::from_secs(121));
    let spent = setup.execute(&id, json!({"command": "true"})).await;
    assert_eq!(spent.status, StatusCode::UNAUTHORIZED);
    let message = spent.message();
    assert!(message.contains("validation error") && message.contains("429"));
    setup.fake.advance(LONG);
    setup.run(&id, "true").await;
    setup.delete(&id).await;
}

#[tokio::test]
async fn who_fails_to_authenticate_too_often_is_locked_out_with_the_right_key_too() {
    let limit = RateLimit {
        requests: 3,
        window: LONG,
    };
    let setup = Setup::new(Options {
        jwt: Some("a.b.c".to_owned()),
        limits: RateLimits {
            failed_auth: Some(limit),
            ..RateLimits::default()
        },
        ..Options::default()
    });
    let wrong = setup.http.get(format!("{}/sandbox", setup.fake.api_url()));
    let usage = format!("/organizations/{ORGANIZATION}/usage");
    // Each is the wrong one for what it asks.
    for failure in [
        wrong.bearer_auth("wrong"),
        setup.api(Method::GET, &usage),
        as_token(&setup, "/api-keys/current"),
    ] {
        assert_eq!(send(failure).await.status, StatusCode::UNAUTHORIZED);
    }
    let config = setup.http.get(format!("{}/config", setup.fake.api_url()));
    for request in [setup.api(Method::GET, "/sandbox"), config] {
        let refused = send(request).await;
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refused.header("retry-after"), "3600");
        assert_eq!(refused.header("x-ratelimit-remaining-failed-auth"), "0");
    }
    setup.fake.advance(LONG);
    assert_eq!(setup.get("a").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn creates_over_the_limit_are_refused_until_the_window_ends() {
    let limit = RateLimit {
        requests: 2,
        window: LONG,
    };
    let setup = Setup::new(Options {
        limits: RateLimits {
            sandbox_create: Some(limit),
            ..RateLimits::default()
        },
        ..Options::default()
    });
    for (name, remaining) in [("a", "1"), ("b", "0")] {
        let answer = setup.create(json!({"name": name})).await;
        assert_eq!(
            answer.header("x-ratelimit-remaining-sandbox-create"),
            remaining
        );
    }
    let refused = setup.create(json!({"name": "c"})).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.header("retry-after-sandbox-create"), "3600");
    assert_eq!(
        refused.header("retry-after"),
        "",
        "only the suffixed header"
    );
    assert_eq!(
        (
            setup.fake.throttled(),
            setup.fake.requests_to(Route::Create)
        ),
        (1, 3)
    );
    setup.fake.advance(LONG);
    setup.sandbox("c").await;
    setup.fake.allow_leaks();
}

#[tokio::test]
async fn keys_tokens_and_permissions_are_checked() {
    let setup = Setup::new(Options {
        jwt: Some("a.b.c".to_owned()),
        ..Options::default()
    });
    let url = format!("{}/sandbox", setup.fake.api_url());
    let with = |token: &str| setup.http.get(&url).bearer_auth(token);
    assert_eq!(send(with("wrong")).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        send(setup.http.get(&url)).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(send(with("a.b.c")).await.status, StatusCode::FORBIDDEN);
    let organized = with("a.b.c").header("X-Daytona-Organization-ID", ORGANIZATION);
    assert_eq!(send(organized).await.status, StatusCode::OK);
    let config = setup.http.get(format!("{}/config", setup.fake.api_url()));
    assert_eq!(send(config).await.field("defaultSnapshot"), "daytona-small");
    setup.sandbox("a").await;
    setup.fake.set_permissions(&["write:sandboxes"]);
    assert_eq!(setup.delete("a").await.status, StatusCode::FORBIDDEN);
    let key = send(setup.api(Method::GET, "/api-keys/current"))
        .await
        .json();
    assert_eq!(key["permissions"], json!(["write:sandboxes"]));
    setup.fake.set_permissions(&["delete:sandboxes"]);
    assert_eq!(setup.create(json!({})).await.status, StatusCode::FORBIDDEN);
    setup.delete("a").await;
    assert!(setup.fake.book().iter().all(|seen| seen.key_in.is_empty()));
    send(with("wrong").header("x-note", setup.fake.api_key())).await;
    let last = setup.fake.book().pop().expect("a request");
    assert!(last.at > Duration::ZERO);
    assert_eq!(
        (last.method.as_str(), last.path.as_str()),
        ("GET", "/api/sandbox")
    );
    assert_eq!(
        (last.key_in, last.status),
        (vec!["x-note".to_owned()], Some(401))
    );
    assert!(last.headers.contains(&"x-note".to_owned()));
}

#[tokio::test]
async fn idle_and_old_sandboxes_end_by_themselves() {
    let setup = Setup::new(Options::default());
    let intervals = [
        (
            "stops",
            json!({"name": "stops", "autoStopInterval": 5}),
            Some("stopped"),
        ),
        (
            "ephemeral",
            json!({"name": "ephemeral", "autoStopInterval": 5, "autoDeleteInterval": 0}),
            None,
        ),
        (
            "old",
            json!({"name": "old", "autoStopInterval": 0, "ttlMinutes": 5}),
            None,
        ),
        (
            "stays",
            json!({"name": "stays", "autoStopInterval": 0}),
            Some("started"),
        ),
    ];
    for (_, body, _) in &intervals {
        setup.create(body.clone()).await;
    }
    setup.fake.advance(Duration::from_secs(240));
    assert_eq!(setup.fake.alive().len(), 4);
    send(setup.api(Method::POST, "/sandbox/stops/last-activity")).await;
    setup.fake.advance(Duration::from_secs(61));
    assert_eq!(setup.get("stops").await.field("state"), "started");
    setup.fake.advance(Duration::from_secs(300));
    for (name, _, state) in intervals {
        let found = setup.get(name).await;
        match state {
            Some(state) => assert_eq!(found.field("state"), state, "{name}"),
            None => assert_eq!(found.status, StatusCode::NOT_FOUND, "{name}"),
        }
    }
    setup.fake.allow_leaks();
}
