//! What the tests of this crate stand on: a store with a clock that they move, one topic, and the log read back.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;
use tidegate_format::{
    BrokerId, LogKey, LogValue, OutboxKey, PartitionId, PartitionIndex, ScheduleKey, TimerKey, TopicId,
};
use tidegate_log::{Ownership, take_ownership};
use tidegate_protocol::batch::{Record, decode_records};
use tidegate_store::{
    CommitError, Direction, EmbeddedOptions, EmbeddedStore, FaultyStore, KeyRange, ManualClock, MemoryStore,
    ScanLimit, Store, Txn,
};
use uuid::Uuid;

use crate::relay::{Relay, RelaySettings, Turn};
use crate::{Event, PublishError, PublishSettings, Published, Publisher, TopicDefaults, ensure_topic};

/// When the tests' clock starts.
pub(crate) const NOW_MS: i64 = 1_700_000_000_000;
pub(crate) const TOPIC_NAME: &str = "flights";
pub(crate) const TOPIC: TopicId = TopicId(Uuid::from_u128(0xF11));
pub(crate) const BROKER: BrokerId = BrokerId(1);

pub(crate) fn memory_store() -> (MemoryStore, ManualClock) {
    let clock = ManualClock::at(NOW_MS);
    (MemoryStore::new(Arc::new(clock.clone())), clock)
}

pub(crate) fn partition(index: i32) -> PartitionId {
    PartitionId { topic: TOPIC, partition: PartitionIndex(index) }
}

/// The settings under which the tests publish: what is missing is created, with one partition.
pub(crate) fn publish_settings() -> PublishSettings {
    PublishSettings { create_topics: Some(TopicDefaults::default()), ..PublishSettings::default() }
}

/// An event of the tests' topic, without a due time.
pub(crate) fn event(key: &str, value: &str) -> Event {
    Event {
        id: format!("id-{value}"),
        event_type: "flight.scheduled".to_owned(),
        source: "/tests".to_owned(),
        time_ms: NOW_MS,
        topic: Some(TOPIC_NAME.to_owned()),
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        ..Event::default()
    }
}

pub(crate) fn due(event: Event, due_ms: i64) -> Event {
    Event { due_ms: Some(due_ms), ..event }
}

pub(crate) fn scheduled(event: Event, schedule: &str, due_ms: i64) -> Event {
    Event { schedule: Some(schedule.to_owned()), due_ms: Some(due_ms), ..event }
}

/// Creates the tests' topic.
pub(crate) async fn create_topic<S: Store>(store: &S, partitions: i32) {
    let defaults = TopicDefaults { partitions, ..TopicDefaults::default() };
    loop {
        let mut txn = store.begin().await.expect("a snapshot");
        ensure_topic(&mut txn, TOPIC_NAME, &defaults, TOPIC).await.expect("a topic");
        match txn.commit().await {
            Ok(_) => return,
            // Nobody else creates it, but a TiKV that was slow to answer has not.
            Err(error) => assert_eq!(error, CommitError::Conflict),
        }
    }
}

/// Runs `work` with a publisher in one transaction and commits it.
pub(crate) async fn commit<S: Store, T>(
    store: &S,
    work: impl AsyncFnOnce(&mut Publisher<&PublishSettings>, &mut S::Txn) -> T,
) -> T {
    let settings = publish_settings();
    let mut txn = store.begin().await.expect("a snapshot");
    let mut publisher = Publisher::new(&txn, &settings, store.now_ms(), Uuid::new_v4());
    let result = work(&mut publisher, &mut txn).await;
    txn.commit().await.expect("nobody else writes");
    result
}

/// Publishes one event in its own transaction.
pub(crate) async fn publish<S: Store>(store: &S, event: Event) -> Result<Published, PublishError> {
    commit(store, async |publisher, txn| publisher.publish(txn, &event).await).await
}

pub(crate) async fn own<S: Store>(store: &S, id: PartitionId) -> Ownership {
    take_ownership(store, id, BROKER).await.expect("nobody else takes it").0
}

/// A partition's owner and its relay.
pub(crate) struct Owner {
    pub(crate) ownership: Ownership,
    pub(crate) relay: Relay,
}

impl Owner {
    pub(crate) async fn of<S: Store>(store: &S, id: PartitionId) -> Self {
        Self { ownership: own(store, id).await, relay: Relay::new(id) }
    }

    /// One turn with the default settings, for a store of this order lag.
    pub(crate) async fn turn<S: Store>(&mut self, store: &S) -> Turn {
        let overlap_ms = i64::try_from(store.order_lag_ms()).expect("a short while");
        self.turn_with(store, &RelaySettings { overlap_ms, ..RelaySettings::default() }).await
    }

    pub(crate) async fn turn_with<S: Store>(&mut self, store: &S, settings: &RelaySettings) -> Turn {
        self.relay.turn(store, &self.ownership, store.now_ms(), settings).await.expect("the store answers")
    }

    /// Turns until nothing is due; how many records were moved.
    pub(crate) async fn drain<S: Store>(&mut self, store: &S) -> usize {
        let mut records = 0;
        loop {
            let turn = self.turn(store).await;
            records += turn.records;
            if !turn.more {
                return records;
            }
        }
    }
}

/// What a partition's log holds. Asserts that its offsets have no gaps.
pub(crate) async fn log_of<S: Store>(store: &S, id: PartitionId) -> Vec<Record> {
    let mut records = Vec::new();
    for (_, row) in rows(store, LogKey::range(id)).await {
        let batch = LogValue::decode(row).expect("a log entry").batch;
        let base = i64::from_be_bytes(*batch.first_chunk().expect("a batch"));
        for record in decode_records(&batch, 64 << 20).expect("an intact batch") {
            let offset = base + i64::from(record.offset_delta);
            assert_eq!(offset, i64::try_from(records.len()).expect("a count"), "offsets have no gaps");
            records.push(record);
        }
    }
    records
}

/// The values of a partition's log, as text.
pub(crate) async fn values_of<S: Store>(store: &S, id: PartitionId) -> Vec<String> {
    log_of(store, id).await.iter().map(|record| text(record.value.as_ref())).collect()
}

pub(crate) fn text(bytes: Option<&Bytes>) -> String {
    String::from_utf8(bytes.expect("a value").to_vec()).expect("text")
}

pub(crate) async fn rows<S: Store>(store: &S, range: (Bytes, Bytes)) -> Vec<(Bytes, Bytes)> {
    let mut txn = store.begin().await.expect("a snapshot");
    let range = KeyRange::new(range.0, range.1);
    txn.scan(&range, ScanLimit::count(usize::MAX), Direction::Forward).await.expect("rows")
}

/// How many entries wait in the outbox, in the timer, and how many schedules are named.
pub(crate) async fn waiting<S: Store>(store: &S, id: PartitionId) -> (usize, usize, usize) {
    (
        rows(store, OutboxKey::range(id)).await.len(),
        rows(store, TimerKey::range(id)).await.len(),
        rows(store, ScheduleKey::range(id.topic)).await.len(),
    )
}

/// Runs an asynchronous test body of a property.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(future)
}

/// A kind of store that can be opened again, over a clock that tests move.
pub(crate) trait Backend {
    type Store: Store;

    fn clock(&self) -> ManualClock;

    /// Opens the store, for the first time.
    fn open(&self) -> Self::Store;

    /// Closes the store, whoever has handles on it, and opens it again.
    async fn reopen(&self, store: &Self::Store) -> Self::Store;
}

/// A store that lives as long as its backend.
pub(crate) struct InMemory(MemoryStore, ManualClock);

impl InMemory {
    pub(crate) fn new() -> Self {
        let (store, clock) = memory_store();
        Self(store, clock)
    }
}

impl Backend for InMemory {
    type Store = MemoryStore;

    fn clock(&self) -> ManualClock {
        self.1.clone()
    }

    fn open(&self) -> MemoryStore {
        self.0.clone()
    }

    async fn reopen(&self, _store: &MemoryStore) -> MemoryStore {
        self.0.clone()
    }
}

/// A store in a directory that goes with its backend.
pub(crate) struct Embedded(TempDir, ManualClock);

impl Embedded {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"), ManualClock::at(NOW_MS))
    }
}

impl Backend for Embedded {
    type Store = EmbeddedStore;

    fn clock(&self) -> ManualClock {
        self.1.clone()
    }

    /// With an overlay so small that the tree is written all the time.
    fn open(&self) -> EmbeddedStore {
        let defaults = EmbeddedOptions::new(Arc::new(self.1.clone()));
        let options = EmbeddedOptions { overlay_bytes: 48 << 10, segment_bytes: 1 << 20, ..defaults };
        EmbeddedStore::open(self.0.path(), options).expect("nobody else has it")
    }

    async fn reopen(&self, store: &EmbeddedStore) -> EmbeddedStore {
        store.shutdown().await;
        self.open()
    }
}

/// Wraps a store so that it can be made to fail.
pub(crate) fn faulty<S: Store>(store: S) -> FaultyStore<S> {
    FaultyStore::new(store, || Uuid::new_v4().as_u128())
}
