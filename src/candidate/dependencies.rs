//! What a candidate's setup phase installs and which Python it needs, as said by the files beside its entry.

use std::path::{Path, PathBuf};

use super::first_line::Asks;
use super::runtime::{Ecosystem, for_extension, for_program};
use super::{Dependencies, Start, pep723, pyproject};
use crate::name::RelativePath;
use crate::problem::{Problem, Problems};
use crate::python::{self, PythonNeed, Range};
use crate::quantity::ByteCount;
use crate::tree::{Folder, TreeFile, open_regular, read_text, reason};

/// Programs that read what is declared and install it themselves, in the run phase.
const MANAGERS: [&str; 11] = [
    "uv", "uvx", "poetry", "pdm", "pipenv", "hatch", "rye", "conda", "pixi", "mise", "nix",
];
/// How far into a script its dependency block is looked for.
const MAX_BLOCK_BYTES: u64 = 1024 * 1024;
/// The largest `package.json` and its like.
const MAX_PACKAGE_BYTES: ByteCount = ByteCount::mib(1);

/// Where packages and versions are said, as in a sentence.
const IN_BLOCK: &str = "its block";
const IN_PROJECT: &str = "its `pyproject.toml`";

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

/// What a candidate's files say of what it needs.
#[derive(Debug)]
pub(super) struct Declared {
    pub(super) dependencies: Dependencies,
    /// Which Python it asks for.
    pub(super) need: PythonNeed,
    /// What must be uploaded for it besides the candidate's own files.
    pub(super) files: Vec<TreeFile>,
    /// What was read and is not followed, each a sentence.
    pub(super) unread: Vec<String>,
    /// Whose packages it may ask for; `None` for those of either kind.
    pub(super) ecosystem: Option<Ecosystem>,
    /// What is installed, as the end of a sentence.
    pub(super) installed: &'static str,
}

impl Declared {
    /// Whether it gets a Python environment of its own.
    pub(super) fn has_environment(&self) -> bool {
        match self.dependencies {
            Dependencies::PythonFile(_) | Dependencies::PythonInline { .. } => true,
            Dependencies::None | Dependencies::Node { .. } => false,
        }
    }

    /// Whether it asks for packages of Python, or for a Python.
    pub(super) fn asks_for_python(&self) -> bool {
        self.has_environment() || !self.need.is_none()
    }
}

/// Finds out what is to be installed and on what, by the kind of program that starts.
///
/// # Errors
/// [`Problems`] of the files that say it.
pub(super) fn dependencies(
    shown: &Path,
    start: &Start,
    asks: &Asks,
    entry: Option<&TreeFile>,
    own: &[TreeFile],
    beside: &Beside<'_>,
) -> Result<Declared, Problems> {
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
    let ecosystem = ecosystem(start, asks, entry);
    let shared = matches!(beside, Beside::Shared(_));
    let source = Source {
        shown,
        entry,
        own,
        beside,
        shared,
    };
    let mut declared = Declared {
        dependencies: Dependencies::None,
        need: PythonNeed::default(),
        files: Vec::new(),
        unread: Vec::new(),
        // A program of unknown kind in a folder may be a wrapper of either.
        ecosystem: (ecosystem != Ecosystem::Other || shared).then_some(ecosystem),
        installed: "forge installs nothing for this candidate",
    };
    if let Some(program) = start.programs.first().and_then(|words| words.first())
        && MANAGERS.contains(&program.as_str())
    {
        declared.ecosystem = Some(Ecosystem::Other);
        return Ok(declared);
    }
    let either = declared.ecosystem.is_none();
    if ecosystem == Ecosystem::Python || either {
        source.python(ecosystem == Ecosystem::Python, &mut declared)?;
    }
    if declared.dependencies == Dependencies::None && (ecosystem == Ecosystem::Node || either) {
        source.node(&mut declared)?;
    }
    Ok(declared)
}

fn ecosystem(start: &Start, asks: &Asks, entry: Option<&TreeFile>) -> Ecosystem {
    let program = start.programs.first().and_then(|words| words.first());
    let by_extension = entry
        .and_then(|file| for_extension(extension(&file.path)))
        .map_or(Ecosystem::Other, |runtime| runtime.ecosystem);
    match (program.map(|program| for_program(program)), asks) {
        (Some(known @ (Ecosystem::Python | Ecosystem::Node)), _) => known,
        (Some(Ecosystem::Other) | None, Asks::Python | Asks::Uv | Asks::UvWithMore) => {
            Ecosystem::Python
        }
        (Some(Ecosystem::Other) | None, Asks::Sh | Asks::Other) => by_extension,
    }
}

/// Where a candidate's declarations are.
struct Source<'a> {
    shown: &'a Path,
    entry: Option<&'a TreeFile>,
    own: &'a [TreeFile],
    beside: &'a Beside<'a>,
    shared: bool,
}

impl Source<'_> {
    fn find(&self, name: &str) -> Result<Option<TreeFile>, Problem> {
        find_beside(self.shown, name, self.entry, self.own, self.beside)
    }

    /// A block of the script, `requirements.txt`, `pyproject.toml` and `.python-version`, in this order.
    fn python(&self, is_script: bool, declared: &mut Declared) -> Result<(), Problems> {
        let mut requires = None;
        if is_script && let Some(file) = self.entry {
            let block = inline_dependencies(self.shown, file, self.shared)?;
            requires = block.requires_python.map(|range| (range, IN_BLOCK));
            let settings = pyproject::uv_settings(IN_BLOCK, &block.tool);
            declared.unread.extend(settings);
            if !block.dependencies.is_empty() {
                declared.dependencies = Dependencies::PythonInline {
                    packages: block.dependencies,
                    listed_in: IN_BLOCK,
                };
                declared.installed = "forge installs what its block lists";
            }
        }
        // A block says all of it, as for other tools; the files are for the scripts beside it.
        let in_block = declared.dependencies != Dependencies::None;
        if !in_block && let Some(file) = self.find("requirements.txt")? {
            declared.dependencies = Dependencies::PythonFile(file.path.clone());
            declared.installed = "forge installs `requirements.txt`";
            declared.files.push(file);
        }
        if !in_block && let Some(file) = self.find("pyproject.toml")? {
            let read = self.pyproject(&file)?;
            let listed = declared.dependencies != Dependencies::None;
            let asks = !read.packages.is_empty() || read.requires_python.is_some();
            declared.files.extend(asks.then_some(file));
            if !read.packages.is_empty() && listed {
                declared.unread.push(
                    "the `dependencies` of `pyproject.toml` are not installed: `requirements.txt` is"
                        .to_owned(),
                );
            } else if !read.packages.is_empty() {
                declared.dependencies = Dependencies::PythonInline {
                    packages: read.packages,
                    listed_in: IN_PROJECT,
                };
                declared.installed =
                    "forge installs what `pyproject.toml` lists, in the newest versions that fit";
            }
            // Whoever has both lists the same in both.
            if !listed {
                declared.unread.extend(read.unread);
            }
            let said = |range| (range, IN_PROJECT);
            requires = requires.or(read.requires_python.map(said));
        }
        if let Some((text, said_by)) = requires {
            declared.need.requires = Range::parse(&text);
            declared.need.said_by = said_by;
            if declared.need.requires.is_none() {
                let text = crate::plain::short(&text, 40);
                declared.unread.push(format!(
                    "`requires-python` of {said_by} says {text:?}, which is no range of versions such as `>=3.11`"
                ));
            }
        }
        if let Some(file) = self.find(".python-version")? {
            let shown = shown_file(self.shown, &file, self.shared);
            let text = read_text(&file.from, MAX_PACKAGE_BYTES).map_err(|mut problem| {
                problem.file = Some(shown);
                problem
            })?;
            match python::pins(&text) {
                Ok(pins) => declared.need.pins = pins,
                Err(word) => declared.unread.push(format!(
                    "`.python-version` says {word:?}, which forge does not know as a version"
                )),
            }
            declared.files.push(file);
        }
        Ok(())
    }

    fn pyproject(&self, file: &TreeFile) -> Result<pyproject::Pyproject, Problem> {
        let called = shown_file(self.shown, file, self.shared);
        let text = read_text(&file.from, MAX_PACKAGE_BYTES).map_err(|mut problem| {
            problem.file = Some(called.clone());
            problem
        })?;
        pyproject::parse(&text).map_err(|error| {
            let mut problem = Problem::file(&called, error.message)
                .with_hint("for example `dependencies = [\"requests>=2\"]` below `[project]`");
            problem.at = error.line.map(|line| (line, 1));
            problem
        })
    }

    fn node(&self, declared: &mut Declared) -> Result<(), Problems> {
        let Some(package) = self.find("package.json")? else {
            return Ok(());
        };
        let lock_file = match self.find("package-lock.json")? {
            None => self.find("npm-shrinkwrap.json")?,
            found @ Some(_) => found,
        };
        let folder = package.path.as_str().rsplit_once('/');
        let read = read_package(self.shown, &package, self.shared)?;
        if asks_for_packages(&read) {
            declared.dependencies = Dependencies::Node {
                folder: folder.and_then(|(folder, _)| RelativePath::parse(folder).ok()),
                locked: lock_file.is_some(),
            };
            declared.installed = if lock_file.is_some() {
                "npm installs by its own lock file"
            } else {
                "npm installs what `package.json` lists, in the newest versions that fit"
            };
        }
        if let Some(range) = read.pointer("/engines/node").and_then(|it| it.as_str()) {
            declared.unread.push(format!(
                "`engines` of `package.json` asks for Node {}; forge takes the Node that is there, and does not compare",
                crate::plain::short(range, 40)
            ));
        }
        declared
            .files
            .extend([Some(package), lock_file].into_iter().flatten());
        Ok(())
    }
}

/// A file beside the entry, else at the candidate's root.
pub(super) fn find_beside(
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

fn read_package(shown: &Path, file: &TreeFile, shared: bool) -> Result<serde_json::Value, Problem> {
    let called = shown_file(shown, file, shared);
    let text = read_text(&file.from, MAX_PACKAGE_BYTES).map_err(|mut problem| {
        problem.file = Some(called.clone());
        problem
    })?;
    serde_json::from_str(&text).map_err(|error| {
        let mut problem = Problem::file(&called, format!("this is not JSON: {error}"));
        problem.at = Some((error.line(), error.column().max(1)));
        problem
    })
}

/// Whether a `package.json` names any package; many only set the module type.
fn asks_for_packages(package: &serde_json::Value) -> bool {
    let lists = ["dependencies", "devDependencies", "optionalDependencies"];
    lists.iter().any(|list| {
        package
            .get(list)
            .and_then(serde_json::Value::as_object)
            .is_some_and(|packages| !packages.is_empty())
    })
}
