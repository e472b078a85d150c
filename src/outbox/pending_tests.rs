//! Counts for metrics.

use tidegate_store::Store;

use super::*;
use crate::fixture::{NOW_MS, Owner, create_topic, due, event, memory_store, partition, publish};

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
