//! Space comes back: from removed and overwritten values, and only when nobody reads them any more.

use std::sync::Arc;

use bytes::Bytes;

use super::super::files::FileLayer;
use super::super::lossy_files::LossyFiles;
use super::super::{EmbeddedMetrics, EmbeddedOptions, EmbeddedStore};
use super::until;
use crate::{Direction, KeyRange, Store, SystemClock, Txn};

/// How often a test commits something while it waits for what goes on behind the commits.
const NUDGES_MAX: usize = 20_000;

fn options() -> EmbeddedOptions {
    let mut options = EmbeddedOptions::new(Arc::new(SystemClock));
    options.overlay_bytes = 60_000;
    options.journal_flush_bytes = 60_000;
    options.segment_bytes = 40_000;
    options.tree_cache_bytes = 1 << 20;
    options
}

fn open(files: &LossyFiles) -> EmbeddedStore {
    EmbeddedStore::open_files(Arc::new(files.clone()), None, options()).unwrap()
}

fn key(number: usize) -> Bytes {
    format!("key/{number:04}").into()
}

fn value(number: usize) -> Bytes {
    let mut value = number.to_be_bytes().to_vec();
    value.resize(5_000, 9);
    value.into()
}

async fn put(store: &EmbeddedStore, key: Bytes, value: Bytes) {
    let mut txn = store.begin().await.unwrap();
    txn.put(key, value);
    txn.commit().await.unwrap();
}

/// Commits a little, so that overlays are frozen, until the store has come as far as it should.
async fn nudge_until(store: &EmbeddedStore, is_there: impl Fn(&EmbeddedMetrics) -> bool) {
    for number in 0..NUDGES_MAX {
        if is_there(&store.metrics()) {
            return;
        }
        put(store, format!("nudge/{}", number % 100).into(), vec![1; 100].into()).await;
        tokio::task::yield_now().await;
    }
    panic!("it never came: {:?}", store.metrics());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_reads_what_was_removed_after_it_from_segments_that_are_gone() {
    let files = LossyFiles::new();
    let store = open(&files);
    for number in 0..40 {
        put(&store, key(number), value(number)).await;
    }
    let mut snapshot = store.begin().await.unwrap();
    for number in 0..40 {
        let mut txn = store.begin().await.unwrap();
        txn.delete(key(number));
        txn.commit().await.unwrap();
    }
    nudge_until(&store, |metrics| metrics.segments_removed >= 5 && metrics.live_bytes == 0).await;
    // The first of them: what else there is on the disk may grow meanwhile.
    let is_left = || {
        files.names().unwrap().iter().any(|name| ("journal-0"..="journal-000000000005").contains(&&**name))
    };
    for number in 0..40 {
        assert_eq!(snapshot.get(&key(number)).await.unwrap(), Some(value(number)));
    }
    assert!(is_left());
    drop(snapshot);
    // The thread behind the commits may hold on to the view of before for as long as it looks at it.
    until("their space comes back with the last snapshot", || !is_left()).await;
    let mut now = store.begin().await.unwrap();
    assert_eq!(now.scan_keys(&KeyRange::prefix(b"key/"), 10, Direction::Forward).await.unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_live_values_of_sparse_segments_move_together() {
    let files = LossyFiles::new();
    let store = open(&files);
    for number in 0..400 {
        put(&store, key(number), value(number)).await;
    }
    let mut old = store.begin().await.unwrap();
    for number in (0..400).filter(|number| number % 7 != 0) {
        let mut txn = store.begin().await.unwrap();
        txn.delete(key(number));
        txn.commit().await.unwrap();
    }
    // 58 values of 5,000 bytes are left; most of their 58 segments go.
    nudge_until(&store, |metrics| metrics.relocated_values >= 40 && metrics.segments < 30).await;
    let check = async |store: &EmbeddedStore| {
        let mut txn = store.begin().await.unwrap();
        for number in 0..400 {
            let expected = (number % 7 == 0).then(|| value(number));
            assert_eq!(txn.get(&key(number)).await.unwrap(), expected, "{number}");
        }
    };
    check(&store).await;
    for number in 0..400 {
        assert_eq!(old.get(&key(number)).await.unwrap(), Some(value(number)), "an old snapshot, {number}");
    }
    drop(old);
    store.shutdown().await;
    let store = open(&files);
    check(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moving_values_makes_no_transaction_conflict_and_overwrites_none() {
    let files = LossyFiles::new();
    let store = open(&files);
    // One writer alone: whatever conflicts, conflicts with a move. Half of what it writes is never written again, so
    // that every segment becomes sparse and has something to move.
    for number in 0..3_000 {
        put(&store, key(number % 16), value(number)).await;
        if number % 8 == 0 {
            put(&store, key(1_000 + number), value(number)).await;
        }
    }
    nudge_until(&store, |metrics| metrics.relocated_values > 0).await;
    assert_eq!(store.metrics().conflicts, 0);
    let mut txn = store.begin().await.unwrap();
    for number in 3_000 - 16..3_000 {
        assert_eq!(txn.get(&key(number % 16)).await.unwrap(), Some(value(number)));
    }
    for number in (0..3_000).step_by(8) {
        assert_eq!(txn.get(&key(1_000 + number)).await.unwrap(), Some(value(number)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_that_are_overwritten_all_the_time_take_no_more_space() {
    let files = LossyFiles::new();
    let store = open(&files);
    let mut most = 0;
    for number in 0..4_000 {
        put(&store, key(number % 10), value(number)).await;
        most = most.max(store.metrics().segments);
    }
    // 20 MB were written, into more than 500 segments.
    assert!(most < 40, "{most} segments at once");
    assert!(files.used_bytes() < 4 << 20, "{} bytes", files.used_bytes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_across_many_segments_keeps_few_of_them_open() {
    const OPEN_MAX: usize = 4;
    const READERS: usize = 4;
    // The segment in use is open to be written, and may be to be filled with zeros or gone through for sparse ones.
    const BESIDE: usize = 3;
    let files = LossyFiles::new();
    let few = || EmbeddedOptions { open_segments_max: OPEN_MAX, ..options() };
    let store = EmbeddedStore::open_files(Arc::new(files.clone()), None, few()).unwrap();
    for number in 0..200 {
        put(&store, key(number), value(number)).await;
    }
    store.shutdown().await;
    let store = EmbeddedStore::open_files(Arc::new(files.clone()), None, few()).unwrap();
    assert!(store.metrics().segments > 5 * OPEN_MAX as u64, "{:?}", store.metrics());
    let readers: Vec<_> = (0..READERS)
        .map(|reader| {
            let (store, files) = (store.clone(), files.clone());
            tokio::spawn(async move {
                for step in 0..600 {
                    let number = (step * (7 + 2 * reader)) % 200;
                    let found = store.begin().await.unwrap().get(&key(number)).await.unwrap();
                    assert_eq!(found, Some(value(number)));
                    let open = usize::try_from(files.open_handles("journal-")).unwrap();
                    assert!(open <= OPEN_MAX + READERS + BESIDE, "{open} are open");
                }
            })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap();
    }
}
