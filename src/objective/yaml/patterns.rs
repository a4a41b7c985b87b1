//! What gates and scorers both look with: texts, patterns and schemas, compiled.

use regex::Regex;

use super::sources::{Sources, relative};
use crate::score::gate::Schema;
use crate::score::pattern::compile;
use crate::yaml::Tree;
use crate::yaml::decode::Value;

const SCHEMA_HINT: &str =
    "a JSON file beside the objective, for example `json_schema: schemas/events.json`, or a schema";

/// Decodes a text to look for.
pub(super) fn needle(value: &Value<'_>, hint: &str, sources: &Sources<'_>) -> Option<String> {
    let text = value.text(hint)?;
    sources.refuse_file(
        value,
        text,
        "write the text itself; `golden: expected/post.md` compares with a file",
    )?;
    if text.is_empty() {
        return value.problem("every artifact has the empty text in it", hint);
    }
    Some(text.to_owned())
}

/// Decodes and compiles a pattern.
pub(super) fn pattern(value: &Value<'_>) -> Option<Regex> {
    let hint = "a regular expression in single quotes, for example `regex: '^## '`";
    let text = value.text(hint)?;
    if text.is_empty() {
        return value.problem("the empty pattern matches everywhere", hint);
    }
    match compile(text) {
        Ok(regex) => Some(regex),
        Err(regex::Error::CompiledTooBig(_)) => value.problem(
            "the pattern is too large once it is compiled",
            "use smaller repetitions: `{1,1000}` is a thousand copies",
        ),
        Err(error) => {
            // The message draws a picture; its last line says what is wrong.
            let said = error.to_string();
            let last = said.lines().last().unwrap_or_default();
            let why = last.strip_prefix("error: ").unwrap_or(last);
            let shown = crate::plain::short(text, 60);
            value.problem(format!("`{shown}` is no pattern: {why}"), hint)
        }
    }
}

/// Decodes and compiles a JSON Schema: the path of a file, or the schema itself.
pub(super) fn schema(value: &Value<'_>, sources: &mut Sources<'_>) -> Option<Schema> {
    let (name, json) = match value.tree() {
        Tree::Map(_) => ("inline".to_owned(), value.json()?),
        Tree::Nothing
        | Tree::Truth(_)
        | Tree::Whole(_)
        | Tree::Decimal(_)
        | Tree::Text(_)
        | Tree::List(_) => {
            let text = sources.read(value, SCHEMA_HINT)?;
            let name = relative(value, SCHEMA_HINT)?.to_string();
            let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
            match serde_json::from_str(text) {
                Ok(json) => (name, json),
                Err(error) => {
                    return value.problem(format!("`{name}` is not JSON: {error}"), SCHEMA_HINT);
                }
            }
        }
    };
    match Schema::compile(name.clone(), json) {
        Ok(schema) => Some(schema),
        Err(error) => {
            let place = error.instance_path().to_string();
            let place = if place.is_empty() {
                String::new()
            } else {
                format!(" at `{place}`")
            };
            let said = error.to_string();
            if let Some((resource, _)) = said.split_once(" is not present in a registry") {
                return value.problem(
                    format!(
                        "the schema `{name}` refers to another: {}",
                        resource.to_lowercase()
                    ),
                    "put both into one schema, under `$defs`: forge fetches nothing",
                );
            }
            value.problem(
                format!(
                    "the schema `{name}` is not valid{place}: {}",
                    crate::plain::ends(&said, 200)
                ),
                "forge knows JSON Schema up to draft 2020-12",
            )
        }
    }
}
