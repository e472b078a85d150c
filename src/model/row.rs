//! A row: its keys, and how it becomes bytes and comes back.

use std::cell::Cell;
use std::io;

use bytes::Bytes;
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use tidegate_format::{ManifestKey, ModelId, ModelKey, ModelValue, check_table_name};

use crate::model::schema_version;
use crate::upgrade::upgrade;
use crate::{Error, InputError, Model, finite};

/// Where a row is.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) id: ModelId,
    pub(crate) id_bytes: Bytes,
    pub(crate) row_key: Bytes,
    pub(crate) manifest_key: Bytes,
}

impl Place {
    /// The place of an id in a model's table.
    pub(crate) fn of<M: Model>(id: ModelId) -> Result<Self, InputError> {
        Self::in_table(M::TABLE, id)
    }

    /// The place of an id in a table.
    pub(crate) fn in_table(table: &'static str, id: ModelId) -> Result<Self, InputError> {
        check_table_name(table)?;
        check_id(table, &id)?;
        let id_bytes = id.encode();
        let row_key = ModelKey { table: table.to_owned(), id: id_bytes.clone() }.encode();
        let manifest_key = ManifestKey { table: table.to_owned(), id: id_bytes.clone() }.encode();
        Ok(Self { id, id_bytes, row_key, manifest_key })
    }
}

fn check_id(table: &'static str, id: &ModelId) -> Result<(), InputError> {
    let limit = ModelId::STRING_MAX_BYTES;
    match id {
        ModelId::String(text) if text.is_empty() => Err(InputError::IdEmpty { table }),
        ModelId::String(text) if text.len() > limit => {
            Err(InputError::IdTooLong { table, actual: text.len(), limit })
        }
        _ => Ok(()),
    }
}

/// A model as JSON, of at most `max_bytes`.
pub(crate) fn encode_body<M: Model>(model: &M, id: &ModelId, max_bytes: usize) -> Result<Bytes, InputError> {
    let (body, has_null) = to_json(model).map_err(|error| InputError::Encode {
        table: M::TABLE,
        id: id.clone(),
        reason: error.to_string(),
    })?;
    if has_null && let Some(field) = finite::find_not_finite(model) {
        return Err(InputError::NotFinite { table: M::TABLE, id: id.clone(), field });
    }
    if body.len() > max_bytes {
        let id = id.clone();
        return Err(InputError::TooLarge { table: M::TABLE, id, actual: body.len(), limit: max_bytes });
    }
    Ok(body.into())
}

/// A model as JSON, and whether there is a null in it: what a number that is not finite becomes, among others.
fn to_json(model: &impl Serialize) -> serde_json::Result<(Vec<u8>, bool)> {
    let mut body = Vec::with_capacity(128);
    let has_null = Cell::new(false);
    model.serialize(&mut Serializer::with_formatter(&mut body, NoteNull(&has_null)))?;
    Ok((body, has_null.get()))
}

/// Compact JSON, noting whether it has a null.
struct NoteNull<'a>(&'a Cell<bool>);

impl Formatter for NoteNull<'_> {
    fn write_null<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.set(true);
        writer.write_all(b"null")
    }
}

/// The value of a row.
pub(crate) fn encode_row<M: Model>(body: Bytes) -> Bytes {
    ModelValue { schema_version: schema_version::<M>(), body }.encode()
}

/// The model in the value of a row.
pub(crate) fn decode_row<M: Model>(row: Bytes, id: &ModelId) -> Result<M, Error> {
    let ModelValue { schema_version: found, body } = ModelValue::decode(row)?;
    let supported = schema_version::<M>();
    if found > supported {
        return Err(Error::NewerSchema { table: M::TABLE, id: id.clone(), found, supported });
    }
    let failed = |reason: String| Error::Decode { table: M::TABLE, id: id.clone(), reason };
    if found == supported {
        return serde_json::from_slice(&body).map_err(|error| failed(error.to_string()));
    }
    let upgraded = upgrade(&body, found, M::UPGRADES).map_err(|error| failed(error.to_string()))?;
    serde_json::from_value(upgraded).map_err(|error| failed(error.to_string()))
}

/// The JSON in the value of a row, in the form that rows have now.
pub(crate) fn body_of<M: Model>(row: Bytes, id: &ModelId) -> Result<Bytes, Error> {
    let value = ModelValue::decode(row.clone())?;
    if value.schema_version == schema_version::<M>() {
        return Ok(value.body);
    }
    let model: M = decode_row(row, id)?;
    Ok(encode_body(&model, id, usize::MAX)?)
}
