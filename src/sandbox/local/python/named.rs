//! What a candidate lists as its packages: versions of names, or what may lead to somewhere else.

use std::path::{Path, PathBuf};

use super::requirements::Requirements;
use crate::candidate::{Candidate, Dependencies};
use crate::name::RelativePath;

/// What a candidate's lists of packages name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// Nothing but names and versions, which come from where forge's user says.
    Versions,
    /// Wheels of its own too, which may ask for others by their address.
    OwnWheels,
    /// Something else, as a sentence fragment: an address, or what may have one in it.
    Elsewhere(String),
}

impl Named {
    /// Reads the lists of a candidate, where they are on this machine.
    #[must_use]
    pub fn by(candidate: &Candidate) -> Self {
        let read = match &candidate.dependencies {
            Dependencies::None => return Self::Versions,
            Dependencies::Node { folder, .. } => {
                let elsewhere = candidate.npm_elsewhere(folder.as_ref());
                return elsewhere.map_or(Self::Versions, Self::Elsewhere);
            }
            Dependencies::PythonFile(file) => match root_of(candidate, file) {
                Some(root) => Requirements::read(&root, file.as_str()),
                None => Err(format!("`{file}` is not among its files")),
            },
            Dependencies::PythonInline { packages, .. } => {
                let root = candidate
                    .files
                    .iter()
                    .find_map(|it| root(&it.from, &it.path));
                Requirements::inline(&root.unwrap_or_default(), packages)
            }
        };
        match read {
            Ok(read) if read.has_own_wheels => Self::OwnWheels,
            Ok(_) => Self::Versions,
            Err(why) => Self::Elsewhere(why),
        }
    }
}

/// The folder of this machine that stands for the working directory, by one of the files in it.
fn root_of(candidate: &Candidate, file: &RelativePath) -> Option<PathBuf> {
    let found = candidate.files.iter().find(|it| it.path == *file)?;
    root(&found.from, &found.path)
}

fn root(from: &Path, path: &RelativePath) -> Option<PathBuf> {
    let depth = Path::new(path.as_str()).components().count();
    from.ancestors().nth(depth).map(Path::to_owned)
}
