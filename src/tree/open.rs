//! Opening one file of the user's, or of a run.
//!
//! Promises: only regular files are opened, and nobody is waited for; through no link where a run has left files.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::{is_folder_inside, kind_of};
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
    open_below(&open_folder(folder)?, below)
}

/// A folder of which many files are opened: the way to it is gone once. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Inside(Arc<(PathBuf, OnceLock<OwnedFd>)>);

impl Inside {
    /// The folder that is there when the first file of it is opened.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self(Arc::new((folder, OnceLock::new())))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.0
    }

    /// As [`open_inside`].
    ///
    /// # Errors
    /// As of that.
    pub fn open(&self, below: &RelativePath) -> io::Result<File> {
        open_below(self.opened()?, below)
    }

    /// As [`is_folder_inside`].
    #[must_use]
    pub fn has_folder(&self, below: &Path) -> bool {
        let known = below.to_str().zip(self.opened().ok());
        known.is_some_and(|(below, inside)| at_once(inside, below, OF_FOLDERS).is_some())
            || is_folder_inside(self.path(), below)
    }

    fn opened(&self) -> io::Result<&OwnedFd> {
        let (folder, opened) = &*self.0;
        if let Some(opened) = opened.get() {
            return Ok(opened);
        }
        let folder = open_folder(folder)?;
        Ok(opened.get_or_init(|| folder))
    }
}

fn open_folder(folder: &Path) -> io::Result<OwnedFd> {
    use rustix::fs::{CWD, Mode, openat};
    Ok(openat(CWD, folder, OF_FOLDERS, Mode::empty())?)
}

fn open_below(inside: &OwnedFd, below: &RelativePath) -> io::Result<File> {
    use rustix::fs::{AtFlags, FileType, statat};
    let path = below.as_str();
    // Asked before opening, because opening a device can have effects; and after, because it may be another file by then.
    let is_file = statat(inside, path, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
    let opened = is_file.then(|| at_once(inside, path, OF_FILES)).flatten();
    let file = match opened {
        Some(opened) => File::from(opened),
        None => File::from(step_by_step(inside, path)?),
    };
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other(format!("`{path}` is not a regular file")))
    }
}

/// How files are opened.
const OF_FILES: rustix::fs::OFlags = rustix::fs::OFlags::RDONLY
    .union(rustix::fs::OFlags::CLOEXEC)
    .union(rustix::fs::OFlags::NONBLOCK)
    .union(rustix::fs::OFlags::NOCTTY);

/// How folders on the way are opened.
const OF_FOLDERS: rustix::fs::OFlags = rustix::fs::OFlags::RDONLY
    .union(rustix::fs::OFlags::CLOEXEC)
    .union(rustix::fs::OFlags::DIRECTORY);

/// Opens what is below a folder through no link, all of the way at once where the system can (Linux 5.6). Whatever it says
/// against it, step by step is said better.
fn at_once(inside: &OwnedFd, path: &str, flags: rustix::fs::OFlags) -> Option<OwnedFd> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{Mode, ResolveFlags, openat2};
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        openat2(inside, path, flags, Mode::empty(), resolve).ok()
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// Opens a file below a folder, and each folder on the way, through no link.
fn step_by_step(inside: &OwnedFd, path: &str) -> io::Result<OwnedFd> {
    let mut folder: Option<OwnedFd> = None;
    let mut from = 0;
    for (end, _) in path.match_indices('/') {
        let next = open_entry(
            folder.as_ref().unwrap_or(inside),
            &path[from..end],
            &path[..end],
            false,
        )?;
        (folder, from) = (Some(next), end + 1);
    }
    open_entry(folder.as_ref().unwrap_or(inside), &path[from..], path, true)
}

/// Opens an entry of a folder: the file at the end of a way, or a folder on it.
fn open_entry(inside: &OwnedFd, name: &str, shown: &str, is_last: bool) -> io::Result<OwnedFd> {
    use rustix::fs::{AtFlags, FileType, Mode, OFlags, openat, statat};
    let refuse = |what: &str| Err(io::Error::other(format!("`{shown}` is {what}")));
    // Asked before opening, because opening a device can have effects.
    let stat = statat(inside, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let flags = match (FileType::from_raw_mode(stat.st_mode), is_last) {
        (FileType::RegularFile, true) => OF_FILES,
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

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::symlink;

    use super::*;

    fn text(file: io::Result<File>) -> Result<String, String> {
        let mut text = String::new();
        let mut file = file.map_err(|error| error.to_string())?;
        file.read_to_string(&mut text).unwrap();
        Ok(text)
    }

    #[test]
    fn only_regular_files_are_opened_and_through_no_link() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("run");
        fs::create_dir_all(folder.join("task/a/1")).unwrap();
        fs::write(folder.join("task/a/1/out"), "hello").unwrap();
        fs::write(dir.path().join("out"), "of somebody else").unwrap();
        symlink("a", folder.join("task/winner")).unwrap();
        symlink(dir.path(), folder.join("up")).unwrap();
        symlink("out", folder.join("task/a/1/link")).unwrap();
        let fifo = folder.join("task/a/1/fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
        let inside = Inside::new(folder.clone());
        for (path, expected) in [
            ("task/a/1/out", Ok("hello")),
            ("task/a/1/none", Err("No such file")),
            ("task/none/out", Err("No such file")),
            ("task/winner/1/out", Err("`task/winner` is a link")),
            ("up/out", Err("`up` is a link")),
            ("task/a/1/link", Err("`task/a/1/link` is a link")),
            ("task/a/1/fifo", Err("`task/a/1/fifo` is a FIFO")),
            ("task/a/1", Err("`task/a/1` is a folder")),
            ("task/a/1/out/more", Err("`task/a/1/out` is no folder")),
        ] {
            let below = RelativePath::parse(path).unwrap();
            for found in [inside.open(&below), open_inside(&folder, &below)] {
                match (text(found), expected) {
                    (Ok(text), Ok(expected)) => assert_eq!(text, expected, "{path}"),
                    (Err(said), Err(expected)) => {
                        assert!(said.starts_with(expected), "{path}: {said}");
                    }
                    (found, _) => panic!("{path}: {found:?}"),
                }
            }
        }
        for (below, is_there) in [
            ("task/a/1", true),
            ("task/winner", false),
            ("task/winner/1", false),
            ("task/none", false),
            ("task/a/1/out", false),
        ] {
            assert_eq!(inside.has_folder(Path::new(below)), is_there, "{below}");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_yet_is_opened_when_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let inside = Inside::new(dir.path().join("run"));
        let below = RelativePath::parse("out").unwrap();
        assert!(inside.open(&below).is_err());
        assert!(!inside.has_folder(Path::new("a")));
        fs::create_dir(inside.path()).unwrap();
        fs::write(inside.path().join("out"), "hello").unwrap();
        assert_eq!(text(inside.open(&below)).unwrap(), "hello");
        // Wherever it is by then.
        fs::rename(inside.path(), dir.path().join("moved")).unwrap();
        assert_eq!(text(inside.clone().open(&below)).unwrap(), "hello");
    }
}
