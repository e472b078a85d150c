//! All connections of a broker, wherever they come from: up to `max.connections` at a time, with one memory for their
//! requests.

use std::net::SocketAddr;
use std::sync::Arc;

use metrics::counter;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::connection;
use super::memory::RequestMemory;
use crate::Broker;
use crate::metrics::names;

/// The connections of a broker.
pub(crate) struct Connections {
    broker: Arc<Broker>,
    memory: Arc<RequestMemory>,
    running: TaskTracker,
    /// The broker's runtime: whoever brings a stream may have another.
    runtime: Handle,
}

impl Connections {
    /// None yet; they are served by the runtime that this is called in.
    pub(crate) fn new(broker: Arc<Broker>) -> Self {
        let memory = Arc::new(RequestMemory::new(broker.settings.queued_max_request_bytes));
        Self { broker, memory, running: TaskTracker::new(), runtime: Handle::current() }
    }

    /// Serves a stream whose two halves these are. False, and it is closed, if there are too many.
    pub(crate) fn serve(
        &self,
        read: impl AsyncRead + Unpin + Send + 'static,
        write: impl AsyncWrite + Unpin + Send + 'static,
        peer: SocketAddr,
    ) -> bool {
        let Some(place) = self.broker.connection_places.take() else {
            counter!(names::CONNECTIONS_REFUSED).increment(1);
            if let Some(left_out) = self.broker.complaints.admit(Instant::now()) {
                let max_connections = self.broker.settings.max_connections;
                warn!(%peer, max_connections, left_out, "too many connections: closed at once");
            }
            return false;
        };
        let (broker, memory) = (self.broker.clone(), self.memory.clone());
        let served = async move {
            connection::serve(broker, read, write, peer, memory).await;
            drop(place);
        };
        self.running.spawn_on(served, &self.runtime);
        true
    }

    /// Ends once the broker shuts down.
    pub(crate) async fn is_over(&self) {
        self.broker.shutdown.cancelled().await;
    }

    /// Whether the broker shuts down, or has.
    pub(crate) fn is_closed(&self) -> bool {
        self.broker.shutdown.is_cancelled()
    }

    /// Ends once the broker shuts down and each connection has answered what it has read.
    pub(crate) async fn run(self: Arc<Self>) {
        self.is_over().await;
        self.running.close();
        self.running.wait().await;
    }
}
