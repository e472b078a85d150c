//! A broker and a store in one process, numbered events, and a ledger of what handlers did with them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate::model::Error;
use tidegate::store::{MemoryStore, Store, SystemClock};
use tidegate::{
    Admin, Assignor, AutoOffsetReset, ClientOptions, Consumer, ConsumerOptions, ConsumerRecord, Db,
    DbSettings, Event, Model, NewTopic, Outcome, Producer, ProducerOptions, ProducerRecord, RetryPolicy,
    Start, TopicPartition, Tx, Worker, WorkerBuilder,
};
use tidegate_broker::settings::Settings;
use tidegate_broker::{BrokerStore, RunningBroker};

pub(crate) const TOPIC: &str = "orders";
pub(crate) const GROUP: &str = "billing";
pub(crate) const DEAD_LETTERS: &str = "orders.billing.dlq";
/// After this time a test counts as hung. It has nothing to do with speed.
const HANG_AFTER: Duration = Duration::from_secs(180);

/// The numbers that were handled for a key, in the order in which they were.
#[derive(Clone, Debug, Default, Serialize, Deserialize, Model)]
#[model(table = "ledgers")]
pub(crate) struct Ledger {
    pub(crate) id: String,
    pub(crate) numbers: Vec<i64>,
}

pub(crate) struct Stage {
    pub(crate) broker: RunningBroker,
    pub(crate) store: BrokerStore,
    pub(crate) db: Db<BrokerStore>,
    pub(crate) partitions: i32,
}

impl Stage {
    pub(crate) async fn open(partitions: i32) -> Self {
        let store = BrokerStore::from(MemoryStore::new(Arc::new(SystemClock)));
        let stage = Self::on(store, partitions).await;
        let topic = NewTopic { name: TOPIC.to_owned(), partitions: Some(partitions), configs: vec![] };
        stage.admin().await.create_topic(&topic).await.expect("a new topic");
        stage
    }

    /// On a store that may have been used before.
    pub(crate) async fn on(store: BrokerStore, partitions: i32) -> Self {
        Self::on_port(store, partitions, ([127, 0, 0, 1], 0).into()).await
    }

    /// As before, where another broker has listened.
    pub(crate) async fn on_port(store: BrokerStore, partitions: i32, listen: SocketAddr) -> Self {
        let admin = ([127, 0, 0, 1], 0).into();
        let mut settings = Settings { listen, admin, ..Settings::default() };
        settings.group_initial_rebalance_delay_ms = 0;
        let broker = RunningBroker::start(settings, store.clone()).await.expect("a free port");
        let db = Db::new(store.clone(), DbSettings::default(), broker.wakeup());
        Self { broker, store, db, partitions }
    }

    pub(crate) fn client(&self) -> ClientOptions {
        ClientOptions::new(&self.broker.listen().to_string())
    }

    pub(crate) async fn admin(&self) -> Admin {
        Admin::connect(self.client()).await.expect("it listens")
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.store.now_ms()
    }

    /// Sends events with these numbers; the key is the number modulo `keys`.
    pub(crate) async fn send(&self, numbers: std::ops::Range<i64>, keys: i64) {
        let producer =
            Producer::connect(self.client(), ProducerOptions::default()).await.expect("it listens");
        for number in numbers {
            let record = ProducerRecord::to(TOPIC).key((number % keys).to_string()).value(number.to_string());
            drop(producer.enqueue(record).await.expect("there is room"));
        }
        producer.flush().await;
        producer.close().await;
    }

    /// A member of the group, or on fixed partitions, with quick retries.
    pub(crate) fn worker(&self) -> WorkerBuilder<BrokerStore> {
        let consumer = ConsumerOptions {
            assignors: vec![Assignor::CooperativeSticky],
            heartbeat_interval_ms: 20,
            fetch_max_wait_ms: 50,
            ..ConsumerOptions::default()
        };
        let retry = RetryPolicy { retries_max: 2, first_ms: 20, max_ms: 50, jitter_percent: 50 };
        Worker::builder(self.db.clone(), self.client()).group(GROUP).retry(retry).consumer_options(consumer)
    }

    pub(crate) fn member(&self) -> WorkerBuilder<BrokerStore> {
        self.worker().topics([TOPIC])
    }

    pub(crate) fn fixed(&self) -> WorkerBuilder<BrokerStore> {
        self.worker().partitions(TOPIC, 0..self.partitions)
    }

    /// What was handled, by key.
    pub(crate) async fn ledgers(&self) -> BTreeMap<String, Vec<i64>> {
        let snapshot = self.db.snapshot().await.expect("the store is there");
        let rows = snapshot.list::<Ledger>().limit(1_000).fetch().await.expect("they can be read").rows;
        rows.into_iter().map(|ledger| (ledger.id, ledger.numbers)).collect()
    }

    pub(crate) async fn handled(&self) -> usize {
        self.ledgers().await.values().map(Vec::len).sum()
    }

    /// Waits until so many events were handled.
    pub(crate) async fn until_handled(&self, count: usize) {
        until("events to be handled", async || self.handled().await >= count).await;
    }

    /// What the group has committed, over all partitions.
    pub(crate) async fn committed(&self) -> i64 {
        let offsets = self.admin().await.list_group_offsets(GROUP).await.expect("it answers");
        offsets.iter().filter(|one| one.partition.topic == TOPIC).map(|one| one.offset).sum()
    }

    /// Everything that is in a topic of one partition.
    pub(crate) async fn read(&self, topic: &str, count: usize) -> Vec<ConsumerRecord> {
        let options =
            ConsumerOptions { auto_offset_reset: AutoOffsetReset::Earliest, ..ConsumerOptions::default() };
        let mut consumer = Consumer::connect(self.client(), options).await.expect("it listens");
        consumer.assign([(TopicPartition::new(topic, 0), Start::Earliest)]).expect("no group");
        let mut records = Vec::new();
        while records.len() < count {
            records.push(in_time("a record", consumer.recv()).await.expect("a record"));
        }
        records
    }

    /// Marks and parked records that the group has.
    pub(crate) async fn noted(&self) -> (usize, usize) {
        use tidegate::store::{Direction, KeyRange, Txn};
        let mut txn = self.store.begin().await.expect("the store is there");
        let mut count = async |(start, end): (bytes::Bytes, bytes::Bytes)| {
            let keys = txn.scan_keys(&KeyRange::new(start, end), 100_000, Direction::Forward).await;
            keys.expect("the store is there").len()
        };
        let done = count(tidegate_format::DoneKey::range_group(GROUP)).await;
        (done, count(tidegate_format::ParkedKey::range_group(GROUP)).await)
    }

    /// The sum of a metric over the group's partitions, as the admin port tells it.
    pub(crate) async fn metric(&self, name: &str) -> i64 {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(self.broker.admin()).await.expect("it listens");
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.expect("it listens");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("text");
        let series = format!("{name}{{group=\"{GROUP}\"");
        let of_group = answer.lines().filter(|line| line.starts_with(&series));
        let values = of_group.filter_map(|line| line.rsplit(' ').next()?.parse::<i64>().ok());
        values.sum()
    }

    /// Everything was handled once, in the order of its key, and nothing is left to do.
    pub(crate) async fn check(&self, count: i64, keys: i64) {
        let ledgers = self.ledgers().await;
        for key in 0..keys.min(count) {
            let expected: Vec<i64> = (0..count).filter(|number| number % keys == key).collect();
            assert_eq!(ledgers.get(&key.to_string()), Some(&expected), "key {key}");
        }
        until("the committed offsets to follow", async || self.committed().await == count).await;
        assert_eq!(self.noted().await, (0, 0), "no mark and no parked record is left");
    }
}

/// Enters an event into the ledger of its key.
pub(crate) async fn enter<S: Store>(event: &Event, tx: &Tx<S>) -> Result<(), Error> {
    let key = event.key().expect("every event has one").to_owned();
    let number: i64 = event.json().expect("every event is a number");
    let ledger = tx.find::<Ledger>(key.as_str()).await?;
    let mut ledger = ledger.unwrap_or_else(|| Ledger { id: key, numbers: vec![] });
    ledger.numbers.push(number);
    tx.save(&ledger).await.map(drop)
}

/// A handler that does nothing else.
pub(crate) async fn enter_it(event: Event, tx: Tx<BrokerStore>) -> Result<Outcome, Error> {
    enter(&event, &tx).await?;
    Ok(Outcome::Ack)
}

pub(crate) async fn in_time<T>(what: &str, outcome: impl Future<Output = T>) -> T {
    match tokio::time::timeout(HANG_AFTER, outcome).await {
        Ok(outcome) => outcome,
        Err(_) => panic!("hung: {what}"),
    }
}

/// Waits until a condition holds, looking again whenever something may have happened.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    in_time(what, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
