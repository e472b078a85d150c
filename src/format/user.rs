//! What applications keep for themselves: keys and values are theirs.

use bytes::Bytes;

use crate::order::{KeyReader, KeyWriter, after_prefix};
use crate::{FormatError, KEY_MAX_BYTES, Kind};

const KIND: Kind = Kind::User;

/// `user/{key}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserKey {
    /// The application's key, of at most [`UserKey::KEY_MAX_BYTES`].
    pub key: Bytes,
}

impl UserKey {
    /// The longest key that an application can have, in bytes.
    pub const KEY_MAX_BYTES: usize = KEY_MAX_BYTES - 1;

    /// The key's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        KeyWriter::new(KIND).raw(&self.key).finish()
    }

    /// # Errors
    /// The bytes are not such a key.
    pub fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let reader = KeyReader::new(KIND, key)?;
        Ok(Self { key: Bytes::copy_from_slice(reader.rest()) })
    }

    /// The application's keys from `start` (inclusive) to `end` (exclusive; none: to the last).
    #[must_use]
    pub fn range(start: &[u8], end: Option<&[u8]>) -> (Bytes, Bytes) {
        let start = KeyWriter::new(KIND).raw(start).finish();
        let end = match end {
            Some(end) => KeyWriter::new(KIND).raw(end).finish(),
            None => after_prefix(&[KIND.tag()]),
        };
        (start, end)
    }
}
