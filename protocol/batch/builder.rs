//! Records, written into a batch.

use bytes::{BufMut, Bytes, BytesMut};

use super::header::{ATTRIBUTES_AT, CONTROL, CRC_AT, LENGTH_OVERHEAD, LOG_APPEND_TIME, TRANSACTIONAL};
use super::{
    BatchError, Compression, HEADER_LEN, MAGIC, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP,
    Record, TimestampType, compress, varint,
};

/// What a batch says about itself besides its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchOptions {
    /// The first record's offset; producers send 0.
    pub base_offset: i64,
    /// The leader's epoch; producers send -1.
    pub partition_leader_epoch: i32,
    /// The codec of the records.
    pub compression: Compression,
    /// Whose clock the timestamps are of; producers send `CreateTime`.
    pub timestamp_type: TimestampType,
    /// The idempotent producer's id, or [`NO_PRODUCER_ID`].
    pub producer_id: i64,
    /// The producer's epoch, or [`NO_PRODUCER_EPOCH`].
    pub producer_epoch: i16,
    /// The first record's sequence, or [`NO_SEQUENCE`].
    pub base_sequence: i32,
    /// Part of a transaction.
    pub transactional: bool,
    /// A coordinator's marker.
    pub control: bool,
}

impl Default for BatchOptions {
    /// What a plain producer sends: no codec, no producer id.
    fn default() -> Self {
        Self {
            base_offset: 0,
            partition_leader_epoch: -1,
            compression: Compression::None,
            timestamp_type: TimestampType::CreateTime,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            base_sequence: NO_SEQUENCE,
            transactional: false,
            control: false,
        }
    }
}

/// Collects records, encoded as they come, and closes them into one batch.
///
/// The options are given at the end, as a producer learns its id and sequence only when it sends.
#[derive(Clone, Debug, Default)]
pub struct BatchBuilder {
    records: BytesMut,
    count: i32,
    last_offset_delta: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl BatchBuilder {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self { max_timestamp: NO_TIMESTAMP, ..Self::default() }
    }

    /// Number of records.
    #[must_use]
    pub fn record_count(&self) -> i32 {
        self.count
    }

    /// Whether no record is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the batch if it is not compressed.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        HEADER_LEN + self.records.len()
    }

    /// Adds a record at the next offset and returns its offset delta.
    ///
    /// # Errors
    /// `TooLarge` if batch or record would take more than the format has room for.
    pub fn push(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(String, Option<Bytes>)],
    ) -> Result<i32, BatchError> {
        let offset_delta = if self.count == 0 { 0 } else { self.last_offset_delta.saturating_add(1) };
        self.push_at(offset_delta, timestamp_ms, key, value, headers)?;
        Ok(offset_delta)
    }

    /// Adds a record at this offset delta, which is above that of the record before: gaps are kept.
    ///
    /// # Errors
    /// As [`BatchBuilder::push`]; `Header` if the offset delta is negative or does not grow.
    pub fn push_at(
        &mut self,
        offset_delta: i32,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(String, Option<Bytes>)],
    ) -> Result<(), BatchError> {
        if offset_delta < 0 || (self.count > 0 && offset_delta <= self.last_offset_delta) {
            return Err(BatchError::Header { field: "last_offset_delta", value: i64::from(offset_delta) });
        }
        let base_timestamp = if self.count == 0 { timestamp_ms } else { self.base_timestamp };
        let timestamp_delta = timestamp_ms.wrapping_sub(base_timestamp);
        let headers_len: usize = headers
            .iter()
            .map(|(name, value)| bytes_len(Some(name.as_bytes())) + bytes_len(value.as_deref()))
            .sum();
        let header_count = i64::try_from(headers.len()).unwrap_or(i64::MAX);
        let length = 1
            + varint::len(timestamp_delta)
            + varint::len(i64::from(offset_delta))
            + bytes_len(key)
            + bytes_len(value)
            + varint::len(header_count)
            + headers_len;
        let too_large = BatchError::TooLarge { limit: MAX_BODY_LEN };
        if self.records.len().saturating_add(length + varint::MAX_LEN) > MAX_BODY_LEN {
            return Err(too_large);
        }
        self.records.reserve(length + varint::MAX_LEN);
        varint::put(&mut self.records, i64::try_from(length).map_err(|_| too_large)?);
        self.records.put_u8(0);
        varint::put(&mut self.records, timestamp_delta);
        varint::put(&mut self.records, i64::from(offset_delta));
        put_bytes(&mut self.records, key);
        put_bytes(&mut self.records, value);
        varint::put(&mut self.records, header_count);
        for (name, value) in headers {
            put_bytes(&mut self.records, Some(name.as_bytes()));
            put_bytes(&mut self.records, value.as_deref());
        }
        self.count += 1;
        self.last_offset_delta = offset_delta;
        self.base_timestamp = base_timestamp;
        self.max_timestamp = self.max_timestamp.max(timestamp_ms);
        Ok(())
    }

    /// Compresses the records and puts the header in front.
    ///
    /// # Errors
    /// `TooLarge` if that is more than the format has room for; `Header` if there is no record.
    pub fn finish(self, options: &BatchOptions) -> Result<Bytes, BatchError> {
        if self.is_empty() {
            return Err(BatchError::Header { field: "record_count", value: 0 });
        }
        let body = compress(options.compression, self.records.freeze())?;
        let too_large = BatchError::TooLarge { limit: MAX_BODY_LEN };
        let length = i32::try_from(HEADER_LEN - LENGTH_OVERHEAD + body.len()).map_err(|_| too_large)?;
        let mut attributes = options.compression.id();
        for (flag, set) in [
            (LOG_APPEND_TIME, options.timestamp_type == TimestampType::LogAppendTime),
            (TRANSACTIONAL, options.transactional),
            (CONTROL, options.control),
        ] {
            attributes |= if set { flag } else { 0 };
        }
        let mut batch = BytesMut::with_capacity(HEADER_LEN + body.len());
        batch.put_i64(options.base_offset);
        batch.put_i32(length);
        batch.put_i32(options.partition_leader_epoch);
        batch.put_i8(MAGIC);
        batch.put_u32(0);
        batch.put_i16(attributes);
        batch.put_i32(self.last_offset_delta);
        batch.put_i64(self.base_timestamp);
        batch.put_i64(self.max_timestamp);
        batch.put_i64(options.producer_id);
        batch.put_i16(options.producer_epoch);
        batch.put_i32(options.base_sequence);
        batch.put_i32(self.count);
        batch.put_slice(&body);
        let crc = crc32c::crc32c(&batch[ATTRIBUTES_AT..]);
        batch[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
        Ok(batch.freeze())
    }
}

/// Bytes of records that a batch has room for: its length field counts the rest of the header too.
const MAX_BODY_LEN: usize = 0x7fff_ffff - HEADER_LEN;

/// All records in one batch. Their offset deltas are kept.
///
/// # Errors
/// `TooLarge` if that is more than the format has room for; `Header` if there is no record, or if the offset
/// deltas do not grow.
pub fn encode_batch(records: &[Record], options: &BatchOptions) -> Result<Bytes, BatchError> {
    let mut builder = BatchBuilder::new();
    for record in records {
        builder.push_at(
            record.offset_delta,
            record.timestamp_ms,
            record.key.as_deref(),
            record.value.as_deref(),
            &record.headers,
        )?;
    }
    builder.finish(options)
}

fn bytes_len(bytes: Option<&[u8]>) -> usize {
    let length = bytes.map_or(0, <[u8]>::len);
    varint::len(length_or_null(bytes)) + length
}

fn put_bytes(buf: &mut BytesMut, bytes: Option<&[u8]>) {
    varint::put(buf, length_or_null(bytes));
    buf.put_slice(bytes.unwrap_or_default());
}

fn length_or_null(bytes: Option<&[u8]>) -> i64 {
    bytes.map_or(-1, |bytes| i64::try_from(bytes.len()).unwrap_or(i64::MAX))
}
