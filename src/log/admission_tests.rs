use tidegate_protocol::batch::{self, BatchError, BatchOptions, TimestampType};

use super::*;
use crate::fixture::{NOW_MS, RULES, payload};

fn refused(payload: &Bytes, rules: &BatchRules) -> BatchRejection {
    AdmittedBatch::new(payload, rules, NOW_MS).expect_err("a batch that breaks a rule")
}

fn plain() -> Bytes {
    payload(&[NOW_MS - 5, NOW_MS], BatchOptions::default())
}

#[test]
fn a_produced_batch_is_admitted_as_it_is() {
    let payload = plain();
    let admitted = AdmittedBatch::new(&payload, &RULES, NOW_MS).expect("a good batch");
    assert_eq!(admitted.bytes(), &payload);
    assert_eq!(admitted.bytes().as_ptr(), payload.as_ptr(), "nothing was copied");
}

#[test]
fn a_flipped_bit_anywhere_behind_the_length_is_corrupt() {
    let payload = plain();
    for at in 21..payload.len() {
        let mut broken = payload.to_vec();
        broken[at] ^= 0x10;
        let rejection = refused(&broken.into(), &RULES);
        assert!(matches!(rejection, BatchRejection::Batch(BatchError::Crc { .. })), "byte {at}: {rejection}");
    }
}

#[test]
fn a_request_brings_exactly_one_batch_for_a_partition() {
    assert_eq!(refused(&Bytes::new(), &RULES), BatchRejection::NotOne { count: 0 });
    let two = [plain(), plain()].concat();
    assert_eq!(refused(&two.into(), &RULES), BatchRejection::NotOne { count: 2 });
}

#[test]
fn what_a_producer_must_not_set_is_refused() {
    let with = |options| payload(&[NOW_MS], options);
    let based = with(BatchOptions { base_offset: 7, ..BatchOptions::default() });
    assert_eq!(refused(&based, &RULES), BatchRejection::BaseOffset { found: 7 });
    let transactional = with(BatchOptions { transactional: true, ..BatchOptions::default() });
    assert_eq!(refused(&transactional, &RULES), BatchRejection::NoTransaction);
    let control = with(BatchOptions { control: true, ..BatchOptions::default() });
    assert_eq!(refused(&control, &RULES), BatchError::Header { field: "control", value: 1 }.into());
    let typed =
        with(BatchOptions { timestamp_type: TimestampType::LogAppendTime, ..BatchOptions::default() });
    assert_eq!(refused(&typed, &RULES), BatchRejection::TimestampType);
}

#[test]
fn a_batch_over_the_topics_limit_is_refused_before_its_checksum_is_computed() {
    let payload = plain();
    let rules = BatchRules { max_message_bytes: payload.len() - 1, ..RULES };
    let too_large = BatchRejection::TooLarge { actual: payload.len(), limit: payload.len() - 1 };
    assert_eq!(refused(&payload, &rules), too_large);
    let mut broken = payload.to_vec();
    broken[30] ^= 1;
    assert_eq!(refused(&broken.into(), &rules), too_large);
}

#[test]
fn timestamps_outside_of_what_the_topic_takes_are_refused() {
    let rules = BatchRules { timestamp_before_max_ms: 1000, timestamp_after_max_ms: 10, ..RULES };
    let takes = |timestamps: &[i64]| {
        AdmittedBatch::new(&payload(timestamps, BatchOptions::default()), &rules, NOW_MS).is_ok()
    };
    assert!(takes(&[NOW_MS - 1000, NOW_MS + 10]));
    assert!(takes(&[batch::NO_TIMESTAMP]));
    assert!(!takes(&[NOW_MS - 1001]));
    assert!(!takes(&[NOW_MS, NOW_MS + 11]));
    assert!(!takes(&[i64::MAX]));
}

#[test]
fn on_a_log_append_time_topic_the_brokers_time_replaces_the_producers() {
    let rules =
        BatchRules { timestamp_type: TimestampType::LogAppendTime, timestamp_after_max_ms: 0, ..RULES };
    let payload = payload(&[1, NOW_MS + 99], BatchOptions::default());
    let admitted = AdmittedBatch::new(&payload, &rules, NOW_MS).expect("its own time does not matter");
    assert_eq!(admitted.log_append_time_ms(), Some(NOW_MS));
    assert_eq!(batch::check(admitted.bytes()), Ok(*admitted.header()));
    let records = batch::decode_records(admitted.bytes(), 1 << 20).expect("an intact batch");
    assert!(records.iter().all(|record| record.timestamp_ms == NOW_MS));
}
