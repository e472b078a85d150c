//! Locks of transactions that were never prepared in full: their client was killed between the parts of a prewrite, so
//! there is a lock whose primary key is not locked, and never will be. Whoever meets it ends the transaction, once no commit
//! of its age may take effect any more; and no sooner.

use tidegate_store::{
    CommitError, Direction, KeyRange, ReadError, ScanLimit, Store, TikvOptions, TikvStore, Txn,
};
use tidegate_tests::tikv_cluster::OwnCluster;

use super::fixture::{connect, options, text, try_get, try_put, until_ok};
use super::part_by_part::{PartByPart, Refused};

/// Two keys of which the first is a transaction's primary key and the second was locked by it.
const PRIMARY: &str = "primary";
const LOCKED: &str = "locked";

/// All keys that there are here.
fn everything() -> KeyRange {
    KeyRange::new(text("a"), text("z"))
}

/// Options under which a commit is over soon, and a read is patient enough for that.
fn short_commits(address: &str) -> TikvOptions {
    TikvOptions { commit_max_ms: 2_000, request_timeout_ms: 60_000, ..options(address) }
}

/// A store in which a key is locked by a transaction whose client has gone.
struct Orphaned {
    // Before the cluster: its connections are to be closed when that ends.
    store: TikvStore,
    orphan: PartByPart,
    cluster: OwnCluster,
}

impl Orphaned {
    async fn begin(options: impl FnOnce(&str) -> TikvOptions) -> Self {
        let cluster = OwnCluster::start();
        let address = cluster.namespace("n");
        let store = connect(options(&address)).await;
        until_ok!("a write", async { try_put(&store, LOCKED, "before").await });
        let start = until_ok!("a version", async { store.oracle_version().await });
        let orphan = PartByPart::begin(&cluster, "n", start.0, PRIMARY).await;
        assert_eq!(orphan.prewrite(LOCKED, "the orphan's").await, Ok(()));
        Self { store, orphan, cluster }
    }

    /// What was sent and has not arrived may arrive now: nothing of it counts.
    async fn stays_ended(self, found: &str) {
        let Self { store, orphan, cluster } = self;
        assert!(store.metrics().locks_resolved >= 1, "{:?}", store.metrics());
        assert_eq!(orphan.prewrite(PRIMARY, "the orphan's").await, Err(Refused));
        let late = store.oracle_version().await.expect("a version");
        assert_eq!(orphan.commit(LOCKED, late.0).await, Err(Refused));
        assert_eq!(store.resolve_locks(late).await, Ok(0), "nothing of it is locked");
        // Another one, with a snapshot of its own, finds what this one does.
        let other = connect(options(&cluster.namespace("n"))).await;
        assert_eq!(try_get(&other, LOCKED).await, Ok(Some(text(found))));
        assert_eq!(try_get(&other, PRIMARY).await, Ok(None));
        for key in [PRIMARY, LOCKED] {
            until_ok!("it goes on", async { try_put(&store, key, "after").await });
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_get_ends_the_orphan_that_it_meets() {
    let orphaned = Orphaned::begin(short_commits).await;
    assert_eq!(try_get(&orphaned.store, LOCKED).await, Ok(Some(text("before"))));
    orphaned.stays_ended("before").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_get_of_many_keys_ends_the_orphan_that_it_meets() {
    let orphaned = Orphaned::begin(short_commits).await;
    let mut txn = orphaned.store.begin().await.expect("a begin");
    let found = txn.get_many(&[text(PRIMARY), text(LOCKED)]).await;
    assert_eq!(found, Ok(vec![None, Some(text("before"))]));
    orphaned.stays_ended("before").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_in_either_direction_ends_the_orphan_that_it_meets() {
    for direction in [Direction::Forward, Direction::Backward] {
        let orphaned = Orphaned::begin(short_commits).await;
        let mut txn = orphaned.store.begin().await.expect("a begin");
        let found = txn.scan(&everything(), ScanLimit::count(usize::MAX), direction).await;
        assert_eq!(found, Ok(vec![(text(LOCKED), text("before"))]), "{direction:?}");
        orphaned.stays_ended("before").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blind_write_ends_the_orphan_that_it_meets() {
    let orphaned = Orphaned::begin(short_commits).await;
    // Refused and run again, as whoever writes does.
    until_ok!("it is written", async { try_put(&orphaned.store, LOCKED, "written").await });
    orphaned.stays_ended("written").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_removal_of_a_range_ends_the_orphan_that_it_meets() {
    let orphaned = Orphaned::begin(short_commits).await;
    until_ok!("it is removed", async { orphaned.store.delete_range(everything()).await });
    assert_eq!(try_get(&orphaned.store, LOCKED).await, Ok(None));
    assert_eq!(orphaned.orphan.prewrite(PRIMARY, "the orphan's").await, Err(Refused));
}

/// While a commit of its age may be under way, the primary key may still be locked: whoever waits is told so in time, and
/// the transaction commits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_may_still_be_under_way_is_not_ended() {
    let long_commits =
        |address: &str| TikvOptions { commit_max_ms: 60_000, request_timeout_ms: 500, ..options(address) };
    let orphaned = Orphaned::begin(long_commits).await;
    let Orphaned { store, orphan, .. } = &orphaned;
    assert!(matches!(try_get(store, LOCKED).await, Err(ReadError::Unavailable { .. })));
    // Who had the time to begin is told of the lock.
    let refused = until_ok!("an answer", async {
        match try_put(store, LOCKED, "written").await {
            Err(error @ CommitError::Unavailable { .. }) => Err(error),
            answered => Ok(answered),
        }
    });
    assert_eq!(refused, Err(CommitError::Conflict));
    assert_eq!(store.metrics().locks_resolved, 0);
    assert_eq!(orphan.prewrite(PRIMARY, "the orphan's").await, Ok(()));
    let version = until_ok!("a version", async { store.oracle_version().await });
    assert_eq!(orphan.commit(PRIMARY, version.0).await, Ok(()));
    for key in [PRIMARY, LOCKED] {
        let found = until_ok!("a read", async { try_get(store, key).await });
        assert_eq!(found, Some(text("the orphan's")));
    }
}
