//! Batches as opaque bytes: check, split, and change what may be changed without looking inside.

use bytes::{BufMut, Bytes, BytesMut};

use super::header::{
    ATTRIBUTES_AT, BASE_SEQUENCE_AT, CRC_AT, LENGTH_OVERHEAD, LOG_APPEND_TIME, MAX_TIMESTAMP_AT,
    PRODUCER_EPOCH_AT, PRODUCER_ID_AT,
};
use super::{BatchError, BatchHeader, HEADER_LEN, MAGIC, NO_SEQUENCE, PREFIX_LEN};

/// One batch that passed [`check_produced`], with its header.
#[derive(Clone, Debug)]
pub struct CheckedBatch {
    header: BatchHeader,
    bytes: Bytes,
}

impl CheckedBatch {
    /// Checks one batch as a producer sent it.
    ///
    /// # Errors
    /// As [`check_produced`].
    pub fn new(bytes: Bytes) -> Result<Self, BatchError> {
        Ok(Self { header: check_produced(&bytes)?, bytes })
    }

    /// Its header.
    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// All of its bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// All of its bytes.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }
}

/// Proves that `bytes` are exactly one intact batch: lengths, magic, CRC32C, a known codec.
///
/// Nothing is decompressed, so the records may still be nonsense.
///
/// # Errors
/// `Truncated`, `Trailing`, `Magic`, `Crc`, `UnknownCompression`, or `Header` for a count or delta below 0.
pub fn check(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
    // Before all lengths: earlier formats have the magic byte in the same place, but are shorter.
    if let Some(magic) = bytes.get(PREFIX_LEN).map(|byte| byte.cast_signed())
        && magic != MAGIC
    {
        return Err(BatchError::Magic { found: magic });
    }
    let header = BatchHeader::decode(bytes)?;
    let size = header.size_bytes();
    if size < HEADER_LEN {
        return Err(BatchError::Header { field: "batch_length", value: i64::from(header.batch_length) });
    }
    if size > bytes.len() {
        return Err(BatchError::Truncated { needed: size, found: bytes.len() });
    }
    if size < bytes.len() {
        return Err(BatchError::Trailing { extra: bytes.len() - size });
    }
    let computed = crc32c::crc32c(&bytes[ATTRIBUTES_AT..]);
    if computed != header.crc {
        return Err(BatchError::Crc { stored: header.crc, computed });
    }
    header.compression()?;
    for (field, value) in
        [("last_offset_delta", header.last_offset_delta), ("record_count", header.record_count)]
    {
        if value < 0 {
            return Err(BatchError::Header { field, value: i64::from(value) });
        }
    }
    Ok(header)
}

/// [`check`], and what a producer must keep to besides: at least one record, as many as there are offsets, no
/// control batch, and a sequence if there is a producer id.
///
/// Source: Kafka's `LogValidator.validateBatch`.
///
/// # Errors
/// As [`check`], or `Header` with the field that is wrong.
pub fn check_produced(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
    let header = check(bytes)?;
    let broken = |field, value| Err(BatchError::Header { field, value });
    if header.record_count == 0 || i64::from(header.record_count) != i64::from(header.last_offset_delta) + 1 {
        return broken("record_count", i64::from(header.record_count));
    }
    if header.is_control() {
        return broken("control", 1);
    }
    if header.has_producer_id() && header.base_sequence <= NO_SEQUENCE {
        return broken("base_sequence", i64::from(header.base_sequence));
    }
    if header.has_producer_id() && header.producer_epoch < 0 {
        return broken("producer_epoch", i64::from(header.producer_epoch));
    }
    Ok(header)
}

/// Cuts a produce payload into its batches, by their length fields alone: each is still to be checked.
///
/// The batches share the payload's memory.
///
/// # Errors
/// `Truncated` if the payload does not end where a batch does; `Header` for a length too small for a batch.
pub fn split(payload: Bytes) -> Result<Vec<Bytes>, BatchError> {
    let (batches, rest) = cut(payload)?;
    if rest.is_empty() {
        Ok(batches)
    } else {
        let needed = length_of(&rest).unwrap_or(LENGTH_OVERHEAD);
        Err(BatchError::Truncated { needed, found: rest.len() })
    }
}

/// [`split`] for what a consumer fetches: a broker may cut the last batch short, and that part is left out.
///
/// # Errors
/// `Header` for a length too small for a batch.
pub fn split_fetched(payload: Bytes) -> Result<Vec<Bytes>, BatchError> {
    cut(payload).map(|(batches, _)| batches)
}

/// The whole batches at the start of `payload`, and what is left.
fn cut(mut payload: Bytes) -> Result<(Vec<Bytes>, Bytes), BatchError> {
    let mut batches = Vec::new();
    while let Some(size) = length_of(&payload) {
        // A v0 or v1 message is shorter than a v2 header, but still has its magic byte: let check() name it.
        if size <= PREFIX_LEN {
            let value = i64::try_from(size).unwrap_or(i64::MAX) - 12;
            return Err(BatchError::Header { field: "batch_length", value });
        }
        if size > payload.len() {
            break;
        }
        batches.push(payload.split_to(size));
    }
    Ok((batches, payload))
}

/// Bytes of the batch at the start, by its length field (a negative one counts as 0); `None` if that is not there.
fn length_of(bytes: &[u8]) -> Option<usize> {
    let length = i32::from_be_bytes(*bytes.get(8..)?.first_chunk()?);
    Some(usize::try_from(length).unwrap_or(0) + LENGTH_OVERHEAD)
}

/// The first [`PREFIX_LEN`] bytes that `batch` has at this offset and leader epoch.
///
/// Who copies a batch anyway (into a log's value) writes these, then `batch[PREFIX_LEN..]`: one copy in all.
///
/// # Panics
/// If `batch` is shorter than a header: it must have passed [`check`].
#[must_use]
pub fn patched_prefix(batch: &[u8], base_offset: i64, partition_leader_epoch: i32) -> [u8; PREFIX_LEN] {
    assert!(batch.len() >= HEADER_LEN, "a checked batch has a header");
    let mut prefix = [0; PREFIX_LEN];
    prefix[..8].copy_from_slice(&base_offset.to_be_bytes());
    prefix[8..12].copy_from_slice(&batch[8..12]);
    prefix[12..].copy_from_slice(&partition_leader_epoch.to_be_bytes());
    prefix
}

/// The batch at this offset and leader epoch. Its CRC stays valid, as it does not cover them.
///
/// Nothing is copied if `batch` is the only holder of its memory.
///
/// # Panics
/// If `batch` is shorter than a header: it must have passed [`check`].
#[must_use]
pub fn patch(batch: Bytes, base_offset: i64, partition_leader_epoch: i32) -> Bytes {
    let prefix = patched_prefix(&batch, base_offset, partition_leader_epoch);
    let mut batch = into_mut(batch);
    batch[..PREFIX_LEN].copy_from_slice(&prefix);
    batch.freeze()
}

/// The batch with the broker's time: type, maximum timestamp, and the CRC that goes with them.
///
/// # Panics
/// If `batch` is shorter than a header: it must have passed [`check`].
#[must_use]
pub fn rewrite_log_append_time(batch: Bytes, append_time_ms: i64) -> Bytes {
    assert!(batch.len() >= HEADER_LEN, "a checked batch has a header");
    let mut batch = into_mut(batch);
    let attributes = i16::from_be_bytes([batch[ATTRIBUTES_AT], batch[ATTRIBUTES_AT + 1]]) | LOG_APPEND_TIME;
    batch[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&attributes.to_be_bytes());
    batch[MAX_TIMESTAMP_AT..MAX_TIMESTAMP_AT + 8].copy_from_slice(&append_time_ms.to_be_bytes());
    write_crc(&mut batch);
    batch.freeze()
}

/// The batch as this producer's, with the CRC that goes with it: for a batch that is sent again under another epoch.
///
/// # Panics
/// If `batch` is shorter than a header: it must have passed [`check`].
#[must_use]
pub fn rewrite_producer(batch: Bytes, producer_id: i64, producer_epoch: i16, base_sequence: i32) -> Bytes {
    assert!(batch.len() >= HEADER_LEN, "a checked batch has a header");
    let mut batch = into_mut(batch);
    batch[PRODUCER_ID_AT..PRODUCER_ID_AT + 8].copy_from_slice(&producer_id.to_be_bytes());
    batch[PRODUCER_EPOCH_AT..PRODUCER_EPOCH_AT + 2].copy_from_slice(&producer_epoch.to_be_bytes());
    batch[BASE_SEQUENCE_AT..BASE_SEQUENCE_AT + 4].copy_from_slice(&base_sequence.to_be_bytes());
    write_crc(&mut batch);
    batch.freeze()
}

fn write_crc(batch: &mut [u8]) {
    let crc = crc32c::crc32c(&batch[ATTRIBUTES_AT..]);
    batch[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
}

fn into_mut(batch: Bytes) -> BytesMut {
    batch.try_into_mut().unwrap_or_else(|shared| {
        let mut copy = BytesMut::with_capacity(shared.len());
        copy.put_slice(&shared);
        copy
    })
}
