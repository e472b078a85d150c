//! Errors, named by what the client must do.

use tidegate_format::Offset;
use tidegate_log::{LogError, OffsetError, SequenceError};
use tidegate_store::{CommitError, ReadError};

/// Why a partition has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PartitionError {
    /// There is no such topic any more: ask for metadata.
    #[error("there is no such topic (any more)")]
    Unknown,
    /// The partition has another owner: ask for metadata.
    #[error("the partition has another owner")]
    NotOwner,
    /// The client takes an earlier epoch for the owner's: ask for metadata.
    #[error("the partition has a later epoch")]
    FencedEpoch,
    /// The client takes an epoch for the owner's that is not known here yet: come again.
    #[error("the partition has not had that epoch yet")]
    UnknownEpoch,
    /// The task ends with the request undone: come again.
    #[error("the partition is being closed")]
    Closing,
    /// The store did not take or give something: come again.
    #[error("the store failed: {reason}")]
    Storage {
        /// What the store said.
        reason: String,
    },
    /// It may or may not have been done: come again, with the same sequence number.
    #[error("the outcome is not known yet")]
    Unsettled,
}

impl From<LogError> for PartitionError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Fenced { .. } => Self::NotOwner,
            error => Self::Storage { reason: error.to_string() },
        }
    }
}

impl From<ReadError> for PartitionError {
    fn from(error: ReadError) -> Self {
        Self::Storage { reason: error.to_string() }
    }
}

impl From<CommitError> for PartitionError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Unknown { .. } => Self::Unsettled,
            error => Self::Storage { reason: error.to_string() },
        }
    }
}

/// Why a batch was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProduceError {
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// It does not follow its producer's last batch.
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    /// It is larger than one transaction of the store may be.
    #[error("the batch is larger than the store takes at once")]
    TooLarge,
}

/// Why the start of a log was not moved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DeleteRecordsError {
    #[error(transparent)]
    Partition(#[from] PartitionError),
    #[error("the offset is outside of {log_start} to {high_watermark}")]
    OutOfRange { log_start: Offset, high_watermark: Offset },
}

impl From<OffsetError> for DeleteRecordsError {
    fn from(error: OffsetError) -> Self {
        match error {
            OffsetError::OutOfRange { log_start, high_watermark } => {
                Self::OutOfRange { log_start, high_watermark }
            }
            OffsetError::Log(error) => Self::Partition(error.into()),
        }
    }
}
