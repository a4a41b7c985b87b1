//! Folders for the files of former candidates.
//!
//! Promises: a folder is gone when its owner is dropped; where this process was killed, the next forge that runs here
//! removes it, together with what dead runs left, and never while its owner lives.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags};

/// A folder that nobody else looks into, until this is dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    /// What tells others that this process is alive.
    _held: OwnedFd,
}

impl Scratch {
    /// Makes an empty folder below `base`, where local sandboxes are as well.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(base: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(base)?;
        // Until it is held, it has a name that nobody sweeps.
        let made = tempfile::Builder::new()
            .prefix(".forge-")
            .tempdir_in(base)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let held = rustix::fs::openat(CWD, made.path(), flags, Mode::empty())?;
        rustix::fs::flock(&held, FlockOperation::NonBlockingLockExclusive)?;
        let user = rustix::process::geteuid().as_raw();
        let serial = uuid::Uuid::now_v7().simple().to_string();
        let base = std::fs::canonicalize(base)?;
        let path = base.join(format!("forge-{user}-former-{serial}"));
        std::fs::rename(made.path(), &path)?;
        drop(made.keep());
        Ok(Self { path, _held: held })
    }

    /// Where it is, by its real path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove a folder of former candidates");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sandbox::local::LocalProvider;

    #[test]
    fn a_folder_goes_with_its_owner_and_is_swept_only_without_one() {
        let base = tempfile::tempdir().unwrap();
        let count = || std::fs::read_dir(base.path()).unwrap().count();
        let scratch = Scratch::new(&base.path().join(".")).unwrap();
        std::fs::write(scratch.path().join("file"), "x").unwrap();
        let swept = LocalProvider::sweep_dead(base.path(), Duration::ZERO).unwrap();
        assert_eq!((swept, count()), (0, 1));
        let name = scratch.path().file_name().unwrap().to_owned();
        drop(scratch);
        assert_eq!(count(), 0);
        std::fs::create_dir(base.path().join(name)).unwrap();
        let swept = LocalProvider::sweep_dead(base.path(), Duration::ZERO).unwrap();
        assert_eq!((swept, count()), (1, 0));
    }
}
