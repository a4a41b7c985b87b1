//! All forms of a report, written side by side.
//!
//! Promises: what trials have left is read once for those forms that have a row for each; one that cannot be written does
//! not keep the others from being written.

use std::io;
use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::{Folder, Format, Report, csv, json};

/// What one of those who write reports does at a time.
#[derive(Debug, Clone, Copy)]
enum Work {
    /// [`Format::Json`] and [`Format::Csv`].
    Rows,
    One(Format),
}

impl Work {
    /// Every form; what takes longest first, so that all are done soonest.
    const ALL: [Self; 8] = [
        Self::Rows,
        Self::One(Format::Html),
        Self::One(Format::Trace),
        Self::One(Format::Markdown),
        Self::One(Format::Junit),
        Self::One(Format::Verdicts),
        Self::One(Format::Comment),
        Self::One(Format::Badge),
    ];
}

impl Report<'_> {
    /// Writes every form of report, two at a time. One that fails does not keep the others from being written.
    ///
    /// # Errors
    /// The failure of the first in [their order](Format::ALL) that failed.
    pub fn write_all(&self, folder: &dyn Folder) -> io::Result<()> {
        let queue = Mutex::new(Work::ALL.iter());
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        let write = || {
            let mut failed = Vec::new();
            while let Some(work) = next() {
                match work {
                    Work::Rows => {
                        let missing = self.save_rows(folder);
                        let missing = missing.iter().copied();
                        failed.extend(missing.filter_map(|it| self.save_one(it, folder)));
                    }
                    Work::One(format) => failed.extend(self.save_one(*format, folder)),
                }
            }
            failed
        };
        let failed = thread::scope(|scope| {
            // Where there may be no further thread, this one writes them all.
            let other = thread::Builder::new().spawn_scoped(scope, write).ok();
            let mine = write();
            let other = other.map(|it| it.join().unwrap_or_else(|panic| resume_unwind(panic)));
            let failed = mine.into_iter().chain(other.into_iter().flatten());
            failed.min_by_key(|(format, _)| Format::ALL.iter().position(|it| it == format))
        });
        failed.map_or(Ok(()), |(_, error)| Err(error))
    }

    fn save_one(&self, format: Format, folder: &dyn Folder) -> Option<(Format, io::Error)> {
        let saved = folder.save(format.file_name(), &mut |to| self.write(format, to));
        Some((format, saved.err()?))
    }

    /// Both that have a row for every trial, in one go: what the trials have left is read once. Says which could not be
    /// written like that.
    fn save_rows(&self, folder: &dyn Folder) -> &'static [Format] {
        let mut has_json = false;
        let saved = folder.save(Format::Csv.file_name(), &mut |table| {
            let mut rows = csv::Rows::begin(self, table)?;
            let mut added = Ok(());
            folder.save(Format::Json.file_name(), &mut |to| {
                json::write_telling(self, to, &mut |row, record| {
                    if added.is_ok() {
                        added = rows.add(row, record);
                    }
                })
            })?;
            has_json = true;
            added?;
            rows.end()
        });
        match (has_json, saved) {
            (true, Ok(())) => &[],
            (true, Err(_)) => &[Format::Csv],
            (false, _) => &[Format::Json, Format::Csv],
        }
    }
}
