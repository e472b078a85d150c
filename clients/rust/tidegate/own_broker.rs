//! A broker in the application's own process, on the embedded store.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate_broker::settings::Settings;
use tidegate_broker::{RunningBroker, embedded_options};
use tidegate_model::{DbSettings, Wakeup};
use tidegate_store::{Clock, EmbeddedStore, SystemClock};

use super::OpenError;

/// Any free port of this machine alone.
const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// How a store is opened with a broker of its own.
#[derive(Clone)]
pub struct OpenOptions {
    path: PathBuf,
    /// The broker's settings; `data.dir` is not looked at.
    pub settings: Settings,
    /// The database's settings.
    pub db: DbSettings,
    /// What the store takes for now.
    pub clock: Arc<dyn Clock>,
}

impl OpenOptions {
    /// The defaults, for the store in a directory, which is made if it is missing: nobody but this process knows the port.
    #[must_use]
    pub fn new(path: impl AsRef<Path>) -> Self {
        let settings = Settings { listen: ANY_PORT, admin: ANY_PORT, ..Settings::default() };
        let path = path.as_ref().to_owned();
        Self { path, settings, db: DbSettings::default(), clock: Arc::new(SystemClock) }
    }

    /// Listens for stock clients at this address.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.settings.listen = address;
        self
    }
}

/// The broker and its store.
pub(super) struct OwnBroker {
    broker: RunningBroker,
    store: EmbeddedStore,
}

impl OwnBroker {
    pub(super) async fn start(options: OpenOptions) -> Result<(Self, DbSettings), OpenError> {
        let OpenOptions { path, mut settings, db, clock } = options;
        settings.data_dir.clone_from(&path);
        let embedded = embedded_options(&settings, clock);
        let directory = path.clone();
        let opened = tokio::task::spawn_blocking(move || EmbeddedStore::open(&directory, embedded)).await;
        let opened = opened.expect("opening a store does not panic");
        let store = opened.map_err(|source| OpenError::Store { path: path.display().to_string(), source })?;
        match RunningBroker::start(settings, store.clone().into()).await {
            Ok(broker) => Ok((Self { broker, store }, db)),
            Err(error) => {
                store.shutdown().await;
                Err(error.into())
            }
        }
    }

    pub(super) fn store(&self) -> EmbeddedStore {
        self.store.clone()
    }

    pub(super) fn wakeup(&self) -> Arc<dyn Wakeup> {
        self.broker.wakeup()
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.broker.listen()
    }

    pub(super) async fn stop(self) {
        self.broker.stop().await;
        self.store.shutdown().await;
    }
}
