//! What a broker has in memory, counted by the allocator, while many events wait for their due time: as much as with a few.
//! One test, as the allocator counts the whole process.

#![allow(missing_docs)]

use std::alloc::System;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tidegate_broker::RunningBroker;
use tidegate_broker::settings::Settings;
use tidegate_format::{Offset, PartitionId, PartitionIndex, TopicId, UserKey};
use tidegate_outbox::{Event, PublishSettings, Publisher, TopicDefaults, ensure_topic};
use tidegate_store::{EmbeddedOptions, EmbeddedStore, Store, SystemClock, Txn};
use uuid::Uuid;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const TOPIC: &str = "later";
const TOPIC_ID: TopicId = TopicId(Uuid::from_u128(0x1A7E));
const FEW: usize = 2_000;
const MANY: usize = 32_000;
const PER_TRANSACTION: usize = 500;
/// Not while this runs.
const FAR_MS: i64 = 86_400_000;
/// What the store and the runtime may have more of, now and then: less than 8 bytes for each of the many.
const NOISE_BYTES: usize = 200_000;
/// What may be left in memory of what was written: a few entries.
const FLUSHED_BYTES: u64 = 10_000;
/// After this time the test counts as hung. It has nothing to do with speed.
const HANG_AFTER: Duration = Duration::from_secs(120);

/// With little memory of its own, all of which is soon in use.
fn open(directory: &Path) -> EmbeddedStore {
    let defaults = EmbeddedOptions::new(Arc::new(SystemClock));
    let options = EmbeddedOptions {
        overlay_bytes: 96 << 10,
        tree_cache_bytes: 64 << 10,
        journal_ahead_bytes: 0,
        reserve_bytes: 0,
        ..defaults
    };
    EmbeddedStore::open(directory, options).expect("nobody else has it")
}

async fn start(store: &EmbeddedStore) -> RunningBroker {
    let any_port = ([127, 0, 0, 1], 0).into();
    let settings = Settings { listen: any_port, admin: any_port, ..Settings::default() };
    RunningBroker::start(settings, store.clone().into()).await.expect("free ports")
}

async fn publish(store: &EmbeddedStore, count: usize, due_ms: impl Fn(i64) -> i64) {
    let settings = PublishSettings::default();
    let numbers: Vec<usize> = (0..count).collect();
    for numbers in numbers.chunks(PER_TRANSACTION) {
        let mut txn = store.begin().await.expect("a snapshot");
        let mut publisher = Publisher::new(&txn, &settings, store.now_ms(), Uuid::new_v4());
        for number in numbers {
            let event = Event {
                id: number.to_string(),
                event_type: "reminder".to_owned(),
                source: "/tests".to_owned(),
                topic: Some(TOPIC.to_owned()),
                due_ms: Some(due_ms(i64::try_from(*number).expect("a count"))),
                value: Some(Bytes::from(vec![b'x'; 100])),
                ..Event::default()
            };
            publisher.publish(&mut txn, &event).await.expect("published");
        }
        txn.commit().await.expect("nobody else writes");
    }
}

/// Commits a little until what was written before is in the tree, so that the next opening reads back next to nothing of it.
async fn let_it_be_flushed(store: &EmbeddedStore) {
    let flushing = async {
        while store.metrics().overlay_bytes > FLUSHED_BYTES {
            let mut txn = store.begin().await.expect("a snapshot");
            txn.put(UserKey { key: Bytes::from_static(b"nudge") }.encode(), Bytes::from_static(b"1"));
            txn.commit().await.expect("nobody else writes");
        }
    };
    tokio::time::timeout(HANG_AFTER, flushing).await.expect("hung: the overlay is flushed");
}

/// Lets the partition move an event that is due, so that it knows by then what waits.
async fn let_it_move_one(store: &EmbeddedStore, broker: &RunningBroker) {
    let id = PartitionId { topic: TOPIC_ID, partition: PartitionIndex(0) };
    let now_ms = store.now_ms();
    publish(store, 1, |_| now_ms).await;
    broker.wakeup().committed(&[id]);
    let moving = async {
        loop {
            let mut txn = store.begin().await.expect("a snapshot");
            let state = tidegate_log::load_state(&mut txn, id).await.expect("it decodes");
            if state.is_some_and(|state| state.next_offset > Offset(0)) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANG_AFTER, moving).await.expect("hung: what is due is moved");
}

fn held(region: &Region<'_, System>) -> usize {
    let change = region.change();
    change.bytes_allocated.saturating_sub(change.bytes_deallocated)
}

/// What a process has that opens a store in which so many wait, once it knows of them.
async fn measure(pending: usize) -> usize {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let mut txn = store.begin().await.expect("a snapshot");
    ensure_topic(&mut txn, TOPIC, &TopicDefaults::default(), TOPIC_ID).await.expect("a topic");
    txn.commit().await.expect("nobody else writes");
    let far_ms = store.now_ms() + FAR_MS;
    publish(&store, pending, |number| far_ms + number).await;
    let_it_be_flushed(&store).await;
    store.shutdown().await;
    drop(store);

    let region = Region::new(ALLOCATOR);
    let store = open(directory.path());
    let broker = start(&store).await;
    let_it_move_one(&store, &broker).await;
    let at_start = held(&region);
    broker.stop().await;
    store.shutdown().await;
    at_start
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_its_time_takes_no_memory_however_much_it_is() {
    // What is made once in a process is there then.
    measure(PER_TRANSACTION).await;
    let few = measure(FEW).await;
    let many = measure(MANY).await;
    println!("{few} bytes with {FEW} pending, {many} with {MANY}");
    assert!(many < few + NOISE_BYTES, "{few} bytes with {FEW} pending, {many} with {MANY}");
}
