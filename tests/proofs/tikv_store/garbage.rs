//! Old versions go, up to the oldest snapshot that is open anywhere.
//!
//! What is shown: where the safe point comes to lie that the Placement Driver keeps, and that nothing of before it is in
//! the way. That TiKV then frees the space it does by itself, when it compacts; this cluster's store does too, but cannot
//! be told to.

use tidegate_store::{
    Direction, KeyRange, ManualClock, ReadError, ScanLimit, Store, TikvOptions, Txn, Version,
};
use tidegate_tests::tikv_cluster::OwnCluster;

use super::fixture::{connect, options_with_clock, put, text, until_ok};

/// Later than all that a case does.
const AHEAD_MS: i64 = 600_000;

/// Options under which a version is of use for a moment only, and a process that is silent for a moment has ended.
fn forgetful(address: &str, clock: &ManualClock) -> TikvOptions {
    let mut options = options_with_clock(address, clock);
    options.limits.max_ms = 1;
    options.limits.max_bytes = 1 << 20;
    options.commit_max_ms = 1_000;
    options.hold_after_ms = 0;
    options.hold_renew_ms = 20;
    options
}

/// As before, of a namespace in which nobody is taken for dead who stands still for a while.
fn careful(address: &str, clock: &ManualClock) -> TikvOptions {
    TikvOptions { hold_renew_ms: 2_000, ..forgetful(address, clock) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_safe_point_goes_up_to_the_oldest_snapshot_that_is_open_anywhere() {
    let cluster = OwnCluster::start();
    let address = cluster.namespace("n");
    let clock = ManualClock::at(0);
    let collector = connect(careful(&address, &clock)).await;
    let reader = connect(forgetful(&address, &clock)).await;
    put(&collector, "k", "1").await;
    let mut old = reader.begin().await.expect("a begin");
    reader.renew_hold().await.expect("written down");
    put(&collector, "k", "2").await;
    let newest = collector.oracle_version().await.expect("a version");
    let later = Version::first_of_ms(newest.unix_ms() + AHEAD_MS);
    let collected = until_ok!("a pass", async {
        let collected = collector.collect_garbage(later).await.map_err(|error| error.to_string())?;
        if collected.safe_point == old.start_version() {
            Ok(collected)
        } else {
            Err(format!("{collected:?}"))
        }
    });
    assert_eq!(collected.holds, 1);
    assert_eq!(cluster.safe_point(), old.start_version().0);
    assert_eq!(old.get(b"k").await, Ok(Some(text("1"))));
    // The collector's own snapshots count without being written down.
    drop(old);
    reader.renew_hold().await.expect("removed");
    let own = collector.begin().await.expect("a begin");
    let collected = until_ok!("it goes on", async {
        let collected = collector.collect_garbage(later).await.map_err(|error| error.to_string())?;
        if collected.safe_point == own.start_version() {
            Ok(collected)
        } else {
            Err(format!("{collected:?}"))
        }
    });
    assert_eq!(collected.holds, 1);
    assert_eq!(cluster.safe_point(), own.start_version().0);
    assert!(collector.metrics().garbage_passes >= 2);
    assert_eq!(collector.metrics().garbage_safe_point, own.start_version().0);
}

/// The safe point is the cluster's: a collector that looked at the holds of its own namespace alone took the snapshots of
/// others away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_of_other_namespaces_hold_the_safe_point_too_until_their_process_has_ended() {
    let cluster = OwnCluster::start();
    let clock = ManualClock::at(0);
    let collector = connect(forgetful(&cluster.namespace("b"), &clock)).await;
    for name in ["a", "c"] {
        drop(connect(careful(&cluster.namespace(name), &clock)).await);
    }
    // One that sorts before, one after.
    let before = connect(forgetful(&cluster.namespace("a"), &clock)).await;
    let after = connect(forgetful(&cluster.namespace("c"), &clock)).await;
    for store in [&before, &after] {
        put(store, "k", "1").await;
        let mut old = store.begin().await.expect("a begin");
        store.renew_hold().await.expect("written down");
        put(store, "k", "2").await;
        let held = old.start_version();
        until_ok!("a pass that the snapshot holds back", async {
            let newest = collector.oracle_version().await.map_err(|error| error.to_string())?;
            let later = Version::first_of_ms(newest.unix_ms() + AHEAD_MS);
            let collected = collector.collect_garbage(later).await.map_err(|error| error.to_string())?;
            if collected.safe_point == held { Ok(()) } else { Err(format!("{collected:?}")) }
        });
        assert_eq!(cluster.safe_point(), held.0);
        assert_eq!(old.get(b"k").await, Ok(Some(text("1"))));
        drop(old);
        store.renew_hold().await.expect("removed");
    }
    // A process that ends without a word holds it for a while only. Its row is left to its own namespace.
    let old = before.begin().await.expect("a begin");
    let held = old.start_version();
    before.renew_hold().await.expect("written down");
    drop(old);
    drop(before);
    until_ok!("it goes on", async {
        let newest = collector.oracle_version().await.map_err(|error| error.to_string())?;
        let later = Version::first_of_ms(newest.unix_ms() + AHEAD_MS);
        let collected = collector.collect_garbage(later).await.map_err(|error| error.to_string())?;
        assert_eq!(collected.holds_removed, 0);
        if collected.safe_point > held { Ok(()) } else { Err(format!("{collected:?}")) }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hold_of_a_process_that_has_ended_is_given_up() {
    let cluster = OwnCluster::start();
    let address = cluster.namespace("n");
    let clock = ManualClock::at(0);
    let collector = connect(forgetful(&address, &clock)).await;
    let dead = connect(forgetful(&address, &clock)).await;
    let old = dead.begin().await.expect("a begin");
    let held = old.start_version();
    dead.renew_hold().await.expect("written down");
    // Not closed: its task that renews ends with the handle, and the row stays.
    drop(old);
    drop(dead);
    let mut removed = 0;
    until_ok!("it is given up, and what it held goes once it is old enough", async {
        let newest = collector.oracle_version().await.map_err(|error| error.to_string())?;
        let collected = collector.collect_garbage(newest).await.map_err(|error| error.to_string())?;
        removed += collected.holds_removed;
        if collected.safe_point > held { Ok(()) } else { Err(format!("{collected:?}")) }
    });
    assert_eq!(removed, 1);
    let again = collector.collect_garbage(held.next()).await.expect("a pass");
    assert_eq!((again.holds, again.holds_removed), (0, 0));
}

/// In each way in which a snapshot can be read.
async fn is_refused(txn: &mut impl Txn) -> bool {
    let range = KeyRange::prefix(b"k");
    let refused = [
        txn.get(b"k").await.map(drop),
        txn.get_many(&[text("k")]).await.map(drop),
        txn.scan(&range, ScanLimit::count(1), Direction::Forward).await.map(drop),
        txn.scan_keys(&range, 1, Direction::Forward).await.map(drop),
    ];
    refused.iter().all(|read| matches!(read, Err(ReadError::Unavailable { .. })))
}

/// Others take a process that is frozen for one that has ended, and what its snapshots see goes. TiKV answers then as if it
/// had never been.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_was_not_held_all_the_time_gives_errors_and_no_gaps() {
    let cluster = OwnCluster::start();
    let clock = ManualClock::at(0);
    let store = connect(forgetful(&cluster.namespace("n"), &clock)).await;
    put(&store, "k", "1").await;
    let mut old = store.begin().await.expect("a begin");
    put(&store, "k", "2").await;
    // Past the age up to which every snapshot is kept.
    let steps = store.transaction_lasts_ms() / 50 + 10;
    for _ in 0..steps {
        clock.advance(50);
        store.renew_hold().await.expect("written down");
        assert_eq!(old.get(b"k").await, Ok(Some(text("1"))));
    }
    let mut young = store.begin().await.expect("a begin");
    clock.advance(500);
    assert!(is_refused(&mut old).await);
    assert_eq!(young.get(b"k").await, Ok(Some(text("2"))), "it is kept by its age");
    // To be held again brings nothing back.
    store.renew_hold().await.expect("written down");
    assert!(is_refused(&mut old).await);
    drop(old);
    for _ in 0..steps {
        clock.advance(50);
        store.renew_hold().await.expect("written down");
        assert_eq!(young.get(b"k").await, Ok(Some(text("2"))));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_that_young_snapshots_may_need_stay() {
    let cluster = OwnCluster::start();
    // A transaction may live for 60 s and commit for 5 s, and three renewals are waited for.
    let options = super::fixture::options(&cluster.namespace("n"));
    let store = connect(TikvOptions { commit_max_ms: 5_000, ..options }).await;
    let newest = store.oracle_version().await.expect("a version");
    let collected = store.collect_garbage(newest).await.expect("a pass");
    let now = store.oracle_version().await.expect("a version");
    assert!(collected.safe_point.unix_ms() <= now.unix_ms() - 95_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_of_a_process_that_has_ended_are_removed() {
    let cluster = OwnCluster::start();
    let options = super::fixture::options(&cluster.namespace("n"));
    let store = connect(options.clone()).await;
    put(&store, "k", "1").await;
    // A transaction of two regions' worth of locks whose process ended between its two phases: a pessimistic lock.
    let client =
        tikv_client::TransactionClient::new(options.address.pd_endpoints.clone()).await.expect("a client");
    let mut abandoned = client
        .begin_with_options(
            tikv_client::TransactionOptions::new_pessimistic().drop_check(tikv_client::CheckLevel::None),
        )
        .await
        .expect("a begin");
    abandoned.lock_keys([b"_tidegate/n\0dk".to_vec()]).await.expect("locked");
    drop(abandoned);
    let newest = store.oracle_version().await.expect("a version");
    assert_eq!(store.resolve_locks(newest).await, Ok(1));
    assert_eq!(store.metrics().locks_resolved, 1);
    assert_eq!(store.resolve_locks(newest).await, Ok(0));
    put(&store, "k", "2").await;
}
