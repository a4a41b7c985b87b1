//! What a run leaves and prints: its reports, the copies that were asked for, the table.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use forge::event::{ErrorClass, StopCause};
use forge::exit::ExitCode as End;
use forge::problem::{Problem, Problems};
use forge::report::{Format, Report, Saved, Style};
use forge::sandbox::local::let_go_of_program;
use forge::settings;
use forge::store::RunFolder;
use forge::summary::TrialRow;

use super::destination::{Destination, Identity};
use super::print::{self, Printer, stdout_is_terminal};
use super::{Color, Noise, Outputs, json};

/// What helps against a write that failed.
pub(super) const ROOM: &str = "is there room on the disk, and may you write there?";

/// The file that GitHub's steps share, and that each adds to.
pub(super) const STEP_SUMMARY: &str = "GITHUB_STEP_SUMMARY";

/// Reports that were asked for beside the run's folder. Opened before time is spent, so that a path that
/// cannot be written is known at once.
#[derive(Debug)]
pub(super) struct Extra {
    reports: Vec<(Format, Destination)>,
    /// Whether one of them has stdout, and so has it alone.
    takes_stdout: bool,
}

impl Extra {
    /// Opens them, or says which cannot be written.
    pub(super) fn open_or_tell(
        outputs: &Outputs,
        noise: &Noise,
        printer: Printer,
    ) -> Result<Self, End> {
        Self::open(outputs, noise)
            .map_err(|problem| json::refuse(printer, End::Usage, &Problems::from(problem)))
    }

    fn open(outputs: &Outputs, noise: &Noise) -> Result<Self, Problem> {
        let asked = [
            (Format::Junit, "--junit", &outputs.junit),
            (Format::Markdown, "--markdown", &outputs.markdown),
            (Format::Html, "--html", &outputs.html),
            (Format::Csv, "--csv", &outputs.csv),
        ];
        let shared = shared();
        let stdout = Identity::of_stdout();
        let mut taken: Vec<(&str, Identity)> = Vec::new();
        if let Some(stdout) = stdout.filter(|_| outputs.json) {
            taken.push(("--json", stdout));
        }
        if let Some(log) = noise.log_file.as_deref().and_then(Identity::at) {
            taken.push(("--log-file", log));
        }
        let mut extra = Self {
            reports: Vec::new(),
            takes_stdout: outputs.json,
        };
        for (format, flag, path) in asked {
            let Some(path) = path else { continue };
            let to = Destination::open(path, &shared)
                .map_err(|error| cannot_write(flag, path, &error))?;
            let identity = to.identity();
            if let Some((other, _)) = taken.iter().find(|it| it.1.clashes(&identity)) {
                let message = format!("`{}` is where `{other}` writes too", path.display());
                return Err(Problem::setting(flag, message)
                    .with_hint("give each of them a file of its own"));
            }
            taken.push((flag, identity));
            extra.takes_stdout |= path != Path::new("/dev/stderr") && stdout == Some(identity);
            extra.reports.push((format, to));
        }
        Ok(extra)
    }

    /// Whether what is printed on stdout is a report, and nothing else may be.
    pub(super) const fn takes_stdout(&self) -> bool {
        self.takes_stdout
    }

    /// Says what could not be saved, and writes the reports that were asked for; how that ends.
    pub(super) fn written(&mut self, report: &Report<'_>, saved: &Saved, printer: Printer) -> End {
        if let Some(why) = &saved.unlinked {
            let why = forge::plain::line(&why.to_string());
            printer.note(&format!("forge: there are not all `winner` links: {why}"));
        }
        if let Some(why) = &saved.unremembered {
            let why = forge::plain::line(&why.to_string());
            printer.note(&format!("forge: this run is not in the history: {why}"));
        }
        let mut end = End::Ok;
        match &saved.stored {
            Some(Ok(place)) => printer.note(&format!("forge: the run is in `{place}`")),
            Some(Err(error)) => {
                printer.error(error, Some(error.hint()));
                end = End::Incomplete;
            }
            None => {}
        }
        for error in saved.failed.iter().chain(&self.write(report)) {
            printer.error(error, Some(ROOM));
            end = End::Incomplete;
        }
        end
    }

    /// Whether the report itself goes into the file that GitHub's steps share.
    pub(super) fn fills_step_summary(&self) -> bool {
        let shared = shared();
        let mut summaries = shared.iter().filter_map(|it| Identity::at(it));
        summaries.any(|summary| {
            let mut reports = self.reports.iter();
            reports.any(|(format, to)| *format == Format::Markdown && to.identity() == summary)
        })
    }

    /// Writes them, each by itself: a full disk here says nothing about the other places.
    fn write(&mut self, report: &Report<'_>) -> Vec<io::Error> {
        let write = |(format, to): &mut (Format, Destination)| {
            let written = to.write(&|file| report.write(*format, file));
            written.err().map(|error| {
                let text = format!("cannot write `{}`: {error}", to.path().display());
                io::Error::new(error.kind(), text)
            })
        };
        self.reports.iter_mut().filter_map(write).collect()
    }
}

/// Files that other programs write as well.
pub(super) fn shared() -> Vec<PathBuf> {
    settings::variable(STEP_SUMMARY)
        .map(PathBuf::from)
        .into_iter()
        .collect()
}

pub(super) fn cannot_write(flag: &str, path: &Path, error: &io::Error) -> Problem {
    Problem::setting(flag, format!("cannot write `{}`: {error}", path.display()))
        .with_hint("give a path that can be written")
}

/// Says what could not be saved, writes the reports that were asked for, and prints the result, which is to be found in
/// full at `place`; shared with
/// `forge score` and `forge report`.
pub(super) fn show(
    report: &Report<'_>,
    saved: &Saved,
    place: &Path,
    outputs: &Outputs,
    noise: &Noise,
    mut extra: Extra,
) -> End {
    let printer = Printer::new();
    let mut end = report.exit.max(extra.written(report, saved, printer));
    if outputs.json {
        let mut text = Vec::new();
        // Into memory, because a pipe that closes half-way must not look like a report.
        drop(report.write(Format::Json, &mut text));
        let mut stdout = io::stdout().lock();
        match stdout.write_all(&text).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                printer.error(&error, Some(ROOM));
                end = end.max(End::Incomplete);
            }
            // Who does not read to the end has what he wants.
            Ok(()) | Err(_) => {}
        }
    } else if !extra.takes_stdout() {
        let style = Style {
            width: width(),
            color: colored(noise.color),
            place: &place.to_string_lossy(),
            verbose: noise.verbose,
        };
        // What wrote the reports is not needed any more.
        let_go_of_program();
        printer.out(&report.terminal(&style));
        // What was exported elsewhere is no run of here.
        let here = place
            .parent()
            .filter(|_| place.ends_with(Format::Markdown.file_name()));
        if let Some(folder) = here {
            let why = (is_cut_off(report), is_of_world(report));
            printer.out(&format!("Next: {}\n", next(end, why, folder)));
        }
    }
    for reason in report.reasons {
        printer.note(&format!("forge: {reason} (exit code {})", end.code()));
    }
    end
}

/// Where the report for people is in a run's folder.
pub(super) fn report_in(folder: &RunFolder) -> PathBuf {
    folder.path().join(Format::Markdown.file_name())
}

/// Whether the run was told to stop before its end, by somebody who may want the rest of it.
fn is_cut_off(report: &Report<'_>) -> bool {
    let is_told = match report.summary.stopped {
        Some(StopCause::Infrastructure | StopCause::Caller) | None => false,
        Some(
            StopCause::Interrupt
            | StopCause::Terminate
            | StopCause::HangUp
            | StopCause::Deadline
            | StopCause::Unsaved,
        ) => true,
    };
    is_told && !report.summary.trials.iter().all(TrialRow::has_result)
}

/// Whether something around the candidates failed.
fn is_of_world(report: &Report<'_>) -> bool {
    let mut rows = report.summary.trials.iter();
    report.summary.stopped == Some(StopCause::Infrastructure)
        || rows.any(|row| row.error_kind() == Some(ErrorClass::Infrastructure))
}

/// What to type next: the rest of a run that was cut off, where to look when something around the candidates failed,
/// else what shows the run.
fn next(end: End, (is_cut_off, is_of_world): (bool, bool), folder: &Path) -> String {
    let run = match (folder.parent(), folder.file_name()) {
        // There it is found by the short form of its id.
        (Some(all), Some(name)) if all == Path::new("artifacts") => {
            let id: Result<forge::name::RunId, _> = name.to_string_lossy().parse();
            id.map_or_else(|_| folder.to_string_lossy().into_owned(), |id| id.short())
        }
        (Some(_) | None, _) => folder.to_string_lossy().into_owned(),
    };
    let run = forge::plain::line(&run);
    match end {
        _ if is_cut_off => format!("forge --resume {run}"),
        End::Incomplete if is_of_world => "forge doctor".to_owned(),
        End::Ok
        | End::Below
        | End::Usage
        | End::Incomplete
        | End::Undeleted
        | End::Interrupted
        | End::Terminated => {
            format!("forge view {run}")
        }
    }
}

/// The width of the table: the terminal's, or enough for every column.
fn width() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stdout());
    size.map_or(120, |size| {
        if size.ws_col == 0 {
            120
        } else {
            usize::from(size.ws_col)
        }
    })
}

fn colored(color: Color) -> bool {
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => print::may_color(stdout_is_terminal(), settings::variable),
    }
}
