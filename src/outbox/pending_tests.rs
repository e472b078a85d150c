//! Counts for metrics.

use tidegate_store::Store;

use super::*;
use crate::fixture::{
    NOW_MS, Owner, commit, create_topic, due, event, faulty, memory_store, partition, publish,
};

async fn pending<S: Store>(store: &S, count_max: usize) -> Pending {
    let mut txn = store.begin().await.expect("a snapshot");
    count_pending(&mut txn, partition(0), count_max).await.expect("readable")
}

#[tokio::test]
async fn what_waits_is_counted_with_the_age_of_the_oldest() {
    let (store, clock) = memory_store();
    create_topic(&store, 1).await;
    assert_eq!(pending(&store, 10).await, Pending::default());
    for n in 0..3 {
        publish(&store, event("k", "v")).await.expect("published");
        publish(&store, due(event("k", "v"), NOW_MS + 100 - n)).await.expect("published");
        clock.advance(5);
    }
    let expected = Pending {
        outbox: 3,
        timer: 3,
        capped: false,
        oldest_commit_ms: Some(NOW_MS),
        oldest_due_ms: Some(NOW_MS + 98),
    };
    assert_eq!(pending(&store, 10).await, expected);
    Owner::of(&store, partition(0)).await.drain(&store).await;
    assert_eq!(pending(&store, 10).await, Pending { outbox: 0, oldest_commit_ms: None, ..expected });
}

#[tokio::test]
async fn counting_stops_at_the_limit_and_says_so() {
    let (store, _) = memory_store();
    create_topic(&store, 1).await;
    crate::fixture::commit(&store, async |publisher, txn| {
        for _ in 0..2_500 {
            publisher.publish(txn, &event("k", "v")).await.expect("published");
        }
    })
    .await;
    for (count_max, outbox, capped) in
        [(1, 1, true), (1_500, 1_500, true), (2_500, 2_500, true), (2_501, 2_500, false)]
    {
        let found = pending(&store, count_max).await;
        assert_eq!((found.outbox, found.capped), (outbox, capped), "up to {count_max}");
    }
}

fn value_row() -> Bytes {
    tidegate_format::EventValue::default().encode()
}

#[tokio::test]
async fn what_waits_is_found_in_each_partition_and_unused_ones_cost_nothing() {
    let (store, _) = memory_store();
    let store = faulty(store);
    create_topic(&store, 10_000).await;
    let used = [3, 4, 500, 9_998, 9_999].map(partition);
    for id in used {
        Owner::of(&store, id).await;
    }
    let (outbox, timer) = (partition(500), partition(9_999));
    commit(&store, async |_, txn| {
        txn.put_versioned(OutboxKey::prefix(outbox), OutboxKey::suffix(0), value_row());
        // An entry that is due sooner or later makes no difference where others are due already.
        for id in [outbox, timer] {
            txn.put(
                TimerKey { id, due_ms: NOW_MS + 7, entry: uuid::Uuid::from_u128(1) }.encode(),
                value_row(),
            );
        }
    })
    .await;
    let all: Vec<PartitionId> = (0..10_000).map(partition).collect();
    // At most a look for each that is used, two where something lies, and one for the end.
    let never = tidegate_store::ReadError::Damaged { place: "one look too many".to_owned() };
    store.faults().fail_read(tidegate_store::faulty::On::nth(used.len() * 2 + 1), never);
    let mut txn = store.begin().await.expect("a snapshot");
    let found = find_waiting(&mut txn, &all).await.expect("readable");
    let expected = [Waiting { id: outbox, due_ms: None }, Waiting { id: timer, due_ms: Some(NOW_MS + 7) }];
    assert_eq!(found, expected);
    assert_eq!(find_waiting(&mut txn, &[]).await.expect("readable"), []);
}
