//! A record that failed, or that waits behind one of the same key that did. Its value is the worker's to define.

use bytes::Bytes;

use crate::order::{KeyReader, KeyWriter};
use crate::{FormatError, Kind, Offset, PartitionId, PartitionIndex, TopicId};

const KIND: Kind = Kind::Parked;

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

fn prefix(group: &str, id: PartitionId) -> KeyWriter {
    KeyWriter::new(KIND).str(group).uuid(id.topic.0).i32(id.partition.0)
}
