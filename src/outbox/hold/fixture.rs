//! Batches as producers send them to scheduled topics.

use bytes::Bytes;
use tidegate_log::{AdmittedBatch, AppendError, Appender, BatchRules};
use tidegate_protocol::batch::{BatchOptions, Compression, Record, TimestampType, encode_batch};

use tidegate_store::{Store, Txn};

use super::{Applied, HEADER_SCHEDULE_ID, HoldRules, apply, plan};
use crate::EntryIds;
use crate::fixture::Owner;

pub(crate) const PRODUCER: i64 = 77;

pub(crate) fn record(value: &str, timestamp_ms: i64) -> Record {
    let value = Some(Bytes::copy_from_slice(value.as_bytes()));
    Record { timestamp_ms, key: Some(Bytes::from_static(b"k")), value, ..Record::default() }
}

pub(crate) fn named(record: Record, schedule: &str) -> Record {
    let header = (HEADER_SCHEDULE_ID.to_owned(), Some(Bytes::copy_from_slice(schedule.as_bytes())));
    let mut headers = record.headers.clone();
    headers.push(header);
    Record { headers, ..record }
}

pub(crate) fn cancel(schedule: &str, timestamp_ms: i64) -> Record {
    Record { value: None, key: None, ..named(record("", timestamp_ms), schedule) }
}

pub(crate) fn encode(mut records: Vec<Record>, options: &BatchOptions) -> Bytes {
    for (delta, record) in (0..).zip(&mut records) {
        record.offset_delta = delta;
    }
    encode_batch(&records, options).expect("a batch")
}

pub(crate) fn admit(bytes: &Bytes, now_ms: i64) -> AdmittedBatch {
    let rules = BatchRules {
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: i64::MAX,
        max_message_bytes: 64 << 20,
    };
    AdmittedBatch::new(bytes, &rules, now_ms).expect("a good batch")
}

pub(crate) fn plain(records: Vec<Record>) -> Bytes {
    encode(records, &BatchOptions::default())
}

pub(crate) fn compressed(records: Vec<Record>, compression: Compression) -> Bytes {
    encode(records, &BatchOptions { compression, ..BatchOptions::default() })
}

pub(crate) fn idempotent(records: Vec<Record>, base_sequence: i32) -> Bytes {
    let options =
        BatchOptions { producer_id: PRODUCER, producer_epoch: 0, base_sequence, ..BatchOptions::default() };
    encode(records, &options)
}

/// Produces batches in one transaction, as a partition's owner does.
pub(crate) async fn produce_all<S: Store>(
    store: &S,
    owner: &Owner,
    batches: &[Bytes],
) -> Vec<Result<Applied, AppendError>> {
    let mut txn = store.begin().await.expect("a snapshot");
    let mut appender = Appender::begin(&mut txn, &owner.ownership).await.expect("the owner");
    let mut entry_ids = EntryIds::new(&txn, 1);
    let mut answers = Vec::new();
    for batch in batches {
        let now_ms = store.now_ms();
        let plan = plan(admit(batch, now_ms), &HoldRules::default(), now_ms).expect("a good batch");
        answers.push(apply(&mut txn, &mut appender, &mut entry_ids, &plan, now_ms).await);
    }
    let _appends = appender.finish(&mut txn);
    txn.commit().await.expect("nobody else writes");
    answers
}

pub(crate) async fn produce<S: Store>(store: &S, owner: &Owner, batch: &Bytes) -> Applied {
    produce_all(store, owner, std::slice::from_ref(batch)).await.remove(0).expect("in sequence")
}
