//! The log: one entry per record batch, by the offset of its last record, so that the batch that holds offset N is the
//! first at or after N.

use bytes::Bytes;

use crate::field::{FieldReader, FieldWriter};
use crate::order::after_prefix;
use crate::{FormatError, Kind, Offset, OrderVersion, PartitionId, TimestampMaxima, partition};

const KIND: Kind = Kind::Log;
const VERSION: u8 = 1;
/// The bytes in front of a batch whose timestamps never fell.
const HEADER_BYTES_USUAL: usize = 26;

/// `p/{topic id}/{partition}/log/{last offset}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogKey {
    /// The partition.
    pub id: PartitionId,
    /// The offset of the batch's last record.
    pub last_offset: Offset,
}

impl LogKey {
    /// The key's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        partition::write(KIND, self.id).i64(self.last_offset.0).finish()
    }

    /// # Errors
    /// The bytes are not such a key.
    pub fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let (mut reader, id) = partition::read(KIND, key)?;
        let last_offset = Offset(reader.i64()?);
        reader.finish()?;
        Ok(Self { id, last_offset })
    }

    /// Every batch of a partition.
    #[must_use]
    pub fn range(id: PartitionId) -> (Bytes, Bytes) {
        partition::write(KIND, id).range()
    }

    /// Every batch with a record at or after `from`.
    #[must_use]
    pub fn range_from(id: PartitionId, from: Offset) -> (Bytes, Bytes) {
        let prefix = partition::write(KIND, id).finish();
        (Self { id, last_offset: from }.encode(), after_prefix(&prefix))
    }
}

/// A record batch, ready to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogValue {
    /// A version from the transaction that appended it; never lower than that of the batch before.
    pub append_version: OrderVersion,
    /// The highest timestamps up to this batch, it included.
    pub maxima: TimestampMaxima,
    /// The bytes of all batches ever appended to the partition, this one included: sizes of any stretch of the log
    /// are differences, so that retention need not read what it removes.
    pub end_bytes: u64,
    /// The batch as Kafka sends it (RecordBatch, magic 2).
    pub batch: Bytes,
}

impl LogValue {
    /// The value's bytes: the batch is their end.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let header =
            FieldWriter::new(VERSION, HEADER_BYTES_USUAL + self.batch.len()).u64(self.append_version.0);
        self.maxima.write(header).u64(self.end_bytes).raw(&self.batch).finish()
    }

    /// # Errors
    /// The bytes are not such a value.
    pub fn decode(value: Bytes) -> Result<Self, FormatError> {
        let mut reader = FieldReader::new(KIND, VERSION, value)?;
        let append_version = OrderVersion(reader.u64()?);
        let maxima = TimestampMaxima::read(&mut reader)?;
        let end_bytes = reader.u64()?;
        Ok(Self { append_version, maxima, end_bytes, batch: reader.rest() })
    }
}
