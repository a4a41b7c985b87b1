//! What every confined program may see of the machine.

use std::path::{Path, PathBuf};

/// The system's own folders. Read only.
pub(super) const SYSTEM: [&str; 4] = ["/usr", "/opt", "/nix/store", "/etc"];

/// Folders that are links into `/usr` on most systems. Read only.
pub(super) const LINKED: [&str; 6] = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/// Devices that do nothing to the machine.
#[cfg(target_os = "linux")]
pub(super) const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Files of `/etc` that some systems keep elsewhere, as links.
#[cfg(target_os = "linux")]
const MOVED: [&str; 4] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/localtime",
];

/// Whether a path lies in a folder that every program sees.
pub(super) fn is_system(path: &Path) -> bool {
    SYSTEM
        .iter()
        .chain(&LINKED)
        .any(|folder| path.starts_with(folder))
}

/// Where those files of `/etc` really are, when that is not seen anyway.
#[cfg(target_os = "linux")]
pub(super) fn moved() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = MOVED
        .iter()
        .filter_map(|file| std::fs::canonicalize(file).ok())
        .filter(|file| !is_system(file))
        .collect();
    found.sort();
    found.dedup();
    found
}
