//! `forge merge`: the parts of a run, put together.

use std::path::{Path, PathBuf};

use clap::Args;
use forge::ForgeError;
use forge::exit::ExitCode as End;
use forge::settings;
use forge::store::RunFolder;

use super::found::{Found, find_or_fetch};
use super::print::Printer;
use super::rerun::render;
use super::show::{Extra, ROOM, report_in};
use super::{Noise, Outputs, json, stored};

#[derive(Debug, Args)]
pub(super) struct MergeArgs {
    /// The parts: ids of runs or the beginnings of them, folders, or `s3://BUCKET/PREFIX/RUN`
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<String>,
    /// Folder for results, or `s3://BUCKET/PREFIX`: then they go there too [default: artifacts]
    #[arg(long, value_name = "DIR", env = "FORGE_ARTIFACTS", value_parser = super::values::artifacts())]
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
    let typed = args.artifacts.as_deref();
    let store = match stored::store(typed, &project, printer) {
        Ok(store) => store,
        Err(end) => return end,
    };
    let found = found.map(|run| find_or_fetch(typed, &project, run, printer));
    // What was fetched is gone when the parts are together.
    let found: Vec<Found> = match found.collect() {
        Ok(found) => found,
        Err(end) => return end,
    };
    let parts: Vec<RunFolder> = found.iter().map(|it| it.folder().clone()).collect();
    let extra = match Extra::open_or_tell(&args.outputs, &args.noise, printer) {
        Ok(extra) => extra,
        Err(end) => return end,
    };
    let artifacts = &settings::artifacts(typed, &project);
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
            let put = store.zip(merged.folder.run());
            let put = put.map(|(store, run)| stored::put(&store, run, &merged.folder, printer));
            let end = put
                .and_then(Result::err)
                .map_or(end, |failed| end.max(failed));
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
