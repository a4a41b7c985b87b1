//! Teardowns that are slow, fail, hang or never come: what the rows say, and what really runs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Setup, send, until};
use crate::support::fake_daytona::fault::{During, Rule, When};
use crate::support::fake_daytona::{Deletion, Options, Route, State};

impl Setup {
    fn with_teardown(fault: During) -> Self {
        Self::with_fault(Rule::route(Route::Delete, When::Always, fault))
    }

    async fn list(&self, query: &str) -> Vec<Value> {
        let answer = send(self.api(Method::GET, &format!("/sandbox{query}"))).await;
        answer.json()["items"].as_array().cloned().unwrap()
    }

    /// The row can be seen in one list and nowhere else, and the box answers.
    async fn assert_hidden_and_running(&self, id: &str, reason: &str) {
        assert_eq!(self.get(id).await.status, StatusCode::NOT_FOUND);
        assert_eq!(self.get("a").await.status, StatusCode::NOT_FOUND);
        assert_eq!(self.delete(id).await.status, StatusCode::NOT_FOUND);
        assert_eq!(self.list("").await, [] as [Value; 0]);
        let rows = self.list("?includeErroredDeleted=true").await;
        let shown = ["id", "state", "desiredState", "errorReason"].map(|key| &rows[0][key]);
        assert_eq!(shown, [id, "error", "destroyed", reason]);
        assert_eq!(self.run(id, "echo here").await, "here\n");
        let alive = self.fake.alive();
        assert_eq!(alive[0].deletion, Deletion::Unfinished);
        assert_eq!(alive[0].given_name, "a");
    }
}

#[tokio::test]
async fn a_slow_teardown_ends_box_and_row_together() {
    let slow = During::TeardownTakes(Duration::from_millis(400));
    let setup = Setup::with_teardown(slow);
    let id = setup.sandbox("a").await;
    let deleted = setup.delete(&id).await;
    assert_eq!(deleted.field("state"), "destroying");
    let alive = setup.fake.alive();
    assert_eq!(
        (alive[0].state, alive[0].deletion),
        (State::Destroying, Deletion::UnderWay)
    );
    until("it is gone", async || setup.fake.alive().is_empty()).await;
    assert_eq!(setup.get(&id).await.status, StatusCode::NOT_FOUND);
    assert_eq!(setup.fake.rows()[0].deletion, Deletion::Done);
}

#[tokio::test]
async fn a_failed_teardown_hides_a_box_that_runs() {
    let setup = Setup::with_teardown(During::TeardownFails("no runner".to_owned()));
    let id = setup.sandbox("a").await;
    assert_eq!(setup.delete(&id).await.field("state"), "destroying");
    setup.assert_hidden_and_running(&id, "no runner").await;
    setup.fake.allow_unfinished();
}

#[tokio::test]
async fn a_hanging_teardown_is_under_way_for_ever() {
    let setup = Setup::with_teardown(During::TeardownHangs);
    let id = setup.sandbox("a").await;
    assert_eq!(setup.delete(&id).await.status, StatusCode::OK);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(setup.get(&id).await.field("state"), "destroying");
    assert_eq!(setup.delete(&id).await.status, StatusCode::CONFLICT);
    assert_eq!(setup.list("").await[0]["state"], "destroying");
    assert_eq!(setup.fake.alive()[0].deletion, Deletion::Unfinished);
    setup.fake.allow_unfinished();
}

#[tokio::test]
async fn a_create_that_errs_may_never_be_torn_down() {
    let never = During::TeardownNeverComes("timed out".to_owned());
    let setup = Setup::with_fault(Rule::route(Route::Create, When::Always, never));
    let made = setup.create(json!({"name": "a"})).await;
    assert_eq!(made.field("state"), "creating");
    let id = made.field("id");
    assert_eq!(setup.get(&id).await.field("errorReason"), "timed out");
    assert_eq!(setup.fake.alive()[0].deletion, Deletion::NotAsked);
    assert_eq!(setup.delete(&id).await.status, StatusCode::OK);
    setup.assert_hidden_and_running(&id, "timed out").await;
    setup.fake.allow_unfinished();
}

#[tokio::test]
async fn a_deleted_errored_sandbox_is_hidden_and_its_box_goes() {
    let setup = Setup::new(Options {
        destroy: Duration::from_millis(300),
        ..Options::default()
    });
    let id = setup.sandbox("a").await;
    assert!(setup.fake.break_sandbox(&id, "host died"));
    assert_eq!(setup.get(&id).await.field("errorReason"), "host died");
    setup.delete(&id).await;
    assert_eq!(setup.fake.alive().len(), 1);
    until("the box is gone", async || setup.fake.alive().is_empty()).await;
    assert_eq!(setup.get(&id).await.status, StatusCode::NOT_FOUND);
    assert_eq!(setup.list("").await.len(), 0);
    let hidden = setup.list("?includeErroredDeleted=true").await;
    assert_eq!(
        hidden[0]["state"], "error",
        "nobody is told that it is gone"
    );
}

#[tokio::test]
async fn only_what_the_plan_kept_from_going_is_excused_at_the_end() {
    let hangs = During::TeardownHangs;
    let setup = Setup::with_fault(Rule::route(Route::Delete, When::Nth(1), hangs));
    let kept = setup.sandbox("kept").await;
    setup.delete(&kept).await;
    setup.sandbox("forgotten").await;
    setup.fake.allow_unfinished();
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(setup)));
    let message = dropped.expect_err("a panic");
    let message = message.downcast_ref::<String>().expect("a message");
    assert!(
        message.contains("forgotten") && !message.contains("kept"),
        "{message}"
    );
}
