//! The files that an objective names, and its digest.

use std::collections::BTreeMap;

use crate::name::RelativePath;
use crate::quantity::ByteCount;
use crate::tree::{Folder, Located, MAX_FILES, MAX_TREE_BYTES, TreeFile, hash_file, reason};
use crate::yaml::decode::Value;

/// What other tools want before the name of a file.
pub(super) const FILE: &str = "file://";

/// The files of an objective: found inside its folder, and remembered for the digest.
#[derive(Debug)]
pub(super) struct Sources<'f> {
    folder: &'f Folder,
    found: BTreeMap<RelativePath, TreeFile>,
}

impl<'f> Sources<'f> {
    pub(super) fn new(folder: &'f Folder) -> Self {
        Self {
            folder,
            found: BTreeMap::new(),
        }
    }

    /// Finds one file that a value names.
    pub(super) fn file(&mut self, value: &Value<'_>, hint: &str) -> Option<TreeFile> {
        let path = relative(value, hint)?;
        match self.folder.file(&path) {
            Ok(file) => {
                self.found.insert(path, file.clone());
                Some(file)
            }
            Err(obstacle) => value.problem(
                format!("`{}` {}", obstacle.path, obstacle.message),
                "paths are relative to the objective's folder",
            ),
        }
    }

    /// Finds the file, or all the files of the folder, that a path leads to.
    pub(super) fn all_below(
        &mut self,
        value: &Value<'_>,
        path: &RelativePath,
    ) -> Option<Vec<TreeFile>> {
        let files = match self.folder.locate(path) {
            Ok(Located::File(file)) => Ok(vec![file]),
            Ok(Located::Folder) => self.folder.walk(Some(path), &|_, _| false),
            Err(obstacle) => Err(vec![obstacle]),
        };
        match files {
            Ok(files) => {
                self.found
                    .extend(files.iter().map(|file| (file.path.clone(), file.clone())));
                self.check_bounds(value)?;
                Some(files)
            }
            Err(obstacles) => {
                for obstacle in obstacles {
                    let _: Option<()> = value.problem(
                        format!("`{}` {}", obstacle.path, obstacle.message),
                        "paths are relative to the objective's folder",
                    );
                }
                None
            }
        }
    }

    fn check_bounds(&self, value: &Value<'_>) -> Option<()> {
        let bytes: u64 = self.found.values().map(|file| file.bytes).sum();
        if self.found.len() > MAX_FILES || bytes > MAX_TREE_BYTES.0 {
            return value.problem(
                format!(
                    "the objective's files are {} with {}",
                    self.found.len(),
                    ByteCount(bytes)
                ),
                format!("at most {MAX_FILES} files with {MAX_TREE_BYTES}"),
            );
        }
        Some(())
    }

    /// Whether a path leads to anything.
    pub(super) fn has(&self, path: &RelativePath) -> bool {
        !self
            .folder
            .locate(path)
            .is_err_and(|obstacle| obstacle.missing)
    }

    /// Whether a path leads to a file.
    pub(super) fn has_file(&self, path: &RelativePath) -> bool {
        self.folder.file(path).is_ok()
    }

    /// Refuses a text that other tools would take for the name of a file, when there is such a file.
    pub(super) fn refuse_file(&self, value: &Value<'_>, text: &str, hint: &str) -> Option<()> {
        let Some(named) = text.trim().strip_prefix(FILE) else {
            return Some(());
        };
        if RelativePath::parse(named).is_ok_and(|path| self.has_file(&path)) {
            let message = format!("`{}` would be taken as this very text", text.trim());
            return value.problem(message, hint);
        }
        Some(())
    }

    /// The text of a file of at most [`crate::yaml::MAX_YAML_BYTES`].
    pub(super) fn read(&mut self, value: &Value<'_>, hint: &str) -> Option<String> {
        let file = self.file(value, hint)?;
        match crate::tree::read_text(&file.from, ByteCount(crate::yaml::MAX_YAML_BYTES)) {
            Ok(text) => Some(text),
            Err(problem) => {
                let place = problem
                    .at
                    .map_or_else(String::new, |(line, column)| format!(":{line}:{column}"));
                value.problem(format!("`{}`{place}: {}", file.path, problem.message), hint)
            }
        }
    }

    pub(super) fn digest(&self, text: &str, root: &Value<'_>) -> Option<String> {
        let mut parts = vec![text.as_bytes().to_vec()];
        for (path, file) in &self.found {
            match hash_file(&file.from) {
                Ok(hash) => {
                    parts.push(path.as_str().as_bytes().to_vec());
                    parts.push(hash.into_bytes());
                }
                Err(error) => {
                    let message = format!("`{path}` cannot be read: {}", reason(&error));
                    return root.problem(message, "");
                }
            }
        }
        Some(crate::candidate::digest(parts.iter().map(Vec::as_slice)))
    }
}

/// Decodes a path below the folder, which may be written as elsewhere: `file://data/events.json`.
pub(super) fn relative(value: &Value<'_>, hint: &str) -> Option<RelativePath> {
    let text = value.filled_text(hint)?;
    RelativePath::parse(text.trim().strip_prefix(FILE).unwrap_or(text))
        .map_or_else(|error| value.problem(error.to_string(), hint), Some)
}
