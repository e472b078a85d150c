//! That one model names another: by this the other's deletion finds who still needs it.

use bytes::Bytes;

use crate::order::{KeyReader, KeyWriter};
use crate::{FormatError, Kind};

const KIND: Kind = Kind::Reference;

/// `reference/{parent table}/{parent}/{table}/{field}/{id}`, over [`MARKER`](crate::MARKER).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReferenceKey {
    /// The table of the model that is named.
    pub parent_table: String,
    /// Its id as [`ModelId::encode`](crate::ModelId::encode) gives it.
    pub parent: Bytes,
    /// The table of the model that names it.
    pub table: String,
    /// The field that does.
    pub field: String,
    /// That model's id, likewise.
    pub id: Bytes,
}

impl ReferenceKey {
    /// The key's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let key = KeyWriter::new(KIND).str(&self.parent_table).bytes(&self.parent);
        key.str(&self.table).str(&self.field).raw(&self.id).finish()
    }

    /// # Errors
    /// The bytes are not such a key.
    pub fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let mut reader = KeyReader::new(KIND, key)?;
        Ok(Self {
            parent_table: reader.str("parent table")?,
            parent: reader.bytes("parent")?.into(),
            table: reader.str("table")?,
            field: reader.str("field")?,
            id: Bytes::copy_from_slice(reader.rest()),
        })
    }

    /// Everything that names a model of this table.
    #[must_use]
    pub fn range_parent_table(parent_table: &str) -> (Bytes, Bytes) {
        KeyWriter::new(KIND).str(parent_table).range()
    }

    /// Everything that names this model, by table, field and id.
    #[must_use]
    pub fn range_parent(parent_table: &str, parent: &[u8]) -> (Bytes, Bytes) {
        KeyWriter::new(KIND).str(parent_table).bytes(parent).range()
    }

    /// Every model of a table whose field names this model, by id.
    #[must_use]
    pub fn range_field(parent_table: &str, parent: &[u8], table: &str, field: &str) -> (Bytes, Bytes) {
        KeyWriter::new(KIND).str(parent_table).bytes(parent).str(table).str(field).range()
    }
}
