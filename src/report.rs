//! Reports: what a run's summary looks like to people and to machines.
//!
//! Promises: the same summary and the same records give the same bytes, there is no clock in here;
//! memory does not grow with what trials left, because records are fetched one at a time and writers
//! stream; whatever a candidate, an objective or a provider said is shown as text and does nothing else.

use std::io::{self, Write};

use crate::event::{ErrorClass, TrialRecord};
use crate::exit::ExitCode;
use crate::name::TrialId;
use crate::store::RunFolder;
use crate::summary::{RunSummary, Standings, TrialRow};

mod csv;
mod html;
mod json;
mod junit;
mod markdown;
mod terminal;
mod view;

#[cfg(test)]
mod sample;

pub use terminal::Style;

/// Where the full records of trials are.
pub trait Details {
    /// Fetches the record of one planned trial; `None` when there is none, or it cannot be read.
    fn record(&self, trial: &TrialId) -> Option<TrialRecord>;
}

impl Details for RunFolder {
    fn record(&self, trial: &TrialId) -> Option<TrialRecord> {
        Self::record(self, trial)
    }
}

impl Folder for RunFolder {
    fn save(
        &mut self,
        name: &str,
        fill: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        self.write(name, fill).map(drop)
    }
}

/// Where a set of reports goes.
pub trait Folder {
    /// Keeps what `fill` writes as the file of this name. `fill` is called once, with a writer that is
    /// worth many small writes.
    ///
    /// # Errors
    /// When the file cannot be written, or `fill` fails; then nothing of it should stay.
    fn save(
        &mut self,
        name: &str,
        fill: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()>;
}

/// A form of report that is a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Everything, for machines.
    Json,
    /// For people, on GitHub.
    Markdown,
    /// For people, in a browser: one file that needs no other.
    Html,
    /// For CI systems.
    Junit,
    /// One row a planned trial, for spreadsheets.
    Csv,
}

impl Format {
    /// Every one.
    pub const ALL: [Self; 5] = [
        Self::Json,
        Self::Markdown,
        Self::Html,
        Self::Junit,
        Self::Csv,
    ];

    /// What its file is called in the folder of a run.
    #[must_use]
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Json => "run.json",
            Self::Markdown => "report.md",
            Self::Html => "report.html",
            Self::Junit => "junit.xml",
            Self::Csv => "trials.csv",
        }
    }
}

/// All that reports are made of.
#[derive(Clone, Copy)]
pub struct Report<'a> {
    /// What the run's events add up to.
    pub summary: &'a RunSummary,
    /// The places.
    pub standings: &'a Standings,
    /// How forge ends.
    pub exit: ExitCode,
    /// Why, when that is not [`ExitCode::Ok`].
    pub reasons: &'a [String],
    /// How to delete what could not be deleted: a command.
    pub sweep: &'a str,
    /// The records.
    pub details: &'a dyn Details,
}

impl std::fmt::Debug for Report<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Report")
            .field("standings", self.standings)
            .field("exit", &self.exit)
            .finish_non_exhaustive()
    }
}

impl Report<'_> {
    /// Renders the table for a terminal, with a line break at its end.
    #[must_use]
    pub fn terminal(&self, style: &Style<'_>) -> String {
        terminal::render(self, style)
    }

    /// Writes one form of report.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn write(&self, format: Format, to: &mut dyn Write) -> io::Result<()> {
        match format {
            Format::Json => json::write(self, to),
            Format::Markdown => markdown::write(self, to),
            Format::Html => html::write(self, to),
            Format::Junit => junit::write(self, to),
            Format::Csv => csv::write(self, to),
        }
    }

    /// Writes every form of report. One that fails does not keep the others from being written.
    ///
    /// # Errors
    /// The first failure.
    pub fn write_all(&self, folder: &mut dyn Folder) -> io::Result<()> {
        let mut result = Ok(());
        for format in Format::ALL {
            let saved = folder.save(format.file_name(), &mut |to| self.write(format, to));
            result = result.and(saved);
        }
        result
    }
}

/// What reports say of one trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome<'a> {
    /// Every gate held.
    Passed,
    /// The candidate failed, in this way where it is known.
    Failed(Option<ErrorClass>, &'a str),
    /// There is no verdict, for this reason.
    Lost(Option<ErrorClass>, &'a str),
}

impl<'a> Outcome<'a> {
    fn of(row: &'a TrialRow) -> Self {
        let error = row.error_message.as_deref();
        match row.disqualified.as_deref() {
            _ if row.is_lost() => Self::Lost(row.error_kind, error.unwrap_or("it has no score")),
            Some(gate) => Self::Failed(row.error_kind, gate),
            None => Self::Passed,
        }
    }

    /// In one word, as in files.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed(Some(class), _) | Self::Lost(Some(class), _) => class.as_str(),
            Self::Failed(None, _) => "disqualified",
            Self::Lost(None, _) => "unscored",
        }
    }
}

/// `one` thing or several `many`, with the number.
fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
