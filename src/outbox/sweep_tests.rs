//! Topics that are gone, and those that are not.

use tidegate_format::{DroppedTopicValue, PartitionId, PartitionIndex};
use tidegate_store::ReadError;

use super::*;
use crate::fixture::{
    NOW_MS, Owner, TOPIC, TOPIC_NAME, commit, create_topic, due, event, faulty, memory_store, partition,
    publish, rows, scheduled, values_of, waiting,
};
use crate::{Publisher, ensure_topic};

async fn drop_topic<S: Store>(store: &S) {
    commit(store, async |_, txn| txn.delete(TopicKey { name: TOPIC_NAME.to_owned() }.encode())).await;
    for (start, end) in [topic_range(TOPIC), ScheduleKey::range(TOPIC)] {
        store.delete_range(KeyRange::new(start, end)).await.expect("removed");
    }
}

#[tokio::test]
async fn what_a_late_publisher_leaves_under_a_topic_that_is_gone_is_removed() {
    let (store, _) = memory_store();
    create_topic(&store, 1).await;
    let settings = crate::fixture::publish_settings();
    let mut late = store.begin().await.expect("a snapshot");
    let mut publisher = Publisher::new(&late, &settings, NOW_MS, Uuid::from_u128(1));
    publisher.publish(&mut late, &scheduled(event("k", "v"), "s", NOW_MS + 10)).await.expect("published");
    publisher.publish(&mut late, &event("k", "v")).await.expect("published");
    drop_topic(&store).await;
    late.commit().await.expect("it wrote nothing that was removed");
    assert_eq!(waiting(&store, partition(0)).await, (1, 1, 1));
    assert_eq!(sweep_gone_topics(&store, 10).await, Ok(vec![TOPIC]));
    assert_eq!(waiting(&store, partition(0)).await, (0, 0, 0));
    assert_eq!(sweep_gone_topics(&store, 10).await, Ok(vec![]));
}

#[tokio::test]
async fn what_waits_to_be_removed_by_whoever_drops_its_topic_is_left_to_it() {
    let (store, _) = memory_store();
    create_topic(&store, 1).await;
    publish(&store, event("k", "v")).await.expect("published");
    let mark = DroppedTopicKey { id: TOPIC }.encode();
    commit(&store, async |_, txn| {
        txn.delete(TopicKey { name: TOPIC_NAME.to_owned() }.encode());
        txn.put(mark.clone(), DroppedTopicValue { name: TOPIC_NAME.to_owned(), partitions: 1 }.encode());
    })
    .await;
    assert_eq!(sweep_gone_topics(&store, 10).await, Ok(vec![]));
    assert_eq!(waiting(&store, partition(0)).await.0, 1);
    commit(&store, async |_, txn| txn.delete(mark.clone())).await;
    assert_eq!(sweep_gone_topics(&store, 10).await, Ok(vec![TOPIC]));
}

#[tokio::test]
async fn topics_that_exist_keep_everything_whatever_lies_around_them() {
    let (store, clock) = memory_store();
    create_topic(&store, 1).await;
    for n in [0_u128, 1, TOPIC.0.as_u128() - 1, TOPIC.0.as_u128() + 1, u128::MAX] {
        let id = PartitionId { topic: TopicId(Uuid::from_u128(n)), partition: PartitionIndex(3) };
        Owner::of(&store, id).await;
    }
    publish(&store, event("k", "a")).await.expect("published");
    publish(&store, due(event("k", "b"), NOW_MS + 1)).await.expect("published");
    publish(&store, scheduled(event("k", "c"), "s", NOW_MS + 2)).await.expect("published");
    let mut owner = Owner::of(&store, partition(0)).await;
    owner.drain(&store).await;
    assert_eq!(sweep_gone_topics(&store, 2).await.expect("swept").len(), 2);
    assert_eq!(sweep_gone_topics(&store, 10).await.expect("swept").len(), 3);
    assert_eq!(sweep_gone_topics(&store, 10).await, Ok(vec![]));
    clock.advance(10);
    owner.drain(&store).await;
    assert_eq!(values_of(&store, partition(0)).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn more_topics_than_a_page_are_all_known_to_exist() {
    let (store, _) = memory_store();
    for n in 0..(PAGE_TOPICS as u128 + 5) {
        let mut txn = store.begin().await.expect("a snapshot");
        let id = TopicId(Uuid::from_u128(n + 1));
        ensure_topic(&mut txn, &format!("t{n}"), &crate::TopicDefaults::default(), id)
            .await
            .expect("a topic");
        let key = OutboxKey::prefix(PartitionId { topic: id, partition: PartitionIndex(0) });
        txn.put_versioned(key, OutboxKey::suffix(0), Bytes::from_static(b"\x01"));
        txn.commit().await.expect("nobody else writes");
    }
    let before =
        rows(&store, (topic_range(TopicId(Uuid::nil())).0, topic_range(TopicId(Uuid::max())).1)).await;
    assert_eq!(sweep_gone_topics(&store, 10).await, Ok(vec![]));
    let after =
        rows(&store, (topic_range(TopicId(Uuid::nil())).0, topic_range(TopicId(Uuid::max())).1)).await;
    assert_eq!(before.len(), after.len());
}

#[tokio::test]
async fn a_store_that_is_away_ends_the_sweep() {
    let store = faulty(memory_store().0);
    store.faults().go_away();
    let swept = sweep_gone_topics(&store, 10).await;
    assert!(
        matches!(swept, Err(SweepError::Load(LoadError::Read(ReadError::Unavailable { .. })))),
        "{swept:?}"
    );
}
