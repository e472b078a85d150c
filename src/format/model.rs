//! A model: opaque bytes behind a schema version, by table and id.

use bytes::Bytes;

use crate::field::{FieldReader, FieldWriter};
use crate::order::{KeyReader, KeyWriter, after_prefix};
use crate::{FormatError, Kind};

const KIND: Kind = Kind::Model;
const VERSION: u8 = 1;

/// `model/{table}/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelKey {
    /// The table, one that [`check_table_name`](crate::check_table_name) takes.
    pub table: String,
    /// The id as [`ModelId::encode`](crate::ModelId::encode) gives it.
    pub id: Bytes,
}

impl ModelKey {
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

    /// Every model of a table, by id.
    #[must_use]
    pub fn range(table: &str) -> (Bytes, Bytes) {
        KeyWriter::new(KIND).str(table).range()
    }

    /// Every model of a table with an id at or after `id`.
    #[must_use]
    pub fn range_from(table: &str, id: &[u8]) -> (Bytes, Bytes) {
        let prefix = KeyWriter::new(KIND).str(table).finish();
        let start = KeyWriter::new(KIND).str(table).raw(id).finish();
        (start, after_prefix(&prefix))
    }
}

/// A model's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelValue {
    /// Which form of the model the body is, as its type counts them.
    pub schema_version: u32,
    /// The model, encoded by its type.
    pub body: Bytes,
}

impl ModelValue {
    /// The value's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        FieldWriter::new(VERSION, 4 + self.body.len()).u32(self.schema_version).raw(&self.body).finish()
    }

    /// # Errors
    /// The bytes are not such a value.
    pub fn decode(value: Bytes) -> Result<Self, FormatError> {
        let mut reader = FieldReader::new(KIND, VERSION, value)?;
        let schema_version = reader.u32()?;
        Ok(Self { schema_version, body: reader.rest() })
    }
}
