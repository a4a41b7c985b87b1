//! `forge check`: validates everything, runs nothing.

use clap::ArgMatches;
use forge::candidate::Candidate;
use forge::exit::ExitCode as End;
use forge::name::RunId;
use forge::quantity::counted;
use forge::sandbox::local::LocalProvider;
use forge::{ObjectiveSource, Place};

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
            mode,
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
            let (mut candidates, objectives) = match builder.load(sources) {
                Ok(loaded) => loaded,
                Err(problems) => {
                    printer.note(&problems.to_string());
                    return End::Usage;
                }
            };
            if let Place::Local(options) = mode.place {
                let runtime = match super::runtime(printer) {
                    Ok(runtime) => runtime,
                    Err(end) => return end,
                };
                let local = LocalProvider::new(options, RunId::generate());
                for candidate in &mut candidates {
                    let more = runtime.block_on(local.remarks(candidate));
                    candidate.notes.extend(more);
                }
            }
            for warning in builder.warnings() {
                printer.out(&format!("note: {}\n", forge::plain::line(warning)));
            }
            for remark in candidates.iter().flat_map(Candidate::remarks) {
                printer.out(&format!("note: {remark}\n"));
            }
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
