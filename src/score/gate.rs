//! Gates: deterministic pass/fail checks; one that fails disqualifies the trial.
//!
//! Promises: a gate never panics and always says why, in words and numbers; what it shows of an artifact
//! is short and harmless. Without an artifact only those gates hold that would hold for an empty one.

use std::sync::Arc;

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::artifact::{self, Unfit};
use super::{Evidence, GateResult, pattern};
use crate::plain;
use crate::quantity::counted;

/// The most characters that an explanation or a name shows of one text.
pub(super) const SHOWN: usize = 80;

/// The most errors of a schema that an explanation lists.
const LISTED: usize = 3;

/// A JSON Schema, compiled.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Schema {
    written: Written,
    validator: Arc<jsonschema::Validator>,
}

/// A JSON Schema as the objective has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Written {
    name: String,
    schema: Arc<Value>,
}

impl TryFrom<Written> for Schema {
    type Error = jsonschema::ValidationError<'static>;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let validator = Arc::new(jsonschema::validator_for(&written.schema)?);
        Ok(Self { written, validator })
    }
}

impl From<Schema> for Written {
    fn from(schema: Schema) -> Self {
        schema.written
    }
}

impl Schema {
    /// Compiles a schema; `name` is what the objective calls it.
    ///
    /// # Errors
    /// When it is none.
    pub fn compile(
        name: String,
        schema: Value,
    ) -> Result<Self, jsonschema::ValidationError<'static>> {
        let schema = Arc::new(schema);
        Self::try_from(Written { name, schema })
    }

    /// As the objective names it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.written.name
    }

    /// Whether a value is valid; and the number of errors with the first of them, or that there are none.
    pub(super) fn judge(&self, value: &Value) -> (bool, String) {
        let mut errors = self.validator.iter_errors(value);
        let listed: Vec<String> = errors
            .by_ref()
            .take(LISTED)
            .map(|error| {
                let path = error.instance_path().to_string();
                let place = if path.is_empty() { "the root" } else { &path };
                let place = plain::short(place, SHOWN);
                format!("{place}: {}", plain::ends(&error.to_string(), SHOWN))
            })
            .collect();
        let more = errors.count();
        if listed.is_empty() {
            return (true, "valid".to_owned());
        }
        let total = counted(listed.len() + more, "error", "errors");
        let and_more = if more > 0 { "; …" } else { "" };
        (false, format!("{total}: {}{and_more}", listed.join("; ")))
    }
}

/// A deterministic check of a finished trial.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Gate {
    /// The candidate exited by itself, with this code.
    ExitCode(i32),
    /// The artifact has at least this many bytes.
    MinBytes(u64),
    /// The artifact has at most this many bytes.
    MaxBytes(u64),
    /// The artifact's text has this in it.
    Contains(String),
    /// The artifact's text does not have this in it.
    NotContains(String),
    /// The artifact's text matches somewhere; see [`pattern`].
    Regex(#[serde(with = "pattern")] Regex),
    /// The artifact is JSON and valid.
    JsonSchema(Schema),
}

impl Gate {
    /// How reports call it: as written, `min_bytes 11`.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::ExitCode(code) => format!("exit_code {code}"),
            Self::MinBytes(least) => format!("min_bytes {least}"),
            Self::MaxBytes(most) => format!("max_bytes {most}"),
            Self::Contains(text) => format!("contains {}", quoted(text)),
            Self::NotContains(text) => format!("not_contains {}", quoted(text)),
            Self::Regex(pattern) => format!("regex {}", slashed(pattern)),
            Self::JsonSchema(schema) => {
                format!("json_schema {}", plain::short(schema.name(), SHOWN))
            }
        }
    }

    /// Checks one trial. An artifact that cannot be read fails every gate that needs it.
    #[must_use]
    pub fn check(&self, evidence: &Evidence) -> GateResult {
        let (passed, explanation) = match self.judge(evidence) {
            Ok(judgement) => judgement,
            Err(unfit @ Unfit::Missing(_)) => (self.holds_without_artifact(), unfit.to_string()),
            Err(unfit @ (Unfit::Unreadable(_) | Unfit::NotJson(_) | Unfit::NotText(_))) => {
                (false, unfit.to_string())
            }
        };
        GateResult {
            gate: self.name(),
            passed,
            explanation,
        }
    }

    fn judge(&self, evidence: &Evidence) -> Result<(bool, String), Unfit> {
        Ok(match self {
            Self::ExitCode(wanted) => match evidence.exit_code {
                Some(code) => (
                    code == *wanted,
                    format!("exited with {code}{}", crate::signal::meaning(code)),
                ),
                None => (false, plain::ends(&evidence.ended, 2 * SHOWN)),
            },
            Self::MinBytes(least) => {
                let size = artifact::size(evidence)?;
                (size >= *least, has_bytes(size))
            }
            Self::MaxBytes(most) => {
                let size = artifact::size(evidence)?;
                (size <= *most, has_bytes(size))
            }
            Self::Contains(wanted) => {
                let text = artifact::text(evidence)?;
                let at = find(&text, wanted);
                (at.is_some(), found("found", "not found", at, &text))
            }
            Self::NotContains(unwanted) => {
                let text = artifact::text(evidence)?;
                let at = find(&text, unwanted);
                (at.is_none(), found("found", "not found", at, &text))
            }
            Self::Regex(pattern) => {
                let text = artifact::text(evidence)?;
                let at = pattern.find(&text).map(|found| found.start());
                let pattern = slashed(pattern);
                let there = format!("{pattern} matches");
                let nowhere = format!("{pattern} matches nowhere");
                (at.is_some(), found(&there, &nowhere, at, &text))
            }
            Self::JsonSchema(schema) => schema.judge(&artifact::json(evidence)?),
        })
    }

    /// Whether it takes time and memory in proportion to the artifact, whatever that is.
    pub(super) const fn is_plain(&self) -> bool {
        match self {
            Self::ExitCode(_)
            | Self::MinBytes(_)
            | Self::MaxBytes(_)
            | Self::Contains(_)
            | Self::NotContains(_) => true,
            Self::Regex(_) | Self::JsonSchema(_) => false,
        }
    }

    fn holds_without_artifact(&self) -> bool {
        match self {
            Self::MinBytes(least) => *least == 0,
            Self::MaxBytes(_) | Self::NotContains(_) => true,
            Self::ExitCode(_) | Self::Contains(_) | Self::Regex(_) | Self::JsonSchema(_) => false,
        }
    }
}

/// Where a text begins in another. A line end in it is found as LF and as CRLF.
pub(super) fn find(text: &str, wanted: &str) -> Option<usize> {
    let with_crlf = || {
        let is_needed = wanted.contains('\n') && text.contains('\r');
        is_needed.then(|| text.find(&wanted.replace("\r\n", "\n").replace('\n', "\r\n")))?
    };
    text.find(wanted).or_else(with_crlf)
}

fn has_bytes(size: u64) -> String {
    format!("the artifact has {}", counted(size, "byte", "bytes"))
}

/// `found in line 3`, or `not found in 312 characters`.
fn found(there: &str, nowhere: &str, at: Option<usize>, text: &str) -> String {
    if let Some(at) = at {
        let line = 1 + text[..at].matches('\n').count();
        format!("{there} in line {line}")
    } else {
        let length = counted(text.chars().count(), "character", "characters");
        format!("{nowhere} in {length}")
    }
}

/// A text in quotes, short and harmless.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", plain::short(text, SHOWN))
}

/// A pattern between slashes, short and harmless.
pub(super) fn slashed(pattern: &Regex) -> String {
    format!("/{}/", plain::short(pattern.as_str(), SHOWN))
}

#[cfg(test)]
mod tests {
    use super::artifact::tests::{nothing, unreadable, with};
    use super::*;

    fn regex(pattern: &str) -> Gate {
        Gate::Regex(pattern::compile(pattern).unwrap())
    }

    fn schema() -> Gate {
        let schema = serde_json::json!({
            "type": "array",
            "items": {"type": "object", "required": ["url"], "properties": {"url": {"type": "string"}}},
        });
        Gate::JsonSchema(Schema::compile("schemas/events.json".to_owned(), schema).unwrap())
    }

    fn contains(text: &str) -> Gate {
        Gate::Contains(text.to_owned())
    }

    fn not_contains(text: &str) -> Gate {
        Gate::NotContains(text.to_owned())
    }

    #[track_caller]
    fn check(gate: &Gate, evidence: &Evidence, passed: bool, explanation: &str) {
        let result = gate.check(evidence);
        assert_eq!(
            (result.passed, result.explanation.as_str()),
            (passed, explanation),
            "{}",
            result.gate
        );
    }

    #[test]
    fn gates_judge_the_artifact_in_words_and_numbers() {
        let text = "# Post\nsee https://x.example\n";
        for (gate, content, passed, explanation) in [
            (Gate::MinBytes(5), "12345", true, "the artifact has 5 bytes"),
            (
                Gate::MinBytes(6),
                "12345",
                false,
                "the artifact has 5 bytes",
            ),
            (Gate::MaxBytes(1), "1", true, "the artifact has 1 byte"),
            (Gate::MaxBytes(0), "1", false, "the artifact has 1 byte"),
            (contains("https://"), text, true, "found in line 2"),
            (
                contains("Https://"),
                text,
                false,
                "not found in 29 characters",
            ),
            (not_contains("Post"), text, false, "found in line 1"),
            (not_contains("post"), "ä", true, "not found in 1 character"),
            (regex("^see"), text, true, "/^see/ matches in line 2"),
            (
                regex("^x"),
                text,
                false,
                "/^x/ matches nowhere in 29 characters",
            ),
            (schema(), r#"[{"url": "x"}]"#, true, "valid"),
            (
                schema(),
                r#"[{"url": 1}]"#,
                false,
                r#"1 error: /0/url: 1 is not of type "string""#,
            ),
            (
                schema(),
                "3",
                false,
                r#"1 error: the root: 3 is not of type "array""#,
            ),
            (
                schema(),
                "[1, 2, 3, 4, 5]",
                false,
                "5 errors: /0: 1 is not of type \"object\"; /1: 2 is not of type \"object\"; \
                 /2: 3 is not of type \"object\"; …",
            ),
            (
                schema(),
                "nonsense",
                false,
                "the artifact is not JSON: expected ident at line 1 column 2",
            ),
        ] {
            check(&gate, &with(content).0, passed, explanation);
        }
    }

    #[test]
    fn the_exit_code_gate_says_how_the_candidate_ended() {
        check(&Gate::ExitCode(0), &nothing(), true, "exited with 0");
        let mut evidence = nothing();
        evidence.exit_code = Some(3);
        check(&Gate::ExitCode(0), &evidence, false, "exited with 3");
        check(&Gate::ExitCode(3), &evidence, true, "exited with 3");
        evidence.exit_code = None;
        evidence.ended = "timed out after 2.00 s".to_owned();
        check(
            &Gate::ExitCode(0),
            &evidence,
            false,
            "timed out after 2.00 s",
        );
    }

    #[test]
    fn without_an_artifact_only_what_holds_for_an_empty_one_holds() {
        for (gate, passed) in [
            (Gate::MinBytes(11), false),
            (Gate::MinBytes(0), true),
            (Gate::MaxBytes(9), true),
            (contains("x"), false),
            (not_contains("x"), true),
            (regex("x?"), false),
            (schema(), false),
        ] {
            check(&gate, &nothing(), passed, "no artifact came home");
        }
    }

    #[test]
    fn an_artifact_that_cannot_be_read_fails_with_the_reason() {
        for gate in [
            Gate::MinBytes(0),
            Gate::MaxBytes(9),
            contains("x"),
            not_contains("x"),
            regex("x"),
            schema(),
        ] {
            let result = gate.check(&unreadable());
            assert!(!result.passed, "{}", result.gate);
            let reason = result.explanation;
            assert!(
                reason.starts_with("the artifact cannot be read: "),
                "{reason}"
            );
        }
    }

    #[test]
    fn names_are_as_written_but_short_and_harmless() {
        for (gate, name) in [
            (Gate::ExitCode(0), "exit_code 0"),
            (Gate::MinBytes(11), "min_bytes 11"),
            (Gate::MaxBytes(99), "max_bytes 99"),
            (contains("https://"), "contains \"https://\""),
            (not_contains("a\u{1b}[31m\nb"), "not_contains \"a⏎b\""),
            (regex("^# "), "regex /^# /"),
            (schema(), "json_schema schemas/events.json"),
        ] {
            assert_eq!(gate.name(), name);
        }
        assert!(contains(&"x".repeat(5000)).name().chars().count() < 100);
    }

    #[test]
    fn hostile_values_are_shown_short_and_harmless() {
        let hostile = "\\n::error::\\u001b[2J".repeat(1000);
        let (evidence, _folder) = with(format!(r#"[{{"url": ["{hostile}"]}}]"#));
        let result = schema().check(&evidence);
        assert!(!result.passed);
        assert!(
            result.explanation.chars().count() < 200,
            "{}",
            result.explanation
        );
        assert!(!result.explanation.contains(['\n', '\u{1b}']));
    }
}
