//! What dropped topics held, on a store that keeps it until every snapshot of before has ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_format::{
    DroppedTopicKey, LogKey, Offset, PartitionId, PartitionIndex, PartitionStateKey, ScheduleKey, TopicId,
    topic_range,
};
use tidegate_store::{
    Direction, Dropped, FaultyStore, KeyRange, ManualClock, MemoryStore, Store, Txn, Version,
};

use super::*;
use crate::BrokerStore;
use crate::settings::Settings;

const NAME: &str = "flights";
const PARTITIONS: i32 = 2;
/// Of a log for each partition, a state and a schedule.
const ROWS: usize = 4;

fn faulty() -> FaultyStore<MemoryStore> {
    let mut nonces = 0;
    let memory = MemoryStore::new(Arc::new(ManualClock::at(1_700_000_000_000)));
    let store = FaultyStore::new(memory, move || {
        nonces += 1;
        nonces
    });
    store.faults().set_safe_point(Version(1));
    store
}

async fn catalogue(store: &FaultyStore<MemoryStore>) -> Catalogue {
    let settings = Arc::new(Settings::default());
    Catalogue::load(BrokerStore::from(store.clone()), settings).await.expect("in memory")
}

/// A topic with something in each partition.
async fn create(store: &FaultyStore<MemoryStore>, catalogue: &Catalogue) -> TopicId {
    let made = catalogue.create(NAME, PARTITIONS, BTreeMap::new(), false).await.expect("a new topic");
    let id = made.id;
    let of = |partition| PartitionId { topic: id, partition: PartitionIndex(partition) };
    let mut txn = store.begin().await.expect("in memory");
    for key in [
        PartitionStateKey { id: of(0) }.encode(),
        LogKey { id: of(0), last_offset: Offset(9) }.encode(),
        LogKey { id: of(1), last_offset: Offset(4) }.encode(),
        ScheduleKey { topic: id, schedule: "later".into() }.encode(),
    ] {
        txn.put(key, Bytes::from_static(b"row"));
    }
    txn.commit().await.expect("nobody else writes");
    id
}

async fn keys(store: &FaultyStore<MemoryStore>, (start, end): (Bytes, Bytes)) -> usize {
    let mut txn = store.begin().await.expect("in memory");
    txn.scan_keys(&KeyRange::new(start, end), 1_000, Direction::Forward).await.expect("in memory").len()
}

async fn rows(store: &FaultyStore<MemoryStore>, id: TopicId) -> usize {
    keys(store, topic_range(id)).await + keys(store, ScheduleKey::range(id)).await
}

async fn marks(store: &FaultyStore<MemoryStore>) -> usize {
    keys(store, DroppedTopicKey::all()).await
}

/// The one version that everything was said to be dropped at which the store has kept since this was asked last.
fn kept_at(store: &FaultyStore<MemoryStore>) -> Version {
    let kept = store.faults().take_kept();
    let (_, version) = kept.first().expect("something is kept");
    assert!(kept.iter().all(|(_, other)| other == version), "{kept:?}");
    *version
}

#[tokio::test]
async fn what_a_dropped_topic_held_waits_with_its_mark_until_the_store_lets_it_go() {
    let store = faulty();
    let catalogue = catalogue(&store).await;
    let dropped = create(&store, &catalogue).await;
    catalogue.drop_topic(NAME, None).await.expect("it is there");
    let before = store.begin().await.expect("in memory").start_version();
    assert_eq!(catalogue.remove_data(dropped, PARTITIONS).await, Ok(Dropped::Later));
    assert_eq!(
        (rows(&store, dropped).await, marks(&store).await),
        (ROWS - 1, 1),
        "owners alone are kept out"
    );
    let dropped_at = kept_at(&store);
    assert!(dropped_at > before, "later than whoever saw the mark, and than the last that an owner wrote");

    // Of the same name, and of no other fate.
    let again = create(&store, &catalogue).await;
    for _ in 0..3 {
        catalogue.finish_drops().await.expect("in memory");
        assert_eq!(kept_at(&store), dropped_at, "it does not run away from the safe point");
    }
    store.faults().set_safe_point(dropped_at);
    catalogue.finish_drops().await.expect("in memory");
    assert_eq!((rows(&store, dropped).await, marks(&store).await), (ROWS - 1, 1));

    store.faults().set_safe_point(dropped_at.next());
    catalogue.finish_drops().await.expect("in memory");
    assert_eq!((rows(&store, dropped).await, marks(&store).await), (0, 0));
    assert_eq!(rows(&store, again).await, ROWS);
    assert_eq!(catalogue.find(NAME).await.map(|found| found.map(|topic| topic.id)), Ok(Some(again)));
}

#[tokio::test]
async fn who_finds_a_mark_at_its_start_waits_from_then_on_and_goes_on_with_the_drop() {
    let store = faulty();
    let first = catalogue(&store).await;
    let dropped = create(&store, &first).await;
    first.drop_topic(NAME, None).await.expect("it is there");
    assert_eq!(first.remove_data(dropped, PARTITIONS).await, Ok(Dropped::Later));
    let dropped_at = kept_at(&store);
    // The process ends here, and another one begins.
    drop(first);
    let second = catalogue(&store).await;
    let seen_at = kept_at(&store);
    assert!(seen_at > dropped_at);
    store.faults().set_safe_point(dropped_at.next());
    second.finish_drops().await.expect("in memory");
    assert_eq!((rows(&store, dropped).await, marks(&store).await), (ROWS - 1, 1));
    store.faults().set_safe_point(seen_at.next());
    second.finish_drops().await.expect("in memory");
    assert_eq!((rows(&store, dropped).await, marks(&store).await), (0, 0));
}
