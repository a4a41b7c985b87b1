//! Traces of histories that are written down here, and read back as a viewer would.

use std::io;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::event::{
    Event, EventKind, Look, Phase, Resumption, StopCause, Stopped, Timings, TrialRecord,
};
use crate::exit::ExitCode;
use crate::name::TrialId;
use crate::report::sample::{Run, passed, trial};
use crate::report::{Details, Events, Format, Report};
use crate::summary::RunSummary;

/// What happened, each with its milliseconds since the run began.
struct History(Vec<Event>);

impl Details for History {
    fn record(&self, _trial: &TrialId) -> Option<TrialRecord> {
        None
    }

    fn events(&self) -> io::Result<Events<'_>> {
        Ok(Box::new(self.0.iter().cloned().map(Ok)))
    }
}

impl History {
    /// A run of one candidate in two slots.
    fn new(repeats: u32) -> Self {
        let mut run = Run::new(&["alpha"], &["task"], repeats);
        run.plan.jobs = 2;
        Self(Vec::new()).then(0, EventKind::RunStarted(Box::new(run.plan)))
    }

    fn then(mut self, at: i64, kind: EventKind) -> Self {
        let at = Timestamp::UNIX_EPOCH + SignedDuration::from_millis(at);
        let seq = self.0.len() as u64;
        self.0.push(Event { seq, at, kind });
        self
    }

    fn started(self, at: i64, repeat: u32, attempt: u32) -> Self {
        let trial = id(repeat);
        self.then(at, EventKind::TrialStarted { trial, attempt })
    }

    fn phase(self, at: i64, repeat: u32, phase: Phase) -> Self {
        let trial = id(repeat);
        self.then(at, EventKind::PhaseStarted { trial, phase })
    }

    fn finished(self, at: i64, repeat: u32, timings: Timings) -> Self {
        let record = TrialRecord {
            timings,
            ..passed(id(repeat), 80.0)
        };
        self.then(at, EventKind::TrialFinished(Box::new(record)))
    }

    fn text(&self) -> String {
        let summary = RunSummary::of(&self.0);
        let report = Report {
            summary: &summary,
            standings: &summary.standings(),
            verdicts: &[],
            exit: ExitCode::Ok,
            reasons: &[],
            sweep: "",
            details: self,
        };
        let mut bytes = Vec::new();
        report.write(Format::Trace, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    fn entries(&self) -> Vec<Value> {
        let mut whole: Value = serde_json::from_str(&self.text()).unwrap();
        let Value::Array(entries) = whole["traceEvents"].take() else {
            panic!("{whole}");
        };
        entries
    }

    /// Those of one kind: the fields that are asked for.
    fn of(&self, kind: &str, fields: &[&str]) -> Vec<Value> {
        let entries = self.entries().into_iter().filter(|it| it["ph"] == kind);
        let asked = entries.map(|it| fields.iter().map(|field| it[field].clone()).collect());
        asked.collect()
    }
}

fn id(repeat: u32) -> TrialId {
    trial("alpha", "task", repeat)
}

#[test]
fn a_trial_has_the_first_free_slot_and_its_phases_lie_in_it() {
    let timings = Timings {
        create_ms: Some(4),
        run_ms: Some(10),
        ..Timings::default()
    };
    let history = History::new(3)
        .started(1, 1, 1)
        .started(1, 2, 1)
        .phase(1, 1, Phase::Creating)
        .phase(6, 1, Phase::Running)
        .finished(20, 1, timings)
        .started(20, 3, 1)
        .finished(30, 2, Timings::default())
        .finished(40, 3, Timings::default())
        .then(55, EventKind::RunFinished { took_ms: 55 });
    let slices = [
        json!(["task/alpha/1", "passed", 2, 1_000, 19_000]),
        json!(["creating", "phase", 2, 1_000, 4_000]),
        json!(["running", "phase", 2, 6_000, 10_000]),
        json!(["task/alpha/2", "passed", 3, 1_000, 29_000]),
        json!(["task/alpha/3", "passed", 2, 20_000, 20_000]),
        json!(["run", "run", 1, 0, 55_000]),
    ];
    assert_eq!(
        history.of("X", &["name", "cat", "tid", "ts", "dur"]),
        slices
    );
    // The slot that was given back at 20 ms was taken at once.
    let counts = history.of("C", &["ts", "args"]);
    let busy = |ts: u32, busy: u32| json!([ts, {"busy": busy}]);
    assert_eq!(counts, [busy(1_000, 2), busy(30_000, 1), busy(40_000, 0)]);
    let names = history.of("M", &["tid", "args"]);
    assert!(names.contains(&json!([3, {"name": "slot 2"}])), "{names:?}");
}

#[test]
fn a_lost_attempt_is_marked_and_what_happened_has_its_moment() {
    let history = History::new(2)
        .started(1, 1, 1)
        .phase(2, 1, Phase::Creating)
        .then(
            3,
            EventKind::SlotRefused {
                trial: id(1),
                message: "the pool\u{1b}[2J is full".to_owned(),
            },
        )
        .then(
            4,
            EventKind::AttemptFailed {
                trial: id(1),
                attempt: 1,
                phase: Phase::Creating,
                message: "the server answered 500".to_owned(),
            },
        )
        .started(9, 1, 2)
        .then(
            10,
            EventKind::Logged {
                trial: id(1),
                message: "[Run] Executing...".to_owned(),
            },
        )
        .finished(12, 1, Timings::default())
        .then(
            12,
            EventKind::Looked(Look {
                look: 1,
                level: 0.1,
                stopped: vec![Stopped {
                    candidate: "alpha".parse().unwrap(),
                    reason: "it is worse".to_owned(),
                }],
            }),
        )
        .started(13, 2, 1)
        .then(
            14,
            EventKind::StopRequested {
                cause: StopCause::Interrupt,
                hurry: false,
            },
        );
    let slices = [
        json!(["task/alpha/1 (attempt 1: lost)", 1_000, 3_000,
               {"attempt": 1, "outcome": "lost", "why": "while creating: the server answered 500"}]),
        json!(["creating", 2_000, 2_000, null]),
        json!(["task/alpha/1", 9_000, 3_000, {"attempt": 2, "outcome": "passed", "score": 86.0}]),
        // Nobody wrote down how it went on.
        json!(["task/alpha/2 (attempt 1: unfinished)", 13_000, 1_000, {"attempt": 1, "outcome": "unfinished"}]),
        json!(["run (unfinished)", 0, 14_000, null]),
    ];
    assert_eq!(history.of("X", &["name", "ts", "dur", "args"]), slices);
    let moments = [
        json!(["slot refused", "t", 2, {"why": "the pool is full"}]),
        json!(["look 1", "p", 1, {"why": "spared: `alpha`"}]),
        json!(["stop", "p", 1, {"why": "interrupted (SIGINT)"}]),
    ];
    assert_eq!(history.of("i", &["name", "s", "tid", "args"]), moments);
}

#[test]
fn what_comes_after_the_end_is_not_of_the_run() {
    let history = History::new(1)
        .then(5, EventKind::RunFinished { took_ms: 5 })
        .then(
            500_000,
            EventKind::Warned {
                message: "scored again".to_owned(),
            },
        );
    assert_eq!(history.of("i", &["name"]), [] as [Value; 0]);
    assert_eq!(history.of("X", &["dur"]), [json!([5_000])]);
}

#[test]
fn a_run_that_goes_on_after_its_end_is_shown_to_its_last_one() {
    let history = History::new(2);
    let Some(EventKind::RunStarted(plan)) = history.0.first().map(|it| it.kind.clone()) else {
        panic!("a run begins");
    };
    let goes_on = EventKind::RunResumed(Box::new(Resumption {
        plan: *plan,
        told: "goes on".to_owned(),
        kept: 1,
        again: Vec::new(),
        retry: Vec::new(),
        gone: Vec::new(),
    }));
    let over = |took_ms| EventKind::RunFinished { took_ms };
    let history = history
        .started(0, 1, 1)
        .finished(4, 1, Timings::default())
        .then(5, over(5))
        .then(1_000, goes_on)
        .started(1_001, 2, 1)
        .finished(1_007, 2, Timings::default())
        .then(1_010, over(10));
    assert_eq!(
        history.of("X", &["name", "ts", "dur"]),
        [
            json!(["task/alpha/1", 0, 4_000]),
            json!(["run", 0, 5_000]),
            json!(["task/alpha/2", 1_001_000, 6_000]),
            json!(["run", 1_000_000, 10_000]),
        ]
    );
}

#[test]
fn ten_thousand_trials_stay_small() {
    let timings = Timings {
        create_ms: Some(2),
        upload_ms: Some(1),
        setup_ms: None,
        run_ms: Some(1_200),
        collect_ms: Some(3),
        score_ms: Some(0),
    };
    let mut history = History::new(10_000);
    for repeat in 1..=10_000 {
        let at = i64::from(repeat) * 700;
        history = history
            .started(at, repeat, 1)
            .phase(at, repeat, Phase::Creating)
            .phase(at + 2, repeat, Phase::Uploading)
            .phase(at + 3, repeat, Phase::Running)
            .phase(at + 1_300, repeat, Phase::Collecting)
            .phase(at + 1_303, repeat, Phase::Scoring);
        if repeat > 1 {
            history = history.finished(at + 610, repeat - 1, timings);
        }
    }
    history.0.sort_by_key(|it| it.at);
    let text = history.text();
    assert!(text.len() < 7_000_000, "{}", text.len());
    assert!(text.lines().count() > 10_000 * 5);
    let slots = history
        .of("X", &["tid"])
        .into_iter()
        .max_by_key(|it| it[0].as_u64());
    assert_eq!(slots, Some(json!([3])));
}
