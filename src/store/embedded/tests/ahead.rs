//! Zeros that are written ahead of the journal's end: they are in nobody's way and make nothing weaker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::super::lossy_files::LossyFiles;
use super::super::{EmbeddedOptions, EmbeddedStore, OpenError};
use super::workload::Workload;
use super::{HANG_AFTER, until};
use crate::{Store, SystemClock, Txn};

const SEGMENT: &str = "journal-000000000001";
/// How many commits a test makes before it waits for zeros: they are several times as long as these are written ahead.
const COMMITS: u64 = 200;
/// How long a test waits for zeros before it commits more, as there may be no room for any in the segment.
const MOMENT: Duration = Duration::from_millis(100);

fn options() -> EmbeddedOptions {
    let mut options = EmbeddedOptions::new(Arc::new(SystemClock));
    options.reserve_bytes = 0;
    options.tree_cache_bytes = 1 << 20;
    options.journal_ahead_bytes = 4_000;
    options
}

fn open_with(files: &LossyFiles, options: EmbeddedOptions) -> Result<EmbeddedStore, OpenError> {
    EmbeddedStore::open_files(Arc::new(files.clone()), None, options)
}

fn open(files: &LossyFiles) -> EmbeddedStore {
    open_with(files, options()).unwrap()
}

fn key(number: u64) -> Bytes {
    format!("key/{number:06}").into()
}

async fn put(store: &EmbeddedStore, number: u64) {
    let mut txn = store.begin().await.unwrap();
    txn.put(key(number), Bytes::from(number.to_be_bytes().repeat(12)));
    txn.commit().await.unwrap();
}

async fn check(store: &EmbeddedStore, count: u64) {
    let mut txn = store.begin().await.unwrap();
    for number in 0..count {
        let found = txn.get(&key(number)).await.unwrap();
        assert_eq!(found, Some(Bytes::from(number.to_be_bytes().repeat(12))), "{number}");
    }
}

/// Commits, and waits until so many zeros were written; gives how many commits there were.
async fn commit_until_filled(files: &LossyFiles, store: &EmbeddedStore, zeros: u64) -> u64 {
    for number in 0..COMMITS {
        put(store, number).await;
    }
    until("zeros are written", || files.zeros_written() >= zeros).await;
    COMMITS
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zeros_are_never_written_over_what_was_committed() {
    for seed in 0..8 {
        let mut rng = StdRng::seed_from_u64(seed);
        let files = LossyFiles::new();
        let before = files.zeros_written();
        let mut options = options();
        options.segment_bytes = rng.random_range(20_000..200_000);
        options.journal_ahead_bytes = rng.random_range(1_000..60_000);
        let store = open_with(&files, options).unwrap();
        let mut workload = Workload::default();
        // As fast as it goes, so that the journal catches up with the zeros and they with it.
        workload.run(&store, &mut rng, 1_500, 6).await;
        let hangs_at = Instant::now() + HANG_AFTER;
        let are_written = || files.zeros_written() > before;
        while tokio::time::timeout(MOMENT, until("zeros are written", are_written)).await.is_err() {
            assert!(Instant::now() < hangs_at, "hung: no zeros with seed {seed}");
            workload.run(&store, &mut rng, 60, 6).await;
        }
        workload.check(&store).await;
        let killed = files.after_kill();
        let crashed = files.after_crash(&mut rng);
        drop(store);
        workload.check(&open(&killed)).await;
        workload.check(&open(&crashed)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_go_on_while_a_sync_of_zeros_hangs() {
    let files = LossyFiles::new();
    let store = open(&files);
    files.hold_syncs_of_later_handles_of(SEGMENT);
    let count = commit_until_filled(&files, &store, 500).await;
    files.wait_until_held(1);
    for number in count..count + 200 {
        put(&store, number).await;
    }
    check(&store, count + 200).await;
    files.release_syncs();
    store.shutdown().await;
    check(&open(&files), count + 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_closes_the_store_whether_it_was_of_zeros_or_of_a_group() {
    let mut closed = 0;
    for sync in 1..60 {
        let mut rng = StdRng::seed_from_u64(sync);
        let mut workload = Workload::default();
        let files = LossyFiles::new();
        let store = open(&files);
        let fails_at = files.syncs() + 2 * sync;
        files.fail_sync_at(fails_at);
        workload.run(&store, &mut rng, 300, 2).await;
        if files.syncs() >= fails_at {
            let reason = store.closed().await;
            assert!(reason.contains("the disk failed"), "{reason}");
            closed += 1;
        }
        drop(store);
        files.fail_sync_at(u64::MAX);
        let store = open(&files);
        workload.check(&store).await;
        drop(store);
        let files = files.after_crash(&mut rng);
        workload.check(&open(&files)).await;
    }
    assert!(closed > 40, "only {closed} syncs failed");
}

/// A store in whose only segment there are zeros behind the groups, some of which were written, as a kill leaves it. Gives
/// where the groups end and how many there are.
async fn killed_with_zeros_ahead() -> (LossyFiles, u64, u64) {
    let files = LossyFiles::new();
    let store = open(&files);
    let count = commit_until_filled(&files, &store, 3_000).await;
    let killed = files.after_kill();
    drop(store);
    let contents = killed.contents(SEGMENT);
    let end = contents.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    assert!(contents.len() > end + 1_000, "there are zeros behind the groups");
    (killed, end as u64, count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_zeros_a_torn_group_is_cut_and_a_damaged_one_is_refused() {
    let (files, end, count) = killed_with_zeros_ahead().await;
    // Its sync had ended, but nothing says so: it counts as torn.
    files.damage(SEGMENT, end - 5);
    let store = open(&files);
    check(&store, count - 1).await;
    assert_eq!(store.begin().await.unwrap().get(&key(count - 1)).await.unwrap(), None);
    put(&store, count - 1).await;
    drop(store);
    check(&open(&files), count).await;

    let (files, end, _) = killed_with_zeros_ahead().await;
    files.damage(SEGMENT, end - 600);
    let refused = open_with(&files, options()).map(drop).unwrap_err();
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_hardly_used_does_not_grow() {
    let files = LossyFiles::new();
    let store = open_with(&files, EmbeddedOptions { journal_ahead_bytes: 1 << 20, ..options() }).unwrap();
    let before = files.zeros_written();
    for number in 0..100 {
        put(&store, number).await;
    }
    store.shutdown().await;
    assert_eq!(files.zeros_written(), before);
}
