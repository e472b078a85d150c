//! A partition's offsets and owner: the row that every append writes and that fences earlier owners.

use bytes::Bytes;

use crate::field::{FieldReader, FieldWriter};
use crate::{BrokerId, FormatError, Kind, Offset, OwnerEpoch, PartitionId, TimestampMaxima, partition};

const KIND: Kind = Kind::PartitionState;
const VERSION: u8 = 1;

/// `p/{topic id}/{partition}/state`; sorts right after the partition's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionStateKey {
    /// The partition.
    pub id: PartitionId,
}

impl PartitionStateKey {
    /// The key's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        partition::write(KIND, self.id).finish()
    }

    /// # Errors
    /// The bytes are not such a key.
    pub fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let (reader, id) = partition::read(KIND, key)?;
        reader.finish()?;
        Ok(Self { id })
    }
}

/// Where a partition stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionState {
    /// The first offset that can be read.
    pub log_start: Offset,
    /// The offset that the next record gets.
    pub next_offset: Offset,
    /// The broker that owns it.
    pub owner: BrokerId,
    /// Raised by each new owner.
    pub epoch: OwnerEpoch,
    /// The bytes of the batches in the log.
    pub log_bytes: u64,
    /// The bytes of all batches ever appended, those that are gone included.
    pub appended_bytes: u64,
    /// The highest timestamps up to the end of the log.
    pub maxima: TimestampMaxima,
    /// A random number from the last transaction that wrote this row: settles a commit whose answer was lost.
    pub commit_token: u128,
}

impl PartitionState {
    /// The value's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let offsets = FieldWriter::new(VERSION, 65).i64(self.log_start.0).i64(self.next_offset.0);
        let owner = offsets.i32(self.owner.0).i32(self.epoch.0);
        let sizes = owner.u64(self.log_bytes).u64(self.appended_bytes);
        self.maxima.write(sizes).u128(self.commit_token).finish()
    }

    /// # Errors
    /// The bytes are not such a value.
    pub fn decode(value: Bytes) -> Result<Self, FormatError> {
        let mut reader = FieldReader::new(KIND, VERSION, value)?;
        let state = Self {
            log_start: Offset(reader.i64()?),
            next_offset: Offset(reader.i64()?),
            owner: BrokerId(reader.i32()?),
            epoch: OwnerEpoch(reader.i32()?),
            log_bytes: reader.u64()?,
            appended_bytes: reader.u64()?,
            maxima: TimestampMaxima::read(&mut reader)?,
            commit_token: reader.u128()?,
        };
        reader.finish()?;
        Ok(state)
    }
}
