//! Batches as producers send them to scheduled topics.

use bytes::Bytes;
use tidegate_log::{AdmittedBatch, BatchRules};
use tidegate_protocol::batch::{BatchOptions, Compression, Record, TimestampType, encode_batch};

use super::HEADER_SCHEDULE_ID;

pub(super) const PRODUCER: i64 = 77;

pub(super) fn record(value: &str, timestamp_ms: i64) -> Record {
    let value = Some(Bytes::copy_from_slice(value.as_bytes()));
    Record { timestamp_ms, key: Some(Bytes::from_static(b"k")), value, ..Record::default() }
}

pub(super) fn named(record: Record, schedule: &str) -> Record {
    let header = (HEADER_SCHEDULE_ID.to_owned(), Some(Bytes::copy_from_slice(schedule.as_bytes())));
    let mut headers = record.headers.clone();
    headers.push(header);
    Record { headers, ..record }
}

pub(super) fn cancel(schedule: &str, timestamp_ms: i64) -> Record {
    Record { value: None, key: None, ..named(record("", timestamp_ms), schedule) }
}

pub(super) fn encode(mut records: Vec<Record>, options: &BatchOptions) -> Bytes {
    for (delta, record) in (0..).zip(&mut records) {
        record.offset_delta = delta;
    }
    encode_batch(&records, options).expect("a batch")
}

pub(super) fn admit(bytes: &Bytes, now_ms: i64) -> AdmittedBatch {
    let rules = BatchRules {
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: i64::MAX,
        max_message_bytes: 64 << 20,
    };
    AdmittedBatch::new(bytes, &rules, now_ms).expect("a good batch")
}

pub(super) fn plain(records: Vec<Record>) -> Bytes {
    encode(records, &BatchOptions::default())
}

pub(super) fn compressed(records: Vec<Record>, compression: Compression) -> Bytes {
    encode(records, &BatchOptions { compression, ..BatchOptions::default() })
}

pub(super) fn idempotent(records: Vec<Record>, base_sequence: i32) -> Bytes {
    let options =
        BatchOptions { producer_id: PRODUCER, producer_epoch: 0, base_sequence, ..BatchOptions::default() };
    encode(records, &options)
}
