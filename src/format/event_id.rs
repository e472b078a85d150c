//! That an event with an id was published, in a bucket of time, so that the oldest buckets can go as a whole.

use bytes::Bytes;

use crate::order::{KeyReader, KeyWriter};
use crate::{FormatError, Kind};

const KIND: Kind = Kind::EventId;

/// `event-id/{bucket}/{source}/{id}`, over [`MARKER`](crate::MARKER).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventIdKey {
    /// When its bucket begins, in milliseconds since the Unix epoch.
    pub bucket_ms: i64,
    /// The event's source, of at most [`EventIdKey::SOURCE_MAX_BYTES`].
    pub source: String,
    /// The event's id, unique at its source, of at most [`EventIdKey::ID_MAX_BYTES`].
    pub id: String,
}

impl EventIdKey {
    /// The longest source, in bytes.
    pub const SOURCE_MAX_BYTES: usize = 1024;
    /// The longest id, in bytes.
    pub const ID_MAX_BYTES: usize = 512;

    /// The key's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        KeyWriter::new(KIND).i64(self.bucket_ms).str(&self.source).str(&self.id).finish()
    }

    /// # Errors
    /// The bytes are not such a key.
    pub fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let mut reader = KeyReader::new(KIND, key)?;
        let bucket_ms = reader.i64()?;
        let source = reader.str("source")?;
        let id = reader.str("id")?;
        reader.finish()?;
        Ok(Self { bucket_ms, source, id })
    }

    /// Every id of the buckets that begin before `bucket_ms`.
    #[must_use]
    pub fn range_before(bucket_ms: i64) -> (Bytes, Bytes) {
        (KeyWriter::new(KIND).finish(), KeyWriter::new(KIND).i64(bucket_ms).finish())
    }
}
