//! What is known of one idempotent producer on one partition: enough to answer a repeated batch as the first time.

use bytes::Bytes;

use crate::field::{FieldReader, FieldWriter};
use crate::{FormatError, Kind, Offset, OrderVersion, PartitionId, ProducerEpoch, ProducerId, partition};

const KIND: Kind = Kind::Producer;
const VERSION: u8 = 1;

/// `p/{topic id}/{partition}/producer/{producer id}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerKey {
    /// The partition.
    pub id: PartitionId,
    /// The producer.
    pub producer: ProducerId,
}

impl ProducerKey {
    /// The key's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        partition::write(KIND, self.id).i64(self.producer.0).finish()
    }

    /// # Errors
    /// The bytes are not such a key.
    pub fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let (mut reader, id) = partition::read(KIND, key)?;
        let producer = ProducerId(reader.i64()?);
        reader.finish()?;
        Ok(Self { id, producer })
    }

    /// Every producer of a partition.
    #[must_use]
    pub fn range(id: PartitionId) -> (Bytes, Bytes) {
        partition::write(KIND, id).range()
    }
}

/// A producer's epoch and its last batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerValue {
    /// Its epoch.
    pub epoch: ProducerEpoch,
    /// A version from the transaction that took its last batch.
    pub last_version: OrderVersion,
    /// Its last batches, oldest first; at most [`ProducerValue::MAX_BATCHES`].
    pub batches: Vec<ProducerBatch>,
}

/// One batch of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerBatch {
    /// The sequence number of its first record.
    pub first_sequence: i32,
    /// The sequence number of its last record.
    pub last_sequence: i32,
    /// The offset that its first record got, or -1 if any of its records was held back until it is due.
    pub base_offset: Offset,
    /// When it was appended, in milliseconds since the Unix epoch.
    pub append_time_ms: i64,
}

impl ProducerValue {
    /// How many batches are remembered: as many as a producer may have in flight (Kafka's `ProducerStateEntry`).
    pub const MAX_BATCHES: usize = 5;

    /// The value's bytes.
    ///
    /// # Panics
    /// If there are more than [`ProducerValue::MAX_BATCHES`].
    #[must_use]
    pub fn encode(&self) -> Bytes {
        assert!(self.batches.len() <= Self::MAX_BATCHES, "the oldest batches are forgotten first");
        FieldWriter::new(VERSION, 12 + 24 * self.batches.len())
            .i16(self.epoch.0)
            .u64(self.last_version.0)
            .each(&self.batches, |writer, batch| {
                writer
                    .i32(batch.first_sequence)
                    .i32(batch.last_sequence)
                    .i64(batch.base_offset.0)
                    .i64(batch.append_time_ms)
            })
            .finish()
    }

    /// # Errors
    /// The bytes are not such a value.
    pub fn decode(value: Bytes) -> Result<Self, FormatError> {
        let mut reader = FieldReader::new(KIND, VERSION, value)?;
        let epoch = ProducerEpoch(reader.i16()?);
        let last_version = OrderVersion(reader.u64()?);
        let batches = reader.each("batches", |reader| {
            Ok(ProducerBatch {
                first_sequence: reader.i32()?,
                last_sequence: reader.i32()?,
                base_offset: Offset(reader.i64()?),
                append_time_ms: reader.i64()?,
            })
        })?;
        if batches.len() > Self::MAX_BATCHES {
            return Err(reader.malformed("batches"));
        }
        reader.finish()?;
        Ok(Self { epoch, last_version, batches })
    }
}
