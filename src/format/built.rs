//! Which indexes and references of a table have an entry for each of its rows, by their definitions.

use bytes::Bytes;
use uuid::Uuid;

use crate::field::{FieldReader, FieldWriter};
use crate::order::{KeyReader, KeyWriter};
use crate::{FormatError, Kind};

const KIND: Kind = Kind::Built;
const VERSION: u8 = 1;

/// `built/{table}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuiltKey {
    /// The table, one that [`check_table_name`](crate::check_table_name) takes.
    pub table: String,
}

impl BuiltKey {
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

/// What has entries under a table's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BuiltKind {
    /// An index.
    Index,
    /// A reference, by its field.
    Reference,
}

impl BuiltKind {
    const fn code(self) -> u8 {
        match self {
            Self::Index => 1,
            Self::Reference => 2,
        }
    }
}

/// An index or a reference that writers of the table have to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// Which of the two it is.
    pub kind: BuiltKind,
    /// Its name.
    pub name: String,
    /// A digest of its definition.
    pub definition: Uuid,
    /// Whether every row has its entries; else it is being filled.
    pub is_complete: bool,
}

/// The indexes and references of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuiltValue {
    /// Each of them once.
    pub built: Vec<Built>,
}

impl BuiltValue {
    /// The value's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let bytes: usize = self.built.iter().map(|built| built.name.len() + 20).sum();
        FieldWriter::new(VERSION, bytes + 2)
            .each(&self.built, |writer, built| {
                writer
                    .u8(built.kind.code())
                    .str(&built.name)
                    .uuid(built.definition)
                    .u8(built.is_complete.into())
            })
            .finish()
    }

    /// # Errors
    /// The bytes are not such a value.
    pub fn decode(value: Bytes) -> Result<Self, FormatError> {
        let mut reader = FieldReader::new(KIND, VERSION, value)?;
        let built = reader.each("built", |reader| {
            let kind = match reader.u8()? {
                1 => BuiltKind::Index,
                2 => BuiltKind::Reference,
                _ => return Err(reader.malformed("kind")),
            };
            let name = reader.str("name")?;
            let definition = reader.uuid()?;
            let is_complete = match reader.u8()? {
                0 => false,
                1 => true,
                _ => return Err(reader.malformed("is complete")),
            };
            Ok(Built { kind, name, definition, is_complete })
        })?;
        reader.finish()?;
        Ok(Self { built })
    }
}
