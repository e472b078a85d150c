//! What a partition needs to know of its topic.

use tidegate_format::{PartitionId, TopicId};

use crate::topics::{Catalogue, TopicConfig};

/// The topics as they are now.
pub(crate) trait TopicSource: Send + Sync + 'static {
    /// A topic's configuration; none if there is no such topic (any more).
    fn config(&self, topic: TopicId) -> Option<TopicConfig>;

    /// The partitions of all topics.
    fn partitions(&self) -> Vec<PartitionId>;
}

impl TopicSource for Catalogue {
    fn config(&self, topic: TopicId) -> Option<TopicConfig> {
        self.topics().by_id(topic).map(|topic| topic.config.clone())
    }

    fn partitions(&self) -> Vec<PartitionId> {
        self.topics().iter().flat_map(|topic| topic.partition_ids()).collect()
    }
}
