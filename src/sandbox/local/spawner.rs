//! The spawner: forge run again, once per run, that forks a keeper for each command.
//!
//! It has one thread, so that forking is safe, and little memory, so that forking is fast: a fork of forge
//! itself would be neither, and running forge's whole program again for each command costs more than most
//! commands. It ends with forge, after its keepers, and removes what is left of the run's folder. What a
//! keeper that was killed leaves becomes its own, and is ended.

use std::ffi::OsStr;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use rustix::process::{Pid, Resource, Rlimit};

use super::confine::Common;
use super::kernel::{self, Forked};
use super::protocol::{Charter, Frame as _, Granted, HELPER_ARGUMENT, HELPER_EXIT};
use super::{keeper, place, processes};

/// Whether this process was started to be a spawner; to be asked before anything else is done.
#[must_use]
pub fn is_wanted<S: AsRef<OsStr>>(arguments: &[S]) -> bool {
    matches!(arguments, [_, only] if only.as_ref() == HELPER_ARGUMENT)
}

/// Serves the run whose charter arrives on standard input, to its end.
#[must_use]
pub fn main() -> ExitCode {
    let Ok(socket) = take_socket() else {
        return ExitCode::from(HELPER_EXIT);
    };
    match serve(socket) {
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

fn serve(socket: UnixStream) -> io::Result<()> {
    kernel::disinherit();
    // Whatever forge's is: what programs make, they expect to be for all to read.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let null = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    // Refused only to the leader of a group, which is what this is for.
    rustix::process::setsid().ok();
    // For what is held open for all programs; each of them gets a limit of its own. One that stays is room enough.
    let files = rustix::process::getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: files.maximum,
        ..files
    };
    rustix::process::setrlimit(Resource::Nofile, most).ok();
    let charter = Charter::receive(&socket)?;
    let mut common = Common::new();
    kernel::forget_children();
    processes::adopt_orphans()?;
    let mut keepers = Keepers::default();
    loop {
        keepers.wait(Some(&socket))?;
        let Some((granted, [to_forge, out, err])) = receive(&socket)? else {
            break;
        };
        common.grant(granted);
        // Where this fails, forge hears of it by the end of the socket.
        match kernel::fork() {
            Ok(Forked::Child) => {
                // Held here, it would outlive the spawner, and forge would go on asking nobody.
                drop((socket, keepers));
                kernel::remember_children();
                let to_forge = UnixStream::from(to_forge);
                keeper::serve(&to_forge, [out, err], &common);
                kernel::exit_at_once(0);
            }
            Ok(Forked::Parent(keeper)) => keepers.add(keeper),
            Err(_) => {}
        }
    }
    keepers.wait(None)?;
    // Where the ends of keepers cannot be watched. Nothing is told of them.
    rustix::process::wait(rustix::process::WaitOptions::empty()).ok();
    place::sweep_run(&charter.run)?;
    Ok(())
}

/// The keepers that live.
#[derive(Debug, Default)]
struct Keepers(Vec<(Pid, OwnedFd)>);

impl Keepers {
    fn add(&mut self, keeper: Pid) {
        // One that is gone already leaves its own to this process.
        match processes::hold(keeper) {
            Some(held) => self.0.push((keeper, held)),
            None => self.end_orphans(),
        }
    }

    /// Waits until forge says something, or there is no keeper any more; ends what keepers leave behind
    /// that were killed.
    fn wait(&mut self, forge: Option<&UnixStream>) -> io::Result<()> {
        loop {
            let mut all: Vec<PollFd<'_>> = self
                .0
                .iter()
                .map(|(_, held)| PollFd::new(held, PollFlags::IN))
                .collect();
            if let Some(forge) = forge {
                all.push(PollFd::new(forge, PollFlags::IN));
            } else if all.is_empty() {
                return Ok(());
            }
            match rustix::event::poll(&mut all, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let ended: Vec<bool> = all.iter().map(|it| !it.revents().is_empty()).collect();
            let said = forge.is_some() && ended.last() == Some(&true);
            let mut ended = ended.iter();
            let before = self.0.len();
            self.0.retain(|_| ended.next() == Some(&false));
            if self.0.len() < before {
                self.end_orphans();
            }
            if said {
                return Ok(());
            }
        }
    }

    fn end_orphans(&self) {
        let keepers: Vec<Pid> = self.0.iter().map(|(pid, _)| *pid).collect();
        processes::end_children_but(&keepers);
    }
}

/// Receives the descriptors for one keeper, and what its program is granted. `None` when forge is gone.
fn receive(socket: &UnixStream) -> io::Result<Option<(Granted, [OwnedFd; 3])>> {
    #[cfg(target_os = "linux")]
    const FLAGS: RecvFlags = RecvFlags::CMSG_CLOEXEC;
    #[cfg(not(target_os = "linux"))]
    const FLAGS: RecvFlags = RecvFlags::empty();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    loop {
        let mut into = [IoSliceMut::new(&mut byte)];
        match rustix::net::recvmsg(socket, &mut into, &mut control, FLAGS) {
            Ok(received) if received.bytes == 0 => return Ok(None),
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let mut received = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            received.extend(descriptors);
        }
    }
    #[cfg(not(target_os = "linux"))]
    for descriptor in &received {
        rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::CLOEXEC)?;
    }
    let three = <[OwnedFd; 3]>::try_from(received);
    match (Granted::said(byte[0]), three) {
        (Some(granted), Ok(three)) => Ok(Some((granted, three))),
        _ => Err(Errno::PROTO.into()),
    }
}
