//! The judging process: forge run again, to answer one question about one artifact, and end.

use std::ffi::OsStr;
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, Signal};

use super::{COMPUTING, MEMORY, Question, in_order};

/// The one argument of a judging process.
pub(super) const ARGUMENT: &str = "__judge";

/// How it exits when it was not started by forge.
const NOT_ASKED: u8 = 72;

/// Whether this process was started to judge; to be asked before anything else is done.
#[must_use]
pub fn is_wanted<S: AsRef<OsStr>>(arguments: &[S]) -> bool {
    matches!(arguments, [_, only] if only.as_ref() == ARGUMENT)
}

/// Answers the question that arrives on standard input.
#[must_use]
pub fn main() -> ExitCode {
    let input = io::stdin();
    let socket = match rustix::net::sockopt::socket_type(&input) {
        Ok(_) => rustix::io::fcntl_dupfd_cloexec(&input, 3),
        Err(error) => Err(error),
    };
    let Ok(socket) = socket else {
        return ExitCode::from(NOT_ASKED);
    };
    match answer(socket) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let words = error.to_string();
            rustix::io::write(rustix::stdio::stderr(), words.as_bytes()).ok();
            ExitCode::FAILURE
        }
    }
}

fn answer(socket: OwnedFd) -> io::Result<()> {
    let mut socket = UnixStream::from(socket);
    limit();
    let mut from = io::BufReader::new(socket.try_clone()?);
    let mut text = String::new();
    from.read_line(&mut text)?;
    let question: Question = serde_json::from_str(&text)?;
    drop(text);
    // From here on, what goes wrong is the artifact's doing.
    socket.write_all(b"\n")?;
    // Forge says nothing more: what comes is its end, or that it does not care any more.
    std::thread::Builder::new()
        .stack_size(64 << 10)
        .spawn(move || {
            from.read_exact(&mut [0]).ok();
            rustix::process::kill_process(rustix::process::getpid(), Signal::KILL).ok();
        })?;
    for judgement in in_order(&question.checks, &question.evidence) {
        let mut line = serde_json::to_vec(&judgement)?;
        line.push(b'\n');
        socket.write_all(&line)?;
    }
    Ok(())
}

/// Lets the system end this process at its limits. What a system has no such limit for is not limited.
fn limit() {
    let set = |resource, soft: u64, hard: u64| {
        let old = rustix::process::getrlimit(resource);
        let below = |limit: u64| Some(old.maximum.map_or(limit, |most| most.min(limit)));
        let new = Rlimit {
            current: below(soft),
            maximum: below(hard),
        };
        rustix::process::setrlimit(resource, new).ok();
    };
    set(Resource::Core, 0, 0);
    set(Resource::Cpu, COMPUTING.as_secs(), COMPUTING.as_secs() + 5);
    set(Resource::Data, MEMORY.0, MEMORY.0);
    set(Resource::Fsize, 0, 0);
}
