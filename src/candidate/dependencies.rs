//! What a candidate's setup phase installs, as said by the files beside its entry.

use std::path::{Path, PathBuf};

use super::pep723;
use super::runtime::{Ecosystem, for_extension, for_program};
use super::{Dependencies, Start};
use crate::name::RelativePath;
use crate::problem::{Problem, Problems};
use crate::quantity::ByteCount;
use crate::tree::{Folder, TreeFile, open_regular, read_text, reason};

/// How far into a script its dependency block is looked for.
const MAX_BLOCK_BYTES: u64 = 1024 * 1024;
/// The largest `package.json`.
const MAX_PACKAGE_BYTES: ByteCount = ByteCount::mib(1);

/// The extension of a path, without its dot; empty without one.
pub(super) fn extension(path: &RelativePath) -> &str {
    path.file_name()
        .rsplit_once('.')
        .map_or("", |(_, extension)| extension)
}

/// Where the files that name packages are.
#[derive(Debug)]
pub(super) enum Beside<'f> {
    /// Among the candidate's own files.
    Own,
    /// In `candidates/`, for all single scripts there.
    Shared(&'f Folder),
}

#[derive(Debug)]
pub(super) struct Installation {
    pub(super) dependencies: Dependencies,
    /// What must be uploaded for it besides the candidate's own files.
    pub(super) files: Vec<TreeFile>,
}

/// Finds out what is to be installed, by the kind of program that starts.
///
/// # Errors
/// [`Problems`] of the files that say it.
pub(super) fn dependencies(
    shown: &Path,
    start: &Start,
    entry: Option<&TreeFile>,
    own: &[TreeFile],
    beside: &Beside<'_>,
) -> Result<Installation, Problems> {
    let none = Installation {
        dependencies: Dependencies::None,
        files: Vec::new(),
    };
    // With `run`, the first argument that is a file is what starts.
    let entry = entry.or_else(|| {
        let named = |word: &String| {
            let path = RelativePath::parse(word).ok()?;
            own.iter().find(|file| file.path == path)
        };
        start
            .entry
            .iter()
            .chain(start.programs.iter().flatten())
            .find_map(named)
    });
    let program = start.programs.first().and_then(|words| words.first());
    let ecosystem = match program.map(|program| for_program(program)) {
        Some(Ecosystem::Other) | None => entry
            .and_then(|file| for_extension(extension(&file.path)))
            .map_or(Ecosystem::Other, |runtime| runtime.ecosystem),
        Some(known @ (Ecosystem::Python | Ecosystem::Node)) => known,
    };
    let find = |name: &str| find_beside(shown, name, entry, own, beside);
    let shared = matches!(beside, Beside::Shared(_));
    if ecosystem == Ecosystem::Python
        && let Some(file) = entry
    {
        let inline = inline_dependencies(shown, file, shared)?;
        if !inline.dependencies.is_empty() {
            return Ok(Installation {
                dependencies: Dependencies::PythonInline {
                    packages: inline.dependencies,
                    requires_python: inline.requires_python,
                },
                ..none
            });
        }
    }
    // A program of unknown kind in a folder may be a wrapper of either.
    let either = ecosystem == Ecosystem::Other && !shared;
    if (ecosystem == Ecosystem::Python || either)
        && let Some(file) = find("requirements.txt")?
    {
        return Ok(Installation {
            dependencies: Dependencies::PythonFile(file.path.clone()),
            files: vec![file],
        });
    }
    if (ecosystem == Ecosystem::Node || either)
        && let Some(package) = find("package.json")?
    {
        let lock_file = match find("package-lock.json")? {
            None => find("npm-shrinkwrap.json")?,
            found @ Some(_) => found,
        };
        let folder = package.path.as_str().rsplit_once('/');
        let dependencies = if asks_for_packages(shown, &package, shared)? {
            Dependencies::Node {
                folder: folder.and_then(|(folder, _)| RelativePath::parse(folder).ok()),
                locked: lock_file.is_some(),
            }
        } else {
            Dependencies::None
        };
        return Ok(Installation {
            dependencies,
            files: [Some(package), lock_file].into_iter().flatten().collect(),
        });
    }
    Ok(none)
}

/// A file beside the entry, else at the candidate's root.
fn find_beside(
    shown: &Path,
    name: &str,
    entry: Option<&TreeFile>,
    own: &[TreeFile],
    beside: &Beside<'_>,
) -> Result<Option<TreeFile>, Problem> {
    match beside {
        Beside::Own => {
            let near = entry
                .and_then(|file| file.path.as_str().rsplit_once('/'))
                .map(|(folder, _)| format!("{folder}/{name}"));
            let mut wanted = near.into_iter().chain([name.to_owned()]);
            Ok(wanted
                .find_map(|path| own.iter().find(|file| file.path.as_str() == path))
                .cloned())
        }
        Beside::Shared(folder) => {
            let path = RelativePath::parse(name)
                .map_err(|error| Problem::file(shown, error.to_string()))?;
            match folder.file(&path) {
                Ok(file) => Ok(Some(file)),
                Err(obstacle) if obstacle.missing => Ok(None),
                Err(obstacle) => Err(Problem::file(
                    shown.with_file_name(name),
                    format!("it {}", obstacle.message),
                )),
            }
        }
    }
}

/// How messages call a file of the candidate.
fn shown_file(shown: &Path, file: &TreeFile, shared: bool) -> PathBuf {
    if shared {
        shown.with_file_name(file.path.as_str())
    } else {
        shown.join(&file.path)
    }
}

fn inline_dependencies(
    shown: &Path,
    file: &TreeFile,
    shared: bool,
) -> Result<pep723::Block, Problem> {
    use std::io::Read as _;
    let called = shown_file(shown, file, shared);
    let mut head = Vec::new();
    open_regular(&file.from)
        .and_then(|(script, _)| script.take(MAX_BLOCK_BYTES).read_to_end(&mut head))
        .map_err(|error| {
            Problem::file(
                &called,
                format!("cannot read this file: {}", reason(&error)),
            )
        })?;
    // Python itself takes other encodings; the block is ASCII wherever it matters.
    pep723::dependencies(&String::from_utf8_lossy(&head)).map_err(|error| {
        let mut problem = Problem::file(&called, error.message).with_hint(
            "for example `# dependencies = [\"requests\"]` between `# /// script` and `# ///`",
        );
        problem.at = Some((error.line, 1));
        problem
    })
}

/// Whether a `package.json` names any package; many only set the module type.
fn asks_for_packages(shown: &Path, file: &TreeFile, shared: bool) -> Result<bool, Problem> {
    let called = shown_file(shown, file, shared);
    let text = read_text(&file.from, MAX_PACKAGE_BYTES).map_err(|mut problem| {
        problem.file = Some(called.clone());
        problem
    })?;
    let package: serde_json::Value = serde_json::from_str(&text).map_err(|error| {
        let mut problem = Problem::file(&called, format!("this is not JSON: {error}"));
        problem.at = Some((error.line(), error.column().max(1)));
        problem
    })?;
    let lists = ["dependencies", "devDependencies", "optionalDependencies"];
    Ok(lists.iter().any(|list| {
        package
            .get(list)
            .and_then(serde_json::Value::as_object)
            .is_some_and(|packages| !packages.is_empty())
    }))
}
