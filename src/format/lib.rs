//! Every key and value that Tidegate keeps in its store, byte for byte: one file per kind.

mod id;

pub use id::{
    BrokerId, Generation, Offset, OrderVersion, OwnerEpoch, PartitionId, PartitionIndex, ProducerEpoch,
    ProducerId, TopicId,
};
