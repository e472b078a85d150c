//! A batch that was fetched and cannot be read.

use tidegate_protocol::batch::BatchError;

use crate::TopicPartition;

/// A batch that cannot be read, as the consumer has met it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) partition: TopicPartition,
    /// Where the consumer was, and is as long as nobody seeks.
    pub(crate) position: i64,
    /// The first of its records that was not handed out, and the last.
    pub(crate) first: i64,
    pub(crate) last: i64,
    /// The timestamp of its first record, in milliseconds since the Unix epoch.
    pub(crate) timestamp_ms: i64,
    /// Its bytes, as they are in the log.
    pub(crate) bytes: usize,
    pub(crate) error: BatchError,
}

impl Unreadable {
    /// Whether it is as its producer has sent it, by its checksum, so that fetching it again is of no use.
    pub(crate) fn is_as_sent(&self) -> bool {
        match self.error {
            BatchError::TooLarge { .. }
            | BatchError::Decompress { .. }
            | BatchError::UnknownCompression { .. }
            | BatchError::Record { .. } => true,
            BatchError::Truncated { .. }
            | BatchError::Trailing { .. }
            | BatchError::Magic { .. }
            | BatchError::Crc { .. }
            | BatchError::Header { .. } => false,
        }
    }
}
