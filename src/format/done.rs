//! The worker's mark on a record that it has handled.

use bytes::Bytes;

use crate::order::{KeyReader, KeyWriter};
use crate::{FormatError, Kind, Offset, PartitionId, PartitionIndex, TopicId};

const KIND: Kind = Kind::Done;

/// `done/{group}/{topic id}/{partition}/{offset}`, over [`MARKER`](crate::MARKER).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DoneKey {
    /// The group's id.
    pub group: String,
    /// The partition.
    pub id: PartitionId,
    /// The record.
    pub offset: Offset,
}

impl DoneKey {
    /// The key's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        prefix(&self.group, self.id).i64(self.offset.0).finish()
    }

    /// # Errors
    /// The bytes are not such a key.
    pub fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let mut reader = KeyReader::new(KIND, key)?;
        let group = reader.str("group")?;
        let topic = TopicId(reader.uuid()?);
        let partition = PartitionIndex(reader.i32()?);
        let offset = Offset(reader.i64()?);
        reader.finish()?;
        Ok(Self { group, id: PartitionId { topic, partition }, offset })
    }

    /// Every mark of every group, by group.
    #[must_use]
    pub fn all() -> (Bytes, Bytes) {
        KeyWriter::new(KIND).range()
    }

    /// Every mark of a group, by partition.
    #[must_use]
    pub fn range_group(group: &str) -> (Bytes, Bytes) {
        KeyWriter::new(KIND).str(group).range()
    }

    /// Every mark of a group in a partition, by offset.
    #[must_use]
    pub fn range(group: &str, id: PartitionId) -> (Bytes, Bytes) {
        prefix(group, id).range()
    }
}

fn prefix(group: &str, id: PartitionId) -> KeyWriter {
    KeyWriter::new(KIND).str(group).uuid(id.topic.0).i32(id.partition.0)
}
