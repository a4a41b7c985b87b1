//! `junit.xml`: a suite an objective, a case a trial, for CI systems.
//!
//! Promises: what the candidate is to blame for is a failure, what its surroundings are to blame for is
//! an error, what was never finished because the run was stopped is skipped. The document is made in
//! memory, from a few short texts a trial.

use std::io::{self, Write};
use std::time::Duration;

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use super::{Outcome, Report};
use crate::event::ErrorClass;
use crate::summary::TrialRow;

pub(super) fn write(report: &Report<'_>, to: &mut dyn Write) -> io::Result<()> {
    let mut document = quick_junit::Report::new("forge");
    if let Some(took) = report.summary.took {
        document.set_time(took);
    }
    let by_objective = |a: &TrialRow, b: &TrialRow| a.trial.objective == b.trial.objective;
    for rows in report.summary.trials.chunk_by(by_objective) {
        let mut suite = TestSuite::new(rows[0].trial.objective.as_str());
        for row in rows {
            suite.add_test_case(case(row, report));
        }
        document.add_test_suite(suite);
    }
    document.serialize(to).map_err(io::Error::other)
}

fn case(row: &TrialRow, report: &Report<'_>) -> TestCase {
    let name = format!("{}#{}", row.trial.candidate, row.trial.repeat);
    let mut case = TestCase::new(name, status(row));
    case.set_classname(row.trial.objective.as_str());
    if let Some(seconds) = row.runtime_seconds {
        case.set_time(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    }
    let score = report
        .details
        .record(&row.trial)
        .and_then(|record| record.score);
    if let Some(score) = score {
        case.set_system_out(text(&score.explanation));
    }
    case
}

fn status(row: &TrialRow) -> TestCaseStatus {
    let outcome = Outcome::of(row);
    let (mut status, why) = match outcome {
        Outcome::Passed => return TestCaseStatus::success(),
        Outcome::Lost(Some(ErrorClass::Cancelled | ErrorClass::NotRun), why) => {
            (TestCaseStatus::skipped(), why)
        }
        Outcome::Lost(_, why) | Outcome::Failed(Some(ErrorClass::Setup), why) => {
            (TestCaseStatus::non_success(NonSuccessKind::Error), why)
        }
        Outcome::Failed(_, why) => (TestCaseStatus::non_success(NonSuccessKind::Failure), why),
    };
    status.set_message(text(why)).set_type(outcome.as_str());
    if let (Outcome::Failed(..), Some(error)) = (outcome, &row.error_message) {
        status.set_description(text(error));
    }
    status
}

/// A short text that XML can carry: two characters that are fine for a terminal are not for XML.
fn text(hostile: &str) -> String {
    crate::plain::short(hostile, 300).replace(['\u{fffe}', '\u{ffff}'], "")
}
