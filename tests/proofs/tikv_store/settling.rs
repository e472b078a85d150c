//! Commits whose answer does not come: settled by writing, before they are answered or when they are asked about.

use std::time::Duration;

use tidegate_store::{
    CommitError, Direction, KeyRange, Outcome, ScanLimit, Store, TikvOptions, TikvStore, Txn,
};
use tidegate_tests::deadline::HANG_AFTER;
use tidegate_tests::tcp_proxy::Way;
use tidegate_tests::tikv_cluster::{Fault, OwnCluster, TikvCluster};

use super::fixture::{Increments, connect, options, put, text, try_get, try_put, until, until_ok};

/// Options that give up soon.
fn impatient(address: &str) -> TikvOptions {
    TikvOptions { commit_max_ms: 1_500, request_timeout_ms: 2_000, clients: 2, ..options(address) }
}

/// Begins a transaction that puts `key`, in the direction `way` of a connection that then hangs, and commits it there.
async fn commit_into_a_hang(
    cluster: &OwnCluster,
    store: &TikvStore,
    key: &str,
    way: Way,
) -> Result<tidegate_store::Committed, CommitError> {
    let mut txn = until_ok!("a begin", async { store.begin().await });
    txn.put(text(key), text("1"));
    txn.put_versioned(text("log/"), text(key), text("1"));
    cluster.proxy().hold(way);
    txn.commit().await
}

/// The answer is lost, the store has applied it, and the connection is back before the commit's time is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_applied_commit_whose_answer_hangs_is_answered_as_applied() {
    let cluster = OwnCluster::start();
    // Two fifths of that are left to settle.
    let store = connect(TikvOptions { commit_max_ms: 20_000, ..options(&cluster.namespace("n")) }).await;
    put(&store, "before", "1").await;
    let committing = commit_into_a_hang(&cluster, &store, "k", Way::ToClient);
    let releasing = async {
        until("the hung client is given up", || store.metrics().clients_replaced >= 1).await;
        cluster.proxy().release();
    };
    let (committed, ()) = tokio::join!(committing, releasing);
    let version = committed.expect("it was applied").version;
    let key = [b"log/".as_slice(), &version.0.to_be_bytes(), b"k"].concat();
    let mut txn = store.begin().await.expect("a begin");
    assert_eq!(txn.get(&key).await, Ok(Some(text("1"))));
    assert_eq!(store.metrics().settled_applied, 1);
    assert_eq!(store.metrics().unknown, 0);
}

/// While the store stays away the caller is told so, and asks later: also another process may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_into_a_hang_is_unknown_and_found_out_later() {
    let cluster = OwnCluster::start();
    for (round, way) in [Way::ToClient, Way::ToServer].into_iter().enumerate() {
        let address = cluster.namespace(&format!("n{round}"));
        let store = connect(impatient(&address)).await;
        put(&store, "before", "1").await;
        let unknown = store.metrics().unknown;
        let Err(CommitError::Unknown { token }) = commit_into_a_hang(&cluster, &store, "k", way).await else {
            panic!("nobody can know")
        };
        assert_eq!(store.metrics().unknown, unknown + 1);
        // It was asked, or has answered.
        cluster.proxy().wait_until_something_is_held_back();
        cluster.proxy().release();
        let other = connect(options(&address)).await;
        let outcome = until_ok!("the other one asks", async { other.outcome(&token).await });
        if way == Way::ToClient {
            assert_eq!(outcome, Outcome::Applied);
        }
        let found = until_ok!("a read", async { try_get(&store, "k").await });
        assert_eq!(found.is_some(), outcome == Outcome::Applied);
        for asker in [&store, &other] {
            assert_eq!(until_ok!("asked again", async { asker.outcome(&token).await }), outcome);
        }
        // Settled, whatever was under way.
        let still = until_ok!("a read", async { try_get(&other, "k").await });
        assert_eq!(still.is_some(), outcome == Outcome::Applied);
        until_ok!("it goes on", async { try_put(&store, "k", "2").await });
    }
}

/// However long a request may take, a commit is answered within its own time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_cannot_be_settled_within_its_time_is_said_to_be_unknown_by_then() {
    let cluster = OwnCluster::start();
    for (round, way) in [Way::ToClient, Way::ToServer].into_iter().enumerate() {
        let address = cluster.namespace(&format!("n{round}"));
        let store = connect(TikvOptions { request_timeout_ms: 600_000, ..impatient(&address) }).await;
        put(&store, "before", "1").await;
        let committing = commit_into_a_hang(&cluster, &store, "k", way);
        let answered = tokio::time::timeout(HANG_AFTER, committing).await.expect("it is answered");
        assert!(matches!(answered, Err(CommitError::Unknown { .. })), "{answered:?}");
        cluster.proxy().release();
        until_ok!("it goes on", async { try_put(&store, "after", "1").await });
    }
}

/// Left to itself, the client tries again after two seconds, and would write behind what every reader of order versions has
/// looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_nobody_waits_for_any_more_keeps_to_its_time() {
    let cluster = OwnCluster::start();
    let store = connect(impatient(&cluster.namespace("n"))).await;
    put(&store, "before", "1").await;
    let mut txn = store.begin().await.expect("a begin");
    txn.put_versioned(text("log/"), text("k"), text("1"));
    cluster.next_calls("KvPrewrite", Fault::Lost, 1);
    let given_up = tokio::time::timeout(Duration::from_millis(100), txn.commit()).await;
    assert!(given_up.is_err(), "{given_up:?}");
    until("it is settled", || store.metrics().settled == 1 && store.metrics().clients_replaced == 1).await;
    let found = until_ok!("a read", async {
        let mut txn = store.begin().await?;
        txn.scan(&KeyRange::prefix(b"log/"), ScanLimit::count(1), Direction::Forward).await
    });
    assert_eq!(found, []);
}

/// Many writers on a connection that hangs again and again: what is said to be applied is there, once, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn increments_on_a_connection_that_hangs_now_and_then_are_neither_lost_nor_doubled() {
    let cluster = OwnCluster::start();
    let store = connect(impatient(&cluster.namespace("n"))).await;
    let increments = Increments::begin(&store, 4, 25);
    for way in [Way::ToClient, Way::ToServer, Way::ToClient] {
        let replaced = store.metrics().clients_replaced;
        cluster.proxy().hold(way);
        let is_given_up = || store.metrics().clients_replaced > replaced;
        until("a client is given up", || is_given_up() || increments.are_done()).await;
        cluster.proxy().release();
        increments.go_on().await;
    }
    increments.all_count_once().await;
}

/// Rows of attempts are taken away when they are of no use: a store that was closed in order leaves none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_was_closed_leaves_no_rows_of_its_attempts() {
    let cluster = TikvCluster::shared();
    let store = connect(options(&cluster.fresh_namespace())).await;
    for n in 0..300 {
        put(&store, &format!("once/{n}"), "1").await;
        put(&store, "always", "1").await;
    }
    tokio::time::timeout(HANG_AFTER, store.shutdown()).await.expect("it ends");
    let removed = store.metrics().attempt_rows_removed;
    assert_eq!(removed, 301);
    assert!(store.begin().await.is_err());
}
