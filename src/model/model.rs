//! What a type says about itself to be kept as a model.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tidegate_format::ModelId;

use crate::{Index, NewEvent};

/// What is done to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Write {
    /// It was not there and is now.
    Insert,
    /// It was there and is replaced.
    Update,
    /// It was there and is gone.
    Delete,
}

/// A type whose values are rows of a table.
///
/// Rows are kept as JSON, which has no NaN and no infinite numbers: serde writes such a float as null, and it does not
/// come back. Fields that are added later need `#[serde(default)]` or a higher [`SCHEMA_VERSION`](Model::SCHEMA_VERSION)
/// with an [`upgrade`](Model::upgrade).
pub trait Model: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The table's name: 1 to 128 ASCII letters, digits, `.`, `_` and `-`. It is also the topic of its events, unless
    /// an event says otherwise: events of one topic and key keep their order.
    const TABLE: &'static str;

    /// Raised when rows of earlier releases no longer deserialise as they are.
    const SCHEMA_VERSION: u32 = 1;

    /// The id: a number, a UUID, or text of 1 to 512 bytes. It is the key of the model's events.
    fn id(&self) -> ModelId;

    /// The indexes that the table has. Rows get into a new index when they are next written.
    fn indexes() -> &'static [Index<Self>]
    where
        Self: Sized,
    {
        &[]
    }

    /// The events that a write announces, in their order. For an update or insert `self` is the new row, for a
    /// deletion the one that goes.
    fn events(&self, write: Write) -> Vec<NewEvent> {
        let _ = write;
        vec![]
    }

    /// Reads a row that was written under an earlier schema version.
    ///
    /// # Errors
    /// The bytes are not such a row.
    fn upgrade(schema_version: u32, body: &[u8]) -> Result<Self, serde_json::Error>
    where
        Self: Sized,
    {
        let _ = schema_version;
        serde_json::from_slice(body)
    }
}
