//! What package installers are told, read from this machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::installers::{Installers, Told, npm_files, pip_files, uv_files};
use crate::quantity::ByteCount;

/// An installer's file larger than this is not one.
const LIMIT: ByteCount = ByteCount::mib(1);

/// What package installers are told of where packages come from: by the process's environment, which `variables`
/// is, and by the files of pip, uv and npm. Relative paths start from the folder `root`.
#[must_use]
pub fn installers(variables: &BTreeMap<String, String>, root: &Path) -> Installers {
    let folder = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    let read = |files: Vec<PathBuf>| -> Vec<String> {
        // The installers themselves would start without a file that they cannot read.
        let texts = files
            .iter()
            .map(|file| crate::tree::read_text(&folder.join(file), LIMIT));
        texts.filter_map(Result::ok).collect()
    };
    Installers::new(&Told {
        variables,
        folder: &folder,
        pip: &read(pip_files(variables)),
        uv: &read(uv_files(variables)),
        npm: &read(npm_files(variables)),
    })
}
