//! Python environments, as trials ask for them and providers make them.

use std::path::PathBuf;
use std::time::Duration;

use super::CommandEnd;
use crate::installers::Installers;
use crate::name::RelativePath;

/// The packages of a Python environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PythonPackages {
    /// Those of this requirements file, below [`Area::Work`](super::Area::Work).
    File(RelativePath),
    /// Those that a script's PEP 723 block or a `pyproject.toml` lists.
    Inline {
        /// Each one requirement such as `requests>=2`.
        packages: Vec<String>,
    },
}

/// A Python environment that a candidate needs, before anything of it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PythonEnvironment {
    /// The absolute path of the Python that it is made from, where [`Sandbox::find_python`](super::Sandbox::find_python) found one; else the
    /// usual one.
    pub python: Option<String>,
    /// What is installed into it.
    pub packages: PythonPackages,
    /// What the user has told installers of where packages come from. Nothing that a candidate declares is among
    /// it, because an installer outside the sandbox would obey it.
    pub installers: Installers,
    /// How long it may take.
    pub limit: Duration,
    /// Whether the installers may not reach anything: only what is on this machine already is installed.
    pub offline: bool,
}

/// What became of looking for the Python that a candidate needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundPython {
    /// The provider does not look: what is in the sandbox is to be asked.
    Unknown,
    /// There is one.
    Found {
        /// Its absolute path, for [`Command::programs`](super::Command::programs); `None` for the usual one.
        python: Option<String>,
        /// A sentence when it is not quite what was wanted.
        note: Option<String>,
    },
    /// There is none that will do; a sentence.
    Missing(String),
}

/// A [`PythonEnvironment`] that a sandbox may be made with.
#[derive(Debug, Clone)]
pub struct PythonLayer {
    /// What is wanted. Its installers are told no more than they may be told inside of a sandbox.
    pub environment: PythonEnvironment,
    /// What its Python may be called inside: the first that is there is taken, as it will be by whoever asks for it
    /// in the sandbox.
    pub pythons: Vec<String>,
    /// The folder of this machine that will be [`Area::Work`](super::Area::Work).
    pub folder: PathBuf,
}

/// What became of a [`PythonEnvironment`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedPython {
    /// The absolute path of its Python, for [`Command::programs`](super::Command::programs); good when `end` is exit code 0.
    pub python: String,
    /// What was run last, as people would type it.
    pub shown: String,
    /// How that ended.
    pub end: CommandEnd,
    /// The last that it said, in one line, when it failed.
    pub said: String,
}
