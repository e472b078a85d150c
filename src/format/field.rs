//! Primitives of values: a version byte of the kind, then its fields in order.
//!
//! Numbers are big endian, lengths and counts are LEB128 varints in their shortest form, an optional field is a
//! varint of its length plus one (0: none), or a byte 0 or 1 before a number.
//!
//! Always holds: every length is compared with what is left before anything is allocated; byte fields are slices of
//! what was read, not copies; decoding takes only what an encoder writes.

use bytes::{Buf, Bytes};
use uuid::Uuid;

use crate::{FormatError, Kind};

/// Builds a value.
pub(crate) struct FieldWriter(Vec<u8>);

impl FieldWriter {
    pub(crate) fn new(version: u8, capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity + 1);
        bytes.push(version);
        Self(bytes)
    }

    pub(crate) fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    pub(crate) fn u16(self, value: u16) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn i16(self, value: i16) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn u32(self, value: u32) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn i32(self, value: i32) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn u64(self, value: u64) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn i64(self, value: i64) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn u128(self, value: u128) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn uuid(self, value: Uuid) -> Self {
        self.raw(value.as_bytes())
    }

    pub(crate) fn opt_i64(self, value: Option<i64>) -> Self {
        match value {
            None => self.u8(0),
            Some(value) => self.u8(1).i64(value),
        }
    }

    /// A length or count.
    pub(crate) fn count(self, value: usize) -> Self {
        self.varint(value as u64)
    }

    pub(crate) fn varint(mut self, value: u64) -> Self {
        let mut rest = value;
        while rest >= 0x80 {
            self.0.push(u8::try_from(rest & 0x7F).expect("seven bits") | 0x80);
            rest >>= 7;
        }
        self.0.push(u8::try_from(rest).expect("seven bits"));
        self
    }

    pub(crate) fn bytes(self, value: &[u8]) -> Self {
        self.count(value.len()).raw(value)
    }

    pub(crate) fn str(self, value: &str) -> Self {
        self.bytes(value.as_bytes())
    }

    pub(crate) fn opt_bytes(self, value: Option<&[u8]>) -> Self {
        match value {
            None => self.count(0),
            Some(value) => self.count(value.len() + 1).raw(value),
        }
    }

    pub(crate) fn opt_str(self, value: Option<&str>) -> Self {
        self.opt_bytes(value.map(str::as_bytes))
    }

    /// Each item, behind their count.
    pub(crate) fn each<I: IntoIterator>(self, items: I, write: impl Fn(Self, I::Item) -> Self) -> Self
    where
        I::IntoIter: ExactSizeIterator,
    {
        let items = items.into_iter();
        let counted = self.count(items.len());
        items.fold(counted, write)
    }

    /// Bytes as they are; the last field only.
    pub(crate) fn raw(mut self, value: &[u8]) -> Self {
        self.0.extend_from_slice(value);
        self
    }

    pub(crate) fn finish(self) -> Bytes {
        self.0.into()
    }
}

/// Takes a value apart.
pub(crate) struct FieldReader {
    kind: Kind,
    rest: Bytes,
}

impl FieldReader {
    /// Begins with a value, whose version must not be newer than `supported`.
    pub(crate) fn new(kind: Kind, supported: u8, value: Bytes) -> Result<Self, FormatError> {
        let mut reader = Self { kind, rest: value };
        match reader.u8()? {
            0 => Err(reader.malformed("version")),
            found if found > supported => {
                Err(FormatError::Newer { kind, found: found.into(), supported: supported.into() })
            }
            _ => Ok(reader),
        }
    }

    pub(crate) fn malformed(&self, field: &'static str) -> FormatError {
        FormatError::Value { kind: self.kind, field }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let head = *self.rest.first_chunk().ok_or(FormatError::Truncated { kind: self.kind })?;
        self.rest.advance(N);
        Ok(head)
    }

    fn slice(&mut self, length: usize) -> Result<Bytes, FormatError> {
        if length > self.rest.len() {
            return Err(FormatError::Truncated { kind: self.kind });
        }
        Ok(self.rest.split_to(length))
    }

    pub(crate) fn u8(&mut self) -> Result<u8, FormatError> {
        self.take::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, FormatError> {
        self.take().map(u16::from_be_bytes)
    }

    pub(crate) fn i16(&mut self) -> Result<i16, FormatError> {
        self.take().map(i16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, FormatError> {
        self.take().map(u32::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, FormatError> {
        self.take().map(i32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, FormatError> {
        self.take().map(u64::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, FormatError> {
        self.take().map(i64::from_be_bytes)
    }

    pub(crate) fn u128(&mut self) -> Result<u128, FormatError> {
        self.take().map(u128::from_be_bytes)
    }

    pub(crate) fn uuid(&mut self) -> Result<Uuid, FormatError> {
        self.take().map(Uuid::from_bytes)
    }

    pub(crate) fn opt_i64(&mut self, field: &'static str) -> Result<Option<i64>, FormatError> {
        match self.u8()? {
            0 => Ok(None),
            1 => self.i64().map(Some),
            _ => Err(self.malformed(field)),
        }
    }

    fn count(&mut self, field: &'static str) -> Result<usize, FormatError> {
        let value = self.varint(field)?;
        u32::try_from(value).map(|value| value as usize).map_err(|_| self.malformed(field))
    }

    pub(crate) fn varint(&mut self, field: &'static str) -> Result<u64, FormatError> {
        let mut value = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7F);
            value |= bits << shift;
            if byte & 0x80 == 0 {
                let is_shortest = byte != 0 || shift == 0;
                let fits = bits << shift >> shift == bits;
                return if is_shortest && fits { Ok(value) } else { Err(self.malformed(field)) };
            }
        }
        Err(self.malformed(field))
    }

    pub(crate) fn bytes(&mut self, field: &'static str) -> Result<Bytes, FormatError> {
        let length = self.count(field)?;
        self.slice(length)
    }

    pub(crate) fn str(&mut self, field: &'static str) -> Result<String, FormatError> {
        let bytes = self.bytes(field)?;
        self.text(&bytes, field)
    }

    fn text(&self, bytes: &Bytes, field: &'static str) -> Result<String, FormatError> {
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| self.malformed(field))
    }

    pub(crate) fn opt_bytes(&mut self, field: &'static str) -> Result<Option<Bytes>, FormatError> {
        match self.count(field)? {
            0 => Ok(None),
            length => self.slice(length - 1).map(Some),
        }
    }

    pub(crate) fn opt_str(&mut self, field: &'static str) -> Result<Option<String>, FormatError> {
        match self.opt_bytes(field)? {
            None => Ok(None),
            Some(bytes) => self.text(&bytes, field).map(Some),
        }
    }

    /// A count and that many items, each of at least one byte.
    pub(crate) fn each<T>(
        &mut self,
        field: &'static str,
        read: impl Fn(&mut Self) -> Result<T, FormatError>,
    ) -> Result<Vec<T>, FormatError> {
        let count = self.count(field)?;
        if count > self.rest.len() {
            return Err(FormatError::Truncated { kind: self.kind });
        }
        // An item may be larger in memory than its one byte here: the vector grows with what is really there.
        let mut items = Vec::with_capacity(count.min(64));
        for _ in 0..count {
            items.push(read(self)?);
        }
        Ok(items)
    }

    /// Everything that is left.
    pub(crate) fn rest(self) -> Bytes {
        self.rest
    }

    /// Nothing may be left.
    pub(crate) fn finish(self) -> Result<(), FormatError> {
        match self.rest.len() {
            0 => Ok(()),
            count => Err(FormatError::Trailing { kind: self.kind, count }),
        }
    }
}
