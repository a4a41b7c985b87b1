//! What programs cost: time, memory, and what they write.

use std::error::Error;
use std::fs;
use std::process::{Child, Command};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// What running a program to its end took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    /// The most memory of the program itself, in bytes; `None` where there is no `/proc`.
    pub(crate) memory: Option<u64>,
    /// The time of the processor that it took, with all that it has started and waited for; `None` where there is no
    /// `/proc`.
    pub(crate) cpu: Option<Duration>,
    /// The bytes that all of those have written to anything.
    pub(crate) written: Option<u64>,
}

/// Runs a program to its end.
pub(crate) fn measure(command: &mut Command) -> Result<Cost, Box<dyn Error>> {
    let began = Instant::now();
    let mut child = command.spawn()?;
    let pid = child.id();
    let (over, watched) = mpsc::channel::<()>();
    let (wall, memory) = std::thread::scope(|scope| {
        let watch = scope.spawn(move || watch_memory(pid, &watched));
        let ended = ended(&child);
        let wall = began.elapsed();
        drop(over);
        ended.map(|()| (wall, watch.join().ok().flatten()))
    })?;
    // It has ended, and what it took can be read until somebody has waited for it.
    let (cpu, written) = (processor(pid), written(pid));
    let ended = child.wait()?;
    if !ended.success() {
        return Err(format!("{command:?}: {ended}").into());
    }
    Ok(Cost {
        wall,
        memory,
        cpu,
        written,
    })
}

/// Waits until a program has ended, and leaves it to be waited for.
fn ended(child: &Child) -> Result<(), Errno> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(Pid::from_child(child)), options).map(drop)
}

/// The time of a process that has ended, and of all that it has waited for.
fn processor(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // After the name, which may have anything in it: the 14th to the 17th figure are the times.
    let figures = stat.rsplit_once(')')?.1.split_whitespace().skip(11).take(4);
    let ticks: u64 = figures.map(|it| it.parse().unwrap_or(0)).sum();
    // Linux counts them in hundredths of a second for programs, whatever it does itself.
    Some(Duration::from_millis(ticks * 10))
}

/// What such a process, and all that it has waited for, have written.
fn written(pid: u32) -> Option<u64> {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    let line = io.lines().find_map(|it| it.strip_prefix("wchar:"))?;
    line.trim().parse().ok()
}

/// The most memory that a process had so far, looked up until it is over. Its last few milliseconds may be
/// missed, in which it only cleans up.
fn watch_memory(pid: u32, over: &mpsc::Receiver<()>) -> Option<u64> {
    let mut most = None;
    loop {
        most = peak_memory(pid).max(most);
        match over.recv_timeout(Duration::from_millis(5)) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return most,
        }
    }
}

fn peak_memory(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}
