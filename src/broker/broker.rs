//! What every handler can reach.

use std::sync::Arc;

use tidegate_format::{PartitionId, TopicId};
use tidegate_store::Dropped;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::extension::SessionPlaces;
use crate::group_host::GroupHosts;
use crate::lease::Lease;
use crate::net::{Complaints, ConnectionPlaces};
use crate::partition_host::PartitionHosts;
use crate::settings::Settings;
use crate::topics::{Catalogue, FollowingWakeup, Topic, TopicError};
use crate::{Advertised, BrokerStore};

/// One broker.
pub(crate) struct Broker {
    pub(crate) settings: Arc<Settings>,
    pub(crate) store: BrokerStore,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) partitions: PartitionHosts<BrokerStore>,
    pub(crate) groups: GroupHosts<BrokerStore>,
    /// The cluster's id as Kafka's clients show it.
    pub(crate) cluster_id: String,
    pub(crate) advertised: Advertised,
    /// Nothing is answered while it does not live.
    pub(crate) lease: Lease,
    /// What is told of entries that were committed past the partitions.
    pub(crate) wakeup: Arc<FollowingWakeup<PartitionHosts<BrokerStore>>>,
    /// The connections of clients.
    pub(crate) connection_places: ConnectionPlaces,
    /// What is said of clients that do not behave.
    pub(crate) complaints: Complaints,
    /// What is said of reads that the store failed.
    pub(crate) failed_reads: Complaints,
    /// The sessions of applications elsewhere.
    pub(crate) extension_sessions: SessionPlaces,
    /// Cancelled once the broker is told to stop.
    pub(crate) shutdown: CancellationToken,
}

/// The volume that the store's directory is on.
pub(crate) struct DiskSpace {
    pub(crate) total_bytes: u64,
    pub(crate) usable_bytes: u64,
}

impl Broker {
    /// Drops a topic, if it is still the one with this id: its name is free when this returns; its data goes in the
    /// background. What was begun is brought to its end also if whoever asked for it waits no longer.
    pub(crate) async fn drop_topic(
        self: &Arc<Self>,
        name: &str,
        only: Option<TopicId>,
    ) -> Result<Arc<Topic>, TopicError> {
        let (broker, name) = (self.clone(), name.to_owned());
        let dropping = tokio::spawn(async move {
            let topic = broker.catalogue.drop_topic(&name, only).await?;
            let partitions: Vec<PartitionId> = topic.partition_ids().collect();
            broker.partitions.close(&partitions).await;
            broker.groups.forget_topic(topic.id).await;
            tokio::spawn(remove_data(broker, topic.clone()));
            Ok(topic)
        });
        dropping.await.unwrap_or_else(|stopped| Err(TopicError::Store { reason: stopped.to_string() }))
    }

    /// The space on the volume of the embedded store; None if it cannot be told, or the data is elsewhere.
    pub(crate) fn disk_space(&self) -> Option<DiskSpace> {
        if let BrokerStore::Tikv(_) = self.store {
            return None;
        }
        let stat = rustix::fs::statvfs(&self.settings.data_dir).ok()?;
        Some(DiskSpace {
            total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
            usable_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }
}

async fn remove_data(broker: Arc<Broker>, dropped: Arc<Topic>) {
    match broker.catalogue.remove_data(dropped.id, dropped.partitions).await {
        Ok(Dropped::Now) => {}
        Ok(Dropped::Later) => {
            info!(topic = dropped.name, "a dropped topic's data goes when nothing older may read it");
        }
        Err(error) => {
            warn!(topic = dropped.name, %error, "a dropped topic's data is removed at the next start");
        }
    }
}
