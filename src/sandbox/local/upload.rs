//! Putting files into a sandbox.
//!
//! Promises: nothing is written through a link that a program has planted; what is in the way of a file
//! or of a folder that is needed is replaced, except a folder in the way of a file.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::blanks::Blanks;
use super::neighbour::Neighbour;
use super::place::open_folder;
use super::spares::Reuse;
use crate::sandbox::{Content, Upload};

/// Larger files are copied on a thread that may block.
const INLINE: u64 = 256 * 1024;
/// So much of a smaller one is read at a time.
const CHUNK: usize = 64 * 1024;

/// What is kept from one file of an area to the next: nothing is opened or asked for twice.
#[derive(Debug, Default)]
pub(super) struct Held<'s> {
    folder: Neighbour,
    chunk: Vec<u8>,
    blanks: Option<(&'s Blanks, &'s Reuse)>,
}

impl<'s> Held<'s> {
    /// With what can be written over in this sandbox.
    pub(super) fn with(blanks: &'s Blanks, reuse: &'s Reuse) -> Self {
        Self {
            blanks: Some((blanks, reuse)),
            ..Self::default()
        }
    }
}

/// A file to be written from its beginning.
struct Made {
    file: File,
    /// Something was in it.
    is_blank: bool,
}

impl Made {
    /// Cuts off what is behind the end of what was written.
    fn finish(&mut self) -> io::Result<()> {
        if self.is_blank {
            let end = self.file.stream_position()?;
            self.file.set_len(end)?;
        }
        Ok(())
    }
}

/// Puts a file below an open folder; it and the folders above it are then that user's.
pub(super) async fn put(
    area: &OwnedFd,
    held: &mut Held<'_>,
    upload: &Upload,
    user: Option<u32>,
) -> io::Result<()> {
    let mut to = make(area, held, upload, user)?;
    match &upload.content {
        Content::Bytes(bytes) => {
            to.file.write_all(bytes)?;
            to.finish()
        }
        Content::File(path) => {
            let mut from = File::options()
                .read(true)
                // A named pipe would be waited for.
                .custom_flags(i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0))
                .open(path)?;
            let data = from.metadata()?;
            if !data.is_file() {
                return Err(io::Error::other(format!(
                    "{} is not a regular file",
                    path.display()
                )));
            }
            if data.len() <= INLINE {
                copy(&mut from, data.len(), &mut to.file, &mut held.chunk)?;
                return to.finish();
            }
            let copied = tokio::task::spawn_blocking(move || {
                io::copy(&mut from, &mut to.file)?;
                to.finish()
            });
            copied.await.map_err(io::Error::other)?
        }
    }
}

/// Copies a small file, no more of it than it had when it was opened: by reading and writing, as anything else asks more
/// of the system before it begins.
fn copy(from: &mut File, size: u64, to: &mut File, chunk: &mut Vec<u8>) -> io::Result<()> {
    chunk.resize(CHUNK, 0);
    let mut left = usize::try_from(size).unwrap_or(usize::MAX);
    while left > 0 {
        match from.read(&mut chunk[..left.min(CHUNK)]) {
            // It has shrunk.
            Ok(0) => break,
            Ok(length) => {
                to.write_all(&chunk[..length])?;
                left -= length;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Makes the file, and the folders that it is in.
fn make(
    area: &OwnedFd,
    held: &mut Held<'_>,
    upload: &Upload,
    user: Option<u32>,
) -> io::Result<Made> {
    let enter = |parent: &OwnedFd, part: &str| enter(parent, part, user);
    let (folder, name) = held.folder.folder_of(area, &upload.path, enter)?;
    let blank = held.blanks.and_then(|(blanks, reuse)| {
        let is_executable = upload.executable;
        blanks.take(reuse, folder, name, is_executable, user)
    });
    if let Some(file) = blank {
        return Ok(Made {
            file: file.into(),
            is_blank: true,
        });
    }
    let mode = if upload.executable { 0o755 } else { 0o644 };
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let create = || rustix::fs::openat(folder, name, flags, Mode::from_raw_mode(mode));
    let file = match create() {
        Err(Errno::EXIST) => {
            rustix::fs::unlinkat(folder, name, AtFlags::empty())?;
            create()?
        }
        other => other?,
    };
    give(&file, user)?;
    if let Some((blanks, _)) = held.blanks {
        blanks.learn(&file, upload.executable, user);
    }
    Ok(Made {
        file: file.into(),
        is_blank: false,
    })
}

/// Gives what was made to the user that programs run as.
pub(super) fn give(made: &OwnedFd, user: Option<u32>) -> rustix::io::Result<()> {
    let Some(user) = user else {
        return Ok(());
    };
    let (owner, group) = (
        rustix::fs::Uid::from_raw(user),
        rustix::fs::Gid::from_raw(user),
    );
    rustix::fs::fchown(made, Some(owner), Some(group))
}

/// Opens a folder, after making it if need be.
fn enter(parent: &OwnedFd, name: &str, user: Option<u32>) -> rustix::io::Result<OwnedFd> {
    match open_folder(parent, name) {
        Err(Errno::NOENT) => {}
        Err(Errno::NOTDIR | Errno::LOOP) => {
            rustix::fs::unlinkat(parent, name, AtFlags::empty())?;
        }
        other => return other,
    }
    match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    let folder = open_folder(parent, name)?;
    give(&folder, user)?;
    Ok(folder)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::fs::CWD;

    use super::*;
    use crate::name::RelativePath;
    use crate::sandbox::Area;
    use crate::sandbox::local::place::opens::Opens;

    #[tokio::test]
    async fn a_folder_is_not_opened_again_for_each_of_its_files() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("a/b")).unwrap();
        let area = open_folder(CWD, root.path()).unwrap();
        let mut opens = Opens::of(&root.path().join("a"));
        let mut held = Held::default();
        for path in (0..50).map(|number| format!("a/b/{number}")) {
            let upload = Upload {
                area: Area::Work,
                path: RelativePath::parse(&path).unwrap(),
                content: Content::Bytes(path.as_bytes().into()),
                executable: false,
            };
            put(&area, &mut held, &upload, None).await.unwrap();
            assert!(std::fs::read(root.path().join(&path)).unwrap() == path.as_bytes());
        }
        // It, and the one in it.
        assert_eq!(opens.count(), 2);
    }
}
