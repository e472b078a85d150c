//! Offsets by time and by epoch: what ListOffsets and OffsetForLeaderEpoch ask.
//!
//! The log's values carry the running maximum timestamp, so the first batch that reaches a time is found by binary
//! search, and only that one is decoded. Where the maximum came from a record that is gone, or from a header that claimed
//! more than its records have, the batches after it are looked at one by one, and no more of them than
//! [`WALK_PAGES_MAX`] pages have: however long the log, a look-up ends.

use bytes::Bytes;
use tidegate_format::{Offset, OwnerEpoch, PartitionId};
use tidegate_protocol::batch::{self, BatchError, Compression, NO_TIMESTAMP, TimestampType};
use tidegate_store::{ScanLimit, Txn};

use crate::LogError;
use crate::read::state_or_empty;
use crate::search::{self, StoredBatch};

/// How much of the log is read at a time where batches are looked at one by one.
const WALK_PAGE: ScanLimit = ScanLimit { count: 256, value_bytes: 4 << 20 };
/// How many such pages one look-up reads at most.
const WALK_PAGES_MAX: usize = 64;

/// A record's place and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampedOffset {
    /// The offset.
    pub offset: Offset,
    /// Its timestamp, in milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// The leader epoch of its batch.
    pub leader_epoch: i32,
}

/// The first record with a timestamp at or after `target_ms`; none if there is no such record.
///
/// The one batch that is decoded takes at most `decompressed_max_bytes`. If it takes more or its records are damaged,
/// the answer is its first offset: a consumer may then see earlier records, but misses none. The same goes for the first
/// offset that is not looked at, where too many batches have to be looked at one by one.
///
/// # Errors
/// If the store fails or a row does not decode.
pub async fn find_by_timestamp(
    txn: &mut impl Txn,
    id: PartitionId,
    target_ms: i64,
    decompressed_max_bytes: usize,
) -> Result<Option<TimestampedOffset>, LogError> {
    let state = state_or_empty(txn, id).await?;
    let reaches = |batch: &StoredBatch| batch.value.max_timestamp_ms >= target_ms;
    let first = search::first_where(txn, id, state.log_start, state.next_offset, reaches).await?;
    let Some(first) = first else { return Ok(None) };
    let mut from = first.last_offset.plus(1);
    if first.header.latest_timestamp() >= target_ms
        && let Some(found) =
            find_in_batch(first, Wanted::From(target_ms), state.log_start, decompressed_max_bytes).await
    {
        return Ok(Some(found));
    }
    for _ in 0..WALK_PAGES_MAX {
        let page = search::scan(txn, id, from, WALK_PAGE).await?;
        let Some(last) = page.last() else { return Ok(None) };
        from = last.last_offset.plus(1);
        for stored in page.into_iter().filter(|stored| stored.header.latest_timestamp() >= target_ms) {
            if let Some(found) =
                find_in_batch(stored, Wanted::From(target_ms), state.log_start, decompressed_max_bytes).await
            {
                return Ok(Some(found));
            }
        }
    }
    let next = search::batch_at(txn, id, from).await?;
    Ok(next.map(|next| TimestampedOffset {
        offset: next.base_offset,
        // No client takes a negative one.
        timestamp_ms: next.header.latest_timestamp().max(0),
        leader_epoch: next.header.partition_leader_epoch,
    }))
}

/// The first of the records with the highest timestamp; none if no record has one. Where the highest is gone and many
/// batches have to be looked at one by one, it is that of the newest of them.
///
/// # Errors
/// As [`find_by_timestamp`], also about what is not decoded.
pub async fn find_max_timestamp(
    txn: &mut impl Txn,
    id: PartitionId,
    decompressed_max_bytes: usize,
) -> Result<Option<TimestampedOffset>, LogError> {
    let state = state_or_empty(txn, id).await?;
    let max_ms = state.max_timestamp_ms;
    let reaches = |batch: &StoredBatch| batch.value.max_timestamp_ms >= max_ms;
    let first = search::first_where(txn, id, state.log_start, state.next_offset, reaches).await?;
    let best = match first {
        Some(batch) if batch.header.latest_timestamp() == max_ms => Some(batch),
        Some(_) => latest_batch(txn, id, state.log_start, state.next_offset).await?,
        None => None,
    };
    let Some(best) = best.filter(|batch| batch.header.latest_timestamp() > NO_TIMESTAMP) else {
        return Ok(None);
    };
    let (promised_ms, next_offset) = (best.header.latest_timestamp(), best.last_offset.plus(1));
    let in_best = find_in_batch(best, Wanted::Latest, state.log_start, decompressed_max_bytes).await;
    if in_best.is_some_and(|found| found.timestamp_ms == promised_ms) {
        return Ok(in_best);
    }
    // The record that the batch's header speaks of lies below the log's start, or never was.
    let in_rest = match latest_batch(txn, id, next_offset, state.next_offset).await? {
        Some(batch) => find_in_batch(batch, Wanted::Latest, state.log_start, decompressed_max_bytes).await,
        None => None,
    };
    let later = in_rest.filter(|rest| in_best.is_none_or(|best| rest.timestamp_ms > best.timestamp_ms));
    Ok(later.or(in_best).filter(|found| found.timestamp_ms > NO_TIMESTAMP))
}

/// The first batch with the highest timestamp of those in `from..to`, or of the newest of them: time goes on, so the
/// highest is near the end.
async fn latest_batch(
    txn: &mut impl Txn,
    id: PartitionId,
    from: Offset,
    mut to: Offset,
) -> Result<Option<StoredBatch>, LogError> {
    let latest_ms = |batch: &StoredBatch| batch.header.latest_timestamp();
    let mut best: Option<StoredBatch> = None;
    for _ in 0..WALK_PAGES_MAX {
        let page = search::scan_back(txn, id, from, to, WALK_PAGE).await?;
        let Some(first) = page.last() else { break };
        to = first.last_offset;
        for stored in page {
            if best.as_ref().is_none_or(|best| latest_ms(&stored) >= latest_ms(best)) {
                best = Some(stored);
            }
        }
    }
    Ok(best)
}

/// Which record of a batch is looked for.
#[derive(Clone, Copy)]
enum Wanted {
    /// The first one with a timestamp at or after this.
    From(i64),
    /// The first one with the highest timestamp.
    Latest,
}

/// Looks for a record of a batch that is not below the log's start.
async fn find_in_batch(
    stored: StoredBatch,
    wanted: Wanted,
    log_start: Offset,
    decompressed_max_bytes: usize,
) -> Option<TimestampedOffset> {
    let header = stored.header;
    let found = |(offset, timestamp_ms)| TimestampedOffset {
        offset,
        timestamp_ms,
        leader_epoch: header.partition_leader_epoch,
    };
    let first_offset = stored.base_offset.max(log_start);
    if header.timestamp_type() == TimestampType::LogAppendTime {
        return Some(found((first_offset, header.max_timestamp)));
    }
    let decode = move || find_record(&stored.value.batch, wanted, first_offset, decompressed_max_bytes);
    let record = if header.compression() == Ok(Compression::None) {
        decode()
    } else {
        // Away from the tasks that serve others: this may take a while.
        match tokio::task::spawn_blocking(decode).await {
            Ok(record) => record,
            Err(stopped) => std::panic::resume_unwind(stopped.into_panic()),
        }
    };
    match record {
        Ok(record) => record.map(found),
        Err(error) => {
            tracing::warn!(base_offset = header.base_offset, %error, "a batch cannot be looked into by time");
            Some(found((first_offset, header.max_timestamp)))
        }
    }
}

fn find_record(
    batch: &Bytes,
    wanted: Wanted,
    first_offset: Offset,
    decompressed_max_bytes: usize,
) -> Result<Option<(Offset, i64)>, BatchError> {
    let records = batch::records(batch, decompressed_max_bytes)?;
    let base_offset = records.header().base_offset;
    let mut latest: Option<(Offset, i64)> = None;
    for record in records {
        let record = record?;
        let found = (Offset(base_offset.saturating_add(i64::from(record.offset_delta))), record.timestamp_ms);
        if found.0 < first_offset {
            continue;
        }
        match wanted {
            Wanted::From(target_ms) if found.1 >= target_ms => return Ok(Some(found)),
            Wanted::Latest if latest.is_none_or(|latest| found.1 > latest.1) => latest = Some(found),
            _ => {}
        }
    }
    Ok(latest)
}

/// The leader epoch of the batch that holds an offset; none at the end of the log.
///
/// # Errors
/// If the store fails or the batch does not decode.
pub async fn epoch_at(
    txn: &mut impl Txn,
    id: PartitionId,
    offset: Offset,
) -> Result<Option<OwnerEpoch>, LogError> {
    let batch = search::batch_at(txn, id, offset).await?;
    Ok(batch.map(|batch| OwnerEpoch(batch.header.partition_leader_epoch)))
}

/// Where an epoch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The largest epoch at or below the one asked for.
    pub epoch: OwnerEpoch,
    /// The first offset of a later epoch; the end of the log if there is none.
    pub end_offset: Offset,
}

/// Where the records of an epoch end (KIP-101, Kafka's `LeaderEpochFileCache.endOffsetFor`): a consumer that has read
/// further in that epoch than this has read what was never committed. None if the epoch is later than the owner's.
///
/// # Errors
/// If the store fails or a row does not decode.
pub async fn epoch_end_offset(
    txn: &mut impl Txn,
    id: PartitionId,
    asked: OwnerEpoch,
) -> Result<Option<EpochEnd>, LogError> {
    let state = state_or_empty(txn, id).await?;
    if asked > state.epoch || asked.0 < 0 {
        return Ok(None);
    }
    if asked == state.epoch {
        return Ok(Some(EpochEnd { epoch: asked, end_offset: state.next_offset }));
    }
    let is_later = |batch: &StoredBatch| batch.header.partition_leader_epoch > asked.0;
    let later = search::first_where(txn, id, state.log_start, state.next_offset, is_later).await?;
    let end_offset = later.map_or(state.next_offset, |batch| batch.base_offset.max(state.log_start));
    let before = search::batch_before(txn, id, end_offset).await?;
    let before = before.filter(|batch| batch.last_offset >= state.log_start);
    let epoch = before.map_or(asked, |batch| OwnerEpoch(batch.header.partition_leader_epoch));
    Ok(Some(EpochEnd { epoch, end_offset }))
}

#[cfg(test)]
#[path = "lookup_tests.rs"]
mod tests;
