//! The small texts of sandbox policy that flags, `forge.yaml`, objectives and candidates share: networks,
//! variables, durations, sizes, limits, patterns. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::candidate::PassEnv;
use crate::objective::LimitOverrides;
use crate::quantity::{ByteCount, parse_duration};
use crate::yaml::Tree;
use crate::yaml::decode::Value;

mod network;

pub use network::{MAX_NETWORKS, NetworkOverrides, network_advice, networks, parse_network};

/// Decodes a duration.
#[must_use]
pub fn duration(value: &Value<'_>) -> Option<Duration> {
    let hint = "durations have a unit, for example `90s`, `5m` or `250ms`";
    match value.tree() {
        Tree::Text(text) => parse_duration(text).map_or_else(|why| value.problem(why, hint), Some),
        Tree::Nothing
        | Tree::Truth(_)
        | Tree::Whole(_)
        | Tree::Decimal(_)
        | Tree::List(_)
        | Tree::Map(_) => value.wrong("a duration", hint),
    }
}

/// Decodes the name of an image.
#[must_use]
pub fn image(value: &Value<'_>) -> Option<String> {
    let hint = "the name of an image, for example `image: python:3.13-slim`";
    let text = value.filled_text(hint)?.trim();
    match check_image(text) {
        Ok(()) => Some(text.to_owned()),
        Err(why) => value.problem(why, hint),
    }
}

/// Says what is wrong with the name of an image, if anything.
///
/// # Errors
/// A sentence.
pub fn check_image(text: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    // It becomes a part of the path of a request.
    let steps = text.split('/').any(|part| matches!(part, "" | "." | ".."));
    // One tag, behind the last name; a digest has a colon of its own.
    let tagged = text.split('@').next().unwrap_or(text);
    let tags = tagged
        .rsplit('/')
        .next()
        .unwrap_or(tagged)
        .matches(':')
        .count();
    if begins && !steps && tags <= 1 && text.chars().all(fits) {
        return Ok(());
    }
    Err(format!("{text:?} is not the name of an image"))
}

/// Decodes a number of bytes above 0.
#[must_use]
pub fn byte_count(value: &Value<'_>) -> Option<ByteCount> {
    let hint = "sizes are texts such as `10MiB`, or whole numbers of bytes";
    let count = match value.tree() {
        Tree::Text(text) => match text.parse::<ByteCount>() {
            Ok(count) => count,
            Err(error) => return value.problem(error.to_string(), hint),
        },
        Tree::Whole(bytes) => match u64::try_from(*bytes) {
            Ok(bytes) => ByteCount(bytes),
            Err(_) => return value.wrong("a size", hint),
        },
        Tree::Nothing | Tree::Truth(_) | Tree::Decimal(_) | Tree::List(_) | Tree::Map(_) => {
            return value.wrong("a size", hint);
        }
    };
    if count.0 == 0 {
        return value.problem("a size of zero leaves no room at all", hint);
    }
    Some(count)
}

/// Decodes `limits`.
#[must_use]
pub fn limits(value: &Value<'_>) -> Option<LimitOverrides> {
    let hint = "for example `limits: {run: 60s, setup: 5m, output: 10MiB, artifacts: 50MiB}`";
    let fields = value.fields("limit", &["run", "setup", "output", "artifacts"], hint)?;
    let run = fields.optional("run", duration);
    let setup = fields.optional("setup", duration);
    let output = fields.optional("output", byte_count);
    let artifacts = fields.optional("artifacts", byte_count);
    Some(LimitOverrides {
        run: run?,
        setup: setup?,
        output: output?,
        artifacts: artifacts?,
    })
}

/// Says what is wrong with the name of a variable, if anything.
///
/// # Errors
/// A sentence. It does not repeat the text, which could be a secret in the wrong place.
pub fn check_variable(name: &str) -> Result<(), String> {
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if starts
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    {
        Ok(())
    } else {
        Err(
            "a variable's name has only letters, digits and `_`, and starts with no digit"
                .to_owned(),
        )
    }
}

/// Says whether a candidate's variable may have this name: valid, and not one that forge sets.
///
/// # Errors
/// A sentence.
pub fn check_own_variable(name: &str) -> Result<(), String> {
    check_variable(name)?;
    if name.starts_with("FORGE_") || ["PATH", "HOME", "LANG", "TMPDIR"].contains(&name) {
        return Err(format!(
            "`{name}` is set by forge for every candidate alike"
        ));
    }
    Ok(())
}

/// Parses `NAME` or `NAME=HOSTNAME`: which variable of forge's own environment a candidate gets.
///
/// # Errors
/// A sentence.
pub fn parse_pass_env(text: &str) -> Result<PassEnv, String> {
    let (name, host_name) = text.split_once('=').unwrap_or((text, text));
    check_own_variable(name)?;
    check_variable(host_name)?;
    if host_name.starts_with("DAYTONA_") {
        return Err(format!(
            "`{host_name}` is for forge alone; no candidate gets it"
        ));
    }
    Ok(PassEnv {
        name: name.to_owned(),
        host_name: host_name.to_owned(),
        plain: false,
    })
}

/// Decodes variables with their values.
#[must_use]
pub fn env(value: &Value<'_>) -> Option<BTreeMap<String, String>> {
    let fields = value.map("for example `env: {MODE: fast}`")?;
    let mut all = Some(BTreeMap::new());
    for (name, value) in fields.iter() {
        let checked = match check_own_variable(name) {
            Ok(()) => value.text("the value of a variable is a text"),
            Err(why) => fields.key_problem(name, why, "give the variable another name"),
        };
        match (checked, &mut all) {
            (Some(text), Some(all)) => {
                all.insert(name.to_owned(), text.to_owned());
            }
            (Some(_), None) => {}
            (None, _) => all = None,
        }
    }
    all
}

const PASS_ENV_HINT: &str = "names, for example `pass_env: [OPENAI_API_KEY, TOKEN=MY_TOKEN]`, and those whose values are no secrets: `- plain: [DEBUG]`";

/// Decodes variables to pass from forge's own environment, no name twice: a list of names, in which `{plain:
/// [...]}` has those that are no secrets, or `{secret: [...], plain: [...]}`.
#[must_use]
pub fn pass_env(value: &Value<'_>) -> Option<Vec<PassEnv>> {
    let mut seen = BTreeSet::new();
    if is_map(value) {
        return passed_by_kind(value, &mut seen);
    }
    let listed = value.each(PASS_ENV_HINT, |item| {
        if is_map(item) {
            passed_by_kind(item, &mut seen)
        } else {
            passed(item, false, &mut seen).map(|one| vec![one])
        }
    })?;
    Some(listed.into_iter().flatten().collect())
}

fn is_map(value: &Value<'_>) -> bool {
    matches!(value.tree(), Tree::Map(_))
}

fn passed_by_kind(value: &Value<'_>, seen: &mut BTreeSet<String>) -> Option<Vec<PassEnv>> {
    let fields = value.fields("kind of variable", &["secret", "plain"], PASS_ENV_HINT)?;
    let mut all = Vec::new();
    for (kind, plain) in [("secret", false), ("plain", true)] {
        let listed = fields.optional(kind, |value| {
            value.each(PASS_ENV_HINT, |item| passed(item, plain, seen))
        });
        all.extend(listed?.unwrap_or_default());
    }
    Some(all)
}

fn passed(item: &Value<'_>, plain: bool, seen: &mut BTreeSet<String>) -> Option<PassEnv> {
    match parse_pass_env(item.text(PASS_ENV_HINT)?) {
        Ok(pass) if !seen.insert(pass.name.clone()) => item.problem(
            format!("`{}` is there twice", pass.name),
            "keep one of the two",
        ),
        Ok(pass) => Some(PassEnv { plain, ..pass }),
        Err(why) => item.problem(why, PASS_ENV_HINT),
    }
}

/// Decodes a program with its arguments.
#[must_use]
pub fn argv(value: &Value<'_>) -> Option<Vec<String>> {
    let hint = "a list of the program and its arguments, for example `[python3, main.py]`";
    let argv = value.each(hint, |item| item.text(hint).map(str::to_owned))?;
    if argv.first().is_none_or(|program| program.trim().is_empty()) {
        return value.problem("the program is missing", hint);
    }
    Some(argv)
}

/// Decodes glob patterns of relative paths.
#[must_use]
pub fn globs(value: &Value<'_>) -> Option<Vec<String>> {
    let hint = "patterns below `$FORGE_ARTIFACTS`, for example `[\"charts/*.png\"]`";
    value.each(hint, |item| {
        let text = item.filled_text(hint)?;
        if text.starts_with('/') || text.split('/').any(|part| part == "..") {
            return item.problem(format!("`{text}` leaves the folder"), hint);
        }
        match globset::GlobBuilder::new(text)
            .literal_separator(true)
            .build()
        {
            Ok(_) => Some(text.to_owned()),
            Err(error) => item.problem(format!("`{text}` is no pattern: {}", error.kind()), hint),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_candidate_cannot_take_the_variables_of_forge() {
        for good in ["MODE", "_x", "FORGET", "PATHS"] {
            assert_eq!(check_own_variable(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "1A",
            "A-B",
            "A=B",
            "É",
            "PATH",
            "HOME",
            "FORGE_RUN",
            "TMPDIR",
        ] {
            assert!(check_own_variable(bad).is_err(), "{bad}");
        }
        for bad in [
            "DAYTONA_API_KEY",
            "KEY=DAYTONA_API_KEY",
            "A=",
            "=A",
            "PATH=X",
            "A=B=C",
        ] {
            assert!(parse_pass_env(bad).is_err(), "{bad}");
        }
        assert_eq!(
            parse_pass_env("TOKEN=MY_TOKEN").unwrap().host_name,
            "MY_TOKEN"
        );
    }

    #[test]
    fn passed_variables_are_secret_or_plain() {
        let read = |text: &str| {
            let pass = |root: &Value<'_>| {
                let fields = root.fields("key", &["pass_env"], "")?;
                pass_env(&fields.get("pass_env")?)
            };
            let file = std::path::Path::new("a.yaml");
            let all = crate::yaml::decode::document(file, text, "a test", pass);
            all.map(|all| {
                let shown = all.iter().map(|it| {
                    let sign = if it.plain { "=" } else { "!" };
                    format!("{}{sign}{}", it.name, it.host_name)
                });
                shown.collect::<Vec<_>>().join(" ")
            })
        };
        for (text, expected) in [
            ("pass_env: [KEY, T=MY_T]", "KEY!KEY T!MY_T"),
            (
                "pass_env: [KEY, {plain: [DEBUG, A=B]}]",
                "KEY!KEY DEBUG=DEBUG A=B",
            ),
            (
                "pass_env:\n  - KEY\n  - plain: [DEBUG]\n",
                "KEY!KEY DEBUG=DEBUG",
            ),
            (
                "pass_env: {secret: [KEY], plain: [DEBUG]}",
                "KEY!KEY DEBUG=DEBUG",
            ),
            ("pass_env: {plain: [DEBUG]}", "DEBUG=DEBUG"),
            ("pass_env: []", ""),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
        }
        for (text, expected) in [
            (
                "pass_env: [KEY, {plain: [KEY]}]",
                "a.yaml:1:26: pass_env[1].plain[0]: `KEY` is there twice",
            ),
            ("pass_env: {secret: [A], plain: [A]}", "`A` is there twice"),
            ("pass_env: {plian: [A]}", "did you mean `plain`?"),
            ("pass_env: {plain: DEBUG}", "pass_env.plain: expected"),
            (
                "pass_env: [{plain: [DAYTONA_API_KEY]}]",
                "is for forge alone",
            ),
        ] {
            let told = read(text).unwrap_err().to_string();
            assert!(told.contains(expected), "{text}: {told}");
        }
    }
}
