//! Between records as they are read and as they are parked.

use std::sync::Arc;

use tidegate_format::ParkedValue;

use crate::{ConsumerRecord, TopicPartition};

/// The longest cause that is kept, in bytes.
const CAUSE_MAX_BYTES: usize = 1024;

/// The row of a record that has failed so often.
pub(crate) fn failed(
    record: &ConsumerRecord,
    failures: u32,
    due_ms: i64,
    cause: Option<String>,
) -> ParkedValue {
    ParkedValue {
        attempts: failures,
        due_ms,
        cause: cause.map(short),
        timestamp_ms: record.timestamp_ms,
        key: record.key.clone(),
        value: record.value.clone(),
        headers: record.headers.clone(),
    }
}

/// The row of a record that waits behind another of its key: due once that is dealt with.
pub(crate) fn behind(record: &ConsumerRecord) -> ParkedValue {
    failed(record, 0, 0, None)
}

/// The record of a row.
pub(crate) fn record(at: &TopicPartition, offset: i64, row: ParkedValue) -> ConsumerRecord {
    ConsumerRecord {
        topic: Arc::from(at.topic.as_str()),
        partition: at.partition,
        offset,
        timestamp_ms: row.timestamp_ms,
        key: row.key,
        value: row.value,
        headers: row.headers,
    }
}

/// A cause that is not too long to be kept.
pub(crate) fn short(mut cause: String) -> String {
    cause.truncate(cause.floor_char_boundary(CAUSE_MAX_BYTES));
    cause
}
