//! Values of options: what was expected, in words, and whether somebody typed them at all.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PathBufValueParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue};
use forge::objective::yaml::MAX_REPEAT;
use forge::objects::Address;
use forge::project::container::{MAX_CPUS, thousandths};
use forge::project::{MAX_JOBS, Repeat};
use forge::rule::{CAN_FAIL, Measure, Suite, VerdictState};
use forge::run::state::Budget;

use super::RunArgs;

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    forge::quantity::parse_duration(text)
}

/// A folder, or the address of an object store, which is looked at and stays a text.
pub(super) fn artifacts() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| {
        let text = path.to_str().filter(|it| Address::is_meant(it));
        match text.map(Address::parse) {
            Some(Err(error)) => Err(error),
            Some(Ok(_)) | None => Ok(path),
        }
    })
}

pub(super) fn points(text: &str) -> Result<f64, String> {
    let value = text.trim().parse::<f64>().ok();
    let value = value.filter(|value| (0.0..=100.0).contains(value));
    value.ok_or_else(|| format!("expected points from 0 to 100, for example `80`, got `{text}`"))
}

pub(super) fn truth(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "t" | "yes" | "y" | "on" => Ok(true),
        "0" | "false" | "f" | "no" | "n" | "off" => Ok(false),
        _ => Err(format!(
            "expected `1` or `0`, `true` or `false`, got `{text}`"
        )),
    }
}

pub(super) fn repeat(text: &str) -> Result<Repeat, String> {
    if text.trim().eq_ignore_ascii_case("auto") {
        return Ok(Repeat::Auto);
    }
    times(text)
        .map(Repeat::Times)
        .map_err(|expected| expected.replacen(", got", ", or `auto`, got", 1))
}

pub(super) fn times(text: &str) -> Result<u32, String> {
    whole(text, 1..=MAX_REPEAT)
}

pub(super) fn alpha(text: &str) -> Result<f64, String> {
    let value = text.trim().parse::<f64>().ok();
    let value = value.filter(|value| *value > 0.0 && *value <= 0.5);
    value.ok_or_else(|| format!("expected a number above 0, up to 0.5, got `{text}`"))
}

/// `80`, or `gamma=80`.
pub(super) fn floor(text: &str) -> Result<(Option<String>, f64), String> {
    match text.split_once('=') {
        None => points(text).map(|it| (None, it)),
        Some((name, least)) => points(least).map(|it| (Some(name.trim().to_owned()), it)),
    }
}

/// `seconds=20%`.
pub(super) fn rise(text: &str) -> Result<(Measure, f64), String> {
    let expected = || format!("expected MEASURE=PERCENT, for example `seconds=20%`, got `{text}`");
    let (name, percent) = text.split_once('=').ok_or_else(expected)?;
    let measure: Measure = name.trim().parse()?;
    let percent = forge::rule::percent(percent)?;
    forge::rule::checked_rise(&measure, percent)?;
    Ok((measure, percent))
}

/// One of the states that can fail a run.
pub(super) fn can_fail(text: &str) -> Result<VerdictState, String> {
    let known = || CAN_FAIL.iter().map(|state| state.as_str());
    let found = CAN_FAIL.into_iter().find(|it| it.as_str() == text.trim());
    found.ok_or_else(|| forge::suggest::advice(text, known().collect::<Vec<_>>()))
}

pub(super) fn question(text: &str) -> Result<Suite, String> {
    match text.trim() {
        "fixed" => Ok(Suite::Fixed),
        "general" => Ok(Suite::General),
        _ => Err("expected `fixed` or `general`".to_owned()),
    }
}

pub(super) fn jobs(text: &str) -> Result<u32, String> {
    whole(text, 1..=MAX_JOBS)
}

/// Processor cores, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cores(pub(super) u32);

pub(super) fn cores(text: &str) -> Result<Cores, String> {
    let cores = text.trim().parse().ok().and_then(thousandths);
    cores.map(Cores).ok_or_else(|| {
        format!("expected a number of cores above 0, up to {MAX_CPUS}, got `{text}`")
    })
}

pub(super) fn seed(text: &str) -> Result<u64, String> {
    whole(text, 0..=u64::MAX)
}

pub(super) fn sandboxes(text: &str) -> Result<u64, String> {
    whole(text, 1..=u64::MAX)
}

impl RunArgs {
    pub(super) const fn budget(&self) -> Budget {
        Budget {
            sandboxes: self.max_sandboxes,
            cost: self.max_cost,
        }
    }
}

/// US dollars.
pub(super) fn cost(text: &str) -> Result<f64, String> {
    let cost = text.trim().parse().ok();
    let cost = cost.filter(|cost: &f64| cost.is_finite() && *cost > 0.0);
    cost.ok_or_else(|| format!("expected an amount of US dollars above 0, got `{text}`"))
}

fn whole<T>(text: &str, range: RangeInclusive<T>) -> Result<T, String>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    let (low, high) = (range.start(), range.end());
    let expected = format!("expected a whole number from {low} to {high}, got `{text}`");
    let value = text.trim().parse::<T>().ok();
    value.filter(|value| range.contains(value)).ok_or(expected)
}

/// That a value that will not do was not typed: it is that of the variable that stands for the option.
pub(super) fn exported(error: &clap::Error, program: &clap::Command) -> Option<String> {
    let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let option = shown.strip_prefix("--")?.split([' ', '=', '[']).next()?;
    let commands = std::iter::once(program).chain(program.get_subcommands());
    let mut options = commands.flat_map(clap::Command::get_arguments);
    let found = options.find(|it| it.get_long() == Some(option) && it.get_env().is_some())?;
    let variable = found.get_env()?.to_string_lossy().into_owned();
    let wrong = match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value)) => value.as_str(),
        Some(_) | None => "",
    };
    let exported = forge::settings::variables().get(&variable).cloned()?;
    (exported == wrong).then(|| format!("hint: that is the value of the variable `{variable}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_will_not_do_is_told_what_was_expected() {
        assert_eq!(repeat("10000"), Ok(Repeat::Times(10_000)));
        assert_eq!(repeat("auto"), Ok(Repeat::Auto));
        assert_eq!(jobs(" 4 "), Ok(4));
        assert_eq!(seed("18446744073709551615"), Ok(u64::MAX));
        for text in ["0", "-1", "x", "", "1.5", "10001", "4 jobs"] {
            let expected = format!("expected a whole number from 1 to 10000, got `{text}`");
            assert_eq!(jobs(text), Err(expected.clone()));
            let expected = expected.replace(", got", ", or `auto`, got");
            assert_eq!(repeat(text), Err(expected));
        }
        for text in ["101", "-1", "NaN", "x"] {
            assert!(
                points(text).unwrap_err().contains("from 0 to 100"),
                "{text}"
            );
        }
    }
}
