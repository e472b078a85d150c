//! Moving the log's start on, by request or by retention, and forgetting producers that fell silent.
//!
//! Two steps: a small transaction moves the start, which is all that readers ever see; then [`sweep`] removes what lies
//! below it, in its own time. What a crash leaves between the two, the next sweep removes.
//!
//! What always holds: the start only grows, and only a prefix goes.

use tidegate_format::{LogKey, Offset, PartitionId, PartitionState, ProducerId, ProducerKey, ProducerValue};
use tidegate_store::{Direction, KeyRange, Pages, ScanLimit, Store, Txn};

use crate::search::{self, StoredBatch};
use crate::sequence::has_expired;
use crate::{LogError, OffsetError, Ownership, WriteError, load_state};

/// Producers' rows that are read at a time.
const PRODUCERS_PAGE: usize = 1000;

/// How long and how much to keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// `retention.ms`: a batch goes when it was appended longer ago than this. None: never.
    pub retention_ms: Option<i64>,
    /// `retention.bytes`: a batch goes when at least this much is left without it. None: no limit.
    pub retention_bytes: Option<u64>,
}

/// Moves the start of the log to `to`: what lies before it can no longer be read. Moving it to where it is, or back,
/// changes nothing. Gives the state as it is once the caller has committed.
///
/// # Errors
/// [`OffsetError::OutOfRange`] if `to` is beyond the end of the log; [`LogError::Fenced`].
pub async fn delete_records(
    txn: &mut impl Txn,
    ownership: &Ownership,
    to: Offset,
) -> Result<PartitionState, OffsetError> {
    let state = ownership.load_state(txn).await?;
    if to.0 < 0 || to > state.next_offset {
        return Err(OffsetError::OutOfRange {
            log_start: state.log_start,
            high_watermark: state.next_offset,
        });
    }
    Ok(move_start(txn, ownership, state, to).await?)
}

/// Moves the start of the log past what retention no longer keeps. Gives the state as it is once the caller has
/// committed, or none if there is nothing to commit.
///
/// # Errors
/// [`LogError::Fenced`], or the store's.
pub async fn retain(
    txn: &mut impl Txn,
    ownership: &Ownership,
    retention: &Retention,
    now_ms: i64,
) -> Result<Option<PartitionState>, LogError> {
    let state = ownership.load_state(txn).await?;
    let kept = first_kept(txn, ownership.id, &state, retention, now_ms).await?;
    if kept <= state.log_start {
        return Ok(None);
    }
    move_start(txn, ownership, state, kept).await.map(Some)
}

/// Whether [`retain`] would move the start: a look without ownership, for partitions that nobody uses now.
///
/// # Errors
/// If the store fails or a row does not decode.
pub async fn has_expired_records(
    txn: &mut impl Txn,
    id: PartitionId,
    retention: &Retention,
    now_ms: i64,
) -> Result<bool, LogError> {
    match load_state(txn, id).await? {
        Some(state) => Ok(first_kept(txn, id, &state, retention, now_ms).await? > state.log_start),
        None => Ok(false),
    }
}

/// The offset of the first record that retention keeps.
async fn first_kept(
    txn: &mut impl Txn,
    id: PartitionId,
    state: &PartitionState,
    retention: &Retention,
    now_ms: i64,
) -> Result<Offset, LogError> {
    let kept_from_ms = retention.retention_ms.map_or(i64::MIN, |ms| now_ms.saturating_sub(ms));
    let kept_bytes = retention.retention_bytes.unwrap_or(u64::MAX);
    let is_kept = |batch: &StoredBatch| {
        let too_old = batch.value.append_version.unix_ms() < kept_from_ms;
        let enough_without = state.appended_bytes - batch.value.end_bytes >= kept_bytes;
        !too_old && !enough_without
    };
    // Most often nothing goes: one look at the first batch says so.
    match search::batch_at(txn, id, state.log_start).await? {
        None => return Ok(state.log_start),
        Some(first) if is_kept(&first) => return Ok(state.log_start),
        Some(_) => {}
    }
    let first = search::first_where(txn, id, state.log_start, state.next_offset, is_kept).await?;
    Ok(first.map_or(state.next_offset, |batch| batch.base_offset))
}

async fn move_start(
    txn: &mut impl Txn,
    ownership: &Ownership,
    mut state: PartitionState,
    to: Offset,
) -> Result<PartitionState, LogError> {
    if to <= state.log_start {
        return Ok(state);
    }
    state.log_start = to;
    let first = search::batch_at(txn, ownership.id, to).await?;
    state.log_bytes = first.map_or(0, |first| state.appended_bytes - first.start_bytes());
    ownership.put_state(txn, state.clone());
    Ok(state)
}

/// Removes the batches that lie below the log's start, outside of any transaction and without fence: they are never
/// read again, whoever owns the partition. Gives whether there were any.
///
/// # Errors
/// If the store fails: what is left goes with the next sweep.
pub async fn sweep<S: Store>(store: &S, id: PartitionId) -> Result<bool, WriteError> {
    let mut txn = store.begin().await?;
    let Some(state) = load_state(&mut txn, id).await? else { return Ok(false) };
    let (start, _) = LogKey::range(id);
    let range = KeyRange::new(start, LogKey { id, last_offset: state.log_start }.encode());
    if txn.scan_keys(&range, 1, Direction::Forward).await?.is_empty() {
        return Ok(false);
    }
    drop(txn);
    store.delete_range(range).await?;
    Ok(true)
}

/// A bounded step through the producers of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpiryStep {
    /// How many were forgotten; if none, there is nothing to commit.
    pub removed: usize,
    /// Where the next step begins; none if this was the last.
    pub next: Option<ProducerId>,
}

/// Whether [`expire_producers`] would forget any: a look without ownership.
///
/// # Errors
/// If the store fails or a row does not decode.
pub async fn has_expired_producers(
    txn: &mut impl Txn,
    id: PartitionId,
    now_ms: i64,
    expiration_ms: i64,
) -> Result<bool, LogError> {
    let mut pages = Pages::new(ProducerKey::range(id), PRODUCERS_PAGE);
    while let Some(rows) = pages.next(txn).await? {
        for (_, value) in rows {
            let known = ProducerValue::decode(value).map_err(LogError::row(id))?;
            if has_expired(&known, now_ms, expiration_ms) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Forgets idempotent producers without a batch for `expiration_ms`, looking at no more than `limit` of them.
///
/// # Errors
/// [`LogError::Fenced`], or the store's.
pub async fn expire_producers(
    txn: &mut impl Txn,
    ownership: &Ownership,
    from: ProducerId,
    limit: usize,
    now_ms: i64,
    expiration_ms: i64,
) -> Result<ExpiryStep, LogError> {
    let id = ownership.id;
    let state = ownership.load_state(txn).await?;
    let (_, end) = ProducerKey::range(id);
    let range = KeyRange::new(ProducerKey { id, producer: from }.encode(), end);
    let rows = txn.scan(&range, ScanLimit::count(limit), Direction::Forward).await?;
    let mut step = ExpiryStep { removed: 0, next: None };
    if rows.len() == limit
        && let Some((key, _)) = rows.last()
    {
        let last = ProducerKey::decode(key).map_err(LogError::row(id))?.producer;
        step.next = last.0.checked_add(1).map(ProducerId);
    }
    for (key, value) in rows {
        let known = ProducerValue::decode(value).map_err(LogError::row(id))?;
        if has_expired(&known, now_ms, expiration_ms) {
            txn.delete(key);
            step.removed += 1;
        }
    }
    if step.removed > 0 {
        ownership.put_state(txn, state);
    }
    Ok(step)
}

#[cfg(test)]
#[path = "trim_tests.rs"]
mod tests;
