//! The glob patterns by which files are brought home, read alike for every provider.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::sandbox::{ErrorKind, SandboxError};

/// What is wanted of a folder of artifacts.
#[derive(Debug)]
pub(crate) struct Patterns {
    files: GlobSet,
    folders: GlobSet,
    literal: Vec<String>,
}

impl Patterns {
    /// Reads patterns; `operation` is what fails when one makes no sense.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`].
    pub(crate) fn new(patterns: &[String], operation: &'static str) -> Result<Self, SandboxError> {
        let invalid = |error: globset::Error| {
            SandboxError::new(ErrorKind::Invalid, operation, error.to_string())
        };
        Ok(Self {
            files: set(patterns).map_err(invalid)?,
            folders: set(&folders(patterns)).map_err(invalid)?,
            literal: literal(patterns),
        })
    }

    /// Whether a file with this path is wanted.
    pub(crate) fn wants(&self, path: &str) -> bool {
        self.files.is_match(path)
    }

    /// Whether something wanted can be in this folder.
    pub(crate) fn wants_below(&self, folder: &str) -> bool {
        self.folders.is_match(folder)
    }

    /// Whether exactly this path was named.
    pub(crate) fn names(&self, path: &str) -> bool {
        self.literal.iter().any(|literal| literal == path)
    }
}

/// The patterns of the folders in which something wanted can be.
pub(crate) fn folders(patterns: &[String]) -> Vec<String> {
    let mut folders = Vec::new();
    for pattern in patterns {
        // The slashes in braces and brackets do not part folders.
        if pattern.contains(['{', '[', '\\']) {
            return vec!["**".to_owned()];
        }
        let parts = pattern.match_indices('/').map(|(at, _)| at);
        let deep = pattern.find("**").map(|at| at + 2);
        folders.extend(parts.chain(deep).map(|at| pattern[..at].to_owned()));
    }
    folders
}

/// The patterns that are the path of one file.
pub(crate) fn literal(patterns: &[String]) -> Vec<String> {
    let is_literal = |pattern: &&String| !pattern.contains(['*', '?', '[', '{', '\\']);
    patterns.iter().filter(is_literal).cloned().collect()
}

fn set(patterns: &[String]) -> Result<GlobSet, globset::Error> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let mut glob = GlobBuilder::new(pattern);
        set.add(
            glob.literal_separator(true)
                .backslash_escape(true)
                .build()?,
        );
    }
    set.build()
}

/// A path without the characters that are none of a line of text.
pub(crate) fn shown(path: &str) -> String {
    path.chars()
        .flat_map(|c| {
            if c.is_control() {
                c.escape_default().collect()
            } else {
                vec![c]
            }
        })
        .collect()
}
