//! `forge list`: candidates, objectives and past runs.

use std::path::PathBuf;

use forge::exit::ExitCode as End;
use forge::problem::Problems;
use forge::quantity::counted;
use forge::store::RunFolder;
use forge::summary::RunSummary;

use super::Folders;
use super::print::Printer;

/// Older runs are only counted.
const RUNS_SHOWN: usize = 20;

pub(super) fn list(folders: &Folders, printer: Printer) -> End {
    let project = match super::project(printer) {
        Ok(project) => project,
        Err(end) => return end,
    };
    let folder = |typed: &Option<PathBuf>, written: &Option<PathBuf>, default: &str| {
        typed
            .clone()
            .or_else(|| written.clone())
            .unwrap_or_else(|| default.into())
    };
    let candidates = folder(&folders.candidates, &project.candidates, "candidates");
    let objectives = folder(&folders.objectives, &project.objectives, "objectives");
    let artifacts = folder(&folders.artifacts, &project.artifacts, "artifacts");
    let mut problems = Problems::default();
    let mut text = String::new();
    match forge::candidate::load::load_dir(&candidates, &[]) {
        Ok(candidates) => {
            heading(&mut text, "Candidates", candidates.len());
            for it in candidates {
                row(&mut text, it.name.as_str(), it.description.as_deref());
            }
        }
        Err(more) => problems.0.extend(more.0),
    }
    match forge::objective::load::load_dir(&objectives) {
        Ok(objectives) => {
            heading(&mut text, "Objectives", objectives.len());
            for it in objectives {
                row(&mut text, it.name.as_str(), it.title.as_deref());
            }
        }
        Err(more) => problems.0.extend(more.0),
    }
    let runs = RunFolder::all(&artifacts);
    heading(&mut text, "Runs", runs.len());
    for run in runs.iter().rev().take(RUNS_SHOWN) {
        let id = run.to_string();
        let about = RunFolder::find(&artifacts, &id)
            .ok()
            .map(|folder| about(&folder));
        row(&mut text, &id, about.as_deref());
    }
    if runs.len() > RUNS_SHOWN {
        append(
            &mut text,
            &format!("  … and {} older ones\n", runs.len() - RUNS_SHOWN),
        );
    }
    printer.out(&text);
    if problems.0.is_empty() {
        End::Ok
    } else {
        printer.note(&problems.to_string());
        End::Usage
    }
}

fn heading(text: &mut String, what: &str, count: usize) {
    append(text, &format!("{what} ({count})\n"));
}

fn row(text: &mut String, name: &str, about: Option<&str>) {
    let about = forge::plain::short(about.unwrap_or_default(), 100);
    append(text, format!("  {name:<16}  {about}").trim_end());
    append(text, "\n");
}

fn append(text: &mut String, more: &str) {
    text.push_str(more);
}

/// A run in a few words.
fn about(folder: &RunFolder) -> String {
    let Ok(events) = forge::journal::read(folder.path()) else {
        return "unreadable".to_owned();
    };
    let mut summary = RunSummary::default();
    events
        .map_while(Result::ok)
        .for_each(|event| summary.apply(&event));
    let when = summary
        .started
        .map_or_else(String::new, |at| at.strftime("%F %R").to_string());
    let trials = counted(summary.trials.len(), "trial", "trials");
    let outcome = match (&summary.took, summary.standings().winner) {
        (None, _) => "not finished".to_owned(),
        (Some(_), Some(winner)) if winner.tied_with.is_empty() => {
            format!("winner {} with {}", winner.candidate, winner.score)
        }
        (Some(_), Some(winner)) => {
            let others = winner.tied_with.iter().map(|name| format!(", {name}"));
            let others: String = others.collect();
            format!("tie of {}{others} with {}", winner.candidate, winner.score)
        }
        (Some(_), None) => "no winner".to_owned(),
    };
    format!("{when}  {trials}, {outcome}")
}
