//! Offsets by time: what ListOffsets asks.
//!
//! The batches that may have what is looked for are found by what the log's rows say ([`stretch`]), and only those are
//! decoded: one, unless headers claim more than their records have. Of such ones at most [`LOOKED_INTO_MAX`] are decoded:
//! however long the log and whatever its headers claim, a look-up ends.

use bytes::Bytes;
use tidegate_format::{Offset, PartitionId};
use tidegate_protocol::batch::{self, BatchError, Compression, NO_TIMESTAMP, TimestampType};
use tidegate_store::Txn;

use crate::LogError;
use crate::read::state_or_empty;
use crate::search::StoredBatch;
use crate::stretch;

/// How many batches one look-up decodes at most.
const LOOKED_INTO_MAX: usize = 64;

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
/// A batch that is decoded takes at most `decompressed_max_bytes`. If it takes more or its records are damaged, the
/// answer is its first offset: a consumer may then see earlier records, but misses none. The same goes for the next batch
/// that claims such a record, where too many have claimed one that they do not have.
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
    let mut from = state.log_start;
    for looked_into in 0.. {
        let claiming = stretch::first_claiming(txn, id, from, state.next_offset, target_ms).await?;
        let Some(claiming) = claiming else { break };
        if looked_into == LOOKED_INTO_MAX {
            return Ok(Some(TimestampedOffset {
                offset: claiming.base_offset,
                // No client takes a negative one.
                timestamp_ms: claiming.header.latest_timestamp().max(0),
                leader_epoch: claiming.header.partition_leader_epoch,
            }));
        }
        from = claiming.last_offset.plus(1);
        let wanted = Wanted::From(target_ms);
        let found = find_in_batch(claiming, wanted, state.log_start, decompressed_max_bytes).await;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The first of the records with the highest timestamp; none if no record has one. Where too many batches claim one that
/// they do not have, it is that of those that were looked at.
///
/// # Errors
/// As [`find_by_timestamp`], also about what is not decoded.
pub async fn find_max_timestamp(
    txn: &mut impl Txn,
    id: PartitionId,
    decompressed_max_bytes: usize,
) -> Result<Option<TimestampedOffset>, LogError> {
    let state = state_or_empty(txn, id).await?;
    let mut open = Vec::new();
    open.extend(Claim::load(txn, id, state.log_start, state.next_offset).await?);
    let mut best: Option<TimestampedOffset> = None;
    for _ in 0..LOOKED_INTO_MAX {
        // The highest claim, and of equal ones the first.
        let place = (0..open.len()).max_by_key(|place| (open[*place].highest_ms, -open[*place].from.0));
        let Some(Claim { from, to, highest_ms }) = place.map(|place| open.swap_remove(place)) else { break };
        let is_settled =
            |best: &TimestampedOffset| (best.timestamp_ms, -best.offset.0) >= (highest_ms, -from.0);
        if highest_ms <= NO_TIMESTAMP || best.as_ref().is_some_and(is_settled) {
            break;
        }
        let claiming = stretch::first_claiming(txn, id, from, to, highest_ms).await?;
        let Some(claiming) = claiming else { continue };
        let last_offset = claiming.last_offset;
        let found = find_in_batch(claiming, Wanted::Latest, state.log_start, decompressed_max_bytes).await;
        if let Some(found) = found
            && best.is_none_or(|best| {
                (found.timestamp_ms, -found.offset.0) > (best.timestamp_ms, -best.offset.0)
            })
        {
            best = Some(found);
        }
        if best.is_some_and(|best| best.timestamp_ms == highest_ms) {
            break;
        }
        // The batch has less than it claims: what is on either side of it may have more.
        open.extend(Claim::load(txn, id, from, last_offset).await?);
        open.extend(Claim::load(txn, id, last_offset.plus(1), to).await?);
    }
    Ok(best.filter(|best| best.timestamp_ms > NO_TIMESTAMP))
}

/// The highest timestamp that the batches which end in `from..to` claim to have.
#[derive(Debug)]
struct Claim {
    from: Offset,
    to: Offset,
    highest_ms: i64,
}

impl Claim {
    /// None if there are no batches.
    async fn load(
        txn: &mut impl Txn,
        id: PartitionId,
        from: Offset,
        to: Offset,
    ) -> Result<Option<Self>, LogError> {
        let highest_ms = stretch::highest_claim_ms(txn, id, from, to).await?;
        Ok(highest_ms.map(|highest_ms| Self { from, to, highest_ms }))
    }
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

#[cfg(test)]
#[path = "by_time_tests.rs"]
mod tests;
