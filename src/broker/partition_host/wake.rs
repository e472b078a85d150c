//! Wakes partitions that have no task when there is something for their logs: by a hint, at the next due time, and in
//! sweeps that find what nobody told.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_format::PartitionId;
use tidegate_outbox::find_waiting;
use tidegate_store::Store;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::due::DueTimes;
use super::{PartitionError, Shared};

/// Partitions that are looked at between two looks at the clock and the hints.
const SLICE: usize = 64;
/// How long to wait after a look that failed, or a partition that could not be taken over.
pub(super) const LOOK_RETRY: Duration = Duration::from_secs(1);

/// Partitions without a task that may have entries: each at most once, however often it was told.
#[derive(Default)]
pub(super) struct Hints {
    partitions: Mutex<BTreeSet<PartitionId>>,
    added: Notify,
}

impl Hints {
    pub(super) fn add(&self, id: PartitionId) {
        let new = self.partitions.lock().expect("nothing panics with the lock held").insert(id);
        if new {
            self.added.notify_one();
        }
    }

    /// Takes some of them out.
    fn take(&self) -> Vec<PartitionId> {
        let mut partitions = self.partitions.lock().expect("nothing panics with the lock held");
        let taken: Vec<_> = partitions.iter().take(SLICE).copied().collect();
        for id in &taken {
            partitions.remove(id);
        }
        taken
    }
}

/// What is known of partitions without a task.
struct Waker<S: Store> {
    shared: Arc<Shared<S>>,
    due: DueTimes,
    /// Still to be looked at in this sweep.
    sweep: VecDeque<PartitionId>,
    next_sweep: Instant,
}

/// Wakes partitions until the broker stops.
pub(super) async fn run<S: Store>(shared: Arc<Shared<S>>) {
    let stopping = shared.stopping.clone();
    let waker =
        Waker { shared, due: DueTimes::default(), sweep: VecDeque::new(), next_sweep: Instant::now() };
    tokio::select! {
        () = stopping.cancelled() => {}
        () = waker.run() => {}
    }
}

impl<S: Store> Waker<S> {
    async fn run(mut self) {
        loop {
            let now = Instant::now();
            if self.sweep.is_empty() && self.next_sweep <= now {
                let mut partitions = self.shared.topics.partitions();
                partitions.sort_unstable();
                self.sweep = partitions.into();
                self.next_sweep = now + self.shared.limits.sweep_max;
            }
            let mut slice = self.shared.hints.take();
            slice.extend(self.sweep.drain(..self.sweep.len().min(SLICE)));
            let worked = !slice.is_empty();
            if let Err(error) = self.look_at(&slice).await {
                warn!(%error, partitions = slice.len(), "partitions are looked at for due entries again");
                // The store is away: what was told of them is not lost.
                slice.iter().for_each(|id| self.shared.hints.add(*id));
                tokio::time::sleep(LOOK_RETRY).await;
            }
            let now_ms = self.shared.store.now_ms();
            while let Some(id) = self.due.take_due(now_ms) {
                self.wake(id);
            }
            if worked {
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                () = self.shared.hints.added.notified() => {}
                () = sleep_until(self.next_turn_at(now_ms)) => {}
            }
        }
    }

    fn next_turn_at(&self, now_ms: i64) -> Instant {
        let due_at = self.due.next_ms().and_then(|due_ms| {
            let wait_ms = u64::try_from(due_ms.saturating_sub(now_ms)).unwrap_or(0);
            Instant::now().checked_add(Duration::from_millis(wait_ms))
        });
        due_at.map_or(self.next_sweep, |due_at| due_at.min(self.next_sweep))
    }

    /// Finds out what waits in partitions that have no task.
    async fn look_at(&mut self, partitions: &[PartitionId]) -> Result<(), PartitionError> {
        let (running, mut idle): (Vec<_>, Vec<_>) = partitions.iter().partition(|id| self.is_running(**id));
        idle.sort_unstable();
        idle.dedup();
        running.into_iter().for_each(|id| self.due.set(id, None));
        if idle.is_empty() {
            return Ok(());
        }
        let mut txn = self.shared.store.begin().await?;
        let waiting = find_waiting(&mut txn, &idle).await;
        let waiting = waiting.map_err(|error| PartitionError::Storage { reason: error.to_string() })?;
        idle.into_iter().for_each(|id| self.due.set(id, None));
        for found in waiting {
            match found.due_ms {
                Some(due_ms) => self.due.set(found.id, Some(due_ms)),
                None => self.wake(found.id),
            }
        }
        Ok(())
    }

    fn is_running(&self, id: PartitionId) -> bool {
        let partition = self.shared.partitions().get(&id).cloned();
        partition.is_some_and(|partition| partition.is_running())
    }

    /// Starts the partition's task, whose relay has its first turn at once.
    fn wake(&mut self, id: PartitionId) {
        self.due.set(id, None);
        let started = self.shared.partition(id).and_then(|partition| partition.handle(&self.shared));
        // The topic was dropped, or the broker stops: then nothing is to be moved.
        drop(started);
    }
}
