//! Scheduled topics: records whose timestamp lies in the future are held until then.
//!
//! What it is: [`plan`] reads a produced batch and says what becomes of each record, as a pure function; [`apply`]
//! does it in the produce transaction, beside whatever else that appends.
//!
//! What it refuses to do: it is not for topics with immediate delivery, whose batches nobody looks into. It holds no
//! record in memory once the transaction is committed.
//!
//! What always holds: records are held, schedules replaced and cancelled, and the rest appended in one transaction
//! with the producer's sequence, so that a repeated batch is answered as the first time and does nothing; several
//! operations on one schedule apply in the order of their records; a record that cancels is never appended.

mod apply;
#[cfg(test)]
pub(crate) mod fixture;
mod plan;

use tidegate_format::NameError;
use tidegate_log::BatchRejection;

pub use apply::{Applied, apply};
pub use plan::{Operation, Plan, plan};

/// The record header that names a schedule, topic-wide: the same name again replaces what waits under it, and a null
/// value cancels it. If a record has several, the last one counts, as for Kafka's `Headers.lastHeader`.
pub const HEADER_SCHEDULE_ID: &str = "tidegate-schedule-id";

/// What a scheduled topic takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldRules {
    /// How many bytes the records of one batch may have once they are decompressed.
    pub decompressed_max_bytes: usize,
    /// `max.message.bytes`: what is held enters the log without compression, and the batch of such a record alone must
    /// not be larger than this.
    pub max_message_bytes: usize,
    /// `message.timestamp.before.max.ms`: how far in the past a timestamp may lie.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far ahead a record may be held; on scheduled topics ten years unless
    /// configured, so that a timestamp in another unit than milliseconds is an error and not a schedule.
    pub timestamp_after_max_ms: i64,
}

impl HoldRules {
    /// Ten years: the default of `message.timestamp.after.max.ms` on scheduled topics.
    pub const TIMESTAMP_AFTER_MAX_MS: i64 = 10 * 366 * 24 * 60 * 60 * 1000;
}

impl Default for HoldRules {
    fn default() -> Self {
        Self {
            decompressed_max_bytes: 8 << 20,
            max_message_bytes: 1_048_588,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: Self::TIMESTAMP_AFTER_MAX_MS,
        }
    }
}

/// Why a batch cannot be taken by a scheduled topic: the client's to mend. Nothing of it was taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HoldRejection {
    /// As on any topic.
    #[error(transparent)]
    Batch(#[from] BatchRejection),
    /// INVALID_RECORD: a schedule's name is not allowed.
    #[error("record {index}: header tidegate-schedule-id: {cause}")]
    ScheduleName {
        /// The record's place in the batch, from 0.
        index: usize,
        /// What is wrong with the name.
        cause: NameError,
    },
    /// MESSAGE_TOO_LARGE: a record that is to be held would be a batch that the topic does not take. Its batch was
    /// compressed, or it would not have come this far.
    #[error(
        "record {index} is to be held, and takes {actual} bytes without compression: over max.message.bytes = {limit}"
    )]
    TooLarge {
        /// The record's place in the batch, from 0.
        index: usize,
        /// The bytes of a batch that has nothing but this record.
        actual: usize,
        /// The limit.
        limit: usize,
    },
    /// INVALID_RECORD: a schedule's name is not text.
    #[error("record {index}: header tidegate-schedule-id is not UTF-8")]
    ScheduleNotText {
        /// The record's place in the batch, from 0.
        index: usize,
    },
}
