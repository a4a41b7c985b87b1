//! `forge aa`: one candidate against itself, to see how often a difference is claimed where there is none, and how
//! large the noise is.

use clap::{ArgMatches, Args};
use forge::exit::ExitCode as End;
use forge::plain::line;
use forge::problem::{Problem, Problems};
use forge::quantity::counted;
use forge::verdict::alike::{Alike, Noise, is_alarm};
use forge::{ForgeResult, Nights};
use serde_json::{Value, json};

use super::print::Printer;
use super::run::{Prepared, carry_out, prepare};
use super::show::Extra;
use super::{RunArgs, json, values};

#[derive(Debug, Args)]
pub(super) struct AaArgs {
    /// The candidate
    #[arg(value_name = "NAME")]
    name: String,
    /// So many pairs of copies of it are compared
    #[arg(short = 'n', long, value_name = "N", default_value = "20", value_parser = values::times, allow_negative_numbers = true)]
    pairs: u32,
    #[command(flatten)]
    run: RunArgs,
}

pub(super) fn aa(mut args: AaArgs, matches: &ArgMatches) -> End {
    let refused = refused(&args.run);
    args.run.candidate = vec![args.name.clone()];
    let (run, pairs) = (args.run, args.pairs);
    let prepared = || {
        Problems(refused).or(())?;
        let prepared = prepare(&run, matches)?;
        Ok(Prepared {
            builder: prepared.builder.pairs(pairs),
            ..prepared
        })
    };
    let as_json = run.outputs.json;
    carry_out(&run, prepared, move |result, extra| {
        tell(result, extra, as_json)
    })
}

/// What has no place where one candidate is compared with itself.
fn refused(args: &RunArgs) -> Vec<Problem> {
    let said = [
        ("--candidate", !args.candidate.is_empty()),
        ("--fail-under", !args.fail_under.is_empty()),
        ("--require", !args.require.is_empty()),
        (
            "--repeat auto",
            args.repeat == Some(forge::project::Repeat::Auto),
        ),
    ];
    let said = said.into_iter().filter(|it| it.1).map(|it| it.0);
    let flags = said.chain(args.comparing.asked_of_others());
    let problem = |flag: &str| {
        Problem::setting(
            flag,
            "a candidate is compared with itself alone, all of its trials",
        )
        .with_hint("leave it out")
    };
    flags.map(problem).collect()
}

fn tell(result: &ForgeResult, mut extra: Extra, as_json: bool) -> End {
    let printer = Printer::new();
    let (alike, nights) = (result.alike(), result.nights());
    let (end, reasons) = result.exit();
    // Nobody has to win, and a difference that is claimed is what is counted.
    let end = if end == End::Below { End::Ok } else { end };
    let end = end.max(result.report(|report| extra.written(report, result.saved(), printer)));
    if as_json {
        return json::print(printer, end, document(result, &alike, nights));
    }
    if !extra.takes_stdout() {
        printer.out(&text(result, &alike, nights));
    }
    if end != End::Ok {
        for reason in reasons {
            printer.note(&format!("forge: {reason} (exit code {})", end.code()));
        }
    }
    end
}

fn text(result: &ForgeResult, alike: &Alike, nights: Option<Nights>) -> String {
    let mut lines = Vec::new();
    lines.push(match (alike.share(), alike.interval) {
        (Some(share), Some([low, high])) => format!(
            "False alarms: {} of {} ({:.0} %, 95 % interval {:.0} to {:.0} %); at most one in ten is expected, half of them each way",
            alike.alarms,
            counted(alike.judged, "pair", "pairs"),
            share * 100.0,
            low * 100.0,
            high * 100.0,
        ),
        _ => "no pair can be judged".to_owned(),
    });
    let alarms = alike.verdicts.iter().filter(|it| is_alarm(it));
    lines.extend(alarms.map(|it| format!("  {}", line(&it.line()))));
    lines.extend(alike.noise.map(noise));
    lines.extend(nights.map(between));
    lines.push(format!("Results: {}", result.folder().path().display()));
    lines.push(String::new());
    lines.join("\n")
}

fn noise(noise: Noise) -> String {
    format!(
        "Noise (standard deviations): {:.1} points between trials of an objective, {:.1} between objectives; trials leave {:.1} in a mean score",
        noise.trials, noise.objectives, noise.mean
    )
}

fn between(nights: Nights) -> String {
    let runs = counted(nights.runs, "run", "runs");
    match nights.deviation {
        Some(deviation) => format!(
            "Between runs: {deviation:.1} points beyond that, in {runs} of the same files in {}",
            counted(nights.places, "place", "places")
        ),
        None => {
            "Between runs: not known; there is no earlier run of the same files on these objectives"
                .to_owned()
        }
    }
}

fn document(result: &ForgeResult, alike: &Alike, nights: Option<Nights>) -> Value {
    json!({
        "run": result.run(),
        "candidate": result.summary().plan.as_ref().and_then(|plan| {
            plan.candidates.first().map(|it| it.name.base().to_owned())
        }),
        "pairs": result.summary().plan.as_ref().map_or(0, |it| it.comparisons.len()),
        "judged": alike.judged,
        "alarms": alike.alarms,
        "share": alike.share(),
        "interval": alike.interval,
        "noise": alike.noise.map(|it| json!({
            "trials": it.trials, "objectives": it.objectives, "mean": it.mean,
        })),
        "between_runs": nights.map(|it| json!({
            "runs": it.runs, "places": it.places, "deviation": it.deviation,
        })),
        "verdicts": alike.verdicts,
    })
}
