//! What waits, from rows that a test wrote itself.

use std::sync::Arc;
use std::time::Duration;

use tidegate_format::{EventValue, PartitionIndex, TimerKey, TopicId};
use tidegate_store::{ManualClock, MemoryStore, Store, Txn};
use uuid::Uuid;

use super::*;

const HOUR: Duration = Duration::from_secs(3_600);

fn partition(index: i32) -> PartitionId {
    PartitionId { topic: TopicId(Uuid::from_u128(7)), partition: PartitionIndex(index) }
}

fn timer(id: PartitionId, due_ms: i64) -> bytes::Bytes {
    let entry = Uuid::from_u128(due_ms.unsigned_abs().into());
    TimerKey { id, due_ms, entry }.encode()
}

async fn put(store: &MemoryStore, id: PartitionId, due_ms: std::ops::Range<i64>) {
    let mut txn = store.begin().await.expect("in memory");
    let value =
        EventValue { schedule: None, timestamp_ms: None, key: None, value: None, headers: Vec::new() };
    for due_ms in due_ms {
        txn.put(timer(id, due_ms), value.encode());
    }
    txn.commit().await.expect("nobody else writes");
}

async fn take(store: &MemoryStore, id: PartitionId, due_ms: std::ops::Range<i64>) {
    let mut txn = store.begin().await.expect("in memory");
    for due_ms in due_ms {
        txn.delete(timer(id, due_ms));
    }
    txn.commit().await.expect("nobody else writes");
}

/// How many wait in the timers of two partitions, and when the first is due.
async fn load(counts: &mut PendingCounts, store: &MemoryStore) -> [(usize, Option<i64>); 2] {
    let mut txn = store.begin().await.expect("in memory");
    let loaded = counts.load(&mut txn, &[partition(0), partition(1)]).await.expect("in memory");
    [0, 1].map(|index: usize| (loaded[index].timer, loaded[index].oldest_due_ms))
}

#[tokio::test]
async fn what_costs_much_to_count_is_counted_seldom_but_the_first_entry_is_always_known() {
    let store = MemoryStore::new(Arc::new(ManualClock::at(0)));
    let mut counts = PendingCounts::default();
    put(&store, partition(0), 100..200).await;
    assert_eq!(load(&mut counts, &store).await, [(100, Some(100)), (0, None)]);

    counts.keep_for(HOUR);
    put(&store, partition(0), 50..60).await;
    put(&store, partition(1), 70..80).await;
    assert_eq!(load(&mut counts, &store).await, [(100, Some(50)), (1, Some(70))]);
    take(&store, partition(0), 50..200).await;
    assert_eq!(load(&mut counts, &store).await, [(0, None), (1, Some(70))], "none is never shown as some");

    counts.expire();
    assert_eq!(load(&mut counts, &store).await, [(0, None), (10, Some(70))]);
}

#[tokio::test]
async fn beyond_the_limit_counting_ends_and_says_so() {
    let store = MemoryStore::new(Arc::new(ManualClock::at(0)));
    put(&store, partition(0), 0..30).await;
    put(&store, partition(1), 0..30).await;
    let mut counts = PendingCounts::default();
    let mut txn = store.begin().await.expect("in memory");
    let ids = [partition(0), partition(1)];
    let waiting = HashSet::from(ids);
    for (room, expected) in
        [(100, [(30, false), (30, false)]), (40, [(30, false), (10, true)]), (30, [(30, true), (1, true)])]
    {
        counts.count(&mut txn, &ids, &waiting, room).await.expect("in memory");
        assert_eq!(ids.map(|id| (counts.counted[&id].timer, counts.counted[&id].capped)), expected);
    }
}
