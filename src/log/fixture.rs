//! A partition on a store in memory, and batches as producers send them: what the tests begin with.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tempfile::TempDir;
use tidegate_format::{BrokerId, Offset, PartitionId, PartitionIndex, PartitionState, TopicId};
use tidegate_protocol::batch::{BatchOptions, Compression, Record, TimestampType, encode_batch};
use tidegate_store::{
    CommitError, EmbeddedOptions, EmbeddedStore, FaultyStore, ManualClock, MemoryStore, Store, commit_settled,
};
use uuid::Uuid;

use crate::{
    AdmittedBatch, AppendError, Appended, Appender, Appends, BatchRules, LogError, Ownership, ReadLimit,
    take_ownership,
};

pub(crate) const NOW_MS: i64 = 1_790_000_000_000;

pub(crate) const ID: PartitionId =
    PartitionId { topic: TopicId(Uuid::from_u128(7)), partition: PartitionIndex(3) };

pub(crate) const RULES: BatchRules = BatchRules {
    timestamp_type: TimestampType::CreateTime,
    timestamp_before_max_ms: i64::MAX,
    timestamp_after_max_ms: i64::MAX,
    max_message_bytes: 1 << 20,
};

pub(crate) const ALL: ReadLimit = ReadLimit { max_bytes: usize::MAX, at_least_one: true };

/// An empty store, and the clock that it goes by.
pub(crate) fn memory() -> (MemoryStore, ManualClock) {
    let clock = ManualClock::at(NOW_MS);
    (MemoryStore::new(Arc::new(clock.clone())), clock)
}

/// A kind of store, and one that is empty.
pub(crate) trait Backend {
    type Store: Store;

    fn new() -> Self;

    fn store(&self) -> Self::Store;
}

pub(crate) struct InMemory(MemoryStore);

impl Backend for InMemory {
    type Store = MemoryStore;

    fn new() -> Self {
        Self(memory().0)
    }

    fn store(&self) -> MemoryStore {
        self.0.clone()
    }
}

/// In a directory that goes with it.
pub(crate) struct Embedded {
    store: EmbeddedStore,
    _directory: TempDir,
}

impl Backend for Embedded {
    type Store = EmbeddedStore;

    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let options = EmbeddedOptions::new(Arc::new(ManualClock::at(NOW_MS)));
        let store = EmbeddedStore::open(directory.path(), options).expect("nobody else has it");
        Self { store, _directory: directory }
    }

    fn store(&self) -> EmbeddedStore {
        self.store.clone()
    }
}

/// One more process on the same store.
pub(crate) fn faulty<S: Store>(store: &S) -> FaultyStore<S> {
    static NONCES: AtomicU64 = AtomicU64::new(1);
    FaultyStore::new(store.clone(), || u128::from(NONCES.fetch_add(1, Ordering::Relaxed)))
}

/// A batch of records with these timestamps, as a producer without an id sends it.
pub(crate) fn payload(timestamps_ms: &[i64], options: BatchOptions) -> Bytes {
    let records: Vec<Record> = (0..)
        .zip(timestamps_ms)
        .map(|(offset_delta, timestamp_ms)| Record {
            offset_delta,
            timestamp_ms: *timestamp_ms,
            value: Some(Bytes::from(format!("value at {timestamp_ms}"))),
            ..Record::default()
        })
        .collect();
    encode_batch(&records, &options).expect("small records")
}

pub(crate) fn admit(payload: &Bytes) -> AdmittedBatch {
    AdmittedBatch::new(payload, &RULES, NOW_MS).expect("what a producer may send")
}

pub(crate) fn batch(timestamps_ms: &[i64]) -> AdmittedBatch {
    admit(&payload(timestamps_ms, BatchOptions::default()))
}

pub(crate) fn compressed(timestamps_ms: &[i64]) -> AdmittedBatch {
    admit(&payload(timestamps_ms, BatchOptions { compression: Compression::Lz4, ..BatchOptions::default() }))
}

/// A batch of `count` records of an idempotent producer.
pub(crate) fn idempotent(
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    count: usize,
) -> AdmittedBatch {
    let options = BatchOptions { producer_id, producer_epoch, base_sequence, ..BatchOptions::default() };
    admit(&payload(&vec![NOW_MS; count], options))
}

/// As if it had come at another time.
pub(crate) fn at(mut batch: AdmittedBatch, now_ms: i64) -> AdmittedBatch {
    batch.admitted_at_ms = now_ms;
    batch
}

pub(crate) async fn own(store: &impl Store, broker: i32) -> Ownership {
    take_ownership(store, ID, BrokerId(broker)).await.expect("a store that works").0
}

/// Why a group of batches was not appended.
#[derive(Debug, PartialEq)]
pub(crate) enum GroupError {
    Log(LogError),
    Commit(CommitError),
}

/// Appends a group of batches in one transaction.
pub(crate) async fn append_group<S: Store>(
    store: &S,
    ownership: &Ownership,
    batches: &[AdmittedBatch],
) -> Result<(Appends, Vec<Result<Appended, AppendError>>), GroupError> {
    let mut txn = store.begin().await.map_err(|error| GroupError::Log(error.into()))?;
    let mut appender = Appender::begin(&mut txn, ownership).await.map_err(GroupError::Log)?;
    let mut outcomes = Vec::new();
    for batch in batches {
        outcomes.push(appender.append(&mut txn, batch).await);
    }
    let appends = appender.finish(&mut txn);
    commit_settled(store, txn).await.map_err(GroupError::Commit)?;
    Ok((appends, outcomes))
}

/// Appends one batch in one transaction.
pub(crate) async fn append_one(
    store: &impl Store,
    ownership: &Ownership,
    batch: &AdmittedBatch,
) -> Result<Appended, AppendError> {
    let group = append_group(store, ownership, std::slice::from_ref(batch)).await;
    group.expect("a store that works").1.pop().expect("one outcome")
}

pub(crate) async fn state(store: &impl Store) -> PartitionState {
    let mut txn = store.begin().await.expect("a store that works");
    crate::load_state(&mut txn, ID).await.expect("a row that decodes").expect("an owned partition")
}

/// All batches from an offset on.
pub(crate) async fn read_all(store: &impl Store, from: i64) -> Vec<Bytes> {
    let mut txn = store.begin().await.expect("a store that works");
    crate::read(&mut txn, ID, Offset(from), ALL).await.expect("an offset in the log").batches.batches
}

/// The base sequences of all batches in the log, which tell idempotent batches apart.
pub(crate) async fn sequences(store: &impl Store) -> Vec<i32> {
    let header = |batch: &Bytes| tidegate_protocol::batch::check(batch).expect("an intact batch");
    read_all(store, state(store).await.log_start.0)
        .await
        .iter()
        .map(|batch| header(batch).base_sequence)
        .collect()
}
