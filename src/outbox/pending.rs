//! How much waits in a partition, for metrics: counted up to a limit, so that it costs the same however much waits.

use bytes::Bytes;
use tidegate_format::{Kind, OutboxKey, PartitionId, TimerKey};
use tidegate_store::{Direction, KeyRange, Txn};

use crate::LoadError;
use crate::sweep::partition_of_key;

/// How many keys are read at a time.
const PAGE_KEYS: usize = 1_000;

/// What waits in one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// Events that were due at their commit.
    pub outbox: usize,
    /// Events and records that are due later, or were due and have not been moved.
    pub timer: usize,
    /// Whether either count stopped at the limit: there may be more.
    pub capped: bool,
    /// When the oldest of the outbox was committed, in milliseconds since the Unix epoch.
    pub oldest_commit_ms: Option<i64>,
    /// When the first of the timer is due, in milliseconds since the Unix epoch.
    pub oldest_due_ms: Option<i64>,
}

/// Counts what waits in a partition: at most `count_max` of the outbox, and as many of the timer.
///
/// # Errors
/// If rows cannot be loaded.
pub async fn count_pending(
    txn: &mut impl Txn,
    id: PartitionId,
    count_max: usize,
) -> Result<Pending, LoadError> {
    let outbox = count(txn, OutboxKey::range(id), count_max).await?;
    let timer = count(txn, TimerKey::range(id), count_max).await?;
    let first_event = outbox.first.map(|key| OutboxKey::decode(&key)).transpose()?;
    let first_timer = timer.first.map(|key| TimerKey::decode(&key)).transpose()?;
    Ok(Pending {
        outbox: outbox.keys,
        timer: timer.keys,
        capped: outbox.keys == count_max || timer.keys == count_max,
        oldest_commit_ms: first_event.map(|key| key.version.unix_ms()),
        oldest_due_ms: first_timer.map(|key| key.due_ms),
    })
}

/// What a look from outside found in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The partition.
    pub id: PartitionId,
    /// When its first timer entry is due, in milliseconds since the Unix epoch; none: it has outbox entries, which are due.
    pub due_ms: Option<i64>,
}

/// Finds what waits in partitions, given in order: one seek for each that has rows at all, and none for all those between
/// two of them. So partitions that nobody has used cost nothing, however many they are.
///
/// # Errors
/// If keys cannot be loaded.
pub async fn find_waiting(txn: &mut impl Txn, ids: &[PartitionId]) -> Result<Vec<Waiting>, LoadError> {
    assert!(ids.is_sorted(), "partitions are looked at in the order of their keys");
    let mut waiting = Vec::new();
    let mut left = ids;
    while let (Some(first), Some(last)) = (left.first(), left.last()) {
        // A partition's outbox and timer are the last of its keys, and lie side by side.
        let range = KeyRange::new(OutboxKey::range(*first).0, TimerKey::range(*last).1);
        let found = txn.scan_keys(&range, 1, Direction::Forward).await?;
        let Some(key) = found.first() else { break };
        let id = partition_of_key(key)?;
        if id == *first {
            let is_timer = Kind::of_key(key) == Some(Kind::Timer);
            let due_ms = if is_timer { Some(TimerKey::decode(key)?.due_ms) } else { None };
            waiting.push(Waiting { id, due_ms });
            left = &left[1..];
        } else {
            left = &left[left.partition_point(|other| *other < id)..];
        }
    }
    Ok(waiting)
}

struct Counted {
    keys: usize,
    first: Option<Bytes>,
}

async fn count(txn: &mut impl Txn, range: (Bytes, Bytes), count_max: usize) -> Result<Counted, LoadError> {
    let mut range = KeyRange::new(range.0, range.1);
    let mut counted = Counted { keys: 0, first: None };
    while counted.keys < count_max {
        let wanted = PAGE_KEYS.min(count_max - counted.keys);
        let page = txn.scan_keys(&range, wanted, Direction::Forward).await?;
        counted.keys += page.len();
        counted.first = counted.first.or_else(|| page.first().cloned());
        match page.last() {
            Some(last) if page.len() == wanted => range.start = KeyRange::successor(last),
            _ => break,
        }
    }
    Ok(counted)
}

#[cfg(test)]
#[path = "pending_tests.rs"]
mod tests;
