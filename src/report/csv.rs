//! `trials.csv`: one row a planned trial, for spreadsheets; below it `verdicts.csv`.
//!
//! Promises: the columns before `metric.` are always the same; numbers are plain; a text can never be
//! taken for a formula.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::Arc;

use super::view::{folder, score_in_words};
use super::{Outcome, Report};
use crate::event::TrialRecord;
use crate::score::Points;
use crate::summary::TrialRow;

mod verdicts;

pub(super) use verdicts::write as write_verdicts;

/// So many metrics get a column at the most, in the order of their names.
const MAX_METRICS: usize = 64;

const COLUMNS: [&str; 28] = [
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
    "no_artifact",
    "said",
    "log",
    "folder",
];

pub(super) fn write(report: &Report<'_>, to: &mut dyn Write) -> io::Result<()> {
    let mut rows = Rows::begin(report, to)?;
    for row in &report.summary.trials {
        rows.add(row, report.details.record(&row.trial()).as_ref())?;
    }
    rows.end()
}

/// The table under way: its rows come from whoever reads what the trials have left.
pub(super) struct Rows<'a, 'w> {
    report: &'a Report<'a>,
    metrics: BTreeSet<&'a Arc<str>>,
    table: csv::Writer<&'w mut dyn Write>,
}

impl<'a, 'w> Rows<'a, 'w> {
    pub(super) fn begin(report: &'a Report<'_>, to: &'w mut dyn Write) -> io::Result<Self> {
        let metrics = metric_names(report);
        let mut table = csv::Writer::from_writer(to);
        let header = COLUMNS.iter().map(|name| (*name).to_owned());
        let named = metrics.iter().map(|name| text(&format!("metric.{name}")));
        table.write_record(header.chain(named))?;
        Ok(Self {
            report,
            metrics,
            table,
        })
    }

    /// The next trial's, in the order of the plan.
    pub(super) fn add(
        &mut self,
        row: TrialRow<'_>,
        record: Option<&TrialRecord>,
    ) -> io::Result<()> {
        let measured = self.metrics.iter().map(|name| {
            let known = row.metrics().iter().find(|it| it.0 == **name);
            number(known.map(|it| it.1))
        });
        let cells = cells(self.report, row, record);
        Ok(self.table.write_record(cells.into_iter().chain(measured))?)
    }

    pub(super) fn end(mut self) -> io::Result<()> {
        self.table.flush()
    }
}

/// The names of all metrics; of too many, the first ones by name, whatever order the trials have.
fn metric_names<'a>(report: &'a Report<'_>) -> BTreeSet<&'a Arc<str>> {
    let mut names = BTreeSet::new();
    for row in &report.summary.trials {
        names.extend(row.metrics().iter().map(|it| &it.0));
        while names.len() > MAX_METRICS {
            names.pop_last();
        }
    }
    names
}

fn cells(
    report: &Report<'_>,
    row: TrialRow<'_>,
    record: Option<&TrialRecord>,
) -> [String; COLUMNS.len()] {
    let outcome = Outcome::of(row, report.standings).as_str();
    let points = |points: Option<Points>| number(points.map(Points::value));
    // No number of an ungraded objective means anything.
    let is_graded = report.standings.ungraded(row.objective()).is_none();
    let graded = |value: Option<Points>| points(value.filter(|_| is_graded));
    let folder = folder(row);
    let graders = record.and_then(|record| record.score.as_ref());
    let mut graders = graders.into_iter().flat_map(|score| &score.scorers);
    let said = record.and_then(|record| record.said.as_ref());
    let said = said.or_else(|| graders.find_map(|it| it.said.as_ref()));
    let log = said.filter(|said| !said.log.is_empty());
    let timings = record.map(|record| record.timings).unwrap_or_default();
    let usage = record.map(|record| record.usage).unwrap_or_default();
    let artifact = record.and_then(|record| record.artifact.as_ref());
    let sandbox = record.and_then(|record| record.sandbox.as_ref());
    let score = record.and_then(|record| record.score.as_ref());
    [
        text(row.objective().as_str()),
        text(row.candidate().as_str()),
        row.repeat().to_string(),
        outcome.to_owned(),
        graded(row.score()),
        graded(row.quality()),
        points(row.speed()),
        text(row.disqualified().unwrap_or_default()),
        row.error_kind()
            .map_or_else(String::new, |kind| kind.as_str().to_owned()),
        text(row.error_message().unwrap_or_default()),
        number(row.exit_code()),
        row.attempts().to_string(),
        number(row.runtime_seconds()),
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
        score.map_or_else(String::new, |score| {
            text(&score_in_words(report, row, &score.explanation))
        }),
        text(
            record
                .and_then(|it| it.no_artifact.as_deref())
                .unwrap_or_default(),
        ),
        said.map_or_else(String::new, |said| text(&said.lines.join("\n"))),
        log.map_or_else(String::new, |said| text(&format!("{folder}/{}", said.log))),
        text(&folder),
    ]
}

fn number<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// A text as a cell: on one line, and never a formula. Blanks are looked through, as spreadsheets do.
fn text(hostile: &str) -> String {
    // The tab and the carriage return that also start formulas are gone with the other control characters.
    let line = crate::plain::ends(hostile, 1000);
    if line
        .trim_start()
        .starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠'])
    {
        format!("'{line}")
    } else {
        line
    }
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::sample::*;
    use super::*;

    pub(super) fn table(format: Format, run: &Run) -> Vec<Vec<String>> {
        let text = run.written(format);
        csv::ReaderBuilder::new()
            .has_headers(false)
            .from_reader(text.as_bytes())
            .records()
            .map(|row| row.unwrap().iter().map(str::to_owned).collect())
            .collect()
    }

    #[test]
    fn every_planned_trial_has_a_row_and_every_metric_a_column() {
        let mut run = Run::new(&["alpha", "beta"], &["weekly"], 1);
        run.add(full(trial("alpha", "weekly", 1)));
        let table = table(Format::Csv, &run);
        assert_eq!(table.len(), 3);
        assert_eq!(table[0][..COLUMNS.len()], COLUMNS);
        assert_eq!(
            table[0][COLUMNS.len()..],
            ["metric.cost_usd", "metric.tokens"]
        );
        assert_eq!(table[1][..4], ["weekly", "alpha", "1", "passed"]);
        assert_eq!(table[1][COLUMNS.len()..], ["0.02", "1234"]);
        assert_eq!(table[2][..4], ["weekly", "beta", "1", "not_run"]);
    }

    #[test]
    fn what_was_and_what_was_spared_have_rows_as_all_others() {
        let mut run = regressed();
        run.add(spared(trial("gamma@4f1c9e2", "code", 3), "hopeless"));
        let table = table(Format::Csv, &run);
        assert_eq!(table.len(), 1 + 4 * 4 * 3);
        let row = table
            .iter()
            .find(|row| row[1].contains('@') && row[2] == "3");
        let row = row.unwrap();
        assert_eq!(row[..5], ["code", "gamma@4f1c9e2", "3", "not_run", ""]);
        assert_eq!(row[8..10], ["not_run", "hopeless"]);
    }

    #[test]
    fn no_text_is_a_formula() {
        for (hostile, cell) in [
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "' =1"),
            ("\r=1", "⏎=1"),
            ("\u{feff}=1", "'=1"),
            ("  =1", "'  =1"),
            ("＝1", "'＝1"),
            ("a=1", "a=1"),
            ("", ""),
        ] {
            assert_eq!(text(hostile), cell, "{hostile:?}");
        }
    }

    #[test]
    fn quotes_and_line_breaks_stay_in_their_cell() {
        let mut run = Run::new(&["alpha"], &["weekly"], 1);
        run.add(failed(trial("alpha", "weekly", 1), "a\"b,c\n=cmd"));
        let table = table(Format::Csv, &run);
        assert_eq!(table.len(), 2);
        assert_eq!(table[1][7], "min_bytes 11: a\"b,c⏎=cmd");
    }

    #[test]
    fn a_flood_of_metrics_keeps_the_first_by_name() {
        let mut run = Run::new(&["alpha"], &["weekly"], 1);
        let mut record = full(trial("alpha", "weekly", 1));
        record.metrics = (0..1000)
            .rev()
            .map(|n| (format!("=m{n:04}"), 1.0))
            .collect();
        run.add(record);
        let header = &table(Format::Csv, &run)[0];
        assert_eq!(header.len(), COLUMNS.len() + MAX_METRICS);
        assert_eq!(header[COLUMNS.len()], "metric.=m0000");
        assert_eq!(header.last().unwrap(), "metric.=m0063");
    }
}
