//! Snapshots that are only read, for as long as it takes: what they see, and what they do not hold up.

use std::sync::Arc;

use bytes::Bytes;

use super::super::lossy_files::LossyFiles;
use super::super::{EmbeddedOptions, EmbeddedStore};
use super::until;
use crate::{Clock, Direction, KeyRange, ManualClock, ScanLimit, Store, SystemClock, Txn, Version};

const OVERLAY_BYTES: usize = 100_000;

fn open(files: &LossyFiles, options: EmbeddedOptions) -> EmbeddedStore {
    let options = EmbeddedOptions { overlay_bytes: OVERLAY_BYTES, ..options };
    EmbeddedStore::open_files(Arc::new(files.clone()), None, options).unwrap()
}

async fn put(store: &EmbeddedStore, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Version {
    let mut txn = store.begin().await.unwrap();
    txn.put(key.into(), value.into());
    txn.commit().await.unwrap().version
}

#[tokio::test]
async fn a_snapshot_that_is_only_read_holds_up_no_time() {
    let clock = ManualClock::at(1_000_000);
    let store = open(&LossyFiles::new(), EmbeddedOptions::new(Arc::new(clock.clone())));
    let reader = store.begin_reading().await.unwrap();
    clock.advance(5_000);
    assert_eq!(store.oldest_open_ms(), clock.now_ms());
    let writer = store.begin().await.unwrap();
    clock.advance(5_000);
    assert_eq!(store.oldest_open_ms(), clock.now_ms() - 5_000);
    drop((reader, writer));
    assert_eq!(store.oldest_open_ms(), clock.now_ms());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_stays_open_costs_memory_for_one_overlay_and_no_more() {
    let store = open(&LossyFiles::new(), EmbeddedOptions::new(Arc::new(SystemClock)));
    for number in 0..100_u32 {
        put(&store, format!("key/{number:03}"), vec![1; 20]).await;
    }
    let mut reader = store.begin_reading().await.unwrap();
    // One key over and over: in the overlay that the reader sees each version but the first and the last is for nobody.
    let flushes = store.metrics().flushes;
    let mut highest = 0;
    for round in 0..4_000_u32 {
        put(&store, "key/000", round.to_be_bytes().to_vec()).await;
        highest = highest.max(store.metrics().overlay_bytes);
    }
    until("its overlay, too large to be kept as the newest, is flushed", || {
        store.metrics().flushes > flushes
    })
    .await;
    assert!(highest <= 2 * OVERLAY_BYTES as u64 + 1_000, "{highest} bytes of overlays");
    // The overlays since then keep nothing for it.
    let small = store.metrics();
    for round in 0..4_000_u32 {
        put(&store, "key/000", round.to_be_bytes().to_vec()).await;
    }
    assert_eq!(store.metrics().flushes, small.flushes, "one key does not fill an overlay");
    let all = KeyRange::prefix(b"key/");
    let read = reader.scan(&all, ScanLimit::count(1_000), Direction::Forward).await.unwrap();
    assert_eq!(read.len(), 100);
    assert!(read.iter().all(|(_, value)| value[..] == [1; 20]));
}

#[tokio::test]
#[should_panic(expected = "begun to read")]
async fn to_write_where_only_reading_was_meant_is_noticed() {
    let store = open(&LossyFiles::new(), EmbeddedOptions::new(Arc::new(SystemClock)));
    let mut reader = store.begin_reading().await.unwrap();
    reader.put("a".into(), "1".into());
    let _ = reader.commit().await;
}

#[tokio::test]
async fn versions_begin_after_those_that_a_store_takes_up_whatever_its_clock_says() {
    let files = LossyFiles::new();
    let clock = ManualClock::at(1_000);
    let taken_up = Version::first_of_ms(90_000);
    let options =
        EmbeddedOptions { versions_after: taken_up, ..EmbeddedOptions::new(Arc::new(clock.clone())) };
    let store = open(&files, options);
    let reader = store.begin().await.unwrap();
    assert!(reader.start_version() >= taken_up);
    drop(reader);
    let first = put(&store, "a", "1").await;
    assert!(first > taken_up);
    store.shutdown().await;
    drop(store);
    // Written once, they need no reminder.
    let store = open(&files, EmbeddedOptions::new(Arc::new(clock)));
    assert!(put(&store, "a", "2").await > first);
}
