//! What was written in a sandbox under other names than the artifact's, to be named where there is none.
//!
//! Promises: few are named, and few looked at; no link is followed.

use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Dir, FileType};

use crate::sandbox::local::place::open_folder;
use crate::sandbox::patterns::shown;

/// How many files of other names are named and how many entries are looked at.
const MAX_WRITTEN: usize = 32;
const MAX_LOOKED_AT: usize = 2_000;
/// By how much a file's time may lag behind the clock.
const CLOCK_LAG: Duration = Duration::from_millis(10);

/// Names the files of a folder, and of the folders in it, that were written since then, sorted.
pub(super) fn since_then(folder: &OwnedFd, since: SystemTime) -> Vec<String> {
    let since = since.checked_sub(CLOCK_LAG).unwrap_or(since);
    let (mut left, mut written) = (MAX_LOOKED_AT, Vec::new());
    find(folder, "", since, &mut left, &mut written);
    written.sort();
    written
}

fn find(
    folder: &OwnedFd,
    above: &str,
    since: SystemTime,
    left: &mut usize,
    written: &mut Vec<String>,
) {
    // What cannot be looked into is not worth a word: it is about a file that is not there.
    for entry in Dir::read_from(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        // Caches, and what belongs to tools.
        if name.to_bytes().starts_with(b".")
            || matches!(name.to_bytes(), b"__pycache__" | b"node_modules")
        {
            continue;
        }
        if *left == 0 || written.len() == MAX_WRITTEN {
            return;
        }
        *left -= 1;
        let Ok(stat) = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) else {
            continue;
        };
        let text = shown(&name.to_string_lossy());
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile if modified(&stat) >= since => {
                written.push(format!("{above}{text}"));
            }
            FileType::Directory if above.is_empty() => {
                if let Ok(inner) = open_folder(folder, name) {
                    find(&inner, &format!("{text}/"), since, left, written);
                }
            }
            FileType::RegularFile
            | FileType::Directory
            | FileType::Symlink
            | FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => {}
        }
    }
}

/// When a file was last written.
fn modified(stat: &rustix::fs::Stat) -> SystemTime {
    let seconds = u64::try_from(stat.st_mtime).unwrap_or_default();
    let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or_default();
    let since_then = Duration::new(seconds, nanoseconds.min(999_999_999));
    SystemTime::UNIX_EPOCH
        .checked_add(since_then)
        .unwrap_or(SystemTime::UNIX_EPOCH)
}
