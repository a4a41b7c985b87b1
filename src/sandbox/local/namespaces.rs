//! A program in a machine of its own: files, processes, IPC, host name and, if wanted, network.
//!
//! Promises: what is not granted does not exist inside; all of it ends with its first process, which ends
//! with the keeper; nothing outside of it is changed, no mount, no name. The sequence is that of
//! `unshare`, made with the newer mount calls, which keep the flags that a mount is locked with.
//!
//! ```text
//! keeper ── clone ──▶ init (process 1: makes the view, waits, reaps) ── fork ──▶ program (process 2)
//! ```

use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};

use super::cgroup::Cgroup;
use super::confine::{self, Common};
use super::kernel::{self, Forked};
use super::processes;
use super::protocol::{Failure, Policy};
use view::View;

mod points;
mod view;

type Outcome<T> = Result<T, Failure>;

/// A machine that was started, as its keeper knows it.
#[derive(Debug)]
pub(super) struct Machine {
    /// Its process 1.
    pub init: Pid,
    /// Says how the program ended, when it did.
    status: PipeReader,
}

impl Machine {
    /// Starts one, with the program in it. Why that did not work comes over `report`, or is the error.
    pub(super) fn start(
        policy: &Policy,
        common: &Common,
        output: [OwnedFd; 2],
        mut report: PipeWriter,
        cgroup: Option<&Cgroup>,
    ) -> Outcome<Self> {
        let pipes = || Ok::<_, io::Error>((io::pipe()?, io::pipe()?));
        let ((ready, say_ready), (status, say_status)) =
            pipes().map_err(Failure::at("make a pipe"))?;
        let mut flags = libc::CLONE_NEWUSER
            | libc::CLONE_NEWNS
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWCGROUP;
        if !policy.network {
            flags |= libc::CLONE_NEWNET;
        }
        match kernel::clone(flags).map_err(Failure::at("clone"))? {
            Forked::Child => {
                drop((say_ready, status));
                let inside = Inside { policy, common };
                let Err(failure) = inside.first(ready, output, &report, say_status);
                // The keeper is told by the end of this process if it cannot be by this.
                serde_json::to_writer(&mut report, &failure).ok();
                kernel::exit_at_once(1)
            }
            Forked::Parent(init) => {
                let machine = Self { init, status };
                drop((ready, say_status, output, report));
                processes::doom(init);
                // It has only waited so far. The limits are held without it too.
                cgroup.map(|it| it.admit(init));
                let mapped = map_users(init, policy.user);
                match mapped.and_then(|()| (&say_ready).write_all(b"y")) {
                    Ok(()) => Ok(machine),
                    Err(error) => {
                        machine.end();
                        Err(Failure::at("map users")(error))
                    }
                }
            }
        }
    }

    /// Asks the program to end.
    pub(super) fn ask_to_end(&self) {
        // It may be gone since.
        rustix::process::kill_process(self.init, Signal::TERM).ok();
    }

    /// Ends all of it, and waits until it is gone. Returns how the program ended, if it did by itself:
    /// its exit code, or the negative number of the signal.
    pub(super) fn end(mut self) -> Option<i32> {
        rustix::process::kill_process(self.init, Signal::KILL).ok();
        // Returns only when nothing in the namespace is left.
        while let Err(Errno::INTR) = rustix::process::waitpid(Some(self.init), WaitOptions::empty())
        {
        }
        let mut status = [0; size_of::<i32>()];
        self.status.read_exact(&mut status).ok()?;
        Some(i32::from_ne_bytes(status))
    }
}

/// Says who is who inside: this user, and for root also the one that programs run as.
fn map_users(init: Pid, user: Option<u32>) -> io::Result<()> {
    let write = |name: &str, text: &str| std::fs::write(format!("/proc/{init}/{name}"), text);
    let (uid, gid) = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    let other = user.map_or_else(String::new, |other| format!("{other} {other} 1\n"));
    if user.is_none() {
        // Else the kernel lets nobody but root say which groups there are.
        write("setgroups", "deny")?;
    }
    write("uid_map", &format!("{uid} {uid} 1\n{other}"))?;
    write("gid_map", &format!("{gid} {gid} 1\n{other}"))
}

/// What never comes back: the process becomes another, or ends.
enum Never {}

/// The processes inside.
struct Inside<'a> {
    policy: &'a Policy,
    common: &'a Common,
}

impl Inside<'_> {
    /// Process 1: makes the view, starts the program, waits for it, and ends; then the kernel ends the rest.
    fn first(
        &self,
        mut ready: PipeReader,
        output: [OwnedFd; 2],
        report: &PipeWriter,
        mut say_status: PipeWriter,
    ) -> Outcome<Never> {
        let die = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
        die.map_err(|error| Failure::at("start")(error.into()))?;
        // Without an answer the keeper is gone.
        if !matches!(ready.read(&mut [0]), Ok(1)) {
            kernel::exit_at_once(1);
        }
        drop(ready);
        if !self.policy.network {
            raise_loopback().map_err(Failure::at("raise the loopback interface"))?;
        }
        // A name that is found without asking the network.
        rustix::system::sethostname(b"localhost")
            .map_err(|error| Failure::at("set the host name")(error.into()))?;
        limit_watches();
        View::make(self.policy)?;
        let program = match kernel::fork().map_err(Failure::at("fork"))? {
            Forked::Child => {
                drop(say_status);
                let failure = confine::become_program(self.policy, self.common, &output, None);
                let mut report = report;
                serde_json::to_writer(&mut report, &failure).ok();
                kernel::exit_at_once(127)
            }
            Forked::Parent(program) => program,
        };
        drop(output);
        kernel::pass_on_termination(Some(program));
        loop {
            match rustix::process::wait(WaitOptions::empty()) {
                Ok(Some((pid, status))) if pid == program => {
                    kernel::pass_on_termination(None);
                    let code = processes::code_of(status).unwrap_or(-1);
                    // Without it the keeper says that it does not know.
                    say_status.write_all(&code.to_ne_bytes()).ok();
                    kernel::exit_at_once(0)
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => kernel::exit_at_once(1),
            }
        }
    }
}

/// Leaves the user's other programs their part of what each user has few of. The kernel counts for this
/// namespace, and for the user too.
fn limit_watches() {
    const SHARE: u64 = 16;
    const LEAST: u64 = 4;
    for (of_all, own) in [
        ("max_user_instances", "max_inotify_instances"),
        ("max_user_watches", "max_inotify_watches"),
    ] {
        let all = std::fs::read_to_string(format!("/proc/sys/fs/inotify/{of_all}"));
        let all = all.ok().and_then(|text| text.trim().parse::<u64>().ok());
        let share = (all.unwrap_or(0) / SHARE).max(LEAST);
        // A kernel without inotify has none of these, and a container may forbid it.
        std::fs::write(format!("/proc/sys/user/{own}"), share.to_string()).ok();
    }
}

fn raise_loopback() -> io::Result<()> {
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        None,
    )?;
    kernel::raise_loopback(socket.as_fd())
}
