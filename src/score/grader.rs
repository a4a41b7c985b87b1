//! What a grader says: its exit code and output, read as a verdict.
//!
//! Promises: only what was said counts: a grader that fails, or whose verdict cannot be read, has said
//! nothing, and gives no points. Everything that a grader prints may quote a candidate, so it is shown
//! short and harmless.

use std::sync::LazyLock;

use regex::Regex;

use super::Points;
use super::printed::{self, Members, PASS, SCORE};
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
    /// Whether the score lies between 0 and 1 and nothing says what full marks are: they may be 1.
    pub is_unscaled: bool,
}

impl GraderVerdict {
    fn new(points: Points, explanation: impl Into<String>) -> Self {
        Self {
            points,
            explanation: explanation.into(),
            is_unscaled: false,
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
            return Err(failed(&format!("exited with {code}"), last_line(&stderr)));
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
        0 => Ok(GraderVerdict::new(Points::FULL, "the grader exited with 0")),
        1 => {
            let said = last_line(stderr).or_else(|| last_line(stdout));
            let said = said.map_or(String::new(), |line| format!(": {line}"));
            let explanation = format!("the grader exited with 1{said}");
            let explanation = plain::short(&explanation, SHOWN);
            Ok(GraderVerdict::new(Points::ZERO, explanation))
        }
        _ => Err(failed(&format!("exited with {code}"), last_line(stderr))),
    }
}

fn failed(why: &str, said: Option<&str>) -> String {
    let said = said.map_or(String::new(), |line| format!(": {line}"));
    plain::short(&format!("{why}{said}"), SHOWN)
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
        Some(serde_json::Value::String(words)) => plain::short(words.trim(), SHOWN),
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
                verdict.is_unscaled = true;
                verdict.explanation += &format!(
                    " (a score of {number} is taken as points from 0 to 100; if 1 is full marks, \
                     the objective has to say `scale: 1`)"
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
    let part = score / full;
    let in_range = (-1e-9..=1.0 + 1e-9).contains(&part);
    in_range.then(|| Points::clamped(100.0 * part))
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
    use super::*;

    /// `Some` tenths, or `None` for unscored; and what is said.
    #[track_caller]
    fn check(code: i32, stdout: &str, stderr: &str, tenths: Option<u16>, words: &str) {
        let verdict = grader_verdict(&GraderEnd::Exited(code), stdout, stderr);
        let said = match verdict {
            Verdict::Scored {
                points,
                explanation,
            } => (Some(points.tenths()), explanation),
            Verdict::Unscored { reason } => (None, reason),
        };
        assert_eq!(
            said,
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
        ] {
            check(0, stdout, "", Some(tenths), words);
            check(1, stdout, "", Some(tenths), words);
        }
    }

    #[test]
    fn a_verdict_that_makes_no_sense_is_unscored() {
        for (stdout, why) in [
            (
                r#"{"score": 101}"#,
                "its `score` is not a number from 0 to 100: 101",
            ),
            (
                r#"{"score": -1}"#,
                "its `score` is not a number from 0 to 100: -1",
            ),
            (
                r#"{"score": "9"}"#,
                "its `score` is not a number from 0 to 100: \"9\"",
            ),
            (
                r#"{"score": true}"#,
                "its `score` is not a number from 0 to 100: true",
            ),
            (r#"{"pass": 1}"#, "its `pass` is neither true nor false: 1"),
            (
                r#"{"points": 1}"#,
                "its verdict has neither `score` nor `pass`",
            ),
            (
                r#"{"score": NaN}"#,
                "its verdict is not JSON, expected value at line 1 column 11: {\"score\": NaN}",
            ),
            (
                "{'score': 5}",
                "its verdict is not JSON, key must be a string at line 1 column 2: {'score': 5}",
            ),
        ] {
            check(0, stdout, "", None, &format!("the grader failed: {why}"));
        }
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
    fn any_other_end_is_unscored_with_the_last_words() {
        let score = r#"{"score": 90}"#;
        check(
            2,
            score,
            "a\nno such file\n",
            None,
            "the grader failed: exited with 2: no such file",
        );
        check(-1, score, "", None, "the grader failed: exited with -1");
        let end = GraderEnd::Failed("timed out after 10.0 s".to_owned());
        assert_eq!(
            grader_verdict(&end, score, "still\u{1b}[31m working"),
            Verdict::unscored("the grader failed: timed out after 10.0 s: still working")
        );
    }

    #[test]
    fn an_uncaught_exception_is_unscored_but_a_failed_assertion_is_a_verdict() {
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
        ] {
            let words = format!("the grader failed: {exception}");
            check(1, "", &stderr, None, &words);
            check(0, "", &stderr, None, &words);
            let score = "{\"score\": 7}";
            check(1, score, &stderr, Some(70), "the grader gave 7.0 points");
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
        let verdict = grader_verdict(&GraderEnd::Exited(0), &stdout, "");
        let Verdict::Scored { explanation, .. } = verdict else {
            panic!("{verdict:?}");
        };
        assert!(explanation.chars().count() <= 301);
        assert!(!explanation.contains(['\n', '\u{1b}']));
        let deep = "{\"a\":".repeat(100_000) + &"}".repeat(100_000);
        let verdict = grader_verdict(&GraderEnd::Exited(0), &deep, "");
        assert!(matches!(verdict, Verdict::Unscored { .. }));
    }
}
