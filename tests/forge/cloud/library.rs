//! The library in the cloud: dropped futures, panics in scorers, limits that no flag sets.

use std::time::Duration;

use forge::sandbox::daytona::{ApiUrl, Credential, Daytona, DaytonaConfig, DaytonaOptions};
use forge::score::{Evidence, Scorer, Verdict};
use forge::secret::Secret;
use forge::{Forge, ForgeBuilder};

use super::{Cloud, SLEEPS, WRITES};
use crate::support::fake_daytona::{Options, Route};
use crate::support::workspace::Workspace;

fn builder(cloud: &Cloud, options: DaytonaOptions) -> ForgeBuilder {
    let config = DaytonaConfig {
        credential: Credential::ApiKey(Secret::new(cloud.fake.api_key())),
        api_url: ApiUrl::parse(&cloud.fake.api_url()).unwrap(),
        target: None,
    };
    Forge::builder()
        .candidates(cloud.workspace.path("candidates"))
        .objectives(cloud.workspace.path("objectives"))
        .artifacts(cloud.workspace.path("artifacts"))
        .provider(Daytona::new(&config, options).unwrap())
}

#[test]
fn a_dropped_future_leaves_nothing() {
    let cloud = Cloud::of(SLEEPS, vec![]);
    let builder = builder(&cloud, DaytonaOptions::default());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let run = builder.build().run(["task".into()]);
        let begun = async {
            while cloud.fake.requests_to(Route::Execute) == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            ended = run => panic!("it ended: {ended:?}"),
            () = begun => {}
        }
    });
    // Waits for the reaper.
    drop(runtime);
    cloud.assert_none_alive();
}

#[derive(Debug)]
struct Panics;

impl Scorer for Panics {
    fn name(&self) -> String {
        "panics".to_owned()
    }

    fn score(&self, _: &Evidence) -> Verdict {
        panic!("a scorer of the caller's own")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_scorer_leaves_nothing() {
    let cloud = Cloud::of(WRITES, vec![]);
    let builder = builder(&cloud, DaytonaOptions::default()).scorer(1.0, Panics);
    let result = builder.build().run(["task".into()]).await.unwrap();
    assert_eq!(result.summary().trials.len(), 1);
    assert_eq!(result.cleanup().cleanup().unconfirmed, []);
    cloud.assert_none_alive();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_that_is_slower_than_its_limit_leaves_nothing() {
    let options = Options {
        start: Duration::from_millis(2500),
        hold: Duration::from_millis(100),
        ..Options::default()
    };
    let cloud = Cloud::new(options, Workspace::with(&[("a.sh", WRITES)]));
    let impatient = DaytonaOptions {
        start_budget: Duration::from_millis(700),
        ..DaytonaOptions::default()
    };
    let result = builder(&cloud, impatient)
        .build()
        .run(["task".into()])
        .await
        .unwrap();
    assert!(result.winner().is_err(), "it has no verdict");
    assert_eq!(result.cleanup().cleanup().unconfirmed, []);
    assert_eq!(cloud.fake.rows().len(), 3, "one an attempt");
    cloud.assert_none_alive();
}
