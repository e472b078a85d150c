//! What the catalogue promises, with one of it on a store and with two.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tidegate_format::{
    DroppedTopicKey, DroppedTopicValue, KEY_MAX_BYTES, LogKey, Offset, PartitionId, PartitionIndex,
    PartitionStateKey, ScheduleKey, TopicId, TopicKey,
};
use tidegate_outbox::{TopicDefaults, Wakeup, ensure_topic};
use tidegate_store::faulty::{CommitFault, On};
use tidegate_store::{Direction, FaultyStore, KeyRange, ManualClock, MemoryStore, ScanLimit, Store, Txn};
use uuid::Uuid;

use super::*;
use crate::BrokerStore;
use crate::settings::Settings;

fn store() -> BrokerStore {
    MemoryStore::new(Arc::new(ManualClock::at(1_700_000_000_000))).into()
}

async fn catalogue(store: &BrokerStore) -> Catalogue {
    Catalogue::load(store.clone(), Arc::new(Settings::default())).await.expect("in memory")
}

fn configs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

async fn create(catalogue: &Catalogue, name: &str, partitions: i32) -> Result<Arc<Topic>, TopicError> {
    catalogue.create(name, partitions, BTreeMap::new(), false).await
}

/// Creates a topic as an application does, with its first event.
async fn create_by_application(store: &BrokerStore, name: &str, partitions: i32) -> TopicId {
    let mut txn = store.begin().await.expect("in memory");
    let defaults = TopicDefaults { partitions, ..TopicDefaults::default() };
    let id = TopicId(Uuid::new_v4());
    ensure_topic(&mut txn, name, &defaults, id).await.expect("a new topic");
    txn.commit().await.expect("nobody else writes");
    id
}

async fn keys(store: &BrokerStore, (start, end): (Bytes, Bytes)) -> usize {
    let mut txn = store.begin().await.expect("in memory");
    let range = KeyRange::new(start, end);
    txn.scan(&range, ScanLimit::count(1_000), Direction::Forward).await.expect("in memory").len()
}

fn names(topics: &Arc<Topics>) -> Vec<String> {
    topics.iter().map(|topic| topic.name.clone()).collect()
}

#[tokio::test]
async fn a_topic_is_created_once_and_found_by_name_and_id() {
    let catalogue = catalogue(&store()).await;
    let made = create(&catalogue, "flights", 3).await.expect("a new topic");
    assert_eq!(catalogue.find("flights").await, Ok(Some(made.clone())));
    assert_eq!(catalogue.find_by_id(made.id).await, Ok(Some(made.clone())));
    assert_eq!(create(&catalogue, "flights", 1).await, Err(TopicError::Exists { name: "flights".into() }));
    for bad in ["", ".", "..", "a b", "a/b"] {
        assert!(matches!(create(&catalogue, bad, 1).await, Err(TopicError::InvalidName { .. })), "{bad}");
        assert_eq!(catalogue.find(bad).await, Ok(None), "{bad}");
    }
    for bad in [0, -1, i32::MAX] {
        assert!(matches!(create(&catalogue, "more", bad).await, Err(TopicError::InvalidPartitions { .. })));
    }
    let odd = catalogue.create("odd", 1, configs(&[("retention.mss", "1")]), false).await;
    assert!(matches!(odd, Err(TopicError::InvalidConfig { .. })));
    assert_eq!(names(&catalogue.all().await), ["flights"]);
}

#[tokio::test]
async fn a_change_whose_answer_is_lost_is_made_once() {
    for fault in [CommitFault::LostApplied, CommitFault::LostNotApplied, CommitFault::LostLate] {
        let mut nonces = 0;
        let faulty =
            FaultyStore::new(MemoryStore::new(Arc::new(ManualClock::at(1_700_000_000_000))), move || {
                nonces += 1;
                nonces
            });
        let store: BrokerStore = faulty.clone().into();
        let catalogue = catalogue(&store).await;
        let lose_next = || faulty.faults().fail_commit(On::next(), fault.clone());
        lose_next();
        let made = create(&catalogue, "flights", 3).await.expect("settled");
        lose_next();
        let grown = catalogue.set_partitions("flights", 4, false).await.expect("settled");
        assert_eq!((grown.id, grown.partitions), (made.id, 4), "{fault:?}");
        while faulty.deliver_late().await.is_some() {}
        assert_eq!(catalogue.find("flights").await, Ok(Some(grown.clone())));
        assert_eq!(keys(&store, TopicKey::all()).await, 1, "{fault:?}");

        lose_next();
        catalogue.drop_topic("flights", None).await.expect("settled");
        let (start, end) = DroppedTopicKey::all();
        let mark = KeyRange::new(start, end);
        faulty.faults().fail_commit(On::next().touching(mark), fault.clone());
        catalogue.remove_data(made.id, 4).await.expect("settled");
        while faulty.deliver_late().await.is_some() {}
        assert_eq!(keys(&store, TopicKey::all()).await, 0, "{fault:?}");
        assert_eq!(keys(&store, DroppedTopicKey::all()).await, 0, "{fault:?}");
    }
}

#[tokio::test]
async fn to_validate_changes_nothing() {
    let store = store();
    let catalogue = catalogue(&store).await;
    catalogue.create("flights", 3, BTreeMap::new(), true).await.expect("it could be");
    assert_eq!((catalogue.find("flights").await, keys(&store, TopicKey::all()).await), (Ok(None), 0));
    let made = create(&catalogue, "flights", 3).await.expect("a new topic");
    catalogue.set_partitions("flights", 5, true).await.expect("it could have them");
    let alter = |configs: &mut BTreeMap<String, String>| {
        configs.insert("retention.ms".into(), "1000".into());
        Ok(())
    };
    catalogue.set_configs("flights", true, alter).await.expect("it could be configured like that");
    catalogue.refresh().await.expect("in memory");
    assert_eq!(catalogue.find("flights").await, Ok(Some(made)));
}

#[tokio::test]
async fn partitions_only_grow_and_configurations_are_checked() {
    let catalogue = catalogue(&store()).await;
    let made = create(&catalogue, "flights", 3).await.expect("a new topic");
    for bad in [3, 2, 0, i32::MAX] {
        let refused = catalogue.set_partitions("flights", bad, false).await;
        assert!(matches!(refused, Err(TopicError::InvalidPartitions { .. })), "{bad}");
    }
    let unknown = Err(TopicError::Unknown { name: "missing".into() });
    assert_eq!(catalogue.set_partitions("missing", 3, false).await, unknown);
    assert_eq!(catalogue.set_configs("missing", false, |_| Ok(())).await, unknown);
    assert_eq!(catalogue.drop_topic("missing", None).await, unknown);
    let set = |value: &'static str| {
        move |configs: &mut BTreeMap<String, String>| {
            configs.insert("retention.ms".into(), value.into());
            Ok(())
        }
    };
    let refused = catalogue.set_configs("flights", false, set("soon")).await;
    assert!(matches!(refused, Err(TopicError::InvalidConfig { .. })));
    catalogue.set_configs("flights", false, set("1000")).await.expect("a number");
    let grown = catalogue.set_partitions("flights", 4, false).await.expect("more");
    assert_eq!((grown.id, grown.partitions, grown.config.retention_ms), (made.id, 4, Some(1000)));
}

#[tokio::test]
async fn of_those_who_create_one_name_at_the_same_time_one_succeeds() {
    let store = store();
    let catalogues = [catalogue(&store).await, catalogue(&store).await];
    let creating = (0..20).map(|n| create(&catalogues[n % 2], "flights", 1));
    let made = futures::future::join_all(creating).await;
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1);
    assert!(
        made.iter()
            .flat_map(|made| made.as_ref().err())
            .all(|error| { *error == TopicError::Exists { name: "flights".into() } })
    );
    let found = futures::future::join_all(catalogues.iter().map(|catalogue| catalogue.find("flights"))).await;
    assert!(found[0].is_ok() && found[0] == found[1], "both have the same one");
}

#[tokio::test(start_paused = true)]
async fn what_another_catalogue_did_is_seen() {
    let store = store();
    let (here, there) = (catalogue(&store).await, catalogue(&store).await);
    let made = create(&there, "flights", 1).await.expect("a new topic");
    assert_eq!(here.find("flights").await, Ok(Some(made)));
    there.set_partitions("flights", 2, false).await.expect("more");
    there.drop_topic("flights", None).await.expect("it is there");
    // It was dropped elsewhere, and the copy finds out by what it is asked to do.
    assert_eq!(
        here.set_partitions("flights", 3, false).await,
        Err(TopicError::Unknown { name: "flights".into() })
    );
    assert_eq!(here.drop_topic("flights", None).await, Err(TopicError::Unknown { name: "flights".into() }));
    assert_eq!(here.find("flights").await, Ok(None));
    let again = create(&there, "flights", 1).await.expect("its name is free");
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    assert_eq!(here.find_by_id(again.id).await, Ok(Some(again)));
}

#[tokio::test]
async fn a_topic_that_has_the_name_of_a_dropped_one_is_not_dropped_in_its_place() {
    let store = store();
    let (here, there) = (catalogue(&store).await, catalogue(&store).await);
    let first = create(&here, "flights", 1).await.expect("a new topic");
    there.drop_topic("flights", Some(first.id)).await.expect("it is there");
    let second = create(&there, "flights", 1).await.expect("its name is free");
    let unknown = Err(TopicError::Unknown { name: "flights".into() });
    for catalogue in [&here, &there] {
        assert_eq!(catalogue.drop_topic("flights", Some(first.id)).await, unknown);
        assert_eq!(catalogue.find("flights").await, Ok(Some(second.clone())));
    }
    assert!(here.drop_topic("flights", Some(second.id)).await.is_ok());
}

#[tokio::test]
async fn no_name_is_too_long_to_be_answered() {
    let catalogue = catalogue(&store()).await;
    let long = "x".repeat(KEY_MAX_BYTES);
    let unknown = Err(TopicError::Unknown { name: long.clone() });
    assert_eq!(catalogue.drop_topic(&long, None).await, unknown);
    assert_eq!(catalogue.find(&long).await, Ok(None));
    let refused = [
        create(&catalogue, &long, 1).await,
        catalogue.set_partitions(&long, 2, false).await,
        catalogue.set_configs(&long, false, |_| Ok(())).await,
    ];
    assert!(refused.iter().all(|refused| matches!(refused, Err(TopicError::InvalidName { .. }))));
}

/// Such a topic once kept every broker of its store from starting.
#[tokio::test]
async fn a_topic_that_an_application_has_configured_with_nonsense_has_defaults_instead() {
    let store = store();
    let before = catalogue(&store).await;
    let mut txn = store.begin().await.expect("in memory");
    let nonsense =
        configs(&[("retention.ms", "a week"), ("max.message.bytes", "-1"), ("retention.bytes", "5")]);
    let defaults = TopicDefaults { partitions: 1, configs: nonsense };
    ensure_topic(&mut txn, "flights", &defaults, TopicId(Uuid::new_v4())).await.expect("a new topic");
    txn.commit().await.expect("nobody else writes");
    let settings = Settings::default();
    for catalogue in [before, catalogue(&store).await] {
        let found = catalogue.find("flights").await.expect("in memory").expect("it is there");
        assert_eq!(found.config.retention_ms, Some(settings.log_retention_ms));
        assert_eq!(found.config.max_message_bytes, settings.message_max_bytes);
        assert_eq!(found.config.retention_bytes, Some(5), "what makes sense is taken");
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_of_an_application_is_found_by_name_by_id_and_in_the_list_of_all() {
    let store = store();
    let catalogue = catalogue(&store).await;
    let next = async || tokio::time::advance(std::time::Duration::from_secs(1)).await;
    next().await;
    create_by_application(&store, "by-name", 2).await;
    assert!(
        catalogue.find("by-name").await.is_ok_and(|found| found.is_some_and(|topic| topic.partitions == 2))
    );
    let id = create_by_application(&store, "by-id", 1).await;
    assert!(catalogue.find_by_id(id).await.is_ok_and(|found| found.is_some()));
    next().await;
    create_by_application(&store, "listed", 1).await;
    assert_eq!(names(&catalogue.all().await), ["by-id", "by-name", "listed"]);
}

#[tokio::test(start_paused = true)]
async fn ids_that_nobody_has_do_not_have_all_topics_read_each_time() {
    let store = store();
    let catalogue = catalogue(&store).await;
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    assert_eq!(catalogue.find_by_id(TopicId(Uuid::from_u128(1))).await, Ok(None));
    let id = create_by_application(&store, "flights", 1).await;
    // It was just looked for: the answer is that of a moment ago.
    assert_eq!(catalogue.find_by_id(id).await, Ok(None));
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    assert!(catalogue.find_by_id(id).await.is_ok_and(|found| found.is_some()));
}

/// Everything that a topic of two partitions may hold.
fn rows_of(id: TopicId) -> Vec<Bytes> {
    let of = |partition| PartitionId { topic: id, partition: PartitionIndex(partition) };
    vec![
        PartitionStateKey { id: of(0) }.encode(),
        LogKey { id: of(0), last_offset: Offset(9) }.encode(),
        LogKey { id: of(1), last_offset: Offset(4) }.encode(),
        ScheduleKey { topic: id, schedule: "later".into() }.encode(),
    ]
}

async fn put(store: &BrokerStore, rows: impl IntoIterator<Item = (Bytes, Bytes)>) {
    let mut txn = store.begin().await.expect("in memory");
    for (key, value) in rows {
        txn.put(key, value);
    }
    txn.commit().await.expect("nobody else writes");
}

#[tokio::test]
async fn a_drop_that_a_crash_interrupted_is_finished_at_the_next_start() {
    let store = store();
    let before = catalogue(&store).await;
    let kept = create(&before, "kept", 2).await.expect("a new topic");
    let dropped = create(&before, "dropped", 2).await.expect("a new topic");
    let row = || Bytes::from_static(b"row");
    put(&store, rows_of(kept.id).into_iter().chain(rows_of(dropped.id)).map(|key| (key, row()))).await;
    // The process ends here: the mark is there, and so is the data.
    before.drop_topic("dropped", None).await.expect("it is there");
    assert_eq!(keys(&store, DroppedTopicKey::all()).await, 1);
    assert_eq!(keys(&store, tidegate_format::topic_range(dropped.id)).await, 3);
    let after = catalogue(&store).await;
    assert_eq!(keys(&store, DroppedTopicKey::all()).await, 0, "the mark went last");
    assert_eq!(keys(&store, tidegate_format::topic_range(dropped.id)).await, 0);
    assert_eq!(keys(&store, ScheduleKey::range(dropped.id)).await, 0);
    assert_eq!(keys(&store, tidegate_format::topic_range(kept.id)).await, 3, "that of others stays");
    assert_eq!(keys(&store, ScheduleKey::range(kept.id)).await, 1);
    assert_eq!(names(&after.all().await), ["kept"]);
}

#[tokio::test]
async fn more_interrupted_drops_than_one_page_has_are_finished() {
    let store = store();
    let mark = DroppedTopicValue { name: "gone".into(), partitions: 1 }.encode();
    let marks =
        (1..=1_001).map(|n| (DroppedTopicKey { id: TopicId(Uuid::from_u128(n)) }.encode(), mark.clone()));
    put(&store, marks).await;
    catalogue(&store).await;
    assert_eq!(keys(&store, DroppedTopicKey::all()).await, 0);
}

/// Remembers which partitions it was told of.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<PartitionId>>>);

impl Wakeup for Told {
    fn committed(&self, partitions: &[PartitionId]) {
        self.0.lock().expect("nothing panics with the lock held").extend(partitions);
    }
}

impl Told {
    fn take(&self) -> Vec<PartitionId> {
        std::mem::take(&mut self.0.lock().expect("nothing panics with the lock held"))
    }
}

#[tokio::test(start_paused = true)]
async fn entries_of_a_topic_that_an_application_has_just_created_are_relayed_at_once() {
    let store = store();
    let catalogue = Arc::new(catalogue(&store).await);
    let told = Told::default();
    let wakeup = Arc::new(FollowingWakeup::new(catalogue.clone(), told.clone()));
    let follower = wakeup.clone();
    let task = tokio::spawn(async move { follower.run().await });
    let partitions = |topic: TopicId, count| {
        (0..count)
            .map(move |index| PartitionId { topic, partition: PartitionIndex(index) })
            .collect::<Vec<_>>()
    };
    let settle = async || tokio::time::sleep(std::time::Duration::from_millis(100)).await;

    let known = create(&catalogue, "known", 1).await.expect("a new topic").id;
    let unknown = create_by_application(&store, "unknown", 2).await;
    wakeup.committed(&[partitions(known, 1), partitions(unknown, 1)].concat());
    assert_eq!(told.take(), partitions(known, 1), "those that are known, with no detour");
    settle().await;
    assert_eq!(told.take(), partitions(unknown, 2));

    let by_a_request = create_by_application(&store, "by-a-request", 1).await;
    catalogue.find("by-a-request").await.expect("in memory");
    settle().await;
    assert_eq!(told.take(), partitions(by_a_request, 1), "nobody spoke of its entries");

    let by_nobody = create_by_application(&store, "by-nobody", 1).await;
    tokio::time::sleep(std::time::Duration::from_secs(11)).await;
    assert_eq!(told.take(), partitions(by_nobody, 1), "it is looked for now and then");
    task.abort();
}
