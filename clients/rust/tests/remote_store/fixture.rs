//! A broker on an embedded store in a directory of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tidegate::{ClientOptions, RemoteOptions, RemoteStore};
use tidegate_broker::settings::Settings;
use tidegate_broker::{RunningBroker, embedded_options};
use tidegate_store::{Clock, EmbeddedStore};

/// After this time a test counts as hung. It has nothing to do with speed.
const HANG_AFTER: Duration = Duration::from_secs(120);

/// A broker that serves, and its store.
pub(crate) struct Broker {
    pub(crate) running: RunningBroker,
    pub(crate) store: EmbeddedStore,
}

/// Any free port of this machine alone.
pub(crate) fn any_port() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

impl Broker {
    /// Opens the store in a directory and serves it.
    pub(crate) async fn open(dir: &Path, clock: Arc<dyn Clock>, mut settings: Settings) -> Self {
        settings.admin = any_port();
        let store = EmbeddedStore::open(dir, embedded_options(&settings, clock)).expect("nobody else has it");
        let running = RunningBroker::start(settings, store.clone().into()).await.expect("a free port");
        Self { running, store }
    }

    pub(crate) async fn stop(self) {
        self.running.stop().await;
        self.store.shutdown().await;
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.running.listen()
    }
}

/// Settings of a broker on a free port.
pub(crate) fn settings() -> Settings {
    Settings { listen: any_port(), ..Settings::default() }
}

/// A directory for a store.
pub(crate) fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// A client's options that try again soon, and not for long.
pub(crate) fn options(address: SocketAddr) -> RemoteOptions {
    let options = RemoteOptions::new(&address.to_string());
    let client = ClientOptions { backoff_first_ms: 1, backoff_max_ms: 20, ..options.client };
    RemoteOptions { client, ..options }
}

pub(crate) async fn connect(address: SocketAddr) -> RemoteStore {
    RemoteStore::connect(options(address)).await.expect("it listens")
}

pub(crate) async fn in_time<T>(what: &str, outcome: impl Future<Output = T>) -> T {
    match tokio::time::timeout(HANG_AFTER, outcome).await {
        Ok(outcome) => outcome,
        Err(_) => panic!("hung: {what}"),
    }
}
