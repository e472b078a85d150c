//! The relay: what it moves, in which order, and what may come between.

use tidegate_format::{BrokerId, OutboxKey, PartitionIndex};
use tidegate_log::take_ownership;
use tidegate_protocol::batch::{BatchHeader, Compression, TimestampType};
use tidegate_store::faulty::{CommitFault, On, Point};
use tidegate_store::{FaultyStore, KeyRange, MemoryStore, ReadError};

use super::*;
use crate::fixture::{
    NOW_MS, Owner, TOPIC, commit, create_topic, due, event, faulty, log_of, memory_store, own, partition,
    publish, scheduled, values_of, waiting,
};

fn limited(records_max: usize) -> RelaySettings {
    let limits = RelayLimits { records_max, ..RelayLimits::default() };
    RelaySettings { limits, ..RelaySettings::default() }
}

/// A store that fails on demand, with its clock.
fn faulty_store() -> (FaultyStore<MemoryStore>, tidegate_store::ManualClock) {
    let (store, clock) = memory_store();
    (faulty(store), clock)
}

/// The operations on the partition's state row, which only its owner writes.
fn of_owner() -> On {
    let state = tidegate_format::PartitionStateKey { id: partition(0) }.encode();
    On::next().touching(KeyRange::new(state.clone(), KeyRange::successor(&state)))
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
    assert_eq!(turn, Turn { next_due_ms: Some(NOW_MS + 10), ..Turn::default() });
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
async fn a_cancel_during_a_turn_halves_it_and_the_others_are_moved() {
    let (store, clock) = faulty_store();
    create_topic(&store, 1).await;
    for n in 0..8 {
        let name = n.to_string();
        publish(&store, scheduled(event("k", &name), &name, NOW_MS + 1)).await.expect("published");
    }
    clock.advance(1);
    let mut owner = Owner::of(&store, partition(0)).await;
    let mut gate = store.faults().hold(of_owner(), Point::BeforeCommit);
    let turning = async { owner.turn(&store).await };
    let cancelling = async {
        gate.reached().await;
        commit(&store, async |_, txn| schedule::cancel(txn, TOPIC, "7").await).await.expect("cancelled");
        gate.release();
    };
    let (turn, ()) = tokio::join!(turning, cancelling);
    assert_eq!((turn.records, turn.conflicts, turn.more), (4, 1, true));
    let turn = owner.turn(&store).await;
    assert_eq!((turn.records, turn.conflicts, turn.more), (3, 0, false));
    assert_eq!(values_of(&store, partition(0)).await, ["0", "1", "2", "3", "4", "5", "6"]);
}

#[tokio::test]
async fn a_turn_that_meets_conflicts_only_gives_up_and_the_next_takes_one_entry() {
    let (store, _) = faulty_store();
    create_topic(&store, 1).await;
    for n in 0..8 {
        publish(&store, event("k", &n.to_string())).await.expect("published");
    }
    let mut owner = Owner::of(&store, partition(0)).await;
    let limits = RelayLimits { attempts_max: 5, ..RelayLimits::default() };
    for _ in 0..limits.attempts_max {
        store.faults().fail_commit(of_owner(), CommitFault::Refused(CommitError::Conflict));
    }
    let settings = RelaySettings { limits, ..RelaySettings::default() };
    let turn = owner.turn_with(&store, &settings).await;
    assert_eq!((turn.records, turn.conflicts, turn.more), (0, 5, true));
    let taken: Vec<usize> = vec![
        owner.turn(&store).await.records,
        owner.turn(&store).await.records,
        owner.turn(&store).await.records,
        owner.turn(&store).await.records,
    ];
    assert_eq!(taken, [1, 2, 4, 1], "doubled by each commit");
}

#[tokio::test]
async fn a_lost_answer_is_settled_and_nothing_is_appended_twice() {
    for (fault, conflicts) in [(CommitFault::LostApplied, 0), (CommitFault::LostNotApplied, 1)] {
        let (store, _) = faulty_store();
        create_topic(&store, 1).await;
        publish(&store, event("k", "v")).await.expect("published");
        let mut owner = Owner::of(&store, partition(0)).await;
        store.faults().fail_commit(of_owner(), fault.clone());
        let turn = owner.turn(&store).await;
        assert_eq!((turn.records, turn.conflicts), (1, conflicts), "{fault:?}");
        assert_eq!(turn.appends.expect("one record").entries[0].base_offset.0, 0);
        assert_eq!(owner.turn(&store).await.records, 0);
        assert_eq!(values_of(&store, partition(0)).await, ["v"], "{fault:?}");
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_settled_now_is_settled_by_the_next_turn() {
    for (fault, late) in [(CommitFault::LostApplied, false), (CommitFault::LostLate, true)] {
        let (store, _) = faulty_store();
        create_topic(&store, 1).await;
        for value in ["a", "b"] {
            publish(&store, event("k", value)).await.expect("published");
        }
        let mut owner = Owner::of(&store, partition(0)).await;
        store.faults().fail_commit(of_owner(), fault.clone());
        let mut gate = store.faults().hold(of_owner(), Point::AfterCommit);
        let settings = limited(1);
        let turning = owner.relay.turn(&store, &owner.ownership, NOW_MS, &settings);
        let leaving = async {
            gate.reached().await;
            store.faults().go_away();
            gate.release();
        };
        let (turn, ()) = tokio::join!(turning, leaving);
        assert!(matches!(turn, Err(RelayError::Commit(CommitError::Unknown { .. }))), "{turn:?}");
        store.faults().come_back();
        let turn = owner.turn_with(&store, &settings).await;
        let base_offset = turn.appends.expect("the first record").entries[0].base_offset.0;
        assert_eq!((turn.records, base_offset, turn.conflicts), (1, 0, 0));
        if late {
            assert_eq!(store.deliver_late().await, Some(Err(CommitError::Conflict)));
        }
        assert_eq!(owner.drain(&store).await, 1);
        assert_eq!(values_of(&store, partition(0)).await, ["a", "b"], "{fault:?}");
    }
}

#[tokio::test]
async fn a_store_that_is_away_fails_the_turn_and_the_next_goes_on() {
    let (store, _) = faulty_store();
    create_topic(&store, 1).await;
    publish(&store, event("k", "v")).await.expect("published");
    let mut owner = Owner::of(&store, partition(0)).await;
    let settings = RelaySettings::default();
    store.faults().go_away();
    let turn = owner.relay.turn(&store, &owner.ownership, NOW_MS, &settings).await;
    assert!(matches!(turn, Err(RelayError::Log(LogError::Read(ReadError::Unavailable { .. })))), "{turn:?}");
    store.faults().come_back();
    let full = CommitError::DiskFull { reserve_bytes: 1 };
    store.faults().fail_commit(of_owner(), CommitFault::Refused(full.clone()));
    let turn = owner.relay.turn(&store, &owner.ownership, NOW_MS, &settings).await;
    assert_eq!(turn, Err(RelayError::Commit(full)));
    assert_eq!(owner.drain(&store).await, 1);
    assert_eq!(values_of(&store, partition(0)).await, ["v"]);
}

#[tokio::test]
async fn a_transaction_too_large_for_the_store_is_made_smaller() {
    let (store, _) = faulty_store();
    create_topic(&store, 1).await;
    for value in ["a", "b"] {
        publish(&store, event("k", value)).await.expect("published");
    }
    let mut owner = Owner::of(&store, partition(0)).await;
    let too_large = CommitError::TooLarge { what: "transaction", actual: 2, limit: 1 };
    store.faults().fail_commit(of_owner(), CommitFault::Refused(too_large));
    assert_eq!(owner.turn(&store).await.records, 1);
    assert_eq!(owner.drain(&store).await, 1);
}

#[tokio::test]
async fn an_earlier_owner_moves_nothing_wherever_it_is_paused() {
    for point in [Point::BeforeBegin, Point::AfterBegin, Point::BeforeCommit, Point::AfterCommit] {
        let (store, _) = faulty_store();
        create_topic(&store, 1).await;
        publish(&store, event("k", "v")).await.expect("published");
        let mut earlier = Owner::of(&store, partition(0)).await;
        let on =
            if matches!(point, Point::BeforeBegin | Point::AfterBegin) { On::next() } else { of_owner() };
        let mut gate = store.faults().hold(on, point);
        let settings = RelaySettings::default();
        let turning = earlier.relay.turn(&store, &earlier.ownership, NOW_MS, &settings);
        let taking_over = async {
            gate.reached().await;
            let (ownership, _) = take_ownership(&store, partition(0), BrokerId(2)).await.expect("taken over");
            let mut later = Owner { ownership, relay: Relay::new(partition(0)) };
            later.drain(&store).await;
            gate.release();
        };
        let (turn, ()) = tokio::join!(turning, taking_over);
        match point {
            Point::AfterCommit => assert_eq!(turn.expect("it came first").records, 1),
            _ => {
                assert!(matches!(turn, Err(RelayError::Log(LogError::Fenced { .. }))), "{point:?}: {turn:?}");
            }
        }
        assert_eq!(values_of(&store, partition(0)).await, ["v"], "{point:?}");
    }
}

#[tokio::test]
async fn the_outbox_is_read_from_the_watermark_on() {
    let (store, _) = faulty_store();
    create_topic(&store, 1).await;
    let mut owner = Owner::of(&store, partition(0)).await;
    publish(&store, event("k", "a")).await.expect("published");
    owner.drain(&store).await;
    let (start, end) = OutboxKey::range(partition(0));
    let watermark = owner.relay.watermark.expect("set by the first pass");
    let behind = KeyRange::new(start, OutboxKey { id: partition(0), version: watermark, n: 0 }.encode());
    let never = ReadError::Damaged { place: "behind the watermark".to_owned() };
    store.faults().fail_read(On::next().touching(behind.clone()), never.clone());
    publish(&store, event("k", "b")).await.expect("published");
    assert_eq!(owner.drain(&store).await, 1);
    owner.relay.sweep();
    let swept = owner.relay.turn(&store, &owner.ownership, NOW_MS, &RelaySettings::default()).await;
    assert_eq!(swept, Err(RelayError::Log(LogError::Read(never))), "a sweep reads from the start");
    assert!(end > behind.end);
}

#[tokio::test]
async fn an_entry_behind_the_watermark_is_found_by_the_overlap_or_else_by_a_sweep_and_counted() {
    let (store, clock) = memory_store();
    create_topic(&store, 1).await;
    let mut owner = Owner::of(&store, partition(0)).await;
    owner.drain(&store).await;
    let watermark = owner.relay.watermark.expect("set by the first pass");
    let put_behind = async |ms: i64, value: &str| {
        let key = OutboxKey { id: partition(0), version: earlier(watermark, ms), n: 0 };
        let value = Some(bytes::Bytes::copy_from_slice(value.as_bytes()));
        let row = tidegate_format::EventValue { value, ..Default::default() }.encode();
        commit(&store, async |_, txn| txn.put(key.encode(), row)).await;
    };
    clock.advance(1);
    put_behind(3_000, "within").await;
    put_behind(60_000, "late").await;
    assert_eq!(owner.drain(&store).await, 0, "without overlap both are behind");
    let overlapping = RelaySettings { overlap_ms: 5_000, ..RelaySettings::default() };
    let turn = owner.turn_with(&store, &overlapping).await;
    assert_eq!((turn.records, turn.late), (1, 0), "what the overlap finds was to be expected");
    owner.relay.sweep();
    let turn = owner.turn_with(&store, &overlapping).await;
    assert_eq!((turn.records, turn.late), (1, 1));
    assert_eq!(owner.turn_with(&store, &overlapping).await.records, 0);
    assert_eq!(values_of(&store, partition(0)).await, ["within", "late"]);
    assert!(!owner.relay.sweeping, "one sweep is one pass");
}

#[tokio::test]
async fn a_sweep_goes_on_until_the_outbox_was_seen_whole() {
    let (store, _) = memory_store();
    create_topic(&store, 1).await;
    let mut owner = Owner::of(&store, partition(0)).await;
    for n in 0..5 {
        publish(&store, event("k", &n.to_string())).await.expect("published");
    }
    owner.relay.sweep();
    assert!(owner.turn_with(&store, &limited(2)).await.more);
    assert!(owner.relay.sweeping);
    owner.drain(&store).await;
    assert!(!owner.relay.sweeping);
    assert_eq!(values_of(&store, partition(0)).await, ["0", "1", "2", "3", "4"]);
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
