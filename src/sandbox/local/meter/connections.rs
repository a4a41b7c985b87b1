//! What was sent on connections of this machine whose senders have closed theirs: memory that no descriptor
//! leads to, until it is received.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use crate::sandbox::local::kernel;

/// What a closed connection may still have to send.
const UNSENT: u64 = 4 << 20;

/// The connections of a sandbox.
#[derive(Debug, Default)]
pub(super) struct Connections {
    /// Its own ends.
    own: BTreeSet<SocketAddr>,
    /// The other ends of those on which something waits to be read, and more may come.
    unread: BTreeSet<SocketAddr>,
}

impl Connections {
    /// Adds a socket that is no Unix socket.
    pub(super) fn add(&mut self, socket: BorrowedFd<'_>) {
        let own = rustix::net::getsockname(socket).ok();
        let Some(own) = own.and_then(|it| SocketAddr::try_from(it).ok()).map(plain) else {
            return;
        };
        self.own.insert(own);
        // Who has sent everything has said so.
        if !kernel::may_receive(socket)
            || rustix::io::ioctl_fionread(socket).is_ok_and(|it| it == 0)
        {
            return;
        }
        let peer = rustix::net::getpeername(socket).ok().flatten();
        if let Some(peer) = peer.and_then(|it| SocketAddr::try_from(it).ok()).map(plain)
            && (peer.ip().is_loopback() || peer.ip() == own.ip())
        {
            self.unread.insert(peer);
        }
    }

    /// What nobody holds who is known here, at the most, in bytes. Of another program's connection as much is
    /// taken for the sandbox's, until it has read what was sent.
    pub(super) fn unsent(&self) -> u64 {
        self.unread.difference(&self.own).count() as u64 * UNSENT
    }
}

/// An address of the fourth version may be written as one of the sixth.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd as _;

    fn unsent(sockets: &[&TcpStream]) -> u64 {
        let mut connections = Connections::default();
        for socket in sockets {
            connections.add(socket.as_fd());
        }
        connections.unsent()
    }

    #[test]
    fn what_a_closed_sender_left_is_counted_until_it_is_received() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut receiver, _) = listener.accept().unwrap();
        assert_eq!(unsent(&[&receiver]), 0);
        sender.set_nonblocking(true).unwrap();
        let block = vec![1; 65_536];
        while sender.write(&block).is_ok() {}
        // Its sender is in the sandbox too, and has it.
        assert_eq!(unsent(&[&receiver, &sender]), 0);
        drop(sender);
        assert_eq!(unsent(&[&receiver]), UNSENT);
        receiver.read_to_end(&mut Vec::new()).unwrap();
        assert_eq!(unsent(&[&receiver]), 0);
    }
}
