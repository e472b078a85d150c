//! Which producer ids were handed out: one row for all, moved on by a block at a time.

use bytes::Bytes;

use crate::field::{FieldReader, FieldWriter};
use crate::order::{KeyReader, KeyWriter};
use crate::{FormatError, Kind, ProducerId};

const KIND: Kind = Kind::ProducerIdBlock;
const VERSION: u8 = 1;

/// `producer-id-block`: a single key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerIdBlockKey;

impl ProducerIdBlockKey {
    /// The key's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        KeyWriter::new(KIND).finish()
    }

    /// # Errors
    /// The bytes are not this key.
    pub fn decode(key: &[u8]) -> Result<Self, FormatError> {
        KeyReader::new(KIND, key)?.finish()?;
        Ok(Self)
    }
}

/// The first producer id that is in nobody's block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdBlockValue {
    /// The next block starts here.
    pub next: ProducerId,
}

impl ProducerIdBlockValue {
    /// The value's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        FieldWriter::new(VERSION, 8).i64(self.next.0).finish()
    }

    /// # Errors
    /// The bytes are not such a value.
    pub fn decode(value: Bytes) -> Result<Self, FormatError> {
        let mut reader = FieldReader::new(KIND, VERSION, value)?;
        let next = ProducerId(reader.i64()?);
        reader.finish()?;
        Ok(Self { next })
    }
}
