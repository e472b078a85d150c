//! The connections of the admin port.
//!
//! What always holds: nobody who sends nothing, or no end of it, holds up others or the broker's end.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

/// Connections at a time; more are closed at once.
const CONNECTIONS_MAX: usize = 64;
/// How long the next request's head may take to come.
const HEAD_READ_MAX: Duration = Duration::from_secs(90);
/// How long the last answer may take to be sent once the server is to end.
const LAST_ANSWER_MAX: Duration = Duration::from_millis(500);
/// The longest head of a request.
const HEAD_MAX_BYTES: usize = 16 << 10;
/// How long to wait after the system refused to hand out a connection (out of file descriptors, mostly).
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves until `stop`, and then until each connection has its answer.
pub(super) async fn serve(listener: TcpListener, routes: Router, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(error) => {
                warn!(%error, "cannot accept a connection to the admin port");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            debug!(max_connections = CONNECTIONS_MAX, "too many connections to the admin port");
            continue;
        };
        let (routes, stop) = (routes.clone(), stop.clone());
        connections.spawn(async move {
            serve_connection(socket, routes, &stop).await;
            drop(place);
        });
    }
    connections.close();
    connections.wait().await;
}

async fn serve_connection(socket: TcpStream, routes: Router, stop: &CancellationToken) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_READ_MAX)
        .max_buf_size(HEAD_MAX_BYTES)
        .serve_connection(TokioIo::new(socket), TowerToHyperService::new(routes));
    let mut connection = pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            // Half a request is not waited for any longer than an answer that is on its way.
            tokio::time::timeout(LAST_ANSWER_MAX, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = served {
        debug!(%error, "a connection to the admin port ended");
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
