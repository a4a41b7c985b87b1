//! `run.json`: everything, for machines.
//!
//! Promises: keys come in one order; every planned trial has its row; rows are written one at a time.
//! What could steer a terminal is escaped, because `--json` may be read on one.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer};

use super::Report;
use crate::event::{
    ArtifactRecord, Cleanup, RunPlan, StopCause, StreamRecord, Timings, TrialEnd, TrialRecord,
};
use crate::exit::ExitCode;
use crate::name::SandboxId;
use crate::plain::LastWords;
use crate::rule::Rule;
use crate::sandbox::{Skipped, Usage};
use crate::score::{GateResult, ScorerResult};
use crate::standings::{Lead, Standings};
use crate::statistics::spread::Spread;
use crate::store::trial_json::SCHEMA_VERSION;
use crate::summary::TrialRow;
use crate::summary::took::phases;
use crate::verdict::Verdict;

mod tame;

use tame::Tame;

pub(super) fn write(report: &Report<'_>, to: &mut dyn Write) -> io::Result<()> {
    write_telling(report, to, &mut |_, _| {})
}

/// Who is told of each trial as its row is written, with the record that was read for that.
pub(super) type Told<'a> = dyn FnMut(TrialRow<'_>, Option<&TrialRecord>) + 'a;

pub(super) fn write_telling(
    report: &Report<'_>,
    to: &mut dyn Write,
    told: &mut Told<'_>,
) -> io::Result<()> {
    let formatter = Tame::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut *to, formatter);
    Document::of(report, told).serialize(&mut serializer)?;
    to.write_all(b"\n")
}

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    /// First, so that nobody reads on without knowing.
    ungraded: BTreeMap<&'a str, &'a str>,
    plan: Option<&'a RunPlan>,
    started: Option<String>,
    took_seconds: Option<f64>,
    sandbox_seconds: f64,
    sandbox_cost_usd: Option<f64>,
    exit: Exit<'a>,
    stopped: Option<StopCause>,
    warnings: Vec<&'a str>,
    planned: usize,
    lost: usize,
    spared: usize,
    lead: Option<&'a Lead>,
    verdicts: &'a [Verdict],
    rule: Option<Declared<'a>>,
    standings: &'a Standings,
    cleanup: Option<&'a Cleanup>,
    /// How long the phases took in most trials, in milliseconds.
    phases: BTreeMap<&'static str, Spread>,
    trials: Trials<'a>,
}

impl<'a> Document<'a> {
    fn of(report: &'a Report<'a>, told: &'a mut Told<'a>) -> Self {
        let summary = report.summary;
        let objectives = || report.standings.objectives.iter();
        Self {
            schema_version: SCHEMA_VERSION,
            ungraded: objectives()
                .filter_map(|it| Some((it.objective.as_str(), it.ungraded.as_deref()?)))
                .collect(),
            plan: summary.plan.as_ref(),
            started: summary.started.map(|at| at.to_string()),
            took_seconds: summary.took.map(|took| took.as_secs_f64()),
            sandbox_seconds: summary.in_sandboxes().as_secs_f64(),
            sandbox_cost_usd: summary.sandboxes_cost(),
            exit: Exit {
                code: report.exit.code(),
                name: exit_name(report.exit),
                reasons: report.reasons,
            },
            stopped: summary.stopped,
            warnings: objectives()
                .flat_map(|it| &it.warnings)
                .chain(&summary.warnings)
                .map(String::as_str)
                .collect(),
            planned: summary.trials.len(),
            lost: summary.lost(),
            spared: summary.trials.iter().filter(|row| row.spared()).count(),
            lead: report.standings.lead.as_ref(),
            verdicts: report.verdicts,
            rule: summary.plan.as_ref().map(|plan| Declared::of(&plan.rule)),
            standings: report.standings,
            cleanup: summary.cleanup.as_ref(),
            phases: phases(summary.trials.rows()),
            trials: Trials(report, RefCell::new(told)),
        }
    }
}

/// A rule, with what tells it from another.
#[derive(Serialize)]
pub(super) struct Declared<'a> {
    #[serde(flatten)]
    rule: &'a Rule,
    digest: String,
}

impl<'a> Declared<'a> {
    pub(super) fn of(rule: &'a Rule) -> Self {
        let digest = rule.digest();
        Self { rule, digest }
    }
}

#[derive(Serialize)]
struct Exit<'a> {
    code: u8,
    name: &'static str,
    reasons: &'a [String],
}

/// The name of an exit code in files and reports.
#[must_use]
pub const fn exit_name(exit: ExitCode) -> &'static str {
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

struct Trials<'a>(&'a Report<'a>, RefCell<&'a mut Told<'a>>);

impl Serialize for Trials<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rows = &self.0.summary.trials;
        let mut list = serializer.serialize_seq(Some(rows.len()))?;
        for row in rows {
            let record = self.0.details.record(&row.trial());
            (self.1.borrow_mut())(row, record.as_ref());
            let details = record.map(Detail::from);
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
    row: TrialRow<'a>,
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
    no_artifact: Option<String>,
    said: Option<LastWords>,
    files: Vec<ArtifactRecord>,
    skipped: Vec<Skipped>,
    warnings: Vec<String>,
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
            no_artifact: record.no_artifact,
            said: record.said,
            files: record.files,
            skipped: record.skipped,
            warnings: record.warnings,
            stdout: Some(record.stdout),
            stderr: Some(record.stderr),
            sandbox_id: record.sandbox,
            isolation: record.isolation,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::sample::*;
    use serde_json::Value;

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
}
