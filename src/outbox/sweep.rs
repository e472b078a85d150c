//! Entries of topics that are gone.
//!
//! A publisher reads its topic in its snapshot, so it may commit an entry after the topic was dropped and its data
//! removed. Nobody owns that partition any more; this finds and removes what lies there. What a topic held that is being
//! dropped, and has its mark, is left to whoever drops it: it may be much, and go at one stroke later.

use std::collections::BTreeSet;

use bytes::Bytes;
use tidegate_format::{
    DroppedTopicKey, FormatError, Kind, LogKey, OutboxKey, PartitionId, PartitionStateKey, ProducerKey,
    ScheduleKey, TimerKey, TopicId, TopicKey, TopicValue, topic_range,
};
use tidegate_store::{CommitError, Direction, KeyRange, Pages, ReadError, Store, Txn};
use uuid::Uuid;

use crate::LoadError;

/// How many topics' rows are read at a time.
const PAGE_TOPICS: usize = 1_000;

/// Why a sweep ended early. What it removed stays removed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SweepError {
    /// Rows could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// They could not be removed.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl From<ReadError> for SweepError {
    fn from(error: ReadError) -> Self {
        Self::Load(error.into())
    }
}

/// Removes all partition data and schedules of topics that do not exist (any more) and have no mark, of at most `topics_max` topics, and
/// returns their ids. To be run rarely, by one broker: it seeks once for every topic.
///
/// # Errors
/// If the store fails or a row does not decode.
pub async fn sweep_gone_topics<S: Store>(store: &S, topics_max: usize) -> Result<Vec<TopicId>, SweepError> {
    let mut txn = store.begin().await?;
    let known = load_known_topics(&mut txn).await?;
    let mut gone =
        find_gone_topics(&mut txn, &known, topics_max, topic_range, topic_of_partition_key).await?;
    gone.extend(
        find_gone_topics(&mut txn, &known, topics_max, ScheduleKey::range, topic_of_schedule_key).await?,
    );
    drop(txn);
    let gone: Vec<TopicId> = gone.into_iter().take(topics_max).collect();
    for topic in &gone {
        for (start, end) in [topic_range(*topic), ScheduleKey::range(*topic)] {
            store.delete_range(KeyRange::new(start, end)).await?;
        }
    }
    Ok(gone)
}

/// The topics that exist and those that are being dropped.
async fn load_known_topics(txn: &mut impl Txn) -> Result<BTreeSet<TopicId>, LoadError> {
    let mut known = BTreeSet::new();
    let mut pages = Pages::new(TopicKey::all(), PAGE_TOPICS);
    while let Some(page) = pages.next(txn).await? {
        for (_, row) in page {
            known.insert(TopicValue::decode(row)?.id);
        }
    }
    let mut pages = Pages::new(DroppedTopicKey::all(), PAGE_TOPICS);
    while let Some(page) = pages.next(txn).await? {
        for (mark, _) in page {
            known.insert(DroppedTopicKey::decode(&mark)?.id);
        }
    }
    Ok(known)
}

/// The topics that have rows in one of `range_of`'s ranges and are not known: one seek for each topic that has any.
async fn find_gone_topics(
    txn: &mut impl Txn,
    known: &BTreeSet<TopicId>,
    topics_max: usize,
    range_of: fn(TopicId) -> (Bytes, Bytes),
    topic_of_key: fn(&[u8]) -> Result<TopicId, FormatError>,
) -> Result<BTreeSet<TopicId>, LoadError> {
    let mut range = KeyRange::new(range_of(TopicId(Uuid::nil())).0, range_of(TopicId(Uuid::max())).1);
    let mut gone = BTreeSet::new();
    while gone.len() < topics_max {
        let first = txn.scan_keys(&range, 1, Direction::Forward).await?;
        let Some(key) = first.first() else { break };
        let topic = topic_of_key(key)?;
        if !known.contains(&topic) {
            gone.insert(topic);
        }
        range.start = range_of(topic).1;
    }
    Ok(gone)
}

fn topic_of_schedule_key(key: &[u8]) -> Result<TopicId, FormatError> {
    Ok(ScheduleKey::decode(key)?.topic)
}

fn topic_of_partition_key(key: &[u8]) -> Result<TopicId, FormatError> {
    Ok(partition_of_key(key)?.topic)
}

/// The partition of one of its keys, of whatever kind.
pub(crate) fn partition_of_key(key: &[u8]) -> Result<PartitionId, FormatError> {
    Ok(match Kind::of_key(key) {
        Some(Kind::PartitionState) => PartitionStateKey::decode(key)?.id,
        Some(Kind::Producer) => ProducerKey::decode(key)?.id,
        Some(Kind::Outbox) => OutboxKey::decode(key)?.id,
        Some(Kind::Timer) => TimerKey::decode(key)?.id,
        _ => LogKey::decode(key)?.id,
    })
}

#[cfg(test)]
#[path = "sweep_tests.rs"]
mod tests;
