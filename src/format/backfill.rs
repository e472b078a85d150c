//! How far a table's rows have been brought to a definition of their model: schema, indexes, references.

use bytes::Bytes;
use uuid::Uuid;

use crate::field::{FieldReader, FieldWriter};
use crate::order::{KeyReader, KeyWriter};
use crate::{FormatError, Kind};

const KIND: Kind = Kind::Backfill;
const VERSION: u8 = 1;

/// `backfill/{table}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackfillKey {
    /// The table, one that [`check_table_name`](crate::check_table_name) takes.
    pub table: String,
}

impl BackfillKey {
    /// The key's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        KeyWriter::new(KIND).str(&self.table).finish()
    }

    /// # Errors
    /// The bytes are not such a key.
    pub fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let mut reader = KeyReader::new(KIND, key)?;
        let table = reader.str("table")?;
        reader.finish()?;
        Ok(Self { table })
    }
}

/// The state of a back-fill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackfillValue {
    /// A digest of the definition: another one starts from the table's first row.
    pub definition: Uuid,
    /// How many rows were looked at.
    pub rows: u64,
    /// The id of the last one, as [`ModelId::encode`](crate::ModelId::encode) gives it; none when all were.
    pub after: Option<Bytes>,
}

impl BackfillValue {
    /// The value's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        FieldWriter::new(VERSION, 64)
            .uuid(self.definition)
            .u64(self.rows)
            .opt_bytes(self.after.as_deref())
            .finish()
    }

    /// # Errors
    /// The bytes are not such a value.
    pub fn decode(value: Bytes) -> Result<Self, FormatError> {
        let mut reader = FieldReader::new(KIND, VERSION, value)?;
        let definition = Uuid::from_u128(reader.u128()?);
        let rows = reader.u64()?;
        let after = reader.opt_bytes("after")?;
        reader.finish()?;
        Ok(Self { definition, rows, after })
    }
}
