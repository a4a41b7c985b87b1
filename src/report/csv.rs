//! `trials.csv`: one row a planned trial, for spreadsheets.
//!
//! Promises: the columns before `metric.` are always the same; numbers are plain; a text can never be
//! taken for a formula. Records are read twice, because the columns must be known before the first row.

use std::collections::BTreeSet;
use std::io::{self, Write};

use super::{Outcome, Report};
use crate::event::TrialRecord;
use crate::score::Points;
use crate::summary::TrialRow;

/// So many metrics get a column at the most, in the order of their names.
const MAX_METRICS: usize = 64;

const COLUMNS: [&str; 24] = [
    "objective",
    "candidate",
    "repeat",
    "outcome",
    "score",
    "quality",
    "speed",
    "disqualified",
    "error_kind",
    "error_message",
    "exit_code",
    "attempts",
    "runtime_seconds",
    "create_ms",
    "upload_ms",
    "setup_ms",
    "run_ms",
    "collect_ms",
    "score_ms",
    "peak_memory_bytes",
    "cpu_milliseconds",
    "artifact_bytes",
    "sandbox_id",
    "explanation",
];

pub(super) fn write(report: &Report<'_>, to: &mut dyn Write) -> io::Result<()> {
    let metrics = metric_names(report);
    let mut table = csv::Writer::from_writer(to);
    let header = COLUMNS.iter().map(|name| (*name).to_owned());
    let named = metrics.iter().map(|name| text(&format!("metric.{name}")));
    table.write_record(header.chain(named))?;
    for row in &report.summary.trials {
        let record = report.details.record(&row.trial);
        let measured = metrics.iter().map(|name| {
            let value = record.as_ref().and_then(|record| record.metrics.get(name));
            number(value.copied())
        });
        table.write_record(cells(row, record.as_ref()).into_iter().chain(measured))?;
    }
    table.flush()
}

/// The names of all metrics; of too many, the first ones by name, whatever order the trials have.
fn metric_names(report: &Report<'_>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for row in &report.summary.trials {
        if let Some(record) = report.details.record(&row.trial) {
            names.extend(record.metrics.into_keys());
            while names.len() > MAX_METRICS {
                names.pop_last();
            }
        }
    }
    names
}

fn cells(row: &TrialRow, record: Option<&TrialRecord>) -> [String; COLUMNS.len()] {
    let points = |points: Option<Points>| number(points.map(Points::value));
    let timings = record.map(|record| record.timings).unwrap_or_default();
    let usage = record.map(|record| record.usage).unwrap_or_default();
    let artifact = record.and_then(|record| record.artifact.as_ref());
    let sandbox = record.and_then(|record| record.sandbox.as_ref());
    let score = record.and_then(|record| record.score.as_ref());
    [
        text(row.trial.objective.as_str()),
        text(row.trial.candidate.as_str()),
        row.trial.repeat.to_string(),
        Outcome::of(row).as_str().to_owned(),
        points(row.score),
        points(row.quality),
        points(row.speed),
        text(row.disqualified.as_deref().unwrap_or_default()),
        row.error_kind
            .map_or_else(String::new, |kind| kind.as_str().to_owned()),
        text(row.error_message.as_deref().unwrap_or_default()),
        number(row.exit_code),
        row.attempts.to_string(),
        number(row.runtime_seconds),
        number(timings.create_ms),
        number(timings.upload_ms),
        number(timings.setup_ms),
        number(timings.run_ms),
        number(timings.collect_ms),
        number(timings.score_ms),
        number(usage.peak_memory_bytes),
        number(usage.cpu_milliseconds),
        number(artifact.map(|artifact| artifact.bytes)),
        text(sandbox.map_or("", |sandbox| sandbox.as_str())),
        text(score.map_or("", |score| &score.explanation)),
    ]
}

fn number<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// A text as a cell: on one line, and never a formula. Blanks are looked through, as spreadsheets do.
fn text(hostile: &str) -> String {
    // The tab and the carriage return that also start formulas are gone with the other control characters.
    let line = crate::plain::short(hostile, 1000);
    if line
        .trim_start()
        .starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠'])
    {
        format!("'{line}")
    } else {
        line
    }
}
