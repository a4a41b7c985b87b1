//! `trace.json` of real runs, read as a viewer reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use serde_json::Value;

use crate::cloud::{Cloud, WRITES, signal};
use crate::support::fake_daytona::fault::{After, Before, Canned, Rule, When};
use crate::support::fake_daytona::{Options, Route};
use crate::support::workspace::{Workspace, finish, pause, read_json};

/// A slice of a lane, in microseconds since the run began.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Slice {
    name: String,
    kind: String,
    lane: u64,
    from: u64,
    until: u64,
    attempt: Option<u64>,
}

impl Slice {
    fn holds(&self, other: &Self) -> bool {
        self.lane == other.lane && self.from <= other.from && other.until <= self.until
    }
}

struct Trace {
    whole: Value,
    slices: Vec<Slice>,
}

impl Trace {
    fn of(workspace: &Workspace) -> Self {
        let whole = read_json(&workspace.run_folder().join("trace.json"));
        let entries = whole["traceEvents"].as_array().unwrap();
        let slices = entries.iter().filter(|it| it["ph"] == "X").map(|it| {
            let number = |field: &str| it[field].as_u64().unwrap();
            let text = |field: &str| it[field].as_str().unwrap().to_owned();
            Slice {
                name: text("name"),
                kind: text("cat"),
                lane: number("tid"),
                from: number("ts"),
                until: number("ts") + number("dur"),
                attempt: it["args"]["attempt"].as_u64(),
            }
        });
        let slices = slices.collect();
        Self { whole, slices }
    }

    fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Value> {
        let entries = self.whole["traceEvents"].as_array().unwrap().iter();
        entries.filter(move |it| it["ph"] == kind)
    }

    /// The names of what happened at one moment.
    fn moments(&self) -> BTreeSet<&str> {
        let names = self.of_kind("i").map(|it| it["name"].as_str().unwrap());
        names.collect()
    }

    /// The attempts of a trial, the first one first.
    fn attempts(&self, trial: &str) -> Vec<&Slice> {
        let lost = format!("{trial} (attempt ");
        let own = self.slices.iter().filter(|it| it.attempt.is_some());
        let own = own.filter(|it| it.name == trial || it.name.starts_with(&lost));
        let mut own: Vec<&Slice> = own.collect();
        own.sort_by_key(|it| it.from);
        own
    }

    /// What lies in an attempt.
    fn phases(&self, attempt: &Slice) -> impl Iterator<Item = &Slice> {
        let phases = self.slices.iter().filter(|it| it.kind == "phase");
        phases.filter(move |it| attempt.holds(it))
    }

    /// Fails where two slices of a lane overlap, and neither holds the other; or a phase is in no attempt, or in two.
    #[track_caller]
    fn assert_nested(&self) {
        for (at, one) in self.slices.iter().enumerate() {
            for other in &self.slices[at + 1..] {
                let apart =
                    one.lane != other.lane || one.until <= other.from || other.until <= one.from;
                let nested = one.holds(other) || other.holds(one);
                assert!(apart || nested, "{one:?} {other:?}");
                let attempts = one.attempt.is_some() && other.attempt.is_some();
                assert!(apart || !attempts, "{one:?} {other:?}");
            }
            let attempts = self.slices.iter().filter(|it| it.attempt.is_some());
            let holders = attempts.filter(|it| it.holds(one)).count();
            assert!(one.kind != "phase" || holders == 1, "{one:?}");
        }
    }

    /// Fails where the phases of a trial's last attempt do not take what `run.json` says.
    #[track_caller]
    fn assert_timings(&self, trial: &str, row: &Value) {
        let attempts = self.attempts(trial);
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        for phase in self.phases(attempts.last().unwrap()) {
            *sums.entry(&phase.name).or_default() += phase.until - phase.from;
        }
        for (phase, key) in [
            ("creating", "create_ms"),
            ("uploading", "upload_ms"),
            ("setting up", "setup_ms"),
            ("running", "run_ms"),
            ("collecting", "collect_ms"),
            ("scoring", "score_ms"),
        ] {
            let shown = sums.get(phase).copied().unwrap_or(0);
            let said = row["timings"][key].as_u64().unwrap_or(0) * 1000;
            // Whole milliseconds there, whole microseconds here.
            assert!(
                said.abs_diff(shown) <= 1000,
                "{trial}: {phase}: {shown} {row}"
            );
        }
    }
}

#[test]
fn every_trial_has_its_slice_in_a_slot_and_its_phases_take_what_run_json_says() {
    let full = "Total CPU limit exceeded. Maximum allowed: 9.";
    let full = Canned::error(StatusCode::BAD_REQUEST, full);
    let options = Options {
        warm: true,
        tombstones: true,
        destroy: Duration::from_millis(100),
        faults: vec![
            Rule::route(Route::Create, When::Nth(2), After::Drop),
            Rule::route(Route::Create, When::Nth(5), Before::Answer(full)),
        ],
        ..Options::default()
    };
    let sets_up = "#!/bin/sh\nsleep 0.3\necho hello, world >\"$2\"\n";
    let scripts = [
        ("a.sh", WRITES),
        ("b.sh", "#!/bin/sh\nexit 3\n"),
        ("c.sh", sets_up),
    ];
    let workspace = Workspace::with(&scripts).file("candidates/c.yaml", "setup: [sleep 0.2]\n");
    let cloud = Cloud::new(options, workspace);
    cloud.forge(["--daytona", "task", "-k3", "-j3"]).expect(0);
    cloud.assert_none_alive();

    let trace = Trace::of(&cloud.workspace);
    assert_eq!(trace.whole["displayTimeUnit"], "ms");
    trace.assert_nested();
    let trials = cloud.workspace.trials();
    assert_eq!(trials.len(), 9);
    let mut again = 0;
    for (name, row) in &trials {
        let attempts = trace.attempts(name);
        assert_eq!(row["attempts"], attempts.len(), "{name}");
        again += attempts.len() - 1;
        let (last, before) = attempts.split_last().unwrap();
        assert_eq!(&last.name, name);
        let outcome = if name.contains("/b/") {
            "disqualified"
        } else {
            "passed"
        };
        let outcome = row["error_kind"].as_str().unwrap_or(outcome);
        assert_eq!(last.kind, outcome, "{name}");
        assert!(before.iter().all(|it| it.kind == "lost"));
        trace.assert_timings(name, row);
    }
    assert_eq!(again, 1, "one create was lost");
    let c = trace.attempts("task/c/1");
    let phases = trace.phases(c.last().unwrap());
    let names: Vec<&str> = phases.map(|it| it.name.as_str()).collect();
    assert!(names.contains(&"setting up"), "{names:?}");

    let lanes: BTreeSet<u64> = trace
        .slices
        .iter()
        .filter(|it| it.attempt.is_some())
        .map(|it| it.lane)
        .collect();
    assert_eq!(lanes, [2, 3, 4].into());
    let called = trace.of_kind("M").filter(|it| it["name"] == "thread_name");
    let called: Vec<&str> = called
        .map(|it| it["args"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(called, ["run", "slot 1", "slot 2", "slot 3"]);
    let busy: Vec<u64> = trace
        .of_kind("C")
        .map(|it| it["args"]["busy"].as_u64().unwrap())
        .collect();
    assert_eq!(
        (busy.iter().max(), busy.last()),
        (Some(&3), Some(&0)),
        "{busy:?}"
    );
    let run = trace.slices.iter().find(|it| it.name == "run").unwrap();
    assert!(trace.slices.iter().all(|it| it.until <= run.until));
    assert!(
        trace.moments().contains("slot refused"),
        "{:?}",
        trace.moments()
    );
}

#[test]
fn a_stop_has_its_moment_and_what_was_never_begun_has_no_slice() {
    let sleeps = "#!/bin/sh\necho began\nsleep 300\n";
    let workspace = Workspace::with(&[("a.sh", sleeps)]);
    let child = workspace.command(["task", "-k3", "-j1"]).spawn().unwrap();
    let began = || {
        let log = workspace.path("artifacts/latest/task");
        let trials = std::fs::read_dir(log.join("a")).into_iter().flatten();
        let mut logs = trials.flatten().map(|it| it.path().join("stdout.log"));
        logs.any(|log| std::fs::read(log).is_ok_and(|text| text == b"began\n"))
    };
    let until = Instant::now() + Duration::from_secs(60);
    while !began() {
        assert!(Instant::now() < until, "the candidate does not begin");
        pause();
    }
    signal(&child, "INT");
    finish(child).expect(130);
    let trace = Trace::of(&workspace);
    trace.assert_nested();
    let stop = trace.of_kind("i").find(|it| it["name"] == "stop").unwrap();
    assert_eq!(stop["args"]["why"], "interrupted (SIGINT)");
    let attempts: Vec<&Slice> = trace
        .slices
        .iter()
        .filter(|it| it.attempt.is_some())
        .collect();
    assert_eq!(attempts.len(), 1, "{attempts:?}");
    assert_eq!(attempts[0].kind, "cancelled");
    assert!(stop["ts"].as_u64().unwrap() <= attempts[0].until);
    // What was not measured is shown all the same.
    let names: Vec<&str> = trace
        .phases(attempts[0])
        .map(|it| it.name.as_str())
        .collect();
    assert_eq!(names.last(), Some(&"running"));
}
