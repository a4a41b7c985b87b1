//! What waits in the pipes and sockets of a process: memory that the kernel counts for nobody.
//!
//! Promises: a look takes nothing out and changes nothing; what cannot be learned is taken for as much as
//! such a thing usually may hold.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{AddressFamily, SocketType, sockopt};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};

use super::connections::Connections;
use crate::sandbox::local::kernel;

/// The flag for a thread.
const PIDFD_THREAD: u32 = libc::O_EXCL.cast_unsigned();
/// What an ordinary pipe holds.
const PIPE: u64 = 64 * 1024;
/// What waits to be sent from an ordinary socket.
const USUAL: u64 = 208 * 1024;
/// What waits to be sent from a socket whose owner wanted as much as possible.
const MOST: u64 = 2 * USUAL;
/// How many senders can have sent to a socket that has not received yet.
const SENDERS: u64 = 11;

/// A process whose descriptors are looked at.
#[derive(Debug)]
pub(super) struct Descriptors(Option<OwnedFd>);

impl Descriptors {
    /// Those of a process. Where they cannot be had, each is taken for full.
    pub(super) fn of(pid: Pid) -> Self {
        let open = |flags| rustix::process::pidfd_open(pid, flags);
        // Not before Linux 6.9, and wanted only of a thread that is not its process's first one.
        let of_thread = PidfdFlags::from_bits_retain(PIDFD_THREAD);
        Self(open(PidfdFlags::empty()).or_else(|_| open(of_thread)).ok())
    }

    /// What a pipe holds at the most, in bytes.
    pub(super) fn pipe(&self, name: &OsStr) -> u64 {
        let Some(pipe) = self.take(name) else {
            return PIPE;
        };
        // A byte may have a page to itself.
        match (
            rustix::io::ioctl_fionread(&pipe),
            rustix::pipe::fcntl_getpipe_size(&pipe),
        ) {
            (Ok(0), _) => 0,
            (_, size) => size.map_or(PIPE, |size| size as u64),
        }
    }

    /// What waits in a socket, received and to be sent, in bytes; and remembers which connection it is.
    pub(super) fn socket(&self, name: &OsStr, connections: &mut Connections) -> u64 {
        self.take(name)
            .map_or(USUAL, |socket| waiting(socket.as_fd(), connections))
    }

    fn take(&self, name: &OsStr) -> Option<OwnedFd> {
        let number = name.to_str()?.parse().ok()?;
        let flags = PidfdGetfdFlags::empty();
        rustix::process::pidfd_getfd(self.0.as_ref()?, number, flags).ok()
    }
}

fn waiting(socket: BorrowedFd<'_>, connections: &mut Connections) -> u64 {
    let own = kernel::socket_memory(socket).unwrap_or(USUAL);
    let is_unix = sockopt::socket_domain(socket) == Ok(AddressFamily::UNIX);
    let listens = sockopt::socket_acceptconn(socket) == Ok(true);
    if !is_unix {
        connections.add(socket);
        // What was sent on a connection that nobody has accepted yet is its own.
        let pending = if listens {
            kernel::pending_connections(socket)
        } else {
            0
        };
        return own.saturating_add(pending.saturating_mul(MOST));
    }
    // Of what was sent between processes the sender is charged, who may be gone.
    let mut events = [PollFd::new(&socket, PollFlags::IN)];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let found = rustix::event::poll(&mut events, Some(&at_once));
    let events = events[0].revents();
    if !matches!(found, Ok(1)) || !events.contains(PollFlags::IN) {
        return own;
    }
    let has_senders = listens || sockopt::socket_type(socket) == Ok(SocketType::DGRAM);
    let from_others = match (has_senders, events.contains(PollFlags::HUP)) {
        (true, _) => SENDERS * MOST,
        // Its other end is closed, and with that in nobody's hands.
        (false, true) if rustix::io::ioctl_fionread(socket) != Ok(0) => MOST,
        (false, _) => 0,
    };
    own.saturating_add(from_others)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;
    use std::os::unix::net::UnixStream;

    fn name(of: &impl AsFd) -> std::ffi::OsString {
        of.as_fd().as_raw_fd().to_string().into()
    }

    #[test]
    fn what_waits_in_a_socket_is_seen() {
        let mine = Descriptors::of(rustix::process::getpid());
        let (mut here, there) = UnixStream::pair().unwrap();
        let none = &mut Connections::default();
        assert_eq!(mine.socket(&name(&here), none), 0);
        here.write_all(&vec![1; 100_000]).unwrap();
        assert!(mine.socket(&name(&here), none) >= 100_000);
        drop(here);
        assert!(mine.socket(&name(&there), none) >= 100_000);
    }

    #[test]
    fn what_waits_in_a_pipe_is_seen() {
        let mine = Descriptors::of(rustix::process::getpid());
        let (read, mut write) = std::io::pipe().unwrap();
        assert_eq!(mine.pipe(&name(&read)), 0);
        write.write_all(b"x").unwrap();
        assert!(mine.pipe(&name(&read)) >= 4096);
    }

    #[test]
    fn connections_that_wait_are_counted() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let held: Vec<_> = (0..3)
            .map(|_| std::net::TcpStream::connect(address).unwrap())
            .collect();
        assert_eq!(kernel::pending_connections(listener.as_fd()), 3);
        drop(held);
    }
}
