//! Hint: partitions for which a publisher has committed entries to the broker's store itself.

use super::wire::{Reader, Writer};
use super::{Done, ExtensionApi, ExtensionRequest, Message};
use crate::frame::FrameError;

/// A partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HintedPartition {
    /// The topic's id.
    pub topic: u128,
    /// The partition's number.
    pub partition: i32,
}

/// Their relays look at once, instead of at their next sweep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hint {
    /// The partitions.
    pub partitions: Vec<HintedPartition>,
}

impl Message for Hint {
    fn write(&self, writer: &mut Writer) {
        writer.list(&self.partitions, |writer, hinted| {
            writer.u128(hinted.topic);
            writer.i32(hinted.partition);
        });
    }

    fn read(reader: &mut Reader) -> Result<Self, FrameError> {
        let partitions = reader.list("partitions", |reader| {
            Ok(HintedPartition { topic: reader.u128("topic")?, partition: reader.i32("partition")? })
        })?;
        Ok(Self { partitions })
    }
}

impl ExtensionRequest for Hint {
    const API: ExtensionApi = ExtensionApi::Hint;
    type Answer = Done;
}
