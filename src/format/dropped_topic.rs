//! The mark of a topic that was dropped and whose data is still being removed: written with the topic's removal, so that
//! a crash in between leaves no data that nobody knows of.

use bytes::Bytes;

use crate::field::{FieldReader, FieldWriter};
use crate::order::{KeyReader, KeyWriter};
use crate::{FormatError, Kind, TopicId};

const KIND: Kind = Kind::DroppedTopic;
const VERSION: u8 = 1;

/// `dropped-topic/{topic id}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DroppedTopicKey {
    /// The id that the topic had.
    pub id: TopicId,
}

impl DroppedTopicKey {
    /// The key's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        KeyWriter::new(KIND).uuid(self.id.0).finish()
    }

    /// # Errors
    /// The bytes are not such a key.
    pub fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let mut reader = KeyReader::new(KIND, key)?;
        let id = TopicId(reader.uuid()?);
        reader.finish()?;
        Ok(Self { id })
    }

    /// All marks.
    #[must_use]
    pub fn all() -> (Bytes, Bytes) {
        KeyWriter::new(KIND).range()
    }
}

/// What the topic was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedTopicValue {
    /// Its name, which may belong to another topic by now.
    pub name: String,
    /// How many partitions it had.
    pub partitions: i32,
}

impl DroppedTopicValue {
    /// The value's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        FieldWriter::new(VERSION, 32).str(&self.name).i32(self.partitions).finish()
    }

    /// # Errors
    /// The bytes are not such a value.
    pub fn decode(value: Bytes) -> Result<Self, FormatError> {
        let mut reader = FieldReader::new(KIND, VERSION, value)?;
        let name = reader.str("name")?;
        let partitions = reader.i32()?;
        reader.finish()?;
        Ok(Self { name, partitions })
    }
}
