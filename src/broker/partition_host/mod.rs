//! The partitions of this broker: one task for each that is being written, none for those that are not.
//!
//! What it is: [`PartitionHosts`] gives a partition's requests to its task, which commits them together, moves due
//! outbox and timer entries into the log in turn with them, and tells readers of what is new. Reading needs no task: it
//! goes by the partition's [`Status`], the tail cache, what was read ahead, and the store.
//!
//! What it refuses to do: it knows no request of the protocol; it decides nothing that `tidegate-log` or
//! `tidegate-outbox` decides.
//!
//! What always holds: a request is answered after its commit is durable; if its outcome is unknown, it is settled, or given
//! up after half a minute, before anything else is written (the relay's is settled by its next turn, and requests go on
//! meanwhile); readers are never told of less than before; if a commit fails, what is known of the partition is forgotten and
//! read again. A partition that nobody uses costs an entry in a map at most, and nothing before it was used.

mod awaited;
mod delete_records;
mod due;
mod error;
mod host;
mod limits;
mod pace;
mod partition;
mod poll;
mod produce;
mod read_ahead;
mod reader;
mod relay;
mod retention;
mod topic_source;
mod wake;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tidegate_format::{Offset, PartitionId, ProducerId};
use tidegate_log::{ProducerIdError, ProducerIds, TailCache};
use tidegate_outbox::Wakeup;
use tidegate_outbox::hold::Plan;
use tidegate_store::Store;
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

pub(crate) use error::{DeleteRecordsError, PartitionError, ProduceError};
use host::{DeleteRecords, Produce, Work};
use limits::HostLimits;
use partition::Partition;
pub(crate) use partition::{Status, StatusWatch};
pub(crate) use poll::{PollLimits, Want};
pub(crate) use produce::Produced;
use read_ahead::ReadAhead;
pub(crate) use reader::{OffsetQuery, ReadPartitionError};
use topic_source::TopicSource;
use wake::Hints;

use crate::settings::Settings;

/// Partitions that are taken over at a time, so that a flood of first requests does not become a flood of commits.
const LOADS_MAX: usize = 64;
/// Batches of scheduled topics that are taken apart at a time: bounds the memory that decompression takes.
const PLANS_MAX: usize = 4;
/// Producer ids that are taken from the store at a time.
const PRODUCER_ID_BLOCK: i64 = 1000;
/// How long a shutdown waits for the commits that are under way.
const SHUTDOWN_MAX: std::time::Duration = std::time::Duration::from_secs(10);

/// The partitions of this broker. Clones are handles on the same ones.
#[derive(Clone)]
pub(crate) struct PartitionHosts<S: Store> {
    shared: Arc<Shared<S>>,
}

/// What all partitions have in common.
pub(crate) struct Shared<S: Store> {
    store: S,
    topics: Arc<dyn TopicSource>,
    limits: HostLimits,
    cache: TailCache,
    read_ahead: ReadAhead,
    producer_ids: ProducerIds<S>,
    partitions: Mutex<HashMap<PartitionId, Arc<Partition>>>,
    hints: Hints,
    loads: Semaphore,
    plans: Semaphore,
    /// Cancelled when the broker is told to stop: nothing is begun any more that nobody has asked for.
    stopping: CancellationToken,
    tasks: TaskTracker,
}

/// An answer that comes when its commit is durable.
pub(crate) struct Pending<T, E>(oneshot::Receiver<Result<T, E>>);

impl<T, E: From<PartitionError>> Pending<T, E> {
    /// Waits for it.
    pub(crate) async fn answer(self) -> Result<T, E> {
        self.0.await.unwrap_or_else(|_| Err(PartitionError::Closing.into()))
    }
}

impl<S: Store> PartitionHosts<S> {
    /// No partition is loaded; those with entries that wait are found and woken in the background.
    pub(crate) fn new(
        store: S,
        topics: Arc<dyn TopicSource>,
        settings: &Settings,
        stopping: CancellationToken,
    ) -> Self {
        let limits = HostLimits::new(settings);
        let shared = Arc::new(Shared {
            cache: TailCache::new(settings.tail_cache_bytes),
            read_ahead: ReadAhead::new(settings.read_ahead_bytes),
            producer_ids: ProducerIds::new(store.clone(), PRODUCER_ID_BLOCK),
            store,
            topics,
            limits,
            partitions: Mutex::default(),
            hints: Hints::default(),
            loads: Semaphore::new(LOADS_MAX),
            plans: Semaphore::new(PLANS_MAX),
            stopping,
            tasks: TaskTracker::new(),
        });
        shared.tasks.spawn(wake::run(shared.clone()));
        shared.tasks.spawn(retention::run(shared.clone()));
        Self { shared }
    }

    /// Hands a batch to its partition. When this returns, its place among the batches of one caller is taken.
    pub(crate) async fn produce(
        &self,
        id: PartitionId,
        plan: Plan,
    ) -> Result<Pending<Produced, ProduceError>, ProduceError> {
        let (reply, answer) = oneshot::channel();
        self.shared.send(id, Work::Produce(Box::new(Produce::new(plan, reply)))).await?;
        Ok(Pending(answer))
    }

    /// Moves the start of a log to `to`, or to its end; gives where it is then.
    pub(crate) async fn delete_records(
        &self,
        id: PartitionId,
        to: Option<Offset>,
    ) -> Result<Offset, DeleteRecordsError> {
        let (reply, answer) = oneshot::channel();
        self.shared.send(id, Work::DeleteRecords(DeleteRecords { to, reply })).await?;
        Pending(answer).answer().await
    }

    /// A producer id that nobody had before.
    pub(crate) async fn next_producer_id(&self) -> Result<ProducerId, ProducerIdError> {
        self.shared.producer_ids.next_id().await
    }

    /// Ends partitions for good, with what their tasks have begun: their topic was dropped.
    pub(crate) async fn close(&self, partitions: &[PartitionId]) {
        for id in partitions {
            let partition = self.shared.partitions().remove(id);
            if let Some(partition) = partition {
                partition.close().await;
            }
            self.shared.cache.remove(*id);
        }
    }

    /// Ends all tasks; what was handed to them is committed and answered.
    pub(crate) async fn shutdown(&self) {
        self.shared.stopping.cancel();
        let partitions: Vec<_> = self.shared.partitions().drain().map(|(_, partition)| partition).collect();
        for partition in &partitions {
            partition.stop();
        }
        self.shared.tasks.close();
        if tokio::time::timeout(SHUTDOWN_MAX, self.shared.tasks.wait()).await.is_err() {
            warn!(partitions = self.shared.tasks.len(), "stopped before every commit was answered");
        }
    }
}

impl<S: Store> Wakeup for PartitionHosts<S> {
    fn committed(&self, partitions: &[PartitionId]) {
        self.shared.hint(partitions);
    }
}

impl<S: Store> Shared<S> {
    fn partitions(&self) -> MutexGuard<'_, HashMap<PartitionId, Arc<Partition>>> {
        self.partitions.lock().expect("nothing panics with the lock held")
    }

    /// What is known of a partition of a topic that exists.
    fn partition(&self, id: PartitionId) -> Result<Arc<Partition>, PartitionError> {
        let partition = self.partitions().entry(id).or_insert_with(|| Arc::new(Partition::new(id))).clone();
        // In this order: a drop takes the topic away first, and then closes what is in the map.
        if self.topics.config(id.topic).is_some() {
            return Ok(partition);
        }
        // One with a task stays, as its end is waited for there; no other comes to have one.
        let mut partitions = self.partitions();
        if partition.close_unless_running() {
            partitions.remove(&id);
        }
        Err(PartitionError::Unknown)
    }

    /// Hands work to a partition's task, and starts one if there is none.
    async fn send(self: &Arc<Self>, id: PartitionId, mut work: Work) -> Result<(), PartitionError> {
        loop {
            let handle = self.partition(id)?.handle(self)?;
            match handle.inbox.send(work).await {
                Ok(()) => return Ok(()),
                // It is being put away: what comes next begins when it has ended.
                Err(unsent) => work = unsent.0,
            }
            handle.ended.cancelled().await;
        }
    }

    /// Tells partitions that there may be entries for their logs.
    fn hint(&self, partitions: &[PartitionId]) {
        for id in partitions {
            let partition = self.partitions().get(id).cloned();
            if !partition.is_some_and(|partition| partition.hint()) {
                self.hints.add(*id);
            }
        }
    }
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod host_tests;
#[cfg(test)]
mod pipeline_tests;
#[cfg(test)]
mod poll_tests;
#[cfg(test)]
mod race_tests;
#[cfg(test)]
mod read_ahead_tests;
#[cfg(test)]
mod relay_tests;
#[cfg(test)]
mod retention_tests;
