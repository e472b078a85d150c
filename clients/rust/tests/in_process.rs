//! A store opened in process without a port: an application's worker, producer and consumer reach the broker within, and nobody
//! else can. In a process of its own, as it counts the process's listening sockets; the cases run one after the other for that.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate::{
    AppStore, AutoOffsetReset, ClientOptions, ConsumerOptions, Error, Event, Model, OpenOptions, Outcome,
    Producer, ProducerOptions, ProducerRecord, Start, Tidegate, TopicPartition, Transport, Tx,
};

/// After this time a test counts as hung. It has nothing to do with speed.
const HANG_AFTER: Duration = Duration::from_secs(120);
const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Model)]
#[model(table = "orders", events(insert = "order.placed"))]
struct Order {
    id: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Model)]
#[model(table = "invoices")]
struct Invoice {
    id: i64,
    /// How often the order's event was handled.
    times: i64,
}

/// The sockets of this process that listen.
fn listening() -> usize {
    let own: BTreeSet<String> = std::fs::read_dir("/proc/self/fd")
        .expect("Linux")
        .filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok()?.into_os_string().into_string().ok())
        .filter_map(|target| Some(target.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let is_listening = |line: &&str| line.split_whitespace().nth(3) == Some("0A");
    let is_own = |line: &&str| line.split_whitespace().nth(9).is_some_and(|inode| own.contains(inode));
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
    // A machine without IPv6 has no such table.
    let tables = tables.map(|table| std::fs::read_to_string(table).unwrap_or_default());
    tables.iter().flat_map(|table| table.lines().skip(1)).filter(is_listening).filter(is_own).count()
}

async fn in_time<T>(what: &str, outcome: impl Future<Output = T>) -> T {
    match tokio::time::timeout(HANG_AFTER, outcome).await {
        Ok(outcome) => outcome,
        Err(_) => panic!("hung: {what}"),
    }
}

async fn invoice(
    event: Event,
    tx: Tx<AppStore>,
) -> Result<Outcome, Box<dyn std::error::Error + Send + Sync>> {
    let order: Order = event.json()?;
    let times = tx.find::<Invoice>(order.id).await?.map_or(0, |invoice| invoice.times);
    tx.save(&Invoice { id: order.id, times: times + 1 }).await?;
    Ok(Outcome::Ack)
}

async fn place(tidegate: &Tidegate, ids: std::ops::Range<i64>) {
    for id in ids {
        let order = &Order { id };
        tidegate.db().transaction(|tx| async move { tx.insert(order).await }).await.expect("placed");
    }
}

/// Has a worker of a group handle what is there, until there are so many invoices: one for each order.
async fn invoice_all(tidegate: &Tidegate, orders: i64) {
    let worker = tidegate.worker().expect("it has a broker").group("billing").topics(["orders"]);
    let worker = worker.start(invoice).await.expect("it starts");
    let expected: Vec<Invoice> = (0..orders).map(|id| Invoice { id, times: 1 }).collect();
    in_time("invoices", async {
        loop {
            let snapshot = tidegate.db().snapshot().await.expect("read");
            let invoices = snapshot.list::<Invoice>().limit(1_000).fetch().await.expect("read").rows;
            if invoices.len() == expected.len() {
                return assert_eq!(invoices, expected);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    worker.stop().await.expect("it stops");
}

/// Sends records that are larger together than what a stream holds, and reads them back.
async fn send_and_read(tidegate: &Tidegate) {
    let producer = tidegate.producer(ProducerOptions::default()).await.expect("it has a broker");
    let value = |number: u8| vec![number; 90_000];
    let mut receipts = vec![];
    for number in 0..40 {
        let record = ProducerRecord::to("large").partition(0).value(value(number));
        receipts.push(producer.enqueue(record).await.expect("there is room"));
    }
    producer.flush().await;
    for receipt in receipts {
        receipt.wait().await.expect("it is in the log");
    }
    producer.close().await;
    let options =
        ConsumerOptions { auto_offset_reset: AutoOffsetReset::Earliest, ..ConsumerOptions::default() };
    let mut consumer = tidegate.consumer(options).await.expect("it has a broker");
    consumer.assign([(TopicPartition::new("large", 0), Start::Earliest)]).expect("no group");
    for number in 0..40 {
        let record = in_time("a record", consumer.recv()).await.expect("a record");
        assert_eq!(record.value.as_deref(), Some(&value(number)[..]));
    }
    consumer.close().await.expect("it closes");
}

/// The defaults, but for a group's first rebalance, which waits for nobody.
fn opening(directory: &Path) -> OpenOptions {
    let mut options = OpenOptions::new(directory);
    options.settings.group_initial_rebalance_delay_ms = 0;
    options
}

async fn without_a_port(directory: &Path) {
    let tidegate = Tidegate::open_with(opening(directory)).await.expect("a new store");
    place(&tidegate, 0..20).await;
    invoice_all(&tidegate, 20).await;
    send_and_read(&tidegate).await;
    let admin = tidegate.admin().await.expect("it has a broker");
    let group = admin.describe_group("billing").await.expect("it answers");
    assert_eq!(group.members.len(), 0, "the worker has left");
    drop(admin);
    assert_eq!(listening(), 0, "no port is open");
    let client_options = tidegate.client_options().expect("it has a broker");
    tidegate.shutdown().await;

    let closed = ClientOptions { call_timeout_ms: 200, ..client_options };
    let refused = Producer::connect(closed, ProducerOptions::default()).await.expect_err("it is closed");
    assert!(matches!(refused, Error::Disconnected { .. }), "{refused}");

    let tidegate = Tidegate::open_with(opening(directory)).await.expect("nobody else has it");
    place(&tidegate, 20..40).await;
    invoice_all(&tidegate, 40).await;
    assert_eq!(listening(), 0, "no port is open");
    tidegate.shutdown().await;
}

async fn with_ports(directory: &Path) {
    let options = opening(directory).listen(ANY_PORT);
    let tidegate = Tidegate::open_with(options.clone()).await.expect("nobody else has it");
    assert_eq!(listening(), 1, "Kafka's port, as it was asked for");
    let within = tidegate.client_options().expect("it has a broker");
    let elsewhere = ClientOptions { transport: Transport::Tcp, ..within };
    let producer = Producer::connect(elsewhere, ProducerOptions::default()).await.expect("it listens");
    let record = ProducerRecord::to("large").partition(0).value("from elsewhere");
    assert_eq!(producer.send(record).await.expect("it is in the log").offset, Some(40));
    producer.close().await;
    tidegate.shutdown().await;

    let tidegate = Tidegate::open_with(options.admin(ANY_PORT)).await.expect("nobody else has it");
    assert_eq!(listening(), 2, "and the admin port");
    tidegate.shutdown().await;
    assert_eq!(listening(), 0, "they are closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_port_is_open_unless_it_is_asked_for_and_workers_handle_events_also_after_reopening() {
    let directory = tempfile::tempdir().expect("a directory");
    without_a_port(directory.path()).await;
    with_ports(directory.path()).await;
}
