//! How far a group has come in a partition.

use bytes::Bytes;

use crate::field::{FieldReader, FieldWriter};
use crate::order::{KeyReader, KeyWriter};
use crate::{FormatError, Kind, Offset, PartitionId, PartitionIndex, TopicId};

const KIND: Kind = Kind::Offset;
const VERSION: u8 = 1;

/// `offset/{group}/{topic id}/{partition}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OffsetKey {
    /// The group's id.
    pub group: String,
    /// The partition.
    pub id: PartitionId,
}

impl OffsetKey {
    /// The key's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        KeyWriter::new(KIND).str(&self.group).uuid(self.id.topic.0).i32(self.id.partition.0).finish()
    }

    /// # Errors
    /// The bytes are not such a key.
    pub fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let mut reader = KeyReader::new(KIND, key)?;
        let group = reader.str("group")?;
        let topic = TopicId(reader.uuid()?);
        let partition = PartitionIndex(reader.i32()?);
        reader.finish()?;
        Ok(Self { group, id: PartitionId { topic, partition } })
    }

    /// Every offset of every group, by group.
    #[must_use]
    pub fn all() -> (Bytes, Bytes) {
        KeyWriter::new(KIND).range()
    }

    /// Every offset of a group.
    #[must_use]
    pub fn range(group: &str) -> (Bytes, Bytes) {
        KeyWriter::new(KIND).str(group).range()
    }

    /// Every offset of a group in a topic, by partition.
    #[must_use]
    pub fn range_topic(group: &str, topic: TopicId) -> (Bytes, Bytes) {
        KeyWriter::new(KIND).str(group).uuid(topic.0).range()
    }
}

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetValue {
    /// The next record that the group wants.
    pub offset: Offset,
    /// The leader epoch of the last record it had, or -1.
    pub leader_epoch: i32,
    /// What the member wished to note.
    pub metadata: String,
    /// When it was committed, in milliseconds since the Unix epoch.
    pub commit_time_ms: i64,
    /// When it expires, if the member said so (OffsetCommit up to v4).
    pub expire_time_ms: Option<i64>,
}

impl OffsetValue {
    /// The value's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        FieldWriter::new(VERSION, 32 + self.metadata.len())
            .i64(self.offset.0)
            .i32(self.leader_epoch)
            .str(&self.metadata)
            .i64(self.commit_time_ms)
            .opt_i64(self.expire_time_ms)
            .finish()
    }

    /// # Errors
    /// The bytes are not such a value.
    pub fn decode(value: Bytes) -> Result<Self, FormatError> {
        let mut reader = FieldReader::new(KIND, VERSION, value)?;
        let offset = Self {
            offset: Offset(reader.i64()?),
            leader_epoch: reader.i32()?,
            metadata: reader.str("metadata")?,
            commit_time_ms: reader.i64()?,
            expire_time_ms: reader.opt_i64("expire time")?,
        };
        reader.finish()?;
        Ok(offset)
    }
}
