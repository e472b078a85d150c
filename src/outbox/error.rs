//! Errors, named by what the caller must do.

use tidegate_format::{FormatError, NameError, PartitionId};
use tidegate_log::LogError;
use tidegate_store::ReadError;

/// Why rows could not be loaded. The transaction is of no further use.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LoadError {
    /// The store did not answer.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A row is not what this version writes.
    #[error(transparent)]
    Format(#[from] FormatError),
}

impl LoadError {
    /// The same as an error of the partition's log.
    pub(crate) fn into_log_error(self, id: PartitionId) -> LogError {
        match self {
            Self::Read(error) => LogError::Read(error),
            Self::Format(error) => LogError::Damaged { id, reason: error.to_string() },
        }
    }
}

/// Why an event was not published or a schedule not changed. Nothing was written by the call that failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PublishError {
    /// Rows could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The topic does not exist, and the settings do not say to create it.
    #[error("topic {topic:?} does not exist: create it, or allow topics to be created on first use")]
    UnknownTopic {
        /// Its name.
        topic: String,
    },
    /// The name of a topic, an event type or a schedule is not allowed.
    #[error("{name:?} is refused: {cause}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        cause: NameError,
    },
    /// A field that CloudEvents demands is empty.
    #[error("the event's {field} is empty")]
    EmptyField {
        /// Which one.
        field: &'static str,
    },
    /// The event's own headers have one that is set from its fields.
    #[error("header {header:?} is set from the event's own fields")]
    ReservedHeader {
        /// The header's name.
        header: String,
    },
    /// The event's time cannot be written as RFC 3339; a time in another unit than milliseconds looks like that.
    #[error("{time_ms} ms since the Unix epoch is not a time between the years 0 and 9999")]
    TimeOutOfRange {
        /// The event's time, in milliseconds since the Unix epoch.
        time_ms: i64,
    },
    /// A part of the event is over its limit.
    #[error("{what} of {actual} bytes is over the limit of {limit} bytes")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// Its size, in bytes.
        actual: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The topic keeps the newest record of each key, and the event has no key.
    #[error("topic {topic:?} is compacted: an event for it needs a key")]
    KeyRequired {
        /// The topic's name.
        topic: String,
    },
    /// The event has more headers than allowed.
    #[error("{actual} headers are over the limit of {limit}")]
    TooManyHeaders {
        /// How many.
        actual: usize,
        /// The limit.
        limit: usize,
    },
    /// The due time is further away than allowed; a time in another unit than milliseconds looks like that.
    #[error("due at {due_ms} ms is later than the latest allowed, {latest_ms} ms")]
    DueTooLate {
        /// The due time asked for, in milliseconds since the Unix epoch.
        due_ms: i64,
        /// The latest allowed, in milliseconds since the Unix epoch.
        latest_ms: i64,
    },
}

impl From<ReadError> for PublishError {
    fn from(error: ReadError) -> Self {
        Self::Load(error.into())
    }
}

impl From<FormatError> for PublishError {
    fn from(error: FormatError) -> Self {
        Self::Load(error.into())
    }
}
