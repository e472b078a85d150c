//! Follows what others do with the store's topics: applications create them together with their first events.
//!
//! Two parts: [`FollowingWakeup`], which stands in front of the partitions' own wake-up and sees to it that a topic is
//! known before its partitions are told of entries; and [`FollowingWakeup::run`], which looks for topics when that asks for it, now and
//! then anyway, and has the relay look at every partition that turned up.

use std::sync::Arc;
use std::time::Duration;

use tidegate_format::PartitionId;
use tidegate_outbox::Wakeup;
use tokio::sync::Notify;
use tracing::warn;

use super::Catalogue;

/// How often topics are looked for that nobody has spoken of.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// The pause after each look: what is asked for meanwhile is one more.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// Tells partitions of entries, those of topics that are not known yet as well.
pub(crate) struct FollowingWakeup<W> {
    catalogue: Arc<Catalogue>,
    partitions: W,
    /// There are entries of a topic that is not known.
    unknown: Notify,
}

impl<W: Wakeup> FollowingWakeup<W> {
    pub(crate) fn new(catalogue: Arc<Catalogue>, partitions: W) -> Self {
        Self { catalogue, partitions, unknown: Notify::new() }
    }

    /// Follows until it is dropped.
    pub(crate) async fn run(&self) {
        loop {
            let look = tokio::select! {
                () = self.catalogue.discovery() => false,
                () = self.unknown.notified() => true,
                () = tokio::time::sleep(LOOK_EVERY) => true,
            };
            if look && let Err(error) = self.catalogue.refresh().await {
                warn!(%error, "topics that applications have created are looked for again later");
            }
            let discovered = self.catalogue.take_discovered();
            let partitions: Vec<PartitionId> =
                discovered.iter().flat_map(|topic| topic.partition_ids()).collect();
            self.partitions.committed(&partitions);
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }
}

impl<W: Wakeup> Wakeup for FollowingWakeup<W> {
    fn committed(&self, partitions: &[PartitionId]) {
        let topics = self.catalogue.topics();
        let is_known = |id: &PartitionId| {
            topics.by_id(id.topic).is_some_and(|topic| topic.partition(id.partition.0).is_some())
        };
        if partitions.iter().all(is_known) {
            return self.partitions.committed(partitions);
        }
        let known: Vec<PartitionId> = partitions.iter().copied().filter(is_known).collect();
        self.partitions.committed(&known);
        // Those of topics that exist turn up in the look that this asks for.
        self.unknown.notify_one();
    }
}
