//! What becomes of a record that is given up while the store fails at each read of it in turn, and of one that another worker
//! tries at the same time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tidegate_format::{PartitionId, PartitionIndex, TopicId};
use tidegate_store::faulty::On;
use tidegate_store::{FaultyStore, MemoryStore, ReadError, SystemClock};
use uuid::Uuid;

use super::attempt::{Ended, Place};
use super::batch::BatchEnded;
use super::context::{Context, Handler};
use super::lane::Lane;
use super::load::begin_at;
use super::ordered::Batch;
use super::outcome::{HandlerError, Outcome};
use super::parked;
use super::progress::{Parked, Progress};
use crate::model::NoWakeup;
use crate::{ConsumerRecord, Db, DbSettings, RetryPolicy, TopicPartition};

type Unreliable = FaultyStore<MemoryStore>;

/// More reads than it takes.
const READS_MAX: usize = 20;

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

#[tokio::test]
async fn a_store_that_does_not_answer_puts_no_dead_letter_off() {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for read in 0..READS_MAX {
        let db = unreliable(read);
        let place = place(&db).await;
        let call = |_, _| async { Ok(Outcome::Reject("never".to_owned())) }.boxed();
        let context = context(db, Handler::Each(Arc::new(call)));
        let (lane, record) = (Lane::Alone(0), record());
        let ended = context.handle(&place, &lane, &record, 0, 0).await;
        *seen.entry(if ended == Ended::GivenBack { "given back" } else { "buried" }).or_default() += 1;
        if ended == Ended::GivenBack {
            assert_eq!(context.handle(&place, &lane, &record, 0, 0).await, Ended::Handled, "read {read}");
        } else {
            assert_eq!(ended, Ended::Handled, "read {read}");
        }
        assert_eq!(context.counters.figures().dead_letters, 1, "read {read}");
    }
    assert!(seen["given back"] > 2 && seen["buried"] > 2, "{seen:?}");
}

#[tokio::test]
async fn a_store_that_does_not_answer_puts_no_dead_letter_of_a_batch_off() {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for read in 0..READS_MAX {
        let db = unreliable(read);
        let place = place(&db).await;
        let call = |_, _| async { Ok(Outcome::Reject("never".to_owned())) }.boxed();
        let context = context(db, Handler::Batch(Arc::new(call)));
        let records = vec![(0, record())];
        let batch = Batch { from: 0, to: 1, records, done: vec![], noted: None, rests: 0 };
        let ended = context.handle_batch(&place, &batch).await;
        *seen.entry(if ended == BatchEnded::GivenBack { "given back" } else { "buried" }).or_default() += 1;
        if ended == BatchEnded::GivenBack {
            assert_eq!(context.handle_batch(&place, &batch).await, BatchEnded::Handled, "read {read}");
        } else {
            assert_eq!(ended, BatchEnded::Handled, "read {read}");
        }
        assert_eq!(context.counters.figures().dead_letters, 1, "read {read}");
    }
    assert!(seen["given back"] > 2 && seen["buried"] > 2, "{seen:?}");
}

/// Parks the record as having failed so often, whatever was there.
async fn park(db: &Db<Unreliable>, place: &Place, failures: u32, due_ms: i64) {
    let row = &parked::failed(&record(), failures, due_ms, None);
    let parked = db.transaction(|tx| async move {
        place.progress.park(&mut *tx.raw_store().await?, &Lane::Alone(0), 0, row);
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
            Err(HandlerError::new("as the other"))
        }
        .boxed()
    };
    let context = context(db.clone(), Handler::Each(Arc::new(call)));
    assert_eq!(context.retry(&place, &Lane::Alone(0), 0, 0).await, Ended::ParkedUntil(6));
    let tx = db.begin().await.expect("the store is there");
    let mut txn = tx.raw_store().await.expect("it is open");
    let found = place.progress.find_parked(&mut *txn, &Lane::Alone(0), 0, 6).await;
    assert_eq!(found, Ok(Parked::Due(parked::failed(&record(), 2, 6, None))));
}
