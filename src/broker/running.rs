//! A broker from its start to its end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tidegate_outbox::Wakeup;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::cluster::{StoreUseError, open_cluster};
use crate::group_host::GroupHosts;
use crate::partition_host::PartitionHosts;
use crate::settings::{SettingError, Settings};
use crate::topics::{Catalogue, FollowingWakeup, TopicError};
use crate::{Advertised, AdvertisedError, Broker, BrokerStore, admin, metrics, net};

/// How long the admin port may take for the answers that it has begun.
const ADMIN_STOP_MAX: Duration = Duration::from_secs(1);

/// Why a broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Two settings do not go together.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// Clients could not be told where to connect to.
    #[error(transparent)]
    Advertised(#[from] AdvertisedError),
    /// An address cannot be listened on.
    #[error("setting `{setting}`: cannot listen on {address}: {source}")]
    Listen {
        /// Which setting has the address.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The store is not one that can be used.
    #[error(transparent)]
    Store(#[from] StoreUseError),
    /// The topics cannot be read from the store.
    #[error("the topics cannot be loaded: {reason}")]
    Topics {
        /// What the store said.
        reason: String,
    },
}

impl From<TopicError> for StartError {
    fn from(error: TopicError) -> Self {
        Self::Topics { reason: error.to_string() }
    }
}

/// A broker that serves.
pub struct RunningBroker {
    broker: Arc<Broker>,
    wakeup: Arc<FollowingWakeup<PartitionHosts<BrokerStore>>>,
    /// They end when the broker is told to stop.
    tasks: TaskTracker,
    /// Answers until everything else has ended: a broker that stops says so.
    admin_task: JoinHandle<()>,
    admin_stop: CancellationToken,
    listen: SocketAddr,
    admin: SocketAddr,
}

impl RunningBroker {
    /// Starts a broker on a store; it serves when this returns.
    ///
    /// # Errors
    /// If the settings do not go together, an address is taken or the store cannot be used.
    pub async fn start(settings: Settings, store: BrokerStore) -> Result<Self, StartError> {
        settings.check()?;
        let recorder = metrics::install();
        let settings = Arc::new(settings);
        let (kafka_listener, listen) = listen("listen", settings.listen).await?;
        let (admin_listener, admin_address) = self::listen("admin", settings.admin).await?;
        let advertised = Advertised::new(&settings.advertised, listen)?;
        let cluster_id = open_cluster(&store).await?;
        let catalogue = Arc::new(Catalogue::load(store.clone(), settings.clone()).await?);
        let shutdown = CancellationToken::new();
        let broker = Arc::new(Broker {
            partitions: PartitionHosts::new(store.clone(), catalogue.clone(), &settings, shutdown.clone()),
            groups: GroupHosts::new(store.clone(), catalogue.clone(), &settings, shutdown.clone()),
            settings,
            store,
            catalogue,
            cluster_id: kafka_uuid(cluster_id),
            advertised,
            shutdown,
        });
        let check_interval = Duration::from_millis(broker.settings.offsets_retention_check_interval_ms);
        broker.groups.start(check_interval).await.map_err(StoreUseError::from)?;
        let tasks = TaskTracker::new();
        tasks.spawn(net::serve(broker.clone(), kafka_listener));
        tasks.spawn(metrics::upkeep(recorder.clone(), broker.shutdown.clone()));
        let wakeup = FollowingWakeup::new(broker.catalogue.clone(), broker.partitions.clone());
        let wakeup = Arc::new(wakeup);
        let (follower, shutdown) = (wakeup.clone(), broker.shutdown.clone());
        tasks.spawn(async move { shutdown.run_until_cancelled(follower.run()).await });
        tasks.close();
        let admin_stop = CancellationToken::new();
        let admin_task =
            tokio::spawn(admin::serve(broker.clone(), recorder, admin_listener, admin_stop.clone()));
        Ok(Self { broker, wakeup, tasks, admin_task, admin_stop, listen, admin: admin_address })
    }

    /// Where Kafka clients are served.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Where the admin HTTP server is.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// What its handlers reach.
    #[cfg(test)]
    pub(crate) fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// Tells the broker that entries were committed to its store by this process: what a publisher in the same process
    /// passes on.
    #[must_use]
    pub fn wakeup(&self) -> Arc<dyn Wakeup> {
        self.wakeup.clone()
    }

    /// Stops: no new requests, those that were read are answered within `shutdown.grace.ms`, then everything ends.
    pub async fn stop(self) {
        self.broker.shutdown.cancel();
        let grace = Duration::from_millis(self.broker.settings.shutdown_grace_ms);
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            warn!(
                grace_ms = self.broker.settings.shutdown_grace_ms,
                "stopped before every request was answered"
            );
        }
        self.broker.partitions.shutdown().await;
        self.broker.groups.shutdown().await;
        self.admin_stop.cancel();
        if tokio::time::timeout(ADMIN_STOP_MAX, self.admin_task).await.is_err() {
            warn!("stopped before every answer of the admin port was sent");
        }
        info!("stopped");
    }
}

async fn listen(setting: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { setting, address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// An id as Kafka writes it: 22 characters of URL-safe base64.
fn kafka_uuid(id: uuid::Uuid) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(id.as_bytes())
}
