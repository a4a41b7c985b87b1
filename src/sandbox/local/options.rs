//! What a provider of local sandboxes is told.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Isolation, RootSandboxes};
use crate::quantity::ByteCount;

/// What a [`LocalProvider`](super::LocalProvider) needs to know of the world. It looks up nothing by itself.
#[derive(Debug, Clone)]
pub struct LocalOptions {
    /// The folder that sandboxes are made in; usually the system's for temporary files.
    pub base: PathBuf,
    /// The `PATH` that programs are looked up on and get.
    pub path: String,
    /// The program that starts sandboxes: forge itself (see [`this_program`](super::this_program)) or what [`find_helper`](super::find_helper)
    /// found. Without one there is only the level [`Isolation::Process`], without limits of resources:
    /// programs are started directly, and what leaves its process group is found by its environment only.
    pub helper: Option<PathBuf>,
    /// The environment for asking a version manager where its interpreter is, once, and for installers:
    /// `HOME` and the manager's own variables. No program in a sandbox gets it.
    pub interpreter_env: BTreeMap<String, String>,
    /// Variables that every program gets besides those of its command, for trusting whom this machine trusts
    /// on the network. Absolute paths in them can be read by every program.
    pub network_env: BTreeMap<String, String>,
    /// How candidates are kept apart.
    pub isolation: Isolation,
    /// What becomes of sandboxes that would be root.
    pub root: RootSandboxes,
    /// The most memory of a sandbox's processes together, and of each.
    pub memory: ByteCount,
    /// The most that a sandbox's files hold together.
    pub disk: ByteCount,
    /// The most processes and threads of a sandbox at once.
    pub processes: u32,
    /// The folder that prepared Python environments are kept in, across runs. Without one, each is made
    /// inside of its sandbox.
    pub cache: Option<PathBuf>,
}

impl LocalOptions {
    /// What a sandbox's processes may use when nobody says otherwise.
    pub const MEMORY: ByteCount = ByteCount(2 << 30);
    /// What a sandbox's files may hold when nobody says otherwise.
    pub const DISK: ByteCount = ByteCount(1 << 30);
    /// How many processes a sandbox may have when nobody says otherwise.
    pub const PROCESSES: u32 = 256;

    /// A provider with the best isolation that is to be had with this helper, and the usual limits.
    #[must_use]
    pub fn new(base: PathBuf, path: String, helper: Option<PathBuf>) -> Self {
        Self {
            base,
            path,
            helper,
            interpreter_env: BTreeMap::new(),
            network_env: BTreeMap::new(),
            cache: None,
            isolation: Isolation::Auto,
            root: RootSandboxes::default(),
            memory: Self::MEMORY,
            disk: Self::DISK,
            processes: Self::PROCESSES,
        }
    }
}
