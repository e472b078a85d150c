//! What one transaction may be: at its limit of keys it commits, over it the cluster does not hear of it. (The limits of
//! bytes are those of every backend: `conformance`.)

use bytes::Bytes;
use tidegate_store::tikv::TikvTxn;
use tidegate_store::{CommitError, Direction, KeyRange, Store, TikvOptions, TikvStore, Txn};
use tidegate_tests::tcp_proxy::Way;
use tidegate_tests::tikv_cluster::OwnCluster;

use super::fixture::{connect, options, text};

/// More than is taken, whatever the limit.
const FAR_TOO_MANY: usize = 200_000;

const PREFIX: &[u8] = b"small/";

/// A transaction of so many small entries, all of one size, of which one is an event if it `publishes`.
async fn of_small_entries(store: &TikvStore, count: usize, publishes: bool) -> TikvTxn {
    let mut txn = store.begin().await.expect("a begin");
    let events = usize::from(publishes);
    if publishes {
        // With the eight bytes of its version.
        txn.put_versioned(PREFIX.into(), Bytes::new(), text("1"));
    }
    (events..count).for_each(|at| txn.put(text(&format!("small/{at:08}")), text("1")));
    txn
}

async fn keys(store: &TikvStore) -> usize {
    let mut txn = store.begin().await.expect("a begin");
    txn.scan_keys(&KeyRange::prefix(PREFIX), usize::MAX, Direction::Forward).await.expect("a scan").len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_small_entries_as_are_allowed_commit_and_one_more_is_refused_unsent() {
    let cluster = OwnCluster::start();
    // How long they take on a slow machine is not promised.
    let patient = TikvOptions { commit_max_ms: 60_000, ..options(&cluster.namespace("n")) };
    let store = connect(patient).await;
    for publishes in [false, true] {
        let refused = of_small_entries(&store, FAR_TOO_MANY, publishes).await.commit().await;
        let Err(CommitError::TooLarge { what: "transaction keys", actual: FAR_TOO_MANY, limit }) = refused
        else {
            panic!("{refused:?}")
        };
        assert!(limit >= 20_000, "{limit}: others write as many");

        // A begin asks the Placement Driver alone: whatever a commit sends is held back.
        let one_too_many = of_small_entries(&store, limit + 1, publishes).await;
        cluster.proxy().hold(Way::ToServer);
        let over = CommitError::TooLarge { what: "transaction keys", actual: limit + 1, limit };
        assert_eq!(one_too_many.commit().await, Err(over));
        cluster.proxy().release();
        assert_eq!(keys(&store).await, 0);

        of_small_entries(&store, limit, publishes).await.commit().await.expect("at the limit it commits");
        assert_eq!(keys(&store).await, limit);
        store.delete_range(KeyRange::prefix(PREFIX)).await.expect("it makes room for the next");
    }
    let metrics = store.metrics();
    assert_eq!((metrics.settled, metrics.clients_replaced), (0, 0));
}
