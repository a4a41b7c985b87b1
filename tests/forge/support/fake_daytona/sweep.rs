//! Taking sandboxes down: a thread that kills what still belongs to them and deletes their directories.
//!
//! A process belongs to a sandbox when its environment, its working directory or one of its open files
//! names the sandbox's directory: that finds what left its process group and cleared its variables. Where
//! there is no `/proc`, only the process groups end.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::Commands;

/// The thread, as long as somebody holds this.
#[derive(Debug)]
pub(crate) struct Sweeper {
    queue: Option<Sender<PathBuf>>,
    thread: Option<JoinHandle<()>>,
}

impl Sweeper {
    /// Starts the thread for the sandboxes whose directories are directly below `root`. Where no
    /// commands are executed, no processes are looked for.
    pub(crate) fn start(root: PathBuf, commands: Commands) -> Self {
        let (queue, orders) = channel();
        let thread = std::thread::spawn(move || work(&root, commands, &orders));
        Self {
            queue: Some(queue),
            thread: Some(thread),
        }
    }

    /// Has a sandbox's directory taken down soon.
    pub(crate) fn take_down(&self, directory: PathBuf) {
        if let Some(queue) = &self.queue {
            drop(queue.send(directory));
        }
    }

    /// Waits until everything asked for is done.
    pub(crate) fn finish(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn work(root: &Path, commands: Commands, orders: &Receiver<PathBuf>) {
    while let Ok(first) = orders.recv() {
        // Looking through all processes is the costly part: one look serves all that wait.
        let mut batch: BTreeSet<PathBuf> = BTreeSet::from([first]);
        batch.extend(orders.try_iter());
        // What is in no directory any more may still run.
        let all = batch.clone();
        for round in 0..100 {
            let left = match commands {
                Commands::Executed => kill_processes_of(root, &all),
                Commands::Answered => 0,
            };
            batch.retain(|directory| fs::remove_dir_all(directory).is_err() && directory.exists());
            if left == 0 && (batch.is_empty() || round > 10) {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
}

/// Kills the processes that belong to sandboxes whose directories are among these. Says how many there were.
///
/// A fork of this process that is just becoming another program still has all that this one has open, of
/// whatever sandbox: it is counted, and spared until it is itself.
pub(crate) fn kill_processes_of(root: &Path, directories: &BTreeSet<PathBuf>) -> usize {
    let own = std::process::id();
    let program = |process: &Path| fs::read_link(process.join("exe")).ok();
    let this = program(Path::new("/proc/self"));
    let oldest = started(Path::new("/proc/self")).unwrap_or(0);
    let mut found = 0;
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let id: Option<u32> = entry.file_name().to_str().and_then(|id| id.parse().ok());
        let process = entry.path();
        // Before its files are looked at: afterwards it may have become itself.
        let is_itself = program(&process) != this;
        // What is older than this server cannot have been started by it.
        let is_ours = id.is_some_and(|id| id != own)
            && started(&process).is_some_and(|started| started >= oldest)
            && belongs(&process, root, directories);
        if !is_ours {
            continue;
        }
        found += 1;
        let pid = id.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(pid) = pid.filter(|_| is_itself) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    found
}

/// When a process started, in ticks since the machine did.
fn started(process: &Path) -> Option<u64> {
    let line = fs::read_to_string(process.join("stat")).ok()?;
    // The name may hold spaces and parentheses; what follows its last parenthesis is the third field.
    line.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(19)?
        .parse()
        .ok()
}

fn belongs(process: &Path, root: &Path, directories: &BTreeSet<PathBuf>) -> bool {
    let names = |text: &[u8]| mentions(text, root.as_os_str().as_bytes(), directories);
    let links =
        |path: PathBuf| fs::read_link(path).is_ok_and(|to| names(to.as_os_str().as_bytes()));
    fs::read(process.join("environ")).is_ok_and(|environ| names(&environ))
        || links(process.join("cwd"))
        || fs::read_dir(process.join("fd"))
            .is_ok_and(|files| files.flatten().any(|file| links(file.path())))
}

/// Whether a text names one of the directories, each of which is `root`, a slash and one more component.
fn mentions(text: &[u8], root: &[u8], directories: &BTreeSet<PathBuf>) -> bool {
    text.windows(root.len()).enumerate().any(|(at, window)| {
        window == root && {
            let rest = text.get(at + root.len() + 1..).unwrap_or_default();
            let name = rest
                .split(|byte| matches!(byte, b'/' | b'\0' | b':' | b' '))
                .next()
                .unwrap_or_default();
            let directory = Path::new(OsStr::from_bytes(root)).join(OsStr::from_bytes(name));
            directories.contains(&directory)
        }
    })
}
