//! One topic, and all of them at one moment.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tidegate_format::{PartitionId, PartitionIndex, TopicId, TopicValue};

use super::config::TopicConfig;
use crate::settings::Settings;

/// One topic as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) id: TopicId,
    /// How many partitions it has, at least 1.
    pub(crate) partitions: i32,
    /// What is configured for this topic itself.
    pub(crate) overrides: BTreeMap<String, String>,
    /// That with the defaults filled in.
    pub(crate) config: TopicConfig,
}

impl Topic {
    pub(super) fn new(name: String, value: TopicValue, settings: &Settings) -> Self {
        let config = TopicConfig::resolve(&name, &value.configs, settings);
        Self { name, id: value.id, partitions: value.partitions, overrides: value.configs, config }
    }

    /// The id of a partition, if there is one of that number.
    pub(crate) fn partition(&self, index: i32) -> Option<PartitionId> {
        (0..self.partitions)
            .contains(&index)
            .then_some(PartitionId { topic: self.id, partition: PartitionIndex(index) })
    }

    /// The ids of all its partitions, in order.
    pub(crate) fn partition_ids(&self) -> impl Iterator<Item = PartitionId> + use<> {
        let topic = self.id;
        (0..self.partitions).map(move |index| PartitionId { topic, partition: PartitionIndex(index) })
    }

    /// Kafka's rule for topics that no application should write.
    pub(crate) fn is_internal(&self) -> bool {
        self.name.starts_with("__")
    }
}

/// All topics at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Topics {
    by_name: BTreeMap<String, Arc<Topic>>,
    by_id: HashMap<TopicId, Arc<Topic>>,
}

impl Topics {
    pub(crate) fn by_name(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_name.get(name)
    }

    pub(crate) fn by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.by_id.get(&id)
    }

    /// All of them, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_name.values()
    }

    pub(super) fn insert(&mut self, topic: Arc<Topic>) {
        if let Some(before) = self.by_name.insert(topic.name.clone(), topic.clone()) {
            self.by_id.remove(&before.id);
        }
        self.by_id.insert(topic.id, topic);
    }

    pub(super) fn remove(&mut self, name: &str) {
        if let Some(topic) = self.by_name.remove(name) {
            self.by_id.remove(&topic.id);
        }
    }
}
