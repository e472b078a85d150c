//! Retention in the background: produce goes on while it removes what is old, and waits for one small commit of its own
//! partition at most.

use std::time::Duration;

use tidegate_format::{LogKey, Offset, PartitionId, PartitionStateKey};
use tidegate_store::faulty::{On, Point};
use tidegate_store::{Direction, KeyRange, Store, Txn};

use super::fixture::{Broker, batch, config, partition};
use crate::settings::Settings;
use crate::topics::TopicConfig;

/// What is older than this goes.
const RETENTION_MS: i64 = 60_000;

async fn broker(partitions: i32) -> Broker {
    let topic = TopicConfig { retention_ms: Some(RETENTION_MS), ..config() };
    Broker::with(partitions, topic, Settings::default()).await
}

async fn produce(broker: &Broker, id: PartitionId, values: std::ops::Range<usize>) {
    for n in values {
        broker.produce(id, batch(&n.to_string())).await.expect("a store that works");
    }
}

fn texts(values: std::ops::Range<usize>) -> Vec<String> {
    values.map(|n| n.to_string()).collect()
}

/// Commits of a partition's owner.
fn of_owner(id: PartitionId) -> On {
    let state = PartitionStateKey { id }.encode();
    On::next().touching(KeyRange::new(state.clone(), KeyRange::successor(&state)))
}

/// How many batches of a partition are in the store, read or not.
async fn stored(broker: &Broker, id: PartitionId) -> usize {
    let (start, end) = LogKey::range(id);
    let mut txn = broker.memory.begin().await.expect("a store that works");
    let keys = txn.scan_keys(&KeyRange::new(start, end), usize::MAX, Direction::Forward).await;
    keys.expect("a store that works").len()
}

#[tokio::test(start_paused = true)]
async fn the_removal_of_what_is_old_holds_up_no_produce() {
    let (broker, id) = (broker(1).await, partition(0));
    produce(&broker, id, 0..5).await;
    let mut gate = broker.store.faults().hold(On::next(), Point::BeforeDeleteRange);
    gate.reached().await;
    produce(&broker, id, 5..8).await;
    assert_eq!(broker.values(id).await, texts(5..8), "what is old is not read any more");
    assert_eq!(stored(&broker, id).await, 8, "and is still to be removed");
    gate.release();
    while stored(&broker, id).await > 3 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(broker.values(id).await, texts(5..8));
}

#[tokio::test(start_paused = true)]
async fn a_retention_commit_that_is_held_up_holds_up_its_own_partition_alone_and_only_until_it_ends() {
    let (broker, held, other) = (broker(2).await, partition(0), partition(1));
    for id in [held, other] {
        produce(&broker, id, 0..5).await;
    }
    let mut gate = broker.store.faults().hold(of_owner(held), Point::BeforeCommit);
    gate.reached().await;
    // As many as its queue takes, and no caller waits.
    let mut pending = Vec::new();
    for n in 5..8 {
        pending.push(broker.hosts.produce(held, batch(&n.to_string())).await.expect("there is room"));
    }
    produce(&broker, other, 5..8).await;
    assert_eq!(broker.values(held).await, texts(0..5), "what is there is read meanwhile");
    gate.release();
    for (offset, pending) in (5..).zip(pending) {
        assert_eq!(pending.answer().await.expect("committed").base_offset, Offset(offset));
    }
    let status = broker.hosts.status(held).await.expect("a store that works");
    assert_eq!((status.log_start, status.high_watermark), (Offset(5), Offset(8)));
    assert_eq!(broker.values(held).await, texts(5..8));
}

#[tokio::test(start_paused = true)]
async fn whatever_goes_retention_makes_one_commit() {
    for batches in [1, 200] {
        let (broker, id) = (broker(1).await, partition(0));
        produce(&broker, id, 0..batches).await;
        // The first one may pass, and the second never comes.
        let mut gate = broker.store.faults().hold(of_owner(id), Point::BeforeCommit);
        gate.reached().await;
        let mut second = broker.store.faults().hold(of_owner(id), Point::BeforeCommit);
        gate.release();
        let rounds = 3 * broker.settings.log_retention_check_interval_ms;
        let more = tokio::time::timeout(Duration::from_millis(rounds), second.reached()).await;
        assert!(more.is_err(), "another commit of retention for {batches} batches");
        assert_eq!((stored(&broker, id).await, broker.values(id).await), (0, Vec::new()));
    }
}

#[tokio::test(start_paused = true)]
async fn retention_by_size_keeps_at_least_what_the_topic_says_and_hardly_more() {
    let batch_bytes = {
        let (broker, id) = (broker(1).await, partition(0));
        produce(&broker, id, 10..11).await;
        broker.hosts.status(id).await.expect("a store that works").log_bytes
    };
    let kept_bytes = 10 * batch_bytes + batch_bytes / 2;
    let topic = TopicConfig { retention_bytes: Some(kept_bytes), ..config() };
    let broker = Broker::with(1, topic, Settings::default()).await;
    let id = partition(0);
    let round = Duration::from_millis(broker.settings.log_retention_check_interval_ms + 1_000);
    produce(&broker, id, 10..18).await;
    tokio::time::sleep(round).await;
    assert_eq!(broker.values(id).await, texts(10..18), "less than it keeps");
    produce(&broker, id, 18..60).await;
    tokio::time::sleep(round).await;
    assert_eq!(broker.values(id).await, texts(49..60), "eleven are the fewest that have as much");
    assert_eq!(stored(&broker, id).await, 11);
    let status = broker.hosts.status(id).await.expect("a store that works");
    assert_eq!((status.log_start, status.log_bytes), (Offset(39), 11 * batch_bytes));
    // Time alone changes nothing.
    tokio::time::sleep(10 * round).await;
    assert_eq!(broker.values(id).await, texts(49..60));
}
