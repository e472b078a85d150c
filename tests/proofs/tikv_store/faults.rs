//! What happens to a cluster while it is used: restarts, outages, regions that split, connections that hang.

use bytes::Bytes;
use tidegate_store::{Direction, KeyRange, ReadError, ScanLimit, Store, TikvOptions, TikvStore, Txn};
use tidegate_tests::tcp_proxy::Way;
use tidegate_tests::tikv_cluster::OwnCluster;

use super::fixture::{connect, default_options, options, put, text, try_get, try_put, until, until_ok};

/// Options of one who gives up what hangs after the time that is promised to users.
fn as_promised(address: &str) -> TikvOptions {
    TikvOptions { connect_timeout_ms: 60_000, ..default_options(address) }
}

/// Options that give up soon.
fn impatient(address: &str) -> TikvOptions {
    TikvOptions { request_timeout_ms: 1_000, commit_max_ms: 5_000, ..options(address) }
}

/// Many writers, each of keys of its own, which tell what they got through.
fn write_on(store: &TikvStore, writers: usize, each: usize) -> Vec<tokio::task::JoinHandle<()>> {
    (0..writers)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in 0..each {
                    let key = format!("{writer}/{n:04}");
                    until_ok!("a write", async { try_put(&store, &key, &key).await });
                }
            })
        })
        .collect()
}

async fn everything_is_there(store: &TikvStore, writers: usize, each: usize) {
    for writer in 0..writers {
        let range = KeyRange::prefix(format!("{writer}/").as_bytes());
        let keys = until_ok!("a scan", async {
            store.begin().await?.scan_keys(&range, usize::MAX, Direction::Forward).await
        });
        let expected: Vec<Bytes> = (0..each).map(|n| text(&format!("{writer}/{n:04}"))).collect();
        assert_eq!(keys, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_restarted_under_load_loses_nothing() {
    let mut cluster = OwnCluster::start();
    let store = connect(as_promised(&cluster.namespace("n"))).await;
    let writing = write_on(&store, 4, 150);
    let commits = || store.metrics().commits;
    for round in 1..=2 {
        until("writes go through", || commits() >= round * 100).await;
        cluster = tokio::task::spawn_blocking(move || {
            cluster.stop_store();
            cluster.start_store();
            cluster
        })
        .await
        .expect("restarted");
    }
    for writer in writing {
        writer.await.expect("the writer ends");
    }
    everything_is_there(&store, 4, 150).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_placement_driver_calls_fail_in_time_and_come_back() {
    let mut cluster = OwnCluster::start();
    let address = cluster.namespace("n");
    let store = connect(impatient(&address)).await;
    put(&store, "k", "1").await;
    let mut open = until_ok!("a begin", async { store.begin().await });
    open.put(text("k"), text("2"));
    open.put_versioned(text("p"), text(""), text("2"));
    cluster.stop_pd();
    assert!(matches!(store.begin().await, Err(ReadError::Unavailable { .. })));
    assert!(open.commit().await.is_err(), "there is no order version to be had");
    cluster.start_pd();
    let found = until_ok!("it is back", async { try_get(&store, "k").await });
    assert_eq!(found, Some(text("1")));
    until_ok!("it is back", async { try_put(&store, "k", "3").await });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_placement_driver_that_hangs_is_not_waited_for() {
    let cluster = OwnCluster::start();
    let store = connect(impatient(&cluster.namespace("n"))).await;
    put(&store, "k", "1").await;
    cluster.freeze_pd();
    assert!(matches!(store.begin().await, Err(ReadError::Unavailable { .. })));
    assert!(store.metrics().clients_replaced >= 1);
    cluster.thaw_pd();
    let found = until_ok!("it is back", async { try_get(&store, "k").await });
    assert_eq!(found, Some(text("1")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_hangs_in_either_direction_is_given_up() {
    let cluster = OwnCluster::start();
    for (round, way) in [Way::ToServer, Way::ToClient].into_iter().enumerate() {
        let address = cluster.namespace(&format!("n{round}"));
        let store = connect(impatient(&address)).await;
        put(&store, "k", "1").await;
        cluster.proxy().hold(way);
        assert!(matches!(try_get(&store, "k").await, Err(ReadError::Unavailable { .. })));
        assert!(store.metrics().clients_replaced >= 1);
        cluster.proxy().release();
        let found = until_ok!("it is back", async { try_get(&store, "k").await });
        assert_eq!(found, Some(text("1")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn regions_that_split_while_they_are_written_and_read_hide_nothing() {
    const WRITERS: usize = 4;
    const EACH: usize = 100;
    // More than goes in one request: what is committed in one phase makes this cluster's store split nothing.
    const VALUE_BYTES: usize = 20_000;
    let cluster = OwnCluster::start_with_regions_of(1);
    let store = connect(as_promised(&cluster.namespace("n"))).await;
    let regions = cluster.regions();
    let writing: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in 0..EACH {
                    until_ok!("a write", async {
                        let mut txn = store.begin().await.map_err(|error| error.to_string())?;
                        txn.put(text(&format!("{writer}/{n:04}")), vec![1; VALUE_BYTES].into());
                        txn.put(text(&format!("count/{writer}")), text(&(n + 1).to_string()));
                        txn.commit().await.map_err(|error| error.to_string())
                    });
                }
            })
        })
        .collect();
    // Every snapshot has as many entries as the count that was written with them, in either direction.
    let done = || writing.iter().all(tokio::task::JoinHandle::is_finished);
    let mut is_last = false;
    while !is_last {
        is_last = done();
        for (writer, direction) in
            (0..WRITERS).zip([Direction::Forward, Direction::Backward].into_iter().cycle())
        {
            until_ok!("a snapshot is whole", async { is_whole(&store, writer, direction).await });
        }
    }
    for writer in writing {
        writer.await.expect("the writer ends");
    }
    until("the Placement Driver is told of what has split", || cluster.regions() > regions).await;
}

async fn is_whole(store: &TikvStore, writer: usize, direction: Direction) -> Result<(), ReadError> {
    let mut txn = store.begin().await?;
    let count = txn.get(format!("count/{writer}").as_bytes()).await?;
    let count: usize = count.map_or(0, |count| String::from_utf8_lossy(&count).parse().expect("a number"));
    let range = KeyRange::prefix(format!("{writer}/").as_bytes());
    let entries = txn.scan(&range, ScanLimit::count(usize::MAX), direction).await?;
    assert_eq!(entries.len(), count, "writer {writer}, {direction:?}");
    let is_before = |pair: &[(Bytes, Bytes)]| match direction {
        Direction::Forward => pair[0].0 < pair[1].0,
        Direction::Backward => pair[0].0 > pair[1].0,
    };
    assert!(entries.windows(2).all(is_before));
    Ok(())
}
