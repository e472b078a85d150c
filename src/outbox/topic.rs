//! Topics as the outbox needs them: looked up in the caller's snapshot, created on first use.

use std::collections::BTreeMap;

use tidegate_format::{OrderVersion, TopicId, TopicKey, TopicValue, check_topic_name};
use tidegate_store::Txn;

use crate::{LoadError, PublishError};

/// What a topic that is created on first use looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDefaults {
    /// How many partitions it gets (`num.partitions`), at least 1.
    pub partitions: i32,
    /// Topic configurations that differ from the broker's defaults.
    pub configs: BTreeMap<String, String>,
}

impl Default for TopicDefaults {
    fn default() -> Self {
        Self { partitions: 1, configs: BTreeMap::new() }
    }
}

/// The row of a topic in the caller's snapshot; none if there is no such topic.
///
/// # Errors
/// If the row cannot be loaded.
pub async fn load_topic(txn: &mut impl Txn, name: &str) -> Result<Option<TopicValue>, LoadError> {
    if check_topic_name(name).is_err() {
        return Ok(None);
    }
    let key = TopicKey { name: name.to_owned() }.encode();
    match txn.get(&key).await? {
        Some(row) => Ok(Some(TopicValue::decode(row)?)),
        None => Ok(None),
    }
}

/// The row of a topic; if it is missing, it is written in the caller's transaction with `defaults` and `new_id`
/// (random). Two transactions that create one topic conflict, and the later finds it when it runs again.
///
/// # Errors
/// If the row cannot be loaded, or the topic is missing and its name is not allowed.
///
/// # Panics
/// If `defaults.partitions` is not positive.
pub async fn ensure_topic(
    txn: &mut impl Txn,
    name: &str,
    defaults: &TopicDefaults,
    new_id: TopicId,
) -> Result<TopicValue, PublishError> {
    if let Some(topic) = load_topic(txn, name).await? {
        return Ok(topic);
    }
    check_topic(name)?;
    assert!(defaults.partitions > 0, "a topic has at least one partition");
    let topic = TopicValue {
        id: new_id,
        partitions: defaults.partitions,
        created_version: OrderVersion(txn.start_version().0),
        configs: defaults.configs.clone(),
    };
    txn.put(TopicKey { name: name.to_owned() }.encode(), topic.encode());
    Ok(topic)
}

/// Checks a topic's name by Kafka's rule.
pub(crate) fn check_topic(name: &str) -> Result<(), PublishError> {
    check_topic_name(name).map_err(|cause| PublishError::Name { name: name.to_owned(), cause })
}
