//! `junit.xml`: a suite an objective, a case a trial, for CI systems.
//!
//! Promises: what the candidate is to blame for is a failure, what its surroundings are to blame for is
//! an error, what was never finished because the run was stopped is skipped. The document is made in
//! memory, from a few short texts a trial.

use std::io::{self, Write};
use std::time::Duration;

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use super::view::{figure, folder, score_in_words};
use super::{Outcome, Report};
use crate::event::ErrorClass;
use crate::plain::{LastWords, ends, last};
use crate::standings::Standings;
use crate::summary::TrialRow;

/// So many metrics of a candidate are properties of an objective's suite.
const MAX_METRICS: usize = 64;

pub(super) fn write(report: &Report<'_>, to: &mut dyn Write) -> io::Result<()> {
    let mut document = quick_junit::Report::new("forge");
    if let Some(took) = report.summary.took {
        document.set_time(took);
    }
    let by_objective = |a: &TrialRow, b: &TrialRow| a.trial.objective == b.trial.objective;
    for rows in report.summary.trials.chunk_by(by_objective) {
        let objective = &rows[0].trial.objective;
        let mut suite = TestSuite::new(objective.as_str());
        if let Some(why) = report.standings.ungraded(objective) {
            suite.add_property(("ungraded", text(why).as_str()));
        }
        let objectives = report.standings.objectives.iter();
        let of = objectives.filter(|it| it.objective == *objective);
        for standing in of.flat_map(|it| &it.standings) {
            for (name, value) in standing.metrics.iter().take(MAX_METRICS) {
                let name = text(&format!("metric.{}.{name}", standing.candidate));
                suite.add_property((name.as_str(), figure(*value).as_str()));
            }
        }
        for row in rows {
            suite.add_test_case(case(row, report));
        }
        document.add_test_suite(suite);
    }
    let text = document.to_string().map_err(io::Error::other)?;
    to.write_all(valid(text).as_bytes())
}

/// Jenkins' schema (`junit-10.xsd` of its xunit plugin) has `skipped` on a suite, but not on all of them.
fn valid(mut text: String) -> String {
    if let Some(begin) = text.find("<testsuites ")
        && let Some(length) = text[begin..].find('>')
        && let Some(at) = text[begin..begin + length].find(" skipped=\"")
    {
        let value = begin + at + " skipped=\"".len();
        if let Some(end) = text[value..].find('"') {
            text.replace_range(begin + at..=value + end, "");
        }
    }
    text
}

fn case(row: &TrialRow, report: &Report<'_>) -> TestCase {
    let name = format!("{}#{}", row.trial.candidate, row.trial.repeat);
    let mut case = TestCase::new(name, status(row, report.standings));
    case.set_classname(row.trial.objective.as_str());
    if let Some(seconds) = row.runtime_seconds {
        case.set_time(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    }
    let Some(record) = report.details.record(&row.trial) else {
        return case;
    };
    if let Some(score) = &record.score {
        case.set_system_out(text(&score_in_words(report, row, &score.explanation)));
    }
    let graders = record.score.iter().flat_map(|score| &score.scorers);
    let graders = graders.filter_map(|it| Some((it.scorer.as_str(), it.said.as_ref()?)));
    let said = record
        .said
        .iter()
        .map(|said| (row.trial.candidate.as_str(), said));
    let said: Vec<String> = said
        .chain(graders)
        .map(|(who, said)| quoted(row, who, said))
        .collect();
    if !said.is_empty() {
        case.set_system_err(said.join("\n"));
    }
    case
}

fn status(row: &TrialRow, standings: &Standings) -> TestCaseStatus {
    let outcome = Outcome::of(row, standings);
    let (mut status, why) = match outcome {
        Outcome::Passed => return TestCaseStatus::success(),
        Outcome::Lost(Some(ErrorClass::Cancelled | ErrorClass::NotRun), why) => {
            (TestCaseStatus::skipped(), why)
        }
        Outcome::Lost(_, why)
        | Outcome::Ungraded(why)
        | Outcome::Failed(Some(ErrorClass::Setup), why) => {
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

/// The last that somebody said. No line begins with words that are not forge's own: CI systems show this.
fn quoted(row: &TrialRow, who: &str, said: &LastWords) -> String {
    if said.lines.is_empty() {
        return format!("{} printed nothing", text(who));
    }
    let log = text(&format!("{}/{}", folder(row), said.log));
    let first = format!("{} said last, all of it is in {log}:", text(who));
    let lines = said
        .lines
        .iter()
        .take(20)
        .map(|line| format!("| {}", xml(&last(line, 500))));
    let hint = said.hint.iter().map(|hint| format!("hint: {}", text(hint)));
    let all: Vec<String> = std::iter::once(first).chain(lines).chain(hint).collect();
    all.join("\n")
}

/// A short text that XML can carry: two characters that are fine for a terminal are not for XML.
fn text(hostile: &str) -> String {
    xml(&ends(hostile, 300))
}

fn xml(text: &str) -> String {
    text.replace(['\u{fffe}', '\u{ffff}'], "")
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::sample::*;
    use crate::event::{TrialEnd, TrialRecord};

    #[test]
    fn blame_decides_between_failure_error_and_skipped() {
        let mut run = Run::new(&["alpha"], &["weekly"], 6);
        let id = |repeat| trial("alpha", "weekly", repeat);
        let end = |repeat, end| TrialRecord {
            end,
            ..failed(id(repeat), "it says <no> & \"so\"")
        };
        run.add(passed(id(1), 80.0));
        run.add(end(2, TrialEnd::Exited { code: 3 }));
        let message = "npm failed".to_owned();
        run.add(end(3, TrialEnd::SetupFailed { message }));
        run.add(lost(id(4)));
        run.add(TrialRecord::not_run(id(5), "stopped"));
        // The sixth has no record at all.
        let expected = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="forge" tests="6" failures="1" errors="2" time="1.500">
    <testsuite name="weekly" tests="6" skipped="2" errors="2" failures="1">
        <testcase name="alpha#1" classname="weekly" time="0.125">
            <system-out>86.0 = 20.0% of success 100.0 + 60.0% of quality 80.0 + 20.0% of speed 90.0</system-out>
        </testcase>
        <testcase name="alpha#2" classname="weekly" time="0.125">
            <failure message="min_bytes 11: it says &lt;no&gt; &amp; &quot;so&quot;" type="candidate">exited with code 3</failure>
            <system-out>disqualified by min_bytes 11: it says &lt;no&gt; &amp; &quot;so&quot;</system-out>
        </testcase>
        <testcase name="alpha#3" classname="weekly" time="0.125">
            <error message="min_bytes 11: it says &lt;no&gt; &amp; &quot;so&quot;" type="setup">npm failed</error>
            <system-out>disqualified by min_bytes 11: it says &lt;no&gt; &amp; &quot;so&quot;</system-out>
        </testcase>
        <testcase name="alpha#4" classname="weekly">
            <error message="while creating: the server answered 500" type="infrastructure"/>
        </testcase>
        <testcase name="alpha#5" classname="weekly">
            <skipped message="stopped" type="not_run"/>
        </testcase>
        <testcase name="alpha#6" classname="weekly">
            <skipped message="no result was recorded" type="not_run"/>
        </testcase>
    </testsuite>
</testsuites>
"#;
        assert_eq!(run.written(Format::Junit), expected);
    }

    #[test]
    fn what_xml_cannot_carry_is_left_out() {
        let mut run = Run::new(&["alpha"], &["weekly"], 1);
        let hostile = "a\u{0}\u{b}\u{fffe}\u{ffff}]]></failure><x/>\u{1b}[31mb";
        run.add(failed(trial("alpha", "weekly", 1), hostile));
        let text = run.written(Format::Junit);
        assert!(
            text.contains("a]]&gt;&lt;/failure&gt;&lt;x/&gt;b"),
            "{text}"
        );
        assert!(!text.contains(['\u{0}', '\u{b}', '\u{fffe}', '\u{ffff}']));
        let document = quick_junit::Report::deserialize_from_str(&text).unwrap();
        assert_eq!(document.failures, 1);
    }

    /// What Jenkins' schema has of an element: its attributes, those it must have first, and what may be in it.
    fn rules(element: &str) -> (&'static [&'static str], usize, &'static [&'static str]) {
        match element {
            "testsuites" => (
                &["name", "time", "tests", "failures", "errors"],
                0,
                &["testsuite"],
            ),
            "testsuite" => (
                &[
                    "name",
                    "tests",
                    "failures",
                    "errors",
                    "group",
                    "time",
                    "skipped",
                    "timestamp",
                    "hostname",
                    "id",
                    "package",
                    "file",
                    "log",
                    "url",
                ],
                4,
                &[
                    "testsuite",
                    "properties",
                    "testcase",
                    "system-out",
                    "system-err",
                ],
            ),
            "testcase" => (
                &["name", "time", "classname", "group"],
                1,
                &["skipped", "error", "failure", "system-out", "system-err"],
            ),
            "failure" | "error" | "skipped" => (&["type", "message"], 0, &[]),
            "properties" => (&[], 0, &["property"]),
            "property" => (&["name", "value"], 2, &[]),
            "system-out" | "system-err" => (&[], 0, &[]),
            unknown => panic!("{unknown} is not in the schema"),
        }
    }

    #[test]
    fn every_document_is_valid_by_the_schema_of_jenkins() {
        let mut run = super::super::tests::hostile_run();
        run.plan.candidates.truncate(3);
        let id = |repeat| trial("alpha", "weekly", repeat);
        let mut blamed = Run::new(&["alpha"], &["weekly", "daily"], 4);
        blamed.add(full(id(1)));
        blamed.add(failed(id(2), "no"));
        blamed.add(lost(id(3)));
        let tag = regex::Regex::new(r#"<(/?)([a-z-]+)((?:\s+[\w-]+="[^"]*")*)\s*(/?)>"#).unwrap();
        let attribute = regex::Regex::new(r#"([\w-]+)="([^"]*)""#).unwrap();
        for run in [run, blamed] {
            let text = run.written(Format::Junit);
            let mut open: Vec<String> = Vec::new();
            for found in tag.captures_iter(&text) {
                let (closes, name) = (&found[1] == "/", &found[2]);
                if closes {
                    assert_eq!(open.pop().as_deref(), Some(name));
                    continue;
                }
                match open.last() {
                    Some(parent) => assert!(rules(parent).2.contains(&name), "{name} in {parent}"),
                    None => assert_eq!(name, "testsuites"),
                }
                let (allowed, needed, _) = rules(name);
                let mut given = Vec::new();
                for pair in attribute.captures_iter(&found[3]) {
                    assert!(
                        allowed.contains(&&pair[1]),
                        "{} of {name}: {text}",
                        &pair[1]
                    );
                    if &pair[1] == "time" {
                        let seconds: f64 = pair[2].parse().unwrap();
                        assert!(seconds >= 0.0 && !pair[2].contains(['e', '-', '+']));
                    }
                    given.push(pair[1].to_owned());
                }
                for must in &allowed[..needed] {
                    assert!(
                        given.iter().any(|it| it == must),
                        "{must} of {name}: {text}"
                    );
                }
                if &found[4] != "/" {
                    open.push(name.to_owned());
                }
            }
            assert_eq!(open, [""; 0]);
        }
    }
}
