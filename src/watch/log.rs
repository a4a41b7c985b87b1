//! What a watch did, for people: it has no terminal. Only one that had something to do writes it.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::redact::Redactor;

/// The log's name in the run's folder.
pub const FILE: &str = "watch.log";

/// Appends to a run's log, where its folder is still there.
pub(super) struct Log {
    path: PathBuf,
    redactor: Redactor,
}

impl Log {
    pub(super) fn new(folder: &Path, redactor: Redactor) -> Self {
        let path = folder.join(FILE);
        Self { path, redactor }
    }

    /// Adds a line, with the time.
    pub(super) fn line(&self, text: &str) {
        let text = crate::plain::line(&self.redactor.text(text));
        let line = format!("{:.3} {text}\n", jiff::Timestamp::now());
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path);
        // Where it cannot be written, what is to be deleted is deleted all the same.
        if let Ok(mut file) = file {
            file.write_all(line.as_bytes()).ok();
        }
    }
}
