//! Until when the id of an event that was published is remembered, in order of time, so that what is over is found.

use bytes::Bytes;

use crate::order::{KeyReader, KeyWriter};
use crate::{FormatError, Kind};

const KIND: Kind = Kind::EventId;

/// `event-id/{until}/{source}/{id}`, over [`MARKER`](crate::MARKER): what [`PublishedKey`](crate::PublishedKey) has, by
/// its time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventIdKey {
    /// From then on it need not be remembered, in milliseconds since the Unix epoch.
    pub until_ms: i64,
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
        KeyWriter::new(KIND).i64(self.until_ms).str(&self.source).str(&self.id).finish()
    }

    /// # Errors
    /// The bytes are not such a key.
    pub fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let mut reader = KeyReader::new(KIND, key)?;
        let until_ms = reader.i64()?;
        let source = reader.str("source")?;
        let id = reader.str("id")?;
        reader.finish()?;
        Ok(Self { until_ms, source, id })
    }

    /// Every id that was remembered until before `now_ms`.
    #[must_use]
    pub fn range_before(now_ms: i64) -> (Bytes, Bytes) {
        (KeyWriter::new(KIND).finish(), KeyWriter::new(KIND).i64(now_ms).finish())
    }
}
