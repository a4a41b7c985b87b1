//! `forge history`: how candidates did in the runs until now. Nothing is run.

use std::path::{Path, PathBuf};

use clap::Args;
use forge::exit::ExitCode as End;
use forge::history::{self, Break, FILE, Merged, Point, Trends};
use forge::name::CandidateName;
use forge::plain;
use forge::problem::{Problem, Problems};
use forge::quantity::{counted, signed};
use forge::suggest;
use forge::tree::{open_regular, reason};
use serde_json::json;

use super::json;
use super::print::Printer;
use super::table::{Cell, table};

#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    /// Only this candidate; one as it was, such as `gamma@blessed`, is shown only by its name
    name: Option<String>,
    /// How many runs of each candidate
    #[arg(short = 'n', long = "last", value_name = "N", default_value_t = 20,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    last: u32,
    /// Read all runs of the folder again first; lines of runs that are not there stay
    #[arg(long)]
    rebuild: bool,
    /// Add the lines of another history first, from another machine, say
    #[arg(long, value_name = "FILE")]
    merge: Option<PathBuf>,
    /// Folder for results [default: artifacts]
    #[arg(long, value_name = "DIR", env = "FORGE_ARTIFACTS", value_parser = super::values::artifacts())]
    artifacts: Option<PathBuf>,
    /// Print it as JSON on stdout
    #[arg(long)]
    json: bool,
}

/// Why there is nothing to show.
enum Failed {
    /// What was typed.
    Usage(Problem),
    /// What the file system refused.
    Io(std::io::Error),
}

pub(super) fn history(args: &HistoryArgs, printer: Printer) -> End {
    let printer = printer.for_programs(args.json);
    let project = match super::project(printer) {
        Ok(project) => project,
        Err(end) => return end,
    };
    let artifacts = &forge::settings::artifacts(args.artifacts.as_deref(), &project);
    match found(args, artifacts, printer) {
        Ok(trends) if args.json => json::print(printer, End::Ok, document(&trends)),
        Ok(trends) => {
            for note in &trends.notes {
                printer.note(&format!("forge: {note}"));
            }
            printer.out(&shown(&trends));
            End::Ok
        }
        Err(Failed::Usage(problem)) => json::refuse(printer, End::Usage, &Problems::from(problem)),
        Err(Failed::Io(error)) => json::fail(printer, End::Incomplete, &error, None),
    }
}

fn found(args: &HistoryArgs, artifacts: &Path, printer: Printer) -> Result<Trends, Failed> {
    let name = args.name.as_deref().map(name).transpose()?;
    let other = match &args.merge {
        None => None,
        Some(file) => {
            let (opened, _) = open_regular(file).map_err(|error| {
                let message = format!("cannot read this file: {}", reason(&error));
                let hint = format!("the `{FILE}` of another folder for results");
                Failed::Usage(Problem::file(file, message).with_hint(hint))
            })?;
            Some((file, opened))
        }
    };
    if args.rebuild {
        let rebuilt = history::rebuild(artifacts).map_err(Failed::Io)?;
        for note in &rebuilt.notes {
            printer.note(&format!("forge: {}", plain::line(note)));
        }
        let runs = counted(rebuilt.runs, "run was", "runs were");
        tell(printer, &format!("{runs} read again"), &rebuilt.merged);
    }
    if let Some((file, opened)) = other {
        let merged = history::merge(artifacts, &opened).map_err(|error| {
            if error.kind() != std::io::ErrorKind::InvalidData {
                return Failed::Io(error);
            }
            let problem = Problem::file(file, error.to_string());
            Failed::Usage(problem.with_hint(format!("the `{FILE}` of another folder for results")))
        })?;
        let file = plain::line(&file.display().to_string());
        tell(printer, &format!("`{file}` was merged"), &merged);
    }
    let last = usize::try_from(args.last).unwrap_or(usize::MAX);
    let trends = history::read(artifacts, name.as_ref(), last).map_err(Failed::Io)?;
    match name {
        Some(name) if !trends.of.contains_key(&name) => Err(unknown(&name, &trends)),
        Some(_) | None => Ok(trends),
    }
}

/// A name as it stands in a history: one with a version as well.
fn name(text: &str) -> Result<CandidateName, Failed> {
    let parsed = match text.split_once('@') {
        None => CandidateName::parse(text),
        Some((base, version)) => CandidateName::parse(base).and_then(|base| base.at(version)),
    };
    parsed.map_err(|error| {
        let problem = Problem::setting("NAME", format!("`{}`: {error}", plain::line(text)));
        Failed::Usage(problem.with_hint("the name of a candidate, as `forge history` shows it"))
    })
}

fn unknown(name: &CandidateName, trends: &Trends) -> Failed {
    let problem = Problem::setting("NAME", format!("the history has no candidate `{name}`"));
    // Of former ones there may be hundreds.
    let known = trends.names.iter().filter(|it| it.version().is_none());
    let known = known.map(CandidateName::as_str);
    Failed::Usage(problem.with_hint(if trends.names.is_empty() {
        "there is no history yet: every run adds to it, and `forge history --rebuild` makes it from those that are there"
            .to_owned()
    } else {
        suggest::advice(name.as_str(), known)
    }))
}

/// What became of the file, for people; the result is on stdout.
fn tell(printer: Printer, what: &str, merged: &Merged) {
    let lines = counted(merged.lines, "line", "lines");
    let broken = match merged.broken {
        0 => String::new(),
        broken => format!(
            "; left out, because it makes no sense: {}",
            counted(broken, "line", "lines")
        ),
    };
    printer.note(&format!(
        "forge: {what}: {} added, {} replaced; {FILE} has {lines} now{broken}",
        merged.added, merged.replaced
    ));
}

fn document(trends: &Trends) -> serde_json::Value {
    let points: Vec<&Point> = trends.points();
    json::tamed(json!({"history": points, "notes": trends.notes}))
}

/// The table, and what it comes to.
fn shown(trends: &Trends) -> String {
    let points = trends.points();
    if points.is_empty() {
        return "There is no history yet: every run adds to it, and `forge history --rebuild` makes it from those that \
                are there.\n"
            .to_owned();
    }
    let titles = [
        "",
        "date (UTC)",
        "run",
        "candidate",
        "score",
        "95 % interval",
        "change",
        "passed",
        "seconds",
        "verdict",
    ];
    let rows: Vec<Vec<Cell>> = points.iter().map(|point| row(point)).collect();
    let mut text = table(&titles, &rows);
    for (is_used, legend) in [
        (
            points.iter().any(|it| it.changed),
            "*  the candidate has changed since the run before",
        ),
        (
            points.iter().any(|it| !it.breaks.is_empty()),
            "┆  not comparable with the run before: the objectives, the rule or the place are others",
        ),
        (
            points.iter().any(|it| it.drifted()),
            "~  drifted: the same files, and other scores than in the run that it was compared with",
        ),
    ] {
        if is_used {
            text.push_str(legend);
            text.push('\n');
        }
    }
    text.push('\n');
    text.push_str(&lines(trends));
    text
}

const NOTHING: &str = "–";

fn row(point: &Point) -> Vec<Cell> {
    let line = &point.line;
    let or_nothing = |text: Option<String>| text.unwrap_or_else(|| NOTHING.to_owned());
    let mut marks = String::new();
    marks.extend(point.changed.then_some('*'));
    marks.extend((!point.breaks.is_empty()).then_some('┆'));
    marks.extend(point.drifted().then_some('~'));
    let breaks: Vec<&str> = point.breaks.iter().copied().map(broken).collect();
    let said = line.verdict.as_ref().map(|said| {
        let state = said.state.as_str().replace('_', " ");
        format!("{state} against {}", said.against)
    });
    let said = match (said, breaks.is_empty()) {
        (said, true) => or_nothing(said),
        (None, false) => format!("other {}", breaks.join(", ")),
        (Some(said), false) => format!("{said}; other {}", breaks.join(", ")),
    };
    vec![
        Cell::left(marks),
        Cell::left(line.date.strftime("%F %R").to_string()),
        Cell::left(line.run.short()),
        Cell::left(line.candidate.as_str()),
        Cell::right(or_nothing(line.score.map(|it| format!("{it:.1}")))),
        Cell::right(or_nothing(
            line.interval
                .map(|[low, high]| format!("{low:.1} to {high:.1}")),
        )),
        Cell::right(or_nothing(point.change.map(signed))),
        Cell::right(or_nothing(line.passed.map(|it| format!("{it:.0} %")))),
        Cell::right(or_nothing(line.seconds.map(|it| format!("{it:.2}")))),
        Cell::left(said),
    ]
}

const fn broken(why: Break) -> &'static str {
    match why {
        Break::Objectives => "objectives",
        Break::Rule => "rule",
        Break::Place => "place",
    }
}

/// A line of bars for each candidate.
fn lines(trends: &Trends) -> String {
    let rows = trends.of.iter().map(|(name, points)| {
        let scores = || points.iter().filter_map(|it| it.line.score);
        let low = scores().fold(f64::INFINITY, f64::min);
        let high = scores().fold(f64::NEG_INFINITY, f64::max);
        let range = match scores().next_back() {
            Some(now) => format!("{low:.1} to {high:.1}, now {now:.1}"),
            None => "no scores".to_owned(),
        };
        vec![
            Cell::left(name.as_str()),
            Cell::left(history::sparkline(points)),
            Cell::left(range),
        ]
    });
    let rows: Vec<Vec<Cell>> = rows.collect();
    table(&[], &rows)
}
