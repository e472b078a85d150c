//! What a person or a service manager sends to end a command.

use tokio::signal::unix::{SignalKind, signal};

/// Returns at SIGINT or SIGTERM. Where they cannot be listened for, the system's default ends the process.
pub(crate) async fn interrupted() {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
