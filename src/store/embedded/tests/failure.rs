//! What the store does when its disk fails, is full, or gives back what was not written.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::super::files::FileLayer;
use super::super::lossy_files::LossyFiles;
use super::super::{EmbeddedOptions, EmbeddedStore, OpenError, SyncPolicy};
use super::until;
use super::workload::Workload;
use crate::{
    CommitError, Direction, KeyRange, ReadError, ScanLimit, Store, SystemClock, TransactionLimits, Txn,
};

/// Longer than any wait for what must come.
const HANG: Duration = Duration::from_secs(60);

fn options() -> EmbeddedOptions {
    let mut options = EmbeddedOptions::new(Arc::new(SystemClock));
    options.overlay_bytes = 30_000;
    options.journal_flush_bytes = 60_000;
    options.segment_bytes = 30_000;
    options.tree_cache_bytes = 1 << 20;
    options.reserve_bytes = 0;
    options
}

fn open_with(files: &LossyFiles, options: EmbeddedOptions) -> Result<EmbeddedStore, OpenError> {
    EmbeddedStore::open_files(Arc::new(files.clone()), None, options)
}

fn open(files: &LossyFiles) -> EmbeddedStore {
    open_with(files, options()).unwrap()
}

async fn put(store: &EmbeddedStore, key: &str, value: Bytes) -> Result<(), CommitError> {
    let mut txn = store.begin().await.unwrap();
    txn.put(Bytes::copy_from_slice(key.as_bytes()), value);
    txn.commit().await.map(drop)
}

async fn get(store: &EmbeddedStore, key: &str) -> Result<Option<Bytes>, ReadError> {
    store.begin().await.unwrap().get(key.as_bytes()).await
}

#[tokio::test]
async fn a_failed_sync_closes_the_store_and_loses_nothing_that_was_acknowledged() {
    let mut closed = 0;
    for sync in 1..80 {
        let mut rng = StdRng::seed_from_u64(sync);
        let mut workload = Workload::default();
        let files = LossyFiles::new();
        let store = open(&files);
        let fails_at = files.syncs() + sync;
        files.fail_sync_at(fails_at);
        workload.run(&store, &mut rng, 160, 3).await;
        if files.syncs() < fails_at {
            store.shutdown().await;
        } else {
            let reason = store.closed().await;
            assert!(reason.contains("the disk failed"), "{reason}");
            let refused = store.begin().await.map(drop);
            assert_eq!(refused, Err(ReadError::Unavailable { reason }));
            closed += 1;
        }
        drop(store);
        files.fail_sync_at(u64::MAX);
        // The next process finds what the cache of the machine holds, which is not all on disk ...
        let store = open(&files);
        workload.check(&store).await;
        workload.run(&store, &mut rng, 3, 1).await;
        workload.check(&store).await;
        drop(store);
        // ... and what it found must still be there after a crash.
        let files = files.after_crash(&mut rng);
        workload.check(&open(&files)).await;
    }
    assert!(closed > 40, "only {closed} syncs failed");
}

#[tokio::test]
async fn with_the_disk_down_to_its_reserve_puts_are_refused_and_deletes_go_on() {
    let files = LossyFiles::new();
    let reserve_bytes = 8 << 20;
    let store = open_with(&files, EmbeddedOptions { reserve_bytes, ..options() }).unwrap();
    files.limit(Some(16 << 20));
    let mut kept = 0;
    let refused = loop {
        match put(&store, &format!("key/{kept}"), vec![7; 100_000].into()).await {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, CommitError::DiskFull { reserve_bytes });
    assert!(kept > 20, "only {kept} were put");
    assert_eq!(store.metrics().is_disk_low, 1);
    for number in 0..kept {
        let mut txn = store.begin().await.unwrap();
        let key = format!("key/{number}");
        assert_eq!(txn.get(key.as_bytes()).await.unwrap().unwrap().len(), 100_000);
        txn.delete(key.into());
        txn.put("state".into(), vec![1; 1_000].into());
        txn.commit().await.unwrap();
    }
    files.limit(None);
    put(&store, "key", vec![7; 100_000].into()).await.unwrap();
    assert_eq!(store.metrics().is_disk_low, 0);
}

#[tokio::test]
async fn what_is_deleted_at_the_reserve_gives_its_space_back_with_nobody_writing() {
    let files = LossyFiles::new();
    let reserve_bytes = 8 << 20;
    // Neither the overlay nor the journal would be long enough to be written to the tree.
    let large = EmbeddedOptions { overlay_bytes: 1 << 30, journal_flush_bytes: 1 << 40, ..options() };
    let store = open_with(&files, EmbeddedOptions { reserve_bytes, ..large }).unwrap();
    files.limit(Some(16 << 20));
    let mut kept = 0;
    while put(&store, &format!("key/{kept}"), vec![7; 100_000].into()).await.is_ok() {
        kept += 1;
    }
    let mut txn = store.begin().await.unwrap();
    (0..kept).for_each(|number| txn.delete(format!("key/{number}").into()));
    txn.commit().await.unwrap();
    let has_space = async {
        while store.metrics().is_disk_low != 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANG, has_space).await.expect("the space comes back");
    assert!(store.metrics().segments_removed > 20, "{:?}", store.metrics());
    put(&store, "key", vec![7; 100_000].into()).await.unwrap();
}

#[tokio::test]
async fn a_drip_of_small_growth_is_refused_at_the_reserve_while_state_goes_on() {
    let files = LossyFiles::new();
    // Enough for what is written between two looks at the free space, and for the tree to grow meanwhile.
    let reserve_bytes = 64 << 20;
    let store = open_with(&files, EmbeddedOptions { reserve_bytes, ..options() }).unwrap();
    let append = async |number: usize| {
        let mut txn = store.begin().await.unwrap();
        txn.growing();
        txn.put(format!("log/{number:05}").into(), vec![7; 1_000].into());
        txn.put("state".into(), number.to_string().into());
        txn.commit().await.map(drop)
    };
    files.limit(Some(files.used_bytes() + reserve_bytes + (1 << 19)));
    let mut kept = 0;
    let refused = loop {
        match append(kept).await {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, CommitError::DiskFull { reserve_bytes });
    assert!(kept > 100, "only {kept} were put");
    // Others take more of the disk than the store gives back by itself when its journal is in the tree.
    files.limit(Some(files.used_bytes() + reserve_bytes / 2));
    for number in 0..kept {
        assert_eq!(append(kept + number).await, Err(CommitError::DiskFull { reserve_bytes }));
        put(&store, "offset/group", number.to_string().into()).await.unwrap();
    }
    let mut txn = store.begin().await.unwrap();
    let log = KeyRange::prefix(b"log/");
    assert_eq!(txn.scan_keys(&log, usize::MAX, Direction::Forward).await.unwrap().len(), kept);
    // Retention: the start of the log goes, and the state with it.
    for number in 0..kept {
        let mut txn = store.begin().await.unwrap();
        txn.delete(format!("log/{number:05}").into());
        txn.put("state".into(), number.to_string().into());
        txn.commit().await.unwrap();
    }
    files.limit(None);
    append(kept).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_refuses_commits_and_nothing_else() {
    let files = LossyFiles::new();
    // The tree is not written meanwhile: without a reserve it could not be.
    let large = EmbeddedOptions { overlay_bytes: 1 << 30, journal_flush_bytes: 1 << 40, ..options() };
    let store = open_with(&files, large).unwrap();
    put(&store, "before", "1".into()).await.unwrap();
    files.limit(Some(files.used_bytes() + 60_000));
    let mut kept = 0;
    while put(&store, &format!("key/{kept}"), vec![7; 10_000].into()).await.is_ok() {
        kept += 1;
    }
    let refused = put(&store, "key", vec![7; 10_000].into()).await;
    assert_eq!(refused, Err(CommitError::DiskFull { reserve_bytes: 0 }));
    assert_eq!(get(&store, "before").await.unwrap().unwrap(), "1");
    files.limit(None);
    // What was refused does not stand in the way of the next try.
    put(&store, "key", "again".into()).await.unwrap();
    put(&store, "after", "2".into()).await.unwrap();
    drop(store);
    let store = open(&files.after_crash(&mut StdRng::seed_from_u64(1)));
    assert_eq!(get(&store, "after").await.unwrap().unwrap(), "2");
    assert_eq!(get(&store, &format!("key/{}", kept - 1)).await.unwrap().unwrap().len(), 10_000);
    assert_eq!(get(&store, &format!("key/{kept}")).await.unwrap(), None);
}

/// What was written of a segment is there after such a failure, or is not: whatever goes on as if it was not is lost with it.
#[tokio::test]
async fn a_segment_that_is_not_made_durable_for_want_of_space_takes_nothing_with_it() {
    let files = LossyFiles::new();
    let store = open(&files);
    put(&store, "before", vec![7; 20_000].into()).await.unwrap();
    files.fail_sync_as_full_at(files.syncs() + 1);
    // It goes into a new segment, and a small one would still go into this.
    put(&store, "large", vec![7; 20_000].into()).await.unwrap_err();
    let mut is_acknowledged = false;
    if let Ok(mut txn) = store.begin().await {
        txn.put("small".into(), "1".into());
        is_acknowledged = txn.commit().await.is_ok();
    }
    let files = files.after_kill();
    drop(store);
    let store = open(&files);
    assert!(get(&store, "before").await.unwrap().is_some());
    assert!(get(&store, "small").await.unwrap().is_some() || !is_acknowledged);
    put(&store, "after", vec![7; 20_000].into()).await.unwrap();
}

/// A store of 20 groups in one segment that was closed in order, and how long the segment is.
async fn twenty_groups() -> (LossyFiles, u64) {
    let files = LossyFiles::new();
    let store = open(&files);
    for number in 0..20 {
        // So long that the groups follow each other without a gap: a gap holds nothing that could be damaged.
        put(&store, &format!("key/{number:02}"), vec![number; 103].into()).await.unwrap();
    }
    store.shutdown().await;
    let end = files.contents("journal-000000000001").iter().rposition(|byte| *byte != 0).unwrap() + 1;
    (files, end as u64)
}

#[tokio::test]
async fn a_damaged_group_is_refused_with_its_place() {
    let (files, end) = twenty_groups().await;
    // The last group is the one that says that all before was durable.
    for offset in (0..end - 48).step_by(13) {
        files.damage("journal-000000000001", offset);
        let place = match open_with(&files, options()) {
            Err(OpenError::Damaged { place }) => place,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("damage at {offset} was not noticed"),
        };
        let named: u64 = place
            .strip_prefix("journal-000000000001, offset ")
            .and_then(|rest| rest.split(':').next()?.parse().ok())
            .unwrap_or_else(|| panic!("{place}"));
        assert!(named <= offset && offset < named + 200, "damage at {offset}: {place}");
        // Back again.
        files.damage("journal-000000000001", offset);
    }
    assert_eq!(get(&open(&files), "key/19").await.unwrap().unwrap(), vec![19; 103]);
}

#[tokio::test]
async fn a_torn_last_group_is_cut_and_the_store_goes_on() {
    let (files, end) = twenty_groups().await;
    files.damage("journal-000000000001", end - 10);
    let store = open(&files);
    assert_eq!(get(&store, "key/19").await.unwrap().unwrap(), vec![19; 103]);
    put(&store, "key/20", "20".into()).await.unwrap();
    drop(store);
    assert_eq!(get(&open(&files), "key/20").await.unwrap().unwrap(), "20");
}

#[tokio::test]
async fn what_was_cut_does_not_come_back_behind_what_is_written_in_its_place() {
    let files = LossyFiles::new();
    let relaxed = || EmbeddedOptions { sync: SyncPolicy::Interval(3_600_000), ..options() };
    let store = open_with(&files, relaxed()).unwrap();
    let mut ends = Vec::new();
    for key in ["a", "b", "c"] {
        put(&store, key, "old".into()).await.unwrap();
        ends.push(store.metrics().journal_bytes);
    }
    // Of three groups without a sync the second is torn and the third is whole.
    let files = files.after_kill();
    drop(store);
    files.damage("journal-000000000001", 64 + ends[0] + 60);
    let store = open_with(&files, relaxed()).unwrap();
    put(&store, "d", "new".into()).await.unwrap();
    let files = files.after_kill();
    drop(store);
    let store = open(&files);
    let found = async |key| get(&store, key).await.unwrap().is_some();
    let found = [found("a").await, found("b").await, found("c").await, found("d").await];
    assert_eq!(found, [true, false, false, true]);
}

#[tokio::test]
async fn a_missing_segment_is_refused_by_name() {
    let files = LossyFiles::new();
    let store = open(&files);
    for number in 0..40 {
        put(&store, &format!("key/{number}"), vec![7; 5_000].into()).await.unwrap();
    }
    assert!(store.metrics().segments > 3);
    store.shutdown().await;
    files.remove("journal-000000000002").unwrap();
    let refused = open_with(&files, options()).map(drop).unwrap_err().to_string();
    assert!(refused.contains("journal-000000000002"), "{refused}");
}

#[tokio::test]
async fn a_damaged_value_is_an_error_that_names_its_place_and_never_a_gap() {
    let files = LossyFiles::new();
    let store = open(&files);
    for (key, byte) in [("a", 1), ("b", 2), ("c", 3)] {
        put(&store, key, vec![byte; 6_000].into()).await.unwrap();
    }
    let journal = files.contents("journal-000000000001");
    let start = journal.windows(6_000).position(|bytes| bytes == [2; 6_000]).unwrap();
    files.damage("journal-000000000001", start as u64 + 3_000);
    let place = format!("journal-000000000001, offset {start}, 6000 bytes: checksum mismatch");
    let damaged = ReadError::Damaged { place };
    assert_eq!(get(&store, "b").await, Err(damaged.clone()));
    assert_eq!(get(&store, "c").await.unwrap().unwrap().len(), 6_000);
    let mut txn = store.begin().await.unwrap();
    let all = KeyRange::new("a", "z");
    assert_eq!(txn.scan(&all, ScanLimit::count(10), Direction::Forward).await, Err(damaged));
}

#[tokio::test]
async fn a_second_opening_is_refused_and_told_who_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let options = || EmbeddedOptions::new(Arc::new(SystemClock));
    let store = EmbeddedStore::open(dir.path(), options()).unwrap();
    let refused = EmbeddedStore::open(dir.path(), options()).map(drop).unwrap_err();
    assert!(matches!(refused, OpenError::InUse { .. }));
    assert!(refused.to_string().contains(&format!("process {}", std::process::id())), "{refused}");
    // Another handle, and a transaction, do not keep the directory.
    let other = store.clone();
    let _txn = other.begin().await.unwrap();
    store.shutdown().await;
    assert!(matches!(put_on(&other).await, ReadError::Unavailable { .. }));
    EmbeddedStore::open(dir.path(), options()).unwrap();
}

async fn put_on(store: &EmbeddedStore) -> ReadError {
    store.begin().await.map(drop).unwrap_err()
}

#[tokio::test]
async fn a_directory_of_a_newer_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("FORMAT"), "tidegate-store 2\n0000000000000001\n").unwrap();
    let refused = EmbeddedStore::open(dir.path(), EmbeddedOptions::new(Arc::new(SystemClock))).map(drop);
    assert!(matches!(refused, Err(OpenError::NewerFormat { found: 2, supported: 1 })));
}

/// Damages one byte of the tree after the other; how many reads gave an error, the right value, and none.
async fn read_damaged_trees(check_tree: bool) -> (usize, usize, usize) {
    let files = LossyFiles::new();
    let store = open_with(&files, EmbeddedOptions { overlay_bytes: 1, ..options() }).unwrap();
    let value = |number: u8| Bytes::from(vec![number; 300]);
    for number in 0..100 {
        put(&store, &format!("key/{number:03}"), value(number)).await.unwrap();
        // Else the journal would have it, which is not damaged.
        until("it is in the tree", || store.metrics().overlay_bytes == 0).await;
    }
    store.shutdown().await;
    drop(store);
    let len = files.contents("tree.redb").len();
    let (mut errors, mut right, mut gaps) = (0, 0, 0);
    for offset in (0..len as u64).step_by(len / 300) {
        let files = files.after_kill();
        files.damage("tree.redb", offset);
        let Ok(store) = open_with(&files, EmbeddedOptions { check_tree, ..options() }) else {
            errors += 1;
            continue;
        };
        for number in 0..100 {
            match get(&store, &format!("key/{number:03}")).await {
                Ok(Some(found)) => {
                    assert_eq!(found, value(number));
                    right += 1;
                }
                Ok(None) => gaps += 1,
                Err(error) => {
                    assert!(matches!(error, ReadError::Damaged { .. }), "{error}");
                    errors += 1;
                }
            }
        }
    }
    (errors, right, gaps)
}

#[tokio::test]
async fn a_damaged_tree_never_gives_another_value() {
    let (errors, right, gaps) = read_damaged_trees(false).await;
    assert!(errors > 20 && right > 10_000 && gaps < 50, "{errors} errors, {right} right, {gaps} gaps");
}

#[tokio::test]
async fn a_tree_that_is_checked_when_it_is_opened_has_no_gap() {
    let (errors, right, gaps) = read_damaged_trees(true).await;
    assert!(errors > 20 && right > 1_000 && gaps == 0, "{errors} errors, {right} right, {gaps} gaps");
}

#[tokio::test]
async fn commits_and_reads_go_on_while_a_flush_is_stuck() {
    let files = LossyFiles::new();
    let store = open(&files);
    files.hold_syncs_of("tree.redb");
    let mut number = 0;
    // Past the first overlay, which is frozen, and most of what there is room for beside it.
    while store.metrics().overlay_bytes < 22_000 {
        put(&store, &format!("key/{number}"), vec![7; 200].into()).await.unwrap();
        number += 1;
    }
    assert_eq!(store.metrics().flushes, 0);
    for key in 0..number {
        assert_eq!(get(&store, &format!("key/{key}")).await.unwrap().unwrap(), vec![7; 200]);
    }
    assert!(store.metrics().throttled_us > 0);
    files.release_syncs();
    for _ in 0..20_000 {
        if store.metrics().flushes >= 2 {
            return;
        }
        put(&store, "key", vec![7; 200].into()).await.unwrap();
    }
    panic!("it was released and nothing was flushed: {:?}", store.metrics());
}

#[test]
fn settings_of_no_use_are_refused_by_name() {
    let refused = |options| open_with(&LossyFiles::new(), options).map(drop).unwrap_err().to_string();
    let refusal = refused(EmbeddedOptions { segment_bytes: 100, ..options() });
    assert_eq!(refusal, "store.segment.bytes is 100: it must be at least 4096");
    let limits = TransactionLimits { max_bytes: 2 << 30, ..TransactionLimits::default() };
    let refusal = refused(EmbeddedOptions { limits, ..options() });
    assert_eq!(refusal, "transaction.max.bytes is 2147483648: it must be at most 1073741824");
}
