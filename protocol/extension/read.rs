//! Get, Scan and ScanKeys: reads of a session's snapshot. The client lays its own writes over them.
//!
//! An answer may stop before what was asked for is there, when it is large enough: the client asks for the rest.

use bytes::Bytes;

use super::wire::{Reader, Writer};
use super::{ExtensionApi, ExtensionRequest, Message};
use crate::frame::FrameError;

/// Which session reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct By {
    /// The session.
    pub session: u64,
    /// Whether its transaction has written or guarded something, so that its age counts.
    pub writes: bool,
}

/// Reads keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Get {
    /// Who reads.
    pub by: By,
    /// The keys.
    pub keys: Vec<Bytes>,
}

/// The values of the first of the keys, in their order: at least one if any was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values {
    /// None where there is none.
    pub values: Vec<Option<Bytes>>,
}

/// What a scan reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first key of it.
    pub start: Bytes,
    /// The first key beyond it.
    pub end: Bytes,
    /// Largest key first.
    pub backward: bool,
    /// At most so many.
    pub count: u32,
}

/// Reads entries of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// Who reads.
    pub by: By,
    /// What.
    pub range: Range,
    /// No further entry once the values have so many bytes.
    pub value_bytes: u64,
}

/// The first entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entries {
    /// Keys and values.
    pub entries: Vec<(Bytes, Bytes)>,
    /// Whether the range has no more.
    pub exhausted: bool,
}

/// Reads keys of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanKeys {
    /// Who reads.
    pub by: By,
    /// What.
    pub range: Range,
}

/// The first keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The keys.
    pub keys: Vec<Bytes>,
    /// Whether the range has no more.
    pub exhausted: bool,
}

impl Message for By {
    fn write(&self, writer: &mut Writer) {
        writer.u64(self.session);
        writer.flag(self.writes);
    }

    fn read(reader: &mut Reader) -> Result<Self, FrameError> {
        Ok(Self { session: reader.u64("session")?, writes: reader.flag("writes")? })
    }
}

impl Message for Get {
    fn write(&self, writer: &mut Writer) {
        self.by.write(writer);
        writer.list(&self.keys, |writer, key| writer.bytes(key));
    }

    fn read(reader: &mut Reader) -> Result<Self, FrameError> {
        Ok(Self { by: By::read(reader)?, keys: reader.list("keys", |reader| reader.bytes("key"))? })
    }
}

impl Message for Values {
    fn write(&self, writer: &mut Writer) {
        writer.list(&self.values, |writer, value| writer.optional_bytes(value.as_ref()));
    }

    fn read(reader: &mut Reader) -> Result<Self, FrameError> {
        Ok(Self { values: reader.list("values", |reader| reader.optional_bytes("value"))? })
    }
}

impl Message for Range {
    fn write(&self, writer: &mut Writer) {
        writer.bytes(&self.start);
        writer.bytes(&self.end);
        writer.flag(self.backward);
        writer.u32(self.count);
    }

    fn read(reader: &mut Reader) -> Result<Self, FrameError> {
        Ok(Self {
            start: reader.bytes("start")?,
            end: reader.bytes("end")?,
            backward: reader.flag("backward")?,
            count: reader.u32("count")?,
        })
    }
}

impl Message for Scan {
    fn write(&self, writer: &mut Writer) {
        self.by.write(writer);
        self.range.write(writer);
        writer.u64(self.value_bytes);
    }

    fn read(reader: &mut Reader) -> Result<Self, FrameError> {
        Ok(Self {
            by: By::read(reader)?,
            range: Range::read(reader)?,
            value_bytes: reader.u64("value_bytes")?,
        })
    }
}

impl Message for Entries {
    fn write(&self, writer: &mut Writer) {
        writer.list(&self.entries, |writer, (key, value)| {
            writer.bytes(key);
            writer.bytes(value);
        });
        writer.flag(self.exhausted);
    }

    fn read(reader: &mut Reader) -> Result<Self, FrameError> {
        let entries = reader.list("entries", |reader| Ok((reader.bytes("key")?, reader.bytes("value")?)))?;
        Ok(Self { entries, exhausted: reader.flag("exhausted")? })
    }
}

impl Message for ScanKeys {
    fn write(&self, writer: &mut Writer) {
        self.by.write(writer);
        self.range.write(writer);
    }

    fn read(reader: &mut Reader) -> Result<Self, FrameError> {
        Ok(Self { by: By::read(reader)?, range: Range::read(reader)? })
    }
}

impl Message for Keys {
    fn write(&self, writer: &mut Writer) {
        writer.list(&self.keys, |writer, key| writer.bytes(key));
        writer.flag(self.exhausted);
    }

    fn read(reader: &mut Reader) -> Result<Self, FrameError> {
        let keys = reader.list("keys", |reader| reader.bytes("key"))?;
        Ok(Self { keys, exhausted: reader.flag("exhausted")? })
    }
}

impl ExtensionRequest for Get {
    const API: ExtensionApi = ExtensionApi::Get;
    type Answer = Values;
}

impl ExtensionRequest for Scan {
    const API: ExtensionApi = ExtensionApi::Scan;
    type Answer = Entries;
}

impl ExtensionRequest for ScanKeys {
    const API: ExtensionApi = ExtensionApi::ScanKeys;
    type Answer = Keys;
}
