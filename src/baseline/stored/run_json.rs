//! A run from nothing but its `run.json`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read as _};

use jiff::Timestamp;
use serde::Deserialize;

use crate::event::{ErrorClass, Event, EventKind, Phase, RunPlan, Timings, TrialEnd, TrialRecord};
use crate::name::{CandidateName, ObjectiveName, TrialId};
use crate::plain::quoted;
use crate::sandbox::Usage;
use crate::score::{Points, ScorerResult, TrialScore};
use crate::store::trial_json::SCHEMA_VERSION;
use crate::summary::RunSummary;

/// The largest `run.json` that is read, in bytes.
const MAX_BYTES: u64 = 512 << 20;

/// What is read of a `run.json`; there may be more in it.
#[derive(Deserialize)]
struct Document {
    plan: Option<RunPlan>,
    started: Option<Timestamp>,
    took_seconds: Option<f64>,
    #[serde(default)]
    trials: Vec<Trial>,
}

#[derive(Deserialize)]
struct Trial {
    objective: ObjectiveName,
    candidate: CandidateName,
    repeat: u32,
    error_kind: Option<ErrorClass>,
    error_message: Option<String>,
    exit_code: Option<i32>,
    #[serde(default)]
    attempts: u32,
    runtime_seconds: Option<f64>,
    score: Option<Points>,
    quality: Option<Points>,
    speed: Option<Points>,
    disqualified: Option<String>,
    end: Option<TrialEnd>,
    #[serde(default)]
    scorers: Vec<ScorerResult>,
    #[serde(default)]
    metrics: BTreeMap<String, f64>,
    #[serde(default)]
    usage: Usage,
    #[serde(default)]
    timings: Timings,
}

/// Reads the file into what its events would have added up to.
///
/// # Errors
/// A sentence.
pub(super) fn read(file: File) -> Result<RunSummary, String> {
    #[derive(Deserialize)]
    struct Version {
        schema_version: Option<u32>,
    }
    let mut text = Vec::new();
    let mut reader = BufReader::new(file).take(MAX_BYTES + 1);
    let length = reader
        .read_to_end(&mut text)
        .map_err(|error| crate::tree::reason(&error))?;
    if length as u64 > MAX_BYTES {
        return Err("it is larger than any `run.json`".to_owned());
    }
    let version: Version = serde_json::from_slice(&text).map_err(|error| quoted(&error))?;
    match version.schema_version {
        None => return Err("it has no `schema_version`".to_owned()),
        Some(later) if later > SCHEMA_VERSION => {
            return Err(format!(
                "it has schema version {later}, and this forge knows up to {SCHEMA_VERSION}"
            ));
        }
        Some(_) => {}
    }
    let document: Document = serde_json::from_slice(&text).map_err(|error| quoted(&error))?;
    Ok(summary(document))
}

fn summary(document: Document) -> RunSummary {
    let Some(plan) = document.plan else {
        return RunSummary::default();
    };
    let at = document.started.unwrap_or(Timestamp::UNIX_EPOCH);
    let trials = document.trials.into_iter().map(Trial::record);
    let finished = trials.map(|record| EventKind::TrialFinished(Box::new(record)));
    let took = document
        .took_seconds
        .filter(|took| took.is_finite() && *took >= 0.0);
    let over = took.map(|took| EventKind::RunFinished {
        took_ms: u64::try_from(std::time::Duration::from_secs_f64(took.min(1e9)).as_millis())
            .unwrap_or(u64::MAX),
    });
    let kinds = [EventKind::RunStarted(Box::new(plan))]
        .into_iter()
        .chain(finished)
        .chain(over);
    let events: Vec<Event> = (0..)
        .zip(kinds)
        .map(|(seq, kind)| Event { seq, at, kind })
        .collect();
    let mut summary = RunSummary::of(&events);
    summary.started = document.started;
    summary
}

impl Trial {
    /// The record of the trial, as far as it is in there.
    fn record(self) -> TrialRecord {
        let id = TrialId {
            objective: self.objective,
            candidate: self.candidate,
            repeat: self.repeat,
        };
        let end = self.end.unwrap_or_else(|| {
            end(
                self.error_kind,
                self.error_message.unwrap_or_default(),
                self.exit_code,
            )
        });
        let score = self.score.map(|total| TrialScore {
            total,
            success: Points::yes(self.disqualified.is_none()),
            quality: self.quality,
            speed: self.speed,
            disqualified: self.disqualified,
            gates: Vec::new(),
            scorers: self.scorers,
            explanation: String::new(),
        });
        TrialRecord {
            runtime_s: self.runtime_seconds,
            metrics: self.metrics,
            usage: self.usage,
            timings: self.timings,
            score,
            ..TrialRecord::ended(id, end, self.attempts)
        }
    }
}

/// How a trial ended whose record was lost.
fn end(kind: Option<ErrorClass>, message: String, code: Option<i32>) -> TrialEnd {
    match kind {
        None => TrialEnd::Exited { code: 0 },
        Some(ErrorClass::Candidate) => TrialEnd::Exited {
            code: code.unwrap_or(1),
        },
        Some(ErrorClass::Timeout | ErrorClass::Limit) => TrialEnd::LimitReached { message },
        Some(ErrorClass::Setup) => TrialEnd::SetupFailed { message },
        Some(ErrorClass::Infrastructure) => TrialEnd::SandboxFailed {
            phase: Phase::Running,
            message,
            hint: None,
        },
        Some(ErrorClass::Cancelled) => TrialEnd::Cancelled,
        Some(ErrorClass::NotRun) => TrialEnd::NotRun { reason: message },
    }
}
