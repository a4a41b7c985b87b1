//! `forge plan`: says what a run would do, what it may take and what it can conclude, and runs nothing.

use std::time::Duration;

use clap::ArgMatches;
use forge::conclusions::{About, Chance, Conclusion, LARGE, Of};
use forge::exit::ExitCode as End;
use forge::plain::line;
use forge::quantity::{counted, show_duration};
use forge::statistics::operating::{Rates, Trials};
use forge::{Expected, Foresight};
use serde_json::{Value, json};

use super::RunArgs;
use super::json;
use super::print::Printer;
use super::run::{Prepared, prepare};

pub(super) fn plan(args: &RunArgs, matches: &ArgMatches) -> End {
    let printer = Printer::new().for_programs(args.outputs.json);
    let foreseen = match prepare(args, matches) {
        Err(problems) => Err(problems),
        Ok(Prepared {
            builder, sources, ..
        }) => match super::runtime(printer) {
            Ok(runtime) => runtime.block_on(builder.build().foresee(sources)),
            Err(end) => return end,
        },
    };
    match foreseen {
        Ok(foresight) if args.outputs.json => json::print(printer, End::Ok, document(&foresight)),
        Ok(foresight) => {
            printer.out(&text(&foresight));
            for warning in warnings(&foresight) {
                printer.note(&format!("warning: {warning}"));
            }
            End::Ok
        }
        Err(problems) => json::refuse(printer, End::Usage, &problems),
    }
}

/// What is missed more often than not.
fn warnings(foresight: &Foresight) -> Vec<String> {
    let missed = foresight.conclusions.iter().filter_map(|it| {
        let misses = it.misses?;
        let what = match it.about {
            About::Control | About::Baseline => "a regression",
            About::Lead => "a lead",
        };
        let found = percent(misses.found);
        let enough = misses.enough.map_or_else(
            || "no number of repeats up to 100 would do: add objectives".to_owned(),
            |repeats| format!("`-k {repeats}` would do"),
        );
        Some(format!(
            "{what} of {LARGE} points would be missed more often than not: it is found in {found}; {enough}"
        ))
    });
    missed.collect()
}

fn text(foresight: &Foresight) -> String {
    let mut lines = Vec::new();
    let trials = foresight.trials();
    for name in &foresight.unchanged {
        lines.push(format!("{name} is unchanged"));
    }
    if trials == 0 {
        lines.push("nothing would run".to_owned());
    } else {
        lines.push(format!(
            "{} × {}: {}, {}",
            counted(foresight.sides.len(), "candidate", "candidates"),
            counted(foresight.objectives, "objective", "objectives"),
            counted(foresight.cells(), "cell", "cells"),
            counted(trials, "trial", "trials"),
        ));
        let wide = foresight.sides.iter().map(|(name, _)| name.as_str().len());
        let wide = wide.max().unwrap_or(0);
        lines.extend(foresight.sides.iter().map(|(name, trials)| {
            format!("  {name:wide$}  {}", counted(*trials, "trial", "trials"))
        }));
        lines.push(sandboxes(foresight));
        lines.extend(spending(foresight));
        lines.push(match &foresight.expected {
            Some(expected) => taking(expected, trials),
            None => "how long it takes is not known: no stored run has done this".to_owned(),
        });
    }
    lines.extend(
        foresight
            .notes
            .iter()
            .map(|it| format!("note: {}", line(it))),
    );
    for conclusion in &foresight.conclusions {
        lines.push(String::new());
        lines.extend(table(conclusion));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn sandboxes(foresight: &Foresight) -> String {
    let trials = foresight.trials();
    let graders = match foresight.graders {
        0 => String::new(),
        graders => format!(", and up to {graders} for graders"),
    };
    format!(
        "{}{graders}; {} at once ({})",
        counted(trials, "sandbox", "sandboxes"),
        foresight.jobs,
        foresight.mode
    )
}

/// What may be spared, and what may be added.
fn spending(foresight: &Foresight) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some((last, before)) = foresight.looks.split_last() {
        let before: Vec<String> = before.iter().map(ToString::to_string).collect();
        lines.push(match before.len() {
            0 => format!("at most {last} repeats, without a look before"),
            _ => format!(
                "at most {last} repeats: it may stop after {}; the chances are those of the end",
                before.join(" or ")
            ),
        });
    }
    if let Some(trials) = foresight.confirm {
        lines.push(format!(
            "what looks like a regression is run {trials} more times on both sides; that is not counted here"
        ));
    }
    lines
}

fn taking(expected: &Expected, trials: usize) -> String {
    let cost = match (expected.cost, expected.sandboxes_cost) {
        (None, None) => String::new(),
        (Some(cost), None) => format!(", ${cost:.2}"),
        (None, Some(sandboxes)) => format!(", ${sandboxes:.2} for sandboxes"),
        (Some(cost), Some(sandboxes)) => format!(
            ", ${:.2} with ${sandboxes:.2} for sandboxes",
            cost + sandboxes
        ),
    };
    let runs: Vec<String> = expected.runs.iter().map(ToString::to_string).collect();
    let from = match runs.len() {
        1 => format!("the run {}", runs[0]),
        many => format!("{many} runs"),
    };
    let rest = match trials.saturating_sub(expected.known) {
        0 => String::new(),
        rest => format!("; {rest} of the trials are taken for the usual ones"),
    };
    format!(
        "about {}, {:.1} sandbox-minutes{cost}, by {from}{rest}",
        show_duration(Duration::from_secs_f64(expected.seconds.ceil())),
        expected.in_sandboxes / 60.0,
    )
}

/// What it can conclude about one question.
fn table(conclusion: &Conclusion) -> Vec<String> {
    let Conclusion {
        candidates,
        repeats,
        control_repeats,
        measure,
        ..
    } = conclusion;
    let asked = match conclusion.about {
        About::Control => "is it better or worse than the control?",
        About::Baseline => "did it get worse?",
        About::Lead => "who is best, and is the lead real?",
    };
    let objectives = counted(conclusion.known.len(), "objective", "objectives");
    let beside = match conclusion.about {
        About::Control | About::Baseline => format!(
            " against {control_repeats}; {}",
            counted(*candidates, "comparison", "comparisons")
        ),
        About::Lead => format!("; {}", counted(*candidates, "candidate", "candidates")),
    };
    let mut lines = vec![
        format!("What it can conclude: {asked}"),
        format!(
            "{objectives} × {}{beside}; by `{measure}`",
            counted(*repeats, "repeat", "repeats")
        ),
        truth(conclusion),
    ];
    let is_lead = conclusion.about == About::Lead;
    lines.push(if is_lead {
        format!("  {:10}  {:>7}  {:>12}", "true lead", "shown", "another's")
    } else {
        format!(
            "  {:10}  {:>10}  {:>11}  {:>9}  {:>12}",
            "true loss", "regression", "improvement", "no change", "inconclusive"
        )
    });
    lines.extend(conclusion.chances.iter().map(row));
    lines
}

fn row(chance: &Chance) -> String {
    let points = format!("{} points", chance.points);
    match chance.of {
        Of::Verdicts(it) => format!(
            "  {points:10}  {:>10}  {:>11}  {:>9}  {:>12}",
            percent(it.regression),
            percent(it.improvement),
            percent(it.no_change),
            percent(it.inconclusive)
        ),
        Of::Lead(led) => format!(
            "  {points:10}  {:>7}  {:>12}",
            percent(led.shown),
            percent(led.wrong)
        ),
    }
}

/// Where the rates come from.
fn truth(conclusion: &Conclusion) -> String {
    let known = conclusion.known.iter().filter(|it| it.run.is_some());
    let mut runs: Vec<String> = known
        .clone()
        .filter_map(|it| Some(it.run?.to_string()))
        .collect();
    runs.sort();
    runs.dedup();
    let of = match known.count() {
        all if all == conclusion.known.len() => String::new(),
        some => format!(" for {some} of them; nothing is known of the others"),
    };
    match (&conclusion.rates, &runs[..]) {
        (Rates::Drawn(_), _) | (Rates::Known(_), []) => {
            "no stored run has done these objectives: two trials in three are thought to pass, mostly on objectives that are easy or hard".to_owned()
        }
        (Rates::Known(_), [run]) => format!("with the rates of the run {run}{of}"),
        (Rates::Known(_), runs) => format!("with the rates of {} runs{of}", runs.len()),
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn document(foresight: &Foresight) -> Value {
    let sides = foresight
        .sides
        .iter()
        .map(|(name, trials)| json!({"candidate": name, "trials": trials}));
    json!({
        "mode": foresight.mode,
        "candidates": foresight.sides.len(),
        "objectives": foresight.objectives,
        "cells": foresight.cells(),
        "trials": foresight.trials(),
        "sides": sides.collect::<Value>(),
        "sandboxes": {"candidates": foresight.trials(), "graders": foresight.graders},
        "jobs": foresight.jobs,
        "looks": foresight.looks,
        "confirm": foresight.confirm,
        "unchanged": foresight.unchanged,
        "expected": foresight.expected.as_ref().map(|it| json!({
            "seconds": it.seconds,
            "sandbox_minutes": it.in_sandboxes / 60.0,
            "cost_usd": it.cost,
            "sandboxes_cost_usd": it.sandboxes_cost,
            "known_trials": it.known,
            "runs": it.runs,
        })),
        "conclusions": foresight.conclusions.iter().map(concluded).collect::<Value>(),
        "warnings": warnings(foresight),
        "notes": foresight.notes.iter().map(|it| line(it)).collect::<Vec<_>>(),
    })
}

fn concluded(it: &Conclusion) -> Value {
    let rates = match &it.rates {
        Rates::Known(rates) => rates.iter().copied().map(Some).collect(),
        Rates::Drawn(objectives) => vec![None; *objectives],
    };
    let objectives = it.known.iter().zip(rates).map(|(known, rate)| {
        json!({
            "objective": known.objective,
            "rate": rate,
            "trials": known.values.len(),
            "run": known.run,
        })
    });
    json!({
        "question": match it.about {
            About::Control => "control",
            About::Baseline => "baseline",
            About::Lead => "lead",
        },
        "measure": it.measure,
        "candidates": it.candidates,
        "repeats": it.repeats,
        "control_repeats": it.control_repeats,
        "level": it.level,
        "threshold": it.threshold,
        "trials_give": match it.trials {
            Trials::Pass => json!({"kind": "pass"}),
            Trials::Points { deviation } => json!({"kind": "points", "deviation": deviation * 100.0}),
        },
        "objectives": objectives.collect::<Value>(),
        "chances": it.chances.iter().map(chances).collect::<Value>(),
        "misses": it.misses.map(|misses| json!({
            "points": LARGE, "found": misses.found, "enough_repeats": misses.enough,
        })),
    })
}

fn chances(chance: &Chance) -> Value {
    match chance.of {
        Of::Verdicts(it) => json!({
            "loss": chance.points,
            "regression": it.regression,
            "improvement": it.improvement,
            "no_change": it.no_change,
            "inconclusive": it.inconclusive,
            "simulated_runs": it.runs,
        }),
        Of::Lead(led) => json!({
            "lead": chance.points,
            "shown": led.shown,
            "wrong": led.wrong,
            "simulated_runs": led.runs,
        }),
    }
}
