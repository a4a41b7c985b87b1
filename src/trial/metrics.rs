//! The candidate's own metrics: the numbers of its `metrics.json`.
//!
//! Promises: what is no finite number costs that one metric only, and is said; JSON as Python's `json.dump`
//! writes it, with `NaN` and `Infinity`, is read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use serde_json::{Map, Value};

use crate::plain;
use crate::quantity::ByteCount;
use crate::store::Left;

/// Where they come from, below `FORGE_ARTIFACTS`.
pub(super) const METRICS: &str = "metrics.json";
/// The largest file.
const MAX_BYTES: ByteCount = ByteCount::kib(64);
/// The most metrics.
const MAX_METRICS: usize = 64;
/// The longest name of one, and the most that is shown of a value.
const SHOWN: usize = 64;
/// The most metrics that are named for being left out.
const LISTED: usize = 5;

/// The metrics that a trial left, and a sentence for each thing that is wrong with them.
pub(super) fn read(left: &Left) -> (BTreeMap<String, f64>, Vec<String>) {
    let Some((_, path)) = left.files.iter().find(|(name, _)| name.as_str() == METRICS) else {
        return (BTreeMap::new(), Vec::new());
    };
    match text(path) {
        Ok(Some(text)) => parse(&text),
        Ok(None) => nothing(&format!("it is larger than {MAX_BYTES}")),
        Err(error) => nothing(&error.to_string()),
    }
}

/// Its text, unless it is too long.
fn text(path: &Path) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    file.take(MAX_BYTES.0 + 1).read_to_end(&mut bytes)?;
    let is_small = bytes.len() as u64 <= MAX_BYTES.0;
    Ok(is_small.then(|| String::from_utf8_lossy(&bytes).into_owned()))
}

fn nothing(why: &str) -> (BTreeMap<String, f64>, Vec<String>) {
    (
        BTreeMap::new(),
        vec![format!("{METRICS} is not read: {why}")],
    )
}

fn parse(text: &str) -> (BTreeMap<String, f64>, Vec<String>) {
    let text = crate::score::without_mark(text);
    let object: Map<String, Value> = match serde_json::from_str(&quoted(text)) {
        Ok(object) => object,
        Err(error) => {
            return nothing(&format!(
                "it is no JSON object of numbers: {}",
                plain::quoted(&error)
            ));
        }
    };
    let (mut metrics, mut wrong) = (BTreeMap::new(), Vec::new());
    let mut over = 0;
    for (name, value) in object {
        let name = plain::short(&name, SHOWN);
        match value.as_f64().filter(|value| value.is_finite()) {
            Some(_) if metrics.len() == MAX_METRICS => over += 1,
            Some(number) => {
                metrics.insert(name, number);
            }
            None => wrong.push((name, value)),
        }
    }
    let more = wrong.len().saturating_sub(LISTED);
    let listed = wrong.iter().take(LISTED).map(|(name, value)| {
        let shown = match value {
            Value::String(text) => plain::short(text, SHOWN),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => plain::short(&value.to_string(), SHOWN),
        };
        format!("{METRICS}: `{name}` is left out: {shown} is no finite number")
    });
    let mut warnings: Vec<String> = listed.collect();
    if more > 0 {
        warnings.push(format!(
            "{METRICS}: {more} more are no finite numbers, and left out"
        ));
    }
    if over > 0 {
        warnings.push(format!(
            "{METRICS}: {over} are left out: the limit is {MAX_METRICS} metrics"
        ));
    }
    (metrics, warnings)
}

/// JSON in which every bare word that is none of JSON's, such as `NaN`, and every number that is too large
/// for one is a text.
fn quoted(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => string_length(rest),
            c if is_bare(c) => rest.find(|c| !is_bare(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        if is_bare(first) && serde_json::from_str::<Value>(token).is_err() {
            clean.push_str(&Value::from(token).to_string());
        } else {
            clean.push_str(token);
        }
        rest = after;
    }
    clean
}

fn is_bare(c: char) -> bool {
    c.is_alphanumeric() || "+-._".contains(c)
}

/// How long the string is that a text begins with, with its quotes.
fn string_length(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !is_escaped => return at + 1,
            '\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_finite_number_costs_that_metric_only_and_is_named() {
        for (text, metrics, warnings) in [
            (
                r#"{"tokens": 12, "cost": 0.5, "big": 1e300}"#,
                "big cost tokens",
                "",
            ),
            ("\u{feff}{\"a\": -1}", "a", ""),
            (
                r#"{"a": 1, "loss": NaN}"#,
                "a",
                "metrics.json: `loss` is left out: NaN is no finite number",
            ),
            (
                r#"{"a": 1, "b": -Infinity, "c": 1e999}"#,
                "a",
                "metrics.json: `b` is left out: -Infinity is no finite number; metrics.json: `c` is left out: 1e999 is no finite number",
            ),
            (
                r#"{"a": 1, "b": "x\" NaN", "c": null, "d": [NaN], "e": {"f": true}, "g": true, "h": "y"}"#,
                "a",
                "metrics.json: `b` is left out: x\" NaN is no finite number; \
                 metrics.json: `c` is left out: null is no finite number; \
                 metrics.json: `d` is left out: [\"NaN\"] is no finite number; \
                 metrics.json: `e` is left out: {\"f\":true} is no finite number; \
                 metrics.json: `g` is left out: true is no finite number; \
                 metrics.json: 1 more are no finite numbers, and left out",
            ),
            (
                "[1]",
                "",
                "metrics.json is not read: it is no JSON object of numbers: invalid type: sequence, expected a map at line 1 column 0",
            ),
            (
                "{\"a\": 1",
                "",
                "metrics.json is not read: it is no JSON object of numbers: EOF while parsing an object at line 1 column 7",
            ),
            (
                "{\"a\\",
                "",
                "metrics.json is not read: it is no JSON object of numbers: EOF while parsing a string at line 1 column 4",
            ),
        ] {
            let (found, said) = parse(text);
            let found: Vec<String> = found.into_keys().collect();
            assert_eq!(
                (found.join(" "), said.join("; ")),
                (metrics.to_owned(), warnings.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn too_many_metrics_are_counted() {
        let many: Map<String, Value> = (0..70).map(|n| (format!("m{n:02}"), n.into())).collect();
        let (found, said) = parse(&Value::Object(many).to_string());
        assert_eq!(found.len(), MAX_METRICS);
        assert_eq!(
            said,
            ["metrics.json: 6 are left out: the limit is 64 metrics"]
        );
    }

    #[test]
    fn fuzz_metrics() {
        // What is wrong is quoted, however long it is.
        let long = format!("\"{}\"", "x".repeat(5000));
        let samples: [&[u8]; 4] = [
            long.as_bytes(),
            br#"{"tokens": 1234, "cost_usd": 0.02, "loss": NaN, "a": -Infinity, "b": "x", "c": null}"#,
            br#"{"NaN": "Infinity \" NaN", "a\u001b[2J": 1e308, "a": 1e999}"#,
            b"\xef\xbb\xbf{\"a\": 1, \"a\": 2}",
        ];
        crate::fuzz::fuzz(file!(), &samples, |bytes| {
            let (metrics, said) = parse(&String::from_utf8_lossy(bytes));
            assert!(metrics.len() <= MAX_METRICS);
            for (name, value) in &metrics {
                assert!(
                    value.is_finite() && !name.chars().any(char::is_control),
                    "{name}: {value}"
                );
            }
            let is_short = |it: &String| it.chars().count() < 1024;
            assert!(said.len() <= LISTED + 2 && said.iter().all(is_short));
            crate::fuzz::assert_plain(&said.join("\n"));
        });
    }
}
