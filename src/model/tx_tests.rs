//! Rows and their events: what one transaction writes, refuses and announces.

use tidegate_format::{IndexKey, ManifestKey, ModelKey, NameError};
use tidegate_outbox::{EventLimits, PublishError, PublishSettings, TopicDefaults};
use tidegate_store::{CommitError, Txn};

use serde::{Deserialize, Serialize};

use crate::fixture::{Fixture, Flight, NOW_MS, fixture, header, memory_store, rows, waiting};
use crate::{DbSettings, Error, Field, Index, InputError, Model, ModelId, NewEvent, Upgrade, Write};

#[tokio::test]
async fn what_was_written_is_found() {
    let db = fixture().db;
    let (first, second) = (&Flight::new("KL1", "D7", NOW_MS + 1), &Flight::new("KL2", "D8", NOW_MS + 2));
    db.transaction(|tx| async move {
        tx.insert(first).await?;
        assert_eq!(tx.find::<Flight>("KL1").await?.as_ref(), Some(first), "own writes are seen");
        tx.insert(second).await
    })
    .await
    .expect("committed");
    let found = db
        .transaction(|tx| async move { tx.find_many::<Flight>(["KL2", "KL9", "KL1"]).await })
        .await
        .expect("read");
    assert_eq!(found, [Some(second.clone()), None, Some(first.clone())]);
}

#[tokio::test]
async fn insert_refuses_what_exists_and_update_what_does_not() {
    let db = fixture().db;
    let flight = &Flight::new("KL1", "D7", NOW_MS);
    let missing = db.transaction(|tx| async move { tx.update(flight).await }).await;
    assert_eq!(missing, Err(Error::Missing { table: "flights", id: "KL1".into() }));
    db.transaction(|tx| async move { tx.insert(flight).await }).await.expect("committed");
    let exists = db.transaction(|tx| async move { tx.insert(flight).await }).await;
    assert_eq!(exists, Err(Error::Exists { table: "flights", id: "KL1".into() }));
}

#[tokio::test]
async fn save_says_which_it_was() {
    let db = fixture().db;
    let flight = &Flight::new("KL1", "D7", NOW_MS);
    let save = || db.transaction(|tx| async move { tx.save(flight).await });
    assert_eq!(save().await, Ok(Write::Insert));
    assert_eq!(save().await, Ok(Write::Update));
}

#[tokio::test]
async fn a_deleted_row_leaves_nothing_of_it() {
    let db = fixture().db;
    let flight = &Flight { origin: Some("AMS".into()), ..Flight::new("KL1", "D7", NOW_MS) };
    db.transaction(|tx| async move { tx.insert(flight).await }).await.expect("committed");
    assert_eq!(rows(db.store(), IndexKey::range_table("flights")).await.len(), 4);
    let delete = || db.transaction(|tx| async move { tx.delete::<Flight>("KL1").await });
    assert_eq!(delete().await, Ok(Some(flight.clone())));
    for range in [ModelKey::range("flights"), IndexKey::range_table("flights"), ManifestKey::range("flights")]
    {
        assert_eq!(rows(db.store(), range).await, []);
    }
    assert_eq!(delete().await, Ok(None));
}

#[tokio::test]
async fn an_index_entry_holds_nothing_but_a_marker() {
    let db = fixture().db;
    let flight = &Flight::new("KL1", "D7", NOW_MS);
    db.transaction(|tx| async move { tx.insert(flight).await }).await.expect("committed");
    for (_, value) in rows(db.store(), IndexKey::range_table("flights")).await {
        assert_eq!(value, tidegate_format::MARKER);
    }
}

/// The same table with another index instead.
#[derive(Serialize, Deserialize)]
struct FlightOfAnotherRelease(Flight);

impl Model for FlightOfAnotherRelease {
    const TABLE: &'static str = Flight::TABLE;

    fn id(&self) -> ModelId {
        self.0.id()
    }

    fn indexes() -> &'static [Index<Self>] {
        const INDEXES: &[Index<FlightOfAnotherRelease>] =
            &[Index::new("by_number", &[Field::str("number", |flight| Some(&flight.0.number))])];
        INDEXES
    }
}

#[tokio::test]
async fn an_update_removes_the_entries_of_indexes_that_are_no_longer_defined() {
    let db = fixture().db;
    let flight = Flight::new("KL1", "D7", NOW_MS);
    let (old, new) = (&flight, &FlightOfAnotherRelease(flight.clone()));
    db.transaction(|tx| async move { tx.insert(old).await }).await.expect("committed");
    db.transaction(|tx| async move { tx.update(new).await }).await.expect("committed");
    let entries = rows(db.store(), IndexKey::range_table("flights")).await;
    let indexes: Vec<String> =
        entries.iter().map(|(key, _)| IndexKey::decode(key).expect("a key").index).collect();
    assert_eq!(indexes, ["by_number"]);
}

#[tokio::test]
async fn a_write_announces_its_events_in_the_same_commit() {
    let fixture = fixture();
    let flight = &Flight::new("KL1", "D7", NOW_MS + 60_000);
    fixture.db.transaction(|tx| async move { tx.insert(flight).await }).await.expect("committed");
    let events = waiting(fixture.db.store(), "flights").await;
    let [(None, scheduled), (Some(due_ms), departed)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(*due_ms, flight.departs_ms);
    assert_eq!(departed.schedule.as_deref(), Some("departure/KL1"));
    for (event, event_type) in [(scheduled, "flight.scheduled"), (departed, "flight.departed")] {
        assert_eq!(event.key.as_deref(), Some(b"KL1".as_slice()));
        let body = event.value.as_deref().expect("the model");
        assert_eq!(&serde_json::from_slice::<Flight>(body).expect("a flight"), flight);
        assert_eq!(header(event, "ce_type"), Some(event_type));
        assert_eq!(header(event, "ce_subject"), Some("KL1"));
        assert_eq!(header(event, "ce_source"), Some("/tidegate"));
        assert_eq!(header(event, "content-type"), Some("application/json"));
    }
    assert_ne!(header(scheduled, "ce_id"), header(departed, "ce_id"));
    assert_eq!(fixture.wakeups(), 1, "the relay is woken once per commit");
}

#[tokio::test]
async fn an_update_replaces_the_schedule_and_a_deletion_has_no_value() {
    let db = fixture().db;
    let flight = &Flight::new("KL1", "D7", NOW_MS + 60_000);
    let later = &Flight { departs_ms: NOW_MS + 90_000, ..flight.clone() };
    db.transaction(|tx| async move { tx.insert(flight).await }).await.expect("committed");
    db.transaction(|tx| async move { tx.update(later).await }).await.expect("committed");
    let due: Vec<i64> =
        waiting(db.store(), "flights").await.iter().filter_map(|(due_ms, _)| *due_ms).collect();
    assert_eq!(due, [NOW_MS + 90_000]);
    db.transaction(|tx| async move {
        tx.delete::<Flight>("KL1").await?;
        assert!(tx.cancel_schedule("flights", "departure/KL1").await?);
        Ok(())
    })
    .await
    .expect("committed");
    let events = waiting(db.store(), "flights").await;
    let (None, last) = events.last().expect("the deletion") else {
        panic!("nothing is scheduled: {events:?}")
    };
    assert_eq!(header(last, "ce_type"), Some("flight.cancelled"));
    assert_eq!(last.value, None);
    assert_eq!(last.key.as_deref(), Some(b"KL1".as_slice()));
}

#[tokio::test]
async fn a_transaction_that_fails_leaves_neither_row_nor_event_nor_topic() {
    let fixture = fixture();
    let flight = &Flight::new("KL1", "D7", NOW_MS);
    let failed: Result<(), Error> = fixture
        .db
        .transaction(|tx| async move {
            tx.insert(flight).await?;
            Err(Error::Over)
        })
        .await;
    assert_eq!(failed, Err(Error::Over));
    assert_eq!(rows(fixture.db.store(), (vec![0].into(), vec![0xFE].into())).await, []);
    assert_eq!(fixture.wakeups(), 0);
}

#[tokio::test]
async fn events_of_their_own_are_published_scheduled_moved_and_cancelled() {
    let db = fixture().db;
    db.transaction(|tx| async move {
        tx.register_event_type("tower.note", "tower").await?;
        tx.publish(NewEvent::new("tower.note").key("t1").json(&serde_json::json!({"text": "hello"}))).await?;
        tx.schedule("s1", NOW_MS + 10, NewEvent::new("tower.alarm").topic("tower")).await?;
        tx.schedule("s2", NOW_MS + 20, NewEvent::new("tower.alarm").topic("tower")).await?;
        assert!(tx.reschedule("tower", "s1", NOW_MS + 30).await?);
        assert!(tx.cancel_schedule("tower", "s2").await?);
        assert!(!tx.cancel_schedule("tower", "s3").await?);
        Ok(())
    })
    .await
    .expect("committed");
    let events = waiting(db.store(), "tower").await;
    let due: Vec<Option<i64>> = events.iter().map(|(due_ms, _)| *due_ms).collect();
    assert_eq!(due, [None, Some(NOW_MS + 30)]);
    assert_eq!(events[0].1.value.as_deref(), Some(br#"{"text":"hello"}"#.as_slice()));
}

#[tokio::test]
async fn the_first_event_creates_its_topic_only_if_that_is_allowed() {
    let flight = &Flight::new("KL1", "D7", NOW_MS);
    let refusing = DbSettings { publish: PublishSettings::default(), ..DbSettings::default() };
    let db = Fixture::over(memory_store(), refusing).db;
    let refused = db.transaction(|tx| async move { tx.insert(flight).await }).await;
    assert_eq!(refused, Err(PublishError::UnknownTopic { topic: "flights".into() }.into()));

    let defaults = TopicDefaults { partitions: 12, ..TopicDefaults::default() };
    let publish = PublishSettings { create_topics: Some(defaults), ..PublishSettings::default() };
    let db = Fixture::over(memory_store(), DbSettings { publish, ..DbSettings::default() }).db;
    db.transaction(|tx| async move { tx.insert(flight).await }).await.expect("committed");
    let mut txn = tidegate_store::Store::begin(db.store()).await.expect("the store is there");
    let topic = tidegate_outbox::load_topic(&mut txn, "flights").await.expect("read").expect("the topic");
    assert_eq!(topic.partitions, 12);
}

#[tokio::test]
async fn ids_that_cannot_be_are_refused() {
    let db = fixture().db;
    let (empty, long) = (&Flight::new("", "D7", NOW_MS), &Flight::new(&"x".repeat(513), "D7", NOW_MS));
    let insert = |flight| db.transaction(move |tx| async move { tx.insert::<Flight>(flight).await });
    assert_eq!(insert(empty).await, Err(InputError::IdEmpty { table: "flights" }.into()));
    let too_long = InputError::IdTooLong { table: "flights", actual: 513, limit: 512 };
    assert_eq!(insert(long).await, Err(too_long.into()));
    let found = db.transaction(|tx| async move { tx.find::<Flight>("").await }).await;
    assert_eq!(found, Err(InputError::IdEmpty { table: "flights" }.into()));
}

#[tokio::test]
async fn a_model_over_the_limit_is_refused() {
    let settings = DbSettings { model_max_bytes: 100, ..DbSettings::default() };
    let db = Fixture::over(memory_store(), settings).db;
    let flight = &Flight::new("KL1", &"x".repeat(100), NOW_MS);
    let refused = db.transaction(|tx| async move { tx.insert(flight).await }).await;
    assert!(
        matches!(refused, Err(Error::Input(InputError::TooLarge { table: "flights", limit: 100, actual, .. })) if actual > 100)
    );
}

#[tokio::test]
async fn indexed_values_that_have_no_place_are_refused_by_index_and_field() {
    let db = fixture().db;
    let nan = &Flight { weight: f64::NAN, ..Flight::new("KL1", "D7", NOW_MS) };
    let refused = db.transaction(|tx| async move { tx.insert(nan).await }).await;
    let expected = InputError::NotANumber { table: "flights", index: "by_weight", field: "weight" };
    assert_eq!(refused, Err(expected.into()));
    let long = &Flight::new("KL1", &"x".repeat(5000), NOW_MS);
    let refused = db.transaction(|tx| async move { tx.insert(long).await }).await;
    assert!(matches!(refused, Err(Error::Input(InputError::IndexKey { index: "by_gate", .. }))));
}

#[derive(Debug, PartialEq, Serialize, Deserialize, Model)]
#[model(crate = crate, table = "measures")]
struct Measure {
    id: i64,
    value: Option<f64>,
}

#[tokio::test]
async fn a_number_that_would_not_come_back_is_refused_by_field() {
    let db = fixture().db;
    let save = async |value| {
        let measure = &Measure { id: 1, value };
        db.transaction(|tx| async move { tx.save(measure).await }).await
    };
    for value in [f64::NAN, f64::INFINITY] {
        let expected = InputError::NotFinite { table: "measures", id: 1.into(), field: "value".into() };
        assert_eq!(save(Some(value)).await, Err(expected.into()));
    }
    assert_eq!(save(None).await, Ok(Write::Insert));
    assert_eq!(save(Some(1.5)).await, Ok(Write::Update));
}

#[derive(Serialize, Deserialize)]
struct BadTable;

impl Model for BadTable {
    const TABLE: &'static str = "a/b";

    fn id(&self) -> ModelId {
        1.into()
    }
}

#[tokio::test]
async fn a_table_name_that_cannot_be_is_refused() {
    let db = fixture().db;
    let refused = db.transaction(|tx| async move { tx.insert(&BadTable).await }).await;
    let cause = NameError::Illegal { what: "table or index name" };
    assert_eq!(refused, Err(InputError::Name(cause).into()));
}

#[tokio::test]
async fn a_write_whose_event_was_refused_half_way_cannot_be_committed() {
    let limits = EventLimits { due_ahead_max_ms: 1_000, ..EventLimits::default() };
    let create_topics = Some(TopicDefaults::default());
    let publish = PublishSettings { limits, create_topics };
    let db = Fixture::over(memory_store(), DbSettings { publish, ..DbSettings::default() }).db;
    // Its first event is written, its second is due too late.
    let flight = &Flight::new("KL1", "D7", NOW_MS + 2_000);
    let committed = db
        .transaction(|tx| async move {
            assert!(matches!(tx.insert(flight).await, Err(Error::Publish(PublishError::DueTooLate { .. }))));
            assert_eq!(tx.insert(flight).await, Err(Error::HalfWritten));
            Ok(())
        })
        .await;
    assert_eq!(committed, Err(Error::HalfWritten));
    assert_eq!(waiting(db.store(), "flights").await, []);
}

/// A model whose rows changed with its second version.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Gate {
    name: String,
}

impl Model for Gate {
    const TABLE: &'static str = "gates";
    const UPGRADES: &'static [Upgrade] = &[|row| Ok(serde_json::json!({ "name": row }))];

    fn id(&self) -> ModelId {
        7.into()
    }
}

/// Puts a row of some version into the table.
async fn put_gate(db: &crate::Db<tidegate_store::MemoryStore>, schema_version: u32, body: &'static str) {
    let key = ModelKey { table: "gates".into(), id: ModelId::Integer(7).encode() }.encode();
    let value = tidegate_format::ModelValue { schema_version, body: body.into() }.encode();
    let (key, value) = (&key, &value);
    db.transaction(|tx| async move {
        tx.raw_store().await?.put(key.clone(), value.clone());
        Ok(())
    })
    .await
    .expect("committed");
}

#[tokio::test]
async fn rows_of_earlier_schema_versions_are_upgraded_and_of_later_ones_refused() {
    let db = fixture().db;
    let find = || db.transaction(|tx| async move { tx.find::<Gate>(7).await });
    put_gate(&db, 1, "\"D7\"").await;
    assert_eq!(find().await, Ok(Some(Gate { name: "D7".into() })));
    put_gate(&db, 2, r#"{"name":"D8"}"#).await;
    assert_eq!(find().await, Ok(Some(Gate { name: "D8".into() })));
    put_gate(&db, 3, "?").await;
    let newer = Error::NewerSchema { table: "gates", id: 7.into(), found: 3, supported: 2 };
    assert_eq!(find().await, Err(newer));
    put_gate(&db, 2, "?").await;
    assert!(matches!(find().await, Err(Error::Decode { table: "gates", .. })));
}

#[tokio::test]
async fn a_handle_that_outlives_its_transaction_is_of_no_use() {
    let db = fixture().db;
    let escaped = db.transaction(|tx| async move { Ok(tx) }).await.expect("committed");
    assert_eq!(escaped.find::<Flight>("KL1").await, Err(Error::Over));
    assert_eq!(escaped.insert(&Flight::new("KL1", "D7", NOW_MS)).await, Err(Error::Over));
    assert_eq!(escaped.commit().await, Err(Error::Over));
}

/// Of two on call one may leave, if the other is there: each looks at the other and goes.
#[tokio::test]
async fn what_a_transaction_depends_on_does_not_change_under_it() {
    let db = fixture().db;
    db.transaction(|tx| async move {
        tx.insert(&Flight::new("KL1", "D7", NOW_MS)).await?;
        tx.insert(&Flight::new("KL2", "D7", NOW_MS)).await
    })
    .await
    .expect("committed");
    let leave = async |other: &str, own: &str, is_guarded: bool| {
        let tx = db.begin().await.expect("begun");
        let there = if is_guarded { tx.find_guarded::<Flight>(other).await } else { tx.find(other).await };
        assert!(there.expect("read").is_some());
        tx.delete::<Flight>(own).await.expect("deleted");
        tx
    };
    let (left, right) = (leave("KL1", "KL2", true).await, leave("KL2", "KL1", true).await);
    assert_eq!(left.commit().await, Ok(()));
    assert_eq!(right.commit().await, Err(Error::Conflict { attempts: 1 }));
    db.transaction(|tx| async move { tx.insert(&Flight::new("KL2", "D7", NOW_MS)).await })
        .await
        .expect("back");
    let (left, right) = (leave("KL1", "KL2", false).await, leave("KL2", "KL1", false).await);
    assert_eq!((left.commit().await, right.commit().await), (Ok(()), Ok(())), "unguarded, both go");
}

#[tokio::test]
async fn of_two_transactions_that_write_one_row_one_commits() {
    let db = fixture().db;
    let (left, right) = (db.begin().await.expect("begun"), db.begin().await.expect("begun"));
    let flight = Flight::new("KL1", "D7", NOW_MS);
    left.insert(&flight).await.expect("written");
    right.insert(&flight).await.expect("written, as far as its snapshot tells");
    assert_eq!(left.commit().await, Ok(()));
    assert_eq!(right.commit().await, Err(Error::Conflict { attempts: 1 }));
}

#[tokio::test]
async fn a_transaction_over_the_stores_limit_is_refused_as_such() {
    let limits = tidegate_store::TransactionLimits { max_bytes: 1_000, ..Default::default() };
    let clock = std::sync::Arc::new(tidegate_store::ManualClock::at(NOW_MS));
    let store = tidegate_store::MemoryStore::with_limits(clock, limits);
    let db = Fixture::over(store, DbSettings::default()).db;
    let flight = &Flight::new("KL1", &"x".repeat(1_000), NOW_MS);
    let refused = db.transaction(|tx| async move { tx.insert(flight).await }).await;
    assert!(matches!(refused, Err(Error::Commit(CommitError::TooLarge { limit: 1_000, .. }))));
}

macro_rules! made_by_a_macro {
    ($(#[$attribute:meta])* $name:ident) => {
        #[derive(Clone, Serialize, Deserialize, Model)]
        #[model(crate = crate, table = "made")]
        $(#[$attribute])*
        struct $name {
            id: i64,
            city: String,
        }
    };
}

made_by_a_macro!(
    #[model(index(name = "by_city", fields = [city]))]
    Made
);

/// What the derive named was not what it meant where fields and attributes come from different places.
#[tokio::test]
async fn a_struct_that_another_macro_writes_is_a_model_too() {
    let db = fixture().db;
    let made = &Made { id: 1, city: "Delft".into() };
    let found = db
        .transaction(|tx| async move {
            tx.insert(made).await?;
            tx.query::<Made>("by_city").value("Delft").first().await
        })
        .await
        .expect("committed");
    assert_eq!(found.map(|made| made.id), Some(1));
}
