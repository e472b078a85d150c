//! Options of a write: which events it announces, with what in them; events published once; times; what is unchanged.

use serde::{Deserialize, Serialize};
use serde_json::json;
use tidegate_format::{EventIdKey, EventValue, Kind, MARKER};
use tidegate_store::faulty::{CommitFault, On};
use tidegate_store::{CommitError, KeyRange, ManualClock, MemoryStore, ReadError, Store, Txn};

use crate::blog::faulty;
use crate::fixture::{Fixture, NOW_MS, header, memory_store, rows, waiting};
use crate::{Db, DbSettings, Error, InputError, Model, NewEvent, TimeMs, WriteOptions};

/// Ids are remembered until a multiple of it.
const BUCKET_MS: i64 = 60_000;

/// A parcel that knows when it was written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Model)]
#[model(crate = crate, table = "parcels", skip_unchanged)]
#[model(events(insert = "parcel.sent", update = "parcel.changed", delete = "parcel.gone"))]
#[model(index(name = "by_created", fields = [created_at]))]
struct Parcel {
    id: i64,
    city: String,
    #[model(created_at)]
    created_at: TimeMs,
    #[model(updated_at)]
    updated_at: Option<i64>,
}

fn parcel(city: &str) -> Parcel {
    Parcel { id: 1, city: city.to_owned(), created_at: TimeMs(0), updated_at: None }
}

fn timed() -> (Db<MemoryStore>, ManualClock) {
    let clock = ManualClock::at(NOW_MS);
    let store = MemoryStore::new(std::sync::Arc::new(clock.clone()));
    (Fixture::over(store, DbSettings::default()).db, clock)
}

async fn save(db: &Db<impl Store>, parcel: &Parcel, options: &WriteOptions) {
    db.transaction(|tx| async move { tx.save_with(parcel, options).await }).await.expect("committed");
}

async fn events(db: &Db<impl Store>) -> Vec<EventValue> {
    waiting(db.store(), "parcels").await.into_iter().map(|(_, event)| event).collect()
}

fn value(event: &EventValue) -> serde_json::Value {
    serde_json::from_slice(event.value.as_deref().expect("a value")).expect("JSON")
}

#[tokio::test]
async fn a_row_has_the_times_of_its_first_and_last_write() {
    let (db, clock) = timed();
    save(&db, &parcel("Delft"), &WriteOptions::new()).await;
    clock.advance(10);
    // Neither the time of the insert nor that of an update is taken from the caller.
    save(&db, &Parcel { created_at: TimeMs(5), ..parcel("Gouda") }, &WriteOptions::new()).await;
    let snapshot = db.snapshot().await.expect("read");
    let found = snapshot.find::<Parcel>(1).await.expect("read").expect("there");
    assert_eq!((found.created_at, found.updated_at), (TimeMs(NOW_MS), Some(NOW_MS + 10)));
    let by_time = snapshot.query::<Parcel>("by_created").range(TimeMs(NOW_MS)..).first().await;
    assert_eq!(by_time, Ok(Some(found)));
    assert_eq!(db.verify::<Parcel>().await.expect("readable").differing, 0);
}

#[tokio::test]
async fn a_write_that_changes_nothing_is_none_if_that_was_chosen() {
    let (db, clock) = timed();
    let options = WriteOptions::new();
    save(&db, &parcel("Delft"), &options).await;
    clock.advance(10);
    save(&db, &parcel("Delft"), &options).await;
    assert_eq!(events(&db).await.len(), 1);
    let find =
        async || db.snapshot().await.expect("read").find::<Parcel>(1).await.expect("read").expect("there");
    assert_eq!(find().await.updated_at, Some(NOW_MS), "the time of the last change stays");
    save(&db, &parcel("Delft"), &options.clone().skip_unchanged(false)).await;
    assert_eq!(events(&db).await.len(), 2);
    assert_eq!(find().await.updated_at, Some(NOW_MS + 10));
    save(&db, &parcel("Gouda"), &options).await;
    assert_eq!(events(&db).await.len(), 3);
}

#[tokio::test]
async fn a_write_can_announce_nothing_or_say_more() {
    let (db, _) = timed();
    save(&db, &parcel("Delft"), &WriteOptions::new().without_events()).await;
    assert_eq!(events(&db).await, []);
    let options = WriteOptions::new().metadata("trace", "abc").metadata("user", "7").due_at(NOW_MS + 5);
    save(&db, &parcel("Gouda"), &options).await;
    let waiting = waiting(db.store(), "parcels").await;
    let [(Some(due_ms), event)] = waiting.as_slice() else { panic!("{waiting:?}") };
    assert_eq!(*due_ms, NOW_MS + 5);
    assert_eq!((header(event, "trace"), header(event, "user")), (Some("abc"), Some("7")));
    db.transaction(|tx| async move {
        tx.delete_with::<Parcel>(1, &WriteOptions::new().metadata("user", "8")).await
    })
    .await
    .expect("committed");
    assert_eq!(header(&events(&db).await[0], "user"), Some("8"));
}

#[tokio::test]
async fn events_carry_the_row_before_and_after_if_that_was_chosen() {
    let (db, _) = timed();
    let images = WriteOptions::new().images();
    save(&db, &parcel("Delft"), &images).await;
    save(&db, &parcel("Gouda"), &images).await;
    db.transaction(|tx| async move { tx.delete_with::<Parcel>(1, &WriteOptions::new().images()).await })
        .await
        .expect("committed");
    let events = events(&db).await;
    let cities: Vec<_> = events
        .iter()
        .map(value)
        .map(|value| (value["before"]["city"].clone(), value["after"]["city"].clone()))
        .collect();
    assert_eq!(
        cities,
        [(json!(null), json!("Delft")), (json!("Delft"), json!("Gouda")), (json!("Gouda"), json!(null))]
    );
    assert!(events.iter().all(|event| header(event, "content-type") == Some("application/json")));
}

async fn publish_once(db: &Db<impl Store>, id: &str) -> bool {
    db.transaction(|tx| async move {
        let event = NewEvent::new("parcel.reminder").topic("parcels").unique_id(id);
        Ok(tx.publish(event).await?.is_some())
    })
    .await
    .expect("committed")
}

#[tokio::test]
async fn an_event_with_a_unique_id_is_published_once_for_a_window_at_least() {
    let (db, clock) = timed();
    let window_ms = DbSettings::default().unique_id_window_ms;
    assert!(publish_once(&db, "a").await);
    assert!(!publish_once(&db, "a").await);
    assert!(publish_once(&db, "b").await);
    clock.advance(window_ms - 1);
    assert!(!publish_once(&db, "a").await, "still known");
    clock.advance(BUCKET_MS);
    assert!(publish_once(&db, "a").await, "forgotten a minute after the window at most");
    assert_eq!(events(&db).await.len(), 3);
}

/// A database of another service over the same store.
fn service(db: &Db<MemoryStore>, source: &str, unique_id_window_ms: i64) -> Db<MemoryStore> {
    let settings = DbSettings { source: source.to_owned(), unique_id_window_ms, ..DbSettings::default() };
    Fixture::over(db.store().clone(), settings).db
}

#[tokio::test]
async fn an_id_is_remembered_as_was_promised_whatever_window_others_have() {
    let (db, clock) = timed();
    let long = service(&db, "/long", 86_400_000);
    // Of another service, and of this one with another setting.
    let others = [service(&db, "/short", BUCKET_MS), service(&db, "/long", BUCKET_MS)];
    assert!(publish_once(&long, "a").await);
    assert!(publish_once(&others[0], "a").await, "each source has its own ids");
    clock.advance(86_400_000 - 1);
    for other in &others {
        other.expire_unique_ids().await.expect("the store is there");
    }
    assert!(publish_once(&others[0], "a").await, "its own is forgotten");
    assert!(!publish_once(&long, "a").await);
    assert!(!publish_once(&others[1], "a").await, "it goes by what was promised when it was written");
    clock.advance(2 * BUCKET_MS);
    assert!(publish_once(&others[1], "a").await);
    // And the other way round: what was promised for a short time holds nobody up for a long one.
    clock.advance(2 * BUCKET_MS);
    assert!(publish_once(&long, "a").await);
}

/// How many rows there are of ids.
async fn id_rows(db: &Db<impl Store>) -> usize {
    let range = KeyRange::new(vec![Kind::EventId.tag()], vec![Kind::Published.tag() + 1]);
    rows(db.store(), (range.start, range.end)).await.len()
}

#[tokio::test]
async fn ids_are_removed_when_they_are_remembered_no_longer() {
    let (db, clock) = timed();
    let window_ms = DbSettings::default().unique_id_window_ms;
    assert!(publish_once(&db, "a").await);
    db.expire_unique_ids().await.expect("the store is there");
    assert_eq!(id_rows(&db).await, 2, "of the id, and of its time");
    clock.advance(window_ms + 2 * BUCKET_MS);
    // It was published again before anybody removed it.
    assert!(publish_once(&db, "a").await);
    db.expire_unique_ids().await.expect("the store is there");
    assert_eq!(id_rows(&db).await, 2);
    assert!(!publish_once(&db, "a").await);
    clock.advance(window_ms + 2 * BUCKET_MS);
    db.expire_unique_ids().await.expect("the store is there");
    assert_eq!(id_rows(&db).await, 0);
    assert!(publish_once(&db, "a").await);
    clock.advance(window_ms + 2 * BUCKET_MS);
    // The first publication of another minute does it, too.
    assert!(publish_once(&db, "b").await);
    while id_rows(&db).await > 2 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn many_ids_are_removed_in_steps_and_those_of_earlier_builds_go_with_them() {
    let (db, clock) = timed();
    let mut txn = db.store().begin().await.expect("begun");
    for number in 0..1_200 {
        let key = EventIdKey { until_ms: NOW_MS - 1, source: "/old".into(), id: number.to_string() };
        txn.put(key.encode(), MARKER);
    }
    txn.commit().await.expect("committed");
    assert!(publish_once(&db, "a").await);
    db.expire_unique_ids().await.expect("the store is there");
    assert_eq!(id_rows(&db).await, 2);
    clock.advance(1);
    assert!(!publish_once(&db, "a").await);
}

#[tokio::test]
async fn of_two_transactions_that_publish_an_id_one_commits() {
    let (db, clock) = timed();
    for later_commits_first in [false, true] {
        let event = || NewEvent::new("parcel.reminder").unique_id(format!("x{later_commits_first}"));
        let earlier = db.begin().await.expect("begun");
        clock.advance(59_000);
        let later = db.begin().await.expect("begun");
        for tx in [&earlier, &later] {
            assert!(tx.publish(event()).await.expect("written").is_some());
        }
        let (first, second) = if later_commits_first { (later, earlier) } else { (earlier, later) };
        assert_eq!(first.commit().await, Ok(()));
        assert_eq!(second.commit().await, Err(crate::Error::Conflict { attempts: 1 }));
    }
}

#[tokio::test]
async fn an_id_of_a_transaction_that_was_not_applied_is_not_known() {
    let db = Fixture::over(faulty(memory_store()), DbSettings::default()).db;
    let full = CommitError::DiskFull { reserve_bytes: 1 };
    db.store().faults().fail_commit(On::next(), CommitFault::Refused(full));
    let failed = db
        .transaction(|tx| async move { tx.publish(NewEvent::new("parcel.reminder").unique_id("a")).await })
        .await;
    assert!(failed.is_err());
    db.store().faults().fail_commit(On::next(), CommitFault::LostApplied);
    assert!(publish_once(&db, "a").await);
    assert!(!publish_once(&db, "a").await);
}

#[tokio::test]
async fn an_event_that_was_refused_does_not_use_up_its_id() {
    let (db, _) = timed();
    db.transaction(|tx| async move {
        let event = || NewEvent::new("parcel.reminder").topic("parcels").unique_id("a");
        assert!(tx.publish(event().due_at(i64::MAX)).await.is_err());
        assert!(tx.publish(event()).await?.is_some());
        Ok(())
    })
    .await
    .expect("committed");
    for (id, actual) in [(String::new(), 0), ("x".repeat(513), 513)] {
        let id = &id;
        let refused =
            db.transaction(|tx| async move { tx.publish(NewEvent::new("p").unique_id(id)).await }).await;
        let expected = InputError::UniqueId { what: "unique id", actual, limit: 512 };
        assert_eq!(refused, Err(expected.into()));
    }
}

#[tokio::test]
async fn an_event_can_be_due_some_time_after_the_transaction() {
    let (db, _) = timed();
    db.transaction(|tx| async move {
        let hour = std::time::Duration::from_secs(3_600);
        tx.publish(NewEvent::new("parcel.reminder").topic("parcels").due_in(hour)).await
    })
    .await
    .expect("committed");
    assert_eq!(waiting(db.store(), "parcels").await[0].0, Some(NOW_MS + 3_600_000));
}

/// To be asked after an hour, and again an hour after each change.
#[derive(Clone, Serialize, Deserialize, Model)]
#[model(crate = crate, table = "parcels", events = of_claim)]
struct Claim {
    id: i64,
    #[model(created_at)]
    created_at: TimeMs,
    #[model(updated_at)]
    updated_at: Option<i64>,
}

const HOUR_MS: i64 = 3_600_000;

fn of_claim(claim: &Claim, write: crate::Write) -> Vec<NewEvent> {
    let deadline = NewEvent::new("claim.deadline").due_at(claim.created_at.0 + 10 * HOUR_MS);
    let reminder = NewEvent::new("claim.reminder").due_at(claim.updated_at.unwrap_or_default() + HOUR_MS);
    match write {
        crate::Write::Delete => vec![],
        crate::Write::Insert | crate::Write::Update => {
            vec![deadline.schedule("deadline"), reminder.schedule("reminder")]
        }
    }
}

#[tokio::test]
async fn events_see_the_times_of_the_write_and_not_those_of_the_caller() {
    let (db, clock) = timed();
    let claim = &Claim { id: 1, created_at: TimeMs(5), updated_at: None };
    let due = async || {
        let waiting = waiting(db.store(), "parcels").await.into_iter();
        waiting.map(|(due_ms, event)| (event.schedule, due_ms)).collect::<Vec<_>>()
    };
    let expected = |updated_ms: i64| {
        let waiting = [("reminder", updated_ms + HOUR_MS), ("deadline", NOW_MS + 10 * HOUR_MS)];
        waiting.map(|(schedule, due_ms)| (Some(schedule.to_owned()), Some(due_ms)))
    };
    db.transaction(|tx| async move { tx.insert(claim).await }).await.expect("committed");
    assert_eq!(due().await, expected(NOW_MS));
    clock.advance(10);
    db.transaction(|tx| async move { tx.update(claim).await }).await.expect("committed");
    assert_eq!(due().await, expected(NOW_MS + 10), "the first time stays that of the insert");
}

#[tokio::test]
async fn a_model_s_event_with_a_unique_id_is_announced_once_while_the_row_is_written_twice() {
    #[derive(Clone, Serialize, Deserialize, Model)]
    #[model(crate = crate, table = "parcels", events = of_ticket)]
    struct Ticket {
        id: String,
    }
    fn of_ticket(ticket: &Ticket, _write: crate::Write) -> Vec<NewEvent> {
        vec![NewEvent::new("ticket.sold").unique_id(format!("sold/{}", ticket.id))]
    }
    let (db, _) = timed();
    for _ in 0..2 {
        let ticket = &Ticket { id: "t1".into() };
        db.transaction(|tx| async move { tx.save(ticket).await }).await.expect("committed");
    }
    assert_eq!(events(&db).await.len(), 1);
    assert_eq!(id_rows(&db).await, 2);
}

#[tokio::test]
async fn a_store_that_does_not_answer_has_refused_no_event() {
    let db = Fixture::over(faulty(memory_store()), DbSettings::default()).db;
    let gone = ReadError::Unavailable { reason: "a test".to_owned() };
    db.store().faults().fail_read(On::next(), gone.clone());
    let published = db.transaction(|tx| async move {
        tx.publish(NewEvent::new("parcel.lost").topic("parcels").key("1")).await.map(drop)
    });
    assert_eq!(published.await, Err(Error::Read(gone)));
}
