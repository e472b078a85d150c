//! Publishing: where an event goes, what it carries, what is refused.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidegate_format::{EventValue, OutboxKey, TimerKey};
use tidegate_store::{CommitError, Store, Txn};
use uuid::Uuid;

use super::*;
use crate::fixture::{
    NOW_MS, TOPIC, TOPIC_NAME, commit, create_topic, due, event, memory_store, partition, publish,
    publish_settings, rows, scheduled, waiting,
};
use crate::{TopicDefaults, topic_of_event_type};

async fn outbox_values<S: Store>(store: &S, id: PartitionId) -> Vec<EventValue> {
    let rows = rows(store, OutboxKey::range(id)).await;
    rows.into_iter().map(|(_, row)| EventValue::decode(row).expect("an event")).collect()
}

fn bytes(text: &str) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(text.as_bytes()))
}

#[tokio::test]
async fn an_event_waits_in_the_outbox_with_its_key_its_value_and_the_headers_of_cloudevents() {
    let (store, _) = memory_store();
    create_topic(&store, 1).await;
    let event = Event {
        subject: Some("LH123".to_owned()),
        content_type: Some("application/json".to_owned()),
        headers: vec![("trace".to_owned(), bytes("abc")), ("empty".to_owned(), None)],
        time_ms: NOW_MS + 7,
        ..event("k", "v")
    };
    let published = publish(&store, event).await.expect("published");
    assert_eq!(published, Published { id: partition(0), due_ms: None });
    let headers = [
        ("ce_specversion", bytes("1.0")),
        ("ce_id", bytes("id-v")),
        ("ce_type", bytes("flight.scheduled")),
        ("ce_source", bytes("/tests")),
        ("ce_time", bytes("2023-11-14T22:13:20.007Z")),
        ("ce_subject", bytes("LH123")),
        ("content-type", bytes("application/json")),
        ("trace", bytes("abc")),
        ("empty", None),
    ];
    let expected = EventValue {
        schedule: None,
        timestamp_ms: None,
        key: bytes("k"),
        value: bytes("v"),
        headers: headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
    };
    assert_eq!(outbox_values(&store, partition(0)).await, [expected]);
}

#[tokio::test]
async fn a_deleted_model_has_a_null_value() {
    let (store, _) = memory_store();
    create_topic(&store, 1).await;
    publish(&store, Event { value: None, ..event("k", "v") }).await.expect("published");
    assert_eq!(outbox_values(&store, partition(0)).await[0].value, None);
}

#[tokio::test]
async fn the_partition_is_kafkas_for_the_key() {
    let (store, _) = memory_store();
    create_topic(&store, 12).await;
    // Kafka's own vectors of murmur2, by its rule: (hash & 0x7fffffff) % partitions.
    for (key, hash) in [("21", -973_932_308), ("foobar", -790_332_482), ("abc", 479_470_107_i32)] {
        let published = publish(&store, event(key, "v")).await.expect("published");
        assert_eq!(published.id, partition((hash & i32::MAX) % 12), "{key}");
    }
}

#[tokio::test]
async fn events_without_a_key_share_one_partition_in_one_transaction() {
    let (store, _) = memory_store();
    create_topic(&store, 12).await;
    let mut used = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let ids = commit(&store, async |publisher, txn| {
            let event = Event { key: None, ..event("", "v") };
            let first = publisher.publish(txn, &event).await.expect("published").id;
            let second = publisher.publish(txn, &event).await.expect("published").id;
            assert_eq!(publisher.touched(), [first]);
            [first, second]
        })
        .await;
        assert_eq!(ids[0], ids[1]);
        used.insert(ids[0]);
    }
    assert!(used.len() > 1, "transactions spread over partitions");
}

#[tokio::test]
async fn events_of_one_transaction_keep_the_order_in_which_they_were_published() {
    let (store, _) = memory_store();
    create_topic(&store, 1).await;
    let names: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    commit(&store, async |publisher, txn| {
        for name in &names {
            publisher.publish(txn, &event("k", name)).await.expect("published");
        }
    })
    .await;
    let values = outbox_values(&store, partition(0)).await;
    let values: Vec<_> = values.into_iter().map(|value| value.value).collect();
    assert_eq!(values, names.iter().map(|name| bytes(name)).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_event_due_later_waits_in_the_timer_with_its_due_time_as_timestamp() {
    let (store, _) = memory_store();
    create_topic(&store, 1).await;
    let published = publish(&store, due(event("k", "v"), NOW_MS + 5)).await.expect("published");
    assert_eq!(published.due_ms, Some(NOW_MS + 5));
    assert_eq!(waiting(&store, partition(0)).await, (0, 1, 0));
    let (key, row) = rows(&store, TimerKey::range(partition(0))).await.remove(0);
    assert_eq!(TimerKey::decode(&key).expect("a key").due_ms, NOW_MS + 5);
    assert_eq!(EventValue::decode(row).expect("an event").timestamp_ms, Some(NOW_MS + 5));
}

#[tokio::test]
async fn an_event_whose_due_time_has_come_is_due_at_commit() {
    let (store, _) = memory_store();
    create_topic(&store, 1).await;
    for due_ms in [NOW_MS, NOW_MS - 1, 0, i64::MIN] {
        publish(&store, scheduled(event("k", "v"), "s", due_ms)).await.expect("published");
    }
    assert_eq!(waiting(&store, partition(0)).await, (4, 0, 0));
}

#[tokio::test]
async fn a_first_use_enters_the_event_type_into_the_catalogue_and_creates_its_topic() {
    let (store, _) = memory_store();
    let defaults = TopicDefaults { partitions: 3, configs: BTreeMap::from([("a".into(), "b".into())]) };
    let settings = PublishSettings { create_topics: Some(defaults), ..PublishSettings::default() };
    let mut txn = store.begin().await.expect("a snapshot");
    let mut publisher = Publisher::new(&txn, &settings, NOW_MS, Uuid::from_u128(1));
    let first = publisher.publish(&mut txn, &event("k", "v")).await.expect("published");
    let second = publisher.publish(&mut txn, &event("k", "w")).await.expect("published");
    let own_name = Event { topic: None, ..event("k", "x") };
    let other = Event { event_type: "flight.departed".to_owned(), ..own_name };
    let other = publisher.publish(&mut txn, &other).await.expect("published");
    txn.commit().await.expect("nobody else writes");
    assert_eq!(first.id, second.id);
    assert_ne!(first.id.topic, other.id.topic);
    let mut txn = store.begin().await.expect("a snapshot");
    let topic = load_topic(&mut txn, TOPIC_NAME).await.expect("readable").expect("created");
    assert_eq!((topic.id, topic.partitions), (first.id.topic, 3));
    assert_eq!(topic.configs, BTreeMap::from([("a".into(), "b".into())]));
    for (event_type, topic) in [("flight.scheduled", TOPIC_NAME), ("flight.departed", "flight.departed")] {
        let found = topic_of_event_type(&mut txn, event_type).await.expect("readable");
        assert_eq!(found.as_deref(), Some(topic));
    }
}

#[tokio::test]
async fn the_catalogue_decides_once_it_has_the_event_type() {
    let (store, _) = memory_store();
    create_topic(&store, 1).await;
    commit(&store, async |_, txn| register_event_type(txn, "flight.scheduled", TOPIC_NAME))
        .await
        .expect("a good name");
    let elsewhere = Event { topic: Some("elsewhere".to_owned()), ..event("k", "v") };
    assert_eq!(publish(&store, elsewhere).await.expect("published").id.topic, TOPIC);
}

#[tokio::test]
async fn of_two_transactions_that_create_one_topic_the_later_runs_again_and_finds_it() {
    let (store, _) = memory_store();
    let settings = publish_settings();
    let mut first = store.begin().await.expect("a snapshot");
    let mut second = store.begin().await.expect("a snapshot");
    let mut ids = Vec::new();
    for (txn, random) in [(&mut first, 1), (&mut second, 2)] {
        let mut publisher = Publisher::new(txn, &settings, NOW_MS, Uuid::from_u128(random));
        ids.push(publisher.publish(txn, &event("k", "v")).await.expect("published").id);
    }
    assert_ne!(ids[0], ids[1]);
    first.commit().await.expect("the first comes first");
    assert_eq!(second.commit().await, Err(CommitError::Conflict));
    assert_eq!(publish(&store, event("k", "v")).await.expect("published").id, ids[0]);
}

#[tokio::test]
async fn an_unknown_topic_is_refused_unless_topics_are_created_on_first_use() {
    let (store, _) = memory_store();
    let settings = PublishSettings::default();
    let mut txn = store.begin().await.expect("a snapshot");
    let mut publisher = Publisher::new(&txn, &settings, NOW_MS, Uuid::from_u128(1));
    let refused = publisher.publish(&mut txn, &event("k", "v")).await;
    assert_eq!(refused, Err(PublishError::UnknownTopic { topic: TOPIC_NAME.to_owned() }));
    assert_eq!(publisher.touched(), []);
    txn.commit().await.expect("nobody else writes");
    let mut txn = store.begin().await.expect("a snapshot");
    assert_eq!(topic_of_event_type(&mut txn, "flight.scheduled").await, Ok(None));
}

#[tokio::test]
async fn what_is_wrong_with_an_event_is_said_and_nothing_is_written() {
    let (store, _) = memory_store();
    let good = || event("k", "v");
    let limits = EventLimits::default();
    let far_ms = NOW_MS + limits.due_ahead_max_ms + 1;
    let year_10000_ms = 253_402_300_800_000;
    let headers = vec![(String::new(), None); limits.headers_max];
    let cases: [(Event, &str); 12] = [
        (Event { id: String::new(), ..good() }, "the event's id is empty"),
        (Event { source: String::new(), ..good() }, "the event's source is empty"),
        (Event { event_type: String::new(), ..good() }, "\"\" is refused: event type is empty"),
        (Event { event_type: "a b".to_owned(), ..good() }, "\"a b\" is refused: event type may have"),
        (Event { topic: Some("a/b".to_owned()), ..good() }, "\"a/b\" is refused: topic name may have"),
        (Event { schedule: Some(String::new()), ..good() }, "\"\" is refused: schedule id is empty"),
        (
            Event { schedule: Some("s".repeat(513)), ..good() },
            "schedule id of 513 bytes is over the limit of 512",
        ),
        (Event { headers: vec![("ce_type".to_owned(), None)], ..good() }, "header \"ce_type\" is set from"),
        (Event { headers, ..good() }, "261 headers are over the limit of 256"),
        (
            Event { value: Some(vec![0; 1_048_588].into()), ..good() },
            "bytes is over the limit of 1048588 bytes",
        ),
        (due(good(), far_ms), "is later than the latest allowed"),
        (Event { time_ms: year_10000_ms, ..good() }, "is not a time between the years 0 and 9999"),
    ];
    for (event, cause) in cases {
        let error = publish(&store, event).await.expect_err(cause).to_string();
        assert!(error.contains(cause), "{error:?} does not say {cause:?}");
    }
    let mut txn = store.begin().await.expect("a snapshot");
    assert_eq!(load_topic(&mut txn, TOPIC_NAME).await, Ok(None));
    assert_eq!(waiting(&store, partition(0)).await, (0, 0, 0));
}

#[tokio::test]
async fn an_event_is_taken_only_if_its_batch_is_one_that_the_topic_takes() {
    let (store, _) = memory_store();
    let mut txn = store.begin().await.expect("a snapshot");
    ensure_topic(&mut txn, TOPIC_NAME, &TopicDefaults::default(), TOPIC).await.expect("a topic");
    txn.commit().await.expect("nobody else writes");
    let limit = EventLimits::default().event_max_bytes;
    let of = |length: usize| Event { value: Some(vec![7; length].into()), ..event("k", "v") };
    let mut length = limit - 100;
    while let Err(error) = publish(&store, of(length)).await {
        let PublishError::TooLarge { what: "record batch", actual, limit: told } = error else {
            panic!("with what a batch adds it is too large: {error:?}")
        };
        assert_eq!(told, limit);
        length -= actual - limit;
    }
    // A length can take a byte less where it is a little smaller.
    assert!(publish(&store, of(length + 2)).await.is_err());
    let mut owner = crate::fixture::Owner::of(&store, partition(0)).await;
    let entries = owner.turn(&store).await.appends.expect("one record").entries;
    assert_eq!(entries.len(), 1);
    assert!((limit - 1..=limit).contains(&entries[0].batch.len()), "{}", entries[0].batch.len());
}

#[tokio::test]
async fn a_topics_own_configuration_is_kept_to() {
    let (store, _) = memory_store();
    let mut txn = store.begin().await.expect("a snapshot");
    let configs = [("cleanup.policy", "compact,delete"), ("max.message.bytes", "1000")];
    let configs = configs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let defaults = TopicDefaults { partitions: 1, configs };
    ensure_topic(&mut txn, TOPIC_NAME, &defaults, TOPIC).await.expect("a topic");
    txn.commit().await.expect("nobody else writes");
    let refused = publish(&store, Event { key: None, ..event("k", "v") }).await;
    assert_eq!(refused, Err(PublishError::KeyRequired { topic: TOPIC_NAME.to_owned() }));
    let refused = publish(&store, event("k", &"v".repeat(450))).await;
    assert!(
        matches!(refused, Err(PublishError::TooLarge { what: "record batch", limit: 1_000, .. })),
        "{refused:?}"
    );
    publish(&store, event("k", &"v".repeat(360))).await.expect("published");
    let mut owner = crate::fixture::Owner::of(&store, partition(0)).await;
    let entries = owner.turn(&store).await.appends.expect("one record").entries;
    assert!(entries[0].batch.len() <= 1_000);
}

#[tokio::test]
async fn a_schedule_published_again_replaces_what_waits_also_in_another_partition() {
    let (store, _) = memory_store();
    create_topic(&store, 12).await;
    let first = publish(&store, scheduled(event("21", "v1"), "s", NOW_MS + 10)).await.expect("published");
    let touched = commit(&store, async |publisher, txn| {
        let event = scheduled(event("abc", "v2"), "s", NOW_MS + 20);
        let second = publisher.publish(txn, &event).await.expect("published");
        assert_ne!(second.id, first.id);
        assert_eq!(waiting_in(txn, first.id).await, 0);
        publisher.touched()
    })
    .await;
    assert_eq!(waiting(&store, first.id).await, (0, 0, 1));
    assert_eq!(touched.len(), 2, "both partitions have another next due time");
    assert!(touched.contains(&first.id));
}

#[tokio::test]
async fn a_schedule_published_as_due_at_commit_takes_the_place_of_what_waits() {
    let (store, _) = memory_store();
    create_topic(&store, 1).await;
    publish(&store, scheduled(event("k", "v1"), "s", NOW_MS + 10)).await.expect("published");
    let now = Event { schedule: Some("s".to_owned()), ..event("k", "v2") };
    publish(&store, now).await.expect("published");
    assert_eq!(waiting(&store, partition(0)).await, (1, 0, 0));
    assert_eq!(outbox_values(&store, partition(0)).await[0].schedule, None);
}

#[tokio::test]
async fn cancelling_and_moving_by_topic_name_touch_the_partition_of_what_waits() {
    let (store, _) = memory_store();
    create_topic(&store, 1).await;
    publish(&store, scheduled(event("k", "v"), "s", NOW_MS + 10)).await.expect("published");
    commit(&store, async |publisher, txn| {
        assert_eq!(publisher.reschedule(txn, TOPIC_NAME, "s", NOW_MS + 30).await, Ok(true));
        assert_eq!(publisher.touched(), [partition(0)]);
        assert_eq!(publisher.reschedule(txn, TOPIC_NAME, "other", NOW_MS + 30).await, Ok(false));
        assert_eq!(publisher.reschedule(txn, "no-such-topic", "s", NOW_MS + 30).await, Ok(false));
        let far = publisher.reschedule(txn, TOPIC_NAME, "s", i64::MAX).await;
        assert!(matches!(far, Err(PublishError::DueTooLate { due_ms: i64::MAX, .. })));
        assert_eq!(publisher.cancel(txn, TOPIC_NAME, "s").await, Ok(true));
        assert_eq!(publisher.cancel(txn, TOPIC_NAME, "s").await, Ok(false));
        assert_eq!(publisher.cancel(txn, "no-such-topic", "s").await, Ok(false));
    })
    .await;
    assert_eq!(waiting(&store, partition(0)).await, (0, 0, 0));
}

async fn waiting_in(txn: &mut impl Txn, id: PartitionId) -> usize {
    schedule::next_due(txn, id).await.expect("readable").map_or(0, |_| 1)
}
