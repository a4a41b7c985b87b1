//! Whether the file system that holds the sandboxes has room left. A program that fails for want of it has
//! not failed by itself.

use std::io::{self, Write as _};
use std::path::Path;

use rustix::io::Errno;

/// What a file system has at least that is not full, in bytes.
const LEAST: usize = 256 * 1024;

/// Whether the file system that a folder is on says that it has no room for users.
pub(super) fn is_said_to_be_full(folder: &Path) -> bool {
    rustix::fs::statvfs(folder).is_ok_and(|it| {
        let room = it.f_bavail.saturating_mul(it.f_frsize);
        // Some count no files.
        room < LEAST as u64 || (it.f_files > 0 && it.f_favail == 0)
    })
}

/// Whether there is no room in a folder: as it is said, or by a quota that only who writes hears of. Blocks.
pub(super) fn is_full(folder: &Path) -> bool {
    is_said_to_be_full(folder) || write(folder).is_err_and(|error| is_for_want_of_room(&error))
}

fn write(folder: &Path) -> io::Result<()> {
    let path = folder.join(".room");
    let mut file = std::fs::File::create_new(&path)?;
    let written = file.write_all(&vec![1; LEAST]);
    std::fs::remove_file(&path)?;
    written
}

/// Whether something failed because a disk is full, or what a user may have of it.
pub(super) fn is_for_want_of_room(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOSPC | Errno::DQUOT)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_room_is_not_full_and_stays_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_full(folder.path()));
        assert!(!is_full(&folder.path().join("nothing")));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_device_is_told_from_other_errors() {
        let full = std::fs::File::options().write(true).open("/dev/full");
        let error = full.unwrap().write(b"x").unwrap_err();
        assert!(is_for_want_of_room(&error));
        assert!(!is_for_want_of_room(&io::ErrorKind::NotFound.into()));
    }
}
