//! Removing a tree that somebody hostile has built.
//!
//! Promises: follows no link; needs neither depth of stack nor one descriptor per level, however deep the
//! tree; opens folders that forbid it; bears with somebody else who removes the same tree.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::path::Arg;

/// Removes a folder and all below it, or a file, or a link. Nothing there is success.
///
/// # Errors
/// What the system said about the first thing that would not go.
pub(crate) fn tree(path: &Path) -> io::Result<()> {
    let top = match open_forced(CWD, path) {
        Ok(top) => top,
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => return gone(rustix::fs::unlink(path)),
        Err(error) => return Err(error.into()),
    };
    let mut is_gone = false;
    clear(&top, None, || match rustix::fs::rmdir(path) {
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        other => {
            is_gone = true;
            gone(other).map(|()| true)
        }
    })?;
    if is_gone {
        return Ok(());
    }
    gone(rustix::fs::rmdir(path))
}

/// Removes all that is in a folder, but for what has this name.
///
/// # Errors
/// What the system said about the first thing that would not go.
pub(crate) fn entries(folder: &OwnedFd, but: Option<&OsStr>) -> io::Result<()> {
    clear(folder, but, || Ok(false))
}

/// Removes what is in a folder, but for what has this name, until there is nothing, or, after something was removed,
/// `is_over`.
fn clear(
    top: &OwnedFd,
    but: Option<&OsStr>,
    mut is_over: impl FnMut() -> io::Result<bool>,
) -> io::Result<()> {
    let mut flattened = 0_u64;
    loop {
        let mut refused = None;
        let mut moved = false;
        for entry in Dir::read_from(top)? {
            let entry = entry?;
            let name = entry.file_name();
            let is_spared = but.is_some_and(|it| it.as_bytes() == name.to_bytes());
            if is_spared || matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            match remove(top, name, entry.file_type(), &mut flattened) {
                Ok(()) => moved = true,
                Err(error) => refused = Some(error),
            }
        }
        match (moved, refused) {
            // Once more: what was below is now at the top, and a folder that is written may skip entries.
            (true, Some(_)) => {}
            (true, None) => {
                if is_over()? {
                    return Ok(());
                }
            }
            (false, Some(error)) => return Err(error.into()),
            (false, None) => return Ok(()),
        }
    }
}

/// Removes one entry of the top folder; folders below it are first moved up beside it.
fn remove(
    top: &OwnedFd,
    name: &std::ffi::CStr,
    kind: FileType,
    flattened: &mut u64,
) -> rustix::io::Result<()> {
    if kind != FileType::Directory {
        match rustix::fs::unlinkat(top, name, AtFlags::empty()) {
            // Some file systems do not say what an entry is. POSIX has EPERM for a folder, Linux EISDIR.
            Err(Errno::ISDIR | Errno::PERM) => {}
            other => return absent_is_fine(other),
        }
    }
    // Most folders of a sandbox are empty, and need no look.
    if let Ok(()) | Err(Errno::NOENT) = rustix::fs::unlinkat(top, name, AtFlags::REMOVEDIR) {
        return Ok(());
    }
    let folder = match open_forced(top, name) {
        Ok(folder) => folder,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        let below = entry.file_name();
        if matches!(below.to_bytes(), b"." | b"..") {
            continue;
        }
        if entry.file_type() != FileType::Directory {
            match rustix::fs::unlinkat(&folder, below, AtFlags::empty()) {
                Err(Errno::ISDIR | Errno::PERM) => {}
                other => {
                    absent_is_fine(other)?;
                    continue;
                }
            }
        }
        // An empty one need not move; one that forbids writing may not.
        match rustix::fs::unlinkat(&folder, below, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(_) => allow(&folder, below)?,
        }
        loop {
            *flattened += 1;
            let beside = format!(".{}-{flattened}", std::process::id());
            match rustix::fs::renameat(&folder, below, top, beside) {
                // The name is taken by something full.
                Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
                other => break absent_is_fine(other)?,
            }
        }
    }
    match rustix::fs::unlinkat(top, name, AtFlags::REMOVEDIR) {
        // A folder that changes while it is read may hide entries; the next round finds them.
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
        other => absent_is_fine(other),
    }
}

/// Opens a folder, not through a link, if need be by making it readable first.
fn open_forced<P: Arg + Copy>(parent: impl AsFd, name: P) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || rustix::fs::openat(&parent, name, flags, Mode::empty());
    let folder = match open() {
        Err(Errno::ACCESS) => {
            allow(&parent, name)?;
            open()?
        }
        other => other?,
    };
    // Readable but not writable or searchable: entries could be seen and not removed.
    let mode = rustix::fs::fstat(&folder)?.st_mode;
    if Mode::from_raw_mode(mode) & Mode::RWXU != Mode::RWXU {
        rustix::fs::fchmod(&folder, Mode::RWXU)?;
    }
    Ok(folder)
}

fn allow<P: Arg>(parent: impl AsFd, name: P) -> rustix::io::Result<()> {
    absent_is_fine(rustix::fs::chmodat(
        parent,
        name,
        Mode::RWXU,
        AtFlags::empty(),
    ))
}

fn absent_is_fine(result: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

fn gone(result: rustix::io::Result<()>) -> io::Result<()> {
    Ok(absent_is_fine(result)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn check(build: impl FnOnce(&Path)) {
        let base = tempfile::tempdir().unwrap();
        let victim = base.path().join("victim");
        std::fs::create_dir(&victim).unwrap();
        std::fs::write(base.path().join("bystander"), "x").unwrap();
        build(&victim);
        tree(&victim).unwrap();
        let left: Vec<_> = std::fs::read_dir(base.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(
            std::fs::read_to_string(base.path().join("bystander")).unwrap(),
            "x"
        );
    }

    #[test]
    fn nothing_is_removed_with_success() {
        tree(Path::new("/nonexistent/forge")).unwrap();
    }

    #[test]
    fn a_link_goes_and_its_target_stays() {
        check(|victim| {
            std::os::unix::fs::symlink("..", victim.join("up")).unwrap();
            std::os::unix::fs::symlink("../bystander", victim.join("file")).unwrap();
        });
        check(|victim| {
            std::fs::remove_dir(victim).unwrap();
            std::os::unix::fs::symlink(".", victim).unwrap();
        });
    }

    #[test]
    fn forbidden_folders_go() {
        check(|victim| {
            for mode in [0o000, 0o100, 0o400, 0o500] {
                let outer = victim.join(format!("{mode:o}"));
                std::fs::create_dir_all(outer.join("inner/deep")).unwrap();
                std::fs::write(outer.join("inner/file"), "x").unwrap();
                for folder in ["inner/deep", "inner", ""] {
                    let mode = std::fs::Permissions::from_mode(mode);
                    std::fs::set_permissions(outer.join(folder), mode).unwrap();
                }
            }
            let mode = std::fs::Permissions::from_mode(0o000);
            std::fs::set_permissions(victim, mode).unwrap();
        });
    }

    #[test]
    fn a_tree_deeper_than_any_path_goes() {
        check(|victim| {
            let mut folder = rustix::fs::open(victim, OFlags::RDONLY, Mode::empty()).unwrap();
            for _ in 0..20_000 {
                rustix::fs::mkdirat(&folder, "d", Mode::RWXU).unwrap();
                folder = rustix::fs::openat(&folder, "d", OFlags::RDONLY, Mode::empty()).unwrap();
            }
        });
    }

    #[test]
    fn a_wide_tree_goes_even_where_its_names_are_ours() {
        check(|victim| {
            for n in 0..3_000 {
                std::fs::write(victim.join(format!("file{n}")), "").unwrap();
            }
            for n in 0..50 {
                let taken = victim.join(format!(".{}-{n}", std::process::id()));
                std::fs::create_dir_all(taken.join("full/fuller")).unwrap();
            }
        });
    }
}
