//! One value in an index: a type tag, then bytes that sort as the value does and know their own end.

use std::cmp::Ordering;

use bytes::Bytes;
use uuid::Uuid;

use crate::FormatError;
use crate::order::{KeyReader, KeyWriter};

const BOOL: u8 = 1;
const I64: u8 = 2;
const F64: u8 = 3;
const TIME_MS: u8 = 4;
const UUID: u8 = 5;
const STR: u8 = 6;
const BYTES: u8 = 7;

/// A value by which models can be found. Values of one type sort as that type does; types sort in this order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IndexValue {
    /// `false`, then `true`.
    Bool(bool),
    /// A signed number.
    I64(i64),
    /// A floating-point number.
    F64(Float),
    /// A time, in milliseconds since the Unix epoch.
    TimeMs(i64),
    /// A UUID, by its bytes.
    Uuid(Uuid),
    /// Text, by its UTF-8 bytes.
    Str(String),
    /// Bytes.
    Bytes(Bytes),
}

impl IndexValue {
    /// The name of its type, for messages.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Bool(_) => "bool",
            Self::I64(_) => "i64",
            Self::F64(_) => "f64",
            Self::TimeMs(_) => "time",
            Self::Uuid(_) => "uuid",
            Self::Str(_) => "str",
            Self::Bytes(_) => "bytes",
        }
    }

    pub(crate) fn write(&self, key: KeyWriter) -> KeyWriter {
        match self {
            Self::Bool(value) => key.u8(BOOL).u8(u8::from(*value)),
            Self::I64(value) => key.u8(I64).i64(*value),
            Self::F64(value) => key.u8(F64).f64(value.get()),
            Self::TimeMs(value) => key.u8(TIME_MS).i64(*value),
            Self::Uuid(value) => key.u8(UUID).uuid(*value),
            Self::Str(value) => key.u8(STR).str(value),
            Self::Bytes(value) => key.u8(BYTES).bytes(value),
        }
    }

    pub(crate) fn read(tag: u8, key: &mut KeyReader<'_>) -> Result<Self, FormatError> {
        Ok(match tag {
            BOOL => match key.u8()? {
                0 => Self::Bool(false),
                1 => Self::Bool(true),
                _ => return Err(key.malformed("bool")),
            },
            I64 => Self::I64(key.i64()?),
            F64 => {
                let value = key.f64()?;
                let negative_zero = value == 0.0 && value.is_sign_negative();
                let float = Float::new(value).filter(|_| !negative_zero);
                Self::F64(float.ok_or_else(|| key.malformed("f64"))?)
            }
            TIME_MS => Self::TimeMs(key.i64()?),
            UUID => Self::Uuid(key.uuid()?),
            STR => Self::Str(key.str("str")?),
            BYTES => Self::Bytes(key.bytes("bytes")?.into()),
            _ => return Err(key.malformed("value tag")),
        })
    }
}

/// A float that has a place in an order: never NaN, and -0.0 is 0.0.
#[derive(Clone, Copy, Debug)]
pub struct Float(f64);

impl Float {
    /// The float, or nothing for NaN, which is before and after nothing.
    #[must_use]
    pub fn new(value: f64) -> Option<Self> {
        // Adding 0.0 turns -0.0 into 0.0 and leaves every other number as it is.
        (!value.is_nan()).then_some(Self(value + 0.0))
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl PartialEq for Float {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Float {}

impl PartialOrd for Float {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Float {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}
