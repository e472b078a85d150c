//! The task of one partition: its requests and its relay, in turn.
//!
//! What always holds: while both have something to do, neither has two turns in a row, so a backlog of entries takes at
//! most half of the partition's commits; what was handed in before the task ends is done or refused, never dropped.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use metrics::{gauge, histogram};
use tidegate_format::Offset;
use tidegate_log::{LogError, Ownership, SequenceRange, WriteError, take_ownership};
use tidegate_outbox::hold::Plan;
use tidegate_outbox::relay::Relay;
use tidegate_store::{CommitError, Store, Txn, settle};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::pace::RelayPace;
use super::partition::Partition;
use super::produce::Produced;
use super::retention::{ExpireProducers, Retain};
use super::{DeleteRecordsError, PartitionError, ProduceError, Shared};
use crate::metrics::names;

/// How long a commit's unknown outcome is asked for before its requests are told that it is unknown.
const SETTLE_MAX: Duration = Duration::from_secs(30);
/// The first and the longest wait between two such questions.
const SETTLE_RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// What a partition's task is asked to do.
pub(super) enum Work {
    Produce(Box<Produce>),
    DeleteRecords(DeleteRecords),
    Retain(Retain),
    ExpireProducers(ExpireProducers),
}

/// A batch to append, or to take apart and hold.
pub(super) struct Produce {
    pub(super) plan: Plan,
    pub(super) bytes: usize,
    pub(super) records: u64,
    pub(super) reply: oneshot::Sender<Result<Produced, ProduceError>>,
}

/// A new start of the log.
pub(super) struct DeleteRecords {
    /// None: the end of the log.
    pub(super) to: Option<Offset>,
    pub(super) reply: oneshot::Sender<Result<Offset, DeleteRecordsError>>,
}

impl Produce {
    pub(super) fn new(plan: Plan, reply: oneshot::Sender<Result<Produced, ProduceError>>) -> Self {
        let (Plan::AsItCame(batch) | Plan::Held { whole: batch, .. }) = &plan;
        let (bytes, records) = (batch.bytes().len(), u64::from(batch.header().record_count.unsigned_abs()));
        Self { plan, bytes, records, reply }
    }

    /// The sequence numbers of the whole batch; none if its producer is not idempotent.
    pub(super) fn range(&self) -> Option<SequenceRange> {
        let (Plan::AsItCame(batch) | Plan::Held { whole: batch, .. }) = &self.plan;
        SequenceRange::of(batch.header())
    }

    /// Answers that it was not taken. Its producer sends it again (in pieces, if it is too large), or gives it up for good
    /// and goes on in another epoch.
    pub(super) fn refuse(self, partition: &Partition, error: &ProduceError) {
        if let Some(range) = self.range() {
            partition.awaited().refused(range);
        }
        self.answer(Err(error.clone()));
    }

    pub(super) fn answer(self, answer: Result<Produced, ProduceError>) {
        // The connection may be gone: then nobody waits for the answer.
        let _nobody_waits = self.reply.send(answer);
    }
}

impl Work {
    /// Answers with an error.
    fn refuse(self, partition: &Partition, error: &PartitionError) {
        match self {
            Self::Produce(produce) => produce.refuse(partition, &error.clone().into()),
            Self::DeleteRecords(delete) => drop(delete.reply.send(Err(error.clone().into()))),
            // Its sender sees that the reply is gone, and comes again in the next round.
            Self::Retain(_) | Self::ExpireProducers(_) => {}
        }
    }
}

/// The partition has another owner: its task ends.
#[derive(Debug)]
pub(super) struct Fenced;

/// One partition that is owned.
pub(super) struct Host<S: Store> {
    pub(super) shared: Arc<Shared<S>>,
    pub(super) partition: Arc<Partition>,
    pub(super) ownership: Ownership,
    pub(super) relay: Relay,
    pub(super) pace: RelayPace,
    pub(super) inbox: mpsc::Receiver<Work>,
    /// Taken out of the inbox and not begun.
    pub(super) next: Option<Work>,
    stop: CancellationToken,
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With nothing left to do for now.
    Orderly,
    /// It could not be taken over for now.
    NotBegun,
    /// It has another owner; a sweep comes back to it.
    Fenced,
}

/// Runs a partition until it is idle, told to stop, or has another owner.
pub(super) async fn run<S: Store>(
    shared: Arc<Shared<S>>,
    partition: Arc<Partition>,
    mut inbox: mpsc::Receiver<Work>,
    hint: Arc<Notify>,
    stop: CancellationToken,
) -> End {
    let ownership = match own(&shared, &partition).await {
        Ok(ownership) => ownership,
        Err(error) => {
            warn!(partition = %partition.id, %error, "a partition cannot be taken over");
            inbox.close();
            while let Some(work) = inbox.recv().await {
                work.refuse(&partition, &error);
            }
            return End::NotBegun;
        }
    };
    let loaded = gauge!(names::PARTITIONS_LOADED);
    loaded.increment(1);
    let mut host = Host {
        relay: Relay::new(partition.id),
        pace: RelayPace::new(shared.limits.sweep_min, shared.limits.sweep_max, Instant::now()),
        shared,
        partition,
        ownership,
        inbox,
        next: None,
        stop,
    };
    let ended = match host.serve(&hint).await {
        Ok(()) => host.drain().await,
        fenced => fenced,
    };
    if ended.is_err() {
        host.give_up().await;
    }
    loaded.decrement(1);
    if ended.is_ok() { End::Orderly } else { End::Fenced }
}

/// Takes the partition over, unless it is still owned since it was last loaded.
async fn own<S: Store>(shared: &Shared<S>, partition: &Partition) -> Result<Ownership, PartitionError> {
    let _permit = shared.loads.acquire().await.expect("the semaphore is never closed");
    if let Some(ownership) = partition.ownership() {
        let mut txn = shared.store.begin().await?;
        match ownership.load_state(&mut txn).await {
            Ok(state) => {
                partition.publish(&state);
                return Ok(ownership);
            }
            Err(LogError::Fenced { .. }) => partition.set_ownership(None),
            Err(error) => return Err(error.into()),
        }
    }
    let taken = take_ownership(&shared.store, partition.id, shared.limits.broker).await;
    let (ownership, state) = taken.map_err(|error| match error {
        WriteError::Log(error) => PartitionError::from(error),
        WriteError::Commit(error) => error.into(),
    })?;
    partition.set_ownership(Some(ownership));
    partition.publish(&state);
    Ok(ownership)
}

impl<S: Store> Host<S> {
    /// Serves until there is nothing to do for a while, or it is told to stop.
    async fn serve(&mut self, hint: &Notify) -> Result<(), Fenced> {
        let mut idle_at = Instant::now() + self.shared.limits.idle;
        let mut relayed_last = false;
        loop {
            // Here and not only below, where it would wait until there is no work.
            if hint.notified().now_or_never().is_some() {
                self.pace.hinted();
            }
            let (now, now_ms) = (Instant::now(), self.shared.store.now_ms());
            let stopping = self.shared.stopping.is_cancelled();
            let work_waits = self.next.is_some() || !self.inbox.is_empty();
            if !stopping && self.pace.is_due(now_ms, now) && !(relayed_last && work_waits) {
                relayed_last = true;
                if self.relay_turn().await? {
                    idle_at = Instant::now() + self.shared.limits.idle;
                }
                // Whoever was answered before this turn may hand in what comes next.
                tokio::task::yield_now().await;
                continue;
            }
            let work = match self.next.take() {
                Some(work) => work,
                None => tokio::select! {
                    biased;
                    () = self.stop.cancelled() => return Ok(()),
                    work = self.inbox.recv() => match work {
                        Some(work) => work,
                        None => return Ok(()),
                    },
                    () = hint.notified() => {
                        self.pace.hinted();
                        continue;
                    }
                    () = sleep_until(self.pace.next_turn_at(now_ms, now)), if !stopping => continue,
                    () = sleep_until(idle_at) => return Ok(()),
                },
            };
            relayed_last = false;
            self.work(work).await?;
            idle_at = Instant::now() + self.shared.limits.idle;
        }
    }

    async fn work(&mut self, work: Work) -> Result<(), Fenced> {
        match work {
            Work::Produce(produce) => self.produce(produce).await,
            Work::DeleteRecords(delete) => self.delete_records(delete).await,
            Work::Retain(retain) => self.retain(retain).await,
            Work::ExpireProducers(expire) => self.expire_producers(expire).await,
        }
    }

    /// Does what was handed in before the end.
    async fn drain(&mut self) -> Result<(), Fenced> {
        self.inbox.close();
        while let Some(work) = self.next_work().await {
            self.work(work).await?;
        }
        Ok(())
    }

    async fn next_work(&mut self) -> Option<Work> {
        match self.next.take() {
            Some(work) => Some(work),
            None => self.inbox.recv().await,
        }
    }

    /// Forgets everything about the partition, which another has taken over, and refuses what was handed in.
    async fn give_up(&mut self) {
        info!(partition = %self.partition.id, epoch = %self.ownership.epoch, "the partition has another owner");
        self.partition.set_ownership(None);
        self.partition.forget();
        self.shared.cache.remove(self.partition.id);
        self.inbox.close();
        while let Some(work) = self.next_work().await {
            work.refuse(&self.partition, &PartitionError::NotOwner);
        }
    }

    /// Commits, and settles an unknown outcome: it stays [`CommitError::Unknown`] only if the store stays away for
    /// [`SETTLE_MAX`], and is [`CommitError::Conflict`] if nothing was applied.
    pub(super) async fn commit(&self, txn: S::Txn, kind: &'static str) -> Result<(), CommitError> {
        let began = Instant::now();
        let committed = match txn.commit().await {
            Ok(_) => Ok(()),
            Err(error) => self.settle(error).await,
        };
        histogram!(names::COMMIT_SECONDS, names::KIND => kind).record(began.elapsed().as_secs_f64());
        committed
    }

    async fn settle(&self, mut error: CommitError) -> Result<(), CommitError> {
        let give_up_at = Instant::now() + SETTLE_MAX;
        let (mut wait, longest) = SETTLE_RETRY;
        loop {
            error = match settle(&self.shared.store, error).await {
                Ok(()) => return Ok(()),
                Err(error @ CommitError::Unknown { .. }) => error,
                Err(error) => return Err(error),
            };
            if Instant::now() >= give_up_at || self.stop.is_cancelled() {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(longest);
        }
    }
}
