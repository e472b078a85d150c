//! The way into a broker for its own process: streams in memory, no socket.
//!
//! What always holds: a stream is served as an accepted connection is, within the same limits. Having an entry keeps no broker
//! alive.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Weak};

use tokio::io::DuplexStream;

use super::Connections;

/// What a stream holds in each direction before its writer waits for its reader.
const STREAM_BYTES: usize = 256 << 10;
/// Who this process is to the broker.
pub(crate) const THIS_PROCESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A way into a broker in this process, which needs no port. Clones lead to the same broker.
#[derive(Clone)]
pub struct Entry(Weak<Connections>);

impl Entry {
    pub(crate) fn to(connections: &Arc<Connections>) -> Self {
        Self(Arc::downgrade(connections))
    }

    /// A stream on which the broker answers requests of the Kafka protocol, as it does on a connection to its port.
    ///
    /// # Errors
    /// `ConnectionRefused` if the broker has ended, or has `max.connections` already.
    pub fn connect(&self) -> io::Result<DuplexStream> {
        let refused = |reason| io::Error::new(ErrorKind::ConnectionRefused, reason);
        let connections = self.0.upgrade().filter(|connections| !connections.is_closed());
        let connections = connections.ok_or_else(|| refused("the broker has ended"))?;
        let (ours, theirs) = tokio::io::duplex(STREAM_BYTES);
        let (read, write) = tokio::io::split(ours);
        if !connections.serve(read, write, THIS_PROCESS) {
            return Err(refused("the broker has max.connections already"));
        }
        Ok(theirs)
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("is_open", &(self.0.strong_count() > 0)).finish()
    }
}
