//! The keeper: the parent of one sandboxed program.
//!
//! It starts the program, waits, and leaves nothing of it alive: when the program ends, when a limit is
//! passed, when forge says so and when forge is gone. In the last case it also removes the sandbox's folder,
//! because nobody else will. It is a fork of the [`super::spawner`]: it has one thread, no environment, and
//! is in a session without a terminal, so that a Ctrl-C reaches forge alone, which decides.

use std::io::{self, PipeReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use super::cgroup::Cgroup;
use super::confine::{self, Common};
#[cfg(target_os = "linux")]
use super::guard::Guard;
use super::kernel::{self, Forked};
#[cfg(target_os = "linux")]
use super::meter::Meter;
use super::moved::Folders;
#[cfg(target_os = "linux")]
use super::namespaces::Machine;
use super::processes;
use super::protocol::{Answer, CANCEL, End, Failure, Frame as _, GRACE, Policy, Rung};
use super::remove;
use crate::quantity::ByteCount;
use crate::sandbox::Usage;

/// Serves the one command whose policy arrives on the socket, to its end.
pub(super) fn serve(socket: &UnixStream, output: [OwnedFd; 2], common: &Common) {
    let id = rustix::process::getpid().as_raw_nonzero().get();
    let mut to_forge = socket;
    // Without a policy there is nothing to do: forge ended before it had sent it.
    let Ok(policy) = to_forge
        .write_all(&id.to_le_bytes())
        .and_then(|()| Policy::receive(socket))
    else {
        return;
    };
    let keeper = Keeper {
        socket,
        policy: &policy,
    };
    let folders = Folders::hold(&policy.root, policy.rung, policy.user);
    let answer = match keeper.keep(common, output) {
        Ok(Some(answer)) => answer,
        Ok(None) => return remove_orphan(&policy, folders.as_ref()),
        Err(error) => Answer {
            end: End::Failed(error.to_string()),
            took: Duration::ZERO,
            usage: Usage::default(),
            no_room: false,
        },
    };
    // Forge takes a keeper that says nothing for dead.
    let text = serde_json::to_vec(&answer).map_err(io::Error::from);
    text.and_then(|text| to_forge.write_all(&text)).ok();
}

/// What was started.
enum Started {
    /// A program, which leads a session.
    Program(Pid),
    /// The same, with a guard.
    #[cfg(target_os = "linux")]
    Guarded(Pid, Guard),
    /// A machine with a program in it.
    #[cfg(target_os = "linux")]
    Machine(Machine),
}

/// What was seen while a program ran.
#[derive(Debug, Default)]
struct Seen {
    /// The most memory, in bytes.
    peak: u64,
    /// The machine's disk was full.
    no_room: bool,
}

/// Why waiting was over.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Watched {
    Ended,
    TimedOut,
    Limit(String),
    Cancelled,
    Alone,
}

struct Keeper<'a> {
    socket: &'a UnixStream,
    policy: &'a Policy,
}

impl Keeper<'_> {
    /// Runs the program. `None` when forge was gone before it ended.
    fn keep(&self, common: &Common, output: [OwnedFd; 2]) -> io::Result<Option<Answer>> {
        let started = Instant::now();
        let (report, say) = io::pipe()?;
        let cgroup = Cgroup::of(self.policy);
        let program = match self.policy.rung {
            Rung::Landlock | Rung::Process { .. } => {
                processes::adopt_orphans()?;
                self.start(common, output, say, cgroup.as_ref())
            }
            #[cfg(target_os = "linux")]
            Rung::Namespaces { .. } => {
                Machine::start(self.policy, common, output, say, cgroup.as_ref())
                    .map(Started::Machine)
            }
            #[cfg(not(target_os = "linux"))]
            Rung::Namespaces { .. } => Err(Failure {
                stage: "clone".to_owned(),
                errno: libc::ENOSYS,
            }),
        };
        let program = match program {
            Ok(program) => program,
            Err(failure) => return Ok(Some(refused(failure, started))),
        };
        let mut seen = Seen::default();
        let watched = self.watch(&program, started, &mut seen);
        let took = started.elapsed();
        #[cfg(target_os = "linux")]
        let last = program
            .is_forgotten(&watched)
            .then(|| Meter::processor_time(program.top()));
        #[cfg(not(target_os = "linux"))]
        let last = None;
        // What hides from this process ends too.
        cgroup.as_ref().map(Cgroup::kill);
        let code = program.end();
        let usage = kernel::children_usage();
        if let Some(failure) = reported(report) {
            return Ok(Some(refused(failure, started)));
        }
        let usage = Usage {
            peak_memory_bytes: usage.peak_memory_bytes.max(Some(seen.peak)),
            cpu_milliseconds: usage.cpu_milliseconds.max(last),
        };
        let end = match watched? {
            Watched::Ended => cgroup
                .and_then(|it| it.limit(self.policy.limits))
                .map(End::Limit)
                .or_else(|| self.starved(code, seen.peak))
                .unwrap_or_else(|| self.end_of(code)),
            Watched::TimedOut => End::TimedOut,
            Watched::Limit(limit) => End::Limit(limit),
            Watched::Cancelled => End::Cancelled,
            Watched::Alone => return Ok(None),
        };
        Ok(Some(Answer {
            end,
            took,
            usage,
            no_room: seen.no_room,
        }))
    }

    /// Starts the program as a child of this process.
    fn start(
        &self,
        common: &Common,
        output: [OwnedFd; 2],
        mut say: io::PipeWriter,
        cgroup: Option<&Cgroup>,
    ) -> Result<Started, Failure> {
        let (mine, its) = UnixStream::pair().map_err(Failure::at("make a socket"))?;
        match kernel::fork().map_err(Failure::at("fork"))? {
            Forked::Child => {
                drop(mine);
                // The limits are held without it too.
                cgroup.map(Cgroup::enter);
                let guard = self.policy.guarded.then_some(&its);
                let failure = confine::become_program(self.policy, common, &output, guard);
                // The keeper sees the end of this process anyway.
                serde_json::to_writer(&mut say, &failure).ok();
                kernel::exit_at_once(127)
            }
            Forked::Parent(program) => {
                // The program's are the only ones left.
                drop((output, its));
                #[cfg(target_os = "linux")]
                if self.policy.guarded
                    && let Some(guard) = Guard::receive(&mine, self.policy)
                {
                    return Ok(Started::Guarded(program, guard));
                }
                Ok(Started::Program(program))
            }
        }
    }

    /// Waits for the program, forge, or a limit; at the time limit asks the program to end, and waits a
    /// little.
    fn watch(&self, program: &Started, started: Instant, seen: &mut Seen) -> io::Result<Watched> {
        let exit = processes::exit_watch(program.top())?;
        #[cfg(target_os = "linux")]
        let mut meter = Meter::new(self.policy.limits, &self.policy.root);
        #[cfg(target_os = "linux")]
        let mut guard = program.guard();
        let mut wait_until = |end: Option<Instant>| -> io::Result<Watched> {
            loop {
                #[cfg(target_os = "linux")]
                let until = Some(end.map_or(meter.next(), |end| end.min(meter.next())));
                #[cfg(not(target_os = "linux"))]
                let until = end;
                let left = until.map(|until| until.saturating_duration_since(Instant::now()));
                let left = left.map(Timespec::try_from).transpose();
                let mut all = vec![
                    PollFd::new(&exit, PollFlags::IN),
                    PollFd::new(self.socket, PollFlags::IN),
                ];
                #[cfg(target_os = "linux")]
                all.extend(guard.map(|it| PollFd::from_borrowed_fd(it.listener(), PollFlags::IN)));
                match rustix::event::poll(&mut all, left.unwrap_or(None).as_ref()) {
                    Ok(0) => {}
                    Ok(_) if !all[0].revents().is_empty() => return Ok(Watched::Ended),
                    Ok(_) if !all[1].revents().is_empty() => return Ok(heard(self.socket)),
                    Ok(_) => {
                        #[cfg(target_os = "linux")]
                        {
                            guard = guard.filter(|it| it.answer_one());
                        }
                        // Who asks all the time is not spared the rest.
                        if until.is_none_or(|until| Instant::now() < until) {
                            continue;
                        }
                    }
                    Err(Errno::INTR) => continue,
                    Err(error) => return Err(error.into()),
                }
                if end.is_some_and(|end| Instant::now() >= end) {
                    return Ok(Watched::TimedOut);
                }
                #[cfg(target_os = "linux")]
                if let Some(limit) = program.look(&mut meter, seen) {
                    return Ok(Watched::Limit(limit));
                }
            }
        };
        match wait_until(started.checked_add(self.policy.limit))? {
            Watched::TimedOut => {
                program.ask_to_end();
                match wait_until(Instant::now().checked_add(GRACE))? {
                    Watched::Ended | Watched::TimedOut | Watched::Limit(_) => Ok(Watched::TimedOut),
                    other @ (Watched::Cancelled | Watched::Alone) => Ok(other),
                }
            }
            other @ (Watched::Ended | Watched::Limit(_) | Watched::Cancelled | Watched::Alone) => {
                Ok(other)
            }
        }
    }

    /// What it says that a program failed when the meter had seen so much memory at once: near the limit the
    /// kernel refuses it more, before the meter sees that it has too much.
    fn starved(&self, code: Option<i32>, peak: u64) -> Option<End> {
        const GIVES_UP: [i32; 4] = [libc::SIGABRT, libc::SIGILL, libc::SIGTRAP, libc::SIGSEGV];
        let allowed = self.policy.limits.memory;
        let ended = match code? {
            code @ 1.. => format!("exited with code {code}"),
            signal if GIVES_UP.contains(&-signal) => format!("was ended by signal {}", -signal),
            _ => return None,
        };
        (peak >= allowed / 10 * 9).then(|| {
            let (peak, allowed) = (ByteCount(peak), ByteCount(allowed));
            End::Limit(format!(
                "{ended} at {peak} of memory; {allowed} are allowed"
            ))
        })
    }

    /// What an exit code, or the negative number of a signal, says.
    fn end_of(&self, code: Option<i32>) -> End {
        match code {
            Some(code @ 0..) => End::Exited(code),
            Some(signal) if signal == -libc::SIGXFSZ => {
                let disk = ByteCount(self.policy.limits.disk);
                End::Limit(format!(
                    "wrote a file larger than all of disk; {disk} are allowed"
                ))
            }
            Some(signal) => End::Signalled(-signal),
            None => End::Failed("the program's status was lost".to_owned()),
        }
    }
}

impl Started {
    /// The process whose end is that of the program.
    fn top(&self) -> Pid {
        match self {
            Self::Program(program) => *program,
            #[cfg(target_os = "linux")]
            Self::Guarded(program, _) => *program,
            #[cfg(target_os = "linux")]
            Self::Machine(machine) => machine.init,
        }
    }

    /// Whether the kernel may forget processor time with the end of what is left: that of a namespace, or of
    /// children whose parent does not wait for them.
    #[cfg(target_os = "linux")]
    fn is_forgotten(&self, watched: &io::Result<Watched>) -> bool {
        match self {
            Self::Machine(_) => true,
            Self::Program(_) | Self::Guarded(..) => !matches!(watched, Ok(Watched::Ended)),
        }
    }

    #[cfg(target_os = "linux")]
    fn guard(&self) -> Option<&Guard> {
        match self {
            Self::Guarded(_, guard) => Some(guard),
            Self::Program(_) | Self::Machine(_) => None,
        }
    }

    #[cfg(target_os = "linux")]
    fn look(&self, meter: &mut Meter<'_>, seen: &mut Seen) -> Option<String> {
        let limit = match self {
            Self::Program(program) | Self::Guarded(program, _) => {
                processes::reap_all_but(*program);
                meter.look(rustix::process::getpid())
            }
            Self::Machine(machine) => meter.look(machine.init),
        };
        *seen = Seen {
            peak: meter.peak(),
            no_room: meter.saw_no_room(),
        };
        limit
    }

    fn ask_to_end(&self) {
        match self {
            Self::Program(program) => {
                // It may be gone since.
                rustix::process::kill_process_group(*program, Signal::TERM).ok();
            }
            #[cfg(target_os = "linux")]
            Self::Guarded(program, _) => {
                rustix::process::kill_process_group(*program, Signal::TERM).ok();
            }
            #[cfg(target_os = "linux")]
            Self::Machine(machine) => machine.ask_to_end(),
        }
    }

    /// Ends all of it, and waits until it is gone.
    fn end(self) -> Option<i32> {
        match self {
            Self::Program(program) => {
                processes::end_descendants(program).and_then(processes::code_of)
            }
            #[cfg(target_os = "linux")]
            Self::Guarded(program, _) => {
                processes::end_descendants(program).and_then(processes::code_of)
            }
            #[cfg(target_os = "linux")]
            Self::Machine(machine) => machine.end(),
        }
    }
}

fn heard(mut socket: &UnixStream) -> Watched {
    let mut byte = [0];
    match socket.read(&mut byte) {
        Ok(1) if byte[0] == CANCEL => Watched::Cancelled,
        Ok(_) | Err(_) => Watched::Alone,
    }
}

/// Why the program was not started, if it was not. Everybody who could say so is gone.
fn reported(mut report: PipeReader) -> Option<Failure> {
    let mut text = Vec::new();
    report.read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

fn refused(failure: Failure, started: Instant) -> Answer {
    let end = if failure.stage == Failure::EXEC {
        End::CannotStart(why_not(&io::Error::from_raw_os_error(failure.errno)))
    } else {
        End::Refused(failure)
    };
    Answer {
        end,
        took: started.elapsed(),
        usage: Usage::default(),
        no_room: false,
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
fn remove_orphan(policy: &Policy, folders: Option<&Folders>) {
    // Whatever stays is removed by the spawner, or by the next forge.
    remove::tree(&policy.root).ok();
    folders.map(Folders::remove);
    if let Some(run) = policy.root.parent() {
        std::fs::remove_dir(run).ok();
    }
}
