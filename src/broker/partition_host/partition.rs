//! What is known of one partition while the broker runs: its status, its owner's epoch, and its task if it has one.

use std::cmp::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};

use tidegate_format::{Offset, OwnerEpoch, PartitionId, PartitionState};
use tidegate_log::{LogError, Ownership};
use tidegate_store::Store;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::awaited::Awaited;
use super::host::{self, End, Work};
use super::wake::LOOK_RETRY;
use super::{PartitionError, Shared};

/// Where a partition stands: all of it committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    /// The first offset that can be read.
    pub(crate) log_start: Offset,
    /// The offset after the last that can be read.
    pub(crate) high_watermark: Offset,
    /// The epoch of its owner.
    pub(crate) epoch: OwnerEpoch,
    /// The bytes of the batches in the log.
    pub(crate) log_bytes: u64,
    /// The bytes of all batches ever appended: differences tell a reader how much is new.
    pub(crate) appended_bytes: u64,
}

impl Status {
    pub(super) fn of(state: &PartitionState) -> Self {
        Self {
            log_start: state.log_start,
            high_watermark: state.next_offset,
            epoch: state.epoch,
            log_bytes: state.log_bytes,
            appended_bytes: state.appended_bytes,
        }
    }

    /// Checks the epoch that a client takes for the owner's (KIP-320).
    pub(crate) fn check_epoch(&self, epoch: OwnerEpoch) -> Result<(), PartitionError> {
        match epoch.cmp(&self.epoch) {
            Ordering::Equal => Ok(()),
            Ordering::Less => Err(PartitionError::FencedEpoch),
            Ordering::Greater => Err(PartitionError::UnknownEpoch),
        }
    }
}

/// A status, or that it has to be read from the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    status: Option<Status>,
    /// How often it was forgotten: what was read before that does not count.
    forgotten: u64,
}

/// Sees each change of a partition's status.
pub(crate) struct StatusWatch(watch::Receiver<Known>);

impl StatusWatch {
    /// Waits until the status is another than when this was made or last waited; at once if the partition is closed.
    pub(crate) async fn changed(&mut self) {
        // An error means that the partition is closed, which its reader finds out by reading.
        let _closed = self.0.changed().await;
    }

    /// The status now, if it is known; what comes after it is a change.
    pub(crate) fn see(&mut self) -> Option<Status> {
        self.0.borrow_and_update().status
    }
}

/// One partition.
pub(super) struct Partition {
    pub(super) id: PartitionId,
    known: watch::Sender<Known>,
    inner: Mutex<Inner>,
    awaited: Mutex<Awaited>,
}

#[derive(Default)]
struct Inner {
    task: Task,
    /// Kept while there is no task: taking over again would raise the epoch for nothing.
    ownership: Option<Ownership>,
}

#[derive(Default)]
enum Task {
    #[default]
    None,
    Running(Handle),
    Closed,
}

/// A partition's task, from outside.
#[derive(Clone)]
pub(super) struct Handle {
    pub(super) inbox: mpsc::Sender<Work>,
    pub(super) hint: Arc<Notify>,
    pub(super) stop: CancellationToken,
    pub(super) ended: CancellationToken,
}

/// Says that a task has ended, however it did.
struct EndGuard {
    partition: Arc<Partition>,
    ended: CancellationToken,
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        let mut inner = self.partition.inner();
        if let Task::Running(_) = inner.task {
            inner.task = Task::None;
        }
        drop(inner);
        self.ended.cancel();
    }
}

impl Partition {
    pub(super) fn new(id: PartitionId) -> Self {
        let known = watch::channel(Known::default()).0;
        Self { id, known, inner: Mutex::default(), awaited: Mutex::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics with the lock held")
    }

    /// The batches that were refused and must come before what their producers sent behind them.
    pub(super) fn awaited(&self) -> MutexGuard<'_, Awaited> {
        self.awaited.lock().expect("nothing panics with the lock held")
    }

    /// The partition's task; it is started if there is none.
    pub(super) fn handle<S: Store>(
        self: &Arc<Self>,
        shared: &Arc<Shared<S>>,
    ) -> Result<Handle, PartitionError> {
        let mut inner = self.inner();
        match &inner.task {
            Task::Running(handle) => return Ok(handle.clone()),
            Task::Closed => return Err(PartitionError::Closing),
            Task::None => {}
        }
        if shared.tasks.is_closed() {
            return Err(PartitionError::Closing);
        }
        let (inbox, works) = mpsc::channel(shared.limits.queue_max);
        let handle = Handle {
            inbox,
            hint: Arc::new(Notify::new()),
            stop: CancellationToken::new(),
            ended: CancellationToken::new(),
        };
        let guard = EndGuard { partition: self.clone(), ended: handle.ended.clone() };
        let (shared, partition, hint, stop) =
            (shared.clone(), self.clone(), handle.hint.clone(), handle.stop.clone());
        shared.tasks.clone().spawn(async move {
            let id = partition.id;
            let end = host::run(shared.clone(), partition, works, hint, stop).await;
            drop(guard);
            // What it knew of its next due entry, and a hint that came too late for it, is found out anew.
            match end {
                End::Orderly => shared.hints.add(id),
                End::NotBegun => {
                    tokio::select! {
                        () = shared.stopping.cancelled() => {}
                        () = tokio::time::sleep(LOOK_RETRY) => shared.hints.add(id),
                    }
                }
                End::Fenced => {}
            }
        });
        inner.task = Task::Running(handle.clone());
        Ok(handle)
    }

    /// Tells the task that there may be entries for the log; false if there is no task.
    pub(super) fn hint(&self) -> bool {
        match &self.inner().task {
            Task::Running(handle) => {
                handle.hint.notify_one();
                true
            }
            Task::None | Task::Closed => false,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.inner().task, Task::Running(_))
    }

    /// Lets the task end once what it was given is done, and no other begin.
    pub(super) fn stop(&self) -> Option<CancellationToken> {
        let task = std::mem::replace(&mut self.inner().task, Task::Closed);
        let Task::Running(handle) = task else { return None };
        handle.stop.cancel();
        Some(handle.ended)
    }

    /// Lets no task begin any more, if there is none now; false if there is one, which is to be ended by [`close`](Self::close).
    pub(super) fn close_unless_running(&self) -> bool {
        let mut inner = self.inner();
        if let Task::Running(_) = inner.task {
            return false;
        }
        inner.task = Task::Closed;
        true
    }

    /// As [`stop`](Self::stop), and waits for the end. Whoever watches the status is told.
    pub(super) async fn close(&self) {
        if let Some(ended) = self.stop() {
            ended.cancelled().await;
        }
        self.forget();
    }

    pub(super) fn ownership(&self) -> Option<Ownership> {
        self.inner().ownership
    }

    pub(super) fn set_ownership(&self, ownership: Option<Ownership>) {
        self.inner().ownership = ownership;
    }

    pub(super) fn status(&self) -> Option<Status> {
        self.known.borrow().status
    }

    pub(super) fn watch(&self) -> StatusWatch {
        StatusWatch(self.known.subscribe())
    }

    /// Tells readers what was committed.
    pub(super) fn publish(&self, state: &PartitionState) {
        let status = Some(Status::of(state));
        self.known.send_if_modified(|known| std::mem::replace(&mut known.status, status) != status);
    }

    /// Makes readers look at the store: what is known may not be so.
    pub(super) fn forget(&self) {
        self.known.send_modify(|known| *known = Known { status: None, forgotten: known.forgotten + 1 });
    }

    /// The status, from the store if it is not known.
    pub(super) async fn load_status(&self, store: &impl Store) -> Result<Status, LogError> {
        let known = *self.known.borrow();
        if let Some(status) = known.status {
            return Ok(status);
        }
        let mut txn = store.begin().await?;
        let state = tidegate_log::load_state(&mut txn, self.id).await?;
        let loaded =
            Status::of(&state.unwrap_or_else(|| tidegate_log::empty_state(tidegate_format::BrokerId(-1))));
        self.known.send_if_modified(|now| {
            let still_asked = now.status.is_none() && now.forgotten == known.forgotten;
            if still_asked {
                now.status = Some(loaded);
            }
            still_asked
        });
        Ok(self.status().unwrap_or(loaded))
    }
}
