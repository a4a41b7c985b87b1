//! The whole program with `--daytona` against `FakeDaytona`: what it costs, what comes home, what it says,
//! and that the server's own inventory is empty afterwards.

mod account;
mod configuration;
mod expiry;
mod failures;
mod guarantee;
mod library;
mod networks;
mod results;
mod secrecy;
mod setup;
mod signals;
mod slots;
mod sweeping;

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::fake_daytona::fault::Rule;
use crate::support::fake_daytona::{FakeDaytona, Options, Route};
use crate::support::workspace::{Ended, Workspace, finish, pause, read_json};

/// Passes the default gates.
pub(crate) const WRITES: &str = "#!/bin/sh\necho \"hello from the cloud\" > \"$2\"\n";
/// Runs into any limit, and has a child that leaves its group.
pub(crate) const SLEEPS: &str = "#!/bin/sh\necho began\n(setsid sleep 300 &)\nsleep 300\n";

/// A server, and a project beside it.
#[derive(Debug)]
pub(crate) struct Cloud {
    // Dropped first: it says what was left alive.
    pub(crate) fake: FakeDaytona,
    pub(crate) workspace: Workspace,
}

impl Cloud {
    pub(crate) fn new(options: Options, workspace: Workspace) -> Self {
        let fake = FakeDaytona::start(options).unwrap();
        Self { fake, workspace }
    }

    /// One candidate on one objective, starts that are warm, and these faults.
    pub(crate) fn of(script: &str, faults: Vec<Rule>) -> Self {
        let options = Options {
            warm: true,
            // What is found destroyed needs no second look at a list.
            tombstones: true,
            faults,
            ..Options::default()
        };
        Self::new(options, Workspace::with(&[("a.sh", script)]))
    }

    /// The program with key and URL in its environment.
    pub(crate) fn command<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = self.workspace.command(arguments);
        command
            .env("DAYTONA_API_KEY", self.fake.api_key())
            .env("DAYTONA_API_URL", self.fake.api_url());
        command
    }

    pub(crate) fn start<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    pub(crate) fn forge<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Ended {
        finish(self.start(arguments))
    }

    /// Waits until a call has come to the server.
    #[track_caller]
    pub(crate) fn wait_for(&self, route: Route) {
        self.wait_for_many(route, 1);
    }

    /// Waits until as many calls have come to the server.
    #[track_caller]
    pub(crate) fn wait_for_many(&self, route: Route, count: usize) {
        let until = Instant::now() + Duration::from_secs(60);
        while self.fake.requests_to(route) < count {
            let came = self.fake.requests_to(route);
            assert!(Instant::now() < until, "{came} of {count} {route:?} came");
            pause();
        }
    }

    /// Waits until a candidate has printed that it began.
    #[track_caller]
    pub(crate) fn wait_for_candidate(&self) {
        self.wait_for_candidates(1);
    }

    /// Waits until as many have.
    #[track_caller]
    fn wait_for_candidates(&self, count: usize) {
        self.wait_for_many(Route::Execute, count);
        let began = |id: &str| {
            let home = self.fake.home(id).unwrap();
            // Everything of the sandbox, for forge's files are not in the home.
            let find = Command::new("grep")
                .args(["-rqs", "began"])
                .arg(home.parent().unwrap())
                .status();
            find.is_ok_and(|status| status.success())
        };
        let until = Instant::now() + Duration::from_secs(30);
        let is_enough = || {
            let alive = self.fake.alive();
            alive.iter().filter(|row| began(&row.id)).count() >= count
        };
        while !is_enough() {
            assert!(Instant::now() < until, "the candidate does not begin");
            pause();
        }
    }

    #[track_caller]
    pub(crate) fn assert_none_alive(&self) {
        assert_eq!(self.fake.alive(), []);
    }

    /// The `trial.json` of the first trial of a candidate.
    fn trial(&self, candidate: &str) -> Value {
        let folder = self.workspace.run_folder().join("task");
        read_json(&folder.join(candidate).join("1/trial.json"))
    }

    /// Makes a sandbox that no forge made, with these labels.
    fn strange(&self, labels: &Value) -> String {
        let body = json!({"labels": labels, "autoDeleteInterval": 0});
        // Whoever was first has installed it.
        drop(rustls::crypto::ring::default_provider().install_default());
        let answer = async {
            let client = reqwest::Client::builder().no_proxy().build()?;
            let url = format!("{}/sandbox", self.fake.api_url());
            let request = client
                .post(url)
                .bearer_auth(self.fake.api_key())
                .json(&body);
            request.send().await?.json::<Value>().await
        };
        let row = tokio::runtime::Runtime::new()
            .unwrap()
            .block_on(answer)
            .unwrap();
        row["id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn is_alive(&self, id: &str) -> bool {
        self.fake.alive().iter().any(|row| row.id == id)
    }
}

pub(crate) fn signal(child: &Child, name: &str) {
    let status = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(child.id().to_string())
        .status();
    assert!(status.unwrap().success());
}
