//! The programs that are measured.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The forge that is measured: `FORGE_BENCH_BIN`, or the one that was just built.
pub(crate) fn forge() -> PathBuf {
    let given = std::env::var_os("FORGE_BENCH_BIN").map(PathBuf::from);
    given.unwrap_or_else(|| env!("CARGO_BIN_EXE_forge").into())
}

/// A program that is run in this folder, without what the caller's environment says to forge.
pub(crate) fn command(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FORGE_") {
            command.env_remove(name);
        }
    }
    command
}
