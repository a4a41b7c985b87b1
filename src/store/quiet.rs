//! What a log is until something is printed: an empty file. Most stay that, and what most file systems are slowest at is
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
    /// Begins a log, where nothing is.
    pub(super) fn begin(&self, path: &Path) -> io::Result<()> {
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

    /// The file of a log that was begun, when there is something to be written.
    pub(super) fn own(&self, path: &Path) -> io::Result<File> {
        // Nobody may take the new file for the empty one.
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take_if(|name| name == path);
        fs::remove_file(path)?;
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
        quiet.begin(&a).unwrap();
        quiet.begin(&b).unwrap();
        let inode = |path: &Path| fs::metadata(path).unwrap().ino();
        assert_eq!(inode(&a), inode(&b));
        // Its first name is somebody's own file, in which there is nothing yet when the next log begins.
        let mut own = quiet.own(&a).unwrap();
        quiet.begin(&c).unwrap();
        own.write_all(b"said").unwrap();
        assert_eq!(fs::read(&b).unwrap(), b"");
        assert_eq!(fs::read(&c).unwrap(), b"");
        assert_eq!(fs::read(&a).unwrap(), b"said");
        let is_only_read = |path: &Path| fs::metadata(path).unwrap().permissions().readonly();
        assert!(is_only_read(&c) && !is_only_read(&a));
        fs::remove_file(&c).unwrap();
        fs::write(&c, "written by somebody else").unwrap();
        quiet.begin(&d).unwrap();
        assert_eq!(fs::read(&d).unwrap(), b"");
        fs::remove_file(&d).unwrap();
        quiet.begin(&d).unwrap();
        assert_eq!(fs::read(&d).unwrap(), b"");
    }
}
