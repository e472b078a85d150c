//! The batch's header: 61 bytes of fixed layout.

use bytes::Buf;

use super::{BatchError, Compression};

/// Bytes of a batch's header; the records follow.
pub const HEADER_LEN: usize = 61;
/// Bytes at the batch's start that its CRC does not cover and that a log rewrites: base offset, length, leader
/// epoch (magic and CRC follow).
pub const PREFIX_LEN: usize = 16;
/// The message format that is spoken here.
pub const MAGIC: i8 = 2;
/// A batch without a producer id.
pub const NO_PRODUCER_ID: i64 = -1;
/// A batch without a producer epoch.
pub const NO_PRODUCER_EPOCH: i16 = -1;
/// A batch without a sequence.
pub const NO_SEQUENCE: i32 = -1;
/// A record without a timestamp.
pub const NO_TIMESTAMP: i64 = -1;

/// Bytes that precede what the length field counts: base offset and the length itself.
pub(super) const LENGTH_OVERHEAD: usize = 12;
pub(super) const CRC_AT: usize = 17;
pub(super) const ATTRIBUTES_AT: usize = 21;
pub(super) const MAX_TIMESTAMP_AT: usize = 35;
pub(super) const PRODUCER_ID_AT: usize = 43;
pub(super) const PRODUCER_EPOCH_AT: usize = 51;
pub(super) const BASE_SEQUENCE_AT: usize = 53;

pub(super) const COMPRESSION_MASK: i16 = 0x07;
pub(super) const LOG_APPEND_TIME: i16 = 0x08;
pub(super) const TRANSACTIONAL: i16 = 0x10;
pub(super) const CONTROL: i16 = 0x20;
pub(super) const DELETE_HORIZON: i16 = 0x40;

/// Whose clock a batch's timestamps are of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    #[default]
    CreateTime,
    /// The broker's; the maximum timestamp is that of every record.
    LogAppendTime,
}

/// A batch's header, read but not judged: see [`check`](super::check).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The first record's offset.
    pub base_offset: i64,
    /// Bytes that follow the length field.
    pub batch_length: i32,
    /// The epoch of the partition's leader when it was appended.
    pub partition_leader_epoch: i32,
    /// The message format: 2.
    pub magic: i8,
    /// CRC32C of everything from the attributes on.
    pub crc: u32,
    /// Compression, timestamp type, transactional, control: see the methods.
    pub attributes: i16,
    /// The last record's offset less the base offset.
    pub last_offset_delta: i32,
    /// The timestamp that the records' are relative to, in ms since the Unix epoch.
    pub base_timestamp: i64,
    /// The highest timestamp, in ms since the Unix epoch.
    pub max_timestamp: i64,
    /// The producer's id, or [`NO_PRODUCER_ID`].
    pub producer_id: i64,
    /// The producer's epoch, or [`NO_PRODUCER_EPOCH`].
    pub producer_epoch: i16,
    /// The first record's sequence, or [`NO_SEQUENCE`].
    pub base_sequence: i32,
    /// Number of records.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`.
    ///
    /// # Errors
    /// `Truncated` if there are fewer than [`HEADER_LEN`] bytes. Nothing else is looked at.
    pub fn decode(bytes: &[u8]) -> Result<Self, BatchError> {
        let Some(mut header) = bytes.get(..HEADER_LEN) else {
            return Err(BatchError::Truncated { needed: HEADER_LEN, found: bytes.len() });
        };
        Ok(Self {
            base_offset: header.get_i64(),
            batch_length: header.get_i32(),
            partition_leader_epoch: header.get_i32(),
            magic: header.get_i8(),
            crc: header.get_u32(),
            attributes: header.get_i16(),
            last_offset_delta: header.get_i32(),
            base_timestamp: header.get_i64(),
            max_timestamp: header.get_i64(),
            producer_id: header.get_i64(),
            producer_epoch: header.get_i16(),
            base_sequence: header.get_i32(),
            record_count: header.get_i32(),
        })
    }

    /// Bytes of the whole batch by its length field; 0 if that field is negative.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        usize::try_from(self.batch_length).map_or(0, |length| length + LENGTH_OVERHEAD)
    }

    /// The last record's offset.
    #[must_use]
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// The codec of the records.
    ///
    /// # Errors
    /// `UnknownCompression` for an id that no codec has.
    pub fn compression(&self) -> Result<Compression, BatchError> {
        Compression::from_attributes(self.attributes)
    }

    /// Whose clock the timestamps are of.
    #[must_use]
    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes & LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// The latest timestamp that the header tells of: that of its first record, if the maximum is said to be lower. A
    /// claim, as long as nobody looks into the batch.
    #[must_use]
    pub fn latest_timestamp(&self) -> i64 {
        match self.timestamp_type() {
            TimestampType::CreateTime => self.max_timestamp.max(self.base_timestamp),
            TimestampType::LogAppendTime => self.max_timestamp,
        }
    }

    /// Whether it is part of a transaction.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether its records are a coordinator's markers rather than data.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Whether the base timestamp is the time from which tombstones may go (set by compaction).
    #[must_use]
    pub fn has_delete_horizon(&self) -> bool {
        self.attributes & DELETE_HORIZON != 0
    }

    /// Whether an idempotent producer sent it.
    #[must_use]
    pub fn has_producer_id(&self) -> bool {
        self.producer_id > NO_PRODUCER_ID
    }

    /// The last record's sequence: sequences count from 0 again after `i32::MAX`. [`NO_SEQUENCE`] if it has none.
    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence == NO_SEQUENCE {
            return NO_SEQUENCE;
        }
        increment_sequence(self.base_sequence, self.last_offset_delta)
    }
}

/// The sequence `increment` records after `sequence`; sequences count from 0 again after `i32::MAX`.
#[must_use]
pub fn increment_sequence(sequence: i32, increment: i32) -> i32 {
    let wrapped = (i64::from(sequence) + i64::from(increment)) & i64::from(i32::MAX);
    i32::try_from(wrapped).expect("31 bits fit in an i32")
}
