//! What waits for its due time: put, cancelled, moved and listed, all in the caller's transaction.
//!
//! What always holds: a schedule's row names the one timer entry that carries the schedule's name, in whichever
//! partition it is; both are written and removed together.

use bytes::Bytes;
use tidegate_format::{
    EventValue, PartitionId, PartitionIndex, SCHEDULE_ID_MAX_BYTES, ScheduleKey, ScheduleValue, TimerKey,
    TopicId, check_schedule_id,
};
use tidegate_store::{Direction, KeyRange, ScanLimit, Txn};
use uuid::Uuid;

use crate::LoadError;

/// The most schedules that one page of [`list`] has.
pub const PAGE_MAX: usize = 1_000;

/// One schedule that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheduled {
    /// Its name, unique within the topic.
    pub schedule: String,
    /// The partition whose log it will enter.
    pub partition: PartitionIndex,
    /// When it may, in milliseconds since the Unix epoch.
    pub due_ms: i64,
}

/// One page of a topic's schedules, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The schedules.
    pub schedules: Vec<Scheduled>,
    /// What to pass as `after` for the next page; none after the last.
    pub next: Option<String>,
}

/// The schedules of a topic whose names sort after `after`, at most `limit` (and at most [`PAGE_MAX`]) of them.
///
/// # Errors
/// If rows cannot be loaded.
pub async fn list(
    txn: &mut impl Txn,
    topic: TopicId,
    after: Option<&str>,
    limit: usize,
) -> Result<Page, LoadError> {
    let limit = limit.clamp(1, PAGE_MAX);
    let (start, end) = match after {
        // No schedule's name is longer, so none lies between the cut name and the whole.
        Some(after) => {
            ScheduleKey::range_from(topic, &after[..after.floor_char_boundary(SCHEDULE_ID_MAX_BYTES)])
        }
        None => ScheduleKey::range(topic),
    };
    let rows = txn.scan(&KeyRange::new(start, end), ScanLimit::count(limit + 1), Direction::Forward).await?;
    let mut schedules = Vec::with_capacity(rows.len().min(limit));
    for (key, row) in rows.iter().take(limit) {
        let ScheduleKey { schedule, .. } = ScheduleKey::decode(key)?;
        let ScheduleValue { partition, due_ms, .. } = ScheduleValue::decode(row.clone())?;
        schedules.push(Scheduled { schedule, partition, due_ms });
    }
    let next = if rows.len() > limit { schedules.last().map(|last| last.schedule.clone()) } else { None };
    Ok(Page { schedules, next })
}

/// Cancels what waits under a name and returns its partition; none if nothing does.
///
/// # Errors
/// If rows cannot be loaded.
pub async fn cancel(
    txn: &mut impl Txn,
    topic: TopicId,
    schedule: &str,
) -> Result<Option<PartitionId>, LoadError> {
    let Some((key, timer)) = load_row(txn, topic, schedule).await? else { return Ok(None) };
    txn.delete(timer.encode());
    txn.delete(key);
    Ok(Some(timer.id))
}

/// Moves what waits under a name to `due_ms` (with that timestamp), as the timer entry `entry` (a fresh
/// [`EntryIds`](crate::EntryIds) id), and returns its partition; none if nothing waits under that name. A due time
/// that has passed at `now_ms`, read after the transaction began, lets it enter the log at the relay's next turn.
///
/// # Errors
/// If rows cannot be loaded.
pub async fn reschedule(
    txn: &mut impl Txn,
    topic: TopicId,
    schedule: &str,
    due_ms: i64,
    now_ms: i64,
    entry: Uuid,
) -> Result<Option<PartitionId>, LoadError> {
    let Some((_, timer)) = load_row(txn, topic, schedule).await? else { return Ok(None) };
    let held_key = timer.encode();
    // A topic that is being dropped loses its timer entries and its schedules' rows one after the other.
    let Some(held) = txn.get(&held_key).await? else { return Ok(None) };
    let value = EventValue { timestamp_ms: Some(due_ms), ..EventValue::decode(held)? };
    txn.delete(held_key);
    put_timer(txn, timer.id, due_ms.max(now_ms), entry, &value);
    Ok(Some(timer.id))
}

/// The due time of the entry of a partition that is due first, in milliseconds since the Unix epoch.
///
/// # Errors
/// If rows cannot be loaded.
pub async fn next_due(txn: &mut impl Txn, id: PartitionId) -> Result<Option<i64>, LoadError> {
    let (start, end) = TimerKey::range(id);
    let keys = txn.scan_keys(&KeyRange::new(start, end), 1, Direction::Forward).await?;
    match keys.first() {
        Some(key) => Ok(Some(TimerKey::decode(key)?.due_ms)),
        None => Ok(None),
    }
}

/// Writes a timer entry and, if it has a schedule's name, the row that names it. What waited under the name must have
/// been [`cancel`]led in this transaction. The due time must not be before the transaction began: relays look no
/// further back than that.
pub(crate) fn put_timer(txn: &mut impl Txn, id: PartitionId, due_ms: i64, entry: Uuid, value: &EventValue) {
    if let Some(schedule) = &value.schedule {
        let key = ScheduleKey { topic: id.topic, schedule: schedule.clone() };
        txn.put(key.encode(), ScheduleValue { partition: id.partition, due_ms, entry }.encode());
    }
    txn.growing();
    txn.put(TimerKey { id, due_ms, entry }.encode(), value.encode());
}

/// A schedule's row, as its key and the timer key that it names.
async fn load_row(
    txn: &mut impl Txn,
    topic: TopicId,
    schedule: &str,
) -> Result<Option<(Bytes, TimerKey)>, LoadError> {
    if check_schedule_id(schedule).is_err() {
        return Ok(None);
    }
    let key = ScheduleKey { topic, schedule: schedule.to_owned() }.encode();
    let Some(row) = txn.get(&key).await? else { return Ok(None) };
    Ok(Some((key, ScheduleValue::decode(row)?.timer_key(topic))))
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
