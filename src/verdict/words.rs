//! Verdicts in words: one sentence that a person can act on.

use super::sides::Sides;
use super::tested::Tested;
use super::{SettledBy, Verdict};
use crate::quantity::{counted, p_value, signed};
use crate::rule::{How, Measure, Unit, VerdictState};

pub(super) fn explain(verdict: &Verdict, tested: Option<&Tested>, sides: &Sides<'_>) -> String {
    let (name, against) = (&verdict.candidate, &verdict.against);
    let Some(tested) = tested else {
        return match &sides.invalid {
            Some(invalid) => format!("{name} cannot be compared with {against}: {}", invalid.why),
            None if sides.comparison.how == How::Unchanged && sides.runs => {
                format!("{name} is what it was as {against}")
            }
            None if sides.comparison.how == How::Unchanged => {
                format!("{name} is what it was as {against}: nothing was run for it")
            }
            None => format!(
                "{name} cannot be compared with {against}: no objective has a value of `{}` on both sides",
                verdict.measure
            ),
        };
    };
    let said = format!("{name} {} against {against}", change(verdict, tested));
    let evidence = evidence(verdict);
    let more = match verdict.state {
        VerdictState::Regression => mostly(verdict, tested),
        VerdictState::Inconclusive if sides.comparison.how == How::Screened => {
            "; a stored run without its files only screens, and shows nothing worse".to_owned()
        }
        VerdictState::Inconclusive => unsettled(verdict, tested),
        VerdictState::Watch => {
            "; a stored run without its files only screens: other days have other weather"
                .to_owned()
        }
        VerdictState::Drifted => {
            "; its files are the same: what it depends on has moved".to_owned()
        }
        VerdictState::NoChange => {
            let threshold = amount(verdict.threshold, verdict.unit);
            format!("; that is the same, within {threshold}")
        }
        VerdictState::Cheaper => "; it is no worse, and spends less".to_owned(),
        VerdictState::Steady => "; its files are the same, and no drift is shown".to_owned(),
        VerdictState::Improvement | VerdictState::Unchanged | VerdictState::Invalid => {
            String::new()
        }
    };
    let general = verdict.p_general.map_or_else(String::new, |p| {
        format!("; on new objectives of this kind: {}", p_value(p))
    });
    let confirmed = if sides.confirmed {
        "; it looked like a regression, and is judged by the fresh trials alone"
    } else {
        ""
    };
    format!("{said}{evidence}{more}{general}{confirmed}")
}

/// `lost 14.2 points`, `took 12 % more seconds`.
fn change(verdict: &Verdict, tested: &Tested) -> String {
    let size = match verdict.unit {
        Unit::Points => format!("{:.1} points", tested.effect.abs()),
        Unit::Percent => format!("{:.1} %", tested.effect.abs()),
    };
    match (verdict.unit, &verdict.measure) {
        (Unit::Points, measure) => {
            let did = if tested.effect < 0.0 {
                "lost"
            } else {
                "gained"
            };
            match measure {
                Measure::Score => format!("{did} {size}"),
                Measure::Quality
                | Measure::Passed
                | Measure::Seconds
                | Measure::PeakMemory
                | Measure::Metric(_) => format!("{did} {size} of `{measure}`"),
            }
        }
        (Unit::Percent, measure) => {
            let more = if tested.effect < 0.0 { "less" } else { "more" };
            format!("takes {size} {more} `{measure}`")
        }
    }
}

fn evidence(verdict: &Verdict) -> String {
    let interval = verdict.interval.map(|[low, high]| {
        let ends = format!("{} to {}", signed(low), signed(high));
        let early = if verdict.early {
            ", after early stopping"
        } else {
            ""
        };
        match verdict.state {
            VerdictState::Inconclusive => format!("{ends}{early}"),
            VerdictState::Invalid
            | VerdictState::Regression
            | VerdictState::Watch
            | VerdictState::Drifted
            | VerdictState::Improvement
            | VerdictState::Cheaper
            | VerdictState::NoChange
            | VerdictState::Steady
            | VerdictState::Unchanged => format!("95 % interval {ends}{early}"),
        }
    });
    let with_p = match verdict.state {
        VerdictState::Regression
        | VerdictState::Improvement
        | VerdictState::Watch
        | VerdictState::Drifted => verdict.p().map(p_value),
        VerdictState::Invalid
        | VerdictState::Inconclusive
        | VerdictState::Cheaper
        | VerdictState::NoChange
        | VerdictState::Steady
        | VerdictState::Unchanged => None,
    };
    let parts: Vec<String> = interval.into_iter().chain(with_p).collect();
    if parts.is_empty() {
        String::new()
    } else {
        format!(" ({})", parts.join(", "))
    }
}

/// Where most of a loss comes from, where that can be said.
fn mostly(verdict: &Verdict, tested: &Tested) -> String {
    let effects = tested.objectives.iter();
    let losses: Vec<f64> = effects.map(|it| verdict.unit.loss(it.effect)).collect();
    let all: f64 = losses.iter().filter(|it| **it > 0.0).sum();
    let (Some(first), true) = (losses.first(), losses.len() > 1) else {
        return tested
            .objectives
            .first()
            .map_or_else(String::new, |it| format!(", on {}", it.objective));
    };
    let names = &tested.objectives;
    if *first > all / 2.0 {
        format!(", most of it on {}", names[0].objective)
    } else {
        format!(
            ", the most on {} and {}",
            names[0].objective, names[1].objective
        )
    }
}

/// What it could have seen, and what would settle it.
fn unsettled(verdict: &Verdict, tested: &Tested) -> String {
    if tested.smallest > 0.05 {
        return format!(
            "; with {} nothing could be shown{}",
            counted(tested.trials.candidate, "trial", "trials"),
            settled(verdict)
        );
    }
    let sees = verdict.sees.map_or_else(String::new, |sees| {
        format!("; this suite can see {}", whole(sees, verdict.unit))
    });
    format!("{sees}{}", settled(verdict))
}

fn settled(verdict: &Verdict) -> String {
    let threshold = plain(verdict.threshold);
    match verdict.settled_by {
        Some(SettledBy {
            repeats: Some(repeats),
            ..
        }) => format!(
            "; {} would settle {threshold}",
            counted(repeats, "more repeat", "more repeats")
        ),
        Some(SettledBy {
            objectives: Some(objectives),
            ..
        }) => format!(
            "; more repeats would hardly settle {threshold}, {} of this kind would",
            counted(objectives, "objective", "objectives")
        ),
        Some(SettledBy { .. }) | None => String::new(),
    }
}

/// `14.2 points`, `12.0 %`.
fn amount(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Points => {
            let shown = plain(value);
            let noun = if shown == "1" { "point" } else { "points" };
            format!("{shown} {noun}")
        }
        Unit::Percent => format!("{} %", plain(value)),
    }
}

/// The same without tenths where they say nothing.
fn whole(value: f64, unit: Unit) -> String {
    amount(if value >= 2.0 { value.round() } else { value }, unit)
}

/// With one decimal, unless it is whole.
fn plain(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}
