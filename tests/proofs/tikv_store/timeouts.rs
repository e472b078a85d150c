//! The store, or what it stands behind, answers nothing: every call ends by itself, with an error and nothing half done, and
//! goes well when the answers come again. (Begins, commits and restarts: `faults`, `settling`.)

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tidegate_store::{
    CommitError, Direction, KeyRange, ReadError, ScanLimit, Store, TikvOptions, TikvStore, Txn, Version,
};
use tidegate_tests::deadline::{Deadline, HANG_AFTER};
use tidegate_tests::tcp_proxy::Way;
use tidegate_tests::tikv_cluster::{Fault, OwnCluster};

use super::fixture::{connect, options, put, text, try_get, try_put, until, until_ok};
use super::part_by_part::PartByPart;

const WAYS: [Way; 2] = [Way::ToServer, Way::ToClient];
/// More calls than come while one of them is waited for.
const ALL_CALLS: usize = 1_000;
/// A transaction of this age is of no use to anybody.
const HOUR_MS: i64 = 3_600_000;

/// Options that give up soon.
fn impatient(address: &str) -> TikvOptions {
    TikvOptions { commit_max_ms: 1_500, request_timeout_ms: 500, pass_max_ms: 500, ..options(address) }
}

/// That a call ends, however it does.
async fn ends<T>(call: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANG_AFTER, call).await.expect("it ends by itself")
}

fn is_unavailable<T>(result: &Result<T, ReadError>) -> bool {
    matches!(result, Err(ReadError::Unavailable { .. }))
}

fn prefix() -> KeyRange {
    KeyRange::prefix(b"many/")
}

/// Puts so many keys under the prefix, and one that is not: beside that, as it is read as well, lie the rows of attempts.
async fn put_many(store: &TikvStore, count: usize) -> Vec<Bytes> {
    let keys: Vec<Bytes> = (0..count).map(|n| text(&format!("many/{n:05}"))).collect();
    for some in keys.chunks(500) {
        until_ok!("a write", async {
            let mut txn = store.begin().await.map_err(|error| error.to_string())?;
            txn.get(b"other").await.map_err(|error| error.to_string())?;
            txn.put(text("other"), text("1"));
            some.iter().for_each(|key| txn.put(key.clone(), text("1")));
            txn.commit().await.map_err(|error| error.to_string())
        });
    }
    keys
}

async fn try_keys(store: &TikvStore) -> Result<Vec<Bytes>, ReadError> {
    store.begin().await?.scan_keys(&prefix(), usize::MAX, Direction::Forward).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scans_and_reads_of_many_keys_end_on_a_connection_that_hangs() {
    let cluster = OwnCluster::start();
    for (round, way) in WAYS.into_iter().enumerate() {
        let store = connect(impatient(&cluster.namespace(&format!("n{round}")))).await;
        let keys = put_many(&store, 600).await;
        let mut txn = until_ok!("a begin", async { store.begin().await });
        cluster.proxy().hold(way);
        assert!(is_unavailable(&ends(txn.get_many(&keys)).await));
        let limit = ScanLimit::count(usize::MAX);
        assert!(is_unavailable(&ends(txn.scan(&prefix(), limit, Direction::Forward)).await));
        assert!(is_unavailable(&ends(txn.scan_keys(&prefix(), usize::MAX, Direction::Backward)).await));
        cluster.proxy().release();
        // The same snapshot.
        let found = until_ok!("a read", async { txn.get_many(&keys).await });
        assert_eq!(found, vec![Some(text("1")); keys.len()]);
        let found =
            until_ok!("a scan", async { txn.scan_keys(&prefix(), usize::MAX, Direction::Forward).await });
        assert_eq!(found, keys);
    }
}

/// It is removed in steps, in the order of the keys: a step is done or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_removal_of_a_range_ends_on_a_connection_that_hangs_and_goes_on_later() {
    const KEYS: usize = 5_000;
    const STEP_KEYS: usize = 500;
    let cluster = OwnCluster::start();
    for (round, way) in WAYS.into_iter().enumerate() {
        let store = connect(impatient(&cluster.namespace(&format!("n{round}")))).await;
        // It may come to its end before it is held up, or not come to its first step: until it is hit in its midst.
        let keys = loop {
            let keys = put_many(&store, KEYS).await;
            let (commits, is_over) = (store.metrics().commits, AtomicBool::new(false));
            let removing = async {
                let removed = store.delete_range(prefix()).await;
                is_over.store(true, Ordering::SeqCst);
                removed
            };
            let is_begun = || store.metrics().commits > commits;
            let holding = async {
                until("a step is done", || is_begun() || is_over.load(Ordering::SeqCst)).await;
                cluster.proxy().hold(way);
            };
            let (removed, ()) = ends(async { tokio::join!(removing, holding) }).await;
            match removed {
                Err(CommitError::Unavailable { .. }) if is_begun() => break keys,
                Ok(()) | Err(CommitError::Unavailable { .. }) => cluster.proxy().release(),
                Err(error) => panic!("{error}"),
            }
        };
        // Before its first step, too.
        let removed = ends(store.delete_range(prefix())).await;
        assert!(matches!(removed, Err(CommitError::Unavailable { .. })), "{removed:?}");
        cluster.proxy().release();
        let left = until_ok!("a scan", async { try_keys(&store).await });
        assert!(!left.is_empty() && left.len() < KEYS, "{}", left.len());
        assert_eq!(left.len() % STEP_KEYS, 0, "no step is half done");
        assert_eq!(left, keys[KEYS - left.len()..]);
        until_ok!("the rest is removed", async { store.delete_range(prefix()).await });
        assert_eq!(until_ok!("a scan", async { try_keys(&store).await }), [] as [Bytes; 0]);
        assert_eq!(until_ok!("a read", async { try_get(&store, "other").await }), Some(text("1")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upkeep_ends_while_nobody_answers_and_has_moved_nothing() {
    let cluster = OwnCluster::start();
    let store = connect(impatient(&cluster.namespace("n"))).await;
    put(&store, "k", "1").await;
    let newest = until_ok!("a version", async { store.oracle_version().await });
    until_ok!("a pass", async { store.collect_garbage(newest).await });
    let (before, passes) = (cluster.safe_point(), store.metrics().garbage_passes);
    let both_end = async || {
        assert!(is_unavailable(&ends(store.collect_garbage(newest)).await));
        assert!(is_unavailable(&ends(store.resolve_locks(newest)).await));
    };
    for way in WAYS {
        cluster.proxy().hold(way);
        both_end().await;
        cluster.proxy().release();
    }
    // What keeps the holds can be read, and the locks cannot.
    until_ok!("a read", async { try_get(&store, "k").await });
    cluster.next_calls("KvScanLock", Fault::Lost, ALL_CALLS);
    both_end().await;
    cluster.next_calls("KvScanLock", Fault::Lost, 0);
    cluster.freeze_pd();
    assert!(is_unavailable(&ends(store.collect_garbage(newest)).await));
    cluster.thaw_pd();
    assert_eq!((cluster.safe_point(), store.metrics().garbage_passes), (before, passes));
    let collected = until_ok!("a pass", async { store.collect_garbage(newest).await });
    assert!(collected.safe_point.0 > before);
    assert_eq!(cluster.safe_point(), collected.safe_point.0);
    assert_eq!(until_ok!("a pass", async { store.resolve_locks(newest).await }), 0);
}

/// Whoever meets the lock of a dead client asks what became of it, and has it removed: neither is waited for without a limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_meets_a_lock_is_not_held_up_by_questions_about_it_that_nobody_answers() {
    let cluster = OwnCluster::start();
    let questions = [
        // Of a transaction that was prepared in full: the client asks.
        (true, "KvCheckTxnStatus"),
        (true, "KvResolveLock"),
        // Of one that was not: the store does.
        (false, "KvCheckTxnStatus"),
        (false, "KvScanLock"),
        (false, "KvResolveLock"),
    ];
    for (round, (in_full, method)) in questions.into_iter().enumerate() {
        let namespace = format!("n{round}");
        let options = TikvOptions { commit_max_ms: 600, ..impatient(&cluster.namespace(&namespace)) };
        let store = connect(options).await;
        let now = until_ok!("a version", async { store.oracle_version().await });
        let ago = |ms: i64| Version::first_of_ms(now.unix_ms() - ms).0;
        let first = PartByPart::begin(&cluster, &namespace, ago(2 * HOUR_MS), "locked").await;
        assert_eq!(first.prewrite("locked", "before").await, Ok(()));
        assert_eq!(first.commit("locked", ago(2 * HOUR_MS - 1)).await, Ok(()));
        let dead = PartByPart::begin(&cluster, &namespace, ago(HOUR_MS), "primary").await;
        assert_eq!(dead.prewrite("locked", "the dead one's").await, Ok(()));
        if in_full {
            assert_eq!(dead.prewrite("primary", "the dead one's").await, Ok(()));
        }
        cluster.next_calls(method, Fault::Lost, ALL_CALLS);
        // Some may not have had the time to ask.
        let (mut was_asked, deadline) = (false, Deadline::start());
        while !was_asked {
            deadline.check("somebody asks");
            let read = ends(try_get(&store, "locked")).await;
            assert!(is_unavailable(&read), "{method}, {in_full}: {read:?}");
            let written = ends(try_put(&store, "locked", "after")).await;
            assert!(written.is_err(), "{method}, {in_full}: {written:?}");
            was_asked = cluster.next_calls(method, Fault::Lost, ALL_CALLS) < ALL_CALLS;
        }
        cluster.next_calls(method, Fault::Lost, 0);
        let found = until_ok!("a read", async { try_get(&store, "locked").await });
        assert_eq!(found, Some(text("before")), "{method}, {in_full}");
        until_ok!("a write", async { try_put(&store, "locked", "after").await });
        let found = until_ok!("a read", async { try_get(&store, "primary").await });
        assert_eq!(found, None, "{method}, {in_full}");
    }
}
