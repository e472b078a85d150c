//! The timer: events and records that are due later, in due order.

use bytes::Bytes;
use uuid::Uuid;

use crate::order::after_prefix;
use crate::{FormatError, Kind, PartitionId, partition};

const KIND: Kind = Kind::Timer;

/// `p/{topic id}/{partition}/timer/{due}/{entry}`, over an [`EventValue`](crate::EventValue).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerKey {
    /// The partition.
    pub id: PartitionId,
    /// When it may enter the log, in milliseconds since the Unix epoch.
    pub due_ms: i64,
    /// Tells entries of one due time apart; ids that rise keep the order that they were written in.
    pub entry: Uuid,
}

impl TimerKey {
    /// The key's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        partition::write(KIND, self.id).i64(self.due_ms).uuid(self.entry).finish()
    }

    /// # Errors
    /// The bytes are not such a key.
    pub fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let (mut reader, id) = partition::read(KIND, key)?;
        let due_ms = reader.i64()?;
        let entry = reader.uuid()?;
        reader.finish()?;
        Ok(Self { id, due_ms, entry })
    }

    /// Every entry of a partition.
    #[must_use]
    pub fn range(id: PartitionId) -> (Bytes, Bytes) {
        partition::write(KIND, id).range()
    }

    /// Every entry that is due at or before `due_ms`.
    #[must_use]
    pub fn range_until(id: PartitionId, due_ms: i64) -> (Bytes, Bytes) {
        let start = partition::write(KIND, id).finish();
        let last = partition::write(KIND, id).i64(due_ms).finish();
        (start, after_prefix(&last))
    }
}
