//! `scoring` of an objective: weights, quality scorers, speed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::patterns::{needle, pattern, schema};
use super::present;
use super::sources::{FILE, Sources, relative};
use crate::name::RelativePath;
use crate::objective::{Scoring, Weighted};
use crate::policy;
use crate::score::quality::{Grader, JsonExpectation, LengthUnit, OnError, Path, Quality, Range};
use crate::score::{SpeedScale, Weights};
use crate::suggest;
use crate::yaml::Tree;
use crate::yaml::decode::{Fields, Value};

/// The longest JSON path, in bytes.
const MAX_JSON_PATH_BYTES: usize = 1000;
/// The most opening brackets in one.
const MAX_JSON_PATH_BRACKETS: usize = 20;
/// The time limit of a grader that does not set one.
const GRADER_LIMIT: Duration = Duration::from_secs(60);

/// Every kind of scorer with the options that it may have, besides `weight`.
pub(crate) const KINDS: [(&str, &[&str]); 9] = [
    ("contains", &[]),
    ("regex", &["at_least", "at_most"]),
    ("length", &["at_least", "at_most"]),
    ("json_schema", &[]),
    // Before `equals`, which is an option of it and a kind of its own.
    ("json_path", &["equals", "at_least", "at_most"]),
    ("equals", &[]),
    ("golden", &[]),
    ("command", &["files", "timeout", "scale", "on_error"]),
    ("judge", &[]),
];
const OPTIONS: [&str; 7] = [
    "weight", "at_least", "at_most", "files", "timeout", "scale", "on_error",
];
const COUNT_HINT: &str = "a whole number, for example `at_least: 3`";

/// Decodes `scoring`.
pub(super) fn scoring(value: &Value<'_>, sources: &mut Sources<'_>) -> Option<Scoring> {
    let hint = "for example `scoring: {quality: [{contains: \"https://\"}]}`";
    let fields = value.fields("part of scoring", &["weights", "quality", "speed"], hint)?;
    let weights = fields.optional("weights", weights);
    let quality = fields.optional("quality", |value| {
        let hint = "a list of scorers, for example `- {regex: '^#', at_least: 3, weight: 2}`";
        value.each(hint, |item| scorer(item, sources))
    });
    let speed = fields.optional("speed", speed);
    Some(Scoring {
        weights: weights?.unwrap_or_default(),
        quality: quality?.unwrap_or_default(),
        speed: speed?,
    })
}

fn weights(value: &Value<'_>) -> Option<Weights> {
    let hint = "for example `weights: {success: 0.2, quality: 0.6, speed: 0.2}`";
    let fields = value.fields("part of the score", &["success", "quality", "speed"], hint)?;
    let weight = |value: &Value<'_>| {
        let hint = "weights are numbers from 0 up, for example `quality: 0.6`";
        match value.number(hint)? {
            // `+ 0.0` turns the negative zero into the positive one.
            weight if weight >= 0.0 => Some(weight + 0.0),
            _ => value.wrong("a number from 0 up", hint),
        }
    };
    let success = fields.optional("success", weight);
    let quality = fields.optional("quality", weight);
    let speed = fields.optional("speed", weight);
    let default = Weights::default();
    let weights = Weights {
        success: success?.unwrap_or(default.success),
        quality: quality?.unwrap_or(default.quality),
        speed: speed?.unwrap_or(default.speed),
    };
    let sum = weights.success + weights.quality + weights.speed;
    if sum <= 0.0 {
        return value.problem(
            "all three weights are 0",
            "give at least one of them a weight",
        );
    }
    if !sum.is_finite() {
        return value.problem("the weights are too large to be added up", hint);
    }
    Some(weights)
}

fn speed(value: &Value<'_>) -> Option<SpeedScale> {
    let hint = "for example `speed: {full_marks: 1s, no_marks: 60s}`";
    let fields = value.fields("time", &["full_marks", "no_marks"], hint)?;
    let full = fields
        .required("full_marks", hint)
        .and_then(|value| match value.tree() {
            // The one duration that may be zero: no time is too short.
            Tree::Whole(0) => Some(Duration::ZERO),
            Tree::Text(text) if text.trim() == "0s" => Some(Duration::ZERO),
            Tree::Nothing
            | Tree::Truth(_)
            | Tree::Whole(_)
            | Tree::Decimal(_)
            | Tree::Text(_)
            | Tree::List(_)
            | Tree::Map(_) => policy::duration(&value),
        });
    let none = fields
        .required("no_marks", hint)
        .and_then(|value| policy::duration(&value));
    let (full_marks, no_marks) = (full?, none?);
    if full_marks >= no_marks {
        return value.problem("`full_marks` is not below `no_marks`", hint);
    }
    Some(SpeedScale {
        full_marks,
        no_marks,
    })
}

fn scorer(item: &Value<'_>, sources: &mut Sources<'_>) -> Option<Weighted> {
    let fields = item.map("one scorer, for example `{contains: \"https://\", weight: 2}`")?;
    let names: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
    let mut kinds = present(&fields, &names);
    if kinds.contains(&"json_path") {
        kinds.retain(|kind| *kind != "equals");
    }
    let [kind] = kinds.as_slice() else {
        return wrong_kinds(&fields, &kinds, &names);
    };
    let options = KINDS
        .iter()
        .find(|(name, _)| name == kind)
        .map_or(&[] as &[&str], |(_, options)| *options);
    refuse_options(&fields, kind, options);
    let weight = fields.optional("weight", |value| {
        let hint = "weights are numbers, for example `weight: 2`";
        match value.number(hint)? {
            weight if weight > 0.0 => Some(weight),
            _ => value.wrong("a number above 0", hint),
        }
    });
    let value = fields.get(kind)?;
    let scorer = match *kind {
        "contains" => needles(&value, sources).map(Quality::Contains),
        "regex" => {
            let range = range(&fields);
            pattern(&value).and_then(|regex| Some(Quality::Regex(regex, range?)))
        }
        "length" => length(&fields, &value),
        "json_schema" => schema(&value, sources).map(Quality::JsonSchema),
        "json_path" => json_path(&fields, &value),
        "equals" => equals(&value, sources),
        "golden" => golden(&value, sources),
        "command" => command(&fields, &value, sources).map(Quality::Command),
        _ => fields.key_problem(
            kind,
            format!("`{kind}` is not supported by this version of forge"),
            "use `command` with a program that judges, for example `command: [python3, judge.py]`",
        ),
    };
    Some(Weighted {
        weight: weight?.unwrap_or(1.0),
        scorer: scorer?,
    })
}

/// None or several kinds: says which word was probably meant.
fn wrong_kinds<T>(fields: &Fields<'_>, kinds: &[&str], names: &[&str]) -> Option<T> {
    if !kinds.is_empty() {
        return fields.whole().problem(
            format!(
                "a scorer has one kind, this one has {}: {}",
                kinds.len(),
                suggest::list(kinds.iter().copied())
            ),
            "start a new item with `-` for every scorer",
        );
    }
    let usable = names.iter().copied().filter(|name| *name != "judge");
    let mut unknown = fields
        .iter()
        .filter(|(key, _)| !OPTIONS.contains(key))
        .peekable();
    if unknown.peek().is_none() {
        let hint = format!("one of {}", suggest::list(usable));
        return fields.whole().problem("the scorer has no kind", hint);
    }
    for (key, _) in unknown {
        let shown = crate::plain::short(key, 60);
        let hint = suggest::advice(key, usable.clone());
        let _: Option<()> = fields.key_problem(key, format!("unknown scorer `{shown}`"), hint);
    }
    None
}

fn refuse_options(fields: &Fields<'_>, kind: &str, options: &[&str]) {
    for (key, _) in fields.iter() {
        if key == kind || key == "weight" || options.contains(&key) {
            continue;
        }
        let known: Vec<&str> = options.iter().copied().chain(["weight"]).collect();
        let shown = crate::plain::short(key, 60);
        let (message, hint) = if OPTIONS.contains(&key) {
            let may = format!("it may have {}", suggest::list(known));
            (format!("`{kind}` has no option `{shown}`"), may)
        } else {
            (
                format!("unknown option `{shown}` of `{kind}`"),
                suggest::advice(key, known),
            )
        };
        let _: Option<()> = fields.key_problem(key, message, hint);
    }
}

/// The bounds; at least one where none is given.
fn range(fields: &Fields<'_>) -> Option<Range> {
    let count = |value: &Value<'_>| value.whole(0..=u64::MAX, COUNT_HINT);
    let at_least = fields.optional("at_least", count);
    let at_most = fields.optional("at_most", count);
    let range = match (at_least?, at_most?) {
        (None, None) => Range {
            at_least: Some(1),
            at_most: None,
        },
        (at_least, at_most) => Range { at_least, at_most },
    };
    if let (Some(least), Some(most)) = (range.at_least, range.at_most)
        && least > most
    {
        let message = format!("`at_least` {least} is above `at_most` {most}");
        return fields.whole().problem(message, "exchange the two");
    }
    Some(range)
}

fn length(fields: &Fields<'_>, value: &Value<'_>) -> Option<Quality> {
    let unit = value.word(&[
        ("bytes", LengthUnit::Bytes),
        ("chars", LengthUnit::Chars),
        ("words", LengthUnit::Words),
        ("lines", LengthUnit::Lines),
    ]);
    if fields.get("at_least").is_none() && fields.get("at_most").is_none() {
        return value.problem(
            "`length` needs `at_least` or `at_most`",
            "for example `{length: words, at_least: 100, at_most: 400}`",
        );
    }
    let range = range(fields);
    Some(Quality::Length(unit?, range?))
}

fn json_path(fields: &Fields<'_>, value: &Value<'_>) -> Option<Quality> {
    let hint = "a JSON path of RFC 9535, for example `json_path: $.events[*].url`";
    let path = value.filled_text(hint).and_then(|text| {
        // The parser of these paths goes down the stack for each, and tries again on its way back.
        let open = text
            .bytes()
            .filter(|byte| matches!(byte, b'(' | b'['))
            .count();
        if text.len() > MAX_JSON_PATH_BYTES || open > MAX_JSON_PATH_BRACKETS {
            let message = format!(
                "the path is too long: it may have {MAX_JSON_PATH_BYTES} bytes and \
                 {MAX_JSON_PATH_BRACKETS} opening brackets"
            );
            return value.problem(message, hint);
        }
        Path::parse(text).map_or_else(
            |error| value.problem(format!("`{text}` is no JSON path: {error}"), hint),
            Some,
        )
    });
    let counted = fields.get("at_least").is_some() || fields.get("at_most").is_some();
    let expectation = match fields.get("equals") {
        Some(_) if counted => fields.key_problem(
            "equals",
            "`equals` excludes `at_least` and `at_most`",
            "use two scorers for both",
        ),
        Some(expected) => expected.json().map(JsonExpectation::Equals),
        None => range(fields).map(JsonExpectation::Count),
    };
    Some(Quality::JsonPath(path?, expectation?))
}

fn equals(value: &Value<'_>, sources: &Sources<'_>) -> Option<Quality> {
    let text = value.text("the text that the artifact must be")?;
    let hint = "write the text itself; `golden: expected/post.md` compares with a file";
    sources.refuse_file(value, text, hint)?;
    Some(Quality::Equals(text.to_owned()))
}

fn golden(value: &Value<'_>, sources: &mut Sources<'_>) -> Option<Quality> {
    let hint = "a text file beside the objective, for example `golden: expected/post.md`";
    let expected = sources.read(value, hint)?;
    let name = relative(value, hint)?.to_string();
    Some(Quality::Golden {
        name,
        expected: expected.into(),
    })
}

fn command(fields: &Fields<'_>, value: &Value<'_>, sources: &mut Sources<'_>) -> Option<Grader> {
    let argv = policy::argv(value);
    let limit = fields.optional("timeout", policy::duration);
    let scale = fields.optional("scale", |value| {
        let hint = "the score that is full marks, for example `scale: 1`";
        match value.number(hint)? {
            scale if scale > 0.0 => Some(scale),
            _ => value.wrong("a number above 0", hint),
        }
    });
    let on_error = fields.optional("on_error", |value| {
        value.word(&[("zero", OnError::Zero), ("ungraded", OnError::Ungraded)])
    });
    let mut found: BTreeMap<RelativePath, std::path::PathBuf> = BTreeMap::new();
    let hint = "files beside the objective, for example `files: [checks/links.py]`";
    let listed = fields.optional("files", |value| {
        value.each(hint, |item| {
            let path = relative(item, hint)?;
            let files = sources.all_below(item, &path)?;
            found.extend(files.into_iter().map(|file| (file.path, file.from)));
            Some(())
        })
    });
    let argv = argv?;
    let mut complete = true;
    for (item, argument) in value.list(hint)?.iter().zip(&argv) {
        let Ok(path) = RelativePath::parse(argument) else {
            continue;
        };
        if sources.has(&path) {
            match sources.all_below(item, &path) {
                Some(files) => found.extend(files.into_iter().map(|file| (file.path, file.from))),
                None => complete = false,
            }
        } else if let Some(named) = argument.strip_prefix(FILE)
            && RelativePath::parse(named).is_ok_and(|path| sources.has(&path))
        {
            complete = false;
            let message = format!("`{argument}` is no path");
            let hint = format!("write the path alone, as beside the objective: `{named}`");
            let _: Option<()> = item.problem(message, hint);
        } else if looks_like_script(argument) {
            complete = false;
            let _: Option<()> = item.problem(
                format!("`{argument}` is not there"),
                "paths are relative to the objective's folder",
            );
        }
    }
    listed?;
    complete.then_some(())?;
    Some(Grader {
        argv,
        files: found.into_iter().collect(),
        limit: limit?.unwrap_or(GRADER_LIMIT),
        scale: scale?,
        on_error: on_error?,
    })
}

/// An argument such as `checks/links.py`: nobody means anything but a file by it.
fn looks_like_script(argument: &str) -> bool {
    let extension = std::path::Path::new(argument).extension();
    !argument.contains(char::is_whitespace)
        && extension.is_some_and(|extension| {
            ["py", "js", "mjs", "cjs", "ts", "mts", "sh", "rb", "pl"]
                .iter()
                .any(|known| extension == *known)
        })
}

fn needles(value: &Value<'_>, sources: &Sources<'_>) -> Option<Vec<String>> {
    let hint = "a text or a list of texts, for example `contains: [\"https://\", \"Date:\"]`";
    match value.tree() {
        Tree::List(items) if items.is_empty() => value.problem("the list is empty", hint),
        Tree::List(_) => value.each(hint, |item| needle(item, hint, sources)),
        Tree::Nothing
        | Tree::Truth(_)
        | Tree::Whole(_)
        | Tree::Decimal(_)
        | Tree::Text(_)
        | Tree::Map(_) => needle(value, hint, sources).map(|one| vec![one]),
    }
}
