//! A store that is busy says so, and has done nothing: what was asked of it is asked again, and happens once.

use bytes::Bytes;
use tidegate_store::{CommitError, Direction, KeyRange, ScanLimit, Store, TikvOptions, TikvStore, Txn};
use tidegate_tests::tikv_cluster::{Fault, OwnCluster};

use super::fixture::{Increments, connect, options, put, text, try_get};

/// How often a call is told so before it is done.
const TIMES: usize = 3;

/// A busy store is waited for as long as that takes.
fn patient(address: &str) -> TikvOptions {
    TikvOptions { commit_max_ms: 60_000, request_timeout_ms: 60_000, ..options(address) }
}

fn all() -> KeyRange {
    KeyRange::new(text("a"), text("z"))
}

/// All entries as they are now.
async fn entries(store: &TikvStore) -> Vec<(Bytes, Bytes)> {
    let mut txn = store.begin().await.expect("a begin");
    txn.scan(&all(), ScanLimit::count(usize::MAX), Direction::Forward).await.expect("a scan")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_wait_for_a_store_that_is_busy() {
    let cluster = OwnCluster::start();
    let store = connect(patient(&cluster.namespace("n"))).await;
    put(&store, "k", "1").await;
    let mut txn = store.begin().await.expect("a begin");
    for method in ["KvGet", "KvBatchGet", "KvScan"] {
        cluster.next_calls(method, Fault::Busy, TIMES);
    }
    let found = Some(text("1"));
    assert_eq!(txn.get(b"k").await, Ok(found.clone()));
    assert_eq!(txn.get_many(&[text("j"), text("k")]).await, Ok(vec![None, found]));
    for direction in [Direction::Forward, Direction::Backward] {
        let entries = txn.scan(&all(), ScanLimit::count(usize::MAX), direction).await;
        assert_eq!(entries, Ok(vec![(text("k"), text("1"))]));
        assert_eq!(cluster.next_calls("KvScan", Fault::Busy, TIMES), 0, "it had to wait");
    }
    for method in ["KvGet", "KvBatchGet"] {
        assert_eq!(cluster.next_calls(method, Fault::Busy, 0), 0, "it had to wait");
    }
    assert_eq!(store.metrics().clients_replaced, 0, "no connection is to blame");
}

/// Either phase of a commit, as many regions' worth as it takes to have two.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_a_busy_store_refuses_is_settled_and_nothing_of_it_is_there() {
    let cluster = OwnCluster::start();
    let store = connect(patient(&cluster.namespace("n"))).await;
    let large = Bytes::from(vec![b'x'; 64 << 10]);
    for (method, value) in [("KvPrewrite", text("small")), ("KvPrewrite", large.clone()), ("KvCommit", large)]
    {
        let settled = store.metrics().settled;
        let mut txn = store.begin().await.expect("a begin");
        txn.put(text("k"), value.clone());
        txn.put(text("l"), value.clone());
        txn.put_versioned(text("log/"), text("k"), text("1"));
        cluster.next_calls(method, Fault::Busy, 1);
        assert_eq!(txn.commit().await, Err(CommitError::Conflict));
        assert_eq!(cluster.next_calls(method, Fault::Busy, 0), 0, "it was told so");
        assert_eq!(store.metrics().settled, settled + 1);
        assert_eq!(entries(&store).await, [], "{method} of {} bytes", value.len());
    }
    let metrics = store.metrics();
    assert_eq!((metrics.unknown, metrics.clients_replaced), (0, 0), "{metrics:?}");
    // As whoever is refused does.
    put(&store, "k", "1").await;
    assert_eq!(try_get(&store, "k").await, Ok(Some(text("1"))));
}

/// Many writers, and whatever they ask, the store is busy now and then: each increment counts once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn increments_on_a_store_that_is_busy_now_and_then_are_neither_lost_nor_doubled() {
    const ASKED: [&str; 6] =
        ["KvGet", "KvPrewrite", "KvCommit", "KvScanLock", "KvCheckTxnStatus", "KvResolveLock"];
    let cluster = OwnCluster::start();
    let store = connect(patient(&cluster.namespace("n"))).await;
    let increments = Increments::begin(&store, 4, 10);
    while !increments.are_done() {
        for method in ASKED {
            cluster.next_calls(method, Fault::Busy, 1);
        }
        increments.go_on().await;
    }
    for method in ASKED {
        cluster.next_calls(method, Fault::Busy, 0);
    }
    increments.all_count_once().await;
}
