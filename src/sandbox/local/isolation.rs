//! How candidates are kept apart.

use serde::{Deserialize, Serialize};

/// How candidates are kept apart from this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// The best of the others that this machine offers.
    #[default]
    Auto,
    /// Their own files, processes, IPC and `/tmp`: what is not granted does not exist for them.
    Namespaces,
    /// The kernel refuses the files, sockets and signals that are not granted.
    Landlock,
    /// Their own folder, environment and process tree; no isolation of files.
    Process,
}

impl Isolation {
    /// As on the command line and in `forge.yaml`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Namespaces => "namespaces",
            Self::Landlock => "landlock",
            Self::Process => "process",
        }
    }
}
