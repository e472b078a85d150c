//! How much one turn may do, and what its batches look like.

use tidegate_protocol::batch::{Compression, TimestampType};

/// The limits of one turn, and with it of the memory and the time that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayLimits {
    /// At most this many records.
    pub records_max: usize,
    /// No further record once the entries have this many bytes.
    pub bytes_max: usize,
    /// The largest record batch, in bytes, before it is compressed (`max.message.bytes` of the topic); a larger record
    /// is alone in its batch.
    pub batch_bytes_max: usize,
    /// How often a turn begins again after a conflict before it gives the partition's other work a chance.
    pub attempts_max: usize,
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self { records_max: 5_000, bytes_max: 1 << 20, batch_bytes_max: 1 << 20, attempts_max: 16 }
    }
}

/// How a partition's entries become batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelaySettings {
    /// The limits of one turn.
    pub limits: RelayLimits,
    /// `compression.type` of the topic; `producer` is none, as nobody compressed the events before.
    pub compression: Compression,
    /// `message.timestamp.type` of the topic: `LogAppendTime` replaces the timestamps that entries carry.
    pub timestamp_type: TimestampType,
    /// How far behind the last pass the outbox is read again, in milliseconds: 0 where versions are given in commit
    /// order, `commit.max.ms` where a transaction may commit a while after it took its version.
    pub overlap_ms: i64,
}
