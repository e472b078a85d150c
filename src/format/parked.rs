//! A record that failed, or that waits behind one of the same key that did, whole, so that retention cannot take it.

use bytes::Bytes;

use crate::field::{FieldReader, FieldWriter};
use crate::order::{KeyReader, KeyWriter};
use crate::payload::{self, Payload};
use crate::{FormatError, Kind, Offset, PartitionId, PartitionIndex, TopicId};

const KIND: Kind = Kind::Parked;
const VERSION: u8 = 1;

/// `parked/{group}/{topic id}/{partition}/{key}/{offset}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParkedKey {
    /// The group's id.
    pub group: String,
    /// The partition.
    pub id: PartitionId,
    /// What the records that wait for one another share: their key, or a digest of it if it is longer than
    /// [`ParkedKey::KEY_MAX_BYTES`].
    pub key: Bytes,
    /// The record.
    pub offset: Offset,
}

impl ParkedKey {
    /// The longest record key that is taken as it is, in bytes.
    pub const KEY_MAX_BYTES: usize = 1024;

    /// The key's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        prefix(&self.group, self.id).bytes(&self.key).i64(self.offset.0).finish()
    }

    /// # Errors
    /// The bytes are not such a key.
    pub fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let mut reader = KeyReader::new(KIND, key)?;
        let group = reader.str("group")?;
        let topic = TopicId(reader.uuid()?);
        let partition = PartitionIndex(reader.i32()?);
        let key = reader.bytes("key")?.into();
        let offset = Offset(reader.i64()?);
        reader.finish()?;
        Ok(Self { group, id: PartitionId { topic, partition }, key, offset })
    }

    /// Every parked record of every group, by group.
    #[must_use]
    pub fn all() -> (Bytes, Bytes) {
        KeyWriter::new(KIND).range()
    }

    /// Every parked record of a group, by partition.
    #[must_use]
    pub fn range_group(group: &str) -> (Bytes, Bytes) {
        KeyWriter::new(KIND).str(group).range()
    }

    /// Every parked record of a group in a partition, by key and offset.
    #[must_use]
    pub fn range(group: &str, id: PartitionId) -> (Bytes, Bytes) {
        prefix(group, id).range()
    }

    /// Every parked record of a group in a partition with a key, by offset.
    #[must_use]
    pub fn range_key(group: &str, id: PartitionId, key: &[u8]) -> (Bytes, Bytes) {
        prefix(group, id).bytes(key).range()
    }
}

/// A record that waits for another try.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParkedValue {
    /// How often it was tried; 0 if it only waits behind another of its key.
    pub attempts: u32,
    /// When it may be tried, in milliseconds since the Unix epoch.
    pub due_ms: i64,
    /// Why the last try failed, if there was one that did.
    pub cause: Option<String>,
    /// The record's timestamp in milliseconds.
    pub timestamp_ms: i64,
    /// The record's key.
    pub key: Option<Bytes>,
    /// The record's value.
    pub value: Option<Bytes>,
    /// The record's headers, in order.
    pub headers: Vec<(String, Option<Bytes>)>,
}

impl ParkedValue {
    /// The value's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let before = FieldWriter::new(VERSION, payload::capacity(self.value.as_ref()))
            .u32(self.attempts)
            .i64(self.due_ms)
            .opt_str(self.cause.as_deref())
            .i64(self.timestamp_ms);
        payload::write(before, self.key.as_ref(), self.value.as_ref(), &self.headers).finish()
    }

    /// # Errors
    /// The bytes are not such a value.
    pub fn decode(value: Bytes) -> Result<Self, FormatError> {
        let mut reader = FieldReader::new(KIND, VERSION, value)?;
        let (attempts, due_ms) = (reader.u32()?, reader.i64()?);
        let (cause, timestamp_ms) = (reader.opt_str("cause")?, reader.i64()?);
        let Payload { key, value, headers } = payload::read(&mut reader)?;
        reader.finish()?;
        Ok(Self { attempts, due_ms, cause, timestamp_ms, key, value, headers })
    }
}

fn prefix(group: &str, id: PartitionId) -> KeyWriter {
    KeyWriter::new(KIND).str(group).uuid(id.topic.0).i32(id.partition.0)
}
