//! Commands, sessions, and the proxy's own answers.

use std::path::Path;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Setup, send, try_send, until};
use crate::support::fake_daytona::{Commands, Options};

#[tokio::test]
async fn commands_run_in_a_shell_that_merges_their_streams() {
    let setup = Setup::new(Options::default());
    let id = setup.sandbox("a").await;
    let cases = [
        (
            json!({"command": "echo out; echo err >&2; exit 3"}),
            3,
            "out\nerr\n",
        ),
        (json!({"command": "echo $X", "envs": {"X": "1"}}), 0, "1\n"),
        (json!({"command": "kill -9 $$"}), -1, ""),
        (
            json!({"command": "cat\necho swallowed"}),
            0,
            "echo swallowed",
        ),
        (json!({"command": "printf '\\377'"}), 0, "\u{fffd}"),
        (
            json!({"command": "(sleep 0.2; echo late) & echo early", "timeout": null}),
            0,
            "early\nlate\n",
        ),
        (
            json!({"command": "cd /home/daytona && test \"$PWD\" = \"$HOME\""}),
            0,
            "",
        ),
        (
            json!({"command": "echo /home/daytona-not"}),
            0,
            "/home/daytona-not\n",
        ),
        (json!({"command": "pwd", "cwd": "/"}), 0, "/\n"),
    ];
    for (body, code, result) in cases {
        let answer = setup.execute(&id, body.clone()).await.json();
        assert_eq!(
            answer,
            json!({"exitCode": code, "result": result}),
            "{body}"
        );
    }
    let missing = setup
        .execute(&id, json!({"command": "pwd", "cwd": "/nowhere"}))
        .await;
    assert_eq!(
        (missing.status, &missing.json()["exitCode"]),
        (StatusCode::OK, &json!(-1))
    );
    let text = missing.field("result");
    assert!(text.starts_with("fork/exec /") && text.ends_with(": no such file or directory"));
    let refused = [
        json!({"command": " "}),
        json!({"command": "true", "timeout": -1}),
        json!({"command": "true", "timeout": 1.5}),
        json!({"command": "true", "envs": {"A-B": ""}}),
    ];
    for body in refused {
        assert_eq!(setup.execute(&id, body.clone()).await.status, 400, "{body}");
    }
    let injected = setup
        .run(&id, "echo $DAYTONA_SANDBOX_ID $DAYTONA_REGION_ID")
        .await;
    assert_eq!(injected, format!("{id} us\n"));
    setup.delete(&id).await;
}

#[tokio::test]
async fn a_time_limit_kills_the_group_and_loses_the_output() {
    let setup = Setup::new(Options::default());
    let id = setup.sandbox("a").await;
    let command = "echo lost; sh -c 'sleep 60; touch alive' & echo $! > child; wait";
    let answer = setup
        .execute(&id, json!({"command": command, "timeout": 1}))
        .await;
    assert_eq!(answer.status, StatusCode::REQUEST_TIMEOUT);
    assert_eq!(
        answer.message(),
        "request timeout: command execution timeout"
    );
    assert_eq!(answer.field("code"), "REQUEST_TIMEOUT");
    assert!(!answer.text.contains("lost"));
    let child = setup.run(&id, "cat child").await;
    until("the child is dead", async || !runs(child.trim())).await;
    setup.delete(&id).await;
}

/// Whether a process runs, and is not only waiting to be buried.
fn runs(process: &str) -> bool {
    let status = std::fs::read_to_string(Path::new("/proc").join(process).join("status"));
    status.is_ok_and(|status| !status.contains("State:\tZ"))
}

#[tokio::test]
async fn a_client_that_leaves_does_not_end_its_command() {
    let setup = Setup::new(Options::default());
    let id = setup.sandbox("a").await;
    let request = setup
        .toolbox(Method::POST, &id, "/process/execute")
        .json(&json!({"command": "touch begun; sleep 0.3; touch done"}))
        .timeout(Duration::from_millis(100));
    assert!(request.send().await.is_err_and(|error| error.is_timeout()));
    let home = setup.fake.home(&id).expect("a home");
    until("the command ends", async || home.join("done").exists()).await;
    setup.delete(&id).await;
}

#[tokio::test]
async fn a_delete_kills_what_has_detached_itself() {
    let setup = Setup::new(Options::default());
    let id = setup.sandbox("a").await;
    let command = "env -i setsid sh -c 'echo $$ > pid; sleep 600' </dev/null >/dev/null 2>&1 &";
    setup.run(&id, command).await;
    let home = setup.fake.home(&id).expect("a home");
    let pid = async || std::fs::read_to_string(home.join("pid")).unwrap_or_default();
    until("it runs", async || pid().await.ends_with('\n')).await;
    let process = pid().await;
    assert!(runs(process.trim()));
    setup.delete(&id).await;
    until("it is dead", async || !runs(process.trim())).await;
    until("its files are gone", async || !home.exists()).await;
}

#[tokio::test]
async fn where_no_commands_are_executed_the_files_go_all_the_same() {
    let directory = tempfile::tempdir().expect("a directory");
    let setup = Setup::new(Options {
        directory: Some(directory.path().to_owned()),
        commands: Commands::Answered,
        ..Options::default()
    });
    let id = setup.sandbox("a").await;
    let home = setup.fake.home(&id).expect("a home");
    let above = directory.path().canonicalize().expect("a path");
    assert!(home.starts_with(above) && home.exists());
    setup.delete(&id).await;
    until("its files are gone", async || !home.exists()).await;
}

#[tokio::test]
async fn the_proxy_answers_for_sandboxes_that_it_cannot_reach() {
    let setup = Setup::new(Options::default());
    let (id, gone) = (setup.sandbox("a").await, setup.sandbox("gone").await);
    setup.delete(&gone).await;
    let command = json!({"command": "true"});
    for (sandbox, status) in [("unknown", 401), ("a", 400), (&gone, 404), (&id, 200)] {
        assert_eq!(
            setup.execute(sandbox, command.clone()).await.status,
            status,
            "{sandbox}"
        );
    }
    let url = format!("{}/{id}/version", setup.fake.toolbox_url());
    let stranger = send(setup.http.get(url).bearer_auth("wrong")).await;
    assert_eq!(stranger.status, StatusCode::UNAUTHORIZED);
    assert!(stranger.message().starts_with("authentication failed"));
    assert!(setup.fake.kill_daemon(&id));
    let dead = setup.execute(&id, command).await;
    assert_eq!(
        (dead.status, dead.text.as_str()),
        (StatusCode::BAD_GATEWAY, "")
    );
    assert_eq!(setup.get(&id).await.field("state"), "started");
    setup.delete(&id).await;
}

#[tokio::test]
async fn calls_in_flight_keep_auto_stop_away() {
    let setup = Setup::new(Options::default());
    let answer = setup
        .create(json!({"autoStopInterval": 1, "autoDeleteInterval": 0}))
        .await;
    let id = answer.field("id");
    let home = setup.fake.home(&id).expect("a home");
    let command = "touch begun; while [ ! -e go ]; do sleep 0.02; done; echo survived";
    let advance = async {
        until("it runs", async || home.join("begun").exists()).await;
        setup.fake.advance(Duration::from_secs(120));
        assert_eq!(setup.fake.alive().len(), 1);
        std::fs::write(home.join("go"), "").expect("a file");
    };
    let (result, ()) = tokio::join!(setup.run(&id, command), advance);
    assert_eq!(result, "survived\n");
    setup.fake.advance(Duration::from_secs(120));
    assert_eq!(setup.fake.alive(), []);
}

#[tokio::test]
async fn a_session_is_one_shell_whose_logs_depend_on_the_callers_version() {
    let setup = Setup::new(Options::default());
    let id = setup.sandbox("a").await;
    let call = |method, path: &str, body: Value| {
        setup
            .toolbox(method, &id, &format!("/process/session{path}"))
            .json(&body)
    };
    let name = json!({"sessionId": "s"});
    assert_eq!(send(call(Method::POST, "", name.clone())).await.status, 201);
    assert_eq!(send(call(Method::POST, "", name)).await.status, 409);
    let first = json!({"command": "cd /; echo out; printf err >&2"});
    let done = send(call(Method::POST, "/s/exec", first)).await.json();
    assert_eq!(
        [&done["exitCode"], &done["stdout"], &done["stderr"]],
        [&json!(0), &json!("out\n"), &json!("err\n")]
    );
    let logs = format!("/s/command/{}/logs", done["cmdId"].as_str().expect("an id"));
    let versions = [
        (None, "out\nerr\n"),
        (Some("0.20.0"), "out\nerr\n"),
        (Some("0.100.0"), "\u{1}\u{1}\u{1}out\n\u{2}\u{2}\u{2}err\n"),
    ];
    for (version, expected) in versions {
        let mut request = call(Method::GET, &logs, json!({}));
        if let Some(version) = version {
            request = request.header("X-Daytona-SDK-Version", version);
        }
        assert_eq!(send(request).await.text, expected, "{version:?}");
    }
    let request = call(Method::GET, &logs, json!({})).header("X-Daytona-SDK-Version", "0.190.0");
    assert_eq!(send(request).await.field("stderr"), "err\n");
    let followed = call(Method::GET, &format!("{logs}?follow=true"), json!({}));
    assert_eq!(send(followed).await.text, "out\nerr\n");

    let waiting = json!({"command": "pwd; read line; echo \"got $line\"", "runAsync": true});
    let started = send(call(Method::POST, "/s/exec", waiting)).await;
    assert_eq!(started.status, StatusCode::ACCEPTED);
    let command = format!("/s/command/{}", started.field("cmdId"));
    assert_eq!(
        send(call(Method::GET, &command, json!({})))
            .await
            .json()
            .get("exitCode"),
        None
    );
    let input = || {
        call(
            Method::POST,
            &format!("{command}/input"),
            json!({"data": "x"}),
        )
    };
    until("it takes input", async || send(input()).await.status == 204).await;
    let code =
        async || send(call(Method::GET, &command, json!({}))).await.json()["exitCode"].clone();
    until("it ends", async || code().await == 0).await;
    let text = send(call(Method::GET, &format!("{command}/logs"), json!({})))
        .await
        .text;
    assert_eq!(text, "/\ngot x\n");
    assert_eq!(send(input()).await.status, StatusCode::GONE);
    let all = send(call(Method::GET, "", json!({}))).await.json();
    assert_eq!(all[0]["commands"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        send(call(Method::DELETE, "/s", json!({}))).await.status,
        204
    );
    assert_eq!(send(call(Method::GET, "/s", json!({}))).await.status, 404);
    let missing = send(call(Method::POST, "/s/exec", json!({"command": "true"}))).await;
    assert_eq!(missing.status, StatusCode::INTERNAL_SERVER_ERROR);
    setup.delete(&id).await;
}

#[tokio::test]
async fn a_session_command_that_ends_the_shell_never_completes() {
    let setup = Setup::new(Options::default());
    let id = setup.sandbox("a").await;
    let session = "/process/session";
    let post = |path: &str, body: Value| setup.toolbox(Method::POST, &id, path).json(&body);
    send(post(session, json!({"sessionId": "s"}))).await;
    let exec = json!({"command": "touch ran; exit 3"});
    let hanging = post(&format!("{session}/s/exec"), exec).timeout(Duration::from_millis(400));
    assert!(hanging.send().await.is_err_and(|error| error.is_timeout()));
    assert!(
        setup
            .fake
            .home(&id)
            .is_some_and(|home| home.join("ran").exists())
    );
    let one = send(setup.toolbox(Method::GET, &id, &format!("{session}/s")))
        .await
        .json();
    assert_eq!(one["commands"][0].get("exitCode"), None);
    // The connection of a sandbox that goes is closed, not left hanging.
    let hanging = post(&format!("{session}/s/exec"), json!({"command": "true"}));
    let delete = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        setup.delete(&id).await
    };
    let (answer, _) = tokio::join!(try_send(hanging), delete);
    assert!(answer.is_ok_and(|answer| answer.status == StatusCode::BAD_GATEWAY));
}
