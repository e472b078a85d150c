//! An application wherever its store is: it sends numbered events, has workers, and looks at a ledger of what handlers did
//! with them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate::model::Error;
use tidegate::store::Store;
use tidegate::{
    Admin, AppStore, Assignor, AutoOffsetReset, ClientOptions, Consumer, ConsumerOptions, ConsumerRecord, Db,
    Event, Model, NewTopic, Producer, ProducerOptions, ProducerRecord, RetryPolicy, Start, Tidegate,
    TopicPartition, Tx, Worker, WorkerBuilder,
};

use super::stage::{in_time, until};

pub(crate) const TOPIC: &str = "orders";
pub(crate) const GROUP: &str = "billing";
pub(crate) const DEAD_LETTERS: &str = "orders.billing.dlq";

/// The numbers that were handled for a key, in the order in which they were.
#[derive(Clone, Debug, Default, Serialize, Deserialize, Model)]
#[model(table = "ledgers")]
pub(crate) struct Ledger {
    pub(crate) id: String,
    pub(crate) numbers: Vec<i64>,
}

pub(crate) struct Application<S: Store> {
    pub(crate) db: Db<S>,
    pub(crate) client: ClientOptions,
    /// Of each topic.
    pub(crate) partitions: i32,
}

impl Application<AppStore> {
    /// Behind the front door.
    pub(crate) fn of(tidegate: &Tidegate, partitions: i32) -> Self {
        let client = tidegate.client_options().expect("it knows a broker");
        Self { db: tidegate.db().clone(), client, partitions }
    }
}

impl<S: Store> Application<S> {
    pub(crate) fn client(&self) -> ClientOptions {
        self.client.clone()
    }

    pub(crate) async fn admin(&self) -> Admin {
        Admin::connect(self.client()).await.expect("it listens")
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.db.now_ms()
    }

    pub(crate) async fn create_topic(&self, name: &str) {
        let topic = NewTopic { name: name.to_owned(), partitions: Some(self.partitions), configs: vec![] };
        self.admin().await.create_topic(&topic).await.expect("a new topic");
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
    pub(crate) fn worker(&self) -> WorkerBuilder<S> {
        let consumer = consumer_options();
        let retry = RetryPolicy { retries_max: 2, first_ms: 20, max_ms: 50, jitter_percent: 50 };
        Worker::builder(self.db.clone(), self.client()).group(GROUP).retry(retry).consumer_options(consumer)
    }

    pub(crate) fn member(&self) -> WorkerBuilder<S> {
        self.worker().topics([TOPIC])
    }

    pub(crate) fn fixed(&self) -> WorkerBuilder<S> {
        self.worker().partitions(TOPIC, 0..self.partitions)
    }

    /// What was handled, by key.
    pub(crate) async fn ledgers(&self) -> BTreeMap<String, Vec<i64>> {
        self.try_ledgers().await.expect("the store is there")
    }

    /// As before, of a store that may be away.
    pub(crate) async fn try_ledgers(&self) -> Result<BTreeMap<String, Vec<i64>>, Error> {
        let rows = self.db.snapshot().await?.list::<Ledger>().limit(1_000).fetch().await?.rows;
        Ok(rows.into_iter().map(|ledger| (ledger.id, ledger.numbers)).collect())
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
        self.committed_in(GROUP, TOPIC).await
    }

    /// What a group has committed in a topic, over all partitions.
    pub(crate) async fn committed_in(&self, group: &str, topic: &str) -> i64 {
        let offsets = self.admin().await.list_group_offsets(group).await.expect("it answers");
        offsets.iter().filter(|one| one.partition.topic == topic).map(|one| one.offset).sum()
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
        self.noted_by(GROUP).await
    }

    /// Marks and parked records that a group has.
    pub(crate) async fn noted_by(&self, group: &str) -> (usize, usize) {
        use tidegate::store::{Direction, KeyRange, Txn};
        let mut txn = self.db.raw_store().begin().await.expect("the store is there");
        let mut count = async |(start, end): (bytes::Bytes, bytes::Bytes)| {
            let keys = txn.scan_keys(&KeyRange::new(start, end), 100_000, Direction::Forward).await;
            keys.expect("the store is there").len()
        };
        let done = count(tidegate_format::DoneKey::range_group(group)).await;
        (done, count(tidegate_format::ParkedKey::range_group(group)).await)
    }

    /// Everything was handled once, in the order of its key, and nothing is left to do.
    pub(crate) async fn check(&self, count: i64, keys: i64) {
        let ledgers = self.ledgers().await;
        for key in 0..keys.min(count) {
            assert_eq!(ledgers.get(&key.to_string()), Some(&numbers_of(key, count, keys)), "key {key}");
        }
        until("the committed offsets to follow", async || self.committed().await == count).await;
        assert_eq!(self.noted().await, (0, 0), "no mark and no parked record is left");
    }
}

/// Settings of a member that hears of a rebalance soon.
pub(crate) fn consumer_options() -> ConsumerOptions {
    ConsumerOptions {
        assignors: vec![Assignor::CooperativeSticky],
        heartbeat_interval_ms: 20,
        fetch_max_wait_ms: 50,
        ..ConsumerOptions::default()
    }
}

/// The numbers that are sent with a key, of the first `count`.
pub(crate) fn numbers_of(key: i64, count: i64, keys: i64) -> Vec<i64> {
    (0..count).filter(|number| number % keys == key).collect()
}

/// Enters an event into the ledger of its key.
pub(crate) async fn enter<S: Store>(event: &Event, tx: &Tx<S>) -> Result<(), Error> {
    let key = event.key().expect("every event has one").to_owned();
    enter_under(key, event, tx).await
}

/// Enters an event into the ledger of this name.
pub(crate) async fn enter_under<S: Store>(name: String, event: &Event, tx: &Tx<S>) -> Result<(), Error> {
    let number: i64 = event.json().expect("every event is a number");
    let ledger = tx.find::<Ledger>(name.as_str()).await?;
    let mut ledger = ledger.unwrap_or_else(|| Ledger { id: name, numbers: vec![] });
    ledger.numbers.push(number);
    tx.save(&ledger).await.map(drop)
}
