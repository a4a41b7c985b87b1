//! `run.json` and `trial.json`: everything, for machines.
//!
//! Promises: keys come in one order; every planned trial has its row; rows are written one at a time.
//! What could steer a terminal is escaped, because `--json` may be read on one. A record that became a
//! `trial.json` comes back from it whole.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::ser::{SerializeSeq, Serializer};
use serde::{Deserialize, Serialize};

use super::Report;
use crate::event::{
    ArtifactRecord, Cleanup, ErrorClass, RunPlan, StopCause, StreamRecord, Timings, TrialEnd,
    TrialRecord,
};
use crate::exit::ExitCode;
use crate::name::{CandidateName, ObjectiveName, SandboxId, TrialId};
use crate::sandbox::{Skipped, Usage};
use crate::score::{GateResult, Points, ScorerResult, TrialScore};
use crate::summary::{Standings, TrialRow};

mod tame;

use tame::Tame;

/// The version of the form of `run.json` and `trial.json`. Additions do not change it.
pub const SCHEMA_VERSION: u32 = 1;

pub(super) fn write(report: &Report<'_>, to: &mut dyn Write) -> io::Result<()> {
    let formatter = Tame::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut *to, formatter);
    Document::of(report).serialize(&mut serializer)?;
    to.write_all(b"\n")
}

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    plan: Option<&'a RunPlan>,
    started: Option<String>,
    took_seconds: Option<f64>,
    exit: Exit<'a>,
    stopped: Option<StopCause>,
    warnings: &'a [String],
    planned: usize,
    lost: usize,
    standings: &'a Standings,
    cleanup: Option<&'a Cleanup>,
    trials: Trials<'a>,
}

impl<'a> Document<'a> {
    fn of(report: &'a Report<'a>) -> Self {
        let summary = report.summary;
        Self {
            schema_version: SCHEMA_VERSION,
            plan: summary.plan.as_ref(),
            started: summary.started.map(|at| at.to_string()),
            took_seconds: summary.took.map(|took| took.as_secs_f64()),
            exit: Exit {
                code: report.exit.code(),
                name: exit_name(report.exit),
                reasons: report.reasons,
            },
            stopped: summary.stopped,
            warnings: &summary.warnings,
            planned: summary.trials.len(),
            lost: summary.lost(),
            standings: report.standings,
            cleanup: summary.cleanup.as_ref(),
            trials: Trials(report),
        }
    }
}

#[derive(Serialize)]
struct Exit<'a> {
    code: u8,
    name: &'static str,
    reasons: &'a [String],
}

/// The name of an exit code in files and reports.
pub(super) const fn exit_name(exit: ExitCode) -> &'static str {
    match exit {
        ExitCode::Ok => "ok",
        ExitCode::Below => "below",
        ExitCode::Usage => "usage",
        ExitCode::Incomplete => "incomplete",
        ExitCode::Undeleted => "undeleted",
        ExitCode::Interrupted => "interrupted",
        ExitCode::Terminated => "terminated",
    }
}

struct Trials<'a>(&'a Report<'a>);

impl Serialize for Trials<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rows = &self.0.summary.trials;
        let mut list = serializer.serialize_seq(Some(rows.len()))?;
        for row in rows {
            let details = self.0.details.record(&row.trial).map(Detail::from);
            list.serialize_element(&Entry {
                row,
                passed: row.passed(),
                details: details.unwrap_or_default(),
            })?;
        }
        list.end()
    }
}

/// One trial in `run.json`.
#[derive(Serialize)]
struct Entry<'a> {
    #[serde(flatten)]
    row: &'a TrialRow,
    passed: bool,
    #[serde(flatten)]
    details: Detail,
}

/// What the record adds to the row; all of it is there, and empty, when there is no record.
#[derive(Serialize, Default)]
struct Detail {
    explanation: Option<String>,
    end: Option<TrialEnd>,
    timings: Timings,
    gates: Vec<GateResult>,
    scorers: Vec<ScorerResult>,
    metrics: BTreeMap<String, f64>,
    usage: Usage,
    artifact: Option<ArtifactRecord>,
    files: Vec<ArtifactRecord>,
    skipped: Vec<Skipped>,
    stdout: Option<StreamRecord>,
    stderr: Option<StreamRecord>,
    sandbox_id: Option<SandboxId>,
    isolation: String,
}

impl From<TrialRecord> for Detail {
    fn from(record: TrialRecord) -> Self {
        let (explanation, gates, scorers) = match record.score {
            Some(score) => (Some(score.explanation), score.gates, score.scorers),
            None => (None, Vec::new(), Vec::new()),
        };
        Self {
            explanation,
            end: Some(record.end),
            timings: record.timings,
            gates,
            scorers,
            metrics: record.metrics,
            usage: record.usage,
            artifact: record.artifact,
            files: record.files,
            skipped: record.skipped,
            stdout: Some(record.stdout),
            stderr: Some(record.stderr),
            sandbox_id: record.sandbox,
            isolation: record.isolation,
        }
    }
}

/// The whole of a `trial.json`: the seven fields of the original first, then what forge adds.
#[derive(Serialize, Deserialize)]
struct TrialFile {
    candidate_id: CandidateName,
    sandbox_id: Option<SandboxId>,
    success: bool,
    output: Option<String>,
    artifact_content: Option<String>,
    runtime_seconds: Option<f64>,
    error_message: Option<String>,

    schema_version: u32,
    objective: ObjectiveName,
    repeat: u32,
    attempts: u32,
    end: TrialEnd,
    exit_code: Option<i32>,
    error_kind: Option<ErrorClass>,
    stdout: StreamRecord,
    stderr: StreamRecord,
    timings: Timings,
    gates: Vec<GateResult>,
    scores: Option<Scores>,
    metrics: BTreeMap<String, f64>,
    usage: Usage,
    artifact: Option<NamedFile>,
    files: Vec<NamedFile>,
    skipped: Vec<Skipped>,
    isolation: String,
}

/// A [`TrialScore`] without its gates, which stand beside it.
#[derive(Serialize, Deserialize)]
struct Scores {
    total: Points,
    success: Points,
    quality: Option<Points>,
    speed: Option<Points>,
    disqualified: Option<String>,
    scorers: Vec<ScorerResult>,
    explanation: String,
}

#[derive(Serialize, Deserialize)]
struct NamedFile {
    name: String,
    bytes: u64,
    sha256: String,
    partial: bool,
}

impl From<&ArtifactRecord> for NamedFile {
    fn from(record: &ArtifactRecord) -> Self {
        Self {
            name: record.path.clone(),
            bytes: record.bytes,
            sha256: record.sha256.clone(),
            partial: record.partial,
        }
    }
}

impl From<NamedFile> for ArtifactRecord {
    fn from(file: NamedFile) -> Self {
        Self {
            path: file.name,
            bytes: file.bytes,
            sha256: file.sha256,
            partial: file.partial,
        }
    }
}

/// A record as the `trial.json` of its trial. `output` is what the candidate printed and
/// `artifact_content` what it wrote, each as far as it is text and small enough to be in there.
///
/// `success` says that nothing went wrong and no gate failed; `error_message` says what did.
#[must_use]
pub fn trial_json(
    record: &TrialRecord,
    output: Option<&str>,
    artifact_content: Option<&str>,
) -> serde_json::Value {
    let error = record.end.error();
    let score = record.score.as_ref();
    let disqualified = score.and_then(|score| score.disqualified.as_deref());
    let file = TrialFile {
        candidate_id: record.trial.candidate.clone(),
        sandbox_id: record.sandbox.clone(),
        // A gate may ask for another exit code than 0.
        success: score.map_or(error.is_none(), |score| score.disqualified.is_none()),
        output: output.map(str::to_owned),
        artifact_content: artifact_content.map(str::to_owned),
        runtime_seconds: record.runtime_s,
        error_message: error
            .as_ref()
            .map(|(_, message)| message.clone())
            .or_else(|| disqualified.map(|gate| format!("disqualified by {gate}"))),
        schema_version: SCHEMA_VERSION,
        objective: record.trial.objective.clone(),
        repeat: record.trial.repeat,
        attempts: record.attempts,
        end: record.end.clone(),
        exit_code: record.end.exit_code(),
        error_kind: error.map(|(class, _)| class),
        stdout: record.stdout.clone(),
        stderr: record.stderr.clone(),
        timings: record.timings,
        gates: score.map_or_else(Vec::new, |score| score.gates.clone()),
        scores: score.map(|score| Scores {
            total: score.total,
            success: score.success,
            quality: score.quality,
            speed: score.speed,
            disqualified: score.disqualified.clone(),
            scorers: score.scorers.clone(),
            explanation: score.explanation.clone(),
        }),
        metrics: record.metrics.clone(),
        usage: record.usage,
        artifact: record.artifact.as_ref().map(NamedFile::from),
        files: record.files.iter().map(NamedFile::from).collect(),
        skipped: record.skipped.clone(),
        isolation: record.isolation.clone(),
    };
    // Every key is a string, so there is nothing that could fail; null is what JSON has for "nothing".
    serde_json::to_value(&file).unwrap_or(serde_json::Value::Null)
}

/// The record that a `trial.json` was made of.
///
/// # Errors
/// A sentence when a field is missing or makes no sense, or the file is of a later form.
pub fn record_from_trial_json(value: &serde_json::Value) -> Result<TrialRecord, String> {
    let file = TrialFile::deserialize(value).map_err(|error| error.to_string())?;
    if file.schema_version > SCHEMA_VERSION {
        return Err(format!(
            "it has schema version {}, and this forge knows up to {SCHEMA_VERSION}",
            file.schema_version
        ));
    }
    let gates = file.gates;
    Ok(TrialRecord {
        trial: TrialId {
            objective: file.objective,
            candidate: file.candidate_id,
            repeat: file.repeat,
        },
        end: file.end,
        attempts: file.attempts,
        sandbox: file.sandbox_id,
        isolation: file.isolation,
        runtime_s: file.runtime_seconds,
        timings: file.timings,
        stdout: file.stdout,
        stderr: file.stderr,
        artifact: file.artifact.map(ArtifactRecord::from),
        files: file.files.into_iter().map(ArtifactRecord::from).collect(),
        skipped: file.skipped,
        metrics: file.metrics,
        usage: file.usage,
        score: file.scores.map(|scores| TrialScore {
            total: scores.total,
            success: scores.success,
            quality: scores.quality,
            speed: scores.speed,
            disqualified: scores.disqualified,
            gates,
            scorers: scores.scorers,
            explanation: scores.explanation,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::sample::*;
    use super::*;
    use serde_json::{Value, json};

    fn parsed(run: &Run) -> Value {
        serde_json::from_str(&run.written(Format::Json)).unwrap()
    }

    #[test]
    fn every_planned_trial_has_a_row_with_every_key() {
        let mut run = Run::new(&["alpha", "beta"], &["weekly"], 2);
        run.add(full(trial("alpha", "weekly", 1)));
        let document = parsed(&run);
        assert_eq!(document["schema_version"], 1);
        assert_eq!(document["planned"], 4);
        assert_eq!(document["lost"], 3);
        assert_eq!(document["exit"]["code"], 3);
        assert_eq!(document["exit"]["name"], "incomplete");
        assert_eq!(document["plan"]["settings"]["jobs"]["origin"], "flag");
        assert_eq!(document["standings"]["winner"]["candidate"], "alpha");
        let rows = document["trials"].as_array().unwrap();
        let names =
            |row: &Value| -> Vec<String> { row.as_object().unwrap().keys().cloned().collect() };
        assert_eq!(rows.len(), 4);
        assert!(rows.iter().all(|row| names(row) == names(&rows[0])));
        assert_eq!(rows[0]["objective"], "weekly");
        assert_eq!(rows[0]["metrics"]["tokens"], 1234.0);
        assert_eq!(rows[0]["gates"][0]["passed"], true);
        assert_eq!(rows[3]["error_kind"], "not_run");
        assert_eq!(rows[3]["end"], Value::Null);
    }

    #[test]
    fn what_could_steer_a_terminal_is_escaped_and_comes_back() {
        let mut run = Run::new(&["alpha"], &["weekly"], 1);
        let hostile = "\u{9b}2J\u{7f}\u{202e}\u{e0001}é\"\u{1b}";
        run.plan.objectives[0].title = Some(hostile.to_owned());
        let text = run.written(Format::Json);
        assert!(
            text.contains(r#""\u009b2J\u007f\u202e\udb40\udc01é\"\u001b""#),
            "{text}"
        );
        assert_eq!(parsed(&run)["plan"]["objectives"][0]["title"], hostile);
    }

    #[test]
    fn a_trial_keeps_the_seven_fields_of_the_original() {
        let value = trial_json(
            &full(trial("alpha", "weekly", 1)),
            Some("out"),
            Some("text"),
        );
        for (field, expected) in [
            ("candidate_id", json!("alpha")),
            ("sandbox_id", json!("sandbox-1")),
            ("success", json!(true)),
            ("output", json!("out")),
            ("artifact_content", json!("text")),
            ("runtime_seconds", json!(0.125)),
            ("error_message", Value::Null),
            ("exit_code", json!(0)),
            (
                "stdout",
                json!({"file": "stdout.log", "bytes": 10, "dropped": 3}),
            ),
        ] {
            assert_eq!(value[field], expected, "{field}");
        }
        assert_eq!(value["artifact"]["name"], "post.md");
        let value = trial_json(
            &failed(trial("alpha", "weekly", 1), "it has 5 bytes"),
            None,
            None,
        );
        assert_eq!(value["success"], false);
        assert_eq!(value["error_kind"], Value::Null);
        assert_eq!(
            value["error_message"],
            "disqualified by min_bytes 11: it has 5 bytes"
        );
    }

    #[test]
    fn a_record_comes_back_whole_from_its_file() {
        let id = || trial("alpha", "weekly", 2);
        for end in [
            TrialEnd::Exited { code: 3 },
            TrialEnd::Killed { signal: 9 },
            TrialEnd::TimedOut { limit_ms: 10 },
            TrialEnd::Cancelled,
        ] {
            let record = TrialRecord { end, ..full(id()) };
            let text = trial_json(&record, Some("out"), None).to_string();
            let value = serde_json::from_str(&text).unwrap();
            assert_eq!(record_from_trial_json(&value), Ok(record));
        }
        for record in [
            lost(id()),
            failed(id(), "x"),
            TrialRecord::not_run(id(), "stopped"),
        ] {
            let value = trial_json(&record, None, None);
            assert_eq!(record_from_trial_json(&value), Ok(record));
        }
    }

    #[test]
    fn a_file_of_a_later_form_is_refused() {
        let mut value = trial_json(&full(trial("alpha", "weekly", 1)), None, None);
        value["schema_version"] = json!(2);
        let error = record_from_trial_json(&value).unwrap_err();
        assert_eq!(
            error,
            "it has schema version 2, and this forge knows up to 1"
        );
        assert!(record_from_trial_json(&json!({"candidate_id": "../x"})).is_err());
    }
}
