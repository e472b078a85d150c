//! A row: its keys, and how it becomes bytes and comes back.

use bytes::Bytes;
use tidegate_format::{ManifestKey, ModelId, ModelKey, ModelValue, check_table_name};

use crate::{Error, InputError, Model};

/// Where a row is.
pub(crate) struct Place {
    pub(crate) id: ModelId,
    pub(crate) id_bytes: Bytes,
    pub(crate) row_key: Bytes,
    pub(crate) manifest_key: Bytes,
}

impl Place {
    /// The place of an id in a model's table.
    pub(crate) fn of<M: Model>(id: ModelId) -> Result<Self, InputError> {
        check_table_name(M::TABLE)?;
        check_id::<M>(&id)?;
        let id_bytes = id.encode();
        let table = M::TABLE.to_owned();
        let row_key = ModelKey { table: table.clone(), id: id_bytes.clone() }.encode();
        let manifest_key = ManifestKey { table, id: id_bytes.clone() }.encode();
        Ok(Self { id, id_bytes, row_key, manifest_key })
    }
}

fn check_id<M: Model>(id: &ModelId) -> Result<(), InputError> {
    let limit = ModelId::STRING_MAX_BYTES;
    match id {
        ModelId::String(text) if text.is_empty() => Err(InputError::IdEmpty { table: M::TABLE }),
        ModelId::String(text) if text.len() > limit => {
            Err(InputError::IdTooLong { table: M::TABLE, actual: text.len(), limit })
        }
        _ => Ok(()),
    }
}

/// A model as JSON, of at most `max_bytes`.
pub(crate) fn encode_body<M: Model>(model: &M, id: &ModelId, max_bytes: usize) -> Result<Bytes, InputError> {
    let body = serde_json::to_vec(model).map_err(|error| InputError::Encode {
        table: M::TABLE,
        id: id.clone(),
        reason: error.to_string(),
    })?;
    if body.len() > max_bytes {
        let id = id.clone();
        return Err(InputError::TooLarge { table: M::TABLE, id, actual: body.len(), limit: max_bytes });
    }
    Ok(body.into())
}

/// The value of a row.
pub(crate) fn encode_row<M: Model>(body: Bytes) -> Bytes {
    ModelValue { schema_version: M::SCHEMA_VERSION, body }.encode()
}

/// The model in the value of a row.
pub(crate) fn decode_row<M: Model>(row: Bytes, id: &ModelId) -> Result<M, Error> {
    let ModelValue { schema_version: found, body } = ModelValue::decode(row)?;
    let supported = M::SCHEMA_VERSION;
    if found > supported {
        return Err(Error::NewerSchema { table: M::TABLE, id: id.clone(), found, supported });
    }
    let decoded = if found == supported { serde_json::from_slice(&body) } else { M::upgrade(found, &body) };
    decoded.map_err(|error| Error::Decode { table: M::TABLE, id: id.clone(), reason: error.to_string() })
}

/// The keys of the index entries that a model has.
pub(crate) fn index_keys<M: Model>(model: &M, place: &Place) -> Result<Vec<Bytes>, Error> {
    let mut keys = Vec::with_capacity(M::indexes().len());
    for index in M::indexes() {
        keys.extend(index.key(model, &place.id, &place.id_bytes)?);
    }
    Ok(keys)
}
