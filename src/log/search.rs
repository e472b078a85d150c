//! Finding batches by anything that never falls along the log.

use tidegate_format::{FormatError, LogKey, LogValue, Offset, PartitionId};
use tidegate_protocol::batch::BatchHeader;
use tidegate_store::{Direction, KeyRange, ScanLimit, Txn};

use crate::LogError;

/// One batch with what the log knows of it.
#[derive(Clone, Debug)]
pub(crate) struct StoredBatch {
    pub(crate) base_offset: Offset,
    pub(crate) last_offset: Offset,
    pub(crate) header: BatchHeader,
    pub(crate) value: LogValue,
}

impl StoredBatch {
    /// Decodes a row of the log.
    pub(crate) fn decode(id: PartitionId, key: &[u8], value: bytes::Bytes) -> Result<Self, LogError> {
        let key = LogKey::decode(key).map_err(LogError::row(id))?;
        let last_offset = key.last_offset;
        let damaged = |reason: String| LogError::Damaged {
            id,
            reason: format!("the batch that ends at offset {last_offset}: {reason}"),
        };
        let value = LogValue::decode(value).map_err(|error: FormatError| damaged(error.to_string()))?;
        let header = BatchHeader::decode(&value.batch).map_err(|error| damaged(error.to_string()))?;
        if header.last_offset() != last_offset.0 || header.size_bytes() != value.batch.len() {
            return Err(damaged("its header says another place or size".to_owned()));
        }
        Ok(Self { base_offset: Offset(header.base_offset), last_offset, header, value })
    }

    /// The bytes of all batches ever appended before this one.
    pub(crate) fn start_bytes(&self) -> u64 {
        self.value.end_bytes - self.value.batch.len() as u64
    }
}

/// The batches from the one that holds `from` on, as many as the limit allows.
pub(crate) async fn scan(
    txn: &mut impl Txn,
    id: PartitionId,
    from: Offset,
    limit: ScanLimit,
) -> Result<Vec<StoredBatch>, LogError> {
    let (start, end) = LogKey::range_from(id, from);
    let rows = txn.scan(&KeyRange::new(start, end), limit, Direction::Forward).await?;
    rows.into_iter().map(|(key, value)| StoredBatch::decode(id, &key, value)).collect()
}

/// The batch that holds `offset`, or the next one if it is gone.
pub(crate) async fn batch_at(
    txn: &mut impl Txn,
    id: PartitionId,
    offset: Offset,
) -> Result<Option<StoredBatch>, LogError> {
    Ok(scan(txn, id, offset, ScanLimit::count(1)).await?.pop())
}

/// The batch that ends right before `offset`.
pub(crate) async fn batch_before(
    txn: &mut impl Txn,
    id: PartitionId,
    offset: Offset,
) -> Result<Option<StoredBatch>, LogError> {
    let (start, _) = LogKey::range(id);
    let end = LogKey { id, last_offset: offset }.encode();
    let rows = txn.scan(&KeyRange::new(start, end), ScanLimit::count(1), Direction::Backward).await?;
    rows.into_iter().next().map(|(key, value)| StoredBatch::decode(id, &key, value)).transpose()
}

/// The first batch that ends in `from..to` for which `holds`; along the log it must not turn from true to false. Reads as many
/// batches as the number of offsets has bits.
pub(crate) async fn first_where(
    txn: &mut impl Txn,
    id: PartitionId,
    from: Offset,
    to: Offset,
    holds: impl Fn(&StoredBatch) -> bool,
) -> Result<Option<StoredBatch>, LogError> {
    let (mut low, mut high) = (from.0, to.0);
    let mut found = None;
    while low < high {
        let middle = low + (high - low) / 2;
        match batch_at(txn, id, Offset(middle)).await?.filter(|batch| batch.last_offset < to) {
            Some(batch) if holds(&batch) => {
                high = batch.base_offset.0.min(middle);
                found = Some(batch);
            }
            Some(batch) => low = batch.last_offset.0 + 1,
            None => high = middle,
        }
    }
    Ok(found)
}
