//! What becomes of a record that another worker tries at the same time.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tidegate_format::{PartitionId, PartitionIndex, TopicId};
use tidegate_store::faulty::On;
use tidegate_store::{FaultyStore, MemoryStore, ReadError, SystemClock};
use uuid::Uuid;

use super::attempt::{Ended, Place};
use super::context::{Context, Handler};
use super::lane::Lane;
use super::load::begin_at;
use super::parked;
use super::progress::{Parked, Progress};
use crate::model::NoWakeup;
use crate::{ConsumerRecord, Db, DbSettings, RetryPolicy, TopicPartition};

type Unreliable = FaultyStore<MemoryStore>;

fn unreliable(read: usize) -> Db<Unreliable> {
    let mut nonce = 0;
    let store = FaultyStore::new(MemoryStore::new(Arc::new(SystemClock)), move || {
        nonce += 1;
        nonce
    });
    store.faults().fail_read(On::nth(read), ReadError::Unavailable { reason: "a test".to_owned() });
    Db::new(store, DbSettings::default(), Arc::new(NoWakeup))
}

fn context(db: Db<Unreliable>, handler: Handler<Unreliable>) -> Context<Unreliable> {
    let (policy, handler_timeout) = (RetryPolicy::default(), Duration::from_secs(60));
    Context { db, group: "billing".to_owned(), handler, policy, handler_timeout, counters: Arc::default() }
}

fn record() -> Arc<ConsumerRecord> {
    Arc::new(ConsumerRecord {
        topic: Arc::from("orders"),
        partition: 0,
        offset: 0,
        timestamp_ms: 7,
        key: Some("k".into()),
        value: None,
        headers: vec![],
    })
}

/// The place of a record, in whose partition the group has begun.
async fn place(db: &Db<Unreliable>) -> Place {
    let id = PartitionId { topic: TopicId(Uuid::from_u128(1)), partition: PartitionIndex(0) };
    let progress = Progress::new("billing".to_owned(), id);
    // It may be this that the store fails at.
    while begin_at(db, &progress, 0).await.is_err() {}
    Place { at: TopicPartition::new("orders", 0), progress }
}

/// Parks the record as having failed so often, whatever was there.
async fn park(db: &Db<Unreliable>, place: &Place, failures: u32, due_ms: i64) {
    let row = &parked::failed(&record(), failures, due_ms, None);
    let parked = db.transaction(|tx| async move {
        place.progress.park(&mut *tx.store().await?, &Lane::Alone(0), 0, row);
        Ok(())
    });
    parked.await.expect("the store is there");
}

#[tokio::test]
async fn a_try_of_a_record_that_another_worker_tried_meanwhile_counts_for_nothing() {
    let db = unreliable(usize::MAX);
    let place = place(&db).await;
    park(&db, &place, 1, 5).await;
    let (other, same) = (db.clone(), place.clone());
    let call = move |_, _| {
        let (other, same) = (other.clone(), same.clone());
        async move {
            park(&other, &same, 2, 6).await;
            Err("as the other".to_owned())
        }
        .boxed()
    };
    let context = context(db.clone(), Handler::Each(Box::new(call)));
    assert_eq!(context.retry(&place, &Lane::Alone(0), 0).await, Ended::ParkedUntil(6));
    let tx = db.begin().await.expect("the store is there");
    let mut txn = tx.store().await.expect("it is open");
    let found = place.progress.find_parked(&mut *txn, &Lane::Alone(0), 0, 6).await;
    assert_eq!(found, Ok(Parked::Due(parked::failed(&record(), 2, 6, None))));
}
