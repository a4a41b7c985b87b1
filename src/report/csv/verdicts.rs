//! `verdicts.csv`: one row a verdict, for spreadsheets.
//!
//! Promises: the columns are always the same, and there without any verdict; numbers are plain, and empty where
//! there is none; a text can never be taken for a formula.

use std::io::{self, Write};

use super::{number, text};
use crate::report::Report;
use crate::rule::{Question, Unit};
use crate::verdict::Verdict;

const COLUMNS: [&str; 23] = [
    "question",
    "candidate",
    "against",
    "measure",
    "gates",
    "state",
    "effect",
    "unit",
    "interval_low",
    "interval_high",
    "threshold",
    "p_worse",
    "p_better",
    "p_worse_adjusted",
    "p_better_adjusted",
    "p_general",
    "candidate_trials",
    "against_trials",
    "sees",
    "more_repeats",
    "objectives_needed",
    "early",
    "explanation",
];

pub(in crate::report) fn write(report: &Report<'_>, to: &mut dyn Write) -> io::Result<()> {
    let mut table = csv::Writer::from_writer(to);
    table.write_record(COLUMNS)?;
    for verdict in report.verdicts {
        table.write_record(cells(verdict))?;
    }
    table.flush()
}

fn cells(verdict: &Verdict) -> [String; COLUMNS.len()] {
    let question = match verdict.question {
        Question::Control => "control",
        Question::Baseline => "baseline",
        Question::World => "world",
    };
    let unit = match verdict.unit {
        Unit::Points => "points",
        Unit::Percent => "percent",
    };
    let settled = verdict.settled_by;
    [
        question.to_owned(),
        text(verdict.candidate.as_str()),
        text(verdict.against.as_str()),
        text(verdict.measure.as_str()),
        verdict.gates.to_string(),
        verdict.state.as_str().to_owned(),
        number(verdict.effect),
        unit.to_owned(),
        number(verdict.interval.map(|it| it[0])),
        number(verdict.interval.map(|it| it[1])),
        verdict.threshold.to_string(),
        number(verdict.p_worse),
        number(verdict.p_better),
        number(verdict.p_worse_adjusted),
        number(verdict.p_better_adjusted),
        number(verdict.p_general),
        verdict.trials.candidate.to_string(),
        verdict.trials.against.to_string(),
        number(verdict.sees),
        number(settled.and_then(|it| it.repeats)),
        number(settled.and_then(|it| it.objectives)),
        verdict.early.to_string(),
        text(&verdict.explanation),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::super::Format;
    use super::super::super::sample::*;
    use super::super::tests::table;
    use super::*;

    #[test]
    fn every_verdict_has_a_row_of_plain_numbers() {
        let table = table(Format::Verdicts, &regressed());
        assert_eq!(table[0], COLUMNS);
        assert_eq!(
            table[1][..6],
            [
                "baseline",
                "gamma",
                "gamma@4f1c9e2",
                "score",
                "true",
                "regression"
            ]
        );
        let of = |name: &str| {
            let at = COLUMNS.iter().position(|it| *it == name).unwrap();
            table[1][at].as_str()
        };
        let effect: f64 = of("effect").parse().unwrap();
        assert!(effect < -5.0, "{effect}");
        assert_eq!((of("unit"), of("threshold")), ("points", "5"));
        assert_eq!((of("candidate_trials"), of("against_trials")), ("12", "12"));
        assert!(of("explanation").starts_with("gamma lost "), "{table:?}");
        let measures: Vec<&str> = table[1..].iter().map(|row| &*row[3]).collect();
        assert_eq!(measures, ["score", "passed", "quality", "seconds"]);
    }

    #[test]
    fn without_verdicts_there_is_the_header() {
        assert_eq!(
            table(Format::Verdicts, &Run::new(&["a"], &["o"], 1)),
            [COLUMNS]
        );
    }

    #[test]
    fn the_name_of_a_metric_is_no_formula() {
        let mut run = regressed();
        for record in run.records.values_mut() {
            record.metrics = [("=cmd".to_owned(), 1.0)].into();
        }
        let rows = table(Format::Verdicts, &run);
        let own = rows.iter().find(|row| row[3].contains("cmd")).unwrap();
        assert_eq!(own[3], "'=cmd");
    }
}
