//! The bytes of one transaction in the journal.
//!
//! What it is: the changes of a transaction one after the other, each with its key and value, encoded by the task that
//! commits and decoded by the committer (to apply them) and by the replay (to apply them again): one path for both.
//!
//! What always holds: the bytes do not depend on where they come to lie nor on the version they get; keys that hold the
//! version of the commit are made when they are decoded.

use bytes::Bytes;

use super::super::slot::{LARGE_VALUE_BYTES, Pointer, Position, Slot};
use crate::Version;
use crate::write_set::{Write, WriteSet};

const KIND_PUT: u8 = 1;
const KIND_DELETE: u8 = 2;
const KIND_PUT_VERSIONED: u8 = 3;
/// Added to the kind of a put whose value stays in the journal: its checksum follows its length.
const LARGE: u8 = 0x10;

/// Encodes changes.
#[derive(Debug, Default)]
pub(crate) struct TransactionEncoder {
    bytes: Vec<u8>,
}

impl TransactionEncoder {
    /// Encodes all that a write set writes.
    pub(crate) fn encode(write_set: &WriteSet) -> Vec<u8> {
        let mut encoder = Self::default();
        for (key, write) in write_set.writes() {
            match write {
                Write::Put(value) => encoder.put(key, value),
                Write::Delete => encoder.delete(key),
            }
        }
        for put in write_set.versioned() {
            encoder.put_versioned(&put.prefix, &put.suffix, &put.value);
        }
        encoder.bytes
    }

    /// Adds a put.
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) {
        self.head(KIND_PUT, value, &[key]);
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
    }

    /// The bytes of all changes added.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    fn put_versioned(&mut self, prefix: &[u8], suffix: &[u8], value: &[u8]) {
        self.head(KIND_PUT_VERSIONED, value, &[prefix, suffix]);
        self.bytes.extend_from_slice(prefix);
        self.bytes.extend_from_slice(suffix);
        self.bytes.extend_from_slice(value);
    }

    fn delete(&mut self, key: &[u8]) {
        self.bytes.push(KIND_DELETE);
        self.key_len(key);
        self.bytes.extend_from_slice(key);
    }

    fn head(&mut self, kind: u8, value: &[u8], key_parts: &[&[u8]]) {
        let is_large = value.len() >= LARGE_VALUE_BYTES;
        self.bytes.push(if is_large { kind | LARGE } else { kind });
        for part in key_parts {
            self.key_len(part);
        }
        let value_len = u32::try_from(value.len()).expect("a value is within the limit of transactions");
        self.bytes.extend_from_slice(&value_len.to_le_bytes());
        if is_large {
            self.bytes.extend_from_slice(&crc32c::crc32c(value).to_le_bytes());
        }
    }

    fn key_len(&mut self, key: &[u8]) {
        let len = u16::try_from(key.len()).expect("a key is at most 4 KiB");
        self.bytes.extend_from_slice(&len.to_le_bytes());
    }
}

/// A change as it lies in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change<'a> {
    /// A value in the entry itself.
    Put(&'a [u8]),
    /// A value that stays where it is in the journal.
    PutLarge(Pointer),
    /// A removal.
    Delete,
}

impl Change<'_> {
    /// What the overlay keeps of it.
    pub(crate) fn slot(&self) -> Option<Slot> {
        match self {
            Self::Put(value) => Some(Slot::Inline(Bytes::copy_from_slice(value))),
            Self::PutLarge(pointer) => Some(Slot::Pointer(*pointer)),
            Self::Delete => None,
        }
    }
}

/// A change and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyChange<'a> {
    /// The key, or its part before the version.
    key: &'a [u8],
    /// The part after the version, for a key that holds it.
    suffix: Option<&'a [u8]>,
    /// What happens to it.
    pub(crate) change: Change<'a>,
}

impl<'a> KeyChange<'a> {
    /// Whether the key holds the version of the commit.
    pub(crate) fn is_versioned(&self) -> bool {
        self.suffix.is_some()
    }

    /// The key; `buffer` holds it if it had to be made.
    pub(crate) fn key<'b>(&'b self, version: Version, buffer: &'b mut Vec<u8>) -> &'b [u8]
    where
        'a: 'b,
    {
        let Some(suffix) = self.suffix else { return self.key };
        buffer.clear();
        buffer.extend_from_slice(self.key);
        buffer.extend_from_slice(&version.0.to_be_bytes());
        buffer.extend_from_slice(suffix);
        buffer
    }
}

/// The changes in the bytes of one transaction.
pub(crate) struct TransactionDecoder<'a> {
    bytes: &'a [u8],
    /// Where the first of `bytes` lies in the journal.
    position: Position,
}

/// The bytes are none that [`TransactionEncoder`] makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl<'a> TransactionDecoder<'a> {
    /// Decodes the bytes that lie at `position`.
    pub(crate) fn new(bytes: &'a [u8], position: Position) -> Self {
        Self { bytes, position }
    }

    /// The next change, if there is one.
    pub(crate) fn next(&mut self) -> Result<Option<KeyChange<'a>>, Malformed> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let kind = self.take(1)?[0];
        let key_len = self.take_u16()?;
        let suffix_len = if kind & !LARGE == KIND_PUT_VERSIONED { Some(self.take_u16()?) } else { None };
        let value_len = match kind & !LARGE {
            KIND_PUT | KIND_PUT_VERSIONED => self.take_u32()?,
            KIND_DELETE => 0,
            _ => return Err(Malformed),
        };
        let crc = if kind & LARGE == 0 { None } else { Some(self.take_u32()?) };
        let key = self.take(usize::from(key_len))?;
        let suffix = suffix_len.map(|len| self.take(usize::from(len))).transpose()?;
        let position = self.position;
        let value = self.take(value_len as usize)?;
        let change = match (kind, crc) {
            (KIND_DELETE, _) => Change::Delete,
            (_, None) => Change::Put(value),
            (_, Some(crc)) => Change::PutLarge(Pointer { position, len: value_len, crc }),
        };
        Ok(Some(KeyChange { key, suffix, change }))
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(Malformed)?;
        self.bytes = rest;
        self.position.offset += count as u64;
        Ok(taken)
    }

    fn take_u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.take(2)?.try_into().map_err(|_| Malformed)?))
    }

    fn take_u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into().map_err(|_| Malformed)?))
    }
}

#[cfg(test)]
#[path = "transaction_tests.rs"]
mod tests;
