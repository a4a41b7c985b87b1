//! What a log is when nothing was printed: an empty file. Most are that, and what most file systems are slowest at is
//! making files.
//!
//! Promises: the empty logs of a run are one file with many names, where the file system has such; it is written to by nobody,
//! and whoever prints something gets a file of its own.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The empty file of a run: one of its names.
#[derive(Debug, Clone, Default)]
pub(super) struct Quiet(Arc<Mutex<Option<PathBuf>>>);

impl Quiet {
    /// Makes an empty log, where nothing is.
    pub(super) fn leave(&self, path: &Path) -> io::Result<()> {
        let mut name = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Refused where there are no such names, or no more of them.
        let linked = name.as_ref().map(|it| fs::hard_link(it, path));
        if linked.is_some_and(|it| it.is_ok()) {
            if fs::metadata(path)?.len() == 0 {
                return Ok(());
            }
            // Somebody else has written into it.
            fs::remove_file(path)?;
        }
        let mut only_read = File::create_new(path)?.metadata()?.permissions();
        // What somebody adds to one of them would be in all.
        only_read.set_readonly(true);
        fs::set_permissions(path, only_read)?;
        *name = Some(path.to_owned());
        Ok(())
    }

    /// Makes the file of a log into which there is something to be written, where nothing is.
    pub(super) fn own(&self, path: &Path) -> io::Result<File> {
        // What was left of an earlier attempt may have been the empty one: nobody may take this for it.
        let mut name = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if name.as_deref() == Some(path) {
            *name = None;
        }
        File::create_new(path)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn logs_are_one_empty_file_until_something_is_printed() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b, c, d] = ["a", "b", "c", "d"].map(|it| folder.path().join(it));
        let quiet = Quiet::default();
        quiet.leave(&a).unwrap();
        quiet.leave(&b).unwrap();
        let inode = |path: &Path| fs::metadata(path).unwrap().ino();
        assert_eq!(inode(&a), inode(&b));
        // Its first name is that of somebody's own file in a later attempt, in which there is nothing yet when the next log is left.
        fs::remove_file(&a).unwrap();
        let mut own = quiet.own(&a).unwrap();
        quiet.leave(&c).unwrap();
        own.write_all(b"said").unwrap();
        assert_eq!(fs::read(&b).unwrap(), b"");
        assert_eq!(fs::read(&c).unwrap(), b"");
        assert_eq!(fs::read(&a).unwrap(), b"said");
        let is_only_read = |path: &Path| fs::metadata(path).unwrap().permissions().readonly();
        assert!(is_only_read(&c) && !is_only_read(&a));
        fs::remove_file(&c).unwrap();
        fs::write(&c, "written by somebody else").unwrap();
        quiet.leave(&d).unwrap();
        assert_eq!(fs::read(&d).unwrap(), b"");
        fs::remove_file(&d).unwrap();
        quiet.leave(&d).unwrap();
        assert_eq!(fs::read(&d).unwrap(), b"");
    }
}
