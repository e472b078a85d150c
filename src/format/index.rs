//! An entry of a model's index. It says that a model is there, and holds nothing of it.

use bytes::Bytes;

use crate::order::{KeyReader, KeyWriter};
use crate::{FormatError, IndexValue, Kind};

const KIND: Kind = Kind::Index;

/// Ends the values; below every value's tag, so that fewer values sort before more.
const END: u8 = 0;

/// `index/{table}/{index}/{values}/{id}`, over [`MARKER`](crate::MARKER).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IndexKey {
    /// The table, one that [`check_table_name`](crate::check_table_name) takes.
    pub table: String,
    /// The index, likewise.
    pub index: String,
    /// The model's values, in the order of the index's fields.
    pub values: Vec<IndexValue>,
    /// The model's id as [`ModelId::encode`](crate::ModelId::encode) gives it.
    pub id: Bytes,
}

impl IndexKey {
    /// The key's bytes.
    ///
    /// # Errors
    /// [`FormatError::KeyTooLong`] if the values are too long together.
    pub fn encode(&self) -> Result<Bytes, FormatError> {
        prefix_of(KIND, &self.table, &self.index, &self.values).u8(END).raw(&self.id).try_finish()
    }

    /// # Errors
    /// The bytes are not such a key.
    pub fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let mut reader = KeyReader::new(KIND, key)?;
        let table = reader.str("table")?;
        let index = reader.str("index")?;
        let values = read_values(&mut reader)?;
        Ok(Self { table, index, values, id: Bytes::copy_from_slice(reader.rest()) })
    }

    /// Every entry of every index of a table.
    #[must_use]
    pub fn range_table(table: &str) -> (Bytes, Bytes) {
        KeyWriter::new(KIND).str(table).range()
    }

    /// Every entry whose first values are `values`, by the values that follow, then by id.
    ///
    /// # Errors
    /// [`FormatError::KeyTooLong`] if the values are too long together: no entry can have them.
    pub fn range(table: &str, index: &str, values: &[IndexValue]) -> Result<(Bytes, Bytes), FormatError> {
        prefix_of(KIND, table, index, values).try_range()
    }
}

/// Table, index and values, without an end.
pub(crate) fn prefix_of(kind: Kind, table: &str, index: &str, values: &[IndexValue]) -> KeyWriter {
    let key = KeyWriter::new(kind).str(table).str(index);
    values.iter().fold(key, |key, value| value.write(key))
}

/// Values up to their end.
pub(crate) fn read_values(reader: &mut KeyReader<'_>) -> Result<Vec<IndexValue>, FormatError> {
    let mut values = Vec::new();
    loop {
        match reader.u8()? {
            END => return Ok(values),
            tag => values.push(IndexValue::read(tag, reader)?),
        }
    }
}
