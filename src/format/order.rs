//! Primitives of keys: bytes that sort as the values do.
//!
//! Unsigned numbers are big endian; signed ones too, with the sign bit flipped; floats as their bits, all flipped if
//! negative and the sign bit flipped otherwise. Strings and bytes write `00` as `01 01` and `01` as `01 02` and end
//! with `00`, so a string sorts before its extensions, whatever follows it. UUIDs are their 16 bytes.
//!
//! Always holds: decoding takes only what an encoder writes, so a key has exactly one encoding.

use bytes::Bytes;
use uuid::Uuid;

use crate::{FormatError, Kind};

/// The longest key, in bytes.
pub const KEY_MAX_BYTES: usize = 4096;

const SIGN_32: u32 = 1 << 31;
const SIGN_64: u64 = 1 << 63;

/// Builds a key.
pub(crate) struct KeyWriter {
    kind: Kind,
    bytes: Vec<u8>,
}

impl KeyWriter {
    /// Begins a key with its kind's first tag.
    pub(crate) fn new(kind: Kind) -> Self {
        let mut bytes = Vec::with_capacity(64);
        bytes.push(kind.tag());
        Self { kind, bytes }
    }

    /// Begins a part of a key, without a tag of its own.
    pub(crate) fn part(kind: Kind) -> Self {
        Self { kind, bytes: Vec::with_capacity(32) }
    }

    pub(crate) fn u8(mut self, value: u8) -> Self {
        self.bytes.push(value);
        self
    }

    pub(crate) fn u32(mut self, value: u32) -> Self {
        self.bytes.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn u64(mut self, value: u64) -> Self {
        self.bytes.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn i32(self, value: i32) -> Self {
        self.u32(value.cast_unsigned() ^ SIGN_32)
    }

    pub(crate) fn i64(self, value: i64) -> Self {
        self.u64(value.cast_unsigned() ^ SIGN_64)
    }

    pub(crate) fn uuid(self, value: Uuid) -> Self {
        self.raw(value.as_bytes())
    }

    /// A float that is neither NaN nor -0.0.
    pub(crate) fn f64(self, value: f64) -> Self {
        let bits = value.to_bits();
        self.u64(if bits & SIGN_64 == 0 { bits ^ SIGN_64 } else { !bits })
    }

    pub(crate) fn str(self, value: &str) -> Self {
        self.bytes(value.as_bytes())
    }

    /// Bytes with an end, so that more may follow.
    pub(crate) fn bytes(mut self, value: &[u8]) -> Self {
        for byte in value {
            match byte {
                0 => self.bytes.extend_from_slice(&[1, 1]),
                1 => self.bytes.extend_from_slice(&[1, 2]),
                other => self.bytes.push(*other),
            }
        }
        self.bytes.push(0);
        self
    }

    /// Bytes as they are: nothing may follow them but what they cannot be confused with.
    pub(crate) fn raw(mut self, value: &[u8]) -> Self {
        self.bytes.extend_from_slice(value);
        self
    }

    /// The key.
    ///
    /// # Panics
    /// If it is over [`KEY_MAX_BYTES`]: whoever takes names from outside checks their limits first.
    pub(crate) fn finish(self) -> Bytes {
        self.try_finish().expect("names are checked before they become keys")
    }

    /// The key, if it is not too long.
    pub(crate) fn try_finish(self) -> Result<Bytes, FormatError> {
        let actual = self.bytes.len();
        if actual > KEY_MAX_BYTES {
            return Err(FormatError::KeyTooLong { kind: self.kind, actual, limit: KEY_MAX_BYTES });
        }
        Ok(self.bytes.into())
    }

    /// The range of all keys that begin with what was written: inclusive start, exclusive end.
    pub(crate) fn range(self) -> (Bytes, Bytes) {
        self.try_range().expect("names are checked before they become keys")
    }

    /// As [`range`](Self::range), if the prefix is not too long for a key.
    pub(crate) fn try_range(self) -> Result<(Bytes, Bytes), FormatError> {
        let start = self.try_finish()?;
        let end = after_prefix(&start);
        Ok((start, end))
    }
}

/// The first key beyond those that begin with `prefix`. Every prefix begins with a tag, and no tag is `FF`.
pub(crate) fn after_prefix(prefix: &[u8]) -> Bytes {
    let last = prefix.iter().rposition(|byte| *byte != 0xFF).expect("no tag is FF");
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    end.into()
}

/// Takes a key apart.
pub(crate) struct KeyReader<'a> {
    kind: Kind,
    rest: &'a [u8],
}

impl<'a> KeyReader<'a> {
    /// Begins with a key, whose first tag must be its kind's.
    pub(crate) fn new(kind: Kind, key: &'a [u8]) -> Result<Self, FormatError> {
        let (tag, rest) = key.split_first().ok_or(FormatError::Truncated { kind })?;
        if *tag != kind.tag() {
            return Err(FormatError::Tag { kind });
        }
        Ok(Self { kind, rest })
    }

    /// Begins with a part of a key, which has no tag of its own.
    pub(crate) fn part(kind: Kind, bytes: &'a [u8]) -> Self {
        Self { kind, rest: bytes }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(FormatError::Truncated { kind: self.kind })?;
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn malformed(&self, field: &'static str) -> FormatError {
        FormatError::Value { kind: self.kind, field }
    }

    pub(crate) fn u8(&mut self) -> Result<u8, FormatError> {
        self.take::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, FormatError> {
        self.take().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, FormatError> {
        self.take().map(u64::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, FormatError> {
        self.u32().map(|bits| (bits ^ SIGN_32).cast_signed())
    }

    pub(crate) fn i64(&mut self) -> Result<i64, FormatError> {
        self.u64().map(|bits| (bits ^ SIGN_64).cast_signed())
    }

    pub(crate) fn uuid(&mut self) -> Result<Uuid, FormatError> {
        self.take().map(Uuid::from_bytes)
    }

    pub(crate) fn f64(&mut self) -> Result<f64, FormatError> {
        let bits = self.u64()?;
        Ok(f64::from_bits(if bits & SIGN_64 == 0 { !bits } else { bits ^ SIGN_64 }))
    }

    pub(crate) fn str(&mut self, field: &'static str) -> Result<String, FormatError> {
        String::from_utf8(self.bytes(field)?).map_err(|_| self.malformed(field))
    }

    pub(crate) fn bytes(&mut self, field: &'static str) -> Result<Vec<u8>, FormatError> {
        let end =
            self.rest.iter().position(|byte| *byte == 0).ok_or(FormatError::Truncated { kind: self.kind })?;
        let mut value = Vec::with_capacity(end);
        let mut escaped = self.rest[..end].iter();
        while let Some(byte) = escaped.next() {
            match byte {
                1 => match escaped.next() {
                    Some(1) => value.push(0),
                    Some(2) => value.push(1),
                    _ => return Err(self.malformed(field)),
                },
                other => value.push(*other),
            }
        }
        self.rest = &self.rest[end + 1..];
        Ok(value)
    }

    /// Everything that is left.
    pub(crate) fn rest(self) -> &'a [u8] {
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
