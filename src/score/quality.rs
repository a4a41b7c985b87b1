//! Quality scorers: what an objective's `scoring.quality` may list.
//!
//! Promises: every verdict says why, in words and numbers, and shows only short and harmless text. An
//! artifact that is missing, or not the JSON that it should be, is the candidate's doing and has 0
//! points; one that this machine cannot read is *unscored*. Same artifact, same verdict: what takes long
//! is cut by counts, never by the clock.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::artifact::{self, Unfit};
use super::compare::{equals, golden};
use super::gate::{SHOWN, Schema, find, quoted, slashed};
use super::{Evidence, Points, Scorer, Verdict, pattern};
use crate::name::RelativePath;
use crate::plain;
use crate::quantity::counted;

pub use super::grader::{GraderEnd, GraderOutput, GraderVerdict, grader_verdict};
pub use super::path::Path;

/// The most missing texts that an explanation lists.
const LISTED: usize = 3;

/// The bounds of a count. At least one of them is set; `at_least` is not above `at_most`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
pub(super) fn share(part: u64, whole: u64) -> Points {
    if whole == 0 {
        Points::FULL
    } else {
        Points::clamped(100.0 * part as f64 / whole as f64)
    }
}

/// What `length` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum JsonExpectation {
    /// Their number.
    Count(Range),
    /// Exactly one node, equal to this.
    Equals(Value),
}

/// A program of the objective's author that judges a trial in a fresh sandbox.
#[derive(Debug, Clone, PartialEq)]
pub struct Grader {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// The objective's files that it needs: their path in the sandbox, and where they are here.
    pub files: Vec<(RelativePath, std::path::PathBuf)>,
    /// Its time limit.
    pub limit: Duration,
    /// The score that is full marks; above 0. By default 100, and what a verdict says goes before.
    pub scale: Option<f64>,
    /// What it means that it fails; by default, the run's other trials decide.
    pub on_error: Option<OnError>,
}

/// What it means that a grader fails, whatever becomes of it on other trials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// 0 points for the trial.
    Zero,
    /// Nobody wins by the objective.
    Ungraded,
}

/// A quality scorer of an objective. Those that need more than the evidence cannot be serialised.
#[derive(Clone, Serialize, Deserialize)]
pub enum Quality {
    /// The share of these texts that the artifact contains.
    Contains(Vec<String>),
    /// How often the pattern matches; see [`pattern`].
    Regex(#[serde(with = "pattern")] Regex, Range),
    /// How long the artifact is.
    Length(LengthUnit, Range),
    /// Whether the artifact is JSON and valid.
    JsonSchema(Schema),
    /// What a JSON path (RFC 9535) selects in the artifact.
    JsonPath(Path, JsonExpectation),
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
    #[serde(skip)]
    Command(Grader),
    /// The caller's own.
    #[serde(skip)]
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
                format!("json_schema {}", plain::short(schema.name(), SHOWN))
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

    /// Whether it takes time and memory in proportion to the artifact, whatever that is.
    pub(super) const fn is_plain(&self) -> bool {
        match self {
            Self::Contains(_) | Self::Length(..) | Self::Equals(_) => true,
            Self::Regex(..)
            | Self::JsonSchema(_)
            | Self::JsonPath(..)
            | Self::Golden { .. }
            | Self::Command(_)
            | Self::Own(_) => false,
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
                json().map(|value| selected(&path.query(&value), expectation))
            }
            Self::Equals(expected) => text().map(|text| equals(&text, expected)),
            Self::Golden { expected, .. } => text().map(|text| golden(&text, expected)),
            Self::Command(_) => return None,
            Self::Own(scorer) => return Some(scorer.score(evidence)),
        };
        Some(match judged {
            Ok((points, explanation)) => Verdict::scored(points, explanation),
            Err(unfit @ (Unfit::Missing(_) | Unfit::NotJson(_) | Unfit::NotText(_))) => {
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
        .filter(|wanted| find(text, wanted).is_none())
        .collect();
    let (there, total) = (wanted.len() - missing.len(), wanted.len());
    let texts = counted(total, "text", "texts");
    let explanation = if missing.is_empty() {
        format!("{there} of {texts} found")
    } else {
        format!("{there} of {texts} found; missing {}", listed(&missing))
    };
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::artifact::tests::{nothing, unreadable, with};
    use super::*;

    const fn range(at_least: Option<u64>, at_most: Option<u64>) -> Range {
        Range { at_least, at_most }
    }

    fn regex(pattern: &str, range: Range) -> Quality {
        Quality::Regex(pattern::compile(pattern).unwrap(), range)
    }

    fn texts(texts: &[&str]) -> Quality {
        Quality::Contains(texts.iter().map(|text| (*text).to_owned()).collect())
    }

    fn path(path: &str, expectation: JsonExpectation) -> Quality {
        Quality::JsonPath(Path::parse(path).unwrap(), expectation)
    }

    fn is(value: Value) -> JsonExpectation {
        JsonExpectation::Equals(value)
    }

    fn schema() -> Quality {
        let schema = json!({"type": "array", "items": {"type": "integer"}});
        Quality::JsonSchema(Schema::compile("numbers.json".to_owned(), schema).unwrap())
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
            scale: None,
            on_error: None,
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

    proptest! {
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
