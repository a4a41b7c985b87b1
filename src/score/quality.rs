//! Quality scorers: what an objective's `scoring.quality` may list.
//!
//! Promises: every verdict says why, in words and numbers, and shows only short and harmless text. An
//! artifact that is missing, or not the JSON that it should be, is the candidate's doing and has 0
//! points; one that this machine cannot read is *unscored*. Same artifact, same verdict: what takes long
//! is cut by counts, never by the clock.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;
use serde_json::Value;

use super::artifact::{self, Unfit};
use super::gate::{SHOWN, Schema, counted, quoted, slashed};
use super::{Evidence, Points, Scorer, Verdict};
use crate::name::RelativePath;
use crate::plain;

pub use super::grader::{GraderEnd, grader_verdict};

/// Up to this many lines, [`Quality::Golden`] compares in order; above, it only counts equal lines.
const MAX_LINES_IN_ORDER: usize = 20_000;

/// The most missing texts that an explanation lists.
const LISTED: usize = 3;

/// The bounds of a count. At least one of them is set; `at_least` is not above `at_most`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Fewer than this costs points in proportion.
    pub at_least: Option<u64>,
    /// More than this costs points in proportion.
    pub at_most: Option<u64>,
}

impl Range {
    /// 100 within the bounds, in proportion below or above them.
    fn points(self, count: u64) -> Points {
        let low = self
            .at_least
            .map_or(Points::FULL, |least| share(count, least));
        let high = self.at_most.map_or(Points::FULL, |most| share(most, count));
        low.min(high)
    }

    /// The bounds in words: `at least 3`.
    fn wanted(self) -> String {
        match (self.at_least, self.at_most) {
            (Some(least), Some(most)) if least == most => format!("exactly {least}"),
            (Some(least), Some(most)) => format!("{least} to {most}"),
            (Some(least), None) => format!("at least {least}"),
            (None, Some(most)) => format!("at most {most}"),
            (None, None) => "any number".to_owned(),
        }
    }
}

impl fmt::Display for Range {
    /// As written: `at_least 3 at_most 5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.at_least, self.at_most) {
            (Some(least), Some(most)) => write!(f, "at_least {least} at_most {most}"),
            (Some(least), None) => write!(f, "at_least {least}"),
            (None, Some(most)) => write!(f, "at_most {most}"),
            (None, None) => Ok(()),
        }
    }
}

/// A part of a whole, in points; all of nothing is everything.
fn share(part: u64, whole: u64) -> Points {
    if whole == 0 {
        Points::FULL
    } else {
        Points::clamped(100.0 * part as f64 / whole as f64)
    }
}

/// What `length` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LengthUnit {
    /// Bytes of the file.
    Bytes,
    /// Unicode scalar values.
    Chars,
    /// Runs of non-blank characters.
    Words,
    /// Lines with something else than blanks.
    Lines,
}

impl LengthUnit {
    /// As written.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Chars => "chars",
            Self::Words => "words",
            Self::Lines => "lines",
        }
    }

    /// One and many, in words.
    const fn nouns(self) -> (&'static str, &'static str) {
        match self {
            Self::Bytes => ("byte", "bytes"),
            Self::Chars => ("character", "characters"),
            Self::Words => ("word", "words"),
            Self::Lines => ("line", "lines"),
        }
    }
}

/// What the nodes that a JSON path selects are held against.
#[derive(Debug, Clone)]
pub enum JsonExpectation {
    /// Their number.
    Count(Range),
    /// Exactly one node, equal to this.
    Equals(Value),
}

/// A program of the objective's author that judges a trial in a fresh sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grader {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// The objective's files that it needs: their path in the sandbox, and where they are here.
    pub files: Vec<(RelativePath, std::path::PathBuf)>,
    /// Its time limit.
    pub limit: Duration,
}

/// A quality scorer of an objective.
#[derive(Clone)]
pub enum Quality {
    /// The share of these texts that the artifact contains.
    Contains(Vec<String>),
    /// How often the pattern matches. `^` and `$` match at line ends.
    Regex(Regex, Range),
    /// How long the artifact is.
    Length(LengthUnit, Range),
    /// Whether the artifact is JSON and valid.
    JsonSchema(Schema),
    /// What a JSON path (RFC 9535) selects in the artifact.
    JsonPath(serde_json_path::JsonPath, JsonExpectation),
    /// Whether the artifact is this text, but for blank space at its end.
    Equals(String),
    /// How much of the artifact is this expected file, by lines.
    Golden {
        /// As the objective names it.
        name: String,
        /// Its text.
        expected: Arc<str>,
    },
    /// A program, run elsewhere; see [`crate::trial`].
    Command(Grader),
    /// The caller's own.
    Own(Arc<dyn Scorer>),
}

impl Quality {
    /// How reports call it: `regex /^#/ at_least 3`.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Contains(texts) => format!("contains {}", listed(texts)),
            Self::Regex(pattern, range) => format!("regex {} {range}", slashed(pattern)),
            Self::Length(unit, range) => format!("length in {} {range}", unit.as_str()),
            Self::JsonSchema(schema) => {
                format!("json_schema {}", plain::short(&schema.name, SHOWN))
            }
            Self::JsonPath(path, expectation) => {
                let path = plain::short(&path.to_string(), SHOWN);
                match expectation {
                    JsonExpectation::Count(range) => format!("json_path {path} {range}"),
                    JsonExpectation::Equals(value) => {
                        format!("json_path {path} equals {}", shown(value))
                    }
                }
            }
            Self::Equals(expected) => format!("equals {}", quoted(expected)),
            Self::Golden { name, .. } => format!("golden {}", plain::short(name, SHOWN)),
            Self::Command(grader) => {
                format!("command {}", plain::short(&grader.argv.join(" "), SHOWN))
            }
            Self::Own(scorer) => plain::short(&scorer.name(), SHOWN),
        }
    }

    /// Judges one trial; `None` for [`Quality::Command`], which needs a sandbox.
    #[must_use]
    pub fn score(&self, evidence: &Evidence) -> Option<Verdict> {
        let text = || artifact::text(evidence);
        let json = || artifact::json(evidence);
        let judged = match self {
            Self::Contains(texts) => text().map(|text| contains(&text, texts)),
            Self::Regex(pattern, range) => text().map(|text| {
                let count = pattern.find_iter(&text).count() as u64;
                within(*range, count, ("match", "matches"))
            }),
            Self::Length(unit, range) => {
                length(*unit, evidence).map(|count| within(*range, count, unit.nouns()))
            }
            Self::JsonSchema(schema) => json().map(|value| {
                let (valid, explanation) = schema.judge(&value);
                (Points::yes(valid), explanation)
            }),
            Self::JsonPath(path, expectation) => {
                json().map(|value| selected(&path.query(&value).all(), expectation))
            }
            Self::Equals(expected) => text().map(|text| equals(&text, expected)),
            Self::Golden { expected, .. } => text().map(|text| golden(&text, expected)),
            Self::Command(_) => return None,
            Self::Own(scorer) => return Some(scorer.score(evidence)),
        };
        Some(match judged {
            Ok((points, explanation)) => Verdict::scored(points, explanation),
            Err(unfit @ (Unfit::Missing | Unfit::NotJson(_))) => {
                Verdict::scored(Points::ZERO, unfit.to_string())
            }
            Err(unfit @ Unfit::Unreadable(_)) => Verdict::unscored(unfit.to_string()),
        })
    }
}

impl fmt::Debug for Quality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// The first few of some texts, quoted: `"a", "b" and 2 more`.
fn listed<T: AsRef<str>>(texts: &[T]) -> String {
    let first: Vec<String> = texts
        .iter()
        .take(LISTED)
        .map(|text| quoted(text.as_ref()))
        .collect();
    let more = texts.len() - first.len();
    if more == 0 {
        first.join(", ")
    } else {
        format!("{} and {more} more", first.join(", "))
    }
}

/// A JSON value, short and harmless.
fn shown(value: &Value) -> String {
    plain::short(&value.to_string(), SHOWN)
}

fn within(range: Range, count: u64, (one, many): (&str, &str)) -> (Points, String) {
    let explanation = format!("{}, {} wanted", counted(count, one, many), range.wanted());
    (range.points(count), explanation)
}

fn length(unit: LengthUnit, evidence: &Evidence) -> Result<u64, Unfit> {
    if unit == LengthUnit::Bytes {
        return artifact::size(evidence);
    }
    let text = artifact::text(evidence)?;
    let count = match unit {
        LengthUnit::Bytes => text.len(),
        LengthUnit::Chars => text.chars().count(),
        LengthUnit::Words => text.split_whitespace().count(),
        LengthUnit::Lines => text.lines().filter(|line| !line.trim().is_empty()).count(),
    };
    Ok(count as u64)
}

fn contains(text: &str, wanted: &[String]) -> (Points, String) {
    let missing: Vec<&String> = wanted
        .iter()
        .filter(|wanted| !text.contains(wanted.as_str()))
        .collect();
    let (there, total) = (wanted.len() - missing.len(), wanted.len());
    let mut explanation = format!("{there} of {} found", counted(total, "text", "texts"));
    if !missing.is_empty() {
        explanation += &format!("; missing {}", listed(&missing));
    }
    (share(there as u64, total as u64), explanation)
}

fn selected(nodes: &[&Value], expectation: &JsonExpectation) -> (Points, String) {
    let count = nodes.len() as u64;
    match (expectation, nodes) {
        (JsonExpectation::Count(range), _) => within(*range, count, ("node", "nodes")),
        (JsonExpectation::Equals(expected), [node]) if same(node, expected) => {
            (Points::FULL, format!("is {}", shown(node)))
        }
        (JsonExpectation::Equals(expected), [node]) => {
            let explanation = format!("is {}, not {}", shown(node), shown(expected));
            (Points::ZERO, explanation)
        }
        (JsonExpectation::Equals(_), [] | [_, _, ..]) => {
            let nodes = counted(count, "node", "nodes");
            (Points::ZERO, format!("{nodes}, exactly 1 wanted"))
        }
    }
}

/// Whether two JSON values are equal. Numbers are by their value: 1 is 1.0.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            // Whole numbers beyond 2^53 differ as such, but not as floating-point numbers.
            let whole = |n: &serde_json::Number| !n.is_f64();
            a == b || (!(whole(a) && whole(b)) && a.as_f64() == b.as_f64())
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

fn equals(text: &str, expected: &str) -> (Points, String) {
    let (text, expected) = (text.trim_end(), expected.trim_end());
    let mut ours = text.split('\n');
    let mut theirs = expected.split('\n');
    let mut line = 0;
    let explanation = loop {
        line += 1;
        match (ours.next(), theirs.next()) {
            (None, None) => return (Points::FULL, "equal".to_owned()),
            (Some(ours), Some(theirs)) if ours == theirs => {}
            (Some(ours), Some(theirs)) => {
                break format!("line {line} {}", difference(ours, theirs));
            }
            (Some(ours), None) => break format!("line {line} is one too many: {}", quoted(ours)),
            (None, Some(theirs)) => break format!("line {line} is missing: {}", quoted(theirs)),
        }
    };
    (Points::ZERO, explanation)
}

/// How two lines differ, from the first character on in which they do.
fn difference(ours: &str, theirs: &str) -> String {
    if ours.trim_end() == theirs.trim_end() {
        return "differs in the blank space at its end".to_owned();
    }
    let same = ours.chars().zip(theirs.chars());
    let same: usize = same
        .take_while(|(ours, theirs)| ours == theirs)
        .map(|(c, _)| c.len_utf8())
        .sum();
    let column = ours[..same].chars().count() + 1;
    let (ours, theirs) = (quoted(&ours[same..]), quoted(&theirs[same..]));
    format!("differs from column {column} on: {ours} instead of {theirs}")
}

fn golden(text: &str, expected: &str) -> (Points, String) {
    let lines = |text| str::lines(str::trim_end(text)).map(str::trim_end).collect();
    let ours: Vec<&str> = lines(text);
    let theirs: Vec<&str> = lines(expected);
    if ours == theirs {
        return (Points::FULL, "equal to the expected file".to_owned());
    }
    let total = ours.len() + theirs.len();
    let (there, how) = if ours.len().max(theirs.len()) <= MAX_LINES_IN_ORDER {
        (common_in_order(&theirs, &ours), "")
    } else {
        (common_anywhere(&theirs, &ours), " in any order")
    };
    let wanted = counted(theirs.len(), "expected line", "expected lines");
    let explanation = format!("{there} of {wanted} there{how}, of {} in all", ours.len());
    (share(2 * there as u64, total as u64), explanation)
}

/// How many lines two texts have in common, in the same order.
fn common_in_order(old: &[&str], new: &[&str]) -> usize {
    similar::capture_diff_slices(similar::Algorithm::Myers, old, new)
        .iter()
        .map(|step| match step {
            similar::DiffOp::Equal { len, .. } => *len,
            similar::DiffOp::Delete { .. }
            | similar::DiffOp::Insert { .. }
            | similar::DiffOp::Replace { .. } => 0,
        })
        .sum()
}

/// How many lines two texts have in common, wherever they stand.
fn common_anywhere(old: &[&str], new: &[&str]) -> usize {
    let mut left: HashMap<&str, usize> = HashMap::with_capacity(old.len());
    for line in old {
        *left.entry(line).or_default() += 1;
    }
    new.iter()
        .filter(|line| match left.get_mut(**line) {
            Some(count @ 1..) => {
                *count -= 1;
                true
            }
            Some(0) | None => false,
        })
        .count()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;
    use serde_json::json;

    use super::artifact::tests::{nothing, unreadable, with};
    use super::*;

    const fn range(at_least: Option<u64>, at_most: Option<u64>) -> Range {
        Range { at_least, at_most }
    }

    fn regex(pattern: &str, range: Range) -> Quality {
        let pattern = regex::RegexBuilder::new(pattern).multi_line(true).build();
        Quality::Regex(pattern.unwrap(), range)
    }

    fn texts(texts: &[&str]) -> Quality {
        Quality::Contains(texts.iter().map(|text| (*text).to_owned()).collect())
    }

    fn path(path: &str, expectation: JsonExpectation) -> Quality {
        Quality::JsonPath(serde_json_path::JsonPath::parse(path).unwrap(), expectation)
    }

    fn is(value: Value) -> JsonExpectation {
        JsonExpectation::Equals(value)
    }

    fn schema() -> Quality {
        let schema = json!({"type": "array", "items": {"type": "integer"}});
        Quality::JsonSchema(Schema {
            name: "numbers.json".to_owned(),
            validator: Arc::new(jsonschema::validator_for(&schema).unwrap()),
        })
    }

    fn expected(text: &str) -> Quality {
        Quality::Equals(text.to_owned())
    }

    fn file(text: &str) -> Quality {
        Quality::Golden {
            name: "expected.md".to_owned(),
            expected: text.into(),
        }
    }

    /// Points are compared in tenths.
    #[track_caller]
    fn check(scorer: &Quality, content: &str, tenths: u16, words: &str) {
        let (evidence, _folder) = with(content);
        let Some(Verdict::Scored {
            points,
            explanation,
        }) = scorer.score(&evidence)
        else {
            panic!("{scorer:?} of {content:?} has no score");
        };
        assert_eq!(
            (points.tenths(), explanation.as_str()),
            (tenths, words),
            "{scorer:?}"
        );
    }

    #[test]
    fn contains_scores_the_share_of_texts() {
        let three = texts(&["a", "bc", "x\ny"]);
        check(&three, "abc", 667, "2 of 3 texts found; missing \"x⏎y\"");
        check(&three, "a bc x\ny", 1000, "3 of 3 texts found");
        check(
            &texts(&["1", "2", "3", "4", "5"]),
            "5",
            200,
            "1 of 5 texts found; missing \"1\", \"2\", \"3\" and 1 more",
        );
        check(&texts(&["1"]), "", 0, "0 of 1 text found; missing \"1\"");
    }

    #[test]
    fn counts_outside_their_bounds_cost_in_proportion() {
        let at_least = regex("^#", range(Some(4), None));
        check(&at_least, "#\n#\n#", 750, "3 matches, at least 4 wanted");
        check(
            &at_least,
            "#\n#\n#\n#\n#",
            1000,
            "5 matches, at least 4 wanted",
        );
        check(&at_least, "x#", 0, "0 matches, at least 4 wanted");
        let at_most = regex("x", range(None, Some(1)));
        check(&at_most, "", 1000, "0 matches, at most 1 wanted");
        check(&at_most, "x", 1000, "1 match, at most 1 wanted");
        check(&at_most, "xxxx", 250, "4 matches, at most 1 wanted");
        let none = regex("x", range(None, Some(0)));
        check(&none, "", 1000, "0 matches, at most 0 wanted");
        check(&none, "x", 0, "1 match, at most 0 wanted");
        let both = regex("x", range(Some(2), Some(3)));
        check(&both, "x", 500, "1 match, 2 to 3 wanted");
        check(&both, "xxxx", 750, "4 matches, 2 to 3 wanted");
        check(
            &regex("x", range(Some(0), None)),
            "",
            1000,
            "0 matches, at least 0 wanted",
        );
    }

    #[test]
    fn length_counts_what_it_says() {
        let text = "ä b\n\n  \ncc dd\n";
        for (unit, count, words) in [
            (LengthUnit::Bytes, 15, "15 bytes, exactly 15 wanted"),
            (LengthUnit::Chars, 14, "14 characters, exactly 14 wanted"),
            (LengthUnit::Words, 4, "4 words, exactly 4 wanted"),
            (LengthUnit::Lines, 2, "2 lines, exactly 2 wanted"),
        ] {
            let scorer = Quality::Length(unit, range(Some(count), Some(count)));
            check(&scorer, text, 1000, words);
        }
    }

    #[test]
    fn json_is_judged_by_schema_and_by_path() {
        check(&schema(), "[1, 2]", 1000, "valid");
        check(
            &schema(),
            "[1, 2.5]",
            0,
            "1 error: /1: 2.5 is not of type \"integer\"",
        );
        let document = r#"{"events": [{"n": 1}, {"n": 2.0}], "big": 9007199254740993}"#;
        let count = |least| {
            path(
                "$.events[*]",
                JsonExpectation::Count(range(Some(least), None)),
            )
        };
        check(&count(2), document, 1000, "2 nodes, at least 2 wanted");
        check(&count(4), document, 500, "2 nodes, at least 4 wanted");
        for (query, value, tenths, words) in [
            ("$.events[0].n", json!(1.0), 1000, "is 1"),
            ("$.events[1]", json!({"n": 2}), 1000, "is {\"n\":2.0}"),
            ("$.events[1].n", json!(3), 0, "is 2.0, not 3"),
            ("$.events[0].n", json!("1"), 0, "is 1, not \"1\""),
            (
                "$.big",
                json!(9_007_199_254_740_992_u64),
                0,
                "is 9007199254740993, not 9007199254740992",
            ),
            ("$.events[*].n", json!(1), 0, "2 nodes, exactly 1 wanted"),
            ("$.none", json!(null), 0, "0 nodes, exactly 1 wanted"),
        ] {
            check(&path(query, is(value)), document, tenths, words);
        }
    }

    #[test]
    fn what_is_not_json_has_no_points_because_the_candidate_wrote_it() {
        let words = "the artifact is not JSON: expected value at line 1 column 1";
        check(&schema(), "# Post", 0, words);
        check(&path("$", is(json!(1))), "# Post", 0, words);
    }

    #[test]
    fn equals_names_the_first_line_that_differs() {
        let scorer = expected("one\ntwo x\nthree\n");
        for (content, tenths, words) in [
            ("one\ntwo x\nthree \n\n", 1000, "equal"),
            (
                "one\ntwo y\nthree",
                0,
                "line 2 differs from column 5 on: \"y\" instead of \"x\"",
            ),
            (
                "one\ntwo",
                0,
                "line 2 differs from column 4 on: \"\" instead of \" x\"",
            ),
            ("one\ntwo x", 0, "line 3 is missing: \"three\""),
            (
                "one\ntwo x\nthree\nfour",
                0,
                "line 4 is one too many: \"four\"",
            ),
            (
                "one\r\ntwo x\nthree",
                0,
                "line 1 differs in the blank space at its end",
            ),
            (
                "",
                0,
                "line 1 differs from column 1 on: \"\" instead of \"one\"",
            ),
        ] {
            check(&scorer, content, tenths, words);
        }
    }

    #[test]
    fn golden_scores_the_similarity_of_lines() {
        let scorer = file("a\nb\nc\nd\n");
        for (content, tenths, words) in [
            ("a\r\nb \nc\nd\n\n", 1000, "equal to the expected file"),
            (
                "a\nx\nc\nd",
                750,
                "3 of 4 expected lines there, of 4 in all",
            ),
            ("a", 400, "1 of 4 expected lines there, of 1 in all"),
            (
                "d\nc\nb\na",
                250,
                "1 of 4 expected lines there, of 4 in all",
            ),
            (
                "a\nb\nc\nd\ne\ne\ne\ne",
                667,
                "4 of 4 expected lines there, of 8 in all",
            ),
            ("", 0, "0 of 4 expected lines there, of 0 in all"),
        ] {
            check(&scorer, content, tenths, words);
        }
        check(&file(""), "\n", 1000, "equal to the expected file");
        check(
            &file("\n"),
            "x",
            0,
            "0 of 0 expected lines there, of 1 in all",
        );
    }

    #[test]
    fn very_long_files_are_compared_in_any_order() {
        let numbers = |numbers: &mut dyn Iterator<Item = usize>| {
            numbers.map(|n| format!("{n}\n")).collect::<String>()
        };
        let scorer = file(&numbers(&mut (0..30_000)));
        let words = "20000 of 30000 expected lines there in any order, of 20001 in all";
        let text = numbers(&mut (0..20_000).rev()) + "0\n";
        check(&scorer, &text, 800, words);
    }

    #[test]
    fn the_hardest_file_that_is_compared_in_order_still_comes_to_an_end() {
        let lines: Vec<String> = (0..MAX_LINES_IN_ORDER).map(|n| n.to_string()).collect();
        let old: Vec<&str> = lines.iter().map(String::as_str).collect();
        let new: Vec<&str> = old.iter().rev().copied().collect();
        let started = Instant::now();
        assert_eq!(common_in_order(&old, &new), 1);
        eprintln!("{:?}", started.elapsed());
        let old: Vec<&str> = (0..MAX_LINES_IN_ORDER)
            .map(|n| if n * n % 7919 % 2 == 0 { "a" } else { "b" })
            .collect();
        let new: Vec<&str> = (0..MAX_LINES_IN_ORDER)
            .map(|n| if n * n * n % 7907 % 2 == 0 { "a" } else { "b" })
            .collect();
        let started = Instant::now();
        eprintln!("{}", common_in_order(&old, &new));
        eprintln!("{:?}", started.elapsed());
    }

    #[test]
    fn without_an_artifact_there_are_no_points_and_an_unreadable_one_is_unscored() {
        for scorer in [
            texts(&["x"]),
            regex("x", range(None, Some(3))),
            Quality::Length(LengthUnit::Bytes, range(None, Some(3))),
            Quality::Length(LengthUnit::Words, range(None, Some(3))),
            schema(),
            path("$", is(json!(1))),
            expected(""),
            file(""),
        ] {
            let missing = Verdict::scored(Points::ZERO, "no artifact came home");
            assert_eq!(scorer.score(&nothing()), Some(missing), "{scorer:?}");
            assert!(
                matches!(scorer.score(&unreadable()), Some(Verdict::Unscored { .. })),
                "{scorer:?}"
            );
        }
    }

    #[test]
    fn names_are_as_written_but_short_and_harmless() {
        struct Mine;
        impl Scorer for Mine {
            fn name(&self) -> String {
                "my\nown".to_owned()
            }
            fn score(&self, _: &Evidence) -> Verdict {
                Verdict::unscored("never")
            }
        }
        let grader = Quality::Command(Grader {
            argv: vec!["python3".to_owned(), "checks/links.py".to_owned()],
            files: Vec::new(),
            limit: Duration::from_secs(1),
        });
        assert_eq!(grader.score(&nothing()), None);
        let own = Quality::Own(Arc::new(Mine));
        assert_eq!(own.score(&nothing()), Some(Verdict::unscored("never")));
        let words = LengthUnit::Words;
        let count = JsonExpectation::Count(range(Some(1), None));
        for (scorer, name) in [
            (
                texts(&["a", "b", "c", "d"]),
                "contains \"a\", \"b\", \"c\" and 1 more",
            ),
            (regex("^#", range(Some(3), None)), "regex /^#/ at_least 3"),
            (
                Quality::Length(words, range(Some(1), Some(9))),
                "length in words at_least 1 at_most 9",
            ),
            (schema(), "json_schema numbers.json"),
            (path("$.a[*]", count), "json_path $.a[*] at_least 1"),
            (path("$.a", is(json!("x"))), "json_path $.a equals \"x\""),
            (expected("a\nb"), "equals \"a⏎b\""),
            (file(""), "golden expected.md"),
            (grader, "command python3 checks/links.py"),
            (own, "my⏎own"),
        ] {
            assert_eq!(scorer.name(), name);
            assert_eq!(format!("{scorer:?}"), name);
        }
    }

    /// The textbook's table: the length of the longest common subsequence.
    fn longest_common(old: &[&str], new: &[&str]) -> usize {
        let mut row = vec![0; new.len() + 1];
        for a in old {
            let mut diagonal = 0;
            for (at, b) in new.iter().enumerate() {
                let above = row[at + 1];
                row[at + 1] = if a == b {
                    diagonal + 1
                } else {
                    above.max(row[at])
                };
                diagonal = above;
            }
        }
        row[new.len()]
    }

    proptest! {
        #[test]
        fn lines_in_common_are_counted_exactly(old in "([abc]\n){0,12}", new in "([abcd]\n){0,12}") {
            let old: Vec<&str> = old.lines().collect();
            let new: Vec<&str> = new.lines().collect();
            prop_assert_eq!(common_in_order(&old, &new), longest_common(&old, &new));
            prop_assert!(common_anywhere(&old, &new) >= common_in_order(&old, &new));
        }

        #[test]
        fn points_of_counts_are_never_outside_their_range(
            count in any::<u64>(),
            least in proptest::option::of(0_u64..9),
            more in proptest::option::of(0_u64..9),
        ) {
            let bounds = range(least, more.map(|more| least.unwrap_or(0) + more));
            let within = count >= bounds.at_least.unwrap_or(0)
                && count <= bounds.at_most.unwrap_or(u64::MAX);
            prop_assert_eq!(bounds.points(count) == Points::FULL, within);
        }
    }
}
