//! Which indexes and references answer: those that have all rows, whoever writes the table.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_format::BuiltKey;
use tidegate_store::{ManualClock, MemoryStore, Store, TransactionLimits, Txn};

use crate::fixture::{Fixture, NOW_MS, fixture, memory_store};
use crate::{Db, DbSettings, Error, Model, QueryError};

/// A ticket as an earlier release knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Model)]
#[model(crate = crate, table = "tickets")]
struct OldTicket {
    id: i64,
    #[model(index)]
    seat: String,
    event_id: Option<i64>,
}

/// As this one does: found by what it is for, too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Model)]
#[model(crate = crate, table = "tickets")]
struct Ticket {
    id: i64,
    #[model(index)]
    seat: String,
    #[model(index, references = Concert, on_delete = cascade)]
    event_id: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Model)]
#[model(crate = crate, table = "concerts", referenced_by(Ticket))]
struct Concert {
    id: i64,
}

fn old(id: i64) -> OldTicket {
    OldTicket { id, seat: format!("{id}"), event_id: None }
}

fn new(id: i64) -> Ticket {
    Ticket { id, seat: format!("{id}"), event_id: Some(1) }
}

async fn save<M: Model, S: Store>(db: &Db<S>, row: &M) {
    db.transaction(|tx| async move { tx.save(row).await }).await.expect("committed");
}

fn not_built(index: &'static str) -> Error {
    QueryError::NotBuilt { table: "tickets", index }.into()
}

async fn by_event<S: Store>(db: &Db<S>) -> Result<u64, Error> {
    db.snapshot().await?.query::<Ticket>("by_event_id").value(1).count().await
}

/// Two tickets of the earlier release, and the concert.
async fn sold() -> Db<MemoryStore> {
    let db = fixture().db;
    save(&db, &Concert { id: 1 }).await;
    for id in 0..2 {
        save(&db, &old(id)).await;
    }
    db
}

#[tokio::test]
async fn an_index_of_a_table_without_rows_needs_no_back_fill() {
    let db = fixture().db;
    assert_eq!(by_event(&db).await, Ok(0));
    save(&db, &Concert { id: 1 }).await;
    save(&db, &new(1)).await;
    assert_eq!(by_event(&db).await, Ok(1));
    // Nor for another process.
    let other = Fixture::over(db.store().clone(), DbSettings::default()).db;
    assert_eq!(by_event(&other).await, Ok(1));
}

#[tokio::test]
async fn until_it_is_filled_every_kind_of_query_of_a_new_index_is_refused_by_its_name() {
    let db = sold().await;
    save(&db, &new(2)).await;
    let snapshot = db.snapshot().await.expect("read");
    let query = || snapshot.query::<Ticket>("by_event_id").value(1);
    assert_eq!(query().fetch().await.map(|page| page.rows), Err(not_built("by_event_id")));
    assert_eq!(query().first().await, Err(not_built("by_event_id")));
    assert_eq!(query().ids().await.map(|page| page.rows), Err(not_built("by_event_id")));
    assert_eq!(query().count().await, Err(not_built("by_event_id")));
    let nothing = snapshot.query::<Ticket>("by_event_id").value(9).first().await;
    assert_eq!(nothing, Err(not_built("by_event_id")), "also where there is nothing");
    let referencing = snapshot.referencing::<Ticket, Concert>(1, "event_id").count().await;
    assert_eq!(referencing, Err(not_built("event_id")));
    assert_eq!(snapshot.query::<Ticket>("by_seat").value("1").count().await, Ok(1), "others answer");

    assert_eq!(db.backfill_step::<Ticket>(1).await.map(|step| step.is_done), Ok(false));
    assert_eq!(by_event(&db).await, Err(not_built("by_event_id")));
    assert!(db.backfill::<Ticket>().await.expect("filled").is_done);
    assert_eq!(by_event(&db).await, Ok(1));
}

#[tokio::test]
async fn what_is_named_is_not_deleted_while_a_new_reference_does_not_have_all_rows() {
    let db = sold().await;
    let delete = async || db.transaction(|tx| async move { tx.delete::<Concert>(1).await }).await;
    assert_eq!(delete().await, Err(not_built("event_id")));
    save(&db, &OldTicket { event_id: Some(1), ..old(0) }).await;
    db.backfill::<Ticket>().await.expect("filled");
    assert_eq!(delete().await, Ok(Some(Concert { id: 1 })));
    assert_eq!(db.snapshot().await.expect("read").list::<Ticket>().count().await, Ok(1), "one goes with it");
}

#[tokio::test]
async fn a_release_that_does_not_keep_an_index_ends_its_answers_when_it_writes() {
    let db = sold().await;
    db.backfill::<Ticket>().await.expect("filled");
    save(&db, &new(2)).await;
    assert_eq!(by_event(&db).await, Ok(1));
    // The application is rolled back, and then forward again.
    save(&db, &OldTicket { event_id: Some(1), ..old(3) }).await;
    assert_eq!(by_event(&db).await, Err(not_built("by_event_id")));
    assert_eq!(db.snapshot().await.expect("read").query::<OldTicket>("by_seat").count().await, Ok(4));
    db.backfill::<Ticket>().await.expect("filled again");
    assert_eq!(by_event(&db).await, Ok(2));
    assert_eq!(db.verify::<Ticket>().await.expect("readable").differing, 0);
}

#[tokio::test]
async fn a_back_fill_starts_over_after_a_write_of_another_release() {
    let db = sold().await;
    db.backfill_step::<Ticket>(1).await.expect("a step");
    // It is behind the back-fill already.
    save(&db, &OldTicket { event_id: Some(1), ..old(0) }).await;
    assert!(db.backfill::<Ticket>().await.expect("filled").is_done);
    assert_eq!(by_event(&db).await, Ok(1));
    assert_eq!(db.verify::<Ticket>().await.expect("readable").differing, 0);
}

#[tokio::test]
async fn a_transaction_that_began_before_the_back_fill_is_over_before_its_first_row_is_looked_at() {
    let clock = tidegate_store::ManualClock::at(crate::fixture::NOW_MS);
    let store = MemoryStore::new(std::sync::Arc::new(clock.clone()));
    let db = Fixture::over(store, DbSettings::default()).db;
    save(&db, &Concert { id: 1 }).await;
    save(&db, &old(5)).await;
    let early = db.begin().await.expect("begun");
    early.insert(&OldTicket { event_id: Some(1), ..old(0) }).await.expect("written");
    clock.advance(1);
    let filling = db.backfill::<Ticket>();
    let mut filling = std::pin::pin!(filling);
    for _ in 0..100 {
        assert!(futures::poll!(&mut filling).is_pending(), "it waits");
        tokio::task::yield_now().await;
    }
    early.commit().await.expect("it does not conflict");
    filling.await.expect("filled");
    assert_eq!(by_event(&db).await, Ok(1), "the row is not missed");
}

#[tokio::test]
async fn a_write_of_another_release_during_a_step_of_a_back_fill_is_an_error_of_its_own() {
    let clock = tidegate_store::ManualClock::at(crate::fixture::NOW_MS);
    let store = MemoryStore::new(std::sync::Arc::new(clock.clone()));
    let db = Fixture::over(store, DbSettings::default()).db;
    save(&db, &old(5)).await;
    let early = db.begin().await.expect("begun");
    clock.advance(1);
    let filling = db.backfill::<Ticket>();
    let mut filling = std::pin::pin!(filling);
    assert!(futures::poll!(&mut filling).is_pending(), "it waits");
    save(&db, &old(6)).await;
    drop(early);
    let expected = Error::OtherDefinition { table: "tickets", index: "by_event_id" };
    assert_eq!(filling.await, Err(expected));
    assert!(db.backfill::<Ticket>().await.expect("filled").is_done);
}

#[tokio::test]
async fn two_first_rows_of_a_table_do_not_both_list_its_indexes() {
    let db = Fixture::over(memory_store(), DbSettings::default()).db;
    let (left, right) = (db.begin().await.expect("begun"), db.begin().await.expect("begun"));
    left.insert(&old(1)).await.expect("written");
    right.insert(&Ticket { event_id: None, ..new(2) }).await.expect("written");
    left.commit().await.expect("the first");
    assert_eq!(right.commit().await, Err(Error::Conflict { attempts: 1 }));
    let mut txn = db.store().begin().await.expect("begun");
    let list = txn.get(&BuiltKey { table: "tickets".into() }.encode()).await.expect("read");
    let list = tidegate_format::BuiltValue::decode(list.expect("there")).expect("a list");
    assert_eq!(list.built.len(), 1, "the index that the earlier release keeps");
}

/// A crate with more labels than its row is large.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Model)]
#[model(crate = crate, table = "crates")]
struct PlainCrate {
    id: i64,
    labels: Vec<u16>,
}

/// The same, found by them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Model)]
#[model(crate = crate, table = "crates")]
struct LabelledCrate {
    id: i64,
    #[model(index)]
    labels: Vec<u16>,
}

#[tokio::test]
async fn rows_with_more_entries_than_the_store_takes_at_once_are_brought_and_mended_a_few_at_a_time() {
    let limits = TransactionLimits { max_bytes: 64 << 10, ..TransactionLimits::default() };
    let db = || {
        let store = MemoryStore::with_limits(Arc::new(ManualClock::at(NOW_MS)), limits);
        Fixture::over(store, DbSettings::default()).db
    };
    for repairs in [false, true] {
        let db = db();
        for id in 0..40 {
            let row = &PlainCrate { id, labels: (0..100).collect() };
            db.transaction(|tx| async move { tx.insert(row).await }).await.expect("committed");
        }
        if repairs {
            assert_eq!(db.repair::<LabelledCrate>().await.map(|mended| mended.rows), Ok(40));
        }
        assert_eq!(db.backfill::<LabelledCrate>().await.map(|state| state.rows), Ok(40));
        assert_eq!(db.verify::<LabelledCrate>().await.map(|compared| compared.differing), Ok(0));
        let snapshot = db.snapshot().await.expect("read");
        assert_eq!(snapshot.query::<LabelledCrate>("by_labels").value(7).count().await, Ok(40));
    }
}
