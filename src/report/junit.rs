//! `junit.xml`: a suite a candidate, a case an objective, its repeats as reruns; for CI systems.
//!
//! Promises: what the candidate is to blame for is a failure, what its surroundings are to blame for is
//! an error, what was never finished because the run was stopped, or not needed, is skipped; an objective that one
//! repeat passed is passed, and flaky where another failed. Names are the same from run to run: what a candidate
//! was has no suite, and is in that of the verdicts. The document is made in memory, from a few short texts a trial.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::time::Duration;

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestRerun, TestSuite};

use super::view::{figure, folder, matters, score_in_words};
use super::{Outcome, Report};
use crate::event::{ErrorClass, TrialRecord};
use crate::name::CandidateName;
use crate::plain::{LastWords, ends, last};
use crate::rule::{Question, VerdictState};
use crate::summary::{TrialRow, TrialRows};
use crate::verdict::Verdict;

/// So many metrics of an objective are properties of a candidate's suite.
const MAX_METRICS: usize = 64;
/// So many repeats of an objective are told one by one.
const MAX_REPEATS: usize = 50;
/// The suite of the verdicts. No candidate's is called so: it has another class of tests.
const VERDICTS: &str = "verdicts";

pub(super) fn write(report: &Report<'_>, to: &mut dyn Write) -> io::Result<()> {
    let mut document = quick_junit::Report::new("forge");
    let mut took = Duration::ZERO;
    let planned = report.summary.plan.iter().flat_map(|plan| &plan.candidates);
    let today = planned.filter(|it| it.name.version().is_none());
    let suites = today.map(|it| suite(&it.name, report));
    for mut suite in suites.chain(verdicts(report)) {
        let times = suite.test_cases.iter().filter_map(|case| case.time);
        let time: Duration = times.sum();
        suite.set_time(time);
        took += time;
        document.add_test_suite(suite);
    }
    document.set_time(took);
    let text = document.to_string().map_err(io::Error::other)?;
    to.write_all(valid(text).as_bytes())
}

fn suite(candidate: &CandidateName, report: &Report<'_>) -> TestSuite {
    let mut suite = TestSuite::new(candidate.as_str());
    for objective in &report.standings.objectives {
        let name = &objective.objective;
        if let Some(why) = &objective.ungraded {
            suite.add_property((format!("ungraded.{name}").as_str(), text(why).as_str()));
        }
        let own = objective.standings.iter();
        for standing in own.filter(|it| it.candidate == *candidate) {
            for (metric, value) in standing.metrics.iter().take(MAX_METRICS) {
                let name = text(&format!("metric.{name}.{metric}"));
                suite.add_property((name.as_str(), figure(*value).as_str()));
            }
        }
    }
    for rows in report.summary.trials.rows().cells() {
        if let Some(first) = rows.first().filter(|it| it.candidate() == candidate) {
            suite.add_test_case(case(first, rows, report));
        }
    }
    suite
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

/// What a repeat comes to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Result {
    Passed,
    Failed,
    Error,
    Skipped,
}

fn result(outcome: Outcome<'_>) -> Result {
    match outcome {
        Outcome::Passed => Result::Passed,
        Outcome::Failed(..) => Result::Failed,
        Outcome::Spared(_) | Outcome::Lost(Some(ErrorClass::Cancelled | ErrorClass::NotRun), _) => {
            Result::Skipped
        }
        Outcome::Lost(..) | Outcome::Ungraded(_) => Result::Error,
    }
}

/// All repeats of an objective.
fn case(first_row: TrialRow<'_>, rows: TrialRows<'_>, report: &Report<'_>) -> TestCase {
    let results: Vec<Result> = rows
        .iter()
        .map(|row| result(Outcome::of(row, report.standings)))
        .collect();
    let of = |wanted: Result| {
        let rows = rows.iter().zip(&results);
        rows.filter(move |(_, result)| **result == wanted)
            .map(|(row, _)| row)
    };
    let repeats = rows.len();
    let blamed = of(Result::Failed)
        .next()
        .or_else(|| of(Result::Error).next());
    let mut status = match (of(Result::Passed).next(), blamed) {
        (Some(_), _) => TestCaseStatus::success(),
        (None, Some(row)) => {
            let mut status = TestCaseStatus::non_success(kind(row, report));
            let blame = Blame::of(row, repeats, report);
            status.set_message(blame.message).set_type(blame.class);
            if let Some(error) = blame.error {
                status.set_description(error);
            }
            status
        }
        (None, None) => {
            let mut status = TestCaseStatus::skipped();
            let blame = Blame::of(first_row, 1, report);
            status.set_message(blame.message).set_type(blame.class);
            status
        }
    };
    let passed = of(Result::Passed).next().is_some();
    let first = blamed.filter(|_| !passed).map(TrialRow::repeat);
    let again = rows.iter().zip(&results).filter(|(row, result)| {
        matches!(result, Result::Failed | Result::Error) && Some(row.repeat()) != first
    });
    for (row, _) in again.take(MAX_REPEATS) {
        status.add_rerun(rerun(row, repeats, report));
    }
    let mut case = TestCase::new(first_row.objective().as_str(), status);
    case.set_classname(first_row.candidate().as_str());
    let seconds: f64 = rows.iter().filter_map(TrialRow::runtime_seconds).sum();
    case.set_time(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    let mut words = Vec::new();
    for row in rows.iter().take(MAX_REPEATS) {
        words.extend(in_words(row, repeats, report));
    }
    if repeats > MAX_REPEATS {
        words.push(format!("… {} more in trials.csv", repeats - MAX_REPEATS));
    }
    if !words.is_empty() {
        case.set_system_out(words.join("\n"));
    }
    let told = blamed.filter(|_| !passed).unwrap_or(first_row);
    let is_told_elsewhere = passed && result(Outcome::of(told, report.standings)) != Result::Passed;
    let record = report.details.record(&told.trial());
    if let Some(said) = record.and_then(|record| said(told, &record))
        && !is_told_elsewhere
    {
        case.set_system_err(said);
    }
    case
}

/// What a repeat was worth, in a line.
fn in_words(row: TrialRow<'_>, repeats: usize, report: &Report<'_>) -> Option<String> {
    let record = report.details.record(&row.trial());
    let score = record.as_ref().and_then(|record| record.score.as_ref());
    let words = match (score, repeats) {
        (Some(score), _) => score_in_words(report, row, &score.explanation),
        (None, 1) => return None,
        (None, _) => {
            let outcome = Outcome::of(row, report.standings);
            format!("{}: {}", outcome.as_str(), outcome.why())
        }
    };
    Some(numbered(row, repeats, &words))
}

fn numbered(row: TrialRow<'_>, repeats: usize, words: &str) -> String {
    if repeats == 1 {
        text(words)
    } else {
        text(&format!("trial {}: {words}", row.repeat()))
    }
}

/// Whom a repeat is blamed on.
fn kind(row: TrialRow<'_>, report: &Report<'_>) -> NonSuccessKind {
    match result(Outcome::of(row, report.standings)) {
        Result::Failed => NonSuccessKind::Failure,
        Result::Error | Result::Passed | Result::Skipped => NonSuccessKind::Error,
    }
}

/// Why a repeat did not pass.
struct Blame {
    message: String,
    class: &'static str,
    error: Option<String>,
}

impl Blame {
    fn of(row: TrialRow<'_>, repeats: usize, report: &Report<'_>) -> Self {
        let outcome = Outcome::of(row, report.standings);
        let error = row.error_message();
        Self {
            message: numbered(row, repeats, outcome.why()),
            class: outcome.as_str(),
            error: error
                .filter(|_| matches!(outcome, Outcome::Failed(..)))
                .map(text),
        }
    }
}

/// A further repeat that failed: the schema has no time for it.
fn rerun(row: TrialRow<'_>, repeats: usize, report: &Report<'_>) -> TestRerun {
    let mut rerun = TestRerun::new(kind(row, report));
    let blame = Blame::of(row, repeats, report);
    rerun.set_message(blame.message).set_type(blame.class);
    if let Some(error) = blame.error {
        rerun.set_description(error);
    }
    let record = report.details.record(&row.trial());
    if let Some(said) = record.and_then(|record| said(row, &record)) {
        rerun.set_system_err(said);
    }
    rerun
}

/// A case a comparison and measure that can fail the run; none without comparisons.
fn verdicts(report: &Report<'_>) -> Option<TestSuite> {
    let rule = &report.summary.plan.as_ref()?.rule;
    let mut suite = TestSuite::new(VERDICTS);
    let mut names = BTreeSet::new();
    let asked = |it: &&Verdict| it.gates || it.question == Question::World;
    for verdict in report.verdicts.iter().filter(asked) {
        let question = match verdict.question {
            Question::Control => "control",
            Question::Baseline => "baseline",
            Question::World => "world",
        };
        // What it is compared with is called otherwise every day.
        let mut name = text(&format!("{} {}", verdict.candidate, verdict.measure));
        if !names.insert((question, name.clone())) {
            name = format!("{name} against {}", verdict.against);
        }
        let fails = verdict.state == VerdictState::Regression
            || (matters(verdict) && rule.fail_on.contains(&verdict.state));
        let kind = match (verdict.state, fails) {
            (VerdictState::Invalid, _) => Some(NonSuccessKind::Error),
            (_, true) => Some(NonSuccessKind::Failure),
            (_, false) => None,
        };
        let status = kind.map_or_else(TestCaseStatus::success, |kind| {
            let mut status = TestCaseStatus::non_success(kind);
            status
                .set_message(text(&verdict.explanation))
                .set_type(verdict.state.as_str());
            status
        });
        let mut case = TestCase::new(name, status);
        case.set_classname(format!("{VERDICTS}.{question}"));
        case.set_time(Duration::ZERO);
        case.set_system_out(text(&verdict.line()));
        suite.add_test_case(case);
    }
    (!suite.test_cases.is_empty()).then_some(suite)
}

/// The last words of a trial: the candidate's, and its graders'.
fn said(row: TrialRow<'_>, record: &TrialRecord) -> Option<String> {
    let graders = record.score.iter().flat_map(|score| &score.scorers);
    let graders = graders.filter_map(|it| Some((it.scorer.as_str(), it.said.as_ref()?)));
    let said = record
        .said
        .iter()
        .map(|said| (row.candidate().as_str(), said));
    let said: Vec<String> = said
        .chain(graders)
        .map(|(who, said)| quoted(row, who, said))
        .collect();
    (!said.is_empty()).then(|| said.join("\n"))
}

/// The last that somebody said. No line begins with words that are not forge's own: CI systems show this.
fn quoted(row: TrialRow<'_>, who: &str, said: &LastWords) -> String {
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
    use crate::rule::{How, Question};

    #[test]
    fn blame_decides_between_failure_error_and_skipped() {
        let mut run = Run::new(&["alpha"], &["a", "b", "c", "d", "e", "f"], 1);
        let id = |objective| trial("alpha", objective, 1);
        let end = |objective, end| TrialRecord {
            end,
            ..failed(id(objective), "it says <no> & \"so\"")
        };
        run.add(passed(id("a"), 80.0));
        run.add(end("b", TrialEnd::Exited { code: 3 }));
        let message = "npm failed".to_owned();
        run.add(end("c", TrialEnd::SetupFailed { message }));
        run.add(lost(id("d")));
        run.add(TrialRecord::not_run(id("e"), "stopped"));
        // The sixth has no record at all.
        let expected = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="forge" tests="6" failures="2" errors="1" time="0.375">
    <testsuite name="alpha" tests="6" skipped="2" errors="1" failures="2" time="0.375">
        <testcase name="a" classname="alpha" time="0.125">
            <system-out>86.0 = 20.0% of success 100.0 + 60.0% of quality 80.0 + 20.0% of speed 90.0</system-out>
        </testcase>
        <testcase name="b" classname="alpha" time="0.125">
            <failure message="min_bytes 11: it says &lt;no&gt; &amp; &quot;so&quot;" type="candidate">exited with code 3</failure>
            <system-out>disqualified by min_bytes 11: it says &lt;no&gt; &amp; &quot;so&quot;</system-out>
        </testcase>
        <testcase name="c" classname="alpha" time="0.125">
            <failure message="min_bytes 11: it says &lt;no&gt; &amp; &quot;so&quot;" type="setup">npm failed</failure>
            <system-out>disqualified by min_bytes 11: it says &lt;no&gt; &amp; &quot;so&quot;</system-out>
        </testcase>
        <testcase name="d" classname="alpha" time="0.000">
            <error message="while creating: the server answered 500" type="infrastructure"/>
        </testcase>
        <testcase name="e" classname="alpha" time="0.000">
            <skipped message="stopped" type="not_run"/>
        </testcase>
        <testcase name="f" classname="alpha" time="0.000">
            <skipped message="no result was recorded" type="not_run"/>
        </testcase>
    </testsuite>
</testsuites>
"#;
        assert_eq!(run.written(Format::Junit), expected);
    }

    #[test]
    fn repeats_are_reruns_and_what_some_passed_is_flaky() {
        let mut run = Run::new(&["alpha"], &["flaky", "bad", "gone", "mixed", "spared"], 3);
        let id = |objective, repeat| trial("alpha", objective, repeat);
        run.add(failed(id("flaky", 1), "no"));
        run.add(passed(id("flaky", 2), 80.0));
        run.add(lost(id("flaky", 3)));
        for repeat in 1..=2 {
            run.add(failed(id("bad", repeat), "no"));
            run.add(lost(id("gone", repeat)));
        }
        run.add(spared(id("bad", 3), "hopeless"));
        run.add(lost(id("mixed", 1)));
        run.add(failed(id("mixed", 2), "no"));
        for repeat in 1..=3 {
            run.add(spared(id("spared", repeat), "hopeless"));
        }
        let text = run.written(Format::Junit);
        let case = |name: &str| {
            let begin = text.find(&format!("<testcase name=\"{name}\"")).unwrap();
            let case = &text[begin..];
            let case = &case[..case.find("</testcase>").unwrap()];
            let lines = case.lines().skip(1).map(str::trim);
            let tags = lines.filter(|line| line.starts_with('<') && !line.starts_with("</"));
            let tags: Vec<String> = tags
                .map(|line| line.split("\" type=").next().unwrap().to_owned())
                .collect();
            tags[..tags.len() - 1].to_vec()
        };
        let no = "min_bytes 11: no";
        let away = "while creating: the server answered 500";
        assert_eq!(
            case("flaky"),
            [
                format!("<flakyFailure message=\"trial 1: {no}"),
                format!("<flakyError message=\"trial 3: {away}"),
            ]
        );
        assert_eq!(
            case("bad"),
            [
                format!("<failure message=\"trial 1: {no}"),
                format!("<rerunFailure message=\"trial 2: {no}"),
            ]
        );
        assert_eq!(
            case("gone"),
            [
                format!("<error message=\"trial 1: {away}"),
                format!("<rerunError message=\"trial 2: {away}"),
            ]
        );
        assert_eq!(
            case("mixed"),
            [
                format!("<failure message=\"trial 2: {no}"),
                format!("<rerunError message=\"trial 1: {away}"),
            ]
        );
        assert_eq!(case("spared"), ["<skipped message=\"hopeless"]);
        assert!(
            text.contains("tests=\"5\" skipped=\"1\" errors=\"1\" failures=\"2\" time=\"0.625\""),
            "{text}"
        );
    }

    #[test]
    fn every_comparison_is_a_case_of_the_suite_of_verdicts() {
        let mut run = regressed();
        run.compare(Question::Control, "beta", "alpha");
        run.compared(Question::Baseline, "alpha", "alpha@4f1c9e2", How::Unchanged);
        let text = run.written(Format::Junit);
        let suite = &text[text.find("<testsuite name=\"verdicts\"").unwrap()..];
        assert!(
            suite.starts_with(
                "<testsuite name=\"verdicts\" tests=\"3\" skipped=\"0\" errors=\"0\" failures=\"1\""
            ),
            "{suite}"
        );
        for part in [
            "<testcase name=\"gamma score\" classname=\"verdicts.baseline\" time=\"0.000\">\n            <failure message=\"gamma lost ",
            "\" type=\"regression\"/>\n            <system-out>REGRESSION  gamma lost ",
            "<testcase name=\"beta score\" classname=\"verdicts.control\" time=\"0.000\">\n            <system-out>",
            "<testcase name=\"alpha score\" classname=\"verdicts.baseline\" time=\"0.000\">\n            <system-out>UNCHANGED  alpha ",
        ] {
            assert!(suite.contains(part), "{part}\n{suite}");
        }
        // What a candidate was has no suite, or it would be another one every day.
        assert!(!text.contains("name=\"gamma@"), "{text}");
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
                &[
                    "skipped",
                    "error",
                    "failure",
                    "rerunFailure",
                    "rerunError",
                    "flakyFailure",
                    "flakyError",
                    "system-out",
                    "system-err",
                ],
            ),
            "failure" | "error" | "skipped" => (&["type", "message"], 0, &[]),
            // A sequence: each at most once, in this order.
            "rerunFailure" | "rerunError" | "flakyFailure" | "flakyError" => (
                &["type", "message"],
                1,
                &["stackTrace", "system-out", "system-err"],
            ),
            "properties" => (&[], 0, &["property"]),
            "property" => (&["name", "value"], 2, &[]),
            "stackTrace" | "system-out" | "system-err" => (&[], 0, &[]),
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
        let tag =
            regex::Regex::new(r#"<(/?)([A-Za-z-]+)((?:\s+[\w-]+="[^"]*")*)\s*(/?)>"#).unwrap();
        let attribute = regex::Regex::new(r#"([\w-]+)="([^"]*)""#).unwrap();
        let time = regex::Regex::new(r"^(([0-9]{0,3},)*[0-9]{3}|[0-9]{0,3})*(\.[0-9]*)?$").unwrap();
        let mut flaky = regressed();
        for repeat in 1..=2 {
            let mut record = full(trial("gamma", "code", repeat));
            record.end = TrialEnd::Exited { code: 3 };
            record.score = failed(trial("gamma", "code", repeat), "no").score;
            record.runtime_s = Some(123_456.7);
            flaky.add(record);
        }
        for run in [run, blamed, flaky] {
            let text = run.written(Format::Junit);
            let mut open: Vec<String> = Vec::new();
            let mut children: Vec<Vec<String>> = vec![Vec::new()];
            for found in tag.captures_iter(&text) {
                let (closes, name) = (&found[1] == "/", &found[2]);
                if closes {
                    assert_eq!(open.pop().as_deref(), Some(name));
                    children.pop();
                    continue;
                }
                let before = children.last_mut().unwrap();
                if let Some(parent) = open.last()
                    && (parent.starts_with("rerun") || parent.starts_with("flaky"))
                {
                    let order = rules(parent).2;
                    let at = |it: &str| order.iter().position(|known| *known == it);
                    assert!(before.iter().all(|it| at(it) < at(name)), "{text}");
                }
                before.push(name.to_owned());
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
                        assert!(time.is_match(&pair[2]), "{}", &pair[2]);
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
                    children.push(Vec::new());
                }
            }
            assert_eq!(open, [""; 0]);
        }
    }
}
