//! How far each group is behind, in records and in seconds, read from one snapshot of the store.
//!
//! What always holds: a group without members stays visible as long as it has committed offsets; a group, an offset or a
//! topic that is deleted disappears. Lag in records is that of Kafka's tools: offsets from the committed one to the end
//! of the log, whether or not retention has left their records there, and what the group's workers have parked, which is
//! also told apart. Lag in seconds is now less the time at which the
//! first record that is there and was not committed entered the log, and 0 where there is none.

use std::collections::{BTreeMap, HashMap};

use tidegate_format::{
    FormatError, Offset, OffsetKey, OffsetValue, OrderVersion, ParkedKey, PartitionId, PartitionState,
    PartitionStateKey,
};
use tidegate_log::{LogError, append_version_at};
use tidegate_outbox::LoadError;
use tidegate_store::{Pages, ReadError, Txn};

use super::exposition::signed_float;
use crate::topics::Topics;

/// Rows that are read from the store at a time.
pub(super) const PAGE: usize = 1_000;

/// Why the figures could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FiguresError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Pending(#[from] LoadError),
}

/// One group in one partition.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PartitionLag {
    pub(crate) group: String,
    pub(crate) topic: String,
    pub(crate) id: PartitionId,
    /// The next record that the group wants.
    pub(crate) committed: Offset,
    /// Offsets from there to the end of the log, and what is parked.
    pub(crate) records: i64,
    /// Records that the group's workers have parked.
    pub(crate) parked: i64,
    pub(crate) seconds: f64,
}

/// Rows of which there may be more than are shown.
#[derive(Debug)]
pub(crate) struct Shown<T> {
    pub(crate) rows: Vec<T>,
    pub(crate) truncated: bool,
}

/// When the first record that a group has not committed was appended, by group and partition; looked up again when that
/// is another record.
#[derive(Debug, Default)]
pub(crate) struct AppendTimes(HashMap<(String, PartitionId), (Offset, i64)>);

/// What lag is made of besides committed offsets.
pub(crate) struct Logs<'a, R> {
    pub(crate) topics: &'a Topics,
    pub(crate) states: &'a BTreeMap<PartitionId, PartitionState>,
    /// When a record entered the log, if its batch is in memory.
    pub(crate) recent: R,
    pub(crate) now_ms: i64,
}

/// The state rows of all partitions that were ever used, by partition.
pub(crate) async fn load_states(
    txn: &mut impl Txn,
    topics: &Topics,
) -> Result<BTreeMap<PartitionId, PartitionState>, FiguresError> {
    let ids: Vec<PartitionId> = topics.iter().flat_map(|topic| topic.partition_ids()).collect();
    let mut states = BTreeMap::new();
    for ids in ids.chunks(PAGE) {
        let keys: Vec<_> = ids.iter().map(|id| PartitionStateKey { id: *id }.encode()).collect();
        for (id, row) in ids.iter().zip(txn.get_many(&keys).await?) {
            if let Some(row) = row {
                states.insert(*id, PartitionState::decode(row)?);
            }
        }
    }
    Ok(states)
}

/// The lag of every group in every partition that it has committed, at most `max` of them.
pub(crate) async fn load_lags<R>(
    txn: &mut impl Txn,
    logs: &Logs<'_, R>,
    times: &mut AppendTimes,
    max: usize,
) -> Result<Shown<PartitionLag>, FiguresError>
where
    R: Fn(PartitionId, Offset) -> Option<OrderVersion>,
{
    let mut pages = Pages::new(OffsetKey::all(), PAGE);
    let mut shown = Shown { rows: Vec::new(), truncated: false };
    let mut still_needed = AppendTimes::default();
    let parked = count_parked(txn).await?;
    'pages: while let Some(page) = pages.next(txn).await? {
        for (key, row) in page {
            let key = OffsetKey::decode(&key)?;
            let Some(topic) = logs.topics.by_id(key.id.topic) else { continue };
            if shown.rows.len() == max {
                shown.truncated = true;
                break 'pages;
            }
            let committed = OffsetValue::decode(row)?.offset;
            let place = (key.group.clone(), key.id);
            let mut lag =
                load_lag(txn, logs, key, &topic.name, committed, (times, &mut still_needed)).await?;
            lag.parked = parked.get(&place).copied().unwrap_or(0);
            lag.records += lag.parked;
            shown.rows.push(lag);
        }
    }
    *times = still_needed;
    Ok(shown)
}

async fn load_lag<R>(
    txn: &mut impl Txn,
    logs: &Logs<'_, R>,
    key: OffsetKey,
    topic: &str,
    committed: Offset,
    (times, still_needed): (&AppendTimes, &mut AppendTimes),
) -> Result<PartitionLag, FiguresError>
where
    R: Fn(PartitionId, Offset) -> Option<OrderVersion>,
{
    let id = key.id;
    let state = logs.states.get(&id);
    let (log_start, end) = state.map_or((Offset(0), Offset(0)), |state| (state.log_start, state.next_offset));
    let first = committed.max(log_start);
    let mut seconds = 0.0;
    if first < end {
        let place = (key.group.clone(), id);
        let known = times.0.get(&place).filter(|(at, _)| *at == first).map(|(_, appended_ms)| *appended_ms);
        let appended_ms = match known {
            Some(appended_ms) => Some(appended_ms),
            None => match (logs.recent)(id, first) {
                Some(version) => Some(version.unix_ms()),
                None => append_version_at(txn, id, first).await?.map(OrderVersion::unix_ms),
            },
        };
        if let Some(appended_ms) = appended_ms {
            still_needed.0.insert(place, (first, appended_ms));
            seconds = seconds_between(appended_ms, logs.now_ms);
        }
    }
    let records = end.0.saturating_sub(committed.0).max(0);
    Ok(PartitionLag { group: key.group, topic: topic.to_owned(), id, committed, records, parked: 0, seconds })
}

/// How many records are parked, by group and partition. They are few, as each partition has room for so many.
async fn count_parked(txn: &mut impl Txn) -> Result<HashMap<(String, PartitionId), i64>, FiguresError> {
    let mut pages = Pages::new(ParkedKey::all(), PAGE);
    let mut counts = HashMap::new();
    while let Some(page) = pages.next_keys(txn).await? {
        for key in page {
            let ParkedKey { group, id, .. } = ParkedKey::decode(&key)?;
            *counts.entry((group, id)).or_insert(0) += 1;
        }
    }
    Ok(counts)
}

/// Seconds from one moment to a later one; 0 if it is not later.
pub(crate) fn seconds_between(from_ms: i64, to_ms: i64) -> f64 {
    signed_float(to_ms.saturating_sub(from_ms).max(0)) / 1000.0
}

#[cfg(test)]
#[path = "lag_tests.rs"]
mod tests;
