//! What does not belong to applications is neither read nor written through the port, and is named.

use std::sync::Arc;

use bytes::Bytes;
use tidegate::RemoteStore;
use tidegate_broker::settings::Settings;
use tidegate_format::{
    DoneKey, EventTypeKey, EventTypeValue, EventValue, IndexKey, Kind, MARKER, ModelId, ModelKey, ModelValue,
    Offset, OffsetKey, OffsetValue, OrderVersion, OutboxKey, PartitionId, PartitionIndex, ScheduleKey,
    TimerKey, TopicId, TopicKey, TopicValue, UserKey,
};
use tidegate_store::{
    CommitError, Direction, KeyRange, ReadError, ScanLimit, Store, SystemClock, Txn, Version,
};
use uuid::Uuid;

use crate::fixture::{Broker, connect, directory, settings};

/// Kinds of which a row can be put, given the right key and value.
const PUT: &[Kind] = &[
    Kind::Topic,
    Kind::EventType,
    Kind::Offset,
    Kind::Group,
    Kind::Done,
    Kind::Parked,
    Kind::Timer,
    Kind::Schedule,
    Kind::EventId,
    Kind::Published,
    Kind::Model,
    Kind::Index,
    Kind::Manifest,
    Kind::Unique,
    Kind::Reference,
    Kind::Backfill,
    Kind::Built,
    Kind::User,
];
/// Kinds that can be read but are never put: outboxes get their entries under the version of the commit.
const READ_ONLY: &[Kind] = &[Kind::GroupMember, Kind::Outbox];
/// Kinds that can be put but neither removed nor guarded.
const PUT_ONLY: &[Kind] = &[Kind::Topic, Kind::EventType, Kind::Offset, Kind::Group];

struct Served {
    _dir: tempfile::TempDir,
    broker: Broker,
    store: RemoteStore,
}

async fn serve(settings: Settings) -> Served {
    let dir = directory();
    let broker = Broker::open(dir.path(), Arc::new(SystemClock), settings).await;
    let store = connect(broker.address()).await;
    Served { _dir: dir, broker, store }
}

/// A key that has a kind's tags, and is no key of that kind otherwise but for applications' own.
fn key_of(kind: Kind) -> Bytes {
    let mut key = vec![kind.tag()];
    if let Some(second) = kind.second_tag() {
        key.extend([1; 20]);
        key.push(second);
    }
    key.extend(b"x");
    key.into()
}

pub(crate) async fn commit(
    store: &RemoteStore,
    write: impl FnOnce(&mut <RemoteStore as Store>::Txn),
) -> Result<Version, CommitError> {
    let mut txn = store.begin().await.expect("it begins");
    write(&mut txn);
    txn.commit().await.map(|committed| committed.version)
}

/// The reason of a refusal, which names the kind.
pub(crate) fn refusal(outcome: Result<Version, CommitError>, kind: Kind) -> String {
    let Err(CommitError::Unavailable { reason }) = outcome else { panic!("{kind}: {outcome:?}") };
    assert!(reason.contains(&format!("kind {kind}:")), "{kind}: {reason}");
    reason
}

#[tokio::test]
async fn what_is_not_an_applications_is_neither_read_nor_written_and_is_named() {
    let Served { _dir, broker, store } = serve(settings()).await;
    for kind in Kind::ALL.iter().copied() {
        let key = key_of(kind);
        let range = KeyRange::new(key.clone(), KeyRange::successor(&key));
        let mut txn = store.begin().await.expect("it begins");
        let got = txn.get(&key).await;
        let scanned = txn.scan(&range, ScanLimit::count(1), Direction::Forward).await;
        let keys = txn.scan_keys(&range, 1, Direction::Backward).await;
        let is_read = PUT.contains(&kind) || READ_ONLY.contains(&kind);
        let names = |error: &ReadError| error.to_string().contains(&format!("kind {kind}:"));
        assert_eq!(got.is_ok(), is_read, "{kind}");
        assert_eq!((scanned.is_ok(), keys.is_ok()), (is_read, is_read), "{kind}");
        assert!(got.as_ref().err().is_none_or(names) && scanned.as_ref().err().is_none_or(names), "{kind}");
        if kind == Kind::User {
            continue;
        }
        // Not even a kind that can be put takes what is no row of it.
        let value = Bytes::from_static(b"\xFFno row");
        refusal(commit(&store, |txn| txn.put(key.clone(), value.clone())).await, kind);
        let versioned = commit(&store, |txn| txn.put_versioned(key.clone(), Bytes::new(), value.clone()));
        refusal(versioned.await, kind);
        if !PUT.contains(&kind) || PUT_ONLY.contains(&kind) {
            refusal(commit(&store, |txn| txn.delete(key.clone())).await, kind);
            refusal(commit(&store, |txn| txn.guard(key.clone())).await, kind);
            let removed = store.delete_range(range).await;
            assert!(
                matches!(&removed, Err(CommitError::Unavailable { reason }) if reason.contains(kind.name()))
            );
        }
    }
    let nothing = commit(&store, |txn| txn.put(Bytes::from_static(&[0x77, 1]), MARKER)).await;
    assert!(nothing.is_err_and(|error| error.to_string().contains("tag 0x77")));
    broker.stop().await;
}

#[tokio::test]
async fn a_range_of_several_kinds_is_refused() {
    let Served { _dir, broker, store } = serve(settings()).await;
    let mut txn = store.begin().await.expect("it begins");
    let models_and_more = KeyRange::new(vec![Kind::Model.tag()], vec![Kind::User.tag(), 0xFF]);
    assert!(txn.scan_keys(&models_and_more, 1, Direction::Forward).await.is_err());
    assert!(store.delete_range(models_and_more).await.is_err());
    let mut outbox = key_of(Kind::Outbox).to_vec();
    outbox.truncate(22);
    let all_of_a_partition = KeyRange::new(outbox.clone(), KeyRange::prefix(&outbox[..21]).end);
    assert!(txn.scan_keys(&all_of_a_partition, 1, Direction::Forward).await.is_err());
    assert_eq!(txn.scan_keys(&KeyRange::prefix(&outbox), 1, Direction::Forward).await, Ok(vec![]));
    broker.stop().await;
}

/// One of the rows is not admitted: none of them is written.
#[tokio::test]
async fn a_commit_with_one_refused_row_leaves_nothing() {
    let Served { _dir, broker, store } = serve(settings()).await;
    let own = UserKey { key: "k".into() }.encode();
    let refused = commit(&store, |txn| {
        txn.put(own.clone(), MARKER);
        txn.put(key_of(Kind::PartitionState), MARKER);
    });
    refusal(refused.await, Kind::PartitionState);
    assert_eq!(store.begin().await.expect("it begins").get(&own).await, Ok(None));
    commit(&store, |txn| txn.put(own.clone(), MARKER)).await.expect("an own key is admitted");
    broker.stop().await;
}

const TOPIC: TopicId = TopicId(Uuid::from_u128(7));
const PARTITION: PartitionId = PartitionId { topic: TOPIC, partition: PartitionIndex(0) };

fn topic(version: Version, id: TopicId) -> TopicValue {
    TopicValue { id, partitions: 1, created_version: OrderVersion(version.0), configs: [].into() }
}

fn topic_key(name: &str) -> Bytes {
    TopicKey { name: name.to_owned() }.encode()
}

async fn put_topic(
    store: &RemoteStore,
    name: &str,
    alter: impl FnOnce(&mut TopicValue),
) -> Result<Version, CommitError> {
    commit(store, |txn| {
        let mut value = topic(txn.start_version(), TOPIC);
        alter(&mut value);
        txn.put(topic_key(name), value.encode());
    })
    .await
}

#[tokio::test]
async fn a_topic_comes_into_being_once_and_is_changed_by_kafkas_requests_alone() {
    let Served { _dir, broker, store } = serve(settings()).await;
    let refused = async |outcome| refusal(outcome, Kind::Topic);
    refused(put_topic(&store, "__internal", |_| {}).await).await;
    refused(put_topic(&store, "no/name", |_| {}).await).await;
    refused(put_topic(&store, "flights", |topic| topic.partitions = 0).await).await;
    refused(put_topic(&store, "flights", |topic| topic.partitions = i32::MAX).await).await;
    refused(put_topic(&store, "flights", |topic| topic.id = TopicId(Uuid::nil())).await).await;
    refused(put_topic(&store, "flights", |topic| topic.created_version = OrderVersion(1)).await).await;
    let configs = [("cleanup.policy".to_owned(), "nonsense".to_owned())];
    refused(put_topic(&store, "flights", |topic| topic.configs = configs.into()).await).await;
    put_topic(&store, "flights", |_| {}).await.expect("a new topic");
    refused(put_topic(&store, "flights", |topic| topic.partitions = 9).await).await;
    let reason = refused(put_topic(&store, "other", |_| {}).await).await;
    assert!(reason.contains("another topic's"), "{reason}");
    let event_type = |topic: &str| {
        (
            EventTypeKey { name: "flight.departed".into() }.encode(),
            EventTypeValue { topic: topic.into() }.encode(),
        )
    };
    let (key, value) = event_type("no/name");
    refusal(commit(&store, |txn| txn.put(key, value)).await, Kind::EventType);
    let (key, value) = event_type("flights");
    commit(&store, |txn| txn.put(key, value)).await.expect("an event type");
    broker.stop().await;
}

fn event(bytes: usize) -> EventValue {
    EventValue { value: Some(vec![7; bytes].into()), ..EventValue::default() }
}

#[tokio::test]
async fn entries_that_would_hold_a_relay_up_are_refused() {
    let Served { _dir, broker, store } = serve(settings()).await;
    put_topic(&store, "flights", |topic| {
        topic.configs = [("max.message.bytes".to_owned(), "1000".to_owned())].into();
    })
    .await
    .expect("a new topic");
    let outbox = |value: EventValue, id| {
        commit(&store, move |txn| {
            txn.put_versioned(OutboxKey::prefix(id), OutboxKey::suffix(0), value.encode());
        })
    };
    // The broker learns of the topic with its first entry.
    outbox(event(10), PARTITION).await.expect("an event");
    let mut reason = String::new();
    while !reason.contains("max.message.bytes") {
        let outcome = outbox(event(2_000), PARTITION).await;
        if outcome.is_err() {
            reason = refusal(outcome, Kind::Outbox);
        }
        tokio::task::yield_now().await;
    }
    let nowhere = PartitionId { partition: PartitionIndex(-1), ..PARTITION };
    refusal(outbox(event(10), nowhere).await, Kind::Outbox);
    let timer = async |due_ms: i64| {
        let key = TimerKey { id: PARTITION, due_ms, entry: Uuid::from_u128(1) }.encode();
        commit(&store, |txn| txn.put(key, event(10).encode())).await
    };
    let reason = refusal(timer(store.now_ms() - 10_000).await, Kind::Timer);
    assert!(reason.contains("before its transaction began"), "{reason}");
    timer(store.now_ms() + 1_000_000).await.expect("a timer");
    broker.stop().await;
}

#[tokio::test]
async fn rows_of_applications_are_decoded_and_their_values_too() {
    let Served { _dir, broker, store } = serve(settings()).await;
    let id = ModelId::from(5).encode();
    let model = ModelKey { table: "flights".into(), id: id.clone() }.encode();
    let index = IndexKey { table: "flights".into(), index: "by_gate".into(), values: vec![], id };
    let index = index.encode().expect("short values");
    let row = ModelValue { schema_version: 1, body: "{}".into() }.encode();
    let wrong = [
        (Kind::Model, model.clone(), Bytes::from_static(&[9])),
        (Kind::Index, index.clone(), row.clone()),
        (Kind::Schedule, ScheduleKey { topic: TOPIC, schedule: "s".into() }.encode(), MARKER),
        (Kind::Done, DoneKey { group: String::new(), id: PARTITION, offset: Offset(1) }.encode(), MARKER),
    ];
    for (kind, key, value) in wrong {
        refusal(commit(&store, |txn| txn.put(key, value)).await, kind);
    }
    let offset = OffsetKey { group: "crew".into(), id: PARTITION }.encode();
    let value = OffsetValue {
        offset: Offset(1),
        leader_epoch: -1,
        metadata: String::new(),
        commit_time_ms: 1,
        expire_time_ms: None,
    };
    let outcome = commit(&store, |txn| txn.put(offset.clone(), value.encode())).await;
    assert!(refusal(outcome, Kind::Offset).contains("no such partition"));
    commit(&store, |txn| {
        txn.put(model.clone(), row.clone());
        txn.put(index.clone(), MARKER);
    })
    .await
    .expect("a model and its index entry");
    put_topic(&store, "flights", |_| {}).await.expect("a new topic");
    commit(&store, |txn| txn.put(offset, value.encode())).await.expect("an offset of a topic that exists");
    broker.stop().await;
}
