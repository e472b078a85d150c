//! The types of indexed fields, how fields become values, and what a query can ask for.

use std::collections::{BTreeSet, HashSet};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tidegate_format::{Float, IndexValue};
use uuid::Uuid;

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// True or false.
    Bool,
    /// A whole number.
    I64,
    /// A floating-point number.
    F64,
    /// A time.
    TimeMs,
    /// A UUID.
    Uuid,
    /// Text.
    Str,
    /// Bytes.
    Bytes,
}

impl FieldType {
    /// Its name, part of what identifies an index's definition.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::I64 => "i64",
            Self::F64 => "f64",
            Self::TimeMs => "time",
            Self::Uuid => "uuid",
            Self::Str => "str",
            Self::Bytes => "bytes",
        }
    }

    fn of(value: &IndexValue) -> Self {
        match value {
            IndexValue::Bool(_) => Self::Bool,
            IndexValue::I64(_) => Self::I64,
            IndexValue::F64(_) => Self::F64,
            IndexValue::TimeMs(_) => Self::TimeMs,
            IndexValue::Uuid(_) => Self::Uuid,
            IndexValue::Str(_) => Self::Str,
            IndexValue::Bytes(_) => Self::Bytes,
        }
    }

    /// A value as one of this type; a whole number is a time where a time is asked for. Otherwise the value's own type.
    pub(crate) fn take(self, value: IndexValue) -> Result<IndexValue, Self> {
        match (self, value) {
            (Self::TimeMs, IndexValue::I64(ms)) => Ok(IndexValue::TimeMs(ms)),
            (_, value) if Self::of(&value) == self => Ok(value),
            (_, value) => Err(Self::of(&value)),
        }
    }
}

/// A point in time in an indexed field: milliseconds since the Unix epoch, in JSON a number.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct TimeMs(pub i64);

/// Where a row's fields put their values for an index.
#[derive(Debug, Default)]
pub struct Values {
    pub(crate) values: Vec<IndexValue>,
    pub(crate) has_nan: bool,
}

impl Values {
    /// One value more.
    pub fn push(&mut self, value: IndexValue) {
        self.values.push(value);
    }

    /// Bytes, which an array of numbers would not be taken for.
    pub fn push_bytes(&mut self, bytes: impl AsRef<[u8]>) {
        self.push(IndexValue::Bytes(Bytes::copy_from_slice(bytes.as_ref())));
    }

    /// A floating-point number. The row is refused if it is NaN, which has no place in an order.
    pub fn push_f64(&mut self, value: f64) {
        match Float::new(value) {
            Some(value) => self.push(IndexValue::F64(value)),
            None => self.has_nan = true,
        }
    }
}

/// A field that an index can hold: a value, an optional one (a row without it is not in the index), or several (an
/// entry for each).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a field of an index",
    label = "no value of an index",
    note = "fields are bool, signed integers up to i64, u8 to u32, f32, f64, String, Uuid, TimeMs, SystemTime, Bytes, and Option, Vec, BTreeSet or HashSet of these"
)]
pub trait IndexField {
    /// The type of its values.
    const TYPE: FieldType;

    /// Puts its values.
    fn put(&self, values: &mut Values);
}

macro_rules! index_fields {
    ($($type:ty, $field_type:ident: $value:ident => $index_value:expr;)*) => { $(
        impl IndexField for $type {
            const TYPE: FieldType = FieldType::$field_type;

            fn put(&self, values: &mut Values) {
                let $value = self;
                values.push(IndexValue::$field_type($index_value));
            }
        }
    )* };
}

index_fields! {
    bool, Bool: value => *value;
    i64, I64: value => *value;
    i32, I64: value => (*value).into();
    i16, I64: value => (*value).into();
    i8, I64: value => (*value).into();
    u32, I64: value => (*value).into();
    u16, I64: value => (*value).into();
    u8, I64: value => (*value).into();
    TimeMs, TimeMs: value => value.0;
    SystemTime, TimeMs: value => unix_ms(*value);
    Uuid, Uuid: value => *value;
    String, Str: value => value.clone();
    Bytes, Bytes: value => value.clone();
}

/// Milliseconds since the Unix epoch, rounded down.
fn unix_ms(time: SystemTime) -> i64 {
    let saturated = |ms: u128| i64::try_from(ms).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => saturated(since.as_millis()),
        Err(before) => -saturated(before.duration().as_nanos().div_ceil(1_000_000)),
    }
}

macro_rules! index_floats {
    ($($type:ty),*) => { $(
        impl IndexField for $type {
            const TYPE: FieldType = FieldType::F64;

            fn put(&self, values: &mut Values) {
                values.push_f64((*self).into());
            }
        }
    )* };
}

index_floats!(f32, f64);

macro_rules! index_collections {
    ($($collection:ident),*) => { $(
        impl<T: IndexField> IndexField for $collection<T> {
            const TYPE: FieldType = T::TYPE;

            fn put(&self, values: &mut Values) {
                self.iter().for_each(|value| value.put(values));
            }
        }
    )* };
}

index_collections!(Option, Vec, BTreeSet, HashSet);

/// A field whose bytes an index can hold as such, for code that the derive writes.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be taken as bytes",
    label = "no bytes",
    note = "`bytes(field)` is of a `Vec<u8>`, an array or `Bytes`; of an `Option` write `bytes(field?)`, of each element of a `Vec` `bytes(field[])`"
)]
pub trait IndexBytes {
    /// The bytes.
    fn bytes(&self) -> &[u8];
}

#[diagnostic::do_not_recommend]
impl<T: AsRef<[u8]> + ?Sized> IndexBytes for T {
    fn bytes(&self) -> &[u8] {
        self.as_ref()
    }
}

/// Puts the bytes of a field, for code that the derive writes.
#[doc(hidden)]
pub fn put_bytes<T: IndexBytes + ?Sized>(field: &T, values: &mut Values) {
    values.push_bytes(field.bytes());
}

/// The type of the field that a path leads to, for code that the derive writes.
#[doc(hidden)]
#[must_use]
pub const fn field_type_of<M, T: IndexField>(_path: fn(&M) -> Option<&T>) -> FieldType {
    T::TYPE
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
    i8: value => IndexValue::I64((*value).into());
    i16: value => IndexValue::I64((*value).into());
    i32: value => IndexValue::I64((*value).into());
    u8: value => IndexValue::I64((*value).into());
    u16: value => IndexValue::I64((*value).into());
    u32: value => IndexValue::I64((*value).into());
    i64: value => IndexValue::I64(*value);
    TimeMs: value => IndexValue::TimeMs(value.0);
    SystemTime: value => IndexValue::TimeMs(unix_ms(*value));
    f32: value => IndexValue::F64(Float::new((*value).into())?);
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
