//! A field of an index: its name, its type, and how its values are read from a row.
//!
//! Always holds: a field has one type, whatever the row, so that all entries of an index sort as their values do.

use bytes::Bytes;
use tidegate_format::IndexValue;
use uuid::Uuid;

use crate::const_text::ConstText;
use crate::{FieldType, Values};

/// A field of an index.
pub struct Field<M: 'static> {
    name: &'static str,
    field_type: FieldType,
    read: Read<M>,
    ignores_case: bool,
}

enum Read<M: 'static> {
    Bool(fn(&M) -> Option<bool>),
    I64(fn(&M) -> Option<i64>),
    F64(fn(&M) -> Option<f64>),
    TimeMs(fn(&M) -> Option<i64>),
    Uuid(fn(&M) -> Option<Uuid>),
    Str(fn(&M) -> Option<&str>),
    Bytes(fn(&M) -> Option<&[u8]>),
    Each(fn(&M, &mut Values)),
}

impl<M> Field<M> {
    const fn new(name: &'static str, field_type: FieldType, read: Read<M>) -> Self {
        Self { name, field_type, read, ignores_case: false }
    }

    /// A field that is true or false.
    #[must_use]
    pub const fn bool(name: &'static str, read: fn(&M) -> Option<bool>) -> Self {
        Self::new(name, FieldType::Bool, Read::Bool(read))
    }

    /// A whole number.
    #[must_use]
    pub const fn i64(name: &'static str, read: fn(&M) -> Option<i64>) -> Self {
        Self::new(name, FieldType::I64, Read::I64(read))
    }

    /// A floating-point number. Writing a row with a NaN here is refused.
    #[must_use]
    pub const fn f64(name: &'static str, read: fn(&M) -> Option<f64>) -> Self {
        Self::new(name, FieldType::F64, Read::F64(read))
    }

    /// A time, in milliseconds since the Unix epoch.
    #[must_use]
    pub const fn time_ms(name: &'static str, read: fn(&M) -> Option<i64>) -> Self {
        Self::new(name, FieldType::TimeMs, Read::TimeMs(read))
    }

    /// A UUID.
    #[must_use]
    pub const fn uuid(name: &'static str, read: fn(&M) -> Option<Uuid>) -> Self {
        Self::new(name, FieldType::Uuid, Read::Uuid(read))
    }

    /// Text, sorted by its UTF-8 bytes.
    #[must_use]
    pub const fn str(name: &'static str, read: fn(&M) -> Option<&str>) -> Self {
        Self::new(name, FieldType::Str, Read::Str(read))
    }

    /// Bytes.
    #[must_use]
    pub const fn bytes(name: &'static str, read: fn(&M) -> Option<&[u8]>) -> Self {
        Self::new(name, FieldType::Bytes, Read::Bytes(read))
    }

    /// Any number of values of one type: the row has an entry for each, and none if there are none.
    #[must_use]
    pub const fn each(name: &'static str, field_type: FieldType, read: fn(&M, &mut Values)) -> Self {
        Self::new(name, field_type, Read::Each(read))
    }

    /// Text that differs in case only is the same for this index: it is kept, and asked for, in lower case.
    ///
    /// # Panics
    /// If it is no text: when the program is compiled, in a constant.
    #[must_use]
    pub const fn ignore_case(mut self) -> Self {
        if !matches!(self.field_type, FieldType::Str) {
            let text = ConstText::of(&["field `", self.name, "` has no case to ignore: only text has"]);
            panic!("{}", text.as_str());
        }
        self.ignores_case = true;
        self
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Its type.
    #[must_use]
    pub const fn field_type(&self) -> FieldType {
        self.field_type
    }

    pub(crate) const fn ignores_case(&self) -> bool {
        self.ignores_case
    }

    /// The row's values, as the index keeps them.
    pub(crate) fn values(&self, model: &M) -> Values {
        let mut values = Values::default();
        match self.read {
            Read::Bool(read) => values.values.extend(read(model).map(IndexValue::Bool)),
            Read::I64(read) => values.values.extend(read(model).map(IndexValue::I64)),
            Read::F64(read) => read(model).into_iter().for_each(|value| values.push_f64(value)),
            Read::TimeMs(read) => values.values.extend(read(model).map(IndexValue::TimeMs)),
            Read::Uuid(read) => values.values.extend(read(model).map(IndexValue::Uuid)),
            Read::Str(read) => {
                values.values.extend(read(model).map(|text| IndexValue::Str(text.to_owned())));
            }
            Read::Bytes(read) => {
                values
                    .values
                    .extend(read(model).map(|bytes| IndexValue::Bytes(Bytes::copy_from_slice(bytes))));
            }
            Read::Each(read) => read(model, &mut values),
        }
        values.values = values.values.into_iter().map(|value| self.fold(value)).collect();
        values
    }

    /// A value as the index keeps it.
    pub(crate) fn fold(&self, value: IndexValue) -> IndexValue {
        match value {
            IndexValue::Str(text) if self.ignores_case => IndexValue::Str(text.to_lowercase()),
            other => other,
        }
    }
}
