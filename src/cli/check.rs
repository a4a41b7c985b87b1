//! `forge check`: validates everything, runs nothing.

use clap::ArgMatches;
use forge::ObjectiveSource;
use forge::exit::ExitCode as End;
use forge::quantity::counted;

use super::RunArgs;
use super::print::Printer;
use super::run::{Prepared, prepare};

pub(super) fn check(args: &RunArgs, matches: &ArgMatches) -> End {
    let printer = Printer::new();
    match prepare(args, matches) {
        Err(problems) => {
            printer.note(&problems.to_string());
            let count = problems.0.len();
            printer.note(&format!(
                "{count} problem{} found",
                if count == 1 { "" } else { "s" }
            ));
            End::Usage
        }
        Ok(Prepared {
            settings,
            mut builder,
            sources,
            ..
        }) => {
            let repeat = settings.repeat;
            let repeats: u64 = sources
                .iter()
                .map(|source| match source {
                    ObjectiveSource::Loaded(objective) => repeat.or(objective.repeat).unwrap_or(1),
                    ObjectiveSource::Named(_) => 1,
                })
                .map(u64::from)
                .sum();
            let (candidates, objectives) = match builder.load(sources) {
                Ok(loaded) => loaded,
                Err(problems) => {
                    printer.note(&problems.to_string());
                    return End::Usage;
                }
            };
            printer.out(&format!(
                "ok: {}, {}, {}\n",
                counted(candidates.len(), "candidate", "candidates"),
                counted(objectives.len(), "objective", "objectives"),
                counted(repeats * candidates.len() as u64, "trial", "trials"),
            ));
            End::Ok
        }
    }
}
