//! A port that is kept: nobody is given it who asks for any, however many tests do, and whoever names it may listen on it,
//! go, and come back.
//!
//! A port that was free a moment ago, or whose server was killed, is anybody's on this machine. So where a test needs to know
//! an address before its server does, or after, it keeps the port by a socket that is bound and does not listen: servers
//! share it, as their sockets allow that (`SO_REUSEADDR`, which those of Rust, Go and Java do by themselves), and two of them
//! still exclude one another.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with, sockopt};

/// A port of this machine alone. It is anybody's again when this and its clones are dropped.
#[derive(Clone, Debug)]
pub struct KeptPort {
    address: SocketAddr,
    _socket: Arc<OwnedFd>,
}

impl KeptPort {
    /// One that is free.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn take() -> Self {
        // Not for the processes that a test starts: they would keep it as well.
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None);
        let socket = socket.expect("a socket");
        sockopt::set_socket_reuseaddr(&socket, true).expect("the option is known");
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = getsockname(&socket).ok().and_then(|bound| SocketAddr::try_from(bound).ok());
        Self { address: address.expect("it is bound"), _socket: Arc::new(socket) }
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn one_after_the_other_listens_on_it_and_nobody_beside() {
        let kept = KeptPort::take();
        for _ in 0..2 {
            TcpStream::connect(kept.address()).expect_err("nobody listens");
            let listening = TcpListener::bind(kept.address()).expect("it is free for who names it");
            TcpListener::bind(kept.address()).expect_err("another one listens");
            // The server closes first, as one that is killed: that leaves the port in use for a while.
            let client = TcpStream::connect(kept.address()).expect("it listens");
            drop(listening.accept().expect("a client"));
            drop((listening, client));
        }
    }

    #[test]
    fn nobody_is_given_it_who_asks_for_any() {
        let kept = KeptPort::take();
        let others: Vec<TcpListener> =
            (0..200).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port")).collect();
        assert!(others.iter().all(|other| other.local_addr().expect("it is bound") != kept.address()));
    }
}
