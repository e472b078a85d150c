//! DeleteRange: removes a range that nobody writes any more, outside of any transaction.

use bytes::Bytes;

use super::wire::{Reader, Writer};
use super::{Done, ExtensionApi, ExtensionRequest, Message};
use crate::frame::FrameError;

/// Removes every key of a range, durably when it is answered. Doing it again does no harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteRange {
    /// The first key that goes.
    pub start: Bytes,
    /// The first key beyond.
    pub end: Bytes,
}

impl Message for DeleteRange {
    fn write(&self, writer: &mut Writer) {
        writer.bytes(&self.start);
        writer.bytes(&self.end);
    }

    fn read(reader: &mut Reader) -> Result<Self, FrameError> {
        Ok(Self { start: reader.bytes("start")?, end: reader.bytes("end")? })
    }
}

impl ExtensionRequest for DeleteRange {
    const API: ExtensionApi = ExtensionApi::DeleteRange;
    type Answer = Done;
}
