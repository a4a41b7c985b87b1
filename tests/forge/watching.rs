//! The watch: however forge is killed, its sandboxes are gone soon after, by the server's own inventory, and the
//! ledger says so.

mod boxes;
pub(crate) mod kills;
mod process;
mod table;

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use forge::sandbox::ledger::open_sandboxes;
use rustix::pty::{OpenptFlags, openpt};

use crate::cloud::Cloud;
use crate::support::workspace::{Workspace, finish, pause};

/// How long after forge's end anything may be alive, on a machine that does much besides; the table of kills
/// has what is promised.
const GONE: Duration = Duration::from_secs(30);
/// How long a create that was never answered may keep the ledger open, and the watch busy.
const CLOSED: Duration = Duration::from_secs(60);

/// The watch of a forge that runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watch {
    pid: u32,
    forge: u32,
}

impl Watch {
    /// Waits until there is one.
    #[track_caller]
    pub(crate) fn of(forge: &Child) -> Self {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(pid) = watch_of(forge.id()) {
                let forge = forge.id();
                return Self { pid, forge };
            }
            assert!(Instant::now() < until, "no watch was started");
            pause();
        }
    }

    /// Kills forge and it at once, so that none can do anything about the other's end.
    #[track_caller]
    pub(crate) fn kill_with(self, forge: Child) {
        kill("STOP", self.pid);
        kill("KILL", self.forge);
        kill("KILL", self.pid);
        assert_eq!(finish(forge).code, None);
        self.wait_gone();
    }

    /// Whose it is.
    fn run(self) -> String {
        let line = String::from_utf8(self.read("cmdline")).unwrap();
        line.split('\0').nth(2).unwrap().to_owned()
    }

    /// The most memory that it has had, in kibibytes.
    fn peak(self) -> Option<u64> {
        let used = status(self.pid, "VmHWM:")?;
        used.split(' ').next()?.parse().ok()
    }

    fn runs(self) -> bool {
        // What nobody has waited for has ended all the same.
        let state = status(self.pid, "State:");
        state.is_some_and(|state| !state.starts_with('Z')) && is_watch(self.pid)
    }

    #[track_caller]
    fn wait_gone(self) {
        let until = Instant::now() + CLOSED;
        while self.runs() {
            assert!(Instant::now() < until, "the watch goes on");
            pause();
        }
    }

    fn file(self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.pid))
    }

    fn read(self, name: &str) -> Vec<u8> {
        std::fs::read(self.file(name)).unwrap()
    }
}

/// A field of a process's status.
fn status(pid: u32, field: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    Some(line.trim().to_owned())
}

/// The fields of a process's `stat` behind its name, of which the first is its state.
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    Some(fields.split(' ').map(str::to_owned).collect())
}

/// Whether a process is a watch that has left forge's session.
fn is_watch(pid: u32) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let leads_its_session = stat(pid).is_some_and(|it| it[3] == pid.to_string());
    leads_its_session && line.starts_with(b"sandbox-watch\0__watch")
}

pub(crate) fn watch_of(forge: u32) -> Option<u32> {
    children(forge).into_iter().find(|pid| is_watch(*pid))
}

fn children(of: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        if status(pid, "PPid:").as_deref() == Some(&of.to_string()) {
            found.push(pid);
        }
    }
    found
}

fn kill(signal: &str, pid: u32) {
    let status = Command::new("kill")
        .args([format!("-{signal}"), pid.to_string()])
        .status();
    assert!(status.unwrap().success(), "{signal} {pid}");
}

/// How many sandboxes the ledger of the run does not know to be gone.
pub(crate) fn open(workspace: &Workspace) -> usize {
    open_sandboxes(&workspace.run_folder()).unwrap().len()
}

/// How the end of what forge left went.
#[derive(Debug, Clone, Copy)]
struct Ends {
    /// How long after forge's end nothing was alive any more.
    gone: Duration,
    /// How long after it the ledger was closed, and the watch had ended.
    closed: Duration,
    /// The most memory that the watch had, in kibibytes.
    peak: u64,
}

/// Fails unless nothing is alive soon after forge's end, and then the ledger is closed and the watch gone.
#[track_caller]
fn assert_ended(cloud: &Cloud, watch: Watch, died: Instant) -> Ends {
    let log = || std::fs::read_to_string(cloud.workspace.run_folder().join("watch.log"));
    let mut peak = 0;
    while !cloud.fake.alive().is_empty() {
        let alive = cloud.fake.alive();
        assert!(died.elapsed() < GONE, "alive: {alive:#?}; {:?}", log());
        peak = peak.max(watch.peak().unwrap_or(0));
        pause();
    }
    let gone = died.elapsed();
    watch.wait_gone();
    let closed = died.elapsed();
    // Whatever came to be late would be there by now.
    cloud.assert_none_alive();
    assert_eq!(open(&cloud.workspace), 0, "{:?}", log());
    Ends { gone, closed, peak }
}

/// The far end of a terminal: dropped, the terminal is closed.
type Terminal = OwnedFd;

/// Starts it as the leader of a session in a terminal of its own. The hang-up of that goes to everybody in the session.
fn in_terminal(of: &Command) -> (Child, Terminal) {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    rustix::pty::grantpt(&terminal).unwrap();
    rustix::pty::unlockpt(&terminal).unwrap();
    let name = rustix::pty::ptsname(&terminal, Vec::new()).unwrap();
    let mut shell = instead(of, "setsid");
    // Opening a terminal makes it that of a session that has none.
    shell
        .args(["sh", "-c", "exec <\"$0\" >\"$0\" 2>&1; exec \"$@\""])
        .arg(name.to_str().unwrap())
        .arg(of.get_program())
        .args(of.get_args())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    (shell.spawn().unwrap(), terminal)
}

/// Another program, with the environment and in the folder of this one.
fn instead(of: &Command, program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(of.get_current_dir().unwrap())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for (name, value) in of.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}
