//! Index definitions: which fields, in which order, and of which rows.
//!
//! Always holds: a field has one type, whatever the row, so that all entries of an index sort as their values do.

use bytes::Bytes;
use tidegate_format::{Float, IndexKey, IndexValue, ModelId, check_table_name};
use uuid::Uuid;

use crate::{Error, InputError, Model};

/// An index: a row is found by the values of the fields, in their order.
pub struct Index<M: 'static> {
    name: &'static str,
    fields: &'static [Field<M>],
    condition: Option<fn(&M) -> bool>,
}

impl<M> Index<M> {
    /// An index with a name (by the rules of [`Model::TABLE`]) and at least one field. A row of which a field has no
    /// value is not in it.
    #[must_use]
    pub const fn new(name: &'static str, fields: &'static [Field<M>]) -> Self {
        assert!(!fields.is_empty(), "an index has at least one field");
        Self { name, fields, condition: None }
    }

    /// Keeps only the rows in the index for which `condition` holds. Write `Index::<TheModel>::new(…).when(…)`: the
    /// compiler does not find the type behind a call.
    #[must_use]
    pub const fn when(mut self, condition: fn(&M) -> bool) -> Self {
        self.condition = Some(condition);
        self
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Its fields.
    #[must_use]
    pub const fn fields(&self) -> &'static [Field<M>] {
        self.fields
    }
}

impl<M: Model> Index<M> {
    /// The key of a row's entry; none if the row is not in the index.
    pub(crate) fn key(&self, model: &M, id: &ModelId, id_bytes: &Bytes) -> Result<Option<Bytes>, Error> {
        check_table_name(self.name).map_err(InputError::Name)?;
        if self.condition.is_some_and(|holds| !holds(model)) {
            return Ok(None);
        }
        let mut values = Vec::with_capacity(self.fields.len());
        for field in self.fields {
            match field.value(model) {
                Some(Ok(value)) => values.push(value),
                Some(Err(NotANumber)) => {
                    let (index, field) = (self.name, field.name);
                    return Err(InputError::NotANumber { table: M::TABLE, index, field }.into());
                }
                None => return Ok(None),
            }
        }
        let key = IndexKey {
            table: M::TABLE.to_owned(),
            index: self.name.to_owned(),
            values,
            id: id_bytes.clone(),
        };
        let too_long =
            |cause| InputError::IndexKey { table: M::TABLE, index: self.name, id: id.clone(), cause };
        Ok(Some(key.encode().map_err(too_long)?))
    }
}

/// A field of an index: its name, its type, and how it is read from a row.
pub struct Field<M: 'static> {
    name: &'static str,
    read: Read<M>,
}

enum Read<M: 'static> {
    Bool(fn(&M) -> Option<bool>),
    I64(fn(&M) -> Option<i64>),
    F64(fn(&M) -> Option<f64>),
    TimeMs(fn(&M) -> Option<i64>),
    Uuid(fn(&M) -> Option<Uuid>),
    Str(fn(&M) -> Option<&str>),
    Bytes(fn(&M) -> Option<&[u8]>),
}

/// A float that has no place in an order.
struct NotANumber;

impl<M> Field<M> {
    /// A field that is true or false.
    #[must_use]
    pub const fn bool(name: &'static str, read: fn(&M) -> Option<bool>) -> Self {
        Self { name, read: Read::Bool(read) }
    }

    /// A whole number.
    #[must_use]
    pub const fn i64(name: &'static str, read: fn(&M) -> Option<i64>) -> Self {
        Self { name, read: Read::I64(read) }
    }

    /// A floating-point number. Writing a row with a NaN here is refused.
    #[must_use]
    pub const fn f64(name: &'static str, read: fn(&M) -> Option<f64>) -> Self {
        Self { name, read: Read::F64(read) }
    }

    /// A time, in milliseconds since the Unix epoch.
    #[must_use]
    pub const fn time_ms(name: &'static str, read: fn(&M) -> Option<i64>) -> Self {
        Self { name, read: Read::TimeMs(read) }
    }

    /// A UUID.
    #[must_use]
    pub const fn uuid(name: &'static str, read: fn(&M) -> Option<Uuid>) -> Self {
        Self { name, read: Read::Uuid(read) }
    }

    /// Text, sorted by its UTF-8 bytes.
    #[must_use]
    pub const fn str(name: &'static str, read: fn(&M) -> Option<&str>) -> Self {
        Self { name, read: Read::Str(read) }
    }

    /// Bytes.
    #[must_use]
    pub const fn bytes(name: &'static str, read: fn(&M) -> Option<&[u8]>) -> Self {
        Self { name, read: Read::Bytes(read) }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Its type.
    #[must_use]
    pub const fn field_type(&self) -> FieldType {
        match self.read {
            Read::Bool(_) => FieldType::Bool,
            Read::I64(_) => FieldType::I64,
            Read::F64(_) => FieldType::F64,
            Read::TimeMs(_) => FieldType::TimeMs,
            Read::Uuid(_) => FieldType::Uuid,
            Read::Str(_) => FieldType::Str,
            Read::Bytes(_) => FieldType::Bytes,
        }
    }

    fn value(&self, model: &M) -> Option<Result<IndexValue, NotANumber>> {
        Some(Ok(match self.read {
            Read::Bool(read) => IndexValue::Bool(read(model)?),
            Read::I64(read) => IndexValue::I64(read(model)?),
            Read::F64(read) => match Float::new(read(model)?) {
                Some(value) => IndexValue::F64(value),
                None => return Some(Err(NotANumber)),
            },
            Read::TimeMs(read) => IndexValue::TimeMs(read(model)?),
            Read::Uuid(read) => IndexValue::Uuid(read(model)?),
            Read::Str(read) => IndexValue::Str(read(model)?.to_owned()),
            Read::Bytes(read) => IndexValue::Bytes(Bytes::copy_from_slice(read(model)?)),
        }))
    }
}

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// True or false.
    Bool,
    /// A whole number.
    I64,
    /// A floating-point number.
    F64,
    /// A time, in milliseconds since the Unix epoch.
    TimeMs,
    /// A UUID.
    Uuid,
    /// Text.
    Str,
    /// Bytes.
    Bytes,
}

impl FieldType {
    /// A value as one of this type; a whole number is a time where a time is asked for. Otherwise the value's own type.
    pub(crate) fn take(self, value: IndexValue) -> Result<IndexValue, Self> {
        let found = match &value {
            IndexValue::Bool(_) => Self::Bool,
            IndexValue::I64(ms) if self == Self::TimeMs => return Ok(IndexValue::TimeMs(*ms)),
            IndexValue::I64(_) => Self::I64,
            IndexValue::F64(_) => Self::F64,
            IndexValue::TimeMs(_) => Self::TimeMs,
            IndexValue::Uuid(_) => Self::Uuid,
            IndexValue::Str(_) => Self::Str,
            IndexValue::Bytes(_) => Self::Bytes,
        };
        if found == self { Ok(value) } else { Err(found) }
    }
}

/// What a query can ask for.
pub trait ToIndexValue {
    /// The value; none for a NaN, which is before and after nothing.
    fn to_index_value(&self) -> Option<IndexValue>;
}

macro_rules! to_index_value {
    ($($type:ty: $value:ident => $index_value:expr;)*) => { $(
        impl ToIndexValue for $type {
            fn to_index_value(&self) -> Option<IndexValue> {
                let $value = self;
                Some($index_value)
            }
        }
    )* };
}

to_index_value! {
    IndexValue: value => value.clone();
    bool: value => IndexValue::Bool(*value);
    i32: value => IndexValue::I64((*value).into());
    u32: value => IndexValue::I64((*value).into());
    i64: value => IndexValue::I64(*value);
    f64: value => IndexValue::F64(Float::new(*value)?);
    Uuid: value => IndexValue::Uuid(*value);
    str: value => IndexValue::Str(value.to_owned());
    String: value => IndexValue::Str(value.clone());
    [u8]: value => IndexValue::Bytes(Bytes::copy_from_slice(value));
    Bytes: value => IndexValue::Bytes(value.clone());
}

impl<T: ToIndexValue + ?Sized> ToIndexValue for &T {
    fn to_index_value(&self) -> Option<IndexValue> {
        (**self).to_index_value()
    }
}
