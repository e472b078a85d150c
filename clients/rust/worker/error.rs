//! Why a worker cannot start, or has ended.

use crate::{Error, TopicPartition, model};

/// What ends a worker. Failures of its handler, lost connections and a store that is away for a while do not.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// It is told what cannot be; the text says what, and what would be right.
    #[error("{0}")]
    Invalid(String),
    /// The brokers refuse what no retry helps.
    #[error(transparent)]
    Client(#[from] Error),
    /// The store refuses what no retry helps.
    #[error(transparent)]
    Store(#[from] model::Error),
    /// A partition that it was told to read is not there.
    #[error("there is no partition {partition}: create the topic, or name another")]
    UnknownPartition {
        /// The partition.
        partition: TopicPartition,
    },
    /// What is in the store cannot be read.
    #[error(transparent)]
    Format(#[from] tidegate_format::FormatError),
    /// It ended by a panic of its own.
    #[error("the worker ended: {0}")]
    Ended(String),
}
