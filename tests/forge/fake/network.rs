//! Network rules that come late or never, as a command inside sees it.

use std::time::Duration;

use serde_json::json;

use super::{Setup, until};
use crate::support::fake_daytona::fault::{During, Rule, When};
use crate::support::fake_daytona::outside::Outside;
use crate::support::fake_daytona::{Options, Route};
use crate::support::skipped;

/// A server whose sandboxes have networks of their own, warm and with this fault; none where that is impossible.
fn setup(fault: Option<During>) -> Option<Setup> {
    if let Err(error) = Outside::open() {
        skipped("network rules", &format!("no network namespace: {error}"));
        return None;
    }
    let faults = fault.map(|fault| Rule::route(Route::Create, When::Always, fault));
    Some(Setup::new(Options {
        warm: true,
        outside: true,
        faults: faults.into_iter().collect(),
        ..Options::default()
    }))
}

impl Setup {
    async fn reaches(&self, id: &str, address: &str) -> bool {
        let command = format!(
            "timeout 5 bash -c 'exec 3<>/dev/tcp/{address}' 2>/dev/null && echo yes || echo no"
        );
        self.run(id, &command).await == "yes\n"
    }
}

#[tokio::test]
async fn rules_are_in_force_at_once_unless_the_plan_says_otherwise() {
    let Some(setup) = setup(None) else { return };
    let blocked = setup.create(json!({"networkBlockAll": true})).await;
    let blocked = blocked.field("id");
    assert!(!setup.reaches(&blocked, "1.1.1.1/443").await);
    let allowed = json!({"networkAllowList": "10.1.0.0/16,192.0.2.7/32"});
    let allowed = setup.create(allowed).await.field("id");
    assert!(setup.reaches(&allowed, "10.1.2.3/443").await);
    assert!(setup.reaches(&allowed, "192.0.2.7/80").await);
    assert!(!setup.reaches(&allowed, "1.1.1.1/443").await);
    for id in [blocked, allowed] {
        setup.delete(&id).await;
    }
}

#[tokio::test]
async fn late_rules_leave_the_network_open_until_they_come() {
    let late = During::RulesLate(Duration::from_millis(1500));
    let Some(setup) = setup(Some(late)) else {
        return;
    };
    let made = setup.create(json!({"networkBlockAll": true})).await;
    assert_eq!(made.field("state"), "started");
    let id = made.field("id");
    assert!(setup.reaches(&id, "1.1.1.1/443").await);
    until("it is cut off", async || {
        !setup.reaches(&id, "1.1.1.1/443").await
    })
    .await;
    setup.delete(&id).await;
}

#[tokio::test]
async fn rules_that_never_come_leave_the_network_open() {
    let Some(setup) = setup(Some(During::RulesNever)) else {
        return;
    };
    let made = setup.create(json!({"networkBlockAll": true})).await;
    assert_eq!(made.json()["networkBlockAll"], true, "as if it were so");
    let id = made.field("id");
    assert!(setup.reaches(&id, "8.8.8.8/53").await);
    setup.delete(&id).await;
}

#[tokio::test]
async fn one_create_of_many_may_be_cold() {
    let cold = During::ColdStart(Duration::from_millis(50));
    let setup = Setup::new(Options {
        warm: true,
        faults: vec![Rule::route(Route::Create, When::Nth(1), cold)],
        ..Options::default()
    });
    for (name, state) in [("a", "creating"), ("b", "started")] {
        let made = setup.create(json!({"name": name})).await;
        assert_eq!(made.field("state"), state);
        setup.delete(name).await;
    }
}
