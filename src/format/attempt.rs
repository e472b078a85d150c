//! The newest commit attempt of one lane of a client that uses the store through a broker: what a lost answer is settled
//! by.

use bytes::Bytes;
use uuid::Uuid;

use crate::field::{FieldReader, FieldWriter};
use crate::order::{KeyReader, KeyWriter};
use crate::{FormatError, Kind};

const KIND: Kind = Kind::Attempt;
const VERSION: u8 = 1;

/// `attempt/{client}/{lane}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptKey {
    /// The client: random.
    pub client: Uuid,
    /// A lane has one transaction at a time.
    pub lane: u32,
}

impl AttemptKey {
    /// The key's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        KeyWriter::new(KIND).uuid(self.client).u32(self.lane).finish()
    }

    /// # Errors
    /// The bytes are not such a key.
    pub fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let mut reader = KeyReader::new(KIND, key)?;
        let client = reader.uuid()?;
        let lane = reader.u32()?;
        reader.finish()?;
        Ok(Self { client, lane })
    }

    /// All lanes of all clients.
    #[must_use]
    pub fn all() -> (Bytes, Bytes) {
        KeyWriter::new(KIND).range()
    }
}

/// The newest attempt of a lane that is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptValue {
    /// Its number in the lane.
    pub number: u64,
    /// Whether it was applied; if not, it never will be.
    pub applied: bool,
    /// When this was written, in milliseconds since the Unix epoch: rows are kept for a while.
    pub at_ms: i64,
}

impl AttemptValue {
    /// The value's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        FieldWriter::new(VERSION, 17).u64(self.number).u8(u8::from(self.applied)).i64(self.at_ms).finish()
    }

    /// # Errors
    /// The bytes are not such a value.
    pub fn decode(value: Bytes) -> Result<Self, FormatError> {
        let mut reader = FieldReader::new(KIND, VERSION, value)?;
        let number = reader.u64()?;
        let applied = match reader.u8()? {
            0 => false,
            1 => true,
            _ => return Err(reader.malformed("applied")),
        };
        let at_ms = reader.i64()?;
        reader.finish()?;
        Ok(Self { number, applied, at_ms })
    }
}
