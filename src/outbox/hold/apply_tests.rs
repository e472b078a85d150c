//! What is held, replaced and cancelled, and what a producer is answered.

use bytes::Bytes;
use tidegate_format::{PartitionId, TimerKey};
use tidegate_log::{AppendError, Appended, Appender, SequenceError, UNKNOWN_OFFSET};
use tidegate_protocol::batch::{Compression, NO_TIMESTAMP, PREFIX_LEN, Record};
use tidegate_store::{MemoryStore, Store, Txn};

use crate::EntryIds;
use crate::fixture::{
    Backend, Embedded, InMemory, NOW_MS, Owner, create_topic, log_of, memory_store, partition, rows,
    values_of, waiting,
};
use crate::hold::fixture::{
    admit, cancel, compressed, idempotent, named, plain, produce, produce_all, record,
};
use crate::hold::{HoldRules, apply, plan};

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
async fn a_record_that_came_due_while_its_batch_waited_for_its_turn_is_found_by_the_relay() {
    let (store, clock, mut owner, _) = topic_of_two().await;
    let planned =
        plan(admit(&plain(vec![record("waited", NOW_MS + 10)]), NOW_MS), &HoldRules::default(), NOW_MS)
            .expect("a good batch");
    clock.advance(10_000);
    owner.drain(&store).await;
    let mut txn = store.begin().await.expect("a snapshot");
    let mut appender = Appender::begin(&mut txn, &owner.ownership).await.expect("the owner");
    let mut entry_ids = EntryIds::new(&txn, 1);
    apply(&mut txn, &mut appender, &mut entry_ids, &planned, store.now_ms()).await.expect("in sequence");
    let _appends = appender.finish(&mut txn);
    txn.commit().await.expect("nobody else writes");
    let turn = owner.turn(&store).await;
    assert_eq!((turn.records, turn.late), (1, 0));
    assert_eq!(log_of(&store, partition(0)).await[0].timestamp_ms, NOW_MS + 10, "as it was given");
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

async fn check_repeats<B: Backend>(backend: B) {
    let (mut store, clock) = (backend.open(), backend.clock());
    create_topic(&store, 1).await;
    let mut owner = Owner::of(&store, partition(0)).await;
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
    for now_ms in [NOW_MS, NOW_MS + 15, NOW_MS + 30, NOW_MS + 100] {
        clock.set(now_ms);
        for (batch, first) in batches.iter().zip(&first) {
            let again = produce(&store, &owner, batch).await;
            assert_eq!(again.appended, Appended { repeated: true, ..*first }, "before the relay at {now_ms}");
        }
        owner.drain(&store).await;
        store = backend.reopen(&store).await;
        owner = Owner::of(&store, partition(0)).await;
        for (batch, first) in batches.iter().zip(&first) {
            let again = produce(&store, &owner, batch).await;
            assert_eq!(again.appended, Appended { repeated: true, ..*first }, "reopened at {now_ms}");
        }
    }
    let expected = ["half now", "now", "whole 1", "half later", "another"];
    assert_eq!(values_of(&store, partition(0)).await, expected, "nothing twice, the cancelled one never");
    assert_eq!(waiting(&store, partition(0)).await, (0, 0, 0));
}

#[tokio::test]
async fn a_batch_held_in_whole_or_in_half_is_answered_as_the_first_time_and_does_nothing_again() {
    check_repeats(InMemory::new()).await;
    check_repeats(Embedded::new()).await;
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
