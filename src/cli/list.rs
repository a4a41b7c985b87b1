//! `forge list`: candidates, objectives and past runs.

use std::path::{Path, PathBuf};

use clap::Args;
use forge::exit::ExitCode as End;
use forge::problem::Problems;
use forge::standings::LeadState;
use forge::store::RunFolder;
use forge::summary::RunSummary;
use serde_json::{Value, json};

use super::Folders;
use super::json;
use super::print::Printer;
use super::table::{Cell, table};

/// Older runs are only counted.
const RUNS_SHOWN: usize = 20;

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    folders: Folders,
    /// Print it as JSON on stdout; of older runs the ids only
    #[arg(long)]
    json: bool,
}

pub(super) fn list(args: &ListArgs, printer: Printer) -> End {
    let printer = printer.for_programs(args.json);
    let folders = &args.folders;
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
    let artifacts = forge::settings::artifacts(folders.artifacts.as_deref(), &project);
    if args.json {
        return as_json(&candidates, &objectives, &artifacts, printer);
    }
    let mut problems = Problems::default();
    let mut text = String::new();
    match forge::candidate::load::load_dir(&candidates, &[]) {
        Ok(candidates) => {
            heading(&mut text, "Candidates", candidates.len());
            let all = candidates.iter();
            let all = all.map(|it| named(it.name.as_str(), it.description.as_deref()));
            rows(&mut text, &[], &all.collect::<Vec<_>>());
        }
        Err(more) => problems.0.extend(more.0),
    }
    match forge::objective::load::load_dir(&objectives) {
        Ok(objectives) => {
            heading(&mut text, "Objectives", objectives.len());
            let all = objectives.iter();
            let all = all.map(|it| named(it.name.as_str(), it.title.as_deref()));
            rows(&mut text, &[], &all.collect::<Vec<_>>());
        }
        Err(more) => problems.0.extend(more.0),
    }
    let runs = RunFolder::all(&artifacts);
    heading(&mut text, "Runs", runs.len());
    let shown = runs.iter().rev().take(RUNS_SHOWN).map(|run| {
        let id = run.to_string();
        let folder = RunFolder::find(&artifacts, &id).ok();
        folder.map_or_else(|| vec![Cell::left(&id)], |folder| about(&id, &folder))
    });
    let shown: Vec<Vec<Cell>> = shown.collect();
    rows(
        &mut text,
        &["run", "began (UTC)", "trials", "outcome"],
        &shown,
    );
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

/// The same for programs.
fn as_json(candidates: &Path, objectives: &Path, artifacts: &Path, printer: Printer) -> End {
    let mut problems = Problems::default();
    let mut tell = |more: Problems| problems.0.extend(more.0);
    let candidates = forge::candidate::load::load_dir(candidates, &[]);
    let candidates = candidates.map_err(&mut tell).unwrap_or_default();
    let candidates = candidates.iter().map(|it| {
        json!({
            "name": it.name,
            "description": it.description,
            "source": it.source.to_string_lossy(),
            "digest": it.digest,
        })
    });
    let candidates: Value = candidates.collect();
    let objectives = forge::objective::load::load_dir(objectives);
    let objectives = objectives.map_err(&mut tell).unwrap_or_default();
    let objectives = objectives.iter().map(|it| {
        json!({
            "name": it.name,
            "title": it.title,
            "file": it.source.as_ref().map(|it| it.to_string_lossy()),
            "digest": it.digest,
        })
    });
    let objectives: Value = objectives.collect();
    let runs = RunFolder::all(artifacts).into_iter().rev().enumerate();
    let runs = runs.map(|(index, run)| {
        let found = RunFolder::find(artifacts, &run.to_string()).ok();
        let summary = found
            .filter(|_| index < RUNS_SHOWN)
            .and_then(|it| summary(&it));
        let standings = summary.as_ref().map(RunSummary::standings);
        json!({
            "run": run,
            "started": summary.as_ref().and_then(|it| it.started),
            "took_seconds": summary.as_ref().and_then(|it| it.took).map(|it| it.as_secs_f64()),
            "trials": summary.as_ref().map(|it| it.trials.len()),
            "winner": standings.as_ref().and_then(|it| it.winner.as_ref()),
            "lead": standings.as_ref().and_then(|it| it.lead.as_ref()),
        })
    });
    let runs: Value = runs.collect();
    let end = if problems.0.is_empty() {
        End::Ok
    } else {
        End::Usage
    };
    let document = json!({
        "candidates": candidates,
        "objectives": objectives,
        "runs": runs,
        "problems": json::problems(&problems.0),
    });
    json::print(printer, end, json::tamed(document))
}

fn heading(text: &mut String, what: &str, count: usize) {
    append(text, &format!("{what} ({count})\n"));
}

/// A name, and what is said of it.
fn named(name: &str, about: Option<&str>) -> Vec<Cell> {
    let about = forge::plain::short(about.unwrap_or_default(), 100);
    vec![Cell::left(name), Cell::left(about)]
}

/// Adds rows as a table below their heading.
fn rows(text: &mut String, titles: &[&str], rows: &[Vec<Cell>]) {
    if !rows.is_empty() {
        for line in table(titles, rows).lines() {
            append(text, &format!("  {line}\n"));
        }
    }
}

fn append(text: &mut String, more: &str) {
    text.push_str(more);
}

/// A run in a few words: its id, when it began, how much it was, and what it came to.
fn about(id: &str, folder: &RunFolder) -> Vec<Cell> {
    let nothing = || Cell::left("");
    let Some(summary) = summary(folder) else {
        return vec![
            Cell::left(id),
            nothing(),
            nothing(),
            Cell::left("unreadable"),
        ];
    };
    let when = summary.started.map(|at| at.strftime("%F %R").to_string());
    vec![
        Cell::left(id),
        Cell::left(when.unwrap_or_default()),
        Cell::right(summary.trials.len().to_string()),
        Cell::left(outcome(&summary)),
    ]
}

/// Who won, where that is known; a lead that may be chance is called that.
fn outcome(summary: &RunSummary) -> String {
    if summary.took.is_none() {
        return "not finished".to_owned();
    }
    let standings = summary.standings();
    let Some(winner) = &standings.winner else {
        return "no winner".to_owned();
    };
    let (name, score) = (&winner.candidate, winner.score);
    let state = standings.lead.as_ref().map(|lead| lead.state);
    match state {
        _ if !winner.tied_with.is_empty() => {
            let others = winner.tied_with.iter().map(|name| format!(", {name}"));
            let others: String = others.collect();
            format!("tie of {name}{others} with {score}")
        }
        Some(LeadState::NoClearWinner) => {
            format!("{name} leads with {score}; it may be chance")
        }
        Some(LeadState::Winner | LeadState::Tie | LeadState::Nobody) | None => {
            format!("winner {name} with {score}")
        }
    }
}

/// What a run has come to, as far as its journal can be read.
fn summary(folder: &RunFolder) -> Option<RunSummary> {
    let events = forge::journal::read(folder.path()).ok()?;
    let mut summary = RunSummary::default();
    events
        .map_while(Result::ok)
        .for_each(|event| summary.apply(&event));
    Some(summary)
}
