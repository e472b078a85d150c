//! Scheduled topics: what is held, replaced and cancelled, and what a producer is answered.

use bytes::Bytes;
use tidegate_format::{EventValue, NameError, PartitionId, TimerKey};
use tidegate_log::{
    AdmittedBatch, AppendError, Appended, Appender, BatchRules, SequenceError, UNKNOWN_OFFSET,
};
use tidegate_protocol::batch::{
    BatchError, BatchHeader, BatchOptions, Compression, NO_TIMESTAMP, PREFIX_LEN, Record, TimestampType,
    encode_batch,
};
use tidegate_store::{MemoryStore, Store, Txn};

use super::*;
use crate::EntryIds;
use crate::fixture::{
    NOW_MS, Owner, create_topic, log_of, memory_store, own, partition, rows, values_of, waiting,
};

const PRODUCER: i64 = 77;

fn record(value: &str, timestamp_ms: i64) -> Record {
    let value = Some(Bytes::copy_from_slice(value.as_bytes()));
    Record { timestamp_ms, key: Some(Bytes::from_static(b"k")), value, ..Record::default() }
}

fn named(record: Record, schedule: &str) -> Record {
    let header = (HEADER_SCHEDULE_ID.to_owned(), Some(Bytes::copy_from_slice(schedule.as_bytes())));
    let mut headers = record.headers.clone();
    headers.push(header);
    Record { headers, ..record }
}

fn cancel(schedule: &str, timestamp_ms: i64) -> Record {
    Record { value: None, key: None, ..named(record("", timestamp_ms), schedule) }
}

fn encode(mut records: Vec<Record>, options: &BatchOptions) -> Bytes {
    for (delta, record) in (0..).zip(&mut records) {
        record.offset_delta = delta;
    }
    encode_batch(&records, options).expect("a batch")
}

fn admit(bytes: &Bytes, now_ms: i64) -> AdmittedBatch {
    let rules = BatchRules {
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: i64::MAX,
        max_message_bytes: 64 << 20,
    };
    AdmittedBatch::new(bytes, &rules, now_ms).expect("a good batch")
}

fn plain(records: Vec<Record>) -> Bytes {
    encode(records, &BatchOptions::default())
}

fn compressed(records: Vec<Record>, compression: Compression) -> Bytes {
    encode(records, &BatchOptions { compression, ..BatchOptions::default() })
}

fn idempotent(records: Vec<Record>, base_sequence: i32) -> Bytes {
    let options =
        BatchOptions { producer_id: PRODUCER, producer_epoch: 0, base_sequence, ..BatchOptions::default() };
    encode(records, &options)
}

/// Produces batches in one transaction, as a partition's owner does.
async fn produce_all<S: Store>(
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
        answers.push(apply(&mut txn, &mut appender, &mut entry_ids, &plan).await);
    }
    let _appends = appender.finish(&mut txn);
    txn.commit().await.expect("nobody else writes");
    answers
}

async fn produce<S: Store>(store: &S, owner: &Owner, batch: &Bytes) -> Applied {
    produce_all(store, owner, std::slice::from_ref(batch)).await.remove(0).expect("in sequence")
}

fn held(repeated: bool) -> Appended {
    Appended { base_offset: UNKNOWN_OFFSET, log_append_time_ms: None, repeated }
}

async fn topic_of_two() -> (MemoryStore, tidegate_store::ManualClock, Owner, Owner) {
    let (store, clock) = memory_store();
    create_topic(&store, 2).await;
    let owners = (Owner::of(&store, partition(0)).await, Owner::of(&store, partition(1)).await);
    (store, clock, owners.0, owners.1)
}

async fn dues_of<S: Store>(store: &S, id: PartitionId) -> Vec<i64> {
    let rows = rows(store, TimerKey::range(id)).await;
    rows.iter().map(|(key, _)| TimerKey::decode(key).expect("a key").due_ms).collect()
}

#[tokio::test]
async fn a_batch_with_nothing_to_hold_is_appended_byte_for_byte_as_it_came() {
    let (store, _, owner, _) = topic_of_two().await;
    for compression in Compression::ALL {
        let bytes =
            compressed(vec![record("a", NOW_MS), record("b", 0), record("c", NO_TIMESTAMP)], compression);
        let applied = produce(&store, &owner, &bytes).await;
        assert!(applied.appended.base_offset >= tidegate_format::Offset(0));
        let rows = rows(&store, tidegate_format::LogKey::range(partition(0))).await;
        let stored =
            tidegate_format::LogValue::decode(rows.last().expect("one").1.clone()).expect("a batch").batch;
        assert_eq!(stored[PREFIX_LEN..], bytes[PREFIX_LEN..], "{compression}");
    }
}

#[tokio::test]
async fn a_record_of_the_future_is_held_and_enters_the_log_when_it_is_due_as_it_was() {
    let (store, clock, mut owner, _) = topic_of_two().await;
    let mut future = record("later", NOW_MS + 10);
    future.headers = vec![("a".to_owned(), None), ("a".to_owned(), Some(Bytes::from_static(b"x")))];
    let applied = produce(&store, &owner, &plain(vec![record("now", NOW_MS), future.clone()])).await;
    assert_eq!((applied.appended, applied.touched), (held(false), vec![partition(0)]));
    assert_eq!(values_of(&store, partition(0)).await, ["now"]);
    clock.advance(9);
    assert_eq!(owner.turn(&store).await.next_due_ms, Some(NOW_MS + 10));
    clock.advance(1);
    assert_eq!(owner.turn(&store).await.records, 1);
    let log = log_of(&store, partition(0)).await;
    assert_eq!(log[1], future);
    assert_eq!(waiting(&store, partition(0)).await, (0, 0, 0));
}

#[tokio::test]
async fn records_due_in_one_millisecond_enter_the_log_in_the_order_in_which_they_came() {
    let (store, clock, mut owner, _) = topic_of_two().await;
    let batch = |names: &[&str]| plain(names.iter().map(|name| record(name, NOW_MS + 5)).collect());
    produce_all(&store, &owner, &[batch(&["a", "b"]), batch(&["c"]), batch(&["d", "e"])]).await;
    produce_all(&store, &owner, &[batch(&["f"])]).await;
    clock.advance(5);
    owner.drain(&store).await;
    assert_eq!(values_of(&store, partition(0)).await, ["a", "b", "c", "d", "e", "f"]);
}

#[tokio::test]
async fn a_cancel_works_at_any_timestamp_in_any_codec_without_a_key_and_from_any_partition() {
    let (store, clock, mut owner, mut other) = topic_of_two().await;
    for compression in Compression::ALL {
        for timestamp_ms in [NOW_MS, NOW_MS + 50, 0, NO_TIMESTAMP] {
            produce(&store, &owner, &plain(vec![named(record("v", NOW_MS + 10), "s")])).await;
            assert_eq!(waiting(&store, partition(0)).await, (0, 1, 1));
            let applied =
                produce(&store, &other, &compressed(vec![cancel("s", timestamp_ms)], compression)).await;
            assert_eq!((applied.appended, applied.touched), (held(false), vec![partition(0)]));
            assert_eq!(waiting(&store, partition(0)).await, (0, 0, 0), "{compression} at {timestamp_ms}");
        }
    }
    let applied =
        produce(&store, &other, &plain(vec![cancel("s", NOW_MS), cancel("never-there", NOW_MS)])).await;
    assert_eq!(
        (applied.appended, applied.touched),
        (held(false), vec![]),
        "cancelling what is gone succeeds"
    );
    clock.advance(100);
    assert_eq!((owner.drain(&store).await, other.drain(&store).await), (0, 0));
    assert_eq!(log_of(&store, partition(0)).await, []);
    assert_eq!(log_of(&store, partition(1)).await, [], "a cancel is never appended");
}

#[tokio::test]
async fn the_same_schedule_again_replaces_what_waits_whichever_partition_receives_it() {
    let (store, clock, mut owner, mut other) = topic_of_two().await;
    produce(&store, &owner, &plain(vec![named(record("v1", NOW_MS + 10), "s")])).await;
    let applied = produce(&store, &other, &plain(vec![named(record("v2", NOW_MS + 20), "s")])).await;
    assert_eq!(applied.touched, [partition(0), partition(1)]);
    assert!(dues_of(&store, partition(0)).await.is_empty());
    assert_eq!(dues_of(&store, partition(1)).await, [NOW_MS + 20]);
    produce(&store, &owner, &plain(vec![named(record("v3", NOW_MS), "s")])).await;
    assert_eq!(values_of(&store, partition(0)).await, ["v3"], "one that is due takes its place at once");
    clock.advance(100);
    assert_eq!((owner.drain(&store).await, other.drain(&store).await), (0, 0));
}

#[tokio::test]
async fn several_operations_on_one_schedule_in_one_batch_apply_in_order() {
    let hold = |value, due| named(record(value, NOW_MS + due), "s");
    let cases: [(Vec<Record>, &[i64], &[&str]); 6] = [
        (vec![hold("v1", 10), cancel("s", NOW_MS)], &[], &[]),
        (vec![cancel("s", NOW_MS), hold("v1", 10)], &[NOW_MS + 10], &[]),
        (vec![hold("v1", 10), hold("v2", 20), hold("v3", 15)], &[NOW_MS + 15], &[]),
        (vec![hold("v1", 10), hold("now", 0)], &[], &["now"]),
        (vec![hold("now", 0), hold("v1", 10)], &[NOW_MS + 10], &["now"]),
        (vec![hold("now", 0), cancel("s", NOW_MS), hold("again", 0)], &[], &["now", "again"]),
    ];
    for (records, dues, values) in cases {
        let (store, _, owner, other) = topic_of_two().await;
        produce(&store, &other, &plain(vec![hold("v0", 5)])).await;
        produce(&store, &owner, &plain(records)).await;
        assert_eq!(dues_of(&store, partition(0)).await, dues);
        assert!(dues_of(&store, partition(1)).await.is_empty(), "what waited before is replaced");
        assert_eq!(values_of(&store, partition(0)).await, values);
    }
}

#[tokio::test]
async fn several_batches_of_one_transaction_see_each_others_schedules() {
    let (store, _, owner, _) = topic_of_two().await;
    let batches = [plain(vec![named(record("v", NOW_MS + 10), "s")]), plain(vec![cancel("s", NOW_MS)])];
    produce_all(&store, &owner, &batches).await;
    assert_eq!(waiting(&store, partition(0)).await, (0, 0, 0));
}

/// A producer's batches: held as a whole, held in half, nothing held, and one that cancels.
fn batches_of_a_producer() -> [Bytes; 4] {
    [
        idempotent(vec![record("whole 1", NOW_MS + 10), named(record("whole 2", NOW_MS + 20), "s")], 0),
        idempotent(vec![record("half now", NOW_MS), record("half later", NOW_MS + 30)], 2),
        idempotent(vec![record("now", NOW_MS)], 4),
        idempotent(vec![cancel("s", NOW_MS)], 5),
    ]
}

#[tokio::test]
async fn a_repeated_batch_is_answered_as_the_first_time_and_does_nothing() {
    let (store, clock, mut owner, _) = topic_of_two().await;
    let batches = batches_of_a_producer();
    let mut first = Vec::new();
    for batch in &batches {
        first.push(produce(&store, &owner, batch).await.appended);
        let again = produce(&store, &owner, batch).await;
        assert_eq!(again.appended, Appended { repeated: true, ..first[first.len() - 1] }, "at once");
        assert_eq!(again.touched, []);
    }
    // Another puts something under the schedule that the producer's last batch cancelled: a repeat leaves it alone.
    produce(&store, &owner, &plain(vec![named(record("another", NOW_MS + 40), "s")])).await;
    for reopened in [false, true] {
        if reopened {
            owner = Owner { ownership: own(&store, partition(0)).await, ..owner };
        }
        for now_ms in [NOW_MS, NOW_MS + 15, NOW_MS + 30] {
            clock.set(now_ms);
            owner.drain(&store).await;
            for (batch, first) in batches.iter().zip(&first) {
                let again = produce(&store, &owner, batch).await;
                assert_eq!(again.appended, Appended { repeated: true, ..*first }, "at {now_ms}");
            }
        }
    }
    clock.set(NOW_MS + 100);
    owner.drain(&store).await;
    let expected = ["half now", "now", "whole 1", "half later", "another"];
    assert_eq!(values_of(&store, partition(0)).await, expected, "nothing twice, the cancelled one never");
    assert_eq!(waiting(&store, partition(0)).await, (0, 0, 0));
}

#[tokio::test]
async fn a_batch_out_of_sequence_holds_and_cancels_nothing() {
    let (store, _, owner, _) = topic_of_two().await;
    produce(&store, &owner, &idempotent(vec![named(record("v", NOW_MS + 10), "s")], 0)).await;
    let gap = idempotent(vec![record("x", NOW_MS + 10), cancel("s", NOW_MS)], 5);
    let answers = produce_all(&store, &owner, &[gap]).await;
    let refused =
        matches!(answers[0], Err(AppendError::Sequence(SequenceError::OutOfOrder { found: 5, .. })));
    assert!(refused, "{answers:?}");
    assert_eq!(waiting(&store, partition(0)).await, (0, 1, 1));
}

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

mod properties {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

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
            let schedule = schedule.map(|(_, value)| crate::fixture::text(value.as_ref()));
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
                        let rest = tidegate_protocol::batch::decode_records(rest.bytes(), 1 << 20);
                        prop_assert_eq!(rest.expect("records"), appended);
                    }
                }
            }
            prop_assert_eq!(held, expected);
        }
    }
}
