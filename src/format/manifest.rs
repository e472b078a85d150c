//! The index keys that a model has: what an update or delete removes, whatever the index definitions say by now.

use bytes::Bytes;

use crate::field::{FieldReader, FieldWriter};
use crate::order::{KeyReader, KeyWriter};
use crate::{FormatError, Kind};

const KIND: Kind = Kind::Manifest;
const VERSION: u8 = 1;

/// `manifest/{table}/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ManifestKey {
    /// The table.
    pub table: String,
    /// The model's id as [`ModelId::encode`](crate::ModelId::encode) gives it.
    pub id: Bytes,
}

impl ManifestKey {
    /// The key's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        KeyWriter::new(KIND).str(&self.table).raw(&self.id).finish()
    }

    /// # Errors
    /// The bytes are not such a key.
    pub fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let mut reader = KeyReader::new(KIND, key)?;
        let table = reader.str("table")?;
        Ok(Self { table, id: Bytes::copy_from_slice(reader.rest()) })
    }

    /// Every manifest of a table, by id.
    #[must_use]
    pub fn range(table: &str) -> (Bytes, Bytes) {
        KeyWriter::new(KIND).str(table).range()
    }
}

/// The index keys of one model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManifestValue {
    /// The keys as [`IndexKey::encode`](crate::IndexKey::encode) gave them.
    pub index_keys: Vec<Bytes>,
}

impl ManifestValue {
    /// The value's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let keys: usize = self.index_keys.iter().map(|key| key.len() + 2).sum();
        FieldWriter::new(VERSION, keys + 2).each(&self.index_keys, |writer, key| writer.bytes(key)).finish()
    }

    /// # Errors
    /// The bytes are not such a value.
    pub fn decode(value: Bytes) -> Result<Self, FormatError> {
        let mut reader = FieldReader::new(KIND, VERSION, value)?;
        let index_keys = reader.each("index keys", |reader| reader.bytes("index key"))?;
        reader.finish()?;
        Ok(Self { index_keys })
    }
}
