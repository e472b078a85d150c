//! The mark of a store into which a backup is being restored: until it is gone, what is there is not whole.

use bytes::Bytes;
use uuid::Uuid;

use crate::field::{FieldReader, FieldWriter};
use crate::order::{KeyReader, KeyWriter};
use crate::{FormatError, Kind, OrderVersion};

const KIND: Kind = Kind::Restoring;
const VERSION: u8 = 1;

/// `restoring`: a single key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RestoringKey;

impl RestoringKey {
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

/// Who restores what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoringValue {
    /// Drawn by each attempt: one that finds another's here has been replaced by it.
    pub attempt: Uuid,
    /// The version of the backup's snapshot.
    pub snapshot: OrderVersion,
    /// When the attempt began, in milliseconds since the Unix epoch.
    pub began_ms: i64,
}

impl RestoringValue {
    /// The value's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        FieldWriter::new(VERSION, 32).uuid(self.attempt).u64(self.snapshot.0).i64(self.began_ms).finish()
    }

    /// # Errors
    /// The bytes are not such a value.
    pub fn decode(value: Bytes) -> Result<Self, FormatError> {
        let mut reader = FieldReader::new(KIND, VERSION, value)?;
        let restoring =
            Self { attempt: reader.uuid()?, snapshot: OrderVersion(reader.u64()?), began_ms: reader.i64()? };
        reader.finish()?;
        Ok(restoring)
    }
}
