//! A model's id: the last part of its keys.

use std::fmt;

use bytes::Bytes;
use uuid::Uuid;

use crate::order::{KeyReader, KeyWriter};
use crate::{FormatError, Kind};

const KIND: Kind = Kind::Model;

const INTEGER: u8 = 1;
const UUID: u8 = 2;
const STRING: u8 = 3;

/// A model's id. Integers sort before UUIDs, UUIDs before strings.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ModelId {
    /// A number.
    Integer(i64),
    /// A UUID.
    Uuid(Uuid),
    /// Text of 1 to [`ModelId::STRING_MAX_BYTES`] bytes.
    String(String),
}

impl ModelId {
    /// The longest string id, in bytes.
    pub const STRING_MAX_BYTES: usize = 512;

    /// The id's bytes: a tag, then the number, UUID or text.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let bytes = match self {
            Self::Integer(id) => KeyWriter::part(KIND).u8(INTEGER).i64(*id),
            Self::Uuid(id) => KeyWriter::part(KIND).u8(UUID).uuid(*id),
            Self::String(id) => KeyWriter::part(KIND).u8(STRING).raw(id.as_bytes()),
        };
        bytes.finish()
    }

    /// # Errors
    /// The bytes are not an id.
    pub fn decode(id: &[u8]) -> Result<Self, FormatError> {
        let mut reader = KeyReader::part(KIND, id);
        let malformed = reader.malformed("id");
        let decoded = match reader.u8()? {
            INTEGER => Self::Integer(reader.i64()?),
            UUID => Self::Uuid(reader.uuid()?),
            STRING => {
                let text = std::str::from_utf8(reader.rest()).map_err(|_| malformed.clone())?;
                if text.is_empty() || text.len() > Self::STRING_MAX_BYTES {
                    return Err(malformed);
                }
                return Ok(Self::String(text.to_owned()));
            }
            _ => return Err(malformed),
        };
        reader.finish()?;
        Ok(decoded)
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(id) => id.fmt(f),
            Self::Uuid(id) => id.fmt(f),
            Self::String(id) => id.fmt(f),
        }
    }
}

impl From<i64> for ModelId {
    fn from(id: i64) -> Self {
        Self::Integer(id)
    }
}

impl From<i32> for ModelId {
    fn from(id: i32) -> Self {
        Self::Integer(id.into())
    }
}

impl From<u32> for ModelId {
    fn from(id: u32) -> Self {
        Self::Integer(id.into())
    }
}

impl From<Uuid> for ModelId {
    fn from(id: Uuid) -> Self {
        Self::Uuid(id)
    }
}

impl From<&str> for ModelId {
    fn from(id: &str) -> Self {
        Self::String(id.to_owned())
    }
}

impl From<String> for ModelId {
    fn from(id: String) -> Self {
        Self::String(id)
    }
}

impl From<&String> for ModelId {
    fn from(id: &String) -> Self {
        Self::String(id.clone())
    }
}

impl From<&Self> for ModelId {
    fn from(id: &Self) -> Self {
        id.clone()
    }
}
