//! The cluster's id: drawn once, when the store is first used, and told to every client.

use bytes::Bytes;
use uuid::Uuid;

use crate::field::{FieldReader, FieldWriter};
use crate::order::{KeyReader, KeyWriter};
use crate::{FormatError, Kind};

const KIND: Kind = Kind::Cluster;
const VERSION: u8 = 1;

/// `cluster`: a single key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterKey;

impl ClusterKey {
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

/// What is known of the cluster as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterValue {
    /// Its id.
    pub id: Uuid,
}

impl ClusterValue {
    /// The value's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        FieldWriter::new(VERSION, 16).uuid(self.id).finish()
    }

    /// # Errors
    /// The bytes are not such a value.
    pub fn decode(value: Bytes) -> Result<Self, FormatError> {
        let mut reader = FieldReader::new(KIND, VERSION, value)?;
        let id = reader.uuid()?;
        reader.finish()?;
        Ok(Self { id })
    }
}
