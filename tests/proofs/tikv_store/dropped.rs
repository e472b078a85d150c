//! Ranges that nobody will read or write again: destroyed in the store once no snapshot of before is open, and not earlier.

use tidegate_store::{
    Direction, Dropped, KeyRange, ManualClock, Store, TikvOptions, TikvStore, Txn, Version,
};
use tidegate_tests::tikv_cluster::{OwnCluster, TikvCluster};

use super::fixture::{connect, options_with_clock, put, text, try_get, until, until_ok};

/// More keys than are deleted one by one, and some MiB of values.
const KEYS: usize = 800;
const VALUE_BYTES: usize = 6_000;
const KEYS_PER_TRANSACTION: usize = 50;

/// Options under which a snapshot is written down at once, and all others have ended after a second.
fn forgetful(address: &str) -> TikvOptions {
    let mut options = options_with_clock(address, &ManualClock::at(0));
    options.limits.max_ms = 1;
    options.limits.max_bytes = 8 << 20;
    options.commit_max_ms = 1_000;
    options.hold_after_ms = 0;
    options.hold_renew_ms = 20;
    options
}

/// As before, of a collector that takes nobody for dead who stands still for a while.
fn careful(address: &str) -> TikvOptions {
    TikvOptions { hold_renew_ms: 3_000, ..forgetful(address) }
}

fn range() -> KeyRange {
    KeyRange::new("p", "q")
}

fn key(n: usize) -> String {
    format!("p/{n:04}")
}

/// Writes the first `keys` keys of the range.
async fn fill(store: &TikvStore, keys: usize) {
    let all: Vec<usize> = (0..keys).collect();
    for some in all.chunks(KEYS_PER_TRANSACTION) {
        until_ok!("a write", async {
            let mut txn = store.begin().await.map_err(|error| error.to_string())?;
            for n in some {
                txn.put(text(&key(*n)), vec![1; VALUE_BYTES].into());
            }
            txn.commit().await.map_err(|error| error.to_string())
        });
    }
}

async fn keys_of(txn: &mut impl Txn, range: &KeyRange) -> Vec<String> {
    let keys = txn.scan_keys(range, 2 * KEYS, Direction::Forward).await.expect("a scan");
    keys.iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect()
}

/// A version at which nothing of before can begin any more.
async fn now(store: &TikvStore) -> Version {
    store.begin().await.expect("a begin").start_version()
}

/// Moves the safe point as far as it goes, until that is past `version`.
async fn collect_past(collector: &TikvStore, version: Version) {
    until_ok!("the safe point goes on", async {
        let newest = collector.oracle_version().await.map_err(|error| error.to_string())?;
        let collected = collector.collect_garbage(newest).await.map_err(|error| error.to_string())?;
        if collected.is_taken && collected.safe_point > version {
            Ok(())
        } else {
            Err(format!("{collected:?}"))
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_of_several_regions_is_destroyed_once_every_snapshot_of_before_has_ended_and_nothing_beside_it()
 {
    let cluster = OwnCluster::start_with_regions_of(1);
    let address = cluster.namespace("n");
    let (collector, reader) = (connect(careful(&address)).await, connect(forgetful(&address)).await);
    let neighbours = ["o\u{7f}", "q", "q\0"];
    for neighbour in neighbours {
        put(&collector, neighbour, "1").await;
    }
    let regions = cluster.regions();
    fill(&collector, KEYS).await;
    until("the range has several regions", || cluster.regions() >= regions + 3).await;

    let mut old = reader.begin().await.expect("a begin");
    reader.renew_hold().await.expect("written down");
    let dropped_at = now(&collector).await;
    assert_eq!(
        collector.drop_range(range(), dropped_at).await,
        Ok(Dropped::Later),
        "nothing was collected yet"
    );
    // As far as it goes: to the snapshot that is open in the other process.
    until_ok!("the safe point goes on", async {
        let newest = collector.oracle_version().await.map_err(|error| error.to_string())?;
        let collected = collector.collect_garbage(newest).await.map_err(|error| error.to_string())?;
        if collected.safe_point == old.start_version() { Ok(()) } else { Err(format!("{collected:?}")) }
    });
    assert_eq!(collector.drop_range(range(), dropped_at).await, Ok(Dropped::Later), "one is open");
    assert_eq!(collector.metrics().ranges_destroyed, 0);
    assert_eq!(keys_of(&mut old, &range()).await, (0..KEYS).map(key).collect::<Vec<_>>());
    assert_eq!(old.get(key(KEYS - 1).as_bytes()).await, Ok(Some(vec![1; VALUE_BYTES].into())));

    drop(old);
    reader.renew_hold().await.expect("removed");
    collect_past(&collector, dropped_at).await;
    assert_eq!(collector.drop_range(range(), dropped_at).await, Ok(Dropped::Now));
    assert_eq!(collector.metrics().ranges_destroyed, 1);
    let everything = KeyRange::new("\0", "\u{7f}");
    let mut txn = reader.begin().await.expect("a begin");
    assert_eq!(keys_of(&mut txn, &everything).await, neighbours);
    for neighbour in neighbours {
        assert_eq!(try_get(&reader, neighbour).await, Ok(Some(text("1"))));
    }
    // Nor is anything left that a new writer would meet.
    put(&collector, &key(0), "2").await;
    assert_eq!(try_get(&reader, &key(0)).await, Ok(Some(text("2"))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_safe_point_that_the_cluster_did_not_take_destroys_nothing() {
    let cluster = OwnCluster::start();
    let store = connect(forgetful(&cluster.namespace("n"))).await;
    // Somebody else, who moves the safe point on.
    let other = connect(forgetful(&cluster.namespace("other"))).await;
    fill(&store, KEYS).await;
    let dropped_at = now(&store).await;
    collect_past(&other, dropped_at.next()).await;
    let refused = store.collect_garbage(dropped_at.next()).await.expect("a pass");
    assert!(!refused.is_taken && refused.safe_point > dropped_at, "{refused:?}");
    assert_eq!(store.drop_range(range(), dropped_at).await, Ok(Dropped::Later));
    assert_eq!(keys_of(&mut store.begin().await.expect("a begin"), &range()).await.len(), KEYS);
    collect_past(&store, dropped_at).await;
    assert_eq!(store.drop_range(range(), dropped_at).await, Ok(Dropped::Now));
    assert_eq!(keys_of(&mut store.begin().await.expect("a begin"), &range()).await, [] as [String; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_range_goes_at_once_and_a_snapshot_of_before_has_it_all_the_same() {
    let cluster = TikvCluster::shared();
    let store = connect(super::fixture::options(&cluster.fresh_namespace())).await;
    fill(&store, 10).await;
    let mut old = store.begin().await.expect("a begin");
    let dropped_at = now(&store).await;
    assert_eq!(store.drop_range(range(), dropped_at).await, Ok(Dropped::Now));
    assert_eq!(keys_of(&mut old, &range()).await.len(), 10);
    assert_eq!(keys_of(&mut store.begin().await.expect("a begin"), &range()).await, [] as [String; 0]);
    assert_eq!(store.drop_range(range(), dropped_at).await, Ok(Dropped::Now), "there is nothing left");
    assert_eq!(store.metrics().ranges_destroyed, 0);
}
