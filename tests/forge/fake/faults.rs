//! Each fault does what it says, when it says, and the server leaves nothing behind.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{Setup, send, try_send, until};
use crate::support::fake_daytona::fault::{
    After, Answering, Before, Canned, During, Fault, On, Rule, Stale, When,
};
use crate::support::fake_daytona::{Options, Route, State};

fn create_fails(when: When, fault: impl Into<Fault>) -> Setup {
    Setup::with_fault(Rule::route(Route::Create, when, fault))
}

#[tokio::test]
async fn a_rule_fires_when_it_says() {
    let cases = [
        (When::Always, [true; 6]),
        (When::Nth(2), [false, true, false, false, false, false]),
        (When::First(2), [true, true, false, false, false, false]),
        (When::Every(3), [false, false, true, false, false, true]),
        (
            When::Chance {
                percent: 0,
                seed: 1,
            },
            [false; 6],
        ),
        (
            When::Chance {
                percent: 100,
                seed: 1,
            },
            [true; 6],
        ),
    ];
    for (when, expected) in cases {
        let refusal = Before::Answer(Canned::status(StatusCode::IM_A_TEAPOT));
        let on = On::path(Method::GET, "/api/sandbox/*").expect("a pattern");
        let setup = Setup::with_fault(Rule::new(on, when, refusal));
        for (number, refused) in expected.into_iter().enumerate() {
            assert_eq!(send(setup.api(Method::GET, "/config")).await.status, 200);
            let answer = setup.get("x").await;
            assert_eq!(
                answer.status == 418,
                refused,
                "{when:?}, number {}",
                number + 1
            );
        }
        assert_eq!(setup.fake.requests_to(Route::Get), 6);
        assert_eq!(setup.fake.requests(), 12);
    }
    let draws = async |seed| {
        let refusal = Before::Answer(Canned::html());
        let chance = When::Chance { percent: 50, seed };
        let setup = Setup::with_fault(Rule::new(On::Any, chance, refusal));
        let mut pages = Vec::new();
        for _ in 0..32 {
            pages.push(setup.get("x").await.text.starts_with("<!doctype html>"));
        }
        pages
    };
    assert_eq!(
        draws(7).await,
        draws(7).await,
        "the same seed draws the same"
    );
    assert_ne!(draws(7).await, draws(8).await);
}

#[tokio::test]
async fn an_answer_can_depend_on_what_was_asked() {
    let answering = Answering::new(|path, _body| {
        let canned = Canned {
            body: path.to_owned(),
            ..Canned::html()
        };
        (Duration::ZERO, canned)
    });
    let setup = Setup::with_fault(Rule::new(
        On::Any,
        When::Always,
        Before::AnswerTo(answering),
    ));
    assert_eq!(setup.get("x").await.text, "/api/sandbox/x");
    assert_eq!(setup.get("y").await.text, "/api/sandbox/y");
}

#[tokio::test]
async fn a_connection_dropped_before_the_effect_does_nothing() {
    let setup = create_fails(When::First(1), Before::Drop);
    let dropped = try_send(
        setup
            .api(Method::POST, "/sandbox")
            .json(&json!({"name": "a"})),
    )
    .await;
    assert!(dropped.is_err_and(|error| !error.is_timeout()));
    assert_eq!(setup.fake.rows(), []);
    assert_eq!(setup.fake.book()[0].status, None);
    setup.sandbox("a").await;
    setup.delete("a").await;
}

#[tokio::test]
async fn a_lost_or_false_answer_comes_after_the_effect() {
    let gone = Canned::error(StatusCode::GATEWAY_TIMEOUT, "upstream");
    for fault in [After::Drop, After::Hang, After::Answer(gone)] {
        let setup = create_fails(When::Always, fault.clone());
        let request = setup
            .api(Method::POST, "/sandbox")
            .json(&json!({"name": "a"}));
        match request.timeout(Duration::from_millis(500)).send().await {
            Ok(answer) => assert_eq!(answer.status(), StatusCode::GATEWAY_TIMEOUT),
            Err(error) => assert_eq!(error.is_timeout(), matches!(fault, After::Hang)),
        }
        assert_eq!(setup.get("a").await.field("state"), "started", "{fault:?}");
        setup.delete("a").await;
    }
}

#[tokio::test]
async fn a_hanging_request_does_nothing_and_a_late_one_something() {
    let setup = create_fails(When::Nth(1), Before::Hang);
    let request = setup
        .api(Method::POST, "/sandbox")
        .timeout(Duration::from_millis(200));
    assert!(
        request
            .json(&json!({}))
            .send()
            .await
            .is_err_and(|error| error.is_timeout())
    );
    assert_eq!(setup.fake.rows(), []);
    let delay = Before::Delay(Duration::from_millis(10));
    setup
        .fake
        .add_fault(Rule::route(Route::Create, When::Always, delay));
    setup.sandbox("a").await;
    setup.delete("a").await;
}

#[tokio::test]
async fn an_answer_is_given_instead_with_its_headers() {
    let mut answer = Canned::error(StatusCode::TOO_MANY_REQUESTS, "slow down");
    answer
        .headers
        .push(("Retry-After-sandbox-create", "7".to_owned()));
    let setup = create_fails(When::First(1), Before::Answer(answer));
    let refused = setup.create(json!({})).await;
    assert_eq!(refused.header("retry-after-sandbox-create"), "7");
    assert_eq!(refused.message(), "slow down");
    assert_eq!((setup.fake.rows().len(), setup.fake.throttled()), (0, 1));
    setup.fake.clear_faults();
    let lies = Before::Answer(Canned::html());
    setup
        .fake
        .add_fault(Rule::route(Route::List, When::Always, lies));
    let page = send(setup.api(Method::GET, "/sandbox")).await;
    assert_eq!(
        (page.status, page.header("content-type")),
        (StatusCode::OK, "text/html; charset=utf-8")
    );
}

#[tokio::test]
async fn a_truncated_body_breaks_off() {
    let cut = Rule::route(Route::Download, When::First(1), After::Truncate(4));
    let setup = Setup::with_fault(cut);
    let id = setup.sandbox("a").await;
    setup.upload(&id, "f", "0123456789").await;
    let request = || {
        setup
            .toolbox(Method::GET, &id, "/files/download")
            .query(&[("path", "f")])
    };
    let mut response = request().send().await.expect("headers");
    assert_eq!(response.content_length(), Some(10));
    let first = response.chunk().await.expect("the head of the body");
    assert_eq!(first.as_deref(), Some(&b"0123"[..]));
    assert!(response.chunk().await.is_err());
    assert_eq!(send(request()).await.text, "0123456789");
    setup.delete(&id).await;
}

#[tokio::test]
async fn a_stalled_body_neither_goes_on_nor_ends() {
    let setup = Setup::with_fault(Rule::route(
        Route::Download,
        When::First(1),
        After::Stall(4),
    ));
    let id = setup.sandbox("a").await;
    setup.upload(&id, "f", "0123456789").await;
    let request = setup.toolbox(Method::GET, &id, "/files/download");
    let mut response = request.query(&[("path", "f")]).send().await.unwrap();
    assert_eq!(response.content_length(), Some(10));
    assert_eq!(
        response.chunk().await.unwrap().as_deref(),
        Some(&b"0123"[..])
    );
    let next = tokio::time::timeout(Duration::from_millis(200), response.chunk()).await;
    assert!(next.is_err(), "{next:?}");
    setup.delete(&id).await;
}

#[tokio::test]
async fn an_upload_that_stalls_is_never_taken_in() {
    let setup = Setup::with_fault(Rule::route(Route::BulkUpload, When::Nth(1), Before::Unread));
    let id = setup.sandbox("a").await;
    // More than the connection's buffers hold.
    let request = setup.toolbox(Method::POST, &id, "/files/bulk-upload");
    let sent = request.body(vec![0; 64 << 20]);
    let sent = sent.timeout(Duration::from_millis(500)).send().await;
    assert!(sent.is_err_and(|error| error.is_timeout()));
    assert_eq!(setup.upload(&id, "f", "x").await.status, StatusCode::OK);
    setup.delete(&id).await;
}

#[tokio::test]
async fn a_name_for_each_answer_that_is_not_the_servers_own() {
    let cases = [
        (Canned::not_found(), 404, "application/json", "not found"),
        (Canned::proxy_not_found(), 404, "text/html", "<html>"),
        (
            Canned::spent_at_proxy(),
            401,
            "application/json",
            "validation error",
        ),
        (Canned::suspended(), 403, "application/json", "suspended"),
        (Canned::region_denied(), 403, "application/json", "Region"),
        (
            Canned::throttled("Retry-After", 7),
            429,
            "application/json",
            "ThrottlerException",
        ),
    ];
    for (answer, status, kind, text) in cases {
        let setup = Setup::with_fault(Rule::route(
            Route::Get,
            When::Always,
            Before::Answer(answer),
        ));
        let answer = setup.get("a").await;
        assert_eq!(answer.status, status);
        assert!(answer.header("content-type").starts_with(kind), "{text}");
        assert!(answer.text.contains(text), "{}", answer.text);
        assert_eq!(answer.header("retry-after") == "7", status == 429);
    }
}

#[tokio::test]
async fn a_failed_create_may_leave_a_row_or_an_errored_sandbox() {
    let setup = create_fails(When::Nth(1), During::CreateLeavesRow("no disk".to_owned()));
    let failed = setup.create(json!({"name": "a"})).await;
    assert_eq!(failed.status, StatusCode::BAD_REQUEST);
    assert_eq!(failed.message(), "Sandbox failed to start: no disk");
    assert_eq!(setup.get("a").await.field("errorReason"), "no disk");
    assert_eq!(setup.fake.alive()[0].state, State::Error);

    let errs = During::CreateErrs("pull failed".to_owned());
    setup
        .fake
        .add_fault(Rule::route(Route::Create, When::Nth(1), errs));
    let accepted = setup.create(json!({"name": "b"})).await;
    assert_eq!(
        (accepted.status, accepted.field("state")),
        (StatusCode::OK, "creating".to_owned())
    );
    let errored = setup.get("b").await;
    assert_eq!(
        (errored.field("state"), errored.field("errorReason")),
        ("error".into(), "pull failed".into())
    );
    for name in ["a", "b"] {
        assert_eq!(setup.delete(name).await.status, StatusCode::OK);
        assert_eq!(setup.get(name).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_stale_list_shows_ghosts_or_misses_the_living() {
    let setup = Setup::new(Options::default());
    setup.sandbox("dead").await;
    setup.delete("dead").await;
    setup.sandbox("alive").await;
    let cases = [
        (Stale::Ghosts, vec!["alive", "dead"]),
        (Stale::Missing, vec![]),
    ];
    for (stale, expected) in cases {
        let fault = During::StaleList(stale);
        setup
            .fake
            .add_fault(Rule::route(Route::List, When::Nth(1), fault));
        let request = setup.api(Method::GET, "/sandbox?sort=name&order=asc");
        let items = send(request).await.json()["items"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let names: Vec<&str> = items
            .iter()
            .filter_map(|item| item["name"].as_str())
            .collect();
        assert_eq!(names, expected, "{stale:?}");
        assert!(items.iter().all(|item| item["state"] == "started"));
        setup.fake.clear_faults();
    }
    setup.delete("alive").await;
}

#[tokio::test]
async fn a_daemon_that_dies_takes_the_command_and_the_answer_with_it() {
    let dies = During::DaemonDies(Duration::from_millis(200));
    let setup = Setup::with_fault(Rule::route(Route::Execute, When::Nth(1), dies));
    let id = setup.sandbox("a").await;
    let home = setup.fake.home(&id).expect("a home");
    let command = "touch begun; sleep 60; touch done";
    let answer = setup.execute(&id, json!({"command": command})).await;
    assert_eq!(
        (answer.status, answer.text.as_str()),
        (StatusCode::BAD_GATEWAY, "")
    );
    assert!(home.join("begun").exists() && !home.join("done").exists());
    assert_eq!(
        setup.download(&id, "begun").await.status,
        StatusCode::BAD_GATEWAY
    );
    setup.delete(&id).await;
}

#[tokio::test]
async fn dropping_the_server_leaves_no_process_and_no_file() {
    let setup = Setup::new(Options::default());
    let id = setup.sandbox("a").await;
    let root = setup.fake.root().to_owned();
    let command = "env -i setsid sh -c 'echo $$ > pid; sleep 600' </dev/null >/dev/null 2>&1 &";
    setup.run(&id, command).await;
    let pid = setup.fake.home(&id).expect("a home").join("pid");
    let read = || std::fs::read_to_string(&pid).unwrap_or_default();
    until("it runs", async || read().ends_with('\n')).await;
    let process = std::path::Path::new("/proc").join(read().trim());
    assert!(process.exists());
    setup.fake.allow_leaks();
    drop(setup);
    assert!(!root.exists());
    // Its parent is not this process: somebody else has to bury it.
    until("it is buried", async || {
        std::fs::read_to_string(process.join("status"))
            .map_or(true, |status| status.contains("State:\tZ"))
    })
    .await;
}

#[tokio::test]
async fn dropping_the_server_lets_go_of_what_hangs() {
    for fault in [
        Fault::from(Before::Hang),
        After::Hang.into(),
        After::Stall(3).into(),
    ] {
        let setup = Setup::with_fault(Rule::route(Route::Config, When::Always, fault));
        let hangs = try_send(setup.api(Method::GET, "/config"));
        let (ended, ()) = tokio::join!(hangs, async move {
            until("it came", async || setup.fake.requests() == 1).await;
            drop(setup);
        });
        assert!(ended.is_err_and(|error| !error.is_timeout()));
    }
}

#[tokio::test]
async fn dropping_the_server_with_a_sandbox_alive_is_a_failure() {
    let setup = Setup::new(Options::default());
    setup.sandbox("left-behind").await;
    let root = setup.fake.root().to_owned();
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(setup)));
    let message = dropped.expect_err("a panic");
    let message = message.downcast_ref::<String>().expect("a message");
    assert!(message.contains("left-behind"), "{message}");
    assert!(!root.exists());
}
