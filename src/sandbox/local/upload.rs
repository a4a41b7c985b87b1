//! Putting files into a sandbox.
//!
//! Promises: nothing is written through a link that a program has planted; what is in the way of a file
//! or of a folder that is needed is replaced, except a folder in the way of a file.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::blanks::Blanks;
use super::neighbour::Neighbour;
use super::place::open_folder;
use super::spares::Reuse;
use crate::sandbox::Upload;
pub(super) use reading::{Contents, Reading};

mod reading;

/// What is kept from one file of an area to the next: nothing is opened or asked for twice.
#[derive(Debug, Default)]
pub(super) struct Held<'s> {
    folder: Neighbour,
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
    contents: Contents<'_>,
    user: Option<u32>,
) -> io::Result<()> {
    let mut to = make(area, held, upload, user)?;
    match contents {
        Contents::Bytes(bytes) => {
            to.file.write_all(bytes)?;
            to.finish()
        }
        Contents::Large(mut from) => {
            let copied = tokio::task::spawn_blocking(move || {
                io::copy(&mut from, &mut to.file)?;
                to.finish()
            });
            copied.await.map_err(io::Error::other)?
        }
    }
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
    use crate::sandbox::local::place::opens::Opens;
    use crate::sandbox::{Area, Content};

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
                content: Content::Bytes([].into()),
                executable: false,
            };
            let contents = Contents::Bytes(path.as_bytes());
            put(&area, &mut held, &upload, contents, None)
                .await
                .unwrap();
            assert!(std::fs::read(root.path().join(&path)).unwrap() == path.as_bytes());
        }
        // It, and the one in it.
        assert_eq!(opens.count(), 2);
    }
}
