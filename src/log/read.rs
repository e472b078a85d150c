//! Reading by offset.
//!
//! What always holds: the first batch given holds the offset asked for, the next ones follow without a gap, and all of
//! them are committed.

use bytes::Bytes;
use tidegate_format::{BrokerId, Offset, OrderVersion, PartitionId, PartitionState};
use tidegate_protocol::batch::BatchHeader;
use tidegate_store::{ScanLimit, Txn};

use crate::search::{self, StoredBatch};
use crate::{LogError, OffsetError, empty_state, load_state};

/// Most batches that one read gives: bounds what a page of very small batches costs.
const BATCHES_MAX: usize = 4096;

/// How much to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimit {
    /// No further batch that would bring the bytes above this. A read from the store may end one batch earlier.
    pub max_bytes: usize,
    /// Give the first batch even if it is larger than that: otherwise a consumer could never get past it.
    pub at_least_one: bool,
}

impl ReadLimit {
    /// Whether a batch of so many bytes still goes after `count` batches of together `bytes`.
    fn allows(&self, count: usize, bytes: usize, next_bytes: usize) -> bool {
        if count == 0 && self.at_least_one {
            return true;
        }
        count < BATCHES_MAX && bytes.saturating_add(next_bytes) <= self.max_bytes
    }
}

/// Batches in their order, ready to send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batches {
    /// The batches.
    pub batches: Vec<Bytes>,
    /// Their bytes together.
    pub bytes: usize,
}

impl Batches {
    /// Adds a batch if a limit allows it; whether it did.
    pub(crate) fn push_within(&mut self, limit: ReadLimit, batch: Bytes) -> bool {
        let is_allowed = limit.allows(self.batches.len(), self.bytes, batch.len());
        if is_allowed {
            self.bytes += batch.len();
            self.batches.push(batch);
        }
        is_allowed
    }

    /// The first of these that a limit allows.
    #[must_use]
    pub fn within(self, limit: ReadLimit) -> Self {
        let mut within = Self::default();
        for batch in self.batches {
            if !within.push_within(limit, batch) {
                break;
            }
        }
        within
    }

    /// The offset after the last record; none without a batch.
    #[must_use]
    pub fn end(&self) -> Option<Offset> {
        let last = BatchHeader::decode(self.batches.last()?).expect("what the log holds was admitted to it");
        Some(Offset(last.last_offset()).plus(1))
    }
}

/// What a read has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadResult {
    /// The batches; none if the offset is the end of the log, or the limit allows none.
    pub batches: Batches,
    /// The first offset that can be read.
    pub log_start: Offset,
    /// The offset after the last that can be read.
    pub high_watermark: Offset,
}

/// Reads from an offset on.
///
/// # Errors
/// [`OffsetError::OutOfRange`] if the log does not reach there, or no longer.
pub async fn read(
    txn: &mut impl Txn,
    id: PartitionId,
    from: Offset,
    limit: ReadLimit,
) -> Result<ReadResult, OffsetError> {
    let state = state_or_empty(txn, id).await?;
    let (log_start, high_watermark) = (state.log_start, state.next_offset);
    let out_of_range = OffsetError::OutOfRange { log_start, high_watermark };
    if from < log_start || from > high_watermark {
        return Err(out_of_range);
    }
    let mut batches = Batches::default();
    if from == high_watermark || (limit.max_bytes == 0 && !limit.at_least_one) {
        return Ok(ReadResult { batches, log_start, high_watermark });
    }
    let page = ScanLimit { count: BATCHES_MAX, value_bytes: limit.max_bytes.max(1) };
    let mut expected = from;
    for stored in search::scan(txn, id, from, page).await? {
        let StoredBatch { base_offset, last_offset, value, .. } = stored;
        // What was below the log's start may vanish under an open snapshot: then the offset is gone, not skipped.
        if base_offset > expected {
            return Err(out_of_range);
        }
        if !batches.push_within(limit, value.batch) {
            break;
        }
        expected = last_offset.plus(1);
    }
    Ok(ReadResult { batches, log_start, high_watermark })
}

/// When the record at an offset was appended; none at or after the end of the log. `now` less the milliseconds of this
/// version is how long the consumer that has committed this offset lags behind, in time.
///
/// # Errors
/// If the store fails or the batch does not decode.
pub async fn append_version_at(
    txn: &mut impl Txn,
    id: PartitionId,
    offset: Offset,
) -> Result<Option<OrderVersion>, LogError> {
    Ok(search::batch_at(txn, id, offset).await?.map(|batch| batch.value.append_version))
}

/// The partition's state, or that of an empty log.
pub(crate) async fn state_or_empty(txn: &mut impl Txn, id: PartitionId) -> Result<PartitionState, LogError> {
    Ok(load_state(txn, id).await?.unwrap_or_else(|| empty_state(BrokerId(-1))))
}
