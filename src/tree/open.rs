//! Opening one file of the user's, or of a run.
//!
//! Promises: only regular files are opened, and nobody is waited for; through no link where a run has left files.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::kind_of;
use crate::name::RelativePath;

/// Opens a regular file for reading, without waiting for anybody.
///
/// # Errors
/// When it is not there, is not a regular file, or may not be read.
pub fn open_regular(path: &Path) -> io::Result<(File, Metadata)> {
    let refuse = |data: &Metadata| Err(io::Error::other(format!("it is {}", kind_of(data))));
    // Asked before opening, because opening a device can have effects; and after, because it may be
    // another file by then.
    let data = fs::metadata(path)?;
    if !data.is_file() {
        return refuse(&data);
    }
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nonblock.cast_signed())
        .open(path)?;
    let data = file.metadata()?;
    if data.is_file() {
        Ok((file, data))
    } else {
        refuse(&data)
    }
}

/// Opens a regular file below a folder for reading, without waiting for anybody and through no link: neither
/// the file nor a folder between may be one.
///
/// # Errors
/// When it is not there, is a link or reached through one, is not a regular file, or may not be read.
pub fn open_inside(folder: &Path, below: &RelativePath) -> io::Result<File> {
    use rustix::fs::{CWD, Mode, openat};
    let inside = openat(CWD, folder, OF_FOLDERS, Mode::empty())?;
    let path = below.as_str();
    let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
    let inside = folder_inside(inside, parents)?;
    let file = File::from(open_entry(&inside, name, path, true)?);
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other(format!("`{path}` is not a regular file")))
    }
}

/// How folders on the way are opened.
const OF_FOLDERS: rustix::fs::OFlags = rustix::fs::OFlags::RDONLY
    .union(rustix::fs::OFlags::CLOEXEC)
    .union(rustix::fs::OFlags::DIRECTORY);

/// Opens a folder below another one, through no link.
fn folder_inside(mut inside: OwnedFd, path: &str) -> io::Result<OwnedFd> {
    if path.is_empty() {
        return Ok(inside);
    }
    // All of the way at once, where the system can (Linux 5.6). Whatever it says against it, step by step is said better.
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{Mode, ResolveFlags, openat2};
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        if let Ok(at_once) = openat2(&inside, path, OF_FOLDERS, Mode::empty(), resolve) {
            return Ok(at_once);
        }
    }
    let ends = path.match_indices('/').map(|(at, _)| at);
    let mut from = 0;
    for end in ends.chain([path.len()]) {
        inside = open_entry(&inside, &path[from..end], &path[..end], false)?;
        from = end + 1;
    }
    Ok(inside)
}

/// Opens an entry of a folder: the file at the end of a way, or a folder on it.
fn open_entry(inside: &OwnedFd, name: &str, shown: &str, is_last: bool) -> io::Result<OwnedFd> {
    use rustix::fs::{AtFlags, FileType, Mode, OFlags, openat, statat};
    let refuse = |what: &str| Err(io::Error::other(format!("`{shown}` is {what}")));
    // Asked before opening, because opening a device can have effects.
    let stat = statat(inside, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let flags = match (FileType::from_raw_mode(stat.st_mode), is_last) {
        (FileType::RegularFile, true) => {
            OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY
        }
        (FileType::Directory, false) => OF_FOLDERS,
        (FileType::Symlink, _) => return refuse("a link"),
        (FileType::RegularFile, false) => return refuse("no folder"),
        (FileType::Directory, true) => return refuse("a folder"),
        (FileType::Fifo, _) => return refuse("a FIFO"),
        (FileType::Socket, _) => return refuse("a socket"),
        (FileType::CharacterDevice | FileType::BlockDevice | FileType::Unknown, _) => {
            return refuse("a device");
        }
    };
    Ok(openat(
        inside,
        name,
        flags | OFlags::NOFOLLOW,
        Mode::empty(),
    )?)
}
