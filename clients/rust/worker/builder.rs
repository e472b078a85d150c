//! How an application sets a worker up, starts and stops it.

use std::sync::Arc;
use std::time::Duration;

use tidegate_store::Store;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::blocking::called;
use super::context::{Context, Handler};
use super::error::WorkerError;
use super::event::Event;
use super::figures::{Counters, WorkerFigures};
use super::options::Options;
use super::outcome::IntoOutcome;
use super::rebalance::Listener;
use super::retry::RetryPolicy;
use super::run::Run;
use crate::{ClientOptions, Consumer, ConsumerOptions, Db, OffsetSpec, TopicPartition, Tx};

/// The longest of the times that a worker is told: what is longer is for ever.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Rebalances that may wait to be taken in.
const REBALANCES: usize = 16;

/// A worker before it is started. What is not set has its default.
#[must_use = "it does nothing until it is started"]
pub struct WorkerBuilder<S: Store> {
    db: Db<S>,
    client: ClientOptions,
    options: Options,
}

impl<S: Store> WorkerBuilder<S> {
    pub(super) fn new(db: Db<S>, client: ClientOptions) -> Self {
        Self { db, client, options: Options::default() }
    }

    /// The consumer group whose progress it makes.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.options.group = group.into();
        self
    }

    /// Reads these topics as a member of the group, which deals their partitions out among its members.
    pub fn topics<T: Into<String>>(mut self, topics: impl IntoIterator<Item = T>) -> Self {
        self.options.topics = topics.into_iter().map(Into::into).collect();
        self
    }

    /// Reads these partitions of a topic, and joins no group: whoever starts the workers sees to it that each partition has
    /// one. If two have one partition, each of its events has its effect once all the same.
    pub fn partitions(mut self, topic: &str, partitions: impl IntoIterator<Item = i32>) -> Self {
        let fixed = partitions.into_iter().map(|partition| TopicPartition::new(topic, partition));
        self.options.partitions.extend(fixed);
        self
    }

    /// Where a group begins that has committed nothing: with the first record that is there, unless this says otherwise.
    pub fn begin(mut self, begin: OffsetSpec) -> Self {
        self.options.begin = begin;
        self
    }

    /// Events that are handled at a time, over all partitions (16).
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.options.concurrency = concurrency;
        self
    }

    /// Events that a batch has at most (100).
    pub fn batch_max(mut self, batch_max: usize) -> Self {
        self.options.batch_max = batch_max;
        self
    }

    /// How often, and how soon, an event whose handling failed is tried again.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.options.policy = policy;
        self
    }

    /// Records that may be parked in one partition (10,000); at that, only those are tried and the rest of the partition waits.
    pub fn parked_max(mut self, parked_max: usize) -> Self {
        self.options.limits.parked_max = parked_max;
        self
    }

    /// How long handling an event may take (30 s). What takes longer has failed. A transaction lives no longer than
    /// `transaction.max.ms` (60 s).
    pub fn handler_timeout(mut self, timeout: Duration) -> Self {
        self.options.handler_timeout = timeout.min(FOR_EVER);
        self
    }

    /// Whether handlers may block their thread (no): each then runs on a thread that the runtime has for this (512 of them, by
    /// default), so that what it waits for holds up no other event, no heartbeat and not its own time-out, on a current-thread
    /// runtime neither. Costs a change of threads for each event. A handler that never comes back keeps its thread.
    ///
    /// Without this a handler that blocks holds a thread of the runtime: for what blocks now and then it does as well to use
    /// `tokio::task::spawn_blocking` in the handler.
    pub fn may_block(mut self, may_block: bool) -> Self {
        self.options.may_block = may_block;
        self
    }

    /// Bytes of records that may wait in memory to be handled, over all partitions (16 MiB), beside what the consumer fetches
    /// ahead.
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.options.buffer_bytes = bytes;
        self
    }

    /// How long what is being handled may take when its partition goes to another member (10 s). Then it is given back.
    pub fn revoke_grace(mut self, grace: Duration) -> Self {
        self.options.revoke_grace = grace.min(FOR_EVER);
        self
    }

    /// How long what is being handled may take when the worker is stopped (30 s). Then it is given back.
    pub fn stop_grace(mut self, grace: Duration) -> Self {
        self.options.stop_grace = grace.min(FOR_EVER);
        self
    }

    /// The settings of the consumer under it: sessions, fetching ahead, assignors. Its group, where it begins and whether it
    /// commits are the worker's affair.
    pub fn consumer_options(mut self, options: ConsumerOptions) -> Self {
        self.options.consumer = options;
        self
    }

    /// Starts it: events with one key are handled one after the other, others side by side.
    ///
    /// # Errors
    /// [`WorkerError::Invalid`] if settings do not go together; or the brokers cannot be reached.
    pub async fn start<F, Fut>(self, handler: F) -> Result<Worker, WorkerError>
    where
        F: Fn(Event, Tx<S>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoOutcome> + Send + 'static,
    {
        let handler = called(handler, self.options.may_block);
        self.spawn(Handler::Each(handler)).await
    }

    /// Starts it: the events of each partition are handled in order, several in one transaction.
    ///
    /// A batch that fails is tried in halves, until the event that does it fails alone; that is tried again and given up as any
    /// other. The partition waits for it meanwhile, and how often it has failed is noted in the metadata of the committed
    /// offset, so that it counts on after a restart. So is the time until which a batch was put off
    /// ([`Outcome::RetryAt`](crate::Outcome::RetryAt)), for which the partition waits too.
    ///
    /// All workers of a group that run are of this kind, or none is: of one that handles single events and one that handles
    /// batches nobody sees to it that an event has its effect once. A group that has handled single events until now may go on
    /// with batches once none of its events is parked; until then a worker of batches ends with [`WorkerError::Invalid`].
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_batches<F, Fut>(self, handler: F) -> Result<Worker, WorkerError>
    where
        F: Fn(Vec<Event>, Tx<S>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoOutcome> + Send + 'static,
    {
        let handler = called(handler, self.options.may_block);
        self.spawn(Handler::Batch(handler)).await
    }

    async fn spawn(self, handler: Handler<S>) -> Result<Worker, WorkerError> {
        let Self { db, client, options } = self;
        options.check()?;
        let mut consumer = Consumer::connect(client, options.consumer_options()).await?;
        let (sender, rebalances) = mpsc::channel(REBALANCES);
        if !options.topics.is_empty() {
            consumer.subscribe_with(options.topics.clone(), Listener(sender)).await?;
        }
        let counters = Arc::<Counters>::default();
        let context = Context {
            db,
            group: options.group.clone(),
            handler,
            policy: options.policy,
            handler_timeout: options.handler_timeout,
            counters: counters.clone(),
        };
        let stop = CancellationToken::new();
        let run = Run::new(Arc::new(context), options, consumer, rebalances);
        let task = tokio::spawn(run.run(stop.clone()));
        Ok(Worker { stop, task, is_told: false, counters })
    }
}

/// A worker that runs. Dropping it ends it at once: what is being handled is undone, and done again by others;
/// [`Worker::stop`] is kinder.
#[derive(Debug)]
pub struct Worker {
    stop: CancellationToken,
    task: JoinHandle<Result<(), WorkerError>>,
    /// What became of the task was told.
    is_told: bool,
    counters: Arc<Counters>,
}

impl Worker {
    /// Begins to set up a worker that handles events with transactions of `db`, and reads them from the brokers.
    pub fn builder<S: Store>(db: Db<S>, client: ClientOptions) -> WorkerBuilder<S> {
        WorkerBuilder::new(db, client)
    }

    /// What it has done so far.
    #[must_use]
    pub fn figures(&self) -> WorkerFigures {
        self.counters.figures()
    }

    /// Takes no more events, finishes what is being handled or gives it back, and leaves the group.
    ///
    /// # Errors
    /// What ended it before, unless [`ended`](Self::ended) has told that.
    pub async fn stop(mut self) -> Result<(), WorkerError> {
        self.stop.cancel();
        self.ended().await
    }

    /// Waits until it ends by itself, which is always an error that no retry helps. At once if that was told before.
    ///
    /// # Errors
    /// What ended it, once.
    pub async fn ended(&mut self) -> Result<(), WorkerError> {
        if self.is_told {
            return Ok(());
        }
        let ended = (&mut self.task).await;
        self.is_told = true;
        match ended {
            Ok(ended) => ended,
            Err(error) => Err(WorkerError::Ended(error.to_string())),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Runs a worker until `shutdown` is over, or something is wrong that no retry helps; then finishes what is being handled, or
/// gives it back.
///
/// ```no_run
/// # use tidegate::{ClientOptions, Db, Outcome, Worker, WorkerError, run_worker, store::Store};
/// # async fn run<S: Store>(db: Db<S>) -> Result<(), WorkerError> {
/// let worker = Worker::builder(db, ClientOptions::new("127.0.0.1:9092")).group("billing").partitions("orders", [0]);
/// let handler = |event: tidegate::Event, _tx| async move {
///     println!("{:?} of {:?}", event.event_type(), event.key());
///     Outcome::Ack
/// };
/// run_worker(worker, handler, async { drop(tokio::signal::ctrl_c().await) }).await
/// # }
/// ```
///
/// # Errors
/// As [`WorkerBuilder::start`], or what ended it.
pub async fn run_worker<S, F, Fut>(
    builder: WorkerBuilder<S>,
    handler: F,
    shutdown: impl Future<Output = ()>,
) -> Result<(), WorkerError>
where
    S: Store,
    F: Fn(Event, Tx<S>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoOutcome> + Send + 'static,
{
    let mut shutdown = std::pin::pin!(shutdown);
    let mut worker = tokio::select! {
        started = builder.start(handler) => started?,
        // The brokers may be away for as long as one waits for them.
        () = &mut shutdown => return Ok(()),
    };
    tokio::select! {
        ended = worker.ended() => return ended,
        () = shutdown => {}
    }
    worker.stop().await
}

#[cfg(test)]
mod tests {
    use tidegate_model::{DbSettings, NoWakeup};
    use tidegate_store::{MemoryStore, SystemClock};

    use super::*;

    #[tokio::test]
    async fn what_ended_a_worker_is_told_once_and_it_can_be_stopped_after_that() {
        let ended = || {
            let task = tokio::spawn(async { Err(WorkerError::Ended("by itself".into())) });
            Worker { stop: CancellationToken::new(), task, is_told: false, counters: Arc::default() }
        };
        assert!(ended().stop().await.is_err(), "nobody was told before");
        let mut worker = ended();
        assert!(worker.ended().await.is_err());
        assert!(worker.ended().await.is_ok());
        assert!(worker.stop().await.is_ok());
    }

    #[tokio::test]
    async fn a_time_without_end_is_one() {
        let store = MemoryStore::new(Arc::new(SystemClock));
        let db = Db::new(store, DbSettings::default(), Arc::new(NoWakeup));
        let longest = Duration::MAX;
        let worker = Worker::builder(db, ClientOptions::new("127.0.0.1:1"));
        let Options { handler_timeout, revoke_grace, stop_grace, .. } =
            worker.handler_timeout(longest).revoke_grace(longest).stop_grace(longest).options;
        for time in [handler_timeout, revoke_grace, stop_grace] {
            assert!(std::time::Instant::now().checked_add(time).is_some());
        }
    }

    #[tokio::test]
    async fn a_worker_that_is_shut_down_before_it_reached_a_broker_waits_for_none() {
        let store = MemoryStore::new(Arc::new(SystemClock));
        let db = Db::new(store, DbSettings::default(), Arc::new(NoWakeup));
        // Nobody listens at the first port.
        let worker = Worker::builder(db, ClientOptions::new("127.0.0.1:1")).group("g").topics(["t"]);
        let ended = run_worker(worker, |_, _| async { crate::Outcome::Ack }, async {}).await;
        assert!(ended.is_ok(), "{ended:?}");
    }
}
