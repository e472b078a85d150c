//! Begin and End: a session is a snapshot that the broker holds for a connection.

use super::wire::{Reader, Writer};
use super::{Done, ExtensionApi, ExtensionRequest, Message};
use crate::frame::FrameError;

/// Opens a snapshot of everything that was committed before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Begin {
    /// It is only read from: the broker keeps nothing for the sake of a commit, which it refuses.
    pub reading: bool,
}

/// A session that was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Its number, on this connection.
    pub session: u64,
    /// The version of its snapshot.
    pub start_version: u64,
}

/// Gives a snapshot back. Ending what has ended is fine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The session.
    pub session: u64,
}

impl Message for Begin {
    fn write(&self, writer: &mut Writer) {
        writer.flag(self.reading);
    }

    fn read(reader: &mut Reader) -> Result<Self, FrameError> {
        Ok(Self { reading: reader.flag("reading")? })
    }
}

impl Message for Begun {
    fn write(&self, writer: &mut Writer) {
        writer.u64(self.session);
        writer.u64(self.start_version);
    }

    fn read(reader: &mut Reader) -> Result<Self, FrameError> {
        Ok(Self { session: reader.u64("session")?, start_version: reader.u64("start_version")? })
    }
}

impl Message for End {
    fn write(&self, writer: &mut Writer) {
        writer.u64(self.session);
    }

    fn read(reader: &mut Reader) -> Result<Self, FrameError> {
        Ok(Self { session: reader.u64("session")? })
    }
}

impl ExtensionRequest for Begin {
    const API: ExtensionApi = ExtensionApi::Begin;
    type Answer = Begun;
}

impl ExtensionRequest for End {
    const API: ExtensionApi = ExtensionApi::End;
    type Answer = Done;
}
