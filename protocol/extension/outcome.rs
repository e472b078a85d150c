//! Outcome: what became of a commit whose answer was lost. After the answer it can no longer change.

use bytes::Bytes;

use super::wire::{Reader, Writer};
use super::{ExtensionApi, ExtensionRequest, Message};
use crate::frame::FrameError;

/// Asks by a token, on any connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// A key that the attempt wrote.
    pub key: Bytes,
    /// Which attempt.
    pub nonce: u128,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Whether it was applied; if not, it never will be.
    pub applied: bool,
}

impl Message for Outcome {
    fn write(&self, writer: &mut Writer) {
        writer.bytes(&self.key);
        writer.u128(self.nonce);
    }

    fn read(reader: &mut Reader) -> Result<Self, FrameError> {
        Ok(Self { key: reader.bytes("key")?, nonce: reader.u128("nonce")? })
    }
}

impl Message for Settled {
    fn write(&self, writer: &mut Writer) {
        writer.flag(self.applied);
    }

    fn read(reader: &mut Reader) -> Result<Self, FrameError> {
        Ok(Self { applied: reader.flag("applied")? })
    }
}

impl ExtensionRequest for Outcome {
    const API: ExtensionApi = ExtensionApi::Outcome;
    type Answer = Settled;
}
