//! Accepts connections, up to `max.connections` at a time.

use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, gauge};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::connection;
use super::memory::RequestMemory;
use crate::Broker;
use crate::metrics::names;

/// How long to wait after the system refused to hand out a connection (out of file descriptors, mostly).
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves connections until the broker shuts down, and then until each has answered what it has read.
pub(crate) async fn serve(broker: Arc<Broker>, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(broker.settings.max_connections));
    let memory = Arc::new(RequestMemory::new(broker.settings.queued_max_request_bytes));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = broker.shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            counter!(names::CONNECTIONS_REFUSED).increment(1);
            debug!(%peer, max_connections = broker.settings.max_connections, "too many connections");
            continue;
        };
        // A request and its answer are small and the peer waits for them: never hold a segment back.
        if let Err(error) = socket.set_nodelay(true) {
            debug!(%peer, %error, "cannot set TCP_NODELAY");
        }
        let (broker, memory) = (broker.clone(), memory.clone());
        connections.spawn(async move {
            gauge!(names::CONNECTIONS).increment(1.0);
            let (read, write) = socket.into_split();
            connection::serve(broker, read, write, peer, memory).await;
            gauge!(names::CONNECTIONS).decrement(1.0);
            drop(place);
        });
    }
    connections.close();
    connections.wait().await;
}
