//! What every confined program may see of the machine.

use std::fs::DirEntry;
use std::os::unix::fs::PermissionsExt as _;
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
pub(super) const MOVED: [&str; 4] = [
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

/// What of a folder everybody may read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Public {
    /// Itself, or where something in it is not for everybody, the rest of what it holds.
    pub parts: Vec<PathBuf>,
    /// The folders of which it is only a part of what they hold.
    pub split: Vec<PathBuf>,
}

/// Looks for it. For programs of root that could not become another user.
pub(super) fn public(folder: &Path) -> Public {
    let mut found = Public::default();
    if is_public(folder, &mut found) {
        found.parts.push(folder.to_owned());
    }
    found
}

/// Whether all of it is for everybody; otherwise adds the parts that are.
fn is_public(path: &Path, found: &mut Public) -> bool {
    let Ok(data) = std::fs::symlink_metadata(path) else {
        return false;
    };
    let mode = data.permissions().mode();
    if !data.is_dir() {
        return data.is_file() && mode & 0o004 != 0;
    }
    let entries = std::fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let (Ok(entries), 0o005) = (entries, mode & 0o005) else {
        return false;
    };
    let (mut all, mut whole) = (true, Vec::new());
    // What a link leads to is decided where that is.
    let is_link = |entry: &DirEntry| entry.file_type().is_ok_and(|kind| kind.is_symlink());
    for entry in entries.iter().filter(|entry| !is_link(entry)) {
        if is_public(&entry.path(), found) {
            whole.push(entry.path());
        } else {
            all = false;
        }
    }
    if !all {
        found.parts.append(&mut whole);
        found.split.push(path.to_owned());
    }
    all
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

#[cfg(test)]
mod tests {
    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_is_not_for_everybody_is_left_out_and_the_rest_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        set_mode(folder.path(), 0o755);
        for name in ["all/in", "some/in", "none/in"] {
            std::fs::create_dir_all(path(name)).unwrap();
        }
        for name in [
            "hosts",
            "all/a",
            "all/in/b",
            "some/a",
            "some/in/b",
            "none/in/c",
        ] {
            std::fs::write(path(name), "").unwrap();
            set_mode(&path(name), 0o644);
        }
        let whole = public(folder.path());
        assert_eq!(whole.parts, [folder.path()]);
        assert!(whole.split.is_empty());
        std::os::unix::fs::symlink("some/secret", path("link")).unwrap();
        for (name, mode) in [("shadow", 0o640), ("some/secret", 0o600)] {
            std::fs::write(path(name), "").unwrap();
            set_mode(&path(name), mode);
        }
        set_mode(&path("none"), 0o711);
        let mut found = public(folder.path());
        found.parts.sort();
        let expected = ["all", "hosts", "some/a", "some/in"].map(path);
        assert_eq!(found.parts, expected);
        assert_eq!(found.split, [path("some"), folder.path().to_owned()]);
    }
}
