//! Partitions on a store in memory, in virtual time, and batches for them: what the tests begin with.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tidegate_format::{
    BrokerId, EventValue, Offset, OrderVersion, OutboxKey, PartitionId, PartitionIndex, TimerKey, TopicId,
    TopicKey, TopicValue,
};
use tidegate_log::{AdmittedBatch, BatchRules, ReadLimit};
use tidegate_outbox::hold::Plan;
use tidegate_protocol::batch::{
    BatchHeader, BatchOptions, Record, TimestampType, decode_records, encode_batch,
};
use tidegate_store::{Clock, FaultyStore, MemoryStore, Store, Txn, Version};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::topic_source::TopicSource;
use super::{PartitionHosts, ProduceError, Produced};
use crate::settings::{Delivery, Settings};
use crate::topics::{self, TopicConfig};

pub(super) const START_MS: i64 = 1_790_000_000_000;
const ALL: ReadLimit = ReadLimit { max_bytes: usize::MAX, at_least_one: true };

/// A wall clock that goes with the runtime's, which tests pause.
struct RuntimeClock(Instant);

impl Clock for RuntimeClock {
    fn now_ms(&self) -> i64 {
        START_MS + i64::try_from(self.0.elapsed().as_millis()).expect("a short test")
    }
}

/// Topics that a test makes and drops.
#[derive(Default)]
pub(super) struct FixedTopics(Mutex<BTreeMap<TopicId, (i32, TopicConfig)>>);

impl FixedTopics {
    pub(super) fn drop_topic(&self, topic: TopicId) {
        self.0.lock().expect("no panic").remove(&topic);
    }
}

impl TopicSource for FixedTopics {
    fn config(&self, topic: TopicId) -> Option<TopicConfig> {
        self.0.lock().expect("no panic").get(&topic).map(|(_, config)| config.clone())
    }

    fn partitions(&self) -> Vec<PartitionId> {
        let topics = self.0.lock().expect("no panic");
        let ids = topics.iter().flat_map(|(topic, (partitions, _))| {
            (0..*partitions).map(|index| PartitionId { topic: *topic, partition: PartitionIndex(index) })
        });
        ids.collect()
    }
}

pub(super) fn config() -> TopicConfig {
    TopicConfig {
        delivery: Delivery::Immediate,
        retention_ms: None,
        retention_bytes: None,
        max_message_bytes: 1 << 20,
        timestamp_type: topics::TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: i64::MAX,
    }
}

/// A broker's partitions, on a store that others can reach too.
pub(super) struct Broker {
    pub(super) memory: MemoryStore,
    pub(super) store: FaultyStore<MemoryStore>,
    pub(super) topics: Arc<FixedTopics>,
    pub(super) settings: Settings,
    pub(super) hosts: PartitionHosts<FaultyStore<MemoryStore>>,
}

/// One more process on the same store.
pub(super) fn process(memory: &MemoryStore) -> FaultyStore<MemoryStore> {
    static NONCES: AtomicU64 = AtomicU64::new(1);
    FaultyStore::new(memory.clone(), || u128::from(NONCES.fetch_add(1, Ordering::Relaxed)))
}

/// Partition `index` of the topic that every test has.
pub(super) fn partition(index: i32) -> PartitionId {
    PartitionId { topic: TopicId(Uuid::from_u128(1)), partition: PartitionIndex(index) }
}

impl Broker {
    /// With one topic of this configuration.
    pub(super) async fn with(partitions: i32, config: TopicConfig, settings: Settings) -> Self {
        let memory = MemoryStore::new(Arc::new(RuntimeClock(Instant::now())));
        let topics = Arc::new(FixedTopics::default());
        let id = partition(0).topic;
        topics.0.lock().expect("no panic").insert(id, (partitions, config));
        let row = TopicValue { id, partitions, created_version: OrderVersion(1), configs: BTreeMap::new() };
        let mut txn = memory.begin().await.expect("a store that works");
        txn.put(TopicKey { name: "topic".to_owned() }.encode(), row.encode());
        txn.commit().await.expect("a store that works");
        Self::on(memory, topics, settings)
    }

    pub(super) async fn new(partitions: i32) -> Self {
        Self::with(partitions, config(), Settings::default()).await
    }

    fn on(memory: MemoryStore, topics: Arc<FixedTopics>, settings: Settings) -> Self {
        let store = process(&memory);
        let hosts = PartitionHosts::new(store.clone(), topics.clone(), &settings, CancellationToken::new());
        Self { memory, store, topics, settings, hosts }
    }

    /// What a new process finds after this one was killed.
    pub(super) fn restart(&self) -> Self {
        Self::on(self.memory.clone(), self.topics.clone(), self.settings.clone())
    }

    /// Hands a batch in; the answer comes later.
    pub(super) fn send(
        &self,
        id: PartitionId,
        plan: Plan,
    ) -> tokio::task::JoinHandle<Result<Produced, ProduceError>> {
        let hosts = self.hosts.clone();
        tokio::spawn(async move { hosts.produce(id, plan).await?.answer().await })
    }

    pub(super) async fn produce(&self, id: PartitionId, plan: Plan) -> Result<i64, ProduceError> {
        self.hosts.produce(id, plan).await?.answer().await.map(|produced| produced.base_offset.0)
    }

    /// What consumers see of a partition: offset and value of each record.
    pub(super) async fn records(&self, id: PartitionId) -> Vec<(i64, String)> {
        let status = self.hosts.status(id).await.expect("a store that works");
        let (mut from, mut batches) = (status.log_start, Vec::new());
        while from < status.high_watermark {
            let read = self.hosts.read(id, from, ALL).await.expect("in range");
            let last = read.batches.batches.last().expect("at least one");
            from = Offset(BatchHeader::decode(last).expect("intact").last_offset() + 1);
            batches.extend(read.batches.batches);
        }
        let decode = |batch: &Bytes| {
            let base = i64::from_be_bytes(batch[..8].try_into().expect("8 bytes"));
            let records = decode_records(batch, 1 << 20).expect("intact");
            records.into_iter().map(move |record| {
                let value = record.value.unwrap_or_default();
                (base + i64::from(record.offset_delta), String::from_utf8_lossy(&value).into_owned())
            })
        };
        batches.iter().flat_map(decode).collect()
    }

    pub(super) async fn values(&self, id: PartitionId) -> Vec<String> {
        self.records(id).await.into_iter().map(|(_, value)| value).collect()
    }

    /// When each batch was appended, as the store's versions tell.
    pub(super) async fn append_versions(&self, id: PartitionId) -> Vec<u64> {
        let mut txn = self.memory.begin().await.expect("a store that works");
        let mut versions = Vec::new();
        let mut offset = Offset(0);
        let end = self.hosts.status(id).await.expect("a store that works").high_watermark;
        while offset < end {
            let version = tidegate_log::append_version_at(&mut txn, id, offset).await.expect("intact");
            versions.push(version.expect("in the log").0);
            offset = offset.plus(1);
        }
        versions
    }

    /// Commits events as a publisher in another process does: nobody is told.
    pub(super) async fn publish(&self, id: PartitionId, values: &[&str]) {
        let mut txn = self.memory.begin().await.expect("a store that works");
        for (n, value) in (0..).zip(values) {
            txn.put_versioned(OutboxKey::prefix(id), OutboxKey::suffix(n), event(value).encode());
        }
        txn.commit().await.expect("a store that works");
    }

    /// As [`publish`](Self::publish), with an order version of `version_ms`, as a commit that takes a while leaves it.
    pub(super) async fn publish_behind(&self, id: PartitionId, version_ms: i64, value: &str) {
        let mut txn = self.memory.begin().await.expect("a store that works");
        let version = OrderVersion(Version::first_of_ms(version_ms).0);
        txn.put(OutboxKey { id, version, n: 0 }.encode(), event(value).encode());
        txn.commit().await.expect("a store that works");
    }

    /// As [`publish`](Self::publish), to be told at a time.
    pub(super) async fn publish_at(&self, id: PartitionId, due_ms: i64, value: &str) {
        let mut txn = self.memory.begin().await.expect("a store that works");
        let entry = Uuid::new_v4();
        txn.put(TimerKey { id, due_ms, entry }.encode(), event(value).encode());
        txn.commit().await.expect("a store that works");
    }
}

fn event(value: &str) -> EventValue {
    let value = Some(Bytes::copy_from_slice(value.as_bytes()));
    EventValue { schedule: None, timestamp_ms: None, key: None, value, headers: Vec::new() }
}

pub(super) fn admitted(value: &str, timestamp_ms: i64, options: &BatchOptions) -> AdmittedBatch {
    let value = Some(Bytes::copy_from_slice(value.as_bytes()));
    let payload =
        encode_batch(&[Record { timestamp_ms, value, ..Record::default() }], options).expect("small");
    let rules = BatchRules {
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: i64::MAX,
        max_message_bytes: 1 << 20,
    };
    AdmittedBatch::new(&payload, &rules, START_MS).expect("what a producer may send")
}

/// A batch of one record.
pub(super) fn batch(value: &str) -> Plan {
    Plan::AsItCame(admitted(value, START_MS, &BatchOptions::default()))
}

/// A batch of one record of an idempotent producer.
pub(super) fn idempotent(value: &str, base_sequence: i32) -> Plan {
    let options =
        BatchOptions { producer_id: 7, producer_epoch: 0, base_sequence, ..BatchOptions::default() };
    Plan::AsItCame(admitted(value, START_MS, &options))
}

/// Takes a partition over as another broker does.
pub(super) async fn take_over(memory: &MemoryStore, id: PartitionId) {
    tidegate_log::take_ownership(memory, id, BrokerId(99)).await.expect("a store that works");
}
