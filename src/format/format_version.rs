//! Under which version of this format a store was written: read before anything else is.

use bytes::Bytes;

use crate::order::{KeyReader, KeyWriter};
use crate::{FormatError, Kind};

const KIND: Kind = Kind::FormatVersion;

/// `format-version`: a single key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FormatVersionKey;

impl FormatVersionKey {
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

/// A version of the whole format, 4 bytes big endian. A kind's own version byte tells its smaller changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FormatVersion(u32);

impl FormatVersion {
    /// What this release writes, and the only one that it reads: 1 was that of versions before the first release.
    pub const SUPPORTED: Self = Self(2);

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The value's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        Bytes::copy_from_slice(&self.0.to_be_bytes())
    }

    /// # Errors
    /// [`FormatError::Newer`] if a later release wrote the store, [`FormatError::Older`] if one before the first did;
    /// otherwise the bytes are not a version.
    pub fn decode(value: &[u8]) -> Result<Self, FormatError> {
        let Ok(bytes) = <[u8; 4]>::try_from(value) else {
            return Err(FormatError::Value { kind: KIND, field: "version" });
        };
        match u32::from_be_bytes(bytes) {
            0 => Err(FormatError::Value { kind: KIND, field: "version" }),
            found if found > Self::SUPPORTED.0 => {
                Err(FormatError::Newer { kind: KIND, found, supported: Self::SUPPORTED.0 })
            }
            found if found < Self::SUPPORTED.0 => {
                Err(FormatError::Older { kind: KIND, found, oldest: Self::SUPPORTED.0 })
            }
            found => Ok(Self(found)),
        }
    }
}
