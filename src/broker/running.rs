//! A broker from its start to its end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tidegate_format::{BrokerId, BrokerValue};
use tidegate_outbox::Wakeup;
use tidegate_store::Store;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::cluster::{StoreUseError, open_cluster};
use crate::event_types::enter_event_types;
use crate::extension::{self, SessionPlaces};
use crate::group_host::GroupHosts;
use crate::lease::{self, Lease, LeaseError, LeaseHolder};
use crate::net::{self, Complaints, ConnectionPlaces, Connections, Entry};
use crate::partition_host::PartitionHosts;
use crate::settings::{SettingError, Settings};
use crate::topics::{Catalogue, FollowingWakeup, TopicError};
use crate::{Advertised, AdvertisedError, Broker, BrokerStore, admin, garbage, metrics};

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
    /// Another broker has the namespace, or that cannot be found out.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// The topics of event types cannot be entered.
    #[error("setting `event.types` cannot be written to the store: {reason}")]
    EventTypes {
        /// What the store said.
        reason: String,
    },
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

/// Which ports a broker opens. Its own process reaches it without any, by its [`Entry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// That of Kafka clients, at the setting `listen`.
    pub kafka: bool,
    /// That of the admin HTTP server, at the setting `admin`.
    pub admin: bool,
}

impl Ports {
    /// Both.
    pub const ALL: Self = Self { kafka: true, admin: true };
    /// None: what listens nowhere cannot be reached from elsewhere.
    pub const NONE: Self = Self { kafka: false, admin: false };
}

/// A broker that serves.
pub struct RunningBroker {
    broker: Arc<Broker>,
    connections: Arc<Connections>,
    /// They end when the broker is told to stop.
    tasks: TaskTracker,
    /// Answers until everything else has ended: a broker that stops says so.
    admin_task: Option<JoinHandle<()>>,
    admin_stop: CancellationToken,
    /// Ends the lease's task, which gives the lease back.
    lease_stop: CancellationToken,
    lease_task: Option<JoinHandle<()>>,
    listen: Option<SocketAddr>,
    admin: Option<SocketAddr>,
}

impl RunningBroker {
    /// Starts a broker on a store; it serves when this returns.
    ///
    /// # Errors
    /// If the settings do not go together, an address is taken or the store cannot be used.
    pub async fn start(settings: Settings, store: BrokerStore) -> Result<Self, StartError> {
        Self::start_with(settings, store, Ports::ALL).await
    }

    /// As [`start`](Self::start), with some of the ports only: the addresses of the others, and without Kafka's what is
    /// advertised, are not looked at.
    ///
    /// # Errors
    /// As there.
    pub async fn start_with(
        settings: Settings,
        store: BrokerStore,
        ports: Ports,
    ) -> Result<Self, StartError> {
        settings.check()?;
        let recorder = metrics::install();
        let settings = Arc::new(settings);
        let kafka_listener = listen("listen", settings.listen, ports.kafka).await?;
        let admin_listener = listen("admin", settings.admin, ports.admin).await?;
        let bound = |listener: &Option<(TcpListener, SocketAddr)>| listener.as_ref().map(|(_, at)| *at);
        let (listen, admin) = (bound(&kafka_listener), bound(&admin_listener));
        let advertised = match listen {
            Some(listen) => Advertised::new(&settings.advertised, listen)?,
            None => Advertised::nowhere(),
        };
        let cluster_id = open_cluster(&store).await?;
        let lease_stop = CancellationToken::new();
        let (lease, lease_task) = hold_lease(&store, &settings, &advertised, lease_stop.clone()).await?;
        if let BrokerStore::Tikv(store) = &store {
            store.raise_bounds().await.map_err(StoreUseError::from)?;
        }
        enter_event_types(&store, &settings.event_types).await?;
        let catalogue = Arc::new(Catalogue::load(store.clone(), settings.clone()).await?);
        let shutdown = CancellationToken::new();
        let partitions = PartitionHosts::new(store.clone(), catalogue.clone(), &settings, shutdown.clone());
        let is_extended = settings.extension_enable.is_on_at(listen.unwrap_or(net::THIS_PROCESS).ip());
        let broker = Arc::new(Broker {
            wakeup: Arc::new(FollowingWakeup::new(catalogue.clone(), partitions.clone())),
            connection_places: ConnectionPlaces::new(settings.max_connections),
            complaints: Complaints::default(),
            failed_reads: Complaints::default(),
            extension_sessions: SessionPlaces::new(&settings, is_extended),
            partitions,
            groups: GroupHosts::new(store.clone(), catalogue.clone(), &settings, shutdown.clone()),
            settings,
            store,
            catalogue,
            cluster_id: kafka_uuid(cluster_id),
            advertised,
            lease,
            shutdown,
        });
        let check_interval = Duration::from_millis(broker.settings.offsets_retention_check_interval_ms);
        broker.groups.start(check_interval).await.map_err(StoreUseError::from)?;
        let connections = Arc::new(Connections::new(broker.clone()));
        let tasks = TaskTracker::new();
        tasks.spawn(connections.clone().run());
        if let Some((listener, _)) = kafka_listener {
            tasks.spawn(net::accept(connections.clone(), listener));
        }
        tasks.spawn(metrics::upkeep(recorder.clone(), broker.shutdown.clone()));
        let (follower, shutdown) = (broker.wakeup.clone(), broker.shutdown.clone());
        tasks.spawn(async move { shutdown.run_until_cancelled(follower.run()).await });
        if let BrokerStore::Tikv(store) = &broker.store {
            tasks.spawn(garbage::run(store.clone(), broker.clone(), broker.shutdown.clone()));
        }
        if is_extended {
            tasks.spawn(extension::expire_attempts(broker.clone(), broker.shutdown.clone()));
        }
        tasks.close();
        let admin_stop = CancellationToken::new();
        let admin_task = admin_listener.map(|(listener, _)| {
            tokio::spawn(admin::serve(broker.clone(), recorder, listener, admin_stop.clone()))
        });
        Ok(Self { broker, connections, tasks, admin_task, admin_stop, lease_stop, lease_task, listen, admin })
    }

    /// Where Kafka clients are served.
    ///
    /// # Panics
    /// If it was started without that port.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        self.listen.expect("whoever asks has started it with its port")
    }

    /// Where the admin HTTP server is.
    ///
    /// # Panics
    /// If it was started without that port.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin.expect("whoever asks has started it with its port")
    }

    /// The way in for this process, whichever ports there are.
    #[must_use]
    pub fn entry(&self) -> Entry {
        Entry::to(&self.connections)
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
        self.broker.wakeup.clone()
    }

    /// Waits until the broker cannot go on and is to be stopped, and gives the reason: another has taken its namespace.
    pub async fn failed(&self) -> String {
        self.broker.lease.lost().await
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
        // Last: until here commits and answers were this broker's alone.
        self.lease_stop.cancel();
        if let Some(lease) = self.lease_task {
            // It ends within its own limit.
            let _panicked = lease.await;
        }
        self.admin_stop.cancel();
        if let Some(mut admin) = self.admin_task
            && tokio::time::timeout(ADMIN_STOP_MAX, &mut admin).await.is_err()
        {
            warn!("stopped before every answer of the admin port was sent");
            // Whoever starts next finds the port free.
            admin.abort();
            let _cancelled = admin.await;
        }
        info!("stopped");
    }
}

/// Takes the lease of a store that several brokers can reach, and keeps it until `stop`.
async fn hold_lease(
    store: &BrokerStore,
    settings: &Settings,
    advertised: &Advertised,
    stop: CancellationToken,
) -> Result<(Lease, Option<JoinHandle<()>>), LeaseError> {
    if !store.is_shared() {
        return Ok((Lease::unshared(), None));
    }
    let value = BrokerValue {
        host: advertised.host.clone(),
        port: advertised.port,
        rack: None,
        incarnation: rand::random(),
        renewals: 0,
        lease_ms: settings.broker_lease_ms,
    };
    let me = LeaseHolder { id: BrokerId(settings.broker_id), value };
    let (lease, keeper) = lease::acquire(store.clone(), me).await?;
    Ok((lease, Some(tokio::spawn(keeper.run(stop)))))
}

/// Opens a port, if it is wanted.
async fn listen(
    setting: &'static str,
    address: SocketAddr,
    is_wanted: bool,
) -> Result<Option<(TcpListener, SocketAddr)>, StartError> {
    if !is_wanted {
        return Ok(None);
    }
    let failed = |source| StartError::Listen { setting, address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok(Some((listener, bound)))
}

/// An id as Kafka writes it: 22 characters of URL-safe base64.
#[must_use]
pub fn kafka_uuid(id: uuid::Uuid) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(id.as_bytes())
}
