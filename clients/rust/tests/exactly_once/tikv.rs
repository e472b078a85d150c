//! Workers that write straight to a TiKV cluster, whose topics a broker serves. Their process is killed in the midst of its
//! work, again and again; then the store goes away and comes back.

use tidegate::{ClientOptions, DbSettings, Tidegate};
use tidegate_broker::BrokerStore;
use tidegate_store::TikvStore;
use tidegate_tests::test_process::TestProcess;
use tidegate_tests::tikv_cluster::TikvCluster;

use super::application::Application;
use super::chain::{self, Chain, KEYS, PER_ROUND};
use super::patient::patient;
use super::stage::{Stage, in_time};

/// Set for the process that is to be killed: the namespace of its store, and where its broker listens.
const NAMESPACE: &str = "TIDEGATE_TEST_WORKER_NAMESPACE";
const BROKER: &str = "TIDEGATE_TEST_WORKER_BROKER";
const TEST: &str = "tikv::workers_on_tikv_handle_each_event_once";
const ROUNDS: usize = 4;
const PARTITIONS: i32 = 2;

async fn open(namespace: &str, broker: &str) -> Tidegate {
    let client = ClientOptions::new(broker);
    let opened = Tidegate::tikv_with(patient(namespace), client, DbSettings::default()).await;
    opened.expect("the cluster is there")
}

/// Handles what comes, until it is killed.
async fn work(namespace: &str, broker: &str) {
    let tidegate = open(namespace, broker).await;
    let _workers = Chain::start(&Application::of(&tidegate, PARTITIONS)).await;
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_on_tikv_handle_each_event_once() {
    if let Ok(namespace) = std::env::var(NAMESPACE) {
        let broker = std::env::var(BROKER).expect("it is set with the namespace");
        return work(&namespace, &broker).await;
    }
    let mut cluster = TikvCluster::start();
    let namespace = cluster.fresh_namespace();
    let store = TikvStore::connect(patient(&namespace)).await.expect("the cluster is there");
    let stage = Stage::on(BrokerStore::from(store.clone()), PARTITIONS).await;
    let address = stage.broker.listen().to_string();
    let tidegate = open(&namespace, &address).await;
    let application = Application::of(&tidegate, PARTITIONS);
    Chain::create_topics(&application).await;
    let mut sent = 0;
    for _ in 0..super::kill::rounds(ROUNDS) {
        let worker = TestProcess::start(TEST, &[(NAMESPACE, &namespace), (BROKER, &address)]);
        application.send(sent..sent + PER_ROUND, KEYS).await;
        sent += PER_ROUND;
        chain::until_half_done(&application, sent).await;
        worker.kill();
    }
    let workers = Chain::start(&application).await;
    application.send(sent..sent + PER_ROUND, KEYS).await;
    sent += PER_ROUND;
    chain::until_half_done(&application, sent).await;
    // Of a cluster that somebody else has started nothing is stopped.
    if let TikvCluster::Own(own) = &mut cluster {
        tokio::task::block_in_place(|| {
            own.stop_store();
            own.start_store();
        });
    }
    chain::until_done(&application, sent).await;
    chain::check(&application, sent).await;
    workers.stop().await;
    in_time("the application to end", tidegate.shutdown()).await;
    stage.broker.stop().await;
    store.shutdown().await;
}
