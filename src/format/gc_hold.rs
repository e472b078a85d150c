//! A snapshot that is still being read: garbage collection stays behind it.

use bytes::Bytes;
use uuid::Uuid;

use crate::field::{FieldReader, FieldWriter};
use crate::order::{KeyReader, KeyWriter};
use crate::{FormatError, Kind, OrderVersion};

const KIND: Kind = Kind::GcHold;
const VERSION: u8 = 1;

/// `gc-hold/{id}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GcHoldKey {
    /// Chosen by whoever holds.
    pub id: Uuid,
}

impl GcHoldKey {
    /// The key's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        KeyWriter::new(KIND).uuid(self.id).finish()
    }

    /// # Errors
    /// The bytes are not such a key.
    pub fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let mut reader = KeyReader::new(KIND, key)?;
        let id = reader.uuid()?;
        reader.finish()?;
        Ok(Self { id })
    }

    /// All holds.
    #[must_use]
    pub fn all() -> (Bytes, Bytes) {
        KeyWriter::new(KIND).range()
    }
}

/// What is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GcHoldValue {
    /// The snapshot's version.
    pub version: OrderVersion,
    /// Raised with each renewal: a hold that does not change for a lease is void.
    pub renewals: u64,
}

impl GcHoldValue {
    /// The value's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        FieldWriter::new(VERSION, 16).u64(self.version.0).u64(self.renewals).finish()
    }

    /// # Errors
    /// The bytes are not such a value.
    pub fn decode(value: Bytes) -> Result<Self, FormatError> {
        let mut reader = FieldReader::new(KIND, VERSION, value)?;
        let hold = Self { version: OrderVersion(reader.u64()?), renewals: reader.u64()? };
        reader.finish()?;
        Ok(hold)
    }
}
