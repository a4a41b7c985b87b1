//! What programs cost: time and memory.

use std::error::Error;
use std::fs;
use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// What running a program to its end took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    /// The most memory of the program itself, in bytes; `None` where there is no `/proc`.
    pub(crate) memory: Option<u64>,
}

/// Runs a program to its end.
pub(crate) fn measure(command: &mut Command) -> Result<Cost, Box<dyn Error>> {
    let began = Instant::now();
    let mut child = command.spawn()?;
    let pid = child.id();
    let (over, watched) = mpsc::channel::<()>();
    let (ended, wall, memory) = std::thread::scope(|scope| {
        let watch = scope.spawn(move || watch_memory(pid, &watched));
        let (ended, wall) = (child.wait(), began.elapsed());
        drop(over);
        (ended, wall, watch.join().ok().flatten())
    });
    let ended = ended?;
    if !ended.success() {
        return Err(format!("{command:?}: {ended}").into());
    }
    Ok(Cost { wall, memory })
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
