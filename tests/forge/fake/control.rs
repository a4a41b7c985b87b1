//! The control plane: creating, listing, deleting, stopping.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Setup, send, until};
use crate::support::fake_daytona::fault::{During, Rule, When};
use crate::support::fake_daytona::{Options, Route, ToolboxUrl, Ttl};

const LONG: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_cold_create_is_held_and_answers_the_state_before_the_wait() {
    let setup = Setup::new(Options {
        start: Duration::from_millis(30),
        latency: Duration::from_millis(5),
        ..Options::default()
    });
    let answer = setup.create(json!({"name": "a"})).await;
    assert_eq!(answer.field("state"), "creating");
    assert_eq!(setup.get("a").await.field("state"), "started");
    setup.delete("a").await;
}

#[tokio::test]
async fn only_a_create_without_variables_is_warm() {
    let setup = Setup::new(Options {
        warm: true,
        start: LONG,
        hold: Duration::ZERO,
        ..Options::default()
    });
    let warm = setup.create(json!({})).await.json();
    assert_eq!(warm["state"], "started");
    assert_eq!(warm["name"], warm["id"], "the default name is the id");
    let cold = setup.create(json!({"env": {"A": "b"}})).await;
    assert_eq!(cold.field("state"), "creating");
    setup.fake.allow_leaks();
}

#[tokio::test]
async fn a_sandbox_that_is_still_created_cannot_be_deleted() {
    let setup = Setup::new(Options {
        start: Duration::from_millis(300),
        hold: Duration::ZERO,
        ..Options::default()
    });
    setup.create(json!({"name": "a"})).await;
    let refused = setup.delete("a").await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert_eq!(refused.message(), "Sandbox state change in progress");
    until("the delete is accepted", async || {
        setup.delete("a").await.status == StatusCode::OK
    })
    .await;
}

#[tokio::test]
async fn a_built_sandbox_waits_for_its_build_and_may_be_deleted_then() {
    let setup = Setup::new(Options {
        build: LONG,
        ..Options::default()
    });
    let build =
        json!({"buildInfo": {"dockerfileContent": "FROM scratch\n"}, "cpu": 2, "memory": 3});
    let answer = setup.create(build).await.json();
    assert_eq!(answer["state"], "pending_build");
    assert_eq!(
        [&answer["cpu"], &answer["memory"], &answer["disk"]],
        [2, 3, 3]
    );
    let deleted = setup.delete(answer["id"].as_str().expect("an id")).await;
    assert_eq!(deleted.status, StatusCode::OK);
}

#[tokio::test]
async fn a_create_that_makes_no_sense_is_refused() {
    let setup = Setup::new(Options {
        network_override: false,
        ..Options::default()
    });
    let networks = ["10.0.0.0/8"; 11].join(",");
    let build = json!({"dockerfileContent": "FROM scratch"});
    let cases = [
        (json!({"cpu": 2}), 400, "when using a snapshot"),
        (
            json!({"snapshot": "s", "buildInfo": build}),
            400,
            "Cannot specify a snapshot",
        ),
        (
            json!({"snapshot": "nowhere"}),
            400,
            "Snapshot nowhere not found",
        ),
        (json!({"autoStopInterval": -1}), 400, "non-negative"),
        (json!({"autoArchiveInterval": -1}), 400, "non-negative"),
        (json!({"networkAllowList": networks}), 400, "more than 10"),
        (
            json!({"networkAllowList": "10.0.0.0"}),
            400,
            "Invalid network",
        ),
        (json!({"networkBlockAll": true}), 403, "not available"),
        (json!({"name": "<b>x</b>"}), 400, "name must not"),
        (json!({"name": "see http://x"}), 400, "name must not"),
        (json!({"labels": {"a": 1}}), 400, "string"),
        (json!({"cpu": 1.5, "buildInfo": build}), 400, "1.5"),
        (json!({"target": "moon"}), 404, "Region not found"),
    ];
    for (body, status, message) in cases {
        let answer = setup.create(body.clone()).await;
        assert_eq!(answer.status, status, "{body}");
        assert!(
            answer.message().contains(message),
            "{body}: {}",
            answer.text
        );
    }
    assert_eq!(setup.fake.rows(), []);
}

#[tokio::test]
async fn a_name_is_taken_until_its_sandbox_is_deleted() {
    let setup = Setup::new(Options::default());
    setup.sandbox("a").await;
    let taken = setup.create(json!({"name": "a"})).await;
    assert_eq!(taken.status, StatusCode::CONFLICT);
    assert_eq!(taken.message(), "Sandbox with name a already exists");
    setup.delete("a").await;
    setup.sandbox("a").await;
    setup.delete("a").await;
    assert_eq!(setup.fake.peak_alive(), 1);
}

#[tokio::test]
async fn a_delete_renames_at_once_and_ends_later() {
    let setup = Setup::new(Options {
        destroy: LONG,
        ..Options::default()
    });
    let id = setup.sandbox("a").await;
    let deleted = setup.delete("a").await.json();
    assert_eq!(
        [&deleted["state"], &deleted["desiredState"]],
        ["destroying", "destroyed"]
    );
    assert!(
        deleted["name"]
            .as_str()
            .is_some_and(|name| name.starts_with("DESTROYED_a_"))
    );
    assert_eq!(setup.get("a").await.status, StatusCode::NOT_FOUND);
    assert_eq!(setup.get(&id).await.field("state"), "destroying");
    assert_eq!(setup.delete(&id).await.status, StatusCode::CONFLICT);
    let item = send(setup.api(Method::GET, "/sandbox")).await.json()["items"][0].clone();
    assert_eq!(
        [&item["state"], &item["desiredState"]],
        ["started", "destroyed"]
    );
    assert_eq!(setup.fake.alive().len(), 1, "its box runs until it ends");
    setup.fake.allow_leaks();
}

#[tokio::test]
async fn a_destroyed_sandbox_is_not_found_unless_there_are_tombstones() {
    for tombstones in [false, true] {
        let setup = Setup::new(Options {
            tombstones,
            ..Options::default()
        });
        let id = setup.sandbox("a").await;
        setup.delete(&id).await;
        let found = setup.get(&id).await;
        let expected = if tombstones {
            StatusCode::OK
        } else {
            StatusCode::NOT_FOUND
        };
        assert_eq!(found.status, expected);
        assert_eq!(setup.delete(&id).await.status, StatusCode::NOT_FOUND);
        let listed = send(setup.api(Method::GET, "/sandbox")).await.json();
        assert_eq!(listed["items"], json!([]));
    }
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let setup = Setup::new(Options::default());
    for (name, run) in [("a", "1"), ("b", "2"), ("c", "1")] {
        setup
            .create(json!({"name": name, "labels": {"run": run}}))
            .await;
    }
    let names = |answer: &Value| -> Vec<String> {
        let items = answer["items"].as_array().cloned().unwrap_or_default();
        items
            .iter()
            .map(|item| item["name"].as_str().unwrap_or("").to_owned())
            .collect()
    };
    let search = async |query: &[(&str, &str)]| {
        send(setup.api(Method::GET, "/sandbox").query(query))
            .await
            .json()
    };
    let sorted = [("sort", "createdAt"), ("order", "asc")];
    let labelled = [&sorted[..], &[("labels", r#"{"run":"1"}"#)]].concat();
    assert_eq!(names(&search(&labelled).await), ["a", "c"]);
    let first = search(&[&sorted[..], &[("limit", "2")]].concat()).await;
    assert_eq!(names(&first), ["a", "b"]);
    let cursor = first["nextCursor"].as_str().expect("a cursor");
    let last = search(&[&sorted[..], &[("limit", "2"), ("cursor", cursor)]].concat()).await;
    assert_eq!(
        (names(&last), &last["nextCursor"]),
        (vec!["c".to_owned()], &Value::Null)
    );
    assert_eq!(names(&search(&[("name", "B")]).await), ["b"]);
    assert_eq!(
        names(&search(&[("states", "stopped"), ("states", "error")]).await),
        [""; 0]
    );
    assert_eq!(search(&[("limit", "201")]).await["statusCode"], 400);
    let pages = send(setup.api(Method::GET, "/sandbox/paginated?page=2&limit=2"))
        .await
        .json();
    assert_eq!(
        [&pages["total"], &pages["page"], &pages["totalPages"]],
        [3, 2, 2]
    );
    assert_eq!(names(&pages).len(), 1);
    for name in ["a", "b", "c"] {
        setup.delete(name).await;
    }
}

#[tokio::test]
async fn a_lagging_list_shows_what_was() {
    let setup = Setup::new(Options {
        list_lag: LONG,
        ..Options::default()
    });
    setup.sandbox("a").await;
    assert_eq!(
        send(setup.api(Method::GET, "/sandbox")).await.json()["items"],
        json!([])
    );
    setup.delete("a").await;
}

#[tokio::test]
async fn a_path_outside_the_api_is_the_dashboard() {
    let setup = Setup::new(Options::default());
    let url = setup.fake.api_url().replace("/api", "/sandbox");
    for method in [Method::GET, Method::POST] {
        let page = send(setup.request(method, url.clone())).await;
        assert_eq!(page.status, StatusCode::OK);
        assert!(page.header("content-type").starts_with("text/html"));
    }
    let unknown = send(setup.api(Method::GET, "/socket.io/")).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_stopped_sandbox_keeps_its_files_and_an_ephemeral_one_goes() {
    let setup = Setup::new(Options::default());
    let id = setup.sandbox("a").await;
    setup.run(&id, "echo kept > note").await;
    let post = |path: String| setup.api(Method::POST, &path);
    send(post(format!("/sandbox/{id}/stop"))).await;
    until("it has stopped", async || {
        setup.get(&id).await.field("state") == "stopped"
    })
    .await;
    let refused = setup.execute(&id, json!({"command": "true"})).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(refused.message().contains("Is the Sandbox started?"));
    assert_eq!(
        send(post(format!("/sandbox/{id}/start"))).await.status,
        StatusCode::OK
    );
    assert_eq!(setup.run(&id, "cat note").await, "kept\n");
    let changed = send(post(format!("/sandbox/{id}/autodelete/0"))).await;
    assert_eq!(changed.status, StatusCode::CREATED);
    assert_eq!(changed.json()["autoDeleteInterval"], 0);
    send(post(format!("/sandbox/{id}/stop"))).await;
    assert_eq!(setup.get(&id).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_interval_is_a_whole_number_of_32_bits() {
    let setup = Setup::new(Options::default());
    for wrong in [json!(null), json!(1.5), json!(2_147_483_648_u32)] {
        let refused = setup.create(json!({"autoStopInterval": wrong})).await;
        assert_eq!(refused.status, StatusCode::INTERNAL_SERVER_ERROR, "{wrong}");
    }
    let long = json!({"name": "a", "autoArchiveInterval": 100_000});
    assert_eq!(
        setup.create(long).await.json()["autoArchiveInterval"],
        43_200
    );
    for (minutes, status) in [("1.5", 500), ("2147483648", 500), ("x", 400), ("7", 201)] {
        let path = format!("/sandbox/a/autostop/{minutes}");
        let answer = send(setup.api(Method::POST, &path)).await;
        assert_eq!(answer.status, status, "{minutes}");
    }
    setup.delete("a").await;
}

#[tokio::test]
async fn a_create_whose_body_is_not_said_to_be_json_has_no_name() {
    let setup = Setup::new(Options::default());
    let request = setup.api(Method::POST, "/sandbox");
    let made = send(request.body(r#"{"name": "a"}"#)).await.json();
    assert_eq!(made["name"], made["id"]);
    setup.delete(made["id"].as_str().unwrap()).await;
}

#[tokio::test]
async fn a_time_to_live_is_kept_ignored_or_cut_and_told() {
    for (ttl, kept) in [
        (Ttl::Honoured, true),
        (Ttl::Ignored, false),
        (Ttl::CappedAt(1), true),
    ] {
        let setup = Setup::new(Options {
            ttl,
            auto_destroy_at: true,
            ..Options::default()
        });
        let made = setup.create(json!({"name": "a", "ttlMinutes": 30})).await;
        assert_eq!(made.json()["autoDestroyAt"].is_string(), kept, "{ttl:?}");
        setup.fake.advance(Duration::from_secs(61));
        let capped = setup.fake.alive().is_empty();
        assert_eq!(capped, ttl == Ttl::CappedAt(1), "{ttl:?}");
        setup.fake.allow_leaks();
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_slow_call_is_not_idle() {
    let setup = Setup::new(Options {
        idle: Some(Duration::from_millis(200)),
        ..Options::default()
    });
    let address = setup.fake.api_url().replace("http://", "");
    let mut line = tokio::net::TcpStream::connect(address.trim_end_matches("/api"))
        .await
        .unwrap();
    let mut read = Vec::new();
    let ended = tokio::io::AsyncReadExt::read_to_end(&mut line, &mut read);
    assert_eq!(ended.await.unwrap(), 0);
    let id = setup.sandbox("a").await;
    assert_eq!(setup.run(&id, "sleep 1; echo done").await, "done\n");
    setup.delete(&id).await;
}

#[tokio::test]
async fn a_toolbox_may_have_a_host_of_its_own_or_be_told_only_when_asked_for() {
    let host = ToolboxUrl::Host("proxy.localhost".to_owned());
    for (toolbox_url, told) in [
        (host, Some("http://proxy.localhost:")),
        (ToolboxUrl::Address, Some("http://127.0.0.1:")),
        (ToolboxUrl::OnRequest, None),
    ] {
        let setup = Setup::new(Options {
            toolbox_url,
            ..Options::default()
        });
        let made = setup.create(json!({"name": "a"})).await.json();
        let url = made["toolboxProxyUrl"].as_str();
        assert_eq!(
            url.map(|url| url.starts_with(told.unwrap())),
            told.map(|_| true)
        );
        let asked = send(setup.api(Method::GET, "/sandbox/a/toolbox-proxy-url")).await;
        assert_eq!(asked.field("url"), setup.fake.toolbox_url());
        setup.delete("a").await;
    }
}

#[tokio::test]
async fn what_others_have_is_found_by_name_and_is_not_counted() {
    let setup = Setup::with_fault(Rule::route(Route::Create, When::Nth(1), During::NameTaken));
    let taken = setup.create(json!({"name": "a"})).await;
    assert_eq!(taken.status, StatusCode::CONFLICT);
    let found = setup.get("a").await;
    assert_eq!(found.field("id"), setup.fake.foreign()[0].id);
    assert_eq!(setup.fake.rows(), []);
    let id = setup.fake.add_foreign("b", &[("forge.run", "other")]);
    assert_eq!(setup.get("b").await.json()["labels"]["forge.run"], "other");
    setup.delete(&id).await;
    assert_eq!(
        setup.fake.foreign().len(),
        1,
        "it can be deleted all the same"
    );
}

#[tokio::test]
async fn labels_are_replaced_and_the_toolbox_is_told() {
    let setup = Setup::new(Options::default());
    let id = setup.sandbox("a").await;
    let labels = setup
        .api(Method::PUT, "/sandbox/a/labels")
        .json(&json!({"labels": {"k": "v"}}));
    assert_eq!(send(labels).await.json()["labels"], json!({"k": "v"}));
    assert_eq!(setup.fake.alive()[0].labels["k"], "v");
    let url = send(setup.api(Method::GET, "/sandbox/a/toolbox-proxy-url")).await;
    assert_eq!(url.field("url"), setup.fake.toolbox_url());
    assert_eq!(setup.fake.requests_for("a"), 2);
    setup.delete(&id).await;
}
