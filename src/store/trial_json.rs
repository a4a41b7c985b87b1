//! `trial.json`: everything about one trial, for machines.
//!
//! Promises: the seven fields of the original result come first; a record that became a `trial.json` comes
//! back from it whole.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::{ArtifactRecord, ErrorClass, StreamRecord, Timings, TrialEnd, TrialRecord};
use crate::name::{CandidateName, ObjectiveName, SandboxId, TrialId};
use crate::plain::LastWords;
use crate::sandbox::{Skipped, Usage};
use crate::score::{GateResult, Points, ScorerResult, TrialScore};

/// The version of the form of `run.json` and `trial.json`. Additions do not change it.
pub const SCHEMA_VERSION: u32 = 1;

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
    /// The last that was said by what failed.
    #[serde(default)]
    said: Option<LastWords>,
    timings: Timings,
    gates: Vec<GateResult>,
    scores: Option<Scores>,
    metrics: BTreeMap<String, f64>,
    usage: Usage,
    artifact: Option<NamedFile>,
    #[serde(default)]
    no_artifact: Option<String>,
    files: Vec<NamedFile>,
    skipped: Vec<Skipped>,
    #[serde(default)]
    warnings: Vec<String>,
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
    #[serde(default)]
    redacted: bool,
}

impl From<&ArtifactRecord> for NamedFile {
    fn from(record: &ArtifactRecord) -> Self {
        Self {
            name: record.path.clone(),
            bytes: record.bytes,
            sha256: record.sha256.clone(),
            partial: record.partial,
            redacted: record.redacted,
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
            redacted: file.redacted,
        }
    }
}

/// A record as the `trial.json` of its trial. `output` is what the candidate printed and
/// `artifact_content` what it wrote, each as far as it is text and small enough to be in there.
///
/// `success` says that nothing went wrong and no gate failed; `error_message` says what did.
#[must_use]
pub fn render(
    record: &TrialRecord,
    output: Option<&str>,
    artifact_content: Option<&str>,
) -> impl Serialize + use<> {
    let error = record.end.error();
    let score = record.score.as_ref();
    let disqualified = score.and_then(|score| score.disqualified.as_deref());
    TrialFile {
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
        said: record.said.clone(),
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
        no_artifact: record.no_artifact.clone(),
        files: record.files.iter().map(NamedFile::from).collect(),
        skipped: record.skipped.clone(),
        warnings: record.warnings.clone(),
        isolation: record.isolation.clone(),
    }
}

/// The record that this text of a `trial.json` was made of. Nothing is held of it but what is in the record: there may be
/// ten thousand files in it.
///
/// # Errors
/// A sentence when a field is missing or makes no sense, or the file is of a later form.
pub fn record(text: &[u8]) -> Result<TrialRecord, String> {
    let file: TrialFile =
        serde_json::from_slice(text).map_err(|error| crate::plain::quoted(&error))?;
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
        said: file.said,
        artifact: file.artifact.map(ArtifactRecord::from),
        no_artifact: file.no_artifact,
        files: file.files.into_iter().map(ArtifactRecord::from).collect(),
        skipped: file.skipped,
        warnings: file.warnings,
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
    use serde_json::{Value, json};

    use super::*;
    use crate::report::sample::*;

    fn trial_json(record: &TrialRecord, output: Option<&str>, content: Option<&str>) -> Value {
        serde_json::to_value(render(record, output, content)).unwrap()
    }

    #[test]
    fn the_seven_fields_of_the_original_come_first() {
        let text = serde_json::to_string(&render(&full(trial("alpha", "weekly", 1)), None, None));
        assert!(
            text.unwrap()
                .starts_with("{\"candidate_id\":\"alpha\",\"sandbox_id\":")
        );
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
            assert_eq!(super::record(text.as_bytes()), Ok(record));
        }
        for record in [
            lost(id()),
            failed(id(), "x"),
            TrialRecord::not_run(id(), "stopped"),
        ] {
            let text = trial_json(&record, None, None).to_string();
            assert_eq!(super::record(text.as_bytes()), Ok(record));
        }
    }

    #[test]
    fn a_file_of_a_later_form_is_refused() {
        let mut value = trial_json(&full(trial("alpha", "weekly", 1)), None, None);
        value["schema_version"] = json!(2);
        let error = super::record(value.to_string().as_bytes()).unwrap_err();
        assert_eq!(
            error,
            "it has schema version 2, and this forge knows up to 1"
        );
        assert!(super::record(br#"{"candidate_id": "../x"}"#).is_err());
    }
}
