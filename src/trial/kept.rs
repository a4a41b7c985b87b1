//! The result of a trial, written down before anybody is told of it.
//!
//! Promises: what cannot be written has no verdict, for nobody could look at it.

use crate::event::{Phase, TrialEnd, TrialRecord};
use crate::redact::Redactor;
use crate::sandbox::{ErrorKind, SandboxError};
use crate::store::RunFolder;

/// A result that is in its trial's folder.
#[derive(Debug)]
pub struct Kept {
    /// The result; without a verdict where it could not be written.
    pub record: Box<TrialRecord>,
    /// Why no further result could be written either, if so.
    pub unsaved: Option<String>,
}

/// Writes a result into its trial's folder. What was cut off is told with what it had printed until then.
#[must_use]
pub fn keep(folder: &RunFolder, redactor: &Redactor, mut record: Box<TrialRecord>) -> Kept {
    let folder = folder.trial(&record.trial);
    if record.end == TrialEnd::Cancelled {
        (record.stdout, record.stderr) = folder.streams_so_far();
        let said = folder.last_words(&["stderr.log", "stdout.log", "setup.log"], redactor);
        record.said = (!said.lines.is_empty()).then_some(said);
    }
    let mut unsaved = None;
    if let Err(error) = folder.write_record(&record) {
        let error = SandboxError::home("write trial.json", error);
        record.end = if error.kind == ErrorKind::Unsaved {
            unsaved = Some(error.to_string());
            TrialEnd::Cancelled
        } else {
            TrialEnd::SandboxFailed {
                phase: Phase::Collecting,
                message: error.to_string(),
                hint: None,
            }
        };
        record.score = None;
    }
    Kept { record, unsaved }
}
