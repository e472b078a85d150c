//! The catalogue: which topic an event type belongs to.

use bytes::Bytes;

use crate::field::{FieldReader, FieldWriter};
use crate::order::{KeyReader, KeyWriter};
use crate::{FormatError, Kind};

const KIND: Kind = Kind::EventType;
const VERSION: u8 = 1;

/// `event-type/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventTypeKey {
    /// The name, one that [`check_event_type`](crate::check_event_type) takes.
    pub name: String,
}

impl EventTypeKey {
    /// The key's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        KeyWriter::new(KIND).str(&self.name).finish()
    }

    /// # Errors
    /// The bytes are not such a key.
    pub fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let mut reader = KeyReader::new(KIND, key)?;
        let name = reader.str("name")?;
        reader.finish()?;
        Ok(Self { name })
    }

    /// All event types, by name.
    #[must_use]
    pub fn all() -> (Bytes, Bytes) {
        KeyWriter::new(KIND).range()
    }
}

/// Where events of a type go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventTypeValue {
    /// The topic's name.
    pub topic: String,
}

impl EventTypeValue {
    /// The value's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        FieldWriter::new(VERSION, 32).str(&self.topic).finish()
    }

    /// # Errors
    /// The bytes are not such a value.
    pub fn decode(value: Bytes) -> Result<Self, FormatError> {
        let mut reader = FieldReader::new(KIND, VERSION, value)?;
        let topic = reader.str("topic")?;
        reader.finish()?;
        Ok(Self { topic })
    }
}
