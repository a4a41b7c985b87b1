//! Where a run's folder is, and whose it is by that.

use std::fs;
use std::path::{Path, PathBuf};

use super::RunFolder;
use super::quiet::Quiet;
use crate::name::RunId;
use crate::tree::Inside;

impl RunFolder {
    /// The folder of a run that is there, or will be.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self {
            inside: Inside::new(path),
            quiet: Quiet::default(),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.inside.path()
    }

    /// The same by its own path, where this one leads to it by links.
    #[must_use]
    pub fn real(&self) -> Self {
        let path = fs::canonicalize(self.path());
        Self::at(path.unwrap_or_else(|_| self.path().to_owned()))
    }

    /// Whose it is, by its name; `None` of one that is called otherwise, as a link to it may be.
    #[must_use]
    pub fn run(&self) -> Option<RunId> {
        self.path().file_name()?.to_str()?.parse().ok()
    }
}
