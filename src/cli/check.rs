//! `forge check`: says what a run would refuse and what would fail in it, and runs nothing.

use clap::{ArgMatches, Args};
use forge::exit::ExitCode as End;
use forge::lint::Lint;
use forge::objective::Objective;
use forge::problem::{Problem, Problems};
use forge::quantity::counted;
use forge::{Checked, Controlled, ObjectiveSource, Place};
use serde_json::{Value, json};

mod controls;

use super::json::{self, problems};
use super::print::Printer;
use super::run::{Prepared, prepare};
use super::{Noise, Outputs, RunArgs};

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Also run forge's own candidates here, and say which objectives they break: `noop` (does nothing), `oracle` (the
    /// reference answer), `cheat` (eight kinds of what is no answer)
    #[arg(long)]
    controls: bool,
}

pub(super) fn check(check: &CheckArgs, matches: &ArgMatches) -> End {
    let args = &check.run;
    let printer = Printer::new().for_programs(args.outputs.json);
    let mut controlled = None;
    let (mut checked, place) = match prepare(args, matches) {
        Err(problems) => {
            let checked = Checked {
                problems,
                ..Checked::default()
            };
            (checked, None)
        }
        Ok(Prepared {
            settings,
            builder,
            sources,
            mode,
        }) => match super::runtime(printer) {
            Ok(runtime) => {
                let objectives = loaded(&sources);
                let mut checked = runtime.block_on(builder.build().check(sources));
                // What a run would refuse cannot be tried.
                if check.controls && checked.problems.0.is_empty() {
                    let tried = controls::run(args, &settings, &mode, &objectives);
                    match runtime.block_on(tried) {
                        controls::Tried::All(all) => {
                            let broken = all.iter().filter_map(|it| it.problem.clone());
                            checked.problems.0.extend(broken);
                            controlled = Some(all);
                        }
                        controls::Tried::Refused(problems) => checked.problems.0.extend(problems.0),
                        controls::Tried::Stopped(end) => return end,
                    }
                }
                (checked, Some(mode))
            }
            Err(end) => return end,
        },
    };
    let fallen = place.as_ref().filter(|mode| mode.has_fallen);
    if let Some(fallen) = fallen.and_then(|mode| mode.lines.get(1)) {
        checked.notes.push(fallen.trim().to_owned());
    }
    checked
        .problems
        .0
        .extend(unwritable(&args.outputs, &args.noise));
    let end = if checked.problems.0.is_empty() {
        End::Ok
    } else {
        End::Usage
    };
    if args.outputs.json {
        json::print(
            printer,
            end,
            document(
                &checked,
                place.as_ref().map(|mode| &mode.place),
                controlled.as_deref(),
            ),
        )
    } else {
        for line in controls::lines(controlled.as_deref().unwrap_or_default()) {
            printer.out(&format!("{line}\n"));
        }
        tell(&checked, printer);
        end
    }
}

fn tell(checked: &Checked, printer: Printer) {
    for note in &checked.notes {
        printer.out(&format!("note: {note}\n"));
    }
    for warning in &checked.warnings {
        printer.out(&format!("warning: {warning}\n"));
        if let Some(hint) = &warning.hint {
            printer.out(&format!("  hint: {}\n", forge::plain::line(hint)));
        }
    }
    for lint in &checked.lints {
        printer.out(&format!(
            "warning: {} [{}]\n",
            lint.problem,
            lint.rule.name()
        ));
        if let Some(hint) = &lint.problem.hint {
            printer.out(&format!("  hint: {}\n", forge::plain::line(hint)));
        }
    }
    let count = checked.problems.0.len();
    if count == 0 {
        printer.out(&format!(
            "ok: {}, {}, {}\n",
            counted(checked.candidates, "candidate", "candidates"),
            counted(checked.objectives, "objective", "objectives"),
            counted(checked.trials, "trial", "trials"),
        ));
    } else {
        printer.note(&checked.problems.to_string());
        let found = counted(count, "problem", "problems");
        printer.note(&format!("{found} found"));
    }
}

/// A problem with the rule that found it.
fn lint(lint: &Lint) -> Value {
    let mut found = json::problem(&lint.problem);
    found["rule"] = lint.rule.name().into();
    found
}

/// The objectives that a run would have; they have been loaded.
fn loaded(sources: &[ObjectiveSource]) -> Vec<Objective> {
    let loaded = sources.iter().filter_map(|it| match it {
        ObjectiveSource::Loaded(objective) => Some((**objective).clone()),
        ObjectiveSource::Named(_) => None,
    });
    loaded.collect()
}

fn document(checked: &Checked, place: Option<&Place>, controlled: Option<&[Controlled]>) -> Value {
    json!({
        "place": place.map(|place| match place {
            Place::Local(_) => "local",
            Place::Own(provider) => provider.name(),
        }),
        "candidates": checked.candidates,
        "objectives": checked.objectives,
        "trials": checked.trials,
        "isolation": checked.isolation,
        "problems": problems(&checked.problems.0),
        "warnings": problems(&checked.warnings),
        "lints": checked.lints.iter().map(lint).collect::<Value>(),
        "controls": controlled.map(controls::document),
        "notes": checked.notes,
    })
}

/// The files that were asked for and cannot be written. A run finds out by opening them; nothing is made here.
fn unwritable(outputs: &Outputs, noise: &Noise) -> Vec<Problem> {
    let asked = [
        ("--junit", &outputs.junit),
        ("--markdown", &outputs.markdown),
        ("--html", &outputs.html),
        ("--csv", &outputs.csv),
        ("--log-file", &noise.log_file),
    ];
    let mut problems = Problems::default();
    for (flag, path) in asked {
        if let Some(path) = path
            && let Some(error) = forge::tree::cannot_write(path, false)
        {
            problems.push(super::show::cannot_write(flag, path, &error));
        }
    }
    problems.0
}
