//! Candidates: the agent implementations under comparison. What is true of a valid one.
//!
//! Promises: every file of a candidate has been found inside `candidates/`, and is a regular file; its
//! name is unique. Loading is in [`load`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use crate::name::{CandidateName, RelativePath};
use crate::objective::LimitOverrides;
use crate::plain::hex;
use crate::policy::NetworkOverrides;
use crate::python::PythonNeed;
use crate::redact::is_too_short;
use crate::sandbox::{Image, Network, Networks, Trust};
use crate::secret::Secret;

mod addresses;
mod assemble;
mod beside;
mod dependencies;
pub mod fetches;
mod first_line;
mod imports;
pub mod load;
pub mod pack;
pub mod pep723;
pub mod pyproject;
pub mod reads;
pub mod runtime;
mod settings;
mod unread;
mod upload;

#[cfg(test)]
pub(crate) use settings::KEYS as SETTINGS;

/// One file of a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Its path below the working directory.
    pub path: RelativePath,
    /// Where it is here.
    pub from: PathBuf,
    /// Whether it may be executed.
    pub executable: bool,
}

/// What a candidate's setup phase installs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dependencies {
    /// Nothing.
    None,
    /// A virtual environment with the packages of this requirements file.
    PythonFile(RelativePath),
    /// A virtual environment with the packages that the script's PEP 723 block or the `pyproject.toml` lists.
    PythonInline {
        /// What is installed, as requirements such as `rich>=13`.
        packages: Vec<String>,
        /// Where that is listed, as in a sentence: `its block`.
        listed_in: &'static str,
    },
    /// `npm ci` with a lock file, else `npm install`.
    Node {
        /// The folder with the `package.json`; `None` for the working directory itself.
        folder: Option<RelativePath>,
        /// Whether there is a lock file.
        locked: bool,
    },
}

/// A variable that is passed from forge's own environment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PassEnv {
    /// What the candidate calls it.
    pub name: String,
    /// What it is called here.
    pub host_name: String,
    /// Whether its author says that its value is no secret: it is not redacted.
    pub plain: bool,
}

/// How the run phase starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// Alternatives, each a program with its leading arguments; the first whose program exists is taken.
    pub programs: Vec<Vec<String>>,
    /// What comes between those and the two arguments of the contract: the entry file, or nothing.
    pub entry: Vec<String>,
    /// Whether [`Start::programs`] is a Python interpreter, which a virtual environment replaces.
    pub python: bool,
}

/// One agent implementation.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its name.
    pub name: CandidateName,
    /// What its author says of it.
    pub description: Option<String>,
    /// The script or folder that it is.
    pub source: PathBuf,
    /// The file with its settings, if it has one.
    pub settings: Option<PathBuf>,
    /// What is uploaded.
    pub files: Vec<SourceFile>,
    /// How it starts.
    pub start: Start,
    /// What is installed first.
    pub dependencies: Dependencies,
    /// Whether installers would ask addresses for it that only it names.
    pub names_addresses: bool,
    /// Which Python it asks for.
    pub python: PythonNeed,
    /// Modules that its files import and that neither Python, nor its own files, nor anything that it
    /// declares brings. Only where it declares no packages.
    pub imports: BTreeSet<String>,
    /// What it declared and forge does not honour, each a sentence. No error: it runs all the same.
    pub notes: Vec<String>,
    /// Why the system will not start it, where that is plain to see.
    pub cannot_start: Option<String>,
    /// Commands that are run after that, each a shell line.
    pub setup: Vec<String>,
    /// Variables it wants.
    pub env: BTreeMap<String, String>,
    /// Variables it wants passed.
    pub pass_env: Vec<PassEnv>,
    /// Limits of its own.
    pub limits: LimitOverrides,
    /// How far its author is trusted.
    pub trust: Trust,
    /// What its containers are made from: what its settings name, or else what its `Dockerfile` builds.
    pub image: Option<Image>,
    /// The SHA-256 of its files and settings, in hex.
    pub digest: String,
}

impl Candidate {
    /// Whether anything is done before it is started: dependencies, or commands of its own.
    #[must_use]
    pub fn has_setup(&self) -> bool {
        self.dependencies != Dependencies::None || !self.setup.is_empty()
    }

    /// What it may reach, by what is said of networks. Without a setup there is only the network of the run.
    ///
    /// A setup that would ask addresses that only the candidate names reaches no more than its run, unless said:
    /// that it is open where nothing is said is for whom forge's user has named. For one whose author is not
    /// trusted, it then reaches nothing.
    #[must_use]
    pub fn networks(&self, said: &NetworkOverrides) -> Networks {
        let mut networks = said.resolve(self.trust);
        if !self.has_setup() {
            return Networks::same(networks.run);
        }
        if self.names_addresses && said.setup.is_none() {
            networks.setup = match self.trust {
                Trust::Trusted => networks.run.clone(),
                Trust::Untrusted => Network::Block,
            };
        }
        networks
    }

    /// Its notes, each with its name before it.
    pub fn remarks(&self) -> impl Iterator<Item = String> {
        self.notes.iter().map(|note| self.remark(note))
    }

    /// A note with its name before it.
    #[must_use]
    pub fn remark(&self, note: &str) -> String {
        format!("candidate `{}`: {}", self.name, crate::plain::line(note))
    }

    /// The values that it gets of these variables and that are to be redacted; one that is too short would be met by
    /// chance.
    pub fn passed_secrets<'a>(
        &'a self,
        variables: &'a BTreeMap<String, String>,
    ) -> impl Iterator<Item = Secret> + 'a {
        let passed = self.pass_env.iter().filter(|it| !it.plain);
        passed
            .filter_map(|it| variables.get(&it.host_name))
            .filter(|value| !is_too_short(value))
            .map(|value| Secret::new(value.clone()))
    }
}

/// The SHA-256 of parts, in hex, each part told apart from the next by its length.
#[must_use]
pub fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hex(&hasher.finalize())
}
