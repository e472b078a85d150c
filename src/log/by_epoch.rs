//! Offsets by epoch: what OffsetForLeaderEpoch asks.

use tidegate_format::{Offset, OwnerEpoch, PartitionId};
use tidegate_store::Txn;

use crate::LogError;
use crate::read::state_or_empty;
use crate::search::{self, StoredBatch};

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
#[path = "by_epoch_tests.rs"]
mod tests;
