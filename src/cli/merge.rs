//! `forge merge`: the parts of a run, put together.

use std::path::{Path, PathBuf};

use clap::Args;
use forge::ForgeError;
use forge::exit::ExitCode as End;
use forge::store::RunFolder;

use super::found::find;
use super::print::Printer;
use super::rerun::render;
use super::show::{Extra, ROOM, report_in};
use super::{Noise, Outputs, json};

#[derive(Debug, Args)]
pub(super) struct MergeArgs {
    /// The parts: ids of runs or the beginnings of them, or folders
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<String>,
    /// Folder for results [default: artifacts]
    #[arg(long, value_name = "DIR", env = "FORGE_ARTIFACTS")]
    artifacts: Option<PathBuf>,
    /// Folder with the objectives [default: objectives]
    #[arg(long, value_name = "DIR", env = "FORGE_OBJECTIVES")]
    objectives: Option<PathBuf>,
    #[command(flatten)]
    outputs: Outputs,
    #[command(flatten)]
    noise: Noise,
}

pub(super) fn merge(args: &MergeArgs, printer: Printer) -> End {
    let printer = printer.for_programs(args.outputs.json);
    let project = match super::begin(&args.noise, printer) {
        Ok(project) => project,
        Err(end) => return end,
    };
    let found = args.runs.iter();
    let found = found.map(|run| find(args.artifacts.as_deref(), &project, run, printer));
    let parts: Vec<RunFolder> = match found.collect() {
        Ok(parts) => parts,
        Err(end) => return end,
    };
    let extra = match Extra::open_or_tell(&args.outputs, &args.noise, printer) {
        Ok(extra) => extra,
        Err(end) => return end,
    };
    let artifacts = super::artifacts(args.artifacts.as_deref(), &project);
    let objectives = args.objectives.as_deref().or(project.objectives.as_deref());
    let objectives = objectives.unwrap_or_else(|| Path::new("objectives"));
    match forge::merge::merge(artifacts, &parts, objectives) {
        Ok(merged) => {
            // Nobody depends on it: `latest` is found without.
            if let Err(error) = merged.folder.point_latest() {
                printer.note(&format!("forge: {error}"));
            }
            let end = render(
                (&merged.folder, &report_in(&merged.folder)),
                &merged.summary,
                Some(artifacts),
                &args.outputs,
                &args.noise,
                extra,
                printer,
            );
            if merged.missing.is_empty() {
                end
            } else {
                end.max(End::Incomplete)
            }
        }
        Err(ForgeError::Problems(problems)) => json::refuse(printer, End::Usage, &problems),
        Err(error) => json::fail(printer, End::Incomplete, &error, Some(ROOM)),
    }
}
