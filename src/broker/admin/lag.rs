//! How far each group is behind, in records and in seconds, read from one snapshot of the store.
//!
//! What always holds: a group without members stays visible as long as it has committed offsets; a group, an offset or a
//! topic that is deleted disappears. Lag in seconds is now less the time at which the first record that was not committed
//! entered the log, and 0 where there is none; it is cached until the committed offset moves.

use std::collections::{BTreeMap, HashMap};

use tidegate_format::{
    FormatError, GroupKey, GroupMemberKey, LogKey, LogValue, Offset, OffsetKey, OffsetValue, PartitionId,
    PartitionState, PartitionStateKey,
};
use tidegate_store::{Direction, KeyRange, ReadError, ScanLimit, Txn};

use crate::topics::Topics;

/// Rows that are read from the store at a time.
const PAGE: usize = 1_000;

/// Why the figures could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LagError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Format(#[from] FormatError),
}

/// One group in one partition.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PartitionLag {
    pub(crate) group: String,
    pub(crate) topic: String,
    pub(crate) id: PartitionId,
    /// The next record that the group wants.
    pub(crate) committed: Offset,
    /// Records from there to the end of the log.
    pub(crate) records: i64,
    pub(crate) seconds: f64,
}

/// When the first record that a group has not committed was appended, by group and partition.
pub(crate) type AppendTimes = HashMap<(String, PartitionId), (Offset, i64)>;

/// Every row of a range, page by page.
pub(crate) async fn load_all(
    txn: &mut impl Txn,
    range: (bytes::Bytes, bytes::Bytes),
) -> Result<Vec<(bytes::Bytes, bytes::Bytes)>, ReadError> {
    let mut range = KeyRange::new(range.0, range.1);
    let mut rows = Vec::new();
    loop {
        let page = txn.scan(&range, ScanLimit::count(PAGE), Direction::Forward).await?;
        let full = page.len() == PAGE;
        rows.extend(page);
        match rows.last() {
            Some((last, _)) if full => range.start = KeyRange::successor(last),
            _ => return Ok(rows),
        }
    }
}

/// The state rows of all partitions that were ever used, by partition.
pub(crate) async fn load_states(
    txn: &mut impl Txn,
    topics: &Topics,
) -> Result<BTreeMap<PartitionId, PartitionState>, LagError> {
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

/// The lag of every group in every partition that it has committed.
pub(crate) async fn load_lag(
    txn: &mut impl Txn,
    topics: &Topics,
    states: &BTreeMap<PartitionId, PartitionState>,
    now_ms: i64,
    append_times: &mut AppendTimes,
) -> Result<Vec<PartitionLag>, LagError> {
    let mut lags = Vec::new();
    let mut still_needed = AppendTimes::new();
    for (key, row) in load_all(txn, OffsetKey::all()).await? {
        let OffsetKey { group, id } = OffsetKey::decode(&key)?;
        let committed = OffsetValue::decode(row)?.offset;
        let Some(topic) = topics.by_id(id.topic) else { continue };
        let end = states.get(&id).map_or(Offset(0), |state| state.next_offset);
        let records = end.0.saturating_sub(committed.0).max(0);
        let mut seconds = 0.0;
        if records > 0 {
            let cached = append_times.get(&(group.clone(), id)).filter(|(at, _)| *at == committed);
            let appended_ms = match cached {
                Some((_, appended_ms)) => Some(*appended_ms),
                None => load_append_time(txn, id, committed).await?,
            };
            if let Some(appended_ms) = appended_ms {
                still_needed.insert((group.clone(), id), (committed, appended_ms));
                seconds = seconds_between(appended_ms, now_ms);
            }
        }
        lags.push(PartitionLag { group, topic: topic.name.clone(), id, committed, records, seconds });
    }
    *append_times = still_needed;
    Ok(lags)
}

/// When the batch with the record at `offset`, or the first after it, entered the log.
async fn load_append_time(
    txn: &mut impl Txn,
    id: PartitionId,
    offset: Offset,
) -> Result<Option<i64>, LagError> {
    let (start, end) = LogKey::range_from(id, offset);
    let rows = txn.scan(&KeyRange::new(start, end), ScanLimit::count(1), Direction::Forward).await?;
    let Some((_, value)) = rows.into_iter().next() else { return Ok(None) };
    Ok(Some(LogValue::decode(value)?.append_version.unix_ms()))
}

/// How many members each group has, groups without any among them.
pub(crate) async fn load_member_counts(txn: &mut impl Txn) -> Result<BTreeMap<String, usize>, LagError> {
    let mut counts = BTreeMap::new();
    for (key, _) in load_all(txn, GroupKey::all()).await? {
        let group = GroupKey::decode(&key)?.group;
        let (start, end) = GroupMemberKey::range(&group);
        let mut range = KeyRange::new(start, end);
        let mut count = 0;
        loop {
            let page = txn.scan_keys(&range, PAGE, Direction::Forward).await?;
            count += page.len();
            match page.last() {
                Some(last) if page.len() == PAGE => range.start = KeyRange::successor(last),
                _ => break,
            }
        }
        counts.insert(group, count);
    }
    Ok(counts)
}

/// Seconds from one moment to a later one; 0 if it is not later.
#[expect(clippy::cast_precision_loss, reason = "a difference of times is far below 2^52 ms")]
pub(crate) fn seconds_between(from_ms: i64, to_ms: i64) -> f64 {
    to_ms.saturating_sub(from_ms).max(0) as f64 / 1000.0
}
