//! What a program, with all that it has started and waited for, asks of the system: counted by the system.

use std::fs::File;
use std::io::Read as _;
use std::process::{Command, Stdio};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// What was counted, as in `/proc/<pid>/io`.
pub(crate) struct Calls(String);

impl Calls {
    /// One of the figures: `syscr:`, `syscw:`, `wchar:`.
    pub(crate) fn figure(&self, name: &str) -> f64 {
        let line = self.0.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().parse().unwrap()
    }
}

/// Runs a program to its end, which must be a good one.
pub(crate) fn of(command: &mut Command) -> Calls {
    let command = command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    // Of a process that has ended only root may open it, and whoever has it open read it.
    let mut counted = File::open(format!("/proc/{}/io", child.id())).unwrap();
    let pid = Pid::from_child(&child);
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(pid), options).unwrap();
    // It has ended, and what it has done is still there to be read.
    let mut text = String::new();
    counted.read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success());
    Calls(text)
}
