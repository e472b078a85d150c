//! A claim on the values of a unique index: one row per values, so that two who want the same ones write the same key.

use bytes::Bytes;

use crate::field::{FieldReader, FieldWriter};
use crate::index::{prefix_of, read_values};
use crate::order::KeyReader;
use crate::{FormatError, IndexValue, Kind};

const KIND: Kind = Kind::Unique;
const VERSION: u8 = 1;

/// `unique/{table}/{index}/{values}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UniqueKey {
    /// The table, one that [`check_table_name`](crate::check_table_name) takes.
    pub table: String,
    /// The index, likewise.
    pub index: String,
    /// The model's values, in the order of the index's fields.
    pub values: Vec<IndexValue>,
}

impl UniqueKey {
    /// The key's bytes.
    ///
    /// # Errors
    /// [`FormatError::KeyTooLong`] if the values are too long together.
    pub fn encode(&self) -> Result<Bytes, FormatError> {
        prefix_of(KIND, &self.table, &self.index, &self.values).u8(0).try_finish()
    }

    /// # Errors
    /// The bytes are not such a key.
    pub fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let mut reader = KeyReader::new(KIND, key)?;
        let table = reader.str("table")?;
        let index = reader.str("index")?;
        let values = read_values(&mut reader)?;
        reader.finish()?;
        Ok(Self { table, index, values })
    }

    /// Every claim of every index of a table.
    #[must_use]
    pub fn range_table(table: &str) -> (Bytes, Bytes) {
        crate::order::KeyWriter::new(KIND).str(table).range()
    }
}

/// Whose the values are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UniqueValue {
    /// The model's id as [`ModelId::encode`](crate::ModelId::encode) gives it.
    pub id: Bytes,
}

impl UniqueValue {
    /// The value's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        FieldWriter::new(VERSION, self.id.len()).raw(&self.id).finish()
    }

    /// # Errors
    /// The bytes are not such a value.
    pub fn decode(value: Bytes) -> Result<Self, FormatError> {
        Ok(Self { id: FieldReader::new(KIND, VERSION, value)?.rest() })
    }
}
