//! The relay: what it moves, when, and in which order.

use tidegate_format::PartitionIndex;
use tidegate_protocol::batch::{BatchHeader, Compression, TimestampType};

use super::*;
use crate::Event;
use crate::fixture::{
    NOW_MS, Owner, TOPIC, commit, create_topic, due, event, log_of, memory_store, own, partition, publish,
    scheduled, values_of, waiting,
};
use crate::schedule;

fn limited(records_max: usize) -> RelaySettings {
    let limits = RelayLimits { records_max, ..RelayLimits::default() };
    RelaySettings { limits, ..RelaySettings::default() }
}

#[tokio::test]
async fn due_events_enter_the_log_in_one_batch_and_leave_the_outbox() {
    let (store, _) = memory_store();
    create_topic(&store, 1).await;
    for value in ["a", "b", "c"] {
        publish(&store, event("k", value)).await.expect("published");
    }
    let mut owner = Owner::of(&store, partition(0)).await;
    let turn = owner.turn(&store).await;
    assert_eq!((turn.records, turn.more, turn.next_due_ms, turn.conflicts), (3, false, None, 0));
    let appends = turn.appends.expect("something was appended");
    assert_eq!(appends.entries.len(), 1);
    assert_eq!((appends.entries[0].base_offset.0, appends.entries[0].last_offset.0), (0, 2));
    assert_eq!(appends.state.next_offset.0, 3);
    let records = log_of(&store, partition(0)).await;
    assert_eq!(values_of(&store, partition(0)).await, ["a", "b", "c"]);
    assert!(records.iter().all(|record| record.timestamp_ms == NOW_MS && record.headers.len() == 5));
    assert_eq!(waiting(&store, partition(0)).await, (0, 0, 0));
}

#[tokio::test]
async fn a_turn_with_nothing_due_writes_nothing() {
    let (store, _) = memory_store();
    create_topic(&store, 1).await;
    publish(&store, due(event("k", "later"), NOW_MS + 10)).await.expect("published");
    let mut owner = Owner::of(&store, partition(0)).await;
    let versions = store.kept_versions();
    let turn = owner.turn(&store).await;
    let state = turn.state.clone();
    assert!(state.is_some(), "it says where the partition stands");
    assert_eq!(turn, Turn { next_due_ms: Some(NOW_MS + 10), state, ..Turn::default() });
    assert_eq!(store.kept_versions(), versions);
}

#[tokio::test]
async fn no_event_enters_the_log_before_it_is_due_and_all_do_in_due_order() {
    let (store, clock) = memory_store();
    create_topic(&store, 1).await;
    for delay_ms in [30, 10, 20, 10] {
        publish(&store, due(event("k", &delay_ms.to_string()), NOW_MS + delay_ms)).await.expect("published");
    }
    let mut owner = Owner::of(&store, partition(0)).await;
    let mut seen = Vec::new();
    for now_ms in NOW_MS..=NOW_MS + 40 {
        clock.set(now_ms);
        let turn = owner.turn(&store).await;
        seen.extend(turn.due_ms.iter().map(|due_ms| (*due_ms, now_ms)));
        assert!(turn.next_due_ms.is_none_or(|next_ms| next_ms > now_ms));
    }
    let on_time: Vec<_> =
        [10, 10, 20, 30].iter().map(|delay_ms| (NOW_MS + delay_ms, NOW_MS + delay_ms)).collect();
    assert_eq!(seen, on_time);
    assert_eq!(values_of(&store, partition(0)).await, ["10", "10", "20", "30"]);
    let records = log_of(&store, partition(0)).await;
    assert_eq!(records[3].timestamp_ms, NOW_MS + 30, "the timestamp is the due time");
}

#[tokio::test]
async fn what_became_due_earlier_enters_the_log_earlier_whether_it_waited_or_not() {
    let (store, clock) = memory_store();
    create_topic(&store, 1).await;
    publish(&store, due(event("k", "due at 10"), NOW_MS + 10)).await.expect("published");
    publish(&store, due(event("k", "due at 30"), NOW_MS + 30)).await.expect("published");
    publish(&store, event("k", "committed at 0")).await.expect("published");
    clock.advance(20);
    publish(&store, event("k", "committed at 20")).await.expect("published");
    clock.advance(20);
    let mut owner = Owner::of(&store, partition(0)).await;
    while owner.turn_with(&store, &limited(1)).await.more {}
    let expected = ["committed at 0", "due at 10", "committed at 20", "due at 30"];
    assert_eq!(values_of(&store, partition(0)).await, expected);
}

#[tokio::test]
async fn a_turn_is_bounded_in_records_and_in_bytes_and_says_that_there_is_more() {
    let (store, clock) = memory_store();
    create_topic(&store, 1).await;
    for n in 0..10 {
        let later = due(event("k", &format!("timer {n}")), NOW_MS + 1);
        publish(&store, if n % 2 == 0 { event("k", &format!("event {n}")) } else { later })
            .await
            .expect("published");
    }
    clock.advance(1);
    let mut owner = Owner::of(&store, partition(0)).await;
    let turn = owner.turn_with(&store, &limited(3)).await;
    assert_eq!((turn.records, turn.more), (3, true));
    let limits = RelayLimits { bytes_max: 1, ..RelayLimits::default() };
    let one_byte = RelaySettings { limits, ..RelaySettings::default() };
    let turn = owner.turn_with(&store, &one_byte).await;
    assert_eq!((turn.records, turn.more), (1, true), "a limit below one event's size lets one through");
    assert_eq!(owner.turn_with(&store, &limited(6)).await.records, 6);
    let turn = owner.turn(&store).await;
    assert_eq!((turn.records, turn.more), (0, false));
}

#[tokio::test]
async fn a_turn_filled_by_an_event_and_timer_entries_says_that_more_timer_entries_are_due() {
    let (store, clock) = memory_store();
    create_topic(&store, 1).await;
    publish(&store, event("k", "event")).await.expect("published");
    for n in 1..=3 {
        publish(&store, due(event("k", &format!("timer {n}")), NOW_MS + n)).await.expect("published");
    }
    clock.advance(10);
    let mut owner = Owner::of(&store, partition(0)).await;
    let turn = owner.turn_with(&store, &limited(3)).await;
    assert_eq!((turn.records, turn.more, turn.next_due_ms), (3, true, Some(NOW_MS + 3)));
    let turn = owner.turn_with(&store, &limited(3)).await;
    assert_eq!((turn.records, turn.more, turn.next_due_ms), (1, false, None));
}

#[tokio::test]
async fn the_events_of_one_transaction_may_be_moved_by_several_turns() {
    let (store, clock) = memory_store();
    create_topic(&store, 1).await;
    let names: Vec<String> = (0..7).map(|n| n.to_string()).collect();
    for due_ms in [None, Some(NOW_MS + 1)] {
        commit(&store, async |publisher, txn| {
            for name in &names {
                publisher.publish(txn, &Event { due_ms, ..event("k", name) }).await.expect("published");
            }
        })
        .await;
    }
    clock.advance(1);
    let mut owner = Owner::of(&store, partition(0)).await;
    while owner.turn_with(&store, &limited(3)).await.more {}
    assert_eq!(values_of(&store, partition(0)).await, [names.as_slice(), &names].concat());
}

#[tokio::test]
async fn batches_stay_within_their_size_and_a_larger_record_is_alone() {
    let (store, _) = memory_store();
    create_topic(&store, 1).await;
    let large = "x".repeat(5_000);
    for value in ["a", "b", &large, "c", "d"] {
        publish(&store, event("k", value)).await.expect("published");
    }
    let limits = RelayLimits { batch_bytes_max: 2_000, ..RelayLimits::default() };
    let mut owner = Owner::of(&store, partition(0)).await;
    let turn = owner.turn_with(&store, &RelaySettings { limits, ..RelaySettings::default() }).await;
    let entries = turn.appends.expect("something was appended").entries;
    let counts: Vec<i64> =
        entries.iter().map(|entry| entry.last_offset.0 - entry.base_offset.0 + 1).collect();
    assert_eq!(counts, [2, 1, 2]);
    assert!([0, 2].iter().all(|n| entries[*n].batch.len() <= 2_000));
    assert_eq!(values_of(&store, partition(0)).await, ["a", "b", &large, "c", "d"]);
}

#[tokio::test]
async fn batches_are_as_the_topic_is_configured() {
    let (store, clock) = memory_store();
    create_topic(&store, 1).await;
    let mut owner = Owner::of(&store, partition(0)).await;
    for compression in Compression::ALL {
        publish(&store, due(event("k", "a"), store_now(&clock) + 5)).await.expect("published");
        publish(&store, due(event("k", "b"), store_now(&clock) + 6)).await.expect("published");
        clock.advance(10);
        let timestamp_type = TimestampType::LogAppendTime;
        let settings = RelaySettings { compression, timestamp_type, ..RelaySettings::default() };
        let entries = owner.turn_with(&store, &settings).await.appends.expect("two records").entries;
        let header = BatchHeader::decode(&entries[0].batch).expect("a batch");
        assert_eq!(header.compression(), Ok(compression));
        assert_eq!(header.timestamp_type(), timestamp_type);
        assert_eq!((header.max_timestamp, header.has_producer_id()), (store_now(&clock), false));
    }
    assert_eq!(log_of(&store, partition(0)).await.len(), 2 * Compression::ALL.len());
}

fn store_now(clock: &tidegate_store::ManualClock) -> i64 {
    tidegate_store::Clock::now_ms(clock)
}

#[tokio::test]
async fn a_moved_entry_takes_its_schedules_row_along_and_can_be_cancelled_no_more() {
    let (store, clock) = memory_store();
    create_topic(&store, 1).await;
    publish(&store, scheduled(event("k", "v"), "s", NOW_MS + 1)).await.expect("published");
    clock.advance(1);
    let mut owner = Owner::of(&store, partition(0)).await;
    assert_eq!(owner.turn(&store).await.records, 1);
    assert_eq!(waiting(&store, partition(0)).await, (0, 0, 0));
    let cancelled = commit(&store, async |_, txn| schedule::cancel(txn, TOPIC, "s").await).await;
    assert_eq!(cancelled, Ok(None));
    assert_eq!(values_of(&store, partition(0)).await, ["v"]);
}

#[tokio::test]
async fn partitions_do_not_see_each_others_entries() {
    let (store, clock) = memory_store();
    create_topic(&store, 3).await;
    for n in 0..30 {
        let key = n.to_string();
        let later = due(event(&key, &key), NOW_MS + 1);
        publish(&store, if n % 2 == 0 { event(&key, &key) } else { later }).await.expect("published");
    }
    clock.advance(1);
    let mut moved = 0;
    for index in 0..3 {
        let id = tidegate_format::PartitionId { topic: TOPIC, partition: PartitionIndex(index) };
        let mut owner = Owner { ownership: own(&store, id).await, relay: Relay::new(id) };
        let records = owner.drain(&store).await;
        assert_eq!(log_of(&store, id).await.len(), records);
        assert!(records > 0);
        moved += records;
    }
    assert_eq!(moved, 30);
}
