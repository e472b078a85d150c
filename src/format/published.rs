//! That an event with an id was published, and for how long that is remembered.

use bytes::Bytes;

use crate::field::{FieldReader, FieldWriter};
use crate::order::{KeyReader, KeyWriter};
use crate::{EventIdKey, FormatError, Kind};

const KIND: Kind = Kind::Published;
const VERSION: u8 = 1;

/// `published/{source}/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublishedKey {
    /// The event's source, of at most [`EventIdKey::SOURCE_MAX_BYTES`].
    pub source: String,
    /// The event's id, unique at its source, of at most [`EventIdKey::ID_MAX_BYTES`].
    pub id: String,
}

impl PublishedKey {
    /// The key's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        KeyWriter::new(KIND).str(&self.source).str(&self.id).finish()
    }

    /// # Errors
    /// The bytes are not such a key.
    pub fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let mut reader = KeyReader::new(KIND, key)?;
        let source = reader.str("source")?;
        let id = reader.str("id")?;
        reader.finish()?;
        Ok(Self { source, id })
    }

    /// The key by which the id is found when its time is over.
    #[must_use]
    pub fn until(self, until_ms: i64) -> EventIdKey {
        EventIdKey { until_ms, source: self.source, id: self.id }
    }
}

/// For how long the id is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishedValue {
    /// From then on the id may be published again, in milliseconds since the Unix epoch.
    pub until_ms: i64,
}

impl PublishedValue {
    /// The value's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        FieldWriter::new(VERSION, 16).i64(self.until_ms).finish()
    }

    /// # Errors
    /// The bytes are not such a value.
    pub fn decode(value: Bytes) -> Result<Self, FormatError> {
        let mut reader = FieldReader::new(KIND, VERSION, value)?;
        let until_ms = reader.i64()?;
        reader.finish()?;
        Ok(Self { until_ms })
    }
}
