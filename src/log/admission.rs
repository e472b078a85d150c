//! What a topic takes: the checks of a produced batch that need no look at the partition.
//!
//! They are done where the request is read, so that checksums are computed on every core and not one after the other
//! on the partition's task. Nothing is decompressed, so timestamps are judged by the batch's header, which has the first
//! record's and the highest. Kafka looks at every record and corrects the header. Here a header that claims a maximum
//! that no record has costs look-ups by time some batches that they look at for nothing; one that claims less than its
//! records have hides those records from look-ups by time, its own and no others.

use bytes::Bytes;
use tidegate_protocol::batch::{self, BatchHeader, CheckedBatch, NO_TIMESTAMP, TimestampType};

use crate::BatchRejection;

/// What a topic's configuration says about the batches that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchRules {
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how far in the past a timestamp may lie.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far in the future.
    pub timestamp_after_max_ms: i64,
    /// `max.message.bytes`: the largest batch, as it came.
    pub max_message_bytes: usize,
}

/// A batch that a partition takes if its producer's sequence allows it.
#[derive(Clone, Debug)]
pub struct AdmittedBatch {
    pub(crate) header: BatchHeader,
    pub(crate) bytes: Bytes,
    pub(crate) admitted_at_ms: i64,
}

impl AdmittedBatch {
    /// Checks what a produce request brought for one partition, and gives it the broker's time if the topic says so.
    ///
    /// # Errors
    /// The first rule that it breaks, in Kafka's order (`UnifiedLog.analyzeAndValidateRecords`, then `LogValidator`).
    pub fn new(payload: &Bytes, rules: &BatchRules, now_ms: i64) -> Result<Self, BatchRejection> {
        let mut batches = batch::split(payload.clone())?;
        let count = batches.len();
        let (Some(bytes), 1) = (batches.pop(), count) else { return Err(BatchRejection::NotOne { count }) };
        if bytes.len() > rules.max_message_bytes {
            return Err(BatchRejection::TooLarge { actual: bytes.len(), limit: rules.max_message_bytes });
        }
        let checked = CheckedBatch::new(bytes)?;
        check_header(checked.header(), rules, now_ms)?;
        let header = *checked.header();
        let bytes = checked.into_bytes();
        if rules.timestamp_type == TimestampType::CreateTime {
            return Ok(Self { header, bytes, admitted_at_ms: now_ms });
        }
        let bytes = batch::rewrite_log_append_time(bytes, now_ms);
        let header = BatchHeader::decode(&bytes)?;
        Ok(Self { header, bytes, admitted_at_ms: now_ms })
    }

    /// A batch that the broker itself has built, from events or held records.
    ///
    /// # Errors
    /// If it is none.
    pub fn built(bytes: Bytes, now_ms: i64) -> Result<Self, BatchRejection> {
        let header = BatchHeader::decode(&bytes)?;
        debug_assert_eq!(batch::check(&bytes), Ok(header), "what the broker builds is intact");
        Ok(Self { header, bytes, admitted_at_ms: now_ms })
    }

    /// Its header.
    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// When it was admitted, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn admitted_at_ms(&self) -> i64 {
        self.admitted_at_ms
    }

    /// The time that its records were given by the broker, if the topic says so.
    pub(crate) fn log_append_time_ms(&self) -> Option<i64> {
        (self.header.timestamp_type() == TimestampType::LogAppendTime).then_some(self.header.max_timestamp)
    }
}

fn check_header(header: &BatchHeader, rules: &BatchRules, now_ms: i64) -> Result<(), BatchRejection> {
    if header.base_offset != 0 {
        return Err(BatchRejection::BaseOffset { found: header.base_offset });
    }
    if header.is_transactional() {
        return Err(BatchRejection::NoTransaction);
    }
    if header.timestamp_type() == TimestampType::LogAppendTime {
        return Err(BatchRejection::TimestampType);
    }
    if rules.timestamp_type == TimestampType::LogAppendTime {
        return Ok(());
    }
    let earliest_ms = now_ms.saturating_sub(rules.timestamp_before_max_ms);
    let latest_ms = now_ms.saturating_add(rules.timestamp_after_max_ms);
    for timestamp_ms in [header.base_timestamp, header.max_timestamp] {
        if timestamp_ms != NO_TIMESTAMP && !(earliest_ms..=latest_ms).contains(&timestamp_ms) {
            return Err(BatchRejection::TimestampOutOfRange { timestamp_ms, earliest_ms, latest_ms });
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
