//! Runs for the tests of reports: made of events, as real ones are.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard};

use jiff::Timestamp;

use super::{Details, Events, Folder, Format, Report};
use crate::event::{
    ArtifactRecord, Cleanup, Event, EventKind, PlannedCandidate, PlannedObjective, RunPlan,
    Setting, StreamRecord, Timings, TrialEnd, TrialRecord,
};
use crate::exit::decide;
use crate::name::{CandidateName, SandboxId, TrialId};
use crate::plain::LastWords;
use crate::rule::{Comparison, How, Question};
use crate::sandbox::{Skipped, Usage};
use crate::score::{GateResult, Points, ScorerResult, Weights, combine};
use crate::standings::Standings;
use crate::summary::RunSummary;

/// A run under construction.
pub(crate) struct Run {
    pub(crate) plan: RunPlan,
    pub(crate) records: BTreeMap<TrialId, TrialRecord>,
    pub(crate) more: Vec<EventKind>,
    pub(crate) cleanup: Cleanup,
}

impl Details for Run {
    fn record(&self, trial: &TrialId) -> Option<TrialRecord> {
        self.records.get(trial).cloned()
    }

    fn events(&self) -> io::Result<Events<'_>> {
        Ok(Box::new(self.history().map(Ok)))
    }
}

impl Run {
    /// A plan of nothing done yet.
    pub(crate) fn new(candidates: &[&str], objectives: &[&str], repeats: u32) -> Self {
        let setting = |value: &str, origin: &str| Setting {
            value: value.to_owned(),
            origin: origin.to_owned(),
        };
        Self {
            plan: RunPlan {
                format: 1,
                command: None,
                terms: std::collections::BTreeMap::new(),
                run: "0190a5d0-0000-7000-8000-00000000beef".parse().unwrap(),
                forge_version: "0.1.0".to_owned(),
                mode: "local".to_owned(),
                mode_reason: "daytona not asked for".to_owned(),
                isolation: String::new(),
                seed: 7,
                jobs: 4,
                candidates: candidates
                    .iter()
                    .map(|name| PlannedCandidate {
                        name: name.parse().unwrap(),
                        description: None,
                        digest: "00".to_owned(),
                        differs: Vec::new(),
                        repeats: std::collections::BTreeMap::new(),
                    })
                    .collect(),
                objectives: objectives
                    .iter()
                    .map(|name| PlannedObjective {
                        name: name.parse().unwrap(),
                        title: None,
                        file: None,
                        digest: "00".to_owned(),
                        repeats,
                        output: "post.md".to_owned(),
                        weights: Weights::default(),
                        run_limit_s: 60.0,
                        network: "open".to_owned(),
                    })
                    .collect(),
                demands: crate::event::Demands::default(),
                rule: crate::rule::Rule::default(),
                comparisons: Vec::new(),
                looks: 1,
                rejects: false,
                confirm: None,
                shard: None,
                price_per_hour: Some(2.0),
                settings: [("jobs".to_owned(), setting("4", "flag"))].into(),
                host: [("os".to_owned(), "linux".to_owned())].into(),
            },
            records: BTreeMap::new(),
            more: Vec::new(),
            cleanup: Cleanup {
                deleted: 1,
                ..Cleanup::default()
            },
        }
    }

    pub(crate) fn add(&mut self, record: TrialRecord) {
        self.records.insert(record.trial.clone(), record);
    }

    /// Has two candidates compared; what a candidate was is planned with that.
    pub(crate) fn compare(&mut self, question: Question, candidate: &str, against: &str) {
        self.compared(question, candidate, against, How::Beside);
    }

    /// The same with where the scores of the other side come from.
    pub(crate) fn compared(
        &mut self,
        question: Question,
        candidate: &str,
        against: &str,
        how: How,
    ) {
        let against: CandidateName = former(against);
        let is_planned = self.plan.candidates.iter().any(|it| it.name == against);
        if how == How::Beside && !is_planned {
            let today = self
                .plan
                .candidates
                .iter()
                .find(|it| it.name.as_str() == candidate);
            let mut was = today.unwrap().clone();
            was.name = against.clone();
            self.plan.candidates.push(was);
        }
        self.plan.comparisons.push(Comparison {
            question,
            candidate: candidate.parse().unwrap(),
            against,
            how,
        });
    }

    pub(crate) fn summary(&self) -> RunSummary {
        let mut summary = RunSummary::default();
        for event in self.history() {
            summary.apply(&event);
        }
        summary
    }

    /// What happened, one trial after another.
    fn history(&self) -> impl Iterator<Item = Event> {
        let trials = self.records.values().flat_map(|record| {
            let began = (record.attempts > 0).then(|| EventKind::TrialStarted {
                trial: record.trial.clone(),
                attempt: record.attempts,
            });
            let finished = EventKind::TrialFinished(Box::new(record.clone()));
            began.into_iter().chain([finished])
        });
        let first = EventKind::RunStarted(Box::new(self.plan.clone()));
        let last = [
            EventKind::CleanedUp(self.cleanup.clone()),
            EventKind::RunFinished { took_ms: 1500 },
        ];
        let begun = std::iter::once(first).chain(self.more.iter().cloned());
        begun.chain(trials).chain(last).zip(0..).map(event)
    }

    /// Gives the report to `look`.
    pub(crate) fn report<T>(&self, look: impl FnOnce(&Report<'_>) -> T) -> T {
        let summary = self.summary();
        let standings: Standings = summary.standings();
        let verdicts = crate::verdict::of(&summary, &standings);
        let (exit, reasons) = decide(&summary, &standings, &verdicts);
        look(&Report {
            summary: &summary,
            standings: &standings,
            verdicts: &verdicts,
            exit,
            reasons: &reasons,
            sweep: "forge sweep --run beef",
            details: self,
        })
    }

    pub(crate) fn written(&self, format: Format) -> String {
        let mut bytes = Vec::new();
        self.report(|report| report.write(format, &mut bytes))
            .unwrap();
        String::from_utf8(bytes).unwrap()
    }
}

pub(crate) fn event((kind, seq): (EventKind, u64)) -> Event {
    Event {
        seq,
        at: Timestamp::UNIX_EPOCH,
        kind,
    }
}

/// A name, of a former version too.
fn former(name: &str) -> CandidateName {
    CandidateName::try_from(name.to_owned()).unwrap()
}

/// A pull request that makes one of three worse on one of four objectives.
pub(crate) fn regressed() -> Run {
    let objectives = ["code", "daily", "logs", "weekly"];
    let mut run = Run::new(&["alpha", "beta", "gamma"], &objectives, 3);
    run.compare(Question::Baseline, "gamma", "gamma@4f1c9e2");
    for objective in objectives {
        for repeat in 1..=3 {
            let quality = |candidate: &str| match (candidate, objective) {
                ("gamma", "logs") => 5.0,
                ("gamma", _) => 88.0,
                ("alpha", _) => 55.0,
                ("beta", _) => 50.0,
                _ => 90.0,
            };
            for candidate in ["alpha", "beta", "gamma", "gamma@4f1c9e2"] {
                let off = f64::from(repeat);
                run.add(passed(
                    trial(candidate, objective, repeat),
                    quality(candidate) + off,
                ));
            }
        }
    }
    run
}

pub(crate) fn trial(candidate: &str, objective: &str, repeat: u32) -> TrialId {
    TrialId {
        objective: objective.parse().unwrap(),
        candidate: former(candidate),
        repeat,
    }
}

/// A trial that passed with this quality; its speed is always 90.
pub(crate) fn passed(trial: TrialId, quality: f64) -> TrialRecord {
    judged(trial, true, "post has 12 links", quality)
}

/// A trial that one gate disqualified.
pub(crate) fn failed(trial: TrialId, why: &str) -> TrialRecord {
    judged(trial, false, why, 0.0)
}

fn judged(trial: TrialId, held: bool, why: &str, quality: f64) -> TrialRecord {
    let gate = GateResult {
        gate: "min_bytes 11".to_owned(),
        passed: held,
        explanation: if held { "it has 2,048 bytes" } else { why }.to_owned(),
    };
    let scorer = ScorerResult {
        scorer: "regex /^#/".to_owned(),
        weight: 2.0,
        points: Points::new(quality),
        explanation: why.to_owned(),
        went: None,
        said: None,
    };
    let speed = Points::clamped(90.0);
    TrialRecord {
        runtime_s: Some(0.125),
        score: Some(combine(Weights::default(), vec![gate], vec![scorer], speed)),
        ..TrialRecord::ended(trial, TrialEnd::Exited { code: 0 }, 1)
    }
}

/// A trial that the infrastructure lost.
pub(crate) fn lost(trial: TrialId) -> TrialRecord {
    let end = TrialEnd::SandboxFailed {
        phase: crate::event::Phase::Creating,
        message: "the server answered 500".to_owned(),
        hint: None,
    };
    TrialRecord::ended(trial, end, 3)
}

/// A trial that was not needed.
pub(crate) fn spared(trial: TrialId, why: &str) -> TrialRecord {
    let reason = why.to_owned();
    TrialRecord::ended(trial, TrialEnd::Spared { reason }, 0)
}

/// A record in which nothing is missing.
pub(crate) fn full(trial: TrialId) -> TrialRecord {
    let file = |path: &str| ArtifactRecord {
        path: path.to_owned(),
        bytes: 2048,
        sha256: "ab".repeat(32),
        partial: true,
        redacted: true,
    };
    let stream = |name: &str| StreamRecord {
        file: format!("{name}.log"),
        bytes: 10,
        dropped: 3,
    };
    TrialRecord {
        sandbox: Some(SandboxId::new("sandbox-1")),
        isolation: "namespaces".to_owned(),
        timings: Timings {
            create_ms: Some(1),
            upload_ms: Some(2),
            setup_ms: Some(3),
            run_ms: Some(4),
            collect_ms: Some(5),
            score_ms: Some(6),
        },
        stdout: stream("stdout"),
        stderr: stream("stderr"),
        artifact: Some(file("post.md")),
        no_artifact: Some("nothing was there".to_owned()),
        said: Some(LastWords {
            log: "stderr.log".to_owned(),
            lines: vec!["Traceback".to_owned(), "KeyError: 'x'".to_owned()],
            hint: Some("think again".to_owned()),
        }),
        files: vec![file("files/chart.png")],
        skipped: vec![Skipped {
            path: "link".to_owned(),
            reason: "is a symbolic link".to_owned(),
        }],
        warnings: vec!["metrics.json: `loss` is no finite number and is left out".to_owned()],
        metrics: [("tokens".to_owned(), 1234.0), ("cost_usd".to_owned(), 0.02)].into(),
        usage: Usage {
            peak_memory_bytes: Some(1 << 20),
            cpu_milliseconds: Some(42),
        },
        ..passed(trial, 81.3)
    }
}

/// A folder in memory.
#[derive(Default)]
pub(crate) struct Memory(Mutex<BTreeMap<String, Vec<u8>>>);

impl Memory {
    pub(super) fn files(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.0.lock().unwrap()
    }
}

impl Folder for Memory {
    fn save(
        &self,
        name: &str,
        fill: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut bytes = Vec::new();
        fill(&mut bytes)?;
        self.files().insert(name.to_owned(), bytes);
        Ok(())
    }
}
