//! Retention of all partitions, in rounds, one partition at a time, and never in the way of produce: the partition's
//! task makes one small commit, and what it uncovers is removed here.

use std::sync::Arc;

use metrics::counter;
use tidegate_format::{PartitionId, PartitionStateKey, ProducerId};
use tidegate_log::{expire_producers, has_expired_producers, has_expired_records, retain, sweep};
use tidegate_outbox::sweep_gone_topics;
use tidegate_store::{CommitError, Store, Txn};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{info, warn};

use super::host::{Fenced, Host, Work};
use super::limits::retention;
use super::{PartitionError, Shared};
use crate::metrics::names;

/// Partitions whose state is looked at together.
const STATES_PAGE: usize = 1000;
/// Producers that are looked at in one turn of a partition's task.
const EXPIRY_STEP: usize = 1000;
/// Topics that are gone whose rows are removed in one round.
const GONE_TOPICS_MAX: usize = 100;

/// Moves the start of the log past what is not kept any more.
pub(super) struct Retain {
    done: oneshot::Sender<()>,
}

/// Forgets silent producers; gives where to go on.
pub(super) struct ExpireProducers {
    from: ProducerId,
    next: oneshot::Sender<Option<ProducerId>>,
}

/// Checks all partitions again and again until the broker stops.
pub(super) async fn run<S: Store>(shared: Arc<Shared<S>>) {
    let mut next_round = Instant::now() + shared.limits.retention_check;
    loop {
        tokio::select! {
            () = shared.stopping.cancelled() => return,
            () = tokio::time::sleep_until(next_round) => {}
        }
        tokio::select! {
            () = shared.stopping.cancelled() => return,
            () = round(&shared) => {}
        }
        next_round = Instant::now() + shared.limits.retention_check;
    }
}

async fn round<S: Store>(shared: &Arc<Shared<S>>) {
    for page in shared.topics.partitions().chunks(STATES_PAGE) {
        let used = match used(shared, page).await {
            Ok(used) => used,
            Err(error) => {
                warn!(%error, "retention is checked again in the next round");
                continue;
            }
        };
        for id in used {
            if let Err(error) = check(shared, id).await {
                warn!(partition = %id, %error, "retention is checked again in the next round");
            }
        }
    }
    match sweep_gone_topics(&shared.store, GONE_TOPICS_MAX).await {
        Ok(gone) if gone.is_empty() => {}
        Ok(gone) => info!(topics = gone.len(), "removed what was left of topics that are gone"),
        Err(error) => warn!(%error, "rows of topics that are gone are looked for again in the next round"),
    }
}

/// Those of some partitions that anybody ever wrote to: the others have nothing to check, however many they are.
async fn used<S: Store>(
    shared: &Arc<Shared<S>>,
    page: &[PartitionId],
) -> Result<Vec<PartitionId>, PartitionError> {
    let keys: Vec<_> = page.iter().map(|id| PartitionStateKey { id: *id }.encode()).collect();
    let states = shared.store.begin().await?.get_many(&keys).await?;
    Ok(page.iter().zip(states).filter(|(_, state)| state.is_some()).map(|(id, _)| *id).collect())
}

/// Checks one partition, and starts its task only if there is something to do.
async fn check<S: Store>(shared: &Arc<Shared<S>>, id: PartitionId) -> Result<(), PartitionError> {
    let Some(topic) = shared.topics.config(id.topic) else { return Ok(()) };
    let now_ms = shared.store.now_ms();
    let mut txn = shared.store.begin().await?;
    let records = has_expired_records(&mut txn, id, &retention(&topic), now_ms).await?;
    let expiration_ms = shared.limits.producer_id_expiration_ms;
    let producers = has_expired_producers(&mut txn, id, now_ms, expiration_ms).await?;
    drop(txn);
    if records {
        let (done, ended) = oneshot::channel();
        shared.send(id, Work::Retain(Retain { done })).await?;
        // An error means that the task refused it: the next round comes back to it.
        let _refused = ended.await;
    }
    if sweep(&shared.store, id)
        .await
        .map_err(|error| PartitionError::Storage { reason: error.to_string() })?
    {
        counter!(names::RETENTION_SWEEPS).increment(1);
    }
    let mut from = producers.then_some(ProducerId(0));
    while let Some(step_from) = from {
        let (next, ended) = oneshot::channel();
        shared.send(id, Work::ExpireProducers(ExpireProducers { from: step_from, next })).await?;
        from = ended.await.unwrap_or(None);
    }
    Ok(())
}

impl<S: Store> Host<S> {
    pub(super) async fn retain(&mut self, work: Retain) -> Result<(), Fenced> {
        let retained = self.try_retain().await;
        // Nobody waits if the broker stops.
        let _nobody_waits = work.done.send(());
        self.ended(retained)
    }

    async fn try_retain(&self) -> Result<(), PartitionError> {
        let Some(topic) = self.shared.topics.config(self.partition.id.topic) else { return Ok(()) };
        let mut txn = self.shared.store.begin().await?;
        let now_ms = self.shared.store.now_ms();
        let retained = retain(&mut txn, &self.ownership, &retention(&topic), now_ms).await?;
        let Some(state) = retained else { return Ok(()) };
        self.commit(txn, "retention").await?;
        self.partition.publish(&state);
        Ok(())
    }

    pub(super) async fn expire_producers(&mut self, work: ExpireProducers) -> Result<(), Fenced> {
        let step = self.try_expire(work.from).await;
        let next = step.as_ref().ok().copied().flatten();
        // Nobody waits if the broker stops.
        let _nobody_waits = work.next.send(next);
        self.ended(step.map(drop))
    }

    async fn try_expire(&self, from: ProducerId) -> Result<Option<ProducerId>, PartitionError> {
        let mut txn = self.shared.store.begin().await?;
        let now_ms = self.shared.store.now_ms();
        let expiration_ms = self.shared.limits.producer_id_expiration_ms;
        let step =
            expire_producers(&mut txn, &self.ownership, from, EXPIRY_STEP, now_ms, expiration_ms).await?;
        if step.removed > 0 {
            self.commit(txn, "retention").await?;
        }
        Ok(step.next)
    }

    /// What a background step came to: it is tried again in the next round, unless the partition has another owner.
    fn ended(&self, step: Result<(), PartitionError>) -> Result<(), Fenced> {
        match step {
            Ok(()) => Ok(()),
            Err(PartitionError::NotOwner) => Err(Fenced),
            Err(error) => {
                if error != PartitionError::from(CommitError::Conflict) {
                    self.partition.forget();
                }
                warn!(partition = %self.partition.id, %error, "retention is tried again in the next round");
                Ok(())
            }
        }
    }
}
