//! What an open snapshot does not hold up.

use std::sync::Arc;

use tidegate_store::{EmbeddedOptions, EmbeddedStore, ManualClock, MemoryStore, Store};

use crate::DbSettings;
use crate::fixture::{Fixture, Flight, NOW_MS};

/// By that time relays know how far back they need not look again, and back-fills what they wait for.
async fn holds_up_no_time(store: impl Store, clock: &ManualClock) {
    let db = Fixture::over(store, DbSettings::default()).db;
    let snapshot = db.snapshot().await.expect("begun");
    assert_eq!(snapshot.find::<Flight>("KL1").await, Ok(None));
    assert_eq!(snapshot.query::<Flight>("by_gate").value("D7").first().await, Ok(None));
    assert_eq!(snapshot.user().get("k").await, Ok(None));
    clock.advance(5_000);
    assert_eq!(db.store().oldest_open_ms(), NOW_MS + 5_000);
    let flight = &Flight::new("KL1", "D7", NOW_MS);
    db.transaction(|tx| async move { tx.insert(flight).await }).await.expect("committed");
    assert_eq!(snapshot.find::<Flight>("KL1").await, Ok(None), "it sees what it saw");
    drop(snapshot);
    let transaction = db.begin().await.expect("begun");
    clock.advance(5_000);
    assert_eq!(db.store().oldest_open_ms(), NOW_MS + 5_000);
    transaction.roll_back().await;
}

#[tokio::test]
async fn an_open_snapshot_holds_up_no_time() {
    let clock = ManualClock::at(NOW_MS);
    holds_up_no_time(MemoryStore::new(Arc::new(clock.clone())), &clock).await;
}

#[tokio::test]
async fn an_open_snapshot_holds_up_no_time_on_disk() {
    let clock = ManualClock::at(NOW_MS);
    let directory = tempfile::tempdir().expect("a directory");
    let options = EmbeddedOptions { reserve_bytes: 0, ..EmbeddedOptions::new(Arc::new(clock.clone())) };
    let store = EmbeddedStore::open(directory.path(), options).expect("nobody else has it");
    holds_up_no_time(store.clone(), &clock).await;
    store.shutdown().await;
}
