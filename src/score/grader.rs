//! What a grader says: its exit code and output, read as a verdict.
//!
//! Promises: only what was said counts: a grader that fails, or whose verdict cannot be read, has said
//! nothing, and gives no points. Everything that a grader prints may quote a candidate, so it is shown
//! short and harmless.

use std::sync::LazyLock;

use regex::Regex;

use super::printed::{self, Members, PASS, SCORE};
use super::{Points, Went};
use crate::plain;

/// The most characters that are shown of what a grader said.
const SHOWN: usize = 300;
/// From here on, exit codes are the shell's: not found, not executable, ended by a signal.
const SHELL: i32 = 126;

/// How a grader's process ended, as far as its verdict depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GraderEnd {
    /// It exited with this code.
    Exited(i32),
    /// It did not come to an end of its own, for this reason.
    Failed(String),
}

/// What a grader printed, up to a limit.
#[derive(Debug, Clone, Default)]
pub struct GraderOutput {
    /// Of its standard output.
    pub stdout: Vec<u8>,
    /// Of its standard error.
    pub stderr: Vec<u8>,
    /// Whether there was more on standard output.
    pub stdout_is_cut: bool,
    /// Whether there was more on standard error.
    pub stderr_is_cut: bool,
}

/// What a grader said.
#[derive(Debug, Clone, PartialEq)]
pub struct GraderVerdict {
    /// The points.
    pub points: Points,
    /// Why, in its words or in forge's.
    pub explanation: String,
    /// How it came about.
    pub went: Went,
}

impl GraderVerdict {
    fn new(points: Points, explanation: impl Into<String>) -> Self {
        Self {
            points,
            explanation: explanation.into(),
            went: Went::Well,
        }
    }

    /// What the exit code alone says.
    fn silent(points: Points, explanation: impl Into<String>) -> Self {
        Self {
            went: Went::Silent,
            ..Self::new(points, explanation)
        }
    }
}

/// Reads a grader's verdict; `scale` is the score that is full marks, unless its verdict says. Pure.
///
/// The last JSON object on standard output with a `score` or a `pass` is the verdict: `{"score": 87}`,
/// `{"score": 7, "max_score": 10}` or `{"pass": true}`, with an optional `explanation`. Without one, exit
/// code 0 is 100 points and 1 is 0 points.
///
/// # Errors
/// Why the grader failed: it crashed or was ended, or what looks like its verdict cannot be read. Then it
/// says nothing about the candidate.
pub fn grader_verdict(
    end: &GraderEnd,
    output: &GraderOutput,
    scale: Option<f64>,
) -> Result<GraderVerdict, String> {
    let (stdout, stderr) = (printed::text(&output.stdout), printed::text(&output.stderr));
    let code = match end {
        GraderEnd::Exited(code @ 0..SHELL) => *code,
        GraderEnd::Exited(code) => {
            let why = format!("exited with {code}{}", crate::signal::meaning(*code));
            return Err(failed(&why, last_line(&stderr)));
        }
        GraderEnd::Failed(why) => return Err(failed(why, last_line(&stderr))),
    };
    let too_much = || Err(failed("it printed too much to be read to its end", None));
    if output.stdout_is_cut {
        return too_much();
    }
    let exception = exception(&stderr);
    match (printed::verdict(&stdout), exception) {
        // What it had printed until then need not be its last word.
        (_, Some(exception)) if code != 0 => Err(failed(exception, None)),
        (Some(Ok(verdict)), _) => read(&verdict, scale),
        (Some(Err(why)), _) => Err(failed(&why, last_line(&stdout))),
        (None, Some(exception)) => Err(failed(exception, None)),
        // The exception that it ended by may be in what was cut.
        (None, None) if output.stderr_is_cut => too_much(),
        (None, None) => silent(code, &stdout, &stderr),
    }
}

/// Without a verdict on standard output, the exit code is one.
fn silent(code: i32, stdout: &str, stderr: &str) -> Result<GraderVerdict, String> {
    let misplaced = printed::verdict(stderr).and_then(Result::ok);
    if misplaced.is_some_and(|verdict| read(&verdict, None).is_ok()) {
        let why = "its verdict is on standard error instead of standard output";
        return Err(failed(why, None));
    }
    match code {
        0 => Ok(GraderVerdict::silent(
            Points::FULL,
            "the grader exited with 0",
        )),
        1 => {
            let said = last_line(stderr).or_else(|| last_line(stdout));
            let said = said.map_or(String::new(), |line| format!(": {line}"));
            let explanation = format!("the grader exited with 1{said}");
            let explanation = plain::ends(&explanation, SHOWN);
            Ok(GraderVerdict::silent(Points::ZERO, explanation))
        }
        _ => Err(failed(&format!("exited with {code}"), last_line(stderr))),
    }
}

fn failed(why: &str, said: Option<&str>) -> String {
    let said = said.map_or(String::new(), |line| format!(": {line}"));
    plain::ends(&format!("{why}{said}"), SHOWN)
}

/// The last line that is not blank.
fn last_line(text: &str) -> Option<&str> {
    text.trim_end().lines().next_back().map(str::trim)
}

fn read(verdict: &Members, scale: Option<f64>) -> Result<GraderVerdict, String> {
    if let Some(key) = verdict.repeated(&["score", "pass", "passed", "max_score"]) {
        return Err(failed(
            &format!("its verdict has `{key}` more than once"),
            None,
        ));
    }
    let said = match verdict.get(&["explanation", "reason"]) {
        Some(serde_json::Value::String(words)) => plain::ends(words.trim(), SHOWN),
        Some(_) | None => String::new(),
    };
    let or = |words: String| if said.is_empty() { words } else { said.clone() };
    let wrong = |why: &str, value: &serde_json::Value| failed(why, Some(&value.to_string()));
    let (score, pass) = (verdict.get(SCORE), verdict.get(PASS));
    match (score, pass) {
        (Some(score), _) => {
            let max = match verdict.get(&["max_score"]) {
                None => scale,
                Some(max) => match max.as_f64().filter(|max| *max > 0.0) {
                    None => return Err(wrong("its `max_score` is not a number above 0", max)),
                    max => max,
                },
            };
            let full = max.unwrap_or(100.0);
            let number = score.as_f64();
            let Some((number, points)) = number.zip(number.and_then(|it| share(it, full))) else {
                let why = format!("its `score` is not a number from 0 to {full}");
                return Err(wrong(&why, score));
            };
            let words = match max {
                Some(full) => format!("the grader gave {number} of {full}: {points} points"),
                None => format!("the grader gave {points} points"),
            };
            let mut verdict = GraderVerdict::new(points, or(words));
            if max.is_none() && number > 0.0 && number <= 1.0 {
                verdict.went = Went::Unscaled;
                verdict.explanation = format!(
                    "{} (a score of {number} is taken as points from 0 to 100; if 1 is full marks, \
                     the objective has to say `scale: 1`)",
                    verdict.explanation
                );
            }
            Ok(verdict)
        }
        (None, Some(serde_json::Value::Bool(pass))) => {
            let points = Points::yes(*pass);
            let words = format!("the grader gave {points} points");
            Ok(GraderVerdict::new(points, or(words)))
        }
        (None, Some(pass)) => Err(wrong("its `pass` is neither true nor false", pass)),
        (None, None) => Err(failed("its verdict has neither `score` nor `pass`", None)),
    }
}

/// A score as points, where it is in range but for what floating-point numbers lose.
fn share(score: f64, full: f64) -> Option<Points> {
    // In this order, so that points of 100 stay as they were said.
    let points = score * 100.0 / full;
    let in_range = (-1e-7..=100.0 + 1e-7).contains(&points);
    in_range.then(|| Points::clamped(points))
}

/// The uncaught exception that a runtime reported, unless it is an assertion: that is how checks fail.
fn exception(stderr: &str) -> Option<&str> {
    python_exception(stderr)
        .or_else(|| node_exception(stderr))
        .or_else(|| ruby_exception(stderr))
        .or_else(|| not_found(stderr))
}

/// Shells: a program that a script needs is not there. dash, bash and busybox say so in three ways.
fn not_found(stderr: &str) -> Option<&str> {
    static PATTERN: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let places = r"\S+: (?:line )?\d+|\S*sh";
        Regex::new(&format!(
            r"(?m)^(?:{places}): [^:\n]+: (?:command )?not found$"
        ))
        .ok()
    });
    let found = PATTERN.as_ref()?.find(stderr)?;
    Some(found.as_str())
}

/// Python: a traceback and, unindented, the exception. A script that cannot even be parsed or found has
/// no traceback.
fn python_exception(stderr: &str) -> Option<&str> {
    let last = last_line(stderr)?;
    let unparsed = ["SyntaxError: ", "IndentationError: ", "TabError: "];
    if unparsed.iter().any(|error| last.starts_with(error)) || last.contains(": No module named ") {
        return Some(last);
    }
    let (_, traceback) = stderr.rsplit_once("Traceback (most recent call last):")?;
    let exception = traceback
        .lines()
        .find(|line| line.starts_with(|c: char| !c.is_whitespace()));
    match exception.and_then(|line| line.split(':').next()) {
        Some("AssertionError") => None,
        Some(_) | None => Some(exception.unwrap_or(last)),
    }
}

/// Node: the version comes last, the error stands before its stack.
fn node_exception(stderr: &str) -> Option<&str> {
    let last = last_line(stderr)?;
    if !last.starts_with("Node.js v") {
        return None;
    }
    if stderr
        .lines()
        .any(|line| line.starts_with("AssertionError"))
    {
        return None;
    }
    let named = |line: &&str| {
        let name = line.split([':', ' ']).next().unwrap_or_default();
        name.ends_with("Error") || name.ends_with("Exception")
    };
    Some(stderr.lines().find(named).unwrap_or(last))
}

/// Ruby: `file:line:in 'method': message (SomeError)`, then the rest of the stack.
fn ruby_exception(stderr: &str) -> Option<&str> {
    let class = |line: &str| {
        let (before, class) = line.strip_suffix(')')?.rsplit_once('(')?;
        let is_class = class.starts_with(|c: char| c.is_ascii_uppercase())
            && class
                .chars()
                .all(|c| c.is_alphanumeric() || "_:".contains(c));
        let (place, _) = before.split_once(":in ")?;
        let (_, number) = place.rsplit_once(':')?;
        let is_place = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        (is_class && is_place).then(|| class.to_owned())
    };
    stderr
        .lines()
        .filter(|line| !line.starts_with(char::is_whitespace))
        .find(|line| class(line).is_some_and(|class| !class.contains("Assertion")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn judged(code: i32, stdout: &[u8], stderr: &str, scale: Option<f64>) -> (Option<u16>, String) {
        let output = GraderOutput {
            stdout: stdout.to_vec(),
            stderr: stderr.as_bytes().to_vec(),
            ..GraderOutput::default()
        };
        match grader_verdict(&GraderEnd::Exited(code), &output, scale) {
            Ok(verdict) => (Some(verdict.points.tenths()), verdict.explanation),
            Err(why) => (None, why),
        }
    }

    /// `Some` tenths, or `None` for a failure; and what is said.
    #[track_caller]
    fn check(code: i32, stdout: &str, stderr: &str, tenths: Option<u16>, words: &str) {
        assert_eq!(
            judged(code, stdout.as_bytes(), stderr, None),
            (tenths, words.to_owned()),
            "{code} {stdout:?} {stderr:?}"
        );
    }

    #[test]
    fn a_json_object_is_the_verdict() {
        for (stdout, tenths, words) in [
            (r#"{"score": 0}"#, 0, "the grader gave 0.0 points"),
            (
                r#"{"score": 66.66, "explanation": " 2 of 3 "}"#,
                667,
                "2 of 3",
            ),
            (
                "checking…\r\n{\"score\": 100, \"reason\": \"a\\nb\"}\r\n\r\n",
                1000,
                "a⏎b",
            ),
            (
                "\n{\n  \"pass\": true,\n  \"more\": {}\n}\n",
                1000,
                "the grader gave 100.0 points",
            ),
            (
                "{not this}\nlog\n{\n \"passed\": false\n}",
                0,
                "the grader gave 0.0 points",
            ),
            (
                r#"{"score": null, "pass": true}"#,
                1000,
                "the grader gave 100.0 points",
            ),
            (
                r#"{"score": 40, "pass": true, "explanation": 7}"#,
                400,
                "the grader gave 40.0 points",
            ),
            (
                r#"{"score": 7, "max_score": 10}"#,
                700,
                "the grader gave 7 of 10: 70.0 points",
            ),
            (
                r#"{"max_score": 1.0, "points": [], "score": 1.0000000000000002}"#,
                1000,
                "the grader gave 1.0000000000000002 of 1: 100.0 points",
            ),
            (
                r#"{"score": -1e-17, "explanation": ""}"#,
                0,
                "the grader gave 0.0 points",
            ),
        ] {
            for code in [0, 1, 2, 125] {
                check(code, stdout, "", Some(tenths), words);
            }
        }
    }

    /// All of these print 12 points, somewhere.
    #[test]
    fn a_verdict_is_read_wherever_it_was_printed() {
        let score = "{\"score\": 12}";
        for stdout in [
            format!("{score}\nDone in 0.3 s.\n"),
            format!("\u{feff}{score}\r\n"),
            format!("checking 50%\rchecking 100%\r{score}\n\u{1b}[0m"),
            format!("50%\u{8}\u{8}\u{8}{score}"),
            "\u{1b}[1;39m{\n  \u{1b}[0m\u{1b}[34;1m\"score\"\u{1b}[0m\u{1b}[1;39m:\u{1b}[0m \u{1b}[0;39m12\u{1b}[0m\n}".to_owned(),
            // An artifact that is quoted before the verdict cannot hide it.
            format!("\u{1b}]0;{score}"),
            format!("\u{1b}P{score}"),
            format!("\u{1b}[{score}"),
            format!("it says \"{score}"),
            format!("it says {{\"score\": 100\n{score}"),
            format!("it says {{\"score\": \"\n{score}"),
            format!("it says {{{{{{\"\n{score}"),
            format!("it says {{\"a\": [{{\"b\": 1\n{score}"),
            format!("{{'score': 100}}\n{score}"),
            format!("Score: 100\n{score}\nScore: 100"),
            format!("Here it is:\n```json\n{score}\n```\n"),
            format!("- checked\n- {score}\n"),
            format!("| verdict | {score} |\n|---|---|\n"),
            format!("[{score}]"),
            format!("result={score};"),
            format!("{score}{{}}"),
            format!("{score}\n{{\"level\": \"info\", \"of\": {{\"score\": 99}}}}\n"),
            format!("{{\"score\": 90}}\n{{\"pass\": true}}\n{score}"),
            "{\"explanation\": \"{\\\"score\\\": 90} } \\\\\", \"tests\": [{\"pass\": true}, {\"score\": {}}], \"score\": 1.2e1}".to_owned(),
            "{\n\t\"score\"\n:\n12.0\n,\"é\": \"\\é\u{2028}\"\n}".replace("\\é", "é"),
        ] {
            let (tenths, said) = judged(0, stdout.as_bytes(), "", None);
            assert_eq!(tenths, Some(120), "{stdout:?}: {said}");
        }
        let units = |mark: &str| {
            format!("{mark}{score}\r\n")
                .encode_utf16()
                .collect::<Vec<_>>()
        };
        for mark in ["\u{feff}", ""] {
            let little: Vec<u8> = units(mark).iter().flat_map(|it| it.to_le_bytes()).collect();
            let big: Vec<u8> = units(mark).iter().flat_map(|it| it.to_be_bytes()).collect();
            for stdout in [&little, &big, &[b"checking\n", &*little].concat()] {
                assert_eq!(judged(0, stdout, "", None).0, Some(120), "{stdout:?}");
            }
        }
    }

    #[test]
    fn what_looks_like_a_verdict_and_cannot_be_read_is_no_full_marks() {
        for (stdout, why) in [
            (
                r#"{"score": 101}"#,
                "its `score` is not a number from 0 to 100: 101",
            ),
            (
                r#"{"score": 11, "max_score": 10}"#,
                "its `score` is not a number from 0 to 10: 11",
            ),
            (
                r#"{"score": -1}"#,
                "its `score` is not a number from 0 to 100: -1",
            ),
            (
                r#"{"score": "87"}"#,
                "its `score` is not a number from 0 to 100: \"87\"",
            ),
            (
                r#"{"score": true}"#,
                "its `score` is not a number from 0 to 100: true",
            ),
            (
                r#"{"score": [100]}"#,
                "its `score` is not a number from 0 to 100: [100]",
            ),
            (r#"{"pass": 1}"#, "its `pass` is neither true nor false: 1"),
            (
                r#"{"pass": "yes"}"#,
                "its `pass` is neither true nor false: \"yes\"",
            ),
            (
                r#"{"points": 1}"#,
                "its verdict has neither `score` nor `pass`: {\"points\": 1}",
            ),
            (
                r#"{"score": null}"#,
                "its verdict has neither `score` nor `pass`",
            ),
            (
                r#"{"result": {"score": 12}} done"#,
                "its verdict has neither `score` nor `pass`: {\"result\": {\"score\": 12}} done",
            ),
            (
                r#"{"Score": 12}"#,
                "its verdict has neither `score` nor `pass`: {\"Score\": 12}",
            ),
            (
                r#"{"score": 12, "score": 100}"#,
                "its verdict has `score` more than once",
            ),
            (
                r#"{"score": 1, "max_score": 0}"#,
                "its `max_score` is not a number above 0: 0",
            ),
            (
                r#"{"score": 1, "max_score": "10"}"#,
                "its `max_score` is not a number above 0: \"10\"",
            ),
            (
                r#"{"score": NaN}"#,
                "its verdict is not JSON, expected value at line 1 column 11: {\"score\": NaN}",
            ),
            (
                r#"{"score": 1e999}"#,
                "its verdict is not JSON, number out of range at line 1 column 15: {\"score\": 1e999}",
            ),
            (
                "{'score': 5}",
                "what looks like its verdict is not JSON: {'score': 5}",
            ),
        ] {
            check(0, stdout, "", None, why);
            check(1, stdout, "", None, why);
        }
    }

    #[test]
    fn a_verdict_that_is_torn_or_no_json_is_no_full_marks() {
        for stdout in [
            "{\"score\": 90}\n{\"score\": 1",
            "{\"score\": 12, \"explanation\": \"1 of",
            "{\"score\": 12,}",
            "{\"score\": 012}",
            "{\"score\": -Infinity}",
            "{\"score\": }",
            "{\"a\": {\"b\": [1, 2}, \"score\": 12}",
            "{'details': {'a': 1}, 'score': 5} # done",
            "\"{\\\"score\\\": 12}\"",
            "{:score=>12}",
            "Verdict { score: 12 }\n",
            "Verdict(score=12, why='')",
            "Score: 87/100\n",
            "  **score** = .5\n",
            "| score | 87 |\n",
            "score: 12\nexplanation: it is short\n",
            "passed: false\n",
            "Final score: 87/100\n",
            "your overall_score = 8\n",
            "<result><score>12</score></result>",
            "{&quot;score&quot;: 12}",
            "{\\u0022score\\u0022: 12}",
            "{\"totalScore\": 12} done",
            "{'total_score': 12} done",
            "{\"tests\": [{\"score\": 1}, {\"score\": 0}]} done",
            "{'points': 5}",
            "{\"score\": 12}\n{\"score\": \"twelve\"}",
        ] {
            assert_eq!(judged(0, stdout.as_bytes(), "", None).0, None, "{stdout:?}");
        }
        let misplaced = "its verdict is on standard error instead of standard output";
        check(0, "fine", "{\"score\": 12}\n", None, misplaced);
        check(
            0,
            "fine",
            "{\"pass\": 12}\n",
            Some(1000),
            "the grader exited with 0",
        );
    }

    #[test]
    fn a_scale_says_what_full_marks_are_and_without_one_small_scores_are_doubted() {
        let scaled = |stdout: &str, scale| {
            let output = GraderOutput {
                stdout: stdout.into(),
                ..GraderOutput::default()
            };
            let verdict = grader_verdict(&GraderEnd::Exited(0), &output, scale).unwrap();
            (verdict.points.tenths(), verdict.went == Went::Unscaled)
        };
        for (stdout, scale, tenths, doubted) in [
            ("{\"score\": 0.87}", Some(1.0), 870, false),
            ("{\"score\": 1}", Some(1.0), 1000, false),
            ("{\"score\": 3}", Some(5.0), 600, false),
            ("{\"score\": 3, \"max_score\": 4}", Some(5.0), 750, false),
            ("{\"score\": 0.5}", None, 5, true),
            ("{\"score\": 1}", None, 10, true),
            ("{\"score\": 0}", None, 0, false),
            ("{\"score\": 1.1}", None, 11, false),
            ("{\"score\": 1, \"max_score\": 1}", None, 1000, false),
            ("{\"score\": 1, \"max_score\": 100}", None, 10, false),
            ("{\"pass\": true}", Some(5.0), 1000, false),
        ] {
            assert_eq!(
                scaled(stdout, scale),
                (tenths, doubted),
                "{stdout} {scale:?}"
            );
        }
        let said = judged(0, b"{\"score\": 0.5, \"reason\": \"half\"}", "", None).1;
        assert_eq!(
            said,
            "half (a score of 0.5 is taken as points from 0 to 100; if 1 is full marks, the objective has to say `scale: 1`)"
        );
        let over = judged(0, b"{\"score\": 87}", "", Some(1.0));
        assert_eq!(
            over,
            (
                None,
                "its `score` is not a number from 0 to 1: 87".to_owned()
            )
        );
    }

    #[test]
    fn without_json_the_exit_code_is_the_verdict() {
        check(0, "", "", Some(1000), "the grader exited with 0");
        check(
            0,
            "fine {x}",
            "warning",
            Some(1000),
            "the grader exited with 0",
        );
        check(0, "[1]\n7", "", Some(1000), "the grader exited with 0");
        check(1, "", "", Some(0), "the grader exited with 1");
        check(
            1,
            "two links\nare dead\n",
            "",
            Some(0),
            "the grader exited with 1: are dead",
        );
        check(
            1,
            "checked",
            "x\n dead \n\n",
            Some(0),
            "the grader exited with 1: dead",
        );
    }

    #[test]
    fn any_other_end_is_a_failure_with_the_last_words() {
        let score = r#"{"score": 90}"#;
        for code in [2, 77] {
            let why = format!("exited with {code}: no such file");
            check(code, "", "a\nno such file\n", None, &why);
        }
        for code in [-1, 126, 127, 137, 255] {
            let why = format!("exited with {code}{}", crate::signal::meaning(code));
            check(code, score, "", None, &why);
        }
        let end = GraderEnd::Failed("timed out after 10.0 s".to_owned());
        let output = GraderOutput {
            stdout: score.into(),
            stderr: "still\u{1b}[31m working".into(),
            ..GraderOutput::default()
        };
        assert_eq!(
            grader_verdict(&end, &output, None),
            Err("timed out after 10.0 s: still working".to_owned())
        );
    }

    #[test]
    fn what_was_not_read_to_its_end_is_no_verdict() {
        let cut = |stdout: &str, stdout_is_cut, stderr_is_cut| {
            let output = GraderOutput {
                stdout: stdout.into(),
                stderr: Vec::new(),
                stdout_is_cut,
                stderr_is_cut,
            };
            let verdict = grader_verdict(&GraderEnd::Exited(0), &output, None);
            verdict.ok().map(|verdict| verdict.points.tenths())
        };
        assert_eq!(cut("{\"score\": 90}", true, false), None);
        assert_eq!(cut("", true, false), None);
        assert_eq!(cut("", false, true), None);
        assert_eq!(cut("{\"score\": 90}", false, true), Some(900));
    }

    #[test]
    fn an_uncaught_exception_is_a_failure_but_a_failed_assertion_is_a_verdict() {
        let python = |error: &str| {
            format!(
                "Traceback (most recent call last):\n  File \"c.py\", line 3, in <module>\n    \
                 check()\n    ^^^^^^^\n{error}\n"
            )
        };
        let node = |error: &str| {
            format!(
                "/w/c.js:1\nthrow it\n^\n\n{error}\n    at Object.<anonymous> (/w/c.js:1:7)\n    \
                 at node:internal/main:2:49 {{\n  code: 'X'\n}}\n\nNode.js v22.1.0\n"
            )
        };
        let ruby = |error: &str| {
            format!("c.rb:2:in 'Object#check': bad link {error}\n\tfrom c.rb:4:in '<main>'\n")
        };
        for (stderr, exception) in [
            (python("ValueError: bad\nsecond line"), "ValueError: bad"),
            (python("KeyError"), "KeyError"),
            (python("json.decoder.JSONDecodeError: Expecting"), "json.decoder.JSONDecodeError: Expecting"),
            (
                python("AssertionError: x")
                    + "\nDuring handling of the above exception, another exception occurred:\n\n"
                    + &python("OSError: y"),
                "OSError: y",
            ),
            ("  File \"c.py\", line 1\n    def\n       ^\nSyntaxError: invalid\n".to_owned(), "SyntaxError: invalid"),
            ("/usr/bin/python3: No module named pytest\n".to_owned(), "/usr/bin/python3: No module named pytest"),
            (node("TypeError: x is not a function"), "TypeError: x is not a function"),
            (node("Error [ERR_X]: no"), "Error [ERR_X]: no"),
            (
                "c.js:1\nthrow 1\n^\n1\n(Use `node --trace-uncaught` to see more)\n\nNode.js v22.1.0\n".to_owned(),
                "Node.js v22.1.0",
            ),
            (ruby("(RuntimeError)"), "c.rb:2:in 'Object#check': bad link (RuntimeError)"),
            (ruby("(Net::ReadTimeout)"), "c.rb:2:in 'Object#check': bad link (Net::ReadTimeout)"),
            ("sh: 1: jq: not found\n".to_owned(), "sh: 1: jq: not found"),
            ("x\nchecks/c.sh: line 3: jq: command not found\nno\n".to_owned(), "checks/c.sh: line 3: jq: command not found"),
            ("sh: jq: not found".to_owned(), "sh: jq: not found"),
        ] {
            check(1, "", &stderr, None, exception);
            check(0, "", &stderr, None, exception);
            // Told of what it had done until then, or of an exception that it caught.
            check(1, "{\"score\": 7}", &stderr, None, exception);
            check(
                0,
                "{\"score\": 7}",
                &stderr,
                Some(70),
                "the grader gave 7.0 points",
            );
        }
        for stderr in [
            python("AssertionError"),
            python("AssertionError: 2 links are dead"),
            python("OSError: y")
                + "\nDuring handling of the above exception, another exception occurred:\n\n"
                + &python("AssertionError: x"),
            node("AssertionError [ERR_ASSERTION]: 1 == 2"),
            ruby("(Minitest::Assertion)"),
            "post.md:3: no heading (MD041)\n".to_owned(),
            "post.md: https://x: not found\n".to_owned(),
            "see line 3 (Error)\n".to_owned(),
        ] {
            let last = last_line(&stderr).unwrap();
            check(
                1,
                "",
                &stderr,
                Some(0),
                &format!("the grader exited with 1: {last}"),
            );
        }
    }

    #[test]
    fn what_a_grader_says_is_hostile() {
        let flood = "\\u001b[2J\\n::error::".repeat(100);
        let stdout = format!(r#"{{"score": 5, "explanation": "{flood}"}}"#);
        let (tenths, explanation) = judged(0, stdout.as_bytes(), "", None);
        assert_eq!(tenths, Some(50));
        assert!(explanation.chars().count() <= 301);
        assert!(!explanation.contains(['\n', '\u{1b}']));
    }

    /// Each of these is long; were any part of it looked at again and again, this test would not end.
    #[test]
    fn hostile_braces_are_passed_once() {
        let many = |piece: &str| piece.repeat(200_000 / piece.len());
        for hostile in [
            many("{"),
            many("{\"a\":"),
            many("{\"a\":["),
            many("[{\"a\":{},\"b\":"),
            many("{\"a"),
            many("{\"\\"),
            many("{\"a\":{},"),
            many("{\"a\":1}"),
            many("score "),
            many("{ \n"),
            many("{,"),
            many("\u{1b}["),
            "{\"a\":[".repeat(90) + &many("{},"),
            "{\"a\":".repeat(100_000) + &"}".repeat(100_000),
        ] {
            let with_verdict = format!("{hostile}\n- {{\"score\": 12}}");
            let (tenths, said) = judged(0, with_verdict.as_bytes(), "", None);
            let start: String = hostile.chars().take(20).collect();
            assert!(matches!(tenths, Some(120) | None), "{start}: {said}");
        }
        let deep = "{\"score\":".repeat(100_000) + &"}".repeat(100_000);
        assert_eq!(judged(0, deep.as_bytes(), "", None).0, None);
    }

    /// What is likely to confuse: pieces of verdicts, of other JSON, of terminals, of other alphabets.
    fn noise() -> impl Strategy<Value = String> {
        let pieces = [
            "{",
            "}",
            "[",
            "]",
            "\"",
            "\\",
            ":",
            ",",
            "\n",
            "\r",
            " ",
            "é",
            "\u{1b}[",
            "\u{1b}]",
            "\0",
            "1",
            "score",
            "\"score\"",
            "\"pass\": true",
            "{\"score\": 100",
            "{\"a\":",
            "'score': 100}",
            "\u{feff}",
            "x",
        ];
        let piece = proptest::sample::select(pieces.to_vec());
        proptest::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn what_is_printed_before_a_verdict_cannot_change_its_points(
            noise in noise(),
            between in "\n?",
        ) {
            let stdout = format!("{noise}{between}{{\"score\": 12}}\n");
            let (tenths, said) = judged(0, stdout.as_bytes(), &noise, None);
            prop_assert!(matches!(tenths, Some(120) | None), "{said}");
        }

        #[test]
        fn any_bytes_are_read(stdout in proptest::collection::vec(any::<u8>(), 0..64), noise in noise()) {
            judged(0, &stdout, &noise, None);
            judged(1, &[noise.as_bytes(), &stdout].concat(), "", Some(1.0));
        }
    }
}
