//! Commit: all that a transaction writes and guards, in one request, and the attempt by which it can be asked about.

use bytes::Bytes;

use super::wire::{Reader, Writer};
use super::{ExtensionApi, ExtensionRequest, Message};
use crate::frame::FrameError;

/// Which attempt a commit is. The client chooses it; the broker writes it into a row of the lane, in the same commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The client: random, and its own.
    pub client: u128,
    /// One of the client's lanes. A lane has one transaction at a time, from its Begin to its answer.
    pub lane: u32,
    /// Higher than those of all earlier attempts of the lane.
    pub number: u64,
}

/// A write whose key holds the version of the commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionedPut {
    /// What the key begins with.
    pub prefix: Bytes,
    /// What follows the version.
    pub suffix: Bytes,
    /// The value.
    pub value: Bytes,
}

/// Commits, and ends the session whatever comes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The session.
    pub session: u64,
    /// Which attempt this is.
    pub attempt: Attempt,
    /// Whether what is put is more data to keep.
    pub growing: bool,
    /// Keys and their new values.
    pub puts: Vec<(Bytes, Bytes)>,
    /// Keys to remove.
    pub deletes: Vec<Bytes>,
    /// Keys that must not have changed.
    pub guards: Vec<Bytes>,
    /// Writes whose keys are made at commit, in their order.
    pub versioned: Vec<VersionedPut>,
}

/// It is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommittedAt {
    /// The order version.
    pub version: u64,
}

impl Message for Attempt {
    fn write(&self, writer: &mut Writer) {
        writer.u128(self.client);
        writer.u32(self.lane);
        writer.u64(self.number);
    }

    fn read(reader: &mut Reader) -> Result<Self, FrameError> {
        Ok(Self { client: reader.u128("client")?, lane: reader.u32("lane")?, number: reader.u64("number")? })
    }
}

impl Message for VersionedPut {
    fn write(&self, writer: &mut Writer) {
        writer.bytes(&self.prefix);
        writer.bytes(&self.suffix);
        writer.bytes(&self.value);
    }

    fn read(reader: &mut Reader) -> Result<Self, FrameError> {
        Ok(Self {
            prefix: reader.bytes("prefix")?,
            suffix: reader.bytes("suffix")?,
            value: reader.bytes("value")?,
        })
    }
}

impl Message for Commit {
    fn write(&self, writer: &mut Writer) {
        writer.u64(self.session);
        self.attempt.write(writer);
        writer.flag(self.growing);
        writer.list(&self.puts, |writer, (key, value)| {
            writer.bytes(key);
            writer.bytes(value);
        });
        writer.list(&self.deletes, |writer, key| writer.bytes(key));
        writer.list(&self.guards, |writer, key| writer.bytes(key));
        writer.list(&self.versioned, |writer, put| put.write(writer));
    }

    fn read(reader: &mut Reader) -> Result<Self, FrameError> {
        Ok(Self {
            session: reader.u64("session")?,
            attempt: Attempt::read(reader)?,
            growing: reader.flag("growing")?,
            puts: reader.list("puts", |reader| Ok((reader.bytes("key")?, reader.bytes("value")?)))?,
            deletes: reader.list("deletes", |reader| reader.bytes("key"))?,
            guards: reader.list("guards", |reader| reader.bytes("key"))?,
            versioned: reader.list("versioned", VersionedPut::read)?,
        })
    }
}

impl Message for CommittedAt {
    fn write(&self, writer: &mut Writer) {
        writer.u64(self.version);
    }

    fn read(reader: &mut Reader) -> Result<Self, FrameError> {
        Ok(Self { version: reader.u64("version")? })
    }
}

impl ExtensionRequest for Commit {
    const API: ExtensionApi = ExtensionApi::Commit;
    type Answer = CommittedAt;
}
