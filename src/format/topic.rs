//! A topic: by name, because that is how clients ask for it.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::field::{FieldReader, FieldWriter};
use crate::order::{KeyReader, KeyWriter};
use crate::{FormatError, Kind, OrderVersion, TopicId};

const KIND: Kind = Kind::Topic;
const VERSION: u8 = 1;

/// `topic/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicKey {
    /// The name, one that [`check_topic_name`](crate::check_topic_name) takes.
    pub name: String,
}

impl TopicKey {
    /// The key's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        KeyWriter::new(KIND).str(&self.name).finish()
    }

    /// # Errors
    /// The bytes are not such a key.
    pub fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let mut reader = KeyReader::new(KIND, key)?;
        let name = reader.str("name")?;
        reader.finish()?;
        Ok(Self { name })
    }

    /// All topics, by name.
    #[must_use]
    pub fn all() -> (Bytes, Bytes) {
        KeyWriter::new(KIND).range()
    }
}

/// What a topic is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicValue {
    /// Its id.
    pub id: TopicId,
    /// How many partitions it has.
    pub partitions: i32,
    /// A version from the transaction that created it.
    pub created_version: OrderVersion,
    /// The configurations that were set, by Kafka's names; others have their defaults.
    pub configs: BTreeMap<String, String>,
}

impl TopicValue {
    /// The value's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        FieldWriter::new(VERSION, 64)
            .uuid(self.id.0)
            .i32(self.partitions)
            .u64(self.created_version.0)
            .each(&self.configs, |writer, (name, value)| writer.str(name).str(value))
            .finish()
    }

    /// # Errors
    /// The bytes are not such a value.
    pub fn decode(value: Bytes) -> Result<Self, FormatError> {
        let mut reader = FieldReader::new(KIND, VERSION, value)?;
        let id = TopicId(reader.uuid()?);
        let partitions = reader.i32()?;
        let created_version = OrderVersion(reader.u64()?);
        let pairs =
            reader.each("configs", |reader| Ok((reader.str("config")?, reader.str("config value")?)))?;
        if !pairs.is_sorted_by(|left, right| left.0 < right.0) {
            return Err(reader.malformed("configs"));
        }
        reader.finish()?;
        Ok(Self { id, partitions, created_version, configs: pairs.into_iter().collect() })
    }
}
