//! What a scheduled topic refuses, and what it plans, against record after record.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use tidegate_format::{EventValue, NameError};
use tidegate_log::BatchRejection;
use tidegate_protocol::batch::{
    BatchError, BatchHeader, BatchOptions, Compression, NO_TIMESTAMP, Record, decode_records,
};

use super::*;
use crate::fixture::{NOW_MS, text};
use crate::hold::fixture::{PRODUCER, admit, compressed, encode, named, plain, record};

#[test]
fn what_a_scheduled_topic_does_not_take_is_refused_with_its_reason() {
    let rules = HoldRules::default();
    let latest_ms = NOW_MS + rules.timestamp_after_max_ms;
    let out_of_range = |timestamp_ms, earliest_ms| {
        HoldRejection::from(BatchRejection::TimestampOutOfRange { timestamp_ms, earliest_ms, latest_ms })
    };
    let earliest_ms = NOW_MS.saturating_sub(i64::MAX);
    let in_nanoseconds = NOW_MS * 1_000_000;
    let headers = vec![(HEADER_SCHEDULE_ID.to_owned(), Some(Bytes::from_static(&[0xFF])))];
    let not_text = Record { headers, ..record("v", NOW_MS) };
    let headers = vec![(HEADER_SCHEDULE_ID.to_owned(), None)];
    let null = Record { headers, ..record("v", NOW_MS) };
    let empty = HoldRejection::ScheduleName { index: 1, cause: NameError::Empty { what: "schedule id" } };
    let too_long = NameError::TooLong { what: "schedule id", actual: 513, limit: 512 };
    let too_long = HoldRejection::ScheduleName { index: 1, cause: too_long };
    let cases = [
        (record("v", in_nanoseconds), out_of_range(in_nanoseconds, earliest_ms)),
        (record("v", latest_ms + 1), out_of_range(latest_ms + 1, earliest_ms)),
        (named(record("v", NOW_MS), ""), empty.clone()),
        (null, empty),
        (named(record("v", NOW_MS), &"s".repeat(513)), too_long),
        (not_text, HoldRejection::ScheduleNotText { index: 1 }),
    ];
    for (bad, reason) in cases {
        let batch = admit(&plain(vec![record("good", NOW_MS), bad]), NOW_MS);
        assert_eq!(plan(batch, &rules, NOW_MS).expect_err("refused"), reason);
    }
    let latest = admit(&plain(vec![record("v", latest_ms)]), NOW_MS);
    assert!(plan(latest, &rules, NOW_MS).is_ok());
    let recent = HoldRules { timestamp_before_max_ms: 10, ..rules };
    let old = admit(&plain(vec![record("v", NOW_MS - 11)]), NOW_MS);
    assert_eq!(plan(old, &recent, NOW_MS).expect_err("refused"), out_of_range(NOW_MS - 11, NOW_MS - 10));
}

#[test]
fn a_record_that_would_be_too_large_once_it_is_due_is_refused_when_it_comes() {
    let later = || vec![record("small", NOW_MS + 10), record(&"x".repeat(5_000), NOW_MS + 10)];
    let squeezed = compressed(later(), Compression::Zstd);
    assert!(squeezed.len() < 500, "it came in a small batch");
    let large = plain(vec![later().remove(1)]).len();
    let held_with = |max_message_bytes| {
        let rules = HoldRules { max_message_bytes, ..HoldRules::default() };
        plan(admit(&squeezed, NOW_MS), &rules, NOW_MS)
    };
    assert!(matches!(held_with(large), Ok(Plan::Held { .. })), "it just fits");
    let refused = held_with(large - 1).expect_err("a byte too large");
    assert_eq!(refused, HoldRejection::TooLarge { index: 1, actual: large, limit: large - 1 });
    let now = compressed(vec![record(&"x".repeat(5_000), NOW_MS)], Compression::Zstd);
    let rules = HoldRules { max_message_bytes: 500, ..HoldRules::default() };
    assert!(plan(admit(&now, NOW_MS), &rules, NOW_MS).is_ok(), "what is not held stays compressed");
}

#[test]
fn of_several_schedule_ids_of_one_record_the_last_one_counts() {
    let record = named(named(record("v", NOW_MS + 10), "first"), "last");
    let planned = plan(admit(&plain(vec![record]), NOW_MS), &HoldRules::default(), NOW_MS);
    let Ok(Plan::Held { operations, .. }) = planned else { panic!("held: {planned:?}") };
    let [Operation::Hold { value, .. }] = operations.as_slice() else { panic!("one record: {operations:?}") };
    assert_eq!(value.schedule.as_deref(), Some("last"));
    assert_eq!(value.headers.len(), 2, "it stays as it was");
}

#[test]
fn a_header_that_hides_a_future_timestamp_does_not_smuggle_a_record_into_the_log() {
    let mut bytes = plain(vec![record("v", NOW_MS + 10)]).to_vec();
    bytes[35..43].copy_from_slice(&NOW_MS.to_be_bytes());
    let crc = crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    let batch = admit(&bytes.into(), NOW_MS);
    assert_eq!(batch.header().max_timestamp, NOW_MS);
    let plan = plan(batch, &HoldRules::default(), NOW_MS).expect("a good batch");
    assert!(matches!(plan, Plan::Held { rest: None, .. }), "{plan:?}");
}

/// CRC32C, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82F6_3B78 * (crc & 1)))
    })
}

#[test]
fn a_batch_that_decompresses_to_more_than_allowed_is_refused() {
    let rules = HoldRules { decompressed_max_bytes: 10_000, ..HoldRules::default() };
    for compression in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let bomb = admit(&compressed(vec![record(&"x".repeat(20_000), NOW_MS)], compression), NOW_MS);
        let refused = plan(bomb, &rules, NOW_MS).expect_err("refused");
        let too_large = BatchError::TooLarge { limit: 10_000 };
        assert_eq!(refused, HoldRejection::Batch(BatchRejection::Batch(too_large)), "{compression}");
    }
}

fn any_record() -> impl Strategy<Value = Record> {
    let value = proptest::option::weighted(0.8, "[a-z]{0,12}");
    let schedule = proptest::option::weighted(0.4, "[a-c]");
    let timestamp = prop_oneof![Just(NO_TIMESTAMP), Just(NOW_MS), NOW_MS - 50..NOW_MS + 50];
    (timestamp, proptest::option::of("[a-z]{0,3}"), value, schedule, 0..3_usize).prop_map(
        |(timestamp_ms, key, value, schedule, headers)| {
            let headers = (0..headers).map(|n| (format!("h{n}"), None)).collect();
            let (key, value) = (key.map(Bytes::from), value.map(Bytes::from));
            let record = Record { offset_delta: 0, timestamp_ms, key, value, headers };
            match schedule {
                Some(schedule) => named(record, &schedule),
                None => record,
            }
        },
    )
}

/// What a partition and its topic hold, as a list of plain values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Held {
    named: BTreeMap<String, EventValue>,
    unnamed: Vec<EventValue>,
}

impl Held {
    /// The rule for one record: whether it is appended, and what is held then.
    fn take(&mut self, record: &Record) -> bool {
        let schedule = record.headers.iter().rev().find(|(name, _)| name == HEADER_SCHEDULE_ID);
        let schedule = schedule.map(|(_, value)| text(value.as_ref()));
        if let Some(schedule) = &schedule {
            self.named.remove(schedule);
            if record.value.is_none() {
                return false;
            }
        }
        if record.timestamp_ms <= NOW_MS {
            return true;
        }
        let value = EventValue {
            schedule: schedule.clone(),
            timestamp_ms: Some(record.timestamp_ms),
            key: record.key.clone(),
            value: record.value.clone(),
            headers: record.headers.clone(),
        };
        match schedule {
            Some(schedule) => drop(self.named.insert(schedule, value)),
            None => self.unnamed.push(value),
        }
        false
    }

    fn carry_out(&mut self, operation: &Operation) {
        match operation {
            Operation::Hold { due_ms, value } => {
                assert_eq!(Some(*due_ms), value.timestamp_ms);
                match &value.schedule {
                    Some(schedule) => drop(self.named.insert(schedule.clone(), value.clone())),
                    None => self.unnamed.push(value.clone()),
                }
            }
            Operation::Clear { schedule } => drop(self.named.remove(schedule)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_does_what_record_after_record_would(
        records in proptest::collection::vec(any_record(), 1..24),
        codec in 0..5_usize,
        base_sequence in proptest::option::of(0..i32::MAX),
        before in proptest::collection::btree_set("[a-d]", 0..4),
    ) {
        let compression = Compression::ALL[codec];
        let options = BatchOptions {
            compression,
            producer_id: base_sequence.map_or(-1, |_| PRODUCER),
            producer_epoch: base_sequence.map_or(-1, |_| 3),
            base_sequence: base_sequence.unwrap_or(-1),
            ..BatchOptions::default()
        };
        let bytes = encode(records.clone(), &options);
        let mut expected = Held::default();
        for schedule in before {
            expected.named.insert(schedule, EventValue::default());
        }
        let mut held = expected.clone();
        let appended: Vec<Record> = (0..)
            .zip(records.iter().filter(|record| expected.take(record)))
            .map(|(offset_delta, record)| Record { offset_delta, ..record.clone() })
            .collect();
        match plan(admit(&bytes, NOW_MS), &HoldRules::default(), NOW_MS).expect("a good batch") {
            Plan::AsItCame(batch) => {
                prop_assert_eq!(batch.bytes(), &bytes);
                prop_assert_eq!(appended.len(), records.len());
                let named = |(name, _): &(String, _)| name == HEADER_SCHEDULE_ID;
                prop_assert!(!records.iter().any(|record| record.headers.iter().any(named)));
            }
            Plan::Held { whole, rest, operations } => {
                prop_assert_eq!(whole.bytes(), &bytes);
                for operation in &operations {
                    held.carry_out(operation);
                }
                prop_assert_eq!(rest.is_some(), !appended.is_empty());
                if let Some(rest) = rest {
                    let header = BatchHeader::decode(rest.bytes()).expect("a header");
                    prop_assert!(!header.has_producer_id());
                    prop_assert_eq!(header.compression(), Ok(compression));
                    let rest = decode_records(rest.bytes(), 1 << 20);
                    prop_assert_eq!(rest.expect("records"), appended);
                }
            }
        }
        prop_assert_eq!(held, expected);
    }
}
