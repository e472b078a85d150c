//! Accepts connections over TCP.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tracing::{debug, warn};

use super::Connections;

/// How long to wait after the system refused to hand out a connection (out of file descriptors, mostly).
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Accepts connections until the broker shuts down.
pub(crate) async fn accept(connections: Arc<Connections>, listener: TcpListener) {
    loop {
        let accepted = tokio::select! {
            () = connections.is_over() => return,
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
        // A request and its answer are small and the peer waits for them: never hold a segment back.
        if let Err(error) = socket.set_nodelay(true) {
            debug!(%peer, %error, "cannot set TCP_NODELAY");
        }
        let (read, write) = socket.into_split();
        // One too many is closed at once.
        let _is_served = connections.serve(read, write, peer);
    }
}
