//! Process trees: who is in them, how they are ended.
//!
//! Promises: a process is only ever signalled while its id cannot have passed to another one, because it
//! is an unreaped child, leads the group of one, or is held by a descriptor.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

#[cfg(target_os = "linux")]
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitIdOptions, WaitOptions, WaitStatus};

/// How often children that cannot be ended are looked at again, and how long between.
const PATIENCE: (u32, Duration) = (100, Duration::from_millis(10));

/// Makes every orphan among the descendants of this process its child.
pub(super) fn adopt_orphans() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(())
}

/// A descriptor that becomes readable when a child of this process has ended.
pub(super) fn exit_watch(child: Pid) -> io::Result<OwnedFd> {
    #[cfg(target_os = "linux")]
    if let Ok(pidfd) = rustix::process::pidfd_open(child, rustix::process::PidfdFlags::empty()) {
        return Ok(pidfd);
    }
    let (watch, held) = std::os::unix::net::UnixStream::pair()?;
    std::thread::Builder::new().spawn(move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(Errno::INTR) =
            rustix::process::waitid(rustix::process::WaitId::Pid(child), options)
        {}
        drop(held);
    })?;
    Ok(watch.into())
}

/// A descriptor for a process that may be gone, readable once it is. `None` where there is none to be had.
#[cfg(target_os = "linux")]
pub(super) fn hold(process: Pid) -> Option<OwnedFd> {
    rustix::process::pidfd_open(process, rustix::process::PidfdFlags::empty()).ok()
}

/// A descriptor for a process: not to be had here.
#[cfg(not(target_os = "linux"))]
pub(super) fn hold(_process: Pid) -> Option<OwnedFd> {
    None
}

/// Ends the children of this process but for some, and what those leave to it, until there are none. For a
/// process whose children vanish by themselves when they have ended. Blocks.
#[cfg(target_os = "linux")]
pub(super) fn end_children_but(spared: &[Pid]) {
    let me = rustix::process::getpid();
    let others = || children(me).into_iter().filter(|pid| !spared.contains(pid));
    for _ in 0..PATIENCE.0 {
        let held: Vec<(Pid, OwnedFd)> =
            others().filter_map(|pid| Some((pid, hold(pid)?))).collect();
        if held.is_empty() {
            return;
        }
        // What is still a child is what was held.
        let there: Vec<Pid> = others().collect();
        for (pid, process) in &held {
            if there.contains(pid) {
                rustix::process::pidfd_send_signal(process, Signal::KILL).ok();
            }
        }
        let ended = held.last().map(|(_, process)| process);
        if let Some(ended) = ended {
            let mut ended = [PollFd::new(ended, PollFlags::IN)];
            let moment = Timespec {
                tv_sec: 0,
                tv_nsec: PATIENCE.1.subsec_nanos().into(),
            };
            rustix::event::poll(&mut ended, Some(&moment)).ok();
        }
    }
}

/// Without adoption there are none.
#[cfg(not(target_os = "linux"))]
pub(super) fn end_children_but(_spared: &[Pid]) {}

/// A process of somebody else's, which can be ended.
#[derive(Debug)]
pub(super) struct Held {
    #[cfg(target_os = "linux")]
    process: Option<OwnedFd>,
    #[cfg(not(target_os = "linux"))]
    process: Pid,
}

impl Held {
    /// Takes hold of a process that is known to live.
    pub(super) fn take(process: Pid) -> Self {
        #[cfg(target_os = "linux")]
        let process =
            rustix::process::pidfd_open(process, rustix::process::PidfdFlags::empty()).ok();
        Self { process }
    }

    /// Lets it go on where somebody has stopped it.
    pub(super) fn wake(&self) {
        #[cfg(target_os = "linux")]
        if let Some(process) = &self.process {
            rustix::process::pidfd_send_signal(process, Signal::CONT).ok();
        }
        #[cfg(not(target_os = "linux"))]
        rustix::process::kill_process(self.process, Signal::CONT).ok();
    }

    /// Ends it. One that is gone stays so.
    pub(super) fn kill(self) {
        #[cfg(target_os = "linux")]
        if let Some(process) = self.process {
            rustix::process::pidfd_send_signal(&process, Signal::KILL).ok();
        }
        #[cfg(not(target_os = "linux"))]
        rustix::process::kill_process(self.process, Signal::KILL).ok();
    }
}

/// Ends a child of this process that leads a process group, that group, and all that was adopted; waits
/// until they are gone. Returns how the child ended. Blocks.
pub(super) fn end_descendants(leader: Pid) -> Option<WaitStatus> {
    let mut end = None;
    let mut unmoved = 0;
    // Blocking is safe only after a signal that cannot be refused.
    let mut options = match rustix::process::kill_process_group(leader, Signal::KILL) {
        Ok(()) => WaitOptions::empty(),
        Err(_) => WaitOptions::NOHANG,
    };
    loop {
        match rustix::process::wait(options) {
            Ok(Some((pid, status))) => {
                if pid == leader {
                    end = Some(status);
                }
                options = WaitOptions::NOHANG;
            }
            // All that was killed so far is reaped, and something is left.
            Ok(None) if unmoved < PATIENCE.0 => {
                if end_children() {
                    options = WaitOptions::empty();
                } else {
                    unmoved += 1;
                    pause();
                }
            }
            Err(Errno::INTR) => {}
            // Nothing left, or only what belongs to another user (`sudo`).
            Ok(None) | Err(_) => return end,
        }
    }
}

/// How a process ended: its exit code, or the negative number of the signal.
pub(super) fn code_of(status: WaitStatus) -> Option<i32> {
    let signal = status.terminating_signal().map(|signal| -signal);
    status.exit_status().or(signal)
}

/// Takes leave of the children that have ended, but for one whose end somebody waits for.
#[cfg(target_os = "linux")]
pub(super) fn reap_all_but(awaited: Pid) {
    for child in children(rustix::process::getpid()) {
        if child != awaited {
            // Most of them live.
            rustix::process::waitpid(Some(child), WaitOptions::NOHANG).ok();
        }
    }
}

/// Makes a process, and what it will start, the first to go when memory runs out. Who does that with root's
/// powers takes from them the right to say otherwise.
#[cfg(target_os = "linux")]
pub(super) fn doom(process: impl std::fmt::Display) {
    // Some systems do not let it be said.
    std::fs::write(format!("/proc/{process}/oom_score_adj"), "1000").ok();
}

/// A keeper's one thread may sleep: there is nothing else for it to do.
#[expect(clippy::disallowed_methods, reason = "not a thread of a runtime")]
fn pause() {
    std::thread::sleep(PATIENCE.1);
}

/// Signals the children that this process has now, with the groups they lead. Returns whether there was one.
#[cfg(target_os = "linux")]
fn end_children() -> bool {
    let mut any = false;
    for pid in children(rustix::process::getpid()) {
        any |= rustix::process::kill_process(pid, Signal::KILL).is_ok();
        // Most lead none.
        rustix::process::kill_process_group(pid, Signal::KILL).ok();
    }
    any
}

/// Signals the children that this process has now. Without adoption there are none but the first.
#[cfg(not(target_os = "linux"))]
fn end_children() -> bool {
    false
}

/// The children of a process. One that is gone has none.
#[cfg(target_os = "linux")]
pub(super) fn children(of: Pid) -> Vec<Pid> {
    listed_children(of).unwrap_or_else(|_| {
        // A kernel without `CONFIG_PROC_CHILDREN`.
        processes().filter(|pid| parent(*pid) == Some(of)).collect()
    })
}

#[cfg(target_os = "linux")]
fn listed_children(of: Pid) -> io::Result<Vec<Pid>> {
    let mut found = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{of}/task"))? {
        let text = std::fs::read_to_string(task?.path().join("children"))?;
        found.extend(text.split_ascii_whitespace().filter_map(parse_pid));
    }
    Ok(found)
}

#[cfg(target_os = "linux")]
fn processes() -> impl Iterator<Item = Pid> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| parse_pid(entry.file_name().to_str()?))
}

/// How many processes and threads this user has. 0 where that cannot be told.
#[cfg(target_os = "linux")]
pub(super) fn count_mine() -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let me = rustix::process::getuid().as_raw();
    let folders = processes().filter_map(|pid| {
        let tasks = std::fs::metadata(format!("/proc/{pid}/task")).ok()?;
        (tasks.uid() == me).then(|| tasks.nlink().saturating_sub(2))
    });
    folders.sum()
}

/// How many processes this user has: not to be told here.
#[cfg(not(target_os = "linux"))]
pub(super) fn count_mine() -> u64 {
    0
}

/// The processor time of a process and of its children whose end it has waited for, in milliseconds.
#[cfg(target_os = "linux")]
pub(super) fn processor_time(pid: Pid) -> Option<u64> {
    /// The unit of these numbers is 10 ms wherever Linux runs today.
    const TICK: u64 = 10;
    let stat = stat(pid)?;
    let times = stat.split_ascii_whitespace().skip(11).take(4);
    let ticks: u64 = times.filter_map(|time| time.parse::<u64>().ok()).sum();
    Some(ticks * TICK)
}

#[cfg(target_os = "linux")]
fn parse_pid(text: &str) -> Option<Pid> {
    Pid::from_raw(text.parse().ok()?)
}

#[cfg(target_os = "linux")]
fn parent(pid: Pid) -> Option<Pid> {
    parse_pid(stat(pid)?.split_ascii_whitespace().nth(1)?)
}

/// What the kernel says of a process, from its state on.
#[cfg(target_os = "linux")]
fn stat(pid: Pid) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may itself hold any character.
    let (_, rest) = stat.rsplit_once(')')?;
    Some(rest.to_owned())
}

/// What shows that a process is a sandbox's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// It was started with a `TMPDIR` there.
    Environment,
    /// That, or it works there, or runs what lies there, which a user who looks into a sandbox that was kept
    /// may do too.
    Place,
}

/// Ends every process that is marked as of this folder. For what lost its keeper, or never had one: a
/// process that changed its own environment block may escape. Blocks.
///
/// Where processes cannot be looked at this way, nothing happens.
#[cfg(target_os = "linux")]
#[expect(clippy::disallowed_methods, reason = "callers know that it blocks")]
pub(super) fn end_marked(folder: &Path, mark: Mark) {
    let mut unclear = 0;
    for _ in 0..PATIENCE.0 {
        let all = processes().map(|pid| end_if_marked(pid, folder, mark));
        let marks: Vec<Seen> = all.collect();
        if marks.contains(&Seen::Ended) {
            continue;
        }
        // Most of these stay unclear for ever.
        if !marks.contains(&Seen::Unclear) || unclear == 3 {
            return;
        }
        unclear += 1;
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Ends nothing: processes cannot be looked at here.
#[cfg(not(target_os = "linux"))]
pub(super) fn end_marked(_folder: &Path, _mark: Mark) {}

#[cfg(target_os = "linux")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// It was marked, and is no more.
    Ended,
    /// It is somebody else's.
    Other,
    /// It shows no environment: it has none, or is just becoming another program.
    Unclear,
}

#[cfg(target_os = "linux")]
fn end_if_marked(pid: Pid, folder: &Path, mark: Mark) -> Seen {
    use std::os::unix::ffi::OsStrExt as _;
    if pid == rustix::process::getpid() {
        return Seen::Other;
    }
    let Ok(held) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) else {
        return Seen::Other;
    };
    let Ok(environ) = std::fs::read(format!("/proc/{pid}/environ")) else {
        return Seen::Other;
    };
    // Who has another environment may still work there, or run what lies there.
    let is_there = |link: &str| {
        std::fs::read_link(format!("/proc/{pid}/{link}")).is_ok_and(|at| at.starts_with(folder))
    };
    if mark == Mark::Place && (is_there("cwd") || is_there("exe")) {
        let ended = rustix::process::pidfd_send_signal(&held, Signal::KILL).is_ok();
        return if ended { Seen::Ended } else { Seen::Other };
    }
    if environ.is_empty() {
        // Threads of the kernel and zombies have no file.
        let has_file = std::fs::read_link(format!("/proc/{pid}/exe")).is_ok();
        return if has_file { Seen::Unclear } else { Seen::Other };
    }
    let marked = environ.split(|byte| *byte == 0).any(|variable| {
        variable
            .strip_prefix(b"TMPDIR=")
            .is_some_and(|value| Path::new(std::ffi::OsStr::from_bytes(value)).starts_with(folder))
    });
    if marked && rustix::process::pidfd_send_signal(&held, Signal::KILL).is_ok() {
        Seen::Ended
    } else {
        Seen::Other
    }
}
