//! Workers that reach their store through a broker's port. The broker's process is killed in the midst of their work, again
//! and again.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

use tidegate::Tidegate;
use tidegate_broker::BrokerStore;
use tidegate_tests::kept_port::KeptPort;
use tidegate_tests::test_process::TestProcess;

use super::application::Application;
use super::chain::{self, Chain, KEYS, PER_ROUND};
use super::kill::open;
use super::stage::{Stage, in_time};

/// Set for the process that is to be killed: the directory of its store, and where it listens.
const DIRECTORY: &str = "TIDEGATE_TEST_SERVED_DIRECTORY";
const LISTEN: &str = "TIDEGATE_TEST_SERVED_LISTEN";
const SERVING: &str = "serving on ";
const TEST: &str = "port::workers_through_a_broker_handle_each_event_once";
const ROUNDS: usize = 5;
const PARTITIONS: i32 = 2;

/// Serves a store until it is killed.
async fn serve(directory: &Path, listen: SocketAddr) {
    let stage = Stage::on_port(BrokerStore::from(open(directory)), PARTITIONS, listen).await;
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{SERVING}{}", stage.broker.listen())
        .and_then(|()| out.flush())
        .expect("somebody listens");
    drop(out);
    std::future::pending::<()>().await;
}

/// Starts a broker in a process of its own, which serves when this returns.
fn start(directory: &Path, listen: &str) -> TestProcess {
    let directory = directory.to_str().expect("a path in UTF-8");
    let mut broker = TestProcess::start(TEST, &[(DIRECTORY, directory), (LISTEN, listen)]);
    assert_eq!(broker.said(SERVING), listen);
    broker
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_through_a_broker_handle_each_event_once() {
    if let Ok(directory) = std::env::var(DIRECTORY) {
        let listen = std::env::var(LISTEN).expect("it is set with the directory");
        return serve(Path::new(&directory), listen.parse().expect("an address")).await;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let port = KeptPort::take();
    let address = port.address().to_string();
    let mut broker = start(directory.path(), &address);
    let tidegate = Tidegate::connect(&address).await.expect("it listens");
    let application = Application::of(&tidegate, PARTITIONS);
    Chain::create_topics(&application).await;
    let workers = Chain::start(&application).await;
    let mut sent = 0;
    for _ in 0..super::kill::rounds(ROUNDS) {
        application.send(sent..sent + PER_ROUND, KEYS).await;
        sent += PER_ROUND;
        chain::until_half_done(&application, sent).await;
        broker.kill();
        broker = start(directory.path(), &address);
    }
    chain::until_done(&application, sent).await;
    chain::check(&application, sent).await;
    workers.stop().await;
    in_time("the application to end", tidegate.shutdown()).await;
}
