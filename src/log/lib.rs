//! Partitions: append, read, idempotent producers, offsets by time, retention.
//!
//! What it is: what a partition's owner does with its log, in transactions of the store. [`AdmittedBatch`] checks what
//! a producer sent, [`Appender`] writes it within a caller's transaction, [`read`] gives it to consumers,
//! [`find_by_timestamp`] and [`epoch_end_offset`] look offsets up, [`delete_records`] and [`retain`] move the log's
//! start on, [`TailCache`] keeps the newest batches in memory.
//!
//! What it refuses to do: batches are opaque here. Their header is read and their checksum proved, but nothing is
//! decompressed, except one batch at a time where an offset is asked by time. It knows no topic configuration, no
//! clock and no task: rules, limits and times are arguments.
//!
//! What always holds: an owner that was fenced commits nothing any more ([`take_ownership`]); offsets have no gaps;
//! what is below the log's start is never read again; an idempotent producer's batch is appended once, also across a
//! restart.

mod admission;
mod append;
mod by_epoch;
mod by_time;
mod error;
#[cfg(test)]
mod fence_tests;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod model_tests;
mod ownership;
mod producer_id;
mod read;
mod search;
mod sequence;
mod stretch;
mod tail_cache;
mod trim;

pub use admission::{AdmittedBatch, BatchRules};
pub use append::{Appended, Appender, Appends, LogEntry, UNKNOWN_OFFSET};
pub use by_epoch::{EpochEnd, epoch_at, epoch_end_offset};
pub use by_time::{TimestampedOffset, find_by_timestamp, find_max_timestamp};
pub use error::{AppendError, BatchRejection, LogError, OffsetError, SequenceError, WriteError};
pub use ownership::{Ownership, empty_state, end_partition, load_state, take_ownership};
pub use producer_id::{ProducerIdError, ProducerIds};
pub use read::{Batches, ReadLimit, ReadResult, append_version_at, read};
pub use sequence::SequenceRange;
pub use tail_cache::TailCache;
pub use trim::{
    ExpiryStep, Retention, delete_records, expire_producers, has_expired_producers, has_expired_records,
    retain, sweep,
};
