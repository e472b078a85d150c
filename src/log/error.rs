//! Errors, named by what the caller must do.

use tidegate_format::{FormatError, Offset, OwnerEpoch, PartitionId, ProducerEpoch, ProducerId};
use tidegate_protocol::batch::BatchError;
use tidegate_store::{CommitError, ReadError};

/// Why a partition could not be read or written. Nothing that the transaction did so far has any effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Another owner has taken the partition, or it was dropped: forget what is known of it.
    #[error("partition {id} is owned in epoch {found:?} and no longer in epoch {held}")]
    Fenced {
        /// The partition.
        id: PartitionId,
        /// The epoch of the caller's ownership.
        held: OwnerEpoch,
        /// The epoch that the store has; none if the partition was dropped.
        found: Option<OwnerEpoch>,
    },
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A row is not what this release writes. Trying again gives the same answer.
    #[error("partition {id}: {reason}")]
    Damaged {
        /// The partition.
        id: PartitionId,
        /// What is wrong with which row.
        reason: String,
    },
}

impl LogError {
    /// A row of a partition that does not decode.
    pub(crate) fn row(id: PartitionId) -> impl FnOnce(FormatError) -> Self {
        move |error| Self::Damaged { id, reason: error.to_string() }
    }
}

/// Why something that begins and commits its own transactions failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The partition could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The commit failed, after as many attempts as are of any use.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl From<ReadError> for WriteError {
    fn from(error: ReadError) -> Self {
        Self::Log(error.into())
    }
}

/// Why a batch cannot be taken, whatever the partition holds: the client's to mend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchRejection {
    /// Its bytes are not one intact batch of a producer: the error knows its code.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// INVALID_RECORD: a produce request brings exactly one batch for a partition.
    #[error("{count} batches for one partition in one request, where there must be 1")]
    NotOne {
        /// How many there are.
        count: usize,
    },
    /// INVALID_RECORD: offsets are the broker's to assign, a producer's begin at 0.
    #[error("base offset {found} of a produced batch is not 0")]
    BaseOffset {
        /// What the batch says.
        found: i64,
    },
    /// MESSAGE_TOO_LARGE: over `max.message.bytes`.
    #[error("a batch of {actual} bytes is over max.message.bytes = {limit}")]
    TooLarge {
        /// Its size, in bytes.
        actual: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// INVALID_TIMESTAMP: outside of what the topic takes.
    #[error("timestamp {timestamp_ms} is outside of {earliest_ms} to {latest_ms}")]
    TimestampOutOfRange {
        /// The offending timestamp, in milliseconds since the Unix epoch.
        timestamp_ms: i64,
        /// The earliest that is taken.
        earliest_ms: i64,
        /// The latest that is taken.
        latest_ms: i64,
    },
    /// INVALID_TIMESTAMP: the log append time is the broker's to set.
    #[error("a producer must not set the timestamp type LogAppendTime")]
    TimestampType,
    /// INVALID_TXN_STATE: the batch belongs to a Kafka transaction, of which there are none here.
    #[error("the batch belongs to a transaction that was not begun")]
    NoTransaction,
}

/// Why an idempotent producer's batch does not follow its last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SequenceError {
    /// OUT_OF_ORDER_SEQUENCE_NUMBER: batches before this one are missing.
    #[error("producer {producer}: sequence number {found} does not follow {last}")]
    OutOfOrder {
        /// The producer.
        producer: ProducerId,
        /// The batch's first sequence number.
        found: i32,
        /// The last sequence number taken; -1 if the producer has a new epoch and must begin at 0.
        last: i32,
    },
    /// INVALID_PRODUCER_EPOCH: a later incarnation of the producer has written here.
    #[error("producer {producer}: epoch {found} is older than {current}")]
    OldEpoch {
        /// The producer.
        producer: ProducerId,
        /// The batch's epoch.
        found: ProducerEpoch,
        /// The epoch known here.
        current: ProducerEpoch,
    },
}

/// Why a batch was not appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// This batch only: the transaction goes on without it.
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    /// The whole transaction is of no further use.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<ReadError> for AppendError {
    fn from(error: ReadError) -> Self {
        Self::Log(error.into())
    }
}

/// Why an offset cannot be read from or deleted to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OffsetError {
    /// OFFSET_OUT_OF_RANGE.
    #[error("the offset is outside of {log_start} to {high_watermark}")]
    OutOfRange {
        /// The first offset that can be read.
        log_start: Offset,
        /// The offset after the last that can be read.
        high_watermark: Offset,
    },
    /// The partition could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<ReadError> for OffsetError {
    fn from(error: ReadError) -> Self {
        Self::Log(error.into())
    }
}
