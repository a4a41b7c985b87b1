//! The evidence: what a finished trial left, for those who judge it.
//!
//! Promises: a text has no byte-order mark, and is read only once.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::name::{CandidateName, ObjectiveName};

/// UTF-8's byte-order mark, which is no part of a text.
const MARK: char = '\u{feff}';

/// What a finished trial left, for those who judge it. Paths are at home; the sandbox is gone.
///
/// The artifact and the other files are as the candidate left them. Where a file of theirs has secrets,
/// they are in a private folder that is deleted when the trial is judged; what stays is redacted.
#[derive(Debug, Serialize, Deserialize)]
pub struct Evidence {
    /// Who did it.
    pub candidate: CandidateName,
    /// What was to be done.
    pub objective: ObjectiveName,
    /// The prompt, as the candidate got it.
    pub prompt: Arc<str>,
    /// The exit code, when the candidate exited by itself.
    pub exit_code: Option<i32>,
    /// Why there is no exit code, in words: `timed out after 2 s`.
    pub ended: String,
    /// How long the run phase took.
    pub run_time: Duration,
    /// The artifact, where one came home whole or in part.
    pub artifact: Option<PathBuf>,
    /// Why there is none, in words, where that is known.
    pub no_artifact: String,
    /// The folder with the other files that came home.
    pub files: PathBuf,
    /// What the candidate printed, as kept.
    pub stdout: PathBuf,
    /// What it printed on standard error, as kept.
    pub stderr: PathBuf,
    /// Its `metrics.json`.
    pub metrics: BTreeMap<String, f64>,
    /// The artifact's text, read once; see [`Evidence::text`].
    #[serde(skip)]
    pub text: OnceLock<Arc<str>>,
}

impl Evidence {
    /// The artifact as text, without a byte-order mark, invalid UTF-8 replaced; empty when there is none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn text(&self) -> io::Result<Arc<str>> {
        if let Some(text) = self.text.get() {
            return Ok(Arc::clone(text));
        }
        let mut bytes = Vec::new();
        if let Some(path) = &self.artifact {
            File::open(path)?.read_to_end(&mut bytes)?;
        }
        let text = String::from_utf8_lossy(&bytes);
        let text: Arc<str> = without_mark(&text).into();
        Ok(Arc::clone(self.text.get_or_init(|| text)))
    }

    /// The artifact's size in bytes; 0 when there is none.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let size = |path: &PathBuf| std::fs::metadata(path).map_or(0, |data| data.len());
        self.artifact.as_ref().map_or(0, size)
    }
}

/// A text without the byte-order mark that it may begin with.
pub(crate) fn without_mark(text: &str) -> &str {
    text.strip_prefix(MARK).unwrap_or(text)
}
