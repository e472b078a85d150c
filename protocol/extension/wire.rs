//! Primitives: numbers big endian; lengths and counts as LEB128 varints of at most 32 bits, in their shortest form.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::frame::FrameError;

/// Elements whose room is reserved before they are there.
const RESERVED_ELEMENTS: usize = 64;

/// Builds a message behind what is there already.
pub struct Writer(BytesMut);

impl Writer {
    pub(super) fn after(bytes: BytesMut) -> Self {
        Self(bytes)
    }

    pub(super) fn into_bytes(self) -> BytesMut {
        self.0
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.0.put_u8(value);
    }

    pub(super) fn flag(&mut self, value: bool) {
        self.0.put_u8(u8::from(value));
    }

    pub(super) fn i16(&mut self, value: i16) {
        self.0.put_i16(value);
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.0.put_u32(value);
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.0.put_i32(value);
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.0.put_u64(value);
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.0.put_i64(value);
    }

    pub(super) fn u128(&mut self, value: u128) {
        self.0.put_u128(value);
    }

    /// A length or count. Nothing that comes near 4 GiB is ever asked for: a frame has at most 2.
    pub(super) fn count(&mut self, value: usize) {
        let mut rest = u32::try_from(value).unwrap_or(u32::MAX);
        while rest >= 0x80 {
            self.0.put_u8(u8::try_from(rest & 0x7F).expect("seven bits") | 0x80);
            rest >>= 7;
        }
        self.0.put_u8(u8::try_from(rest).expect("seven bits"));
    }

    pub(super) fn bytes(&mut self, value: &[u8]) {
        self.count(value.len());
        self.0.put_slice(value);
    }

    pub(super) fn text(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    /// 0 for none, else the length plus one.
    pub(super) fn optional_bytes(&mut self, value: Option<&Bytes>) {
        match value {
            None => self.count(0),
            Some(value) => {
                self.count(value.len() + 1);
                self.0.put_slice(value);
            }
        }
    }

    pub(super) fn list<T>(&mut self, items: &[T], write: impl Fn(&mut Self, &T)) {
        self.count(items.len());
        items.iter().for_each(|item| write(self, item));
    }
}

/// Takes a message apart.
pub struct Reader {
    rest: Bytes,
    elements_left: usize,
}

impl Reader {
    pub(super) fn new(body: Bytes, elements_max: usize) -> Self {
        Self { rest: body, elements_left: elements_max }
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, FrameError> {
        self.rest.try_get_u8().map_err(|_| malformed(field))
    }

    pub(super) fn flag(&mut self, field: &'static str) -> Result<bool, FrameError> {
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(malformed(field)),
        }
    }

    pub(super) fn i16(&mut self, field: &'static str) -> Result<i16, FrameError> {
        self.rest.try_get_i16().map_err(|_| malformed(field))
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, FrameError> {
        self.rest.try_get_u32().map_err(|_| malformed(field))
    }

    pub(super) fn i32(&mut self, field: &'static str) -> Result<i32, FrameError> {
        self.rest.try_get_i32().map_err(|_| malformed(field))
    }

    pub(super) fn u64(&mut self, field: &'static str) -> Result<u64, FrameError> {
        self.rest.try_get_u64().map_err(|_| malformed(field))
    }

    pub(super) fn i64(&mut self, field: &'static str) -> Result<i64, FrameError> {
        self.rest.try_get_i64().map_err(|_| malformed(field))
    }

    pub(super) fn u128(&mut self, field: &'static str) -> Result<u128, FrameError> {
        self.rest.try_get_u128().map_err(|_| malformed(field))
    }

    fn count(&mut self, field: &'static str) -> Result<usize, FrameError> {
        let mut value = 0_u64;
        for shift in (0..35).step_by(7) {
            let byte = self.u8(field)?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                let is_shortest = byte != 0 || shift == 0;
                let value = u32::try_from(value).ok().filter(|_| is_shortest);
                return value.and_then(|value| usize::try_from(value).ok()).ok_or_else(|| malformed(field));
            }
        }
        Err(malformed(field))
    }

    fn slice(&mut self, length: usize, field: &'static str) -> Result<Bytes, FrameError> {
        if length > self.rest.len() {
            return Err(malformed(field));
        }
        Ok(self.rest.split_to(length))
    }

    pub(super) fn bytes(&mut self, field: &'static str) -> Result<Bytes, FrameError> {
        let length = self.count(field)?;
        self.slice(length, field)
    }

    pub(super) fn text(&mut self, field: &'static str) -> Result<String, FrameError> {
        let bytes = self.bytes(field)?;
        std::str::from_utf8(&bytes).map(str::to_owned).map_err(|_| malformed(field))
    }

    pub(super) fn optional_bytes(&mut self, field: &'static str) -> Result<Option<Bytes>, FrameError> {
        match self.count(field)? {
            0 => Ok(None),
            length => self.slice(length - 1, field).map(Some),
        }
    }

    /// A count and so many items, each of at least one byte.
    pub(super) fn list<T>(
        &mut self,
        field: &'static str,
        read: impl Fn(&mut Self) -> Result<T, FrameError>,
    ) -> Result<Vec<T>, FrameError> {
        let count = self.count(field)?;
        if count > self.rest.len() {
            return Err(malformed(field));
        }
        self.elements_left = self.elements_left.checked_sub(count).ok_or_else(|| malformed(field))?;
        let mut items = Vec::with_capacity(count.min(RESERVED_ELEMENTS));
        for _ in 0..count {
            items.push(read(self)?);
        }
        Ok(items)
    }

    pub(super) fn finish(self) -> Result<(), FrameError> {
        if self.rest.is_empty() { Ok(()) } else { Err(malformed("bytes after the end")) }
    }
}

pub(super) fn malformed(field: &'static str) -> FrameError {
    FrameError::Malformed { field }
}
