//! The store on TiKV: what a transaction costs by its size and by the number of clients.
//!
//! `cargo bench -p tidegate-tests --bench tikv_store` starts the cluster of `tikv-cluster/` (or takes the one that
//! `TIDEGATE_TEST_PD` names) and prints, for appends and a model's transaction, how many requests each took (a commit in
//! one phase is one prewrite and no commit), and how many small transactions a second 64 writers get through with 1, 4
//! and 16 clients. Of that cluster the figures tell what our side costs; they are not TiKV's.

#![allow(clippy::expect_used, missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_store::{Store, TikvAddress, TikvOptions, TikvStore, Txn};
use tidegate_tests::tikv_cluster::TikvCluster;

const WRITERS: usize = 64;
const KIB: usize = 1024;

/// How many requests of a kind the client has sent.
fn requests(kind: &str) -> u64 {
    let families = prometheus::gather();
    let of_requests = families.iter().filter(|family| family.get_name() == "tikv_request_total");
    let metrics = of_requests.flat_map(prometheus::proto::MetricFamily::get_metric);
    let is_kind = |metric: &&prometheus::proto::Metric| {
        metric.get_label().iter().any(|label| label.get_value() == kind)
    };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    metrics.filter(is_kind).map(|metric| metric.get_counter().get_value() as u64).sum()
}

async fn connect(cluster: &TikvCluster, clients: usize) -> TikvStore {
    let address: TikvAddress = cluster.fresh_namespace().parse().expect("an address");
    let options = TikvOptions { clients, ..TikvOptions::new(address) };
    TikvStore::connect(options).await.expect("the store opens")
}

/// What a partition's owner commits for a batch of so many bytes.
async fn append(store: &TikvStore, n: usize, bytes: usize) {
    let mut txn = store.begin().await.expect("a begin");
    txn.get(b"p/0/state").await.expect("a read");
    txn.put(format!("p/0/log/{n:08}").into(), vec![b'x'; bytes].into());
    txn.put(Bytes::from_static(b"p/0/state"), vec![b's'; 100].into());
    txn.put(Bytes::from_static(b"p/0/producer"), vec![b'p'; 150].into());
    txn.commit().await.expect("a commit");
}

/// A model with two index entries, and its event.
async fn model(store: &TikvStore, n: usize) {
    let key = |kind: &str| Bytes::from(format!("{kind}/{n:08}"));
    let mut txn = store.begin().await.expect("a begin");
    txn.get_many(&[key("model"), key("manifest")]).await.expect("a read");
    txn.put(key("model"), vec![b'm'; 200].into());
    txn.put(key("manifest"), vec![b'm'; 80].into());
    txn.put(key("index/a"), Bytes::from_static(b"1"));
    txn.put(key("index/b"), Bytes::from_static(b"1"));
    txn.put_versioned(Bytes::from_static(b"p/0/outbox/"), key(""), vec![b'e'; 300].into());
    txn.commit().await.expect("a commit");
}

async fn shares(cluster: &TikvCluster, transactions: usize) {
    println!("\ntransaction          | prewrites, commits each |  p50 ms");
    let store = connect(cluster, 4).await;
    for what in ["append 1 KiB", "append 16 KiB", "append 64 KiB", "append 256 KiB", "model"] {
        let (prewrites, commits) = (requests("kv_prewrite"), requests("kv_commit"));
        let mut took = Vec::with_capacity(transactions);
        for n in 0..transactions {
            let began = Instant::now();
            match what {
                "append 1 KiB" => append(&store, n, KIB).await,
                "append 16 KiB" => append(&store, n, 16 * KIB).await,
                "append 64 KiB" => append(&store, n, 64 * KIB).await,
                "append 256 KiB" => append(&store, n, 256 * KIB).await,
                _ => model(&store, n).await,
            }
            took.push(began.elapsed());
        }
        took.sort_unstable();
        let each = |kind: &str, before: u64| f64::from(u32::try_from(requests(kind) - before).expect("few"));
        let count = f64::from(u32::try_from(transactions).expect("few"));
        println!(
            "{what:<20} | {:>10.2}, {:>11.2} | {:>7.2}",
            each("kv_prewrite", prewrites) / count,
            each("kv_commit", commits) / count,
            took[took.len() / 2].as_secs_f64() * 1e3,
        );
    }
    store.shutdown().await;
}

/// What the client needs for transactions of many small entries: it copies all of them for each 16 KiB that it sends.
async fn large(cluster: &TikvCluster, sizes_mib: &[usize]) {
    println!("\ntransaction of entries of 1 KiB | seconds");
    let store = connect(cluster, 1).await;
    for mib in sizes_mib {
        let mut txn = store.begin().await.expect("a begin");
        for n in 0..mib * KIB {
            txn.put(format!("large/{mib}/{n:08}").into(), vec![b'x'; KIB - 16].into());
        }
        let began = Instant::now();
        let answer = txn.commit().await;
        println!(
            "{mib:>27} MiB | {:>7.2} {}",
            began.elapsed().as_secs_f64(),
            if answer.is_ok() { "" } else { "refused" }
        );
    }
    store.shutdown().await;
}

async fn pool(cluster: &TikvCluster, seconds: f64) {
    println!("\nclients | small transactions/s with {WRITERS} writers");
    for clients in [1, 4, 16] {
        let store = connect(cluster, clients).await;
        let (done, committed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let began = Instant::now();
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (store, done, committed) = (store.clone(), done.clone(), committed.clone());
                tokio::spawn(async move {
                    while !done.load(Ordering::Relaxed) {
                        let mut txn = store.begin().await.expect("a begin");
                        txn.put(format!("writer/{writer}").into(), vec![b'x'; 100].into());
                        txn.commit().await.expect("a commit");
                        committed.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        done.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.await.expect("the writer ends");
        }
        let count = f64::from(u32::try_from(committed.load(Ordering::Relaxed)).expect("few"));
        println!("{clients:>7} | {:>9.0}", count / began.elapsed().as_secs_f64());
        store.shutdown().await;
    }
}

#[tokio::main]
async fn main() {
    // As part of a test run it only shows that it works.
    let is_bench = std::env::args().any(|arg| arg == "--bench");
    let cluster = TikvCluster::start();
    shares(&cluster, if is_bench { 300 } else { 3 }).await;
    large(&cluster, if is_bench { &[1, 4, 8, 16, 30] } else { &[1] }).await;
    pool(&cluster, if is_bench { 5.0 } else { 0.1 }).await;
}
