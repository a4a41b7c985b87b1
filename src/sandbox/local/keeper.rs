//! The keeper: forge run again as the parent of one sandboxed program.
//!
//! It starts the program, waits, and leaves nothing of it alive: when the program ends, when its limit is
//! over, when forge says so and when forge is gone. In the last case it also removes the sandbox's folder,
//! because nobody else will. It has one thread, no environment, and is in a session of its own, so that a
//! Ctrl-C in the terminal reaches forge alone, which decides.

use std::ffi::OsStr;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitStatus};

use super::kernel;
use super::protocol::{Answer, CANCEL, End, GRACE, Isolation, KEEPER_EXIT, Policy};
use super::remove;
use crate::sandbox::Usage;

/// Whether this process was started to be a keeper; to be asked before anything else is done.
#[must_use]
pub fn is_wanted<S: AsRef<OsStr>>(arguments: &[S]) -> bool {
    matches!(arguments, [_, only] if only.as_ref() == super::protocol::KEEPER_ARGUMENT)
}

/// Serves the one command whose policy arrives on standard input, to its end.
#[must_use]
pub fn main() -> ExitCode {
    let Ok(socket) = take_socket() else {
        return ExitCode::from(KEEPER_EXIT);
    };
    // Without a policy there is nothing to do: forge ended before it had sent it.
    let Ok(policy) = Policy::receive(&socket) else {
        return ExitCode::FAILURE;
    };
    let answer = match keep(&socket, &policy) {
        Ok(Some(answer)) => answer,
        Ok(None) => {
            remove_orphan(&policy);
            return ExitCode::SUCCESS;
        }
        Err(error) => Answer {
            end: End::Failed(error.to_string()),
            took: Duration::ZERO,
            usage: Usage::default(),
        },
    };
    let sent = serde_json::to_vec(&answer)
        .map_err(io::Error::from)
        .and_then(|text| (&socket).write_all(&text));
    match sent {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Moves the socket away from standard input, where no program shall find it.
fn take_socket() -> io::Result<UnixStream> {
    let input = io::stdin();
    let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&input)?.st_mode);
    if kind != rustix::fs::FileType::Socket {
        return Err(Errno::NOTSOCK.into());
    }
    Ok(rustix::io::fcntl_dupfd_cloexec(&input, 3)?.into())
}

/// Runs the program. `None` when forge was gone before it ended.
fn keep(socket: &UnixStream, policy: &Policy) -> io::Result<Option<Answer>> {
    kernel::disinherit();
    let null = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    // Refused only to the leader of a group, which is what this is for.
    rustix::process::setsid().ok();
    kernel::adopt_orphans()?;
    let mut command = match policy.isolation {
        Isolation::Process => Command::new(&policy.program),
    };
    command
        .args(&policy.arguments)
        .env_clear()
        .envs(policy.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::inherit())
        .process_group(0);
    std::env::set_current_dir(&policy.work)?;
    let started = Instant::now();
    let spawned = command.spawn();
    // The program's are the only ones left: forge sees the end of its output when it has ended. If this
    // failed, forge would see it when the keeper ends.
    rustix::stdio::dup2_stdout(&null).ok();
    rustix::stdio::dup2_stderr(&null).ok();
    let program = match spawned {
        Ok(child) => Pid::from_child(&child),
        Err(error) => {
            return Ok(Some(Answer {
                end: End::CannotStart(why_not(&error)),
                took: started.elapsed(),
                usage: Usage::default(),
            }));
        }
    };
    let watched = watch(socket, program, started, policy.limit);
    let took = started.elapsed();
    let status = kernel::end_descendants(program);
    let end = match watched? {
        Watched::Ended => status.map_or_else(
            || End::Failed("the program's status was lost".to_owned()),
            end_of,
        ),
        Watched::Limit => End::TimedOut,
        Watched::Cancelled => End::Cancelled,
        Watched::Alone => return Ok(None),
    };
    Ok(Some(Answer {
        end,
        took,
        usage: kernel::children_usage(),
    }))
}

/// Why waiting was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watched {
    Ended,
    Limit,
    Cancelled,
    Alone,
}

/// Waits for the program, forge, or the limit; at the limit asks the program to end, and waits a little.
fn watch(
    socket: &UnixStream,
    program: Pid,
    started: Instant,
    limit: Duration,
) -> io::Result<Watched> {
    let exit = kernel::exit_watch(program)?;
    let wait_until = |end: Option<Instant>| -> io::Result<Watched> {
        loop {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            let left = left.map(Timespec::try_from).transpose();
            let mut both = [
                PollFd::new(&exit, PollFlags::IN),
                PollFd::new(socket, PollFlags::IN),
            ];
            match rustix::event::poll(&mut both, left.unwrap_or(None).as_ref()) {
                Ok(0) => return Ok(Watched::Limit),
                Ok(_) if !both[0].revents().is_empty() => return Ok(Watched::Ended),
                Ok(_) => return Ok(heard(socket)),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    };
    match wait_until(started.checked_add(limit))? {
        Watched::Limit => {
            // It may be gone since.
            rustix::process::kill_process_group(program, Signal::TERM).ok();
            match wait_until(Instant::now().checked_add(GRACE))? {
                Watched::Ended | Watched::Limit => Ok(Watched::Limit),
                other @ (Watched::Cancelled | Watched::Alone) => Ok(other),
            }
        }
        other @ (Watched::Ended | Watched::Cancelled | Watched::Alone) => Ok(other),
    }
}

fn heard(mut socket: &UnixStream) -> Watched {
    let mut byte = [0];
    match socket.read(&mut byte) {
        Ok(1) if byte[0] == CANCEL => Watched::Cancelled,
        Ok(_) | Err(_) => Watched::Alone,
    }
}

fn end_of(status: WaitStatus) -> End {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => End::Exited(code),
        (None, Some(signal)) => End::Signalled(signal),
        (None, None) => End::Failed("the program neither exited nor was killed".to_owned()),
    }
}

/// Why a program that was found did not start.
pub(super) fn why_not(error: &io::Error) -> String {
    match Errno::from_io_error(error) {
        Some(Errno::NOENT) => "the interpreter that its first line names does not exist".to_owned(),
        Some(Errno::ACCESS) => "it is not executable (`chmod +x` makes it so)".to_owned(),
        Some(Errno::NOEXEC) => {
            "it is neither a program nor a script that starts with `#!`".to_owned()
        }
        Some(Errno::TOOBIG) => "its arguments and environment are too long".to_owned(),
        Some(_) | None => error.to_string().to_lowercase(),
    }
}

/// Removes what forge can no longer remove: the sandbox, and the run's folder with the last one.
fn remove_orphan(policy: &Policy) {
    // Whatever stays is removed by the next forge.
    remove::tree(&policy.root).ok();
    if let Some(run) = policy.root.parent() {
        std::fs::remove_dir(run).ok();
    }
}
