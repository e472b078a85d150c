//! A row: its keys, and how it becomes bytes and comes back.

use std::io;

use bytes::Bytes;
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use tidegate_format::{ManifestKey, ModelId, ModelKey, ModelValue, check_table_name};

use crate::model::schema_version;
use crate::upgrade::upgrade;
use crate::{Error, InputError, Model, finite};

/// How deep a row may be: what reads it gives up at 128 levels, and an event may have the row within something else.
const ROW_LEVELS_MAX: u32 = 120;

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
    let refused = |reason: String| InputError::Encode { table: M::TABLE, id: id.clone(), reason };
    let (body, Noted { has_null, deepest, .. }) =
        to_json(model).map_err(|error| refused(error.to_string()))?;
    if deepest > ROW_LEVELS_MAX {
        let limit = ROW_LEVELS_MAX;
        return Err(refused(format!(
            "it is {deepest} levels deep, and no more than {limit} can be read again"
        )));
    }
    if has_null && let Some(field) = finite::find_not_finite(model) {
        return Err(InputError::NotFinite { table: M::TABLE, id: id.clone(), field });
    }
    if body.len() > max_bytes {
        let id = id.clone();
        return Err(InputError::TooLarge { table: M::TABLE, id, actual: body.len(), limit: max_bytes });
    }
    Ok(body.into())
}

/// A model as JSON, and what was noted of it.
fn to_json(model: &impl Serialize) -> serde_json::Result<(Vec<u8>, Noted)> {
    let mut body = Vec::with_capacity(128);
    let mut noted = Noted::default();
    model.serialize(&mut Serializer::with_formatter(&mut body, &mut noted))?;
    Ok((body, noted))
}

/// Compact JSON, noting what may not come back as it was.
#[derive(Default)]
struct Noted {
    /// What a number that is not finite becomes, among others.
    has_null: bool,
    depth: u32,
    /// How many arrays and objects were within one another at most.
    deepest: u32,
}

impl Noted {
    fn enter(&mut self) {
        self.depth += 1;
        self.deepest = self.deepest.max(self.depth);
    }
}

impl Formatter for &mut Noted {
    fn write_null<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.has_null = true;
        writer.write_all(b"null")
    }

    fn begin_array<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.enter();
        writer.write_all(b"[")
    }

    fn end_array<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(b"]")
    }

    fn begin_object<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.enter();
        writer.write_all(b"{")
    }

    fn end_object<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(b"}")
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
