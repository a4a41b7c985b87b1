//! What a sandbox's processes use, looked at now and then.
//!
//! Promises: a look costs nothing that grows with the machine, only with the sandbox; a sandbox that is
//! large is looked at less often, so that looking stays a small part of the time. What is between two looks
//! is held by the kernel's limits for each process (see [`super::confine`]).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::fs::Permissions;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::process::Pid;

mod buffers;
mod connections;
mod facts;

use buffers::Descriptors;
use connections::Connections;
use facts::{holds_descriptors, is_mine, kibibytes, lines_of, shared_memory, status};

use super::place::open_folder;
use super::processes;
use super::protocol::Limits;
use super::room;
use crate::quantity::ByteCount;

/// The time between two looks.
pub(super) const EVERY: Duration = Duration::from_millis(200);
/// How many times longer than a look the time between two is at least, and how long at the most: who makes
/// looking slow is not to be left alone with that.
const SELDOM: u32 = 20;
const LATEST: Duration = Duration::from_secs(1);
/// The same for looking at files, of which there may be a million.
const LATEST_FILES: Duration = Duration::from_secs(15);
/// How often in a row the way through the files may be lost. Nothing that is of use moves its folders all
/// the time.
const LOST: u32 = 20;
/// How often in a row something may be where it cannot be summed up. What is sent is soon received, by
/// programs that are of use.
const HIDDEN: u32 = 8;
/// Looking at what is mapped is the slowest part, and seldom finds anything.
const MAPPED_EVERY: u32 = 5;
/// What the kernel needs for a part of what is mapped, a lock of a file, and a descriptor that epoll watches.
const MAPPING: u64 = 200;
const LOCK: u64 = 200;
const WATCH: u64 = 160;
/// What part of a user's watches one sandbox may use up.
const SHARE: u64 = 16;
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
    /// How many descriptors epoll may watch; most commands end before anybody has to know.
    watches: Option<u64>,
    next: Instant,
    /// When to look at the files next.
    next_files: Instant,
    /// How often in a row the way through the files was lost.
    lost: u32,
    /// How often in a row something was hidden.
    hidden: u32,
    looks: u32,
    /// The most memory seen.
    peak: u64,
    /// The machine's disk was full.
    no_room: bool,
}

/// What the processes have, at one moment.
#[derive(Debug, Default)]
struct Use {
    tasks: u64,
    anonymous: u64,
    shared: u64,
    /// What the kernel needs for them: page tables, and what waits in pipes and sockets.
    kernel: u64,
    /// In memory files that are mapped or not.
    in_files: u64,
    /// In files that have no name any more.
    unnamed: u64,
    /// Descriptors that epoll watches.
    watches: u64,
    connections: Connections,
    /// There are descriptors that cannot be looked at.
    hidden: bool,
    counted: BTreeSet<(u64, u64)>,
    /// Shared memory without a descriptor, and how far it is mapped.
    mapped: BTreeMap<(u64, u64), u64>,
}

impl Use {
    fn memory(&self) -> u64 {
        self.anonymous + self.kernel + self.shared.max(self.in_files)
    }
}

impl<'a> Meter<'a> {
    pub(super) fn new(limits: Limits, root: &'a Path) -> Self {
        Self {
            limits,
            root,
            watches: None,
            next: Instant::now() + EVERY,
            next_files: Instant::now() + EVERY,
            lost: 0,
            hidden: 0,
            looks: 0,
            peak: 0,
            no_room: false,
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

    /// Whether the file system that holds the sandbox was seen to be full.
    pub(super) fn saw_no_room(&self) -> bool {
        self.no_room
    }

    /// The processor time of a process that is about to be ended, and of its descendants, in milliseconds.
    /// The kernel forgets it when a namespace of processes ends with its first one.
    pub(super) fn processor_time(above: Pid) -> u64 {
        let mut pids = descendants(above);
        pids.push(above);
        pids.into_iter().filter_map(processes::processor_time).sum()
    }

    /// Looks at the descendants of a process. Returns which limit they passed, and how far.
    pub(super) fn look(&mut self, above: Pid) -> Option<String> {
        let began = Instant::now();
        let mut used = Use::default();
        self.no_room |= room::is_said_to_be_full(self.root);
        let passed = self.passed(above, &mut used);
        let ended = Instant::now();
        self.next = ended + pause(ended - began, LATEST);
        if passed.is_some() || ended < self.next_files {
            return passed;
        }
        let passed = self.passed_disk(used.unnamed);
        let cost = ended.elapsed();
        self.next_files = Instant::now() + pause(cost, LATEST_FILES);
        passed
    }

    fn passed(&mut self, above: Pid, used: &mut Use) -> Option<String> {
        let allowed = self.limits.processes;
        let pids = descendants_up_to(above, allowed.into());
        // So many that looking at each would give them time.
        if pids.len() as u64 > u64::from(allowed) {
            return Some(Limits::too_many(pids.len() as u64, allowed));
        }
        let memory = self.limits.memory;
        self.looks += 1;
        let closely = self.looks.is_multiple_of(MAPPED_EVERY);
        let pids: Vec<Pid> = pids.into_iter().map(|pid| used.add_status(pid)).collect();
        for pid in &pids {
            used.add_files(*pid, closely);
        }
        used.kernel += used.connections.unsent();
        if closely {
            for pid in &pids {
                used.add_mapped(*pid);
                // Enough is known.
                if used.memory() > memory {
                    break;
                }
            }
            used.in_files += used.mapped.values().sum::<u64>();
        }
        if used.tasks > allowed.into() {
            return Some(Limits::too_many(used.tasks, allowed));
        }
        let watches = *self.watches.get_or_insert_with(most_watches);
        if used.watches > watches {
            let (reached, allowed) = (used.watches, watches);
            return Some(format!(
                "ended at {reached} descriptors that epoll watches; {allowed} are allowed"
            ));
        }
        if used.memory() > memory {
            // What was forked and not written since counts once only: that is slow to learn.
            used.anonymous = 0;
            used.shared = 0;
            for pid in &pids {
                if !used.add_share(*pid) {
                    used.add_resident(*pid);
                }
            }
        }
        self.peak = self.peak.max(used.memory());
        if used.memory() > memory {
            return Some(Limits::over("memory", used.memory(), memory));
        }
        self.hidden = if used.hidden { self.hidden + 1 } else { 0 };
        let allowed = ByteCount(memory);
        (self.hidden > HIDDEN).then(|| {
            format!(
                "files were {HIDDEN} times where their memory cannot be summed up, on their way between \
                 processes or in a program that cannot be read; {allowed} are allowed"
            )
        })
    }

    fn passed_disk(&mut self, unnamed: u64) -> Option<String> {
        let disk = self.limits.disk;
        let walked = walk(self.root, disk.saturating_sub(unnamed));
        // Files that changed under the walk are met again by the next.
        self.lost = if walked.is_ok() { 0 } else { self.lost + 1 };
        let on_disk = walked.unwrap_or(0).saturating_add(unnamed);
        if on_disk > disk {
            return Some(Limits::over("disk", on_disk, disk));
        }
        let allowed = ByteCount(disk);
        (self.lost > LOST).then(|| {
            format!("its folders moved {LOST} times while what they hold on disk was summed up; {allowed} are allowed")
        })
    }
}

/// How long to leave a sandbox alone after a look.
fn pause(cost: Duration, latest: Duration) -> Duration {
    EVERY.max((cost * SELDOM).min(latest))
}

/// A part of what the user may have: others are to go on.
fn most_watches() -> u64 {
    const LEAST: u64 = 16 * 1024;
    let all = std::fs::read_to_string("/proc/sys/fs/epoll/max_user_watches").ok();
    let all = all.and_then(|text| text.trim().parse::<u64>().ok());
    all.map_or(u64::MAX, |all| (all / SHARE).max(LEAST))
}

/// All processes below one.
fn descendants(above: Pid) -> Vec<Pid> {
    descendants_up_to(above, u64::MAX)
}

/// The same, of which there is no need to know all when there are more than this.
fn descendants_up_to(above: Pid, most: u64) -> Vec<Pid> {
    let mut found = processes::children(above);
    let mut next = 0;
    while let Some(pid) = found.get(next)
        && found.len() as u64 <= most
    {
        let below = processes::children(*pid);
        found.extend(below);
        next += 1;
    }
    found
}

impl Use {
    // A process that has ended meanwhile has no files in `/proc`, and uses nothing.

    /// Returns under which number `/proc` tells the rest.
    fn add_status(&mut self, pid: Pid) -> Pid {
        let Some((pid, text)) = status(pid) else {
            return pid;
        };
        self.kernel += kibibytes(&text, &["VmPTE"]);
        self.tasks += self.add_resident_of(&text);
        pid
    }

    /// Adds the memory that a process has, which it may share.
    fn add_resident(&mut self, pid: Pid) {
        if let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/status")) {
            self.add_resident_of(&text);
        }
    }

    /// The same of what its `status` says. Returns how many threads it has.
    fn add_resident_of(&mut self, text: &str) -> u64 {
        self.anonymous += kibibytes(text, &["RssAnon", "VmSwap"]);
        self.shared += kibibytes(text, &["RssShmem"]);
        kibibytes(text, &["Threads"]) / 1024
    }

    /// Adds a process's share of the memory that it has. Returns whether that could be learned: a process
    /// whose program cannot be read shows it to root only.
    fn add_share(&mut self, pid: Pid) -> bool {
        let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else {
            return false;
        };
        self.anonymous += kibibytes(&text, &["Pss_Anon", "SwapPss"]);
        self.shared += kibibytes(&text, &["Pss_Shmem"]);
        true
    }

    /// Adds memory that is shared, and mapped, and that no descriptor leads to. Who holds it need not be
    /// who has written it, so that it may be in nobody's resident memory.
    fn add_mapped(&mut self, pid: Pid) {
        let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/maps")) else {
            return;
        };
        self.kernel += text.lines().count() as u64 * MAPPING;
        for (file, end) in text.lines().filter_map(shared_memory) {
            if !self.counted.contains(&file) {
                let known = self.mapped.entry(file).or_default();
                *known = end.max(*known);
            }
        }
    }

    /// Adds what is only to be found through open descriptors.
    ///
    /// With `closely`, also what the kernel needs for locks, which takes longer.
    fn add_files(&mut self, pid: Pid, closely: bool) {
        let files = match std::fs::read_dir(format!("/proc/{pid}/fd")) {
            Ok(files) => files,
            Err(error) => {
                self.hidden |= error.kind() == io::ErrorKind::PermissionDenied && is_mine(pid);
                return;
            }
        };
        let mut descriptors = None;
        for file in files.flatten() {
            let path = file.path();
            let Ok(stat) = rustix::fs::stat(&path) else {
                continue;
            };
            let kind = FileType::from_raw_mode(stat.st_mode);
            if matches!(kind, FileType::Socket | FileType::Fifo) {
                let name = file.file_name();
                self.hidden |= kind == FileType::Socket && holds_descriptors(pid, &name);
                if self.counted.insert(identity(&stat)) {
                    let descriptors = descriptors.get_or_insert_with(|| Descriptors::of(pid));
                    self.kernel += if kind == FileType::Socket {
                        descriptors.socket(&name, &mut self.connections)
                    } else {
                        descriptors.pipe(&name)
                    };
                }
                continue;
            }
            // What is no file at all may be what epoll makes.
            if kind == FileType::Unknown {
                let watches = lines_of(pid, &file.file_name(), "tfd:");
                self.watches += watches;
                self.kernel += watches * WATCH;
                continue;
            }
            if closely && kind == FileType::RegularFile {
                self.kernel += lines_of(pid, &file.file_name(), "lock:") * LOCK;
            }
            let nameless = stat.st_nlink == 0 && kind == FileType::RegularFile;
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
    // Files of several names are stored once.
    let mut linked = BTreeSet::new();
    let mut enter = |here: &OwnedFd, total: &mut u64| -> io::Result<Level> {
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
            let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            let again = !is_folder && stat.st_nlink > 1 && !linked.insert(identity(&stat));
            *total += if again { 0 } else { size(&stat) }.max(ENTRY);
            if is_folder {
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
            // What is gone, or is no folder any more, is passed by.
            let Ok(below) = open_closed(&here, &name) else {
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

/// Opens a folder; one that forbids it is made to allow it from then on: what it holds is stored all the
/// same. It is held meanwhile, so that nothing else can take its place, such as a link to a file of the
/// user's.
fn open_closed(parent: &OwnedFd, name: &CString) -> io::Result<OwnedFd> {
    match open_folder(parent, name.as_c_str()) {
        Err(Errno::ACCESS) => {}
        other => return Ok(other?),
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let held = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    let mode = rustix::fs::fstat(&held)?.st_mode & 0o7777;
    let path = format!("/proc/self/fd/{}", held.as_raw_fd());
    std::fs::set_permissions(path, Permissions::from_mode(mode | 0o500))?;
    Ok(open_folder(&held, c".")?)
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
    fn a_file_of_many_names_is_stored_once() {
        let base = tempfile::tempdir().unwrap();
        let file = base.path().join("a");
        std::fs::write(&file, vec![1; 1_000_000]).unwrap();
        for name in 0..10 {
            std::fs::hard_link(&file, base.path().join(name.to_string())).unwrap();
        }
        let total = walk(base.path(), u64::MAX).unwrap();
        assert!((1_000_000..2_000_000).contains(&total), "{total}");
    }

    #[test]
    fn a_folder_that_forbids_it_is_summed_up_all_the_same() {
        let base = tempfile::tempdir().unwrap();
        let closed = base.path().join("closed");
        std::fs::create_dir(&closed).unwrap();
        std::fs::write(closed.join("a"), vec![1; 500_000]).unwrap();
        std::fs::set_permissions(&closed, Permissions::from_mode(0o300)).unwrap();
        assert!(walk(base.path(), u64::MAX).unwrap() >= 500_000);
    }

    #[test]
    fn an_open_file_without_a_name_is_found() {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, &vec![1; 300_000]).unwrap();
        let mut used = Use::default();
        used.add_files(rustix::process::getpid(), true);
        assert!(used.unnamed >= 300_000, "{used:?}");
    }

    #[test]
    fn locks_and_watches_are_counted() {
        let me = rustix::process::getpid();
        let file = tempfile::tempfile().unwrap();
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockShared).unwrap();
        let name = |of: &dyn std::os::fd::AsRawFd| of.as_raw_fd().to_string();
        assert_eq!(lines_of(me, name(&file).as_ref(), "lock:"), 1);
        let epoll = rustix::event::epoll::create(rustix::event::epoll::CreateFlags::CLOEXEC);
        let epoll = epoll.unwrap();
        let (read, _write) = io::pipe().unwrap();
        let flags = rustix::event::epoll::EventFlags::IN;
        let data = rustix::event::epoll::EventData::new_u64(0);
        rustix::event::epoll::add(&epoll, &read, data, flags).unwrap();
        assert_eq!(lines_of(me, name(&epoll).as_ref(), "tfd:"), 1);
        let mut used = Use::default();
        used.add_files(me, true);
        assert!(used.watches >= 1, "{used:?}");
    }

    #[test]
    fn each_part_of_what_is_mapped_has_its_record() {
        let mut used = Use::default();
        used.add_mapped(rustix::process::getpid());
        assert!(used.kernel > 10 * MAPPING, "{used:?}");
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
