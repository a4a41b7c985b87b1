//! What a run leaves and prints: its reports, the copies that were asked for, the table.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use forge::exit::ExitCode as End;
use forge::problem::{Problem, Problems};
use forge::report::{Format, Report, Style};
use forge::settings;
use forge::store::{RunFolder, write_whole};

use super::print::{Printer, stdout_is_terminal};
use super::{Color, Noise, Outputs};

/// What helps against a write that failed.
pub(super) const ROOM: &str = "is there room on the disk, and may you write there?";
/// Output files that were asked for beside the run's folder. Opened before time is spent, so that a path
/// that cannot be written is known at once.
pub(super) struct Extra(Vec<(Format, PathBuf)>);

impl Extra {
    /// Opens them, or says which cannot be written.
    pub(super) fn open_or_tell(outputs: &Outputs, printer: Printer) -> Result<Self, End> {
        Self::open(outputs).map_err(|problem| {
            printer.note(&Problems::from(problem).to_string());
            End::Usage
        })
    }

    fn open(outputs: &Outputs) -> Result<Self, Problem> {
        let asked = [
            (Format::Junit, "--junit", &outputs.junit),
            (Format::Markdown, "--markdown", &outputs.markdown),
            (Format::Html, "--html", &outputs.html),
            (Format::Csv, "--csv", &outputs.csv),
        ];
        let mut extra = Vec::new();
        for (format, flag, path) in asked {
            let Some(path) = path else { continue };
            if let Some(parent) = path
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty())
            {
                std::fs::create_dir_all(parent)
                    .map_err(|error| cannot_write(flag, path, &error))?;
            }
            // Append: an old report stays until there is a new one.
            File::options()
                .append(true)
                .create(true)
                .open(path)
                .map_err(|error| cannot_write(flag, path, &error))?;
            extra.push((format, path.clone()));
        }
        Ok(Self(extra))
    }

    fn write(&self, report: &Report<'_>) -> io::Result<()> {
        for (format, path) in &self.0 {
            write_whole(path, |to| report.write(*format, to))?;
        }
        Ok(())
    }
}

pub(super) fn cannot_write(flag: &str, path: &Path, error: &io::Error) -> Problem {
    Problem::setting(flag, format!("cannot write `{}`: {error}", path.display()))
        .with_hint("give a path whose folder exists and can be written")
}

/// Writes a run's reports and prints its result; shared with `forge score` and `forge report`.
pub(super) fn show(
    report: &Report<'_>,
    folder: &RunFolder,
    outputs: &Outputs,
    noise: &Noise,
    extra: &Extra,
) -> End {
    let printer = Printer::new();
    let mut end = report.exit;
    let links = folder.point_winners(report.summary, report.standings);
    links.unwrap_or_else(|error| tracing::debug!(%error, "no `winner` links"));
    // Each by itself: a full disk here says nothing about the places that were asked for.
    for written in [report.write_all(&mut folder.clone()), extra.write(report)] {
        if let Err(error) = written {
            printer.error(&error, Some(ROOM));
            end = end.max(End::Incomplete);
        }
    }
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
    } else {
        let place = folder.path().join(Format::Markdown.file_name());
        let style = Style {
            width: width(),
            color: colored(noise.color),
            place: &place.to_string_lossy(),
        };
        printer.out(&report.terminal(&style));
    }
    for reason in report.reasons {
        printer.note(&format!("forge: {reason} (exit code {})", end.code()));
    }
    end
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
        Color::Auto => stdout_is_terminal() && settings::variable("NO_COLOR").is_none(),
    }
}
