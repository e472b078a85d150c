//! A broker in the application's own process, on the embedded store.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate_broker::settings::Settings;
use tidegate_broker::{Ports, RunningBroker, embedded_options};
use tidegate_model::{DbSettings, Wakeup};
use tidegate_store::{Clock, EmbeddedStore, SystemClock};

use super::OpenError;
use crate::{ClientOptions, Transport};

/// What stands for the address of a broker that has no port, as it says itself.
const NO_ADDRESS: &str = "in-process:0";

/// How a store is opened with a broker of its own.
///
/// ```
/// # #[tokio::main(flavor = "multi_thread", worker_threads = 2)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tidegate::{OpenOptions, Tidegate};
///
/// # let directory = tempfile::tempdir()?;
/// // Stock clients find it at the port; without this line it has none.
/// let options = OpenOptions::new(directory.path()).listen(([127, 0, 0, 1], 0).into());
/// let tidegate = Tidegate::open_with(options).await?;
/// let address = &tidegate.client_options()?.bootstrap[0];
/// assert!(std::net::TcpStream::connect(address).is_ok());
/// tidegate.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct OpenOptions {
    path: PathBuf,
    ports: Ports,
    /// The broker's settings; `data.dir` is not looked at, nor the address of a port that is not asked for.
    pub settings: Settings,
    /// The database's settings.
    pub db: DbSettings,
    /// What the store takes for now.
    pub clock: Arc<dyn Clock>,
}

impl OpenOptions {
    /// The defaults, for the store in a directory, which is made if it is missing. It listens nowhere.
    #[must_use]
    pub fn new(path: impl AsRef<Path>) -> Self {
        let (settings, db) = (Settings::default(), DbSettings::default());
        Self {
            path: path.as_ref().to_owned(),
            ports: Ports::NONE,
            settings,
            db,
            clock: Arc::new(SystemClock),
        }
    }

    /// Listens for stock clients at this address.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.settings.listen = address;
        self.ports.kafka = true;
        self
    }

    /// Serves the admin HTTP server (health, metrics, backups) at this address.
    #[must_use]
    pub fn admin(mut self, address: SocketAddr) -> Self {
        self.settings.admin = address;
        self.ports.admin = true;
        self
    }
}

/// The broker and its store.
pub(super) struct OwnBroker {
    broker: RunningBroker,
    store: EmbeddedStore,
    ports: Ports,
}

impl OwnBroker {
    pub(super) async fn start(options: OpenOptions) -> Result<(Self, DbSettings), OpenError> {
        let OpenOptions { path, ports, mut settings, db, clock } = options;
        settings.data_dir.clone_from(&path);
        let embedded = embedded_options(&settings, clock);
        let directory = path.clone();
        let opened = tokio::task::spawn_blocking(move || EmbeddedStore::open(&directory, embedded)).await;
        let opened = opened.expect("opening a store does not panic");
        let store = opened.map_err(|source| OpenError::Store { path: path.display().to_string(), source })?;
        match RunningBroker::start_with(settings, store.clone().into(), ports).await {
            Ok(broker) => Ok((Self { broker, store, ports }, db)),
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

    /// For clients of this process; with the address for others, if there is one.
    pub(super) fn client_options(&self) -> ClientOptions {
        let address = if self.ports.kafka { self.broker.listen().to_string() } else { NO_ADDRESS.to_owned() };
        ClientOptions { transport: Transport::InProcess(self.broker.entry()), ..ClientOptions::new(&address) }
    }

    pub(super) async fn stop(self) {
        self.broker.stop().await;
        self.store.shutdown().await;
    }
}
