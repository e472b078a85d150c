//! What a turn does not read again, and what is found all the same.

use bytes::Bytes;
use tidegate_format::{EventValue, OutboxKey, TimerKey};
use tidegate_log::LogError;
use tidegate_store::faulty::On;
use tidegate_store::{KeyRange, ReadError, Store, Txn};
use uuid::Uuid;

use super::*;
use crate::Publisher;
use crate::fixture::{
    Backend, Embedded, InMemory, NOW_MS, Owner, commit, create_topic, due, event, faulty, memory_store,
    partition, publish, publish_settings, values_of,
};
use crate::relay::{RelayError, RelayLimits, RelaySettings};

fn limited(records_max: usize) -> RelaySettings {
    let limits = RelayLimits { records_max, ..RelayLimits::default() };
    RelaySettings { limits, ..RelaySettings::default() }
}

fn value_row(value: &str) -> Bytes {
    let value = Some(Bytes::copy_from_slice(value.as_bytes()));
    EventValue { value, ..EventValue::default() }.encode()
}

#[tokio::test]
async fn what_was_moved_is_not_read_again_until_a_sweep() {
    let (store, clock) = memory_store();
    let store = faulty(store);
    create_topic(&store, 1).await;
    let mut owner = Owner::of(&store, partition(0)).await;
    publish(&store, event("k", "a")).await.expect("published");
    publish(&store, due(event("k", "b"), NOW_MS + 1)).await.expect("published");
    clock.advance(1_000);
    owner.drain(&store).await;
    clock.advance(1_000);
    // Commits something, so that no open transaction is older than a second.
    publish(&store, event("k", "c")).await.expect("published");
    assert_eq!(owner.drain(&store).await, 1);
    let id = partition(0);
    let progress = owner.relay.progress.clone();
    let watermark = OutboxKey { id, version: progress.watermark.expect("set by the first pass"), n: 0 };
    let due_ms = progress.timer_from_ms.expect("set by the first pass");
    assert!(due_ms > NOW_MS + 1, "behind what was moved");
    let timer_from = TimerKey { id, due_ms, entry: Uuid::nil() };
    for behind in [
        KeyRange::new(OutboxKey::range(id).0, watermark.encode()),
        KeyRange::new(TimerKey::range(id).0, timer_from.encode()),
    ] {
        let never = ReadError::Damaged { place: "behind".to_owned() };
        store.faults().fail_read(On::next().touching(behind), never.clone());
        publish(&store, event("k", "more")).await.expect("published");
        publish(&store, due(event("k", "more"), store.now_ms() + 1)).await.expect("published");
        clock.advance(1);
        assert_eq!(owner.drain(&store).await, 2);
        owner.relay.sweep();
        let swept = owner.relay.turn(&store, &owner.ownership, store.now_ms(), &limited(10)).await;
        assert_eq!(swept, Err(RelayError::Log(LogError::Read(never))), "a sweep reads from the start");
        assert_eq!(owner.drain(&store).await, 0);
    }
}

#[tokio::test]
async fn an_entry_behind_the_watermark_is_found_by_the_overlap_or_else_by_a_sweep_and_counted() {
    let (store, clock) = memory_store();
    create_topic(&store, 1).await;
    let mut owner = Owner::of(&store, partition(0)).await;
    owner.drain(&store).await;
    let watermark = owner.relay.progress.watermark.expect("set by the first pass");
    let put_behind = async |ms: i64, value: &str| {
        let key = OutboxKey { id: partition(0), version: earlier(watermark, ms), n: 0 };
        commit(&store, async |_, txn| txn.put(key.encode(), value_row(value))).await;
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
    assert!(!owner.relay.progress.sweeping, "one sweep is one pass");
}

#[tokio::test]
async fn with_an_overlap_a_turn_reads_so_far_back_and_no_further_however_much_was_moved() {
    let (store, clock) = memory_store();
    let store = faulty(store);
    create_topic(&store, 1).await;
    let mut owner = Owner::of(&store, partition(0)).await;
    let overlapping = RelaySettings { overlap_ms: 5_000, ..RelaySettings::default() };
    let id = partition(0);
    for _ in 0..50 {
        publish(&store, event("k", "moved")).await.expect("published");
        clock.advance(1_000);
        let from = owner.relay.progress.watermark.map(|watermark| earlier(watermark, 5_000));
        if let Some(version) = from {
            let first = OutboxKey { id, version, n: 0 }.encode();
            let never = ReadError::Damaged { place: "behind".to_owned() };
            let behind = KeyRange::new(OutboxKey::range(id).0, first);
            store.faults().fail_read(On::next().touching(behind), never);
        }
        let turn = owner.turn_with(&store, &overlapping).await;
        assert_eq!((turn.records, turn.late, turn.more), (1, 0, false));
    }
}

#[tokio::test]
async fn a_sweep_goes_on_until_all_was_seen() {
    let (store, clock) = memory_store();
    create_topic(&store, 1).await;
    let mut owner = Owner::of(&store, partition(0)).await;
    for n in 0..5 {
        let event = event("k", &n.to_string());
        publish(&store, if n == 4 { due(event, NOW_MS + 1) } else { event }).await.expect("published");
    }
    clock.advance(1);
    owner.relay.sweep();
    assert!(owner.turn_with(&store, &limited(2)).await.more);
    assert!(owner.relay.progress.sweeping);
    owner.drain(&store).await;
    assert!(!owner.relay.progress.sweeping);
    assert_eq!(values_of(&store, partition(0)).await, ["0", "1", "2", "3", "4"]);
}

/// A transaction schedules something that comes due, and is relayed past, long before it commits.
async fn check_late_commit<B: Backend>(backend: B) {
    let (store, clock) = (backend.open(), backend.clock());
    create_topic(&store, 1).await;
    let mut owner = Owner::of(&store, partition(0)).await;
    let settings = publish_settings();
    // The event type is in the catalogue before the others race for it.
    publish(&store, event("k", "first")).await.expect("published");
    owner.drain(&store).await;
    for pause_ms in [1, 10_000, 30_000] {
        let began_ms = store.now_ms();
        let mut open = store.begin().await.expect("a snapshot");
        let mut publisher = Publisher::new(&open, &settings, began_ms, Uuid::new_v4());
        publisher.publish(&mut open, &due(event("k", "late"), began_ms + 1)).await.expect("published");
        for _ in 0..10 {
            publish(&store, due(event("k", "other"), store.now_ms() + 1)).await.expect("published");
            clock.advance((pause_ms / 10).max(1));
            assert_eq!(owner.drain(&store).await, 1, "others are not held up");
        }
        open.commit().await.expect("nobody else writes what it writes");
        let turn = owner.turn(&store).await;
        assert_eq!((turn.records, turn.late), (1, 0), "the next turn finds it, after {pause_ms} ms");
    }
}

#[tokio::test]
async fn an_entry_committed_long_after_its_due_time_is_found_by_the_next_turn() {
    check_late_commit(InMemory::new()).await;
    check_late_commit(Embedded::new()).await;
}

#[tokio::test]
async fn an_entry_committed_in_the_middle_of_a_backlog_is_found_by_the_next_turn() {
    let (store, clock) = memory_store();
    create_topic(&store, 1).await;
    for n in 2..=5 {
        publish(&store, due(event("k", &n.to_string()), NOW_MS + 1_000 * n)).await.expect("published");
    }
    let settings = publish_settings();
    let mut open = store.begin().await.expect("a snapshot");
    let mut publisher = Publisher::new(&open, &settings, NOW_MS, Uuid::new_v4());
    publisher.publish(&mut open, &due(event("k", "1"), NOW_MS + 1_000)).await.expect("published");
    clock.advance(10_000);
    let mut owner = Owner::of(&store, partition(0)).await;
    for _ in 0..2 {
        assert!(owner.turn_with(&store, &limited(1)).await.more);
    }
    open.commit().await.expect("nobody else writes what it writes");
    let turn = owner.turn_with(&store, &limited(1)).await;
    assert_eq!((turn.due_ms, turn.late), (vec![NOW_MS + 1_000], 0));
    owner.drain(&store).await;
    assert_eq!(values_of(&store, partition(0)).await, ["2", "3", "1", "4", "5"]);
}

async fn check_clock_going_back<B: Backend>(backend: B) {
    let (store, clock) = (backend.open(), backend.clock());
    create_topic(&store, 1).await;
    let mut owner = Owner::of(&store, partition(0)).await;
    publish(&store, event("k", "a")).await.expect("published");
    owner.drain(&store).await;
    clock.advance(30_000);
    // Nothing is open, so that all of it counts as gone through.
    assert_eq!(owner.drain(&store).await, 0);
    clock.advance(-20_000);
    publish(&store, due(event("k", "b"), store.now_ms() + 10)).await.expect("published");
    clock.advance(10);
    let turn = owner.turn(&store).await;
    assert_eq!((turn.records, turn.late), (1, 0), "the next turn finds it");
    // Behind the relay's back: with no turn before the clock is right again.
    clock.advance(30_000);
    assert_eq!(owner.drain(&store).await, 0);
    clock.advance(-20_000);
    publish(&store, due(event("k", "c"), store.now_ms() + 10)).await.expect("published");
    clock.advance(20_000);
    let turn = owner.turn(&store).await;
    assert_eq!((turn.records, turn.late), (1, 0), "the next turn finds it");
    // From then on it reads no further back than before.
    owner.drain(&store).await;
    let from = owner.relay.progress.from(moment(&store), 0);
    assert!(from.timer_ms.is_some_and(|from_ms| from_ms > store.now_ms() - 1_000), "{from:?}");
    assert_eq!(values_of(&store, partition(0)).await, ["a", "b", "c"]);
}

fn moment(store: &impl Store) -> Moment {
    let oldest_open_ms = store.oldest_open_ms();
    Moment { now_ms: store.now_ms(), oldest_open_ms, steps_back: store.clock_steps_back() }
}

#[tokio::test]
async fn an_entry_that_a_clock_going_back_has_put_behind_is_found_by_the_next_turn() {
    check_clock_going_back(InMemory::new()).await;
    check_clock_going_back(Embedded::new()).await;
}

#[tokio::test]
async fn an_entry_that_nobody_could_know_of_is_found_within_a_minute_and_counted() {
    let (store, clock) = memory_store();
    create_topic(&store, 1).await;
    let mut owner = Owner::of(&store, partition(0)).await;
    clock.advance(30_000);
    owner.drain(&store).await;
    // As no transaction of ours does: due before it began.
    let key = TimerKey { id: partition(0), due_ms: store.now_ms() - 20_000, entry: Uuid::nil() };
    commit(&store, async |_, txn| txn.put(key.encode(), value_row("c"))).await;
    assert_eq!(owner.drain(&store).await, 0);
    // Turns in between do not put it off.
    for _ in 0..3 {
        clock.advance(TIMER_SWEEP_INTERVAL_MS / 4);
        assert_eq!(owner.drain(&store).await, 0);
    }
    clock.advance(TIMER_SWEEP_INTERVAL_MS / 4);
    let turn = owner.turn(&store).await;
    assert_eq!((turn.records, turn.late), (1, 1));
}

#[tokio::test]
async fn a_backlog_of_the_timer_is_gone_through_once() {
    let (store, clock) = memory_store();
    create_topic(&store, 1).await;
    for n in 1..=9 {
        publish(&store, due(event("k", &n.to_string()), NOW_MS + n)).await.expect("published");
    }
    clock.advance(10_000);
    publish(&store, event("other", "x")).await.expect("published");
    let mut owner = Owner::of(&store, partition(0)).await;
    let mut from_ms = Vec::new();
    while owner.turn_with(&store, &limited(3)).await.more {
        from_ms.push(owner.relay.progress.timer_from_ms.expect("set by the first turn"));
    }
    assert_eq!(from_ms, [NOW_MS + 3, NOW_MS + 6, NOW_MS + 9]);
}
