//! Hello, always in version 0: agrees on the version of all other requests, and tells what a client must keep to.

use super::wire::{Reader, Writer};
use super::{ExtensionApi, ExtensionRequest, Message};
use crate::frame::FrameError;

/// Which versions the client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The oldest.
    pub version_min: i16,
    /// The newest.
    pub version_max: i16,
}

/// The version that both speak, and the broker's limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The version of all further requests.
    pub version: i16,
    /// The cluster's id.
    pub cluster_id: String,
    /// How long a transaction that writes may live, in milliseconds.
    pub transaction_max_ms: u64,
    /// How many bytes of keys and values it may write.
    pub transaction_max_bytes: u64,
    /// How many bytes one value may have.
    pub value_max_bytes: u64,
    /// How many sessions this connection may have open.
    pub sessions_max: u32,
}

impl Message for Hello {
    fn write(&self, writer: &mut Writer) {
        writer.i16(self.version_min);
        writer.i16(self.version_max);
    }

    fn read(reader: &mut Reader) -> Result<Self, FrameError> {
        Ok(Self { version_min: reader.i16("version_min")?, version_max: reader.i16("version_max")? })
    }
}

impl Message for Welcome {
    fn write(&self, writer: &mut Writer) {
        writer.i16(self.version);
        writer.text(&self.cluster_id);
        writer.u64(self.transaction_max_ms);
        writer.u64(self.transaction_max_bytes);
        writer.u64(self.value_max_bytes);
        writer.u32(self.sessions_max);
    }

    fn read(reader: &mut Reader) -> Result<Self, FrameError> {
        Ok(Self {
            version: reader.i16("version")?,
            cluster_id: reader.text("cluster_id")?,
            transaction_max_ms: reader.u64("transaction_max_ms")?,
            transaction_max_bytes: reader.u64("transaction_max_bytes")?,
            value_max_bytes: reader.u64("value_max_bytes")?,
            sessions_max: reader.u32("sessions_max")?,
        })
    }
}

impl ExtensionRequest for Hello {
    const API: ExtensionApi = ExtensionApi::Hello;
    type Answer = Welcome;
}
