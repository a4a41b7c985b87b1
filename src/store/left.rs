//! What a trial left, as it left it: what is judged.
//!
//! Promises: judged is what the candidate wrote, not what is left of it without its secrets. Where a secret was
//! taken out of it, that is in a private folder for as long as this lives; `artifacts/` never has it.

use std::path::PathBuf;

use super::TrialFolder;
use crate::event::TrialRecord;
use crate::name::RelativePath;
use crate::sandbox::local::Scratch;

/// What a trial left, as it left it.
#[derive(Debug)]
pub struct Left {
    /// The artifact.
    pub artifact: Option<PathBuf>,
    /// The folder with the other files.
    pub folder: PathBuf,
    /// Those files: what the candidate called them, and where they are.
    pub files: Vec<(RelativePath, PathBuf)>,
    pub(super) private: Option<Scratch>,
}

impl Left {
    /// What is at home, without its secrets.
    #[must_use]
    pub fn saved(folder: &TrialFolder, record: &TrialRecord) -> Self {
        let at = |path: &str| folder.path().join(path);
        let files = record.files.iter().filter_map(|file| {
            let below = file.path.strip_prefix("files/")?;
            Some((RelativePath::parse(below).ok()?, at(&file.path)))
        });
        Self {
            artifact: record.artifact.as_ref().map(|it| at(&it.path)),
            folder: at("files"),
            files: files.collect(),
            private: None,
        }
    }
}
