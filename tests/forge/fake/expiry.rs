//! When sandboxes end by themselves, on the server's own clock.

use std::time::Duration;

use reqwest::{Body, Method};
use serde_json::json;

use super::{Setup, send, until};
use crate::support::fake_daytona::Options;
use crate::support::fake_daytona::clock::{Clock, LONGEST_STEP};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_time_to_live_that_is_set_again_counts_from_then() {
    let setup = Setup::new(Options {
        auto_destroy_at: true,
        ..Options::default()
    });
    let asked = json!({"name": "a", "autoStopInterval": 0, "ttlMinutes": 15});
    let born = setup.create(asked).await.field("autoDestroyAt");
    setup.fake.advance(14 * MINUTE);
    let path = "/sandbox/a/ttl/14";
    let later = send(setup.api(Method::POST, path)).await;
    assert_eq!(later.status, 201);
    assert!(later.field("autoDestroyAt") > born, "{}", later.text);
    setup.fake.advance(13 * MINUTE);
    assert_eq!(setup.fake.alive().len(), 1);
    setup.fake.advance(2 * MINUTE);
    assert_eq!(setup.fake.alive(), []);
}

/// The call begins with its head, however long its body takes.
#[tokio::test]
async fn an_upload_that_is_slow_keeps_auto_stop_away() {
    let setup = Setup::new(Options::default());
    let asked = json!({"autoStopInterval": 10, "autoDeleteInterval": 0});
    let id = setup.create(asked).await.field("id");
    let (go, gone) = tokio::sync::oneshot::channel::<()>();
    let head = "--x\r\nContent-Disposition: form-data; name=\"files[0].path\"\r\n\r\nnote\r\n\
                --x\r\nContent-Disposition: form-data; name=\"files[0].file\"; filename=\"f\"\r\n\r\n";
    let first = futures::stream::iter([Ok::<_, std::io::Error>(head.to_owned())]);
    let rest = futures::stream::once(async {
        drop(gone.await);
        Ok("arrived\r\n--x--\r\n".to_owned())
    });
    let body = futures::StreamExt::chain(first, rest);
    let request = setup
        .toolbox(Method::POST, &id, "/files/bulk-upload")
        .header("content-type", "multipart/form-data; boundary=x")
        .body(Body::wrap_stream(body));
    let meanwhile = async {
        until("it uploads", async || setup.fake.in_use() == 1).await;
        for _ in 0..5 {
            setup.fake.advance(11 * MINUTE);
        }
        assert_eq!(setup.fake.alive().len(), 1);
        go.send(()).expect("somebody who waits");
    };
    let (answer, ()) = tokio::join!(send(request), meanwhile);
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(setup.run(&id, "cat note").await, "arrived");
    until("nobody uses it", async || setup.fake.in_use() == 0).await;
    setup.fake.advance(9 * MINUTE);
    assert_eq!(setup.fake.alive().len(), 1);
    setup.fake.advance(2 * MINUTE);
    assert_eq!(setup.fake.alive(), []);
}

#[tokio::test]
async fn a_faster_clock_goes_on_only_while_it_is_looked_at() {
    let clock = Clock::new(1000);
    tokio::time::sleep(LONGEST_STEP * 3).await;
    // It would be three of them, had it not stood still.
    let late = clock.now();
    assert_eq!(late, LONGEST_STEP * 1000);
    clock.advance(120 * MINUTE);
    assert!(clock.now() >= late + 120 * MINUTE);
}

#[tokio::test]
async fn a_clock_that_is_not_made_faster_is_never_late() {
    let clock = Clock::new(1);
    tokio::time::sleep(LONGEST_STEP * 2).await;
    assert!(clock.now() >= LONGEST_STEP * 2);
}
