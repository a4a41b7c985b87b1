//! What a sandbox's processes use, looked at now and then.
//!
//! Promises: a look costs nothing that grows with the machine, only with the sandbox; a sandbox that is
//! large is looked at less often, so that looking stays a small part of the time. What is between two looks
//! is held by the kernel's limits for each process (see [`super::confine`]).

use std::collections::BTreeSet;
use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::process::Pid;

use super::place::open_folder;
use super::processes;
use super::protocol::Limits;
use crate::quantity::ByteCount;

/// The time between two looks.
pub(super) const EVERY: Duration = Duration::from_millis(200);
/// How many times longer than a look the time between two is at least.
const SELDOM: u32 = 20;
/// What an entry of a folder costs at least: empty files are many files.
const ENTRY: u64 = 1024;
/// A block of `st_blocks`.
const BLOCK: u64 = 512;

/// Looks at one sandbox.
#[derive(Debug)]
pub(super) struct Meter<'a> {
    limits: Limits,
    /// The sandbox's folder.
    root: &'a Path,
    next: Instant,
    /// The most memory seen.
    peak: u64,
}

/// What the processes have, at one moment.
#[derive(Debug, Default)]
struct Use {
    tasks: u64,
    anonymous: u64,
    shared: u64,
    /// In memory files that are mapped or not.
    in_files: u64,
    /// In files that have no name any more.
    unnamed: u64,
    counted: BTreeSet<(u64, u64)>,
}

impl Use {
    fn memory(&self) -> u64 {
        self.anonymous + self.shared.max(self.in_files)
    }
}

impl<'a> Meter<'a> {
    pub(super) fn new(limits: Limits, root: &'a Path) -> Self {
        Self {
            limits,
            root,
            next: Instant::now() + EVERY,
            peak: 0,
        }
    }

    /// When to look next.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// The most memory that was seen of all processes together, in bytes.
    pub(super) fn peak(&self) -> u64 {
        self.peak
    }

    /// Looks at the descendants of a process. Returns which limit they passed, and how far.
    pub(super) fn look(&mut self, above: Pid) -> Option<String> {
        let began = Instant::now();
        let passed = self.passed(above);
        let cost = began.elapsed();
        self.next = Instant::now() + EVERY.max(cost * SELDOM);
        passed
    }

    fn passed(&mut self, above: Pid) -> Option<String> {
        let pids = descendants(above);
        let mut used = Use::default();
        for pid in &pids {
            used.add_status(*pid);
            used.add_files(*pid);
        }
        let Limits {
            memory,
            disk,
            processes,
        } = self.limits;
        if used.tasks > processes.into() {
            let tasks = used.tasks;
            return Some(format!(
                "ended at {tasks} processes and threads; {processes} are allowed"
            ));
        }
        if used.memory() > memory {
            // What was forked and not written since counts once only: that is slow to learn.
            used.anonymous = 0;
            used.shared = 0;
            for pid in &pids {
                used.add_share(*pid);
            }
        }
        self.peak = self.peak.max(used.memory());
        if used.memory() > memory {
            return Some(over("memory", used.memory(), memory));
        }
        let on_disk = walk(self.root, disk.saturating_sub(used.unnamed));
        // Files that changed under the walk are met again by the next.
        let on_disk = on_disk.unwrap_or(0).saturating_add(used.unnamed);
        (on_disk > disk).then(|| over("disk", on_disk, disk))
    }
}

fn over(what: &str, reached: u64, allowed: u64) -> String {
    format!(
        "ended at {} of {what}; {} are allowed",
        ByteCount(reached),
        ByteCount(allowed)
    )
}

/// All processes below one.
fn descendants(above: Pid) -> Vec<Pid> {
    let mut found = processes::children(above);
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        let below = processes::children(*pid);
        found.extend(below);
        next += 1;
    }
    found
}

/// The sum of the lines of a file of `/proc` that start with one of these words, in bytes.
fn kibibytes(text: &str, names: &[&str]) -> u64 {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let values = lines
        .filter(|(name, _)| names.contains(name))
        .filter_map(|(_, value)| value.split_ascii_whitespace().next()?.parse::<u64>().ok());
    values.sum::<u64>().saturating_mul(1024)
}

impl Use {
    // A process that has ended meanwhile has no files in `/proc`, and uses nothing.

    fn add_status(&mut self, pid: Pid) {
        let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/status")) else {
            return;
        };
        self.tasks += kibibytes(&text, &["Threads"]) / 1024;
        self.anonymous += kibibytes(&text, &["RssAnon", "VmSwap"]);
        self.shared += kibibytes(&text, &["RssShmem"]);
    }

    fn add_share(&mut self, pid: Pid) {
        let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else {
            return;
        };
        self.anonymous += kibibytes(&text, &["Pss_Anon", "SwapPss"]);
        self.shared += kibibytes(&text, &["Pss_Shmem"]);
    }

    /// Adds what is only to be found through open descriptors.
    fn add_files(&mut self, pid: Pid) {
        let Ok(files) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
            return;
        };
        for file in files.flatten() {
            let path = file.path();
            let Ok(stat) = rustix::fs::stat(&path) else {
                continue;
            };
            let nameless = stat.st_nlink == 0
                && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
            if !nameless || !self.counted.insert(identity(&stat)) {
                continue;
            }
            let in_memory = std::fs::read_link(&path).is_ok_and(|target| {
                target
                    .as_os_str()
                    .as_encoded_bytes()
                    .starts_with(b"/memfd:")
            });
            if in_memory {
                self.in_files += size(&stat);
            } else {
                self.unnamed += size(&stat);
            }
        }
    }
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks)
        .unwrap_or(0)
        .saturating_mul(BLOCK)
}

/// What a tree holds, in bytes; no more is looked at once that is over the limit. Needs two descriptors,
/// however deep the tree. An error when the tree was changed so that the way back is lost.
fn walk(root: &Path, limit: u64) -> io::Result<u64> {
    /// A folder on the way down.
    struct Level {
        identity: (u64, u64),
        /// The folders in it that are still to be looked at.
        left: Vec<CString>,
    }

    let mut total = 0;
    let mut here: OwnedFd = open_folder(CWD, root)?;
    let mut levels = Vec::new();
    let enter = |here: &OwnedFd, total: &mut u64| -> io::Result<Level> {
        let mut left = Vec::new();
        for entry in Dir::read_from(here)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let Ok(stat) = rustix::fs::statat(here, name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            *total += size(&stat).max(ENTRY);
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                left.push(name.to_owned());
            }
            if *total > limit {
                break;
            }
        }
        let identity = identity(&rustix::fs::fstat(here)?);
        Ok(Level { identity, left })
    };
    levels.push(enter(&here, &mut total)?);
    while let Some(level) = levels.last_mut() {
        if total > limit {
            break;
        }
        if let Some(name) = level.left.pop() {
            // What forbids being opened, or is gone, is passed by.
            let Ok(below) = open_folder(&here, name.as_c_str()) else {
                continue;
            };
            let Ok(level) = enter(&below, &mut total) else {
                continue;
            };
            here = below;
            levels.push(level);
        } else {
            levels.pop();
            if let Some(above) = levels.last() {
                here = rustix::fs::openat(
                    &here,
                    "..",
                    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
                    Mode::empty(),
                )?;
                if identity(&rustix::fs::fstat(&here)?) != above.identity {
                    return Err(io::Error::other("the tree has changed"));
                }
            }
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_summed_up_however_deep_and_only_to_the_limit() {
        let base = tempfile::tempdir().unwrap();
        std::fs::write(base.path().join("a"), vec![1; 100_000]).unwrap();
        let mut folder = open_folder(CWD, base.path()).unwrap();
        for _ in 0..3_000 {
            rustix::fs::mkdirat(&folder, "d", Mode::RWXU).unwrap();
            folder = open_folder(&folder, "d").unwrap();
        }
        let file = rustix::fs::openat(&folder, "deep", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR);
        let mut file = std::fs::File::from(file.unwrap());
        io::Write::write_all(&mut file, &vec![1; 1_000_000]).unwrap();
        let total = walk(base.path(), u64::MAX).unwrap();
        assert!(total >= 1_100_000 + 3_000 * ENTRY, "{total}");
        let cut = walk(base.path(), 200_000).unwrap();
        assert!(cut > 200_000 && cut < total, "{cut}");
        super::super::remove::tree(base.path()).unwrap();
    }

    #[test]
    fn an_open_file_without_a_name_is_found() {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, &vec![1; 300_000]).unwrap();
        let mut used = Use::default();
        used.add_files(rustix::process::getpid());
        assert!(used.unnamed >= 300_000, "{used:?}");
    }

    #[test]
    fn a_process_has_threads_and_memory() {
        let mut used = Use::default();
        used.add_status(rustix::process::getpid());
        assert!(used.tasks >= 1 && used.anonymous > 0, "{used:?}");
        let mut share = Use::default();
        share.add_share(rustix::process::getpid());
        assert!(share.anonymous > 0, "{share:?}");
    }
}
