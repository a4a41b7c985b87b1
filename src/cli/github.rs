//! What GitHub is told of a run, where it says how: the summary of the step, values for further steps, notes.
//!
//! Promises: only what its variables name is written, and only added to; the summary of a step stays below what
//! GitHub takes, or the whole of it would be lost; no value and no note can be another command. What cannot be
//! written is a warning: the run is what it is.

use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use forge::report::ci::{Level, Note, Outputs};
use forge::report::{Format, Report};
use forge::settings;

use super::destination::Destination;
use super::print::Printer;
use super::show::STEP_SUMMARY;

/// So much of a step's summary is taken, in bytes; of one that is longer nothing is shown.
const MAX_SUMMARY: u64 = 1 << 20;
/// The file that values for further steps are added to.
const OUTPUT: &str = "GITHUB_OUTPUT";

/// Whether this is a step of GitHub Actions.
pub(super) fn is_here() -> bool {
    settings::variable("GITHUB_ACTIONS").is_some_and(|it| it == "true")
}

/// Tells GitHub of a run. `has_summary`: the report was asked for in the step's summary, and is there.
pub(super) fn tell(report: &Report<'_>, has_summary: bool, printer: Printer) {
    let path = |name| settings::variable(name).map(PathBuf::from);
    if let Some(path) = path(STEP_SUMMARY).filter(|_| !has_summary) {
        warn(STEP_SUMMARY, add_summary(&path, report), printer);
    }
    if let Some(path) = path(OUTPUT) {
        let added = add(&path, &lines(&report.outputs()));
        warn(OUTPUT, added, printer);
    }
    if is_here() {
        for note in report.notes() {
            printer.note(&command(&note));
        }
    }
}

fn warn(variable: &str, done: io::Result<()>, printer: Printer) {
    if let Err(error) = done {
        let why = forge::plain::line(&error.to_string());
        printer.note(&format!("warning: ${variable} could not be written: {why}"));
    }
}

/// Adds the longest of three forms that fits.
fn add_summary(path: &Path, report: &Report<'_>) -> io::Result<()> {
    let there = fs::metadata(path).map_or(0, |data| if data.is_file() { data.len() } else { 0 });
    let text = |format| {
        let mut text = Vec::new();
        report.write(format, &mut text).map(|()| text)
    };
    let line = || {
        let line = forge::plain::short(&report.first_line(), 300);
        format!("`{}`\n", line.replace('`', "'")).into_bytes()
    };
    let forms: [&dyn Fn() -> io::Result<Vec<u8>>; 3] = [
        &|| text(Format::Markdown),
        &|| text(Format::Comment),
        &|| Ok(line()),
    ];
    for form in forms {
        let text = form()?;
        if fits(there, text.len()) {
            let shared = [path.to_owned()];
            return Destination::open(path, &shared)?.write(&|to| to.write_all(&text));
        }
    }
    let full = format!("it has {there} bytes, and GitHub takes {MAX_SUMMARY}");
    Err(io::Error::other(full))
}

/// Whether so many bytes can be added, with an empty line before them.
fn fits(there: u64, bytes: usize) -> bool {
    there + 2 + (bytes as u64) < MAX_SUMMARY
}

/// Adds lines to a file that other programs add to as well, below a whole line: an empty one is no value, and not
/// every reader passes it by.
fn add(path: &Path, text: &str) -> io::Result<()> {
    if !fs::metadata(path).map_or(true, |data| data.is_file()) {
        // A pipe, or a terminal, of somebody who wants to see it.
        return Destination::open(path, &[])?.write(&|to| to.write_all(text.as_bytes()));
    }
    let mut options = fs::OpenOptions::new();
    let mut file = options.read(true).append(true).create(true).open(path)?;
    let mut last = [b'\n'];
    if file.metadata()?.len() > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    let between = if last == [b'\n'] { "" } else { "\n" };
    file.write_all(format!("{between}{text}").as_bytes())
}

/// `name=value`, one a line.
fn lines(outputs: &Outputs) -> String {
    let Outputs {
        verdict,
        winner,
        score,
        run,
        regressions,
    } = outputs;
    let pairs = [
        ("verdict", *verdict),
        ("winner", winner),
        ("score", score),
        ("run", run),
        ("regressions", regressions),
    ];
    // Names and numbers have no line breaks; whatever comes to be here one day has none either.
    let line = |(name, value): (&str, &str)| format!("{name}={}\n", forge::plain::line(value));
    pairs.map(line).concat()
}

/// A note as a command of GitHub's logs.
fn command(note: &Note) -> String {
    let level = match note.level {
        Level::Error => "error",
        Level::Warning => "warning",
    };
    let (title, text) = (property(&note.title), data(&note.text));
    format!("::{level} title=forge%3A {title}::{text}")
}

/// A text that stands at the end of a command.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// A text that stands among the properties of a command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs(winner: &str) -> Outputs {
        Outputs {
            verdict: "regression",
            winner: winner.to_owned(),
            score: "98.5".to_owned(),
            run: "r".to_owned(),
            regressions: "[\"gamma\"]".to_owned(),
        }
    }

    #[test]
    fn values_are_one_line_each_below_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("output");
        let expected = "verdict=regression\nwinner=\nscore=98.5\nrun=r\nregressions=[\"gamma\"]\n";
        assert_eq!(lines(&outputs("")), expected);
        for (before, between) in [("", ""), ("a=b\n", ""), ("a=b", "\n")] {
            fs::write(&path, before).unwrap();
            add(&path, expected).unwrap();
            let all = fs::read_to_string(&path).unwrap();
            assert_eq!(all, format!("{before}{between}{expected}"));
        }
        assert_eq!(lines(&outputs("x\nevil=1\r\n")).lines().count(), 5);
        assert!(add(folder.path(), "x").is_err());
    }

    #[test]
    fn a_note_is_one_command_whatever_it_says() {
        let note = Note {
            level: Level::Error,
            title: "regression: a,b::c%".to_owned(),
            text: "100 % worse, 1:2\r\n::warning::x".to_owned(),
        };
        assert_eq!(
            command(&note),
            "::error title=forge%3A regression%3A a%2Cb%3A%3Ac%25::100 %25 worse, 1:2%0D%0A::warning::x"
        );
    }

    #[test]
    fn a_summary_stays_below_the_limit() {
        let limit = usize::try_from(MAX_SUMMARY).unwrap();
        assert!(fits(0, limit - 3) && !fits(0, limit - 2));
        assert!(fits(1000, limit - 1003) && !fits(1000, limit - 1002));
    }
}
