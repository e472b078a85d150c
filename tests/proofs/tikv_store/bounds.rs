//! What the processes of one namespace keep to, whatever each was told: nobody's commit takes longer than the others
//! look back by.

use tidegate_store::{CommitError, Store, TikvOptions, TikvStore, Txn, Version};
use tidegate_tests::deadline::Deadline;
use tidegate_tests::tikv_cluster::{OwnCluster, TikvCluster};

use super::fixture::{connect, options, text, until_ok};

fn application(namespace: &str, commit_max_ms: u64) -> TikvOptions {
    TikvOptions { commit_max_ms, ..options(namespace) }
}

fn broker(namespace: &str, commit_max_ms: u64) -> TikvOptions {
    TikvOptions { governs: true, ..application(namespace, commit_max_ms) }
}

/// How far back from now what may still write has begun, in milliseconds.
fn lasts_ms(store: &TikvStore) -> i64 {
    store.now_ms() - store.oldest_open_ms()
}

/// A broker that looked back less than an application's commits may take read past its events, and found them only in the
/// next sweep, behind later ones of their key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_with_a_shorter_commit_time_looks_back_as_far_as_the_namespace_was_opened_with() {
    let cluster = TikvCluster::shared();
    let namespace = cluster.fresh_namespace();
    let first = connect(application(&namespace, 5_000)).await;
    let store = connect(broker(&namespace, 1_000)).await;
    store.raise_bounds().await.expect("the cluster is there");
    assert_eq!(store.order_lag_ms(), 5_000);
    assert_eq!(first.order_lag_ms(), 5_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_with_higher_settings_keeps_to_what_the_namespace_has() {
    let cluster = TikvCluster::shared();
    let namespace = cluster.fresh_namespace();
    let _broker = connect(broker(&namespace, 1_000)).await;
    let mut wanting = application(&namespace, 5_000);
    wanting.limits.max_ms *= 2;
    wanting.limits.max_bytes = 1 << 10;
    let store = connect(wanting.clone()).await;
    assert_eq!(store.order_lag_ms(), 1_000);
    let other = connect(application(&namespace, 1_000)).await;
    assert_eq!(store.transaction_lasts_ms(), other.transaction_lasts_ms());

    // What is lower than the namespace has it stays as it is.
    let mut txn = store.begin().await.expect("the cluster is there");
    txn.put(text("k"), "v".repeat(2 << 10).into());
    let refused = txn.commit().await;
    assert!(matches!(refused, Err(CommitError::TooLarge { limit: 1_024, .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_broker_raises_holds_for_who_comes_later_and_is_heard_of_by_who_is_there() {
    let cluster = TikvCluster::shared();
    let namespace = cluster.fresh_namespace();
    let there = connect(TikvOptions { hold_renew_ms: 50, ..application(&namespace, 1_000) }).await;
    let before_ms = lasts_ms(&there);
    let store = connect(broker(&namespace, 3_000)).await;

    // Another broker may have the lease: nothing is raised by opening alone.
    let early = connect(application(&namespace, 3_000)).await;
    assert_eq!((store.order_lag_ms(), early.order_lag_ms()), (3_000, 1_000));

    store.raise_bounds().await.expect("the cluster is there");
    let late = connect(application(&namespace, 4_000)).await;
    assert_eq!(late.order_lag_ms(), 3_000);
    let deadline = Deadline::start();
    while there.order_lag_ms() < 3_000 {
        deadline.check("the process that was there reads the bounds again");
        tokio::task::yield_now().await;
    }
    assert!(lasts_ms(&there) >= before_ms + 2_000, "a back-fill waits longer, too");

    // Lowering is for nobody: who opened before still takes as long.
    let lower = connect(broker(&namespace, 500)).await;
    lower.raise_bounds().await.expect("the cluster is there");
    assert_eq!(lower.order_lag_ms(), 3_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_open_a_new_namespace_at_once_agree() {
    let cluster = TikvCluster::shared();
    let namespace = cluster.fresh_namespace();
    let opening: Vec<_> = (1..=8).map(|n| tokio::spawn(connect(application(&namespace, n * 500)))).collect();
    let mut lags = Vec::new();
    for opened in opening {
        lags.push(opened.await.expect("it opens").order_lag_ms());
    }
    let bound = connect(application(&namespace, 60_000)).await.order_lag_ms();
    assert_eq!(lags, [bound; 8], "each goes by what was written first");
}

/// Options of a process that needs old versions for seconds, and renews its holds all the time.
fn hasty(namespace: &str) -> TikvOptions {
    let mut options = TikvOptions { hold_after_ms: 0, hold_renew_ms: 20, ..application(namespace, 100) };
    options.limits.max_ms = 1;
    options.limits.max_bytes = 1 << 20;
    options
}

/// There is one safe point for all of a cluster.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_are_kept_as_long_as_any_namespace_of_the_cluster_may_need_them() {
    let cluster = OwnCluster::start();
    let collector = connect(hasty(&cluster.namespace("b"))).await;
    let _patient = connect(options(&cluster.namespace("a"))).await;
    let newest = collector.oracle_version().await.expect("a version");
    let collected = collector.collect_garbage(newest).await.expect("a pass");
    // A transaction may live for 60 s there.
    assert!(collected.safe_point.unix_ms() <= newest.unix_ms() - 60_000 + 10_000, "{collected:?}");
}

/// A collector that renewed its own often once took the snapshots of others away, as those renewed theirs seldom.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_is_given_up_by_how_often_its_own_namespace_renews_it() {
    let cluster = OwnCluster::start();
    let collector = connect(hasty(&cluster.namespace("b"))).await;
    let seldom = TikvOptions { hold_renew_ms: 600_000, ..hasty(&cluster.namespace("a")) };
    for options in [seldom, hasty(&cluster.namespace("c"))] {
        let store = connect(options).await;
        let old = store.begin().await.expect("a begin");
        store.renew_hold().await.expect("written down");
        drop(old);
        // Without a word: the row stays.
    }
    let newest = collector.oracle_version().await.expect("a version");
    let later = Version::first_of_ms(newest.unix_ms() + 60_000);
    until_ok!("the one that was renewed often is given up", async {
        let collected = collector.collect_garbage(later).await.map_err(|error| error.to_string())?;
        assert_ne!(collected.holds, 0, "both at once");
        if collected.holds == 1 { Ok(()) } else { Err(format!("{collected:?}")) }
    });
}
