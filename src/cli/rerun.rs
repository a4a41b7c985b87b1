//! `forge score` and `forge report`: an old run, judged or rendered again. No candidate runs.

use std::path::{Path, PathBuf};

use clap::Args;
use forge::exit::ExitCode as End;
use forge::problem::{Problem, Problems};
use forge::redact::Redactor;
use forge::report::Report;
use forge::rescore;
use forge::store::RunFolder;
use forge::summary::RunSummary;

use super::found::{self, find, find_or_open};
use super::print::Printer;
use super::show::{Extra, report_in, show};
use super::{Folders, Noise, Outputs, json, log, mode};

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
    #[arg(long, value_name = "DIR", env = "FORGE_ARTIFACTS", value_parser = super::values::artifacts())]
    artifacts: Option<PathBuf>,
    #[command(flatten)]
    outputs: Outputs,
    #[command(flatten)]
    noise: Noise,
}

pub(super) fn score(args: &ScoreArgs, printer: Printer) -> End {
    let printer = printer.for_programs(args.outputs.json);
    let project = match super::begin(&args.noise, printer) {
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
    // As far as one knows what the candidates were given: what they are today.
    let candidates = project.candidates.clone();
    let candidates = candidates.unwrap_or_else(|| "candidates".into());
    let candidates = forge::candidate::load::load_dir(&candidates, &[]).unwrap_or_default();
    let passed = candidates.iter();
    let passed = passed.flat_map(|it| it.passed_secrets(&variables));
    let declared = forge::settings::declared(&project, &variables);
    let redactor = Redactor::new(declared.into_iter().chain(passed));
    log::redact(redactor.clone());
    match runtime.block_on(rescore::rescore(&folder, &objectives, place, redactor)) {
        Ok(summary) => {
            let artifacts =
                &forge::settings::artifacts(args.folders.artifacts.as_deref(), &project);
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
        Err(forge::ForgeError::Problems(problems)) => json::refuse(printer, End::Usage, &problems),
        Err(error) => json::fail(printer, End::Incomplete, &error, None),
    }
}

pub(super) fn report(args: &ReportArgs, printer: Printer) -> End {
    let printer = printer.for_programs(args.outputs.json);
    let project = match super::begin(&args.noise, printer) {
        Ok(project) => project,
        Err(end) => return end,
    };
    let found = match find_or_open(args.artifacts.as_deref(), &project, &args.run, printer) {
        Ok(found) => found,
        Err(end) => return end,
    };
    let extra = match Extra::open_or_tell(&args.outputs, &args.noise, printer) {
        Ok(extra) => extra,
        Err(end) => return end,
    };
    found::tell_if_alive(found.folder(), printer);
    match rescore::replay(found.folder()) {
        Ok(summary) => render(
            // What came out of a file is gone in a moment.
            (found.folder(), &found.place()),
            &summary,
            None,
            &args.outputs,
            &args.noise,
            extra,
            printer,
        ),
        Err(error) => {
            let hint = "the run's events.jsonl is what its reports are made of";
            json::fail(printer, End::Usage, &error, Some(hint))
        }
    }
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
        let empty = "the run's events.jsonl is empty: there is nothing to show";
        let problem = Problem::setting("", empty);
        return json::refuse(printer, End::Usage, &Problems::from(problem));
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
