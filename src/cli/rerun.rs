//! `forge score` and `forge report`: an old run, judged or rendered again. No candidate runs.

use std::path::{Path, PathBuf};

use clap::Args;
use forge::exit::ExitCode as End;
use forge::project::Project;
use forge::redact::Redactor;
use forge::report::Report;
use forge::rescore;
use forge::store::{Opened, RunFolder};
use forge::summary::RunSummary;

use super::print::Printer;
use super::show::{Extra, report_in, show};
use super::{Folders, Noise, Outputs, log, mode};

#[derive(Debug, Args)]
pub(super) struct ScoreArgs {
    /// The run: `latest`, its id or the beginning of it, or its folder
    run: String,
    #[command(flatten)]
    folders: Folders,
    #[command(flatten)]
    outputs: Outputs,
    #[command(flatten)]
    noise: Noise,
}

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// The run: `latest`, its id or the beginning of it, its folder, or what `forge export` wrote
    run: String,
    /// Folder for results [default: artifacts]
    #[arg(long, value_name = "DIR", env = "FORGE_ARTIFACTS")]
    artifacts: Option<PathBuf>,
    #[command(flatten)]
    outputs: Outputs,
    #[command(flatten)]
    noise: Noise,
}

pub(super) fn score(args: &ScoreArgs, printer: Printer) -> End {
    if let Err(end) = log::start_or_tell(&args.noise, printer) {
        return end;
    }
    let project = match super::project(printer) {
        Ok(project) => project,
        Err(end) => return end,
    };
    let artifacts = args.folders.artifacts.as_deref();
    let folder = match find(artifacts, &project, &args.run, printer) {
        Ok(folder) => folder,
        Err(end) => return end,
    };
    let extra = match Extra::open_or_tell(&args.outputs, &args.noise, printer) {
        Ok(extra) => extra,
        Err(end) => return end,
    };
    let objectives = args
        .folders
        .objectives
        .clone()
        .or_else(|| project.objectives.clone())
        .unwrap_or_else(|| "objectives".into());
    let variables = forge::settings::variables();
    let place = mode::local(&variables, &project.local);
    let runtime = match super::runtime(printer) {
        Ok(runtime) => runtime,
        Err(end) => return end,
    };
    let redactor = || Redactor::new(forge::settings::declared(&project, &variables));
    log::redact(redactor());
    match runtime.block_on(rescore::rescore(&folder, &objectives, place, redactor())) {
        Ok(summary) => {
            let artifacts = super::artifacts(args.folders.artifacts.as_deref(), &project);
            render(
                (&folder, &report_in(&folder)),
                &summary,
                history_of(&folder, artifacts),
                &args.outputs,
                &args.noise,
                extra,
                printer,
            )
        }
        Err(forge::ForgeError::Problems(problems)) => {
            printer.note(&problems.to_string());
            End::Usage
        }
        Err(error) => {
            printer.error(&error, None);
            End::Incomplete
        }
    }
}

pub(super) fn report(args: &ReportArgs, printer: Printer) -> End {
    if let Err(end) = log::start_or_tell(&args.noise, printer) {
        return end;
    }
    let project = match super::project(printer) {
        Ok(project) => project,
        Err(end) => return end,
    };
    let opened = match opened(args.artifacts.as_deref(), &project, &args.run, printer) {
        Ok(opened) => opened,
        Err(end) => return end,
    };
    let folder = match &opened {
        Some(opened) => opened.folder().clone(),
        None => match find(args.artifacts.as_deref(), &project, &args.run, printer) {
            Ok(folder) => folder,
            Err(end) => return end,
        },
    };
    let extra = match Extra::open_or_tell(&args.outputs, &args.noise, printer) {
        Ok(extra) => extra,
        Err(end) => return end,
    };
    match rescore::replay(&folder) {
        Ok(summary) => render(
            // What came out of a file is gone in a moment.
            (
                &folder,
                &opened
                    .as_ref()
                    .map_or_else(|| report_in(&folder), |_| PathBuf::from(&args.run)),
            ),
            &summary,
            None,
            &args.outputs,
            &args.noise,
            extra,
            printer,
        ),
        Err(error) => {
            printer.error(
                &error,
                Some("the run's events.jsonl is what its reports are made of"),
            );
            End::Usage
        }
    }
}

/// The run in a file that `forge export` wrote, where no run of this name is in the folder for results.
fn opened(
    artifacts: Option<&Path>,
    project: &Project,
    run: &str,
    printer: Printer,
) -> Result<Option<Opened>, End> {
    let file = Path::new(run);
    let is_known = RunFolder::find(super::artifacts(artifacts, project), run).is_ok();
    if is_known || !file.is_file() {
        return Ok(None);
    }
    RunFolder::open_export(file).map(Some).map_err(|why| {
        let file = forge::plain::line(&file.to_string_lossy());
        printer.note(&format!("error: {file}: {}", forge::plain::line(&why)));
        printer.note("  hint: `forge export RUN` writes such files");
        End::Usage
    })
}

pub(super) fn find(
    artifacts: Option<&Path>,
    project: &Project,
    run: &str,
    printer: Printer,
) -> Result<RunFolder, End> {
    let artifacts = super::artifacts(artifacts, project);
    RunFolder::find(artifacts, run).map_err(|message| {
        printer.note(&format!("error: {}", forge::plain::line(&message)));
        printer.note("  hint: `forge list` shows the runs");
        End::Usage
    })
}

/// The folder whose history has a run: that of results, if the run is in it.
fn history_of<'a>(folder: &RunFolder, artifacts: &'a Path) -> Option<&'a Path> {
    let (run, all) = (folder.path().canonicalize(), artifacts.canonicalize());
    let is_in = matches!((&run, &all), (Ok(run), Ok(all)) if run.parent() == Some(all.as_path()));
    is_in.then_some(artifacts)
}

/// Writes a run's reports, to be found at the place that is told; in `history`, what it comes to now supersedes what it came to.
pub(super) fn render(
    (folder, place): (&RunFolder, &Path),
    summary: &RunSummary,
    history: Option<&Path>,
    outputs: &Outputs,
    noise: &Noise,
    extra: Extra,
    printer: Printer,
) -> End {
    let Some(plan) = &summary.plan else {
        printer.note("error: the run's events.jsonl is empty: there is nothing to show");
        return End::Usage;
    };
    for warning in &summary.warnings {
        printer.note(&format!("forge: {}", forge::plain::line(warning)));
    }
    let standings = summary.standings();
    let verdicts = forge::verdict::of(summary, &standings);
    let (end, reasons) = forge::exit::decide(summary, &standings, &verdicts);
    let sweep = format!("forge sweep --run {}", plan.run);
    let report = Report {
        summary,
        standings: &standings,
        verdicts: &verdicts,
        exit: end,
        reasons: &reasons,
        sweep: &sweep,
        details: folder,
    };
    let mut saved = report.save(folder);
    if let Some(artifacts) = history {
        let appended = forge::history::append(artifacts, summary, &standings, &verdicts);
        saved.unremembered = appended.err();
    }
    match show(&report, &saved, place, outputs, noise, extra) {
        // That run was interrupted; this command was not.
        End::Interrupted | End::Terminated => End::Incomplete,
        end @ (End::Ok | End::Below | End::Usage | End::Incomplete | End::Undeleted) => end,
    }
}
