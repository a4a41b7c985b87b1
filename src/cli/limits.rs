//! What a shell, a CI or a service manager may have put on this process: limits of resources, and a mask of modes.
//!
//! Promises: what cannot be worked with is one error, before anything is started; what forge makes it can use
//! itself, whatever the mask.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use forge::quantity::ByteCount;
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The least of what is counted, below which nothing goes well: the limit, what it is called, how a shell sets it
/// (and in which unit), the least.
const LEAST: [(Resource, &str, &str, u64); 4] = [
    (Resource::Nofile, "open files", "ulimit -n 256", 64),
    (
        Resource::Fsize,
        "the size of a file",
        "ulimit -f unlimited",
        4 << 10,
    ),
    (
        Resource::As,
        "address space",
        "ulimit -v unlimited",
        512 << 20,
    ),
    (Resource::Data, "data", "ulimit -d unlimited", 256 << 20),
];
/// The least of a stack.
const STACK: u64 = 512 << 10;
/// The least address space for reading the command line. This program itself takes most of it.
const READING: u64 = 128 << 20;
/// The least processor time, in seconds.
const SECONDS: u64 = 60;
/// Threads besides those of the runtime: this one, and others that wait for the disk. The processes of a trial count
/// like them.
const MORE_THREADS: usize = 24;

/// Leaves the owner's bits out of the mask, and raises limits that this process may raise by itself.
pub(super) fn prepare() {
    let mask = rustix::process::umask(Mode::RWXG | Mode::RWXO);
    rustix::process::umask(mask & (Mode::RWXG | Mode::RWXO));
    for resource in [Resource::Fsize, Resource::Cpu, Resource::Stack] {
        raise(resource, None);
    }
    raise(Resource::Nofile, Some(256));
}

/// Raises a limit to what it may be raised to, or to what is wanted.
fn raise(resource: Resource, wanted: Option<u64>) {
    let Rlimit { current, maximum } = getrlimit(resource);
    let most = match (wanted, maximum) {
        (Some(wanted), Some(maximum)) => Some(wanted.min(maximum)),
        (wanted, maximum) => wanted.or(maximum),
    };
    let is_less = current.is_some_and(|current| most.is_none_or(|most| current < most));
    if is_less {
        let raised = Rlimit {
            current: most,
            maximum,
        };
        // It is looked at next.
        setrlimit(resource, raised).ok();
    }
}

/// What is too little for reading the command line.
///
/// # Errors
/// What, and how to have more of it.
pub(super) fn check_reading() -> Result<(), TooLittle> {
    let current = |resource| getrlimit(resource).current;
    if let Some(stack) = current(Resource::Stack).filter(|stack| *stack < STACK) {
        return Err(TooLittle {
            why: format!("a stack of {} is too small", ByteCount(stack)),
            hint: "raise it: `ulimit -s 8192`".to_owned(),
        });
    }
    match current(Resource::As) {
        Some(space) if space < READING => check(),
        Some(_) | None => Ok(()),
    }
}

/// What is too little for a run, besides threads.
///
/// # Errors
/// The first thing, and how to have more of it.
pub(super) fn check() -> Result<(), TooLittle> {
    for (resource, what, raise, least) in LEAST {
        let Some(limit) = getrlimit(resource).current.filter(|limit| *limit < least) else {
            continue;
        };
        let (limit, least) = if resource == Resource::Nofile {
            (limit.to_string(), least.to_string())
        } else {
            (ByteCount(limit).to_string(), ByteCount(least).to_string())
        };
        return Err(TooLittle {
            why: format!("{what} may be {limit} at most here, and {least} are needed"),
            hint: format!("raise the limit: `{raise}`"),
        });
    }
    match getrlimit(Resource::Cpu).current {
        Some(seconds) if seconds < SECONDS => Err(TooLittle {
            why: format!("this process would be ended after {seconds} s of processor time"),
            hint: "raise the limit: `ulimit -t unlimited`".to_owned(),
        }),
        Some(_) | None => Ok(()),
    }
}

/// Whether there can be as many threads at once as a runtime and its work need. A runtime that gets too few
/// does not say so.
///
/// # Errors
/// What the system said.
pub(super) fn check_threads() -> Result<(), TooLittle> {
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let go = Arc::new(AtomicBool::new(false));
    let mut going = Vec::new();
    let mut failed = None;
    for _ in 0..cores + MORE_THREADS {
        let go = Arc::clone(&go);
        // It allocates nothing, for which each would be given a heap of its own.
        let wait = move || {
            while !go.load(Ordering::Acquire) {
                thread::park();
            }
        };
        match thread::Builder::new().spawn(wait) {
            Ok(thread) => going.push(thread),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    go.store(true, Ordering::Release);
    for thread in &going {
        thread.thread().unpark();
    }
    for thread in going {
        // It has nothing to say.
        thread.join().ok();
    }
    match failed {
        None => Ok(()),
        Some(error) => Err(TooLittle {
            why: format!("cannot start {} threads: {error}", cores + MORE_THREADS),
            hint: "raise the limit of this user's processes and threads: `ulimit -u 256`, or `pids` of a container"
                .to_owned(),
        }),
    }
}

/// What there is too little of.
#[derive(Debug)]
pub(super) struct TooLittle {
    why: String,
    pub(super) hint: String,
}

impl std::fmt::Display for TooLittle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for TooLittle {}
