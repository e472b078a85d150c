//! What the threads, the handles and the transactions of one store share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use super::committer::Message;
use super::conflict::KeyHasher;
use super::metrics::Counters;
use super::runs::Runs;
use super::view::Views;
use crate::clock::GatedClock;
use crate::{ReadError, TransactionLimits};

/// How many bytes of transactions may wait for the committer; more wait before they are handed over.
const QUEUE_MAX_BYTES: usize = 64 << 20;
/// The least that a transaction takes of the queue, so that their number is bounded as well.
const QUEUE_UNIT_BYTES: usize = 1 << 10;

/// Why a store is closed.
#[derive(Clone, Debug)]
struct Closed {
    reason: String,
    /// Whether it could not go on, or else was asked to close.
    is_failure: bool,
}

/// The shared part of a store.
pub(super) struct Shared {
    pub(super) clock: GatedClock,
    pub(super) limits: TransactionLimits,
    /// How long a commit waits for its answer.
    pub(super) commit_max: Duration,
    pub(super) runs: Runs,
    pub(super) views: Arc<Views>,
    pub(super) hasher: KeyHasher,
    pub(super) counters: Counters,
    pub(super) committer: Sender<Message>,
    pub(super) queue: Arc<Semaphore>,
    is_closed: AtomicBool,
    closed: watch::Sender<Option<Closed>>,
}

impl Shared {
    pub(super) fn new(
        clock: GatedClock,
        limits: TransactionLimits,
        commit_max_ms: u64,
        runs: Runs,
        views: Arc<Views>,
        committer: Sender<Message>,
    ) -> Self {
        Self {
            clock,
            limits,
            commit_max: Duration::from_millis(commit_max_ms),
            runs,
            views,
            hasher: KeyHasher::default(),
            counters: Counters::default(),
            committer,
            queue: Arc::new(Semaphore::new(QUEUE_MAX_BYTES / QUEUE_UNIT_BYTES)),
            is_closed: AtomicBool::new(false),
            closed: watch::Sender::new(None),
        }
    }

    /// How many permits of the queue a transaction of that many bytes takes.
    pub(super) fn queue_permits(bytes: usize) -> u32 {
        let units = (bytes / QUEUE_UNIT_BYTES + 1).min(QUEUE_MAX_BYTES / QUEUE_UNIT_BYTES);
        u32::try_from(units).expect("the queue has few permits")
    }

    /// Closes the store for good because it cannot go on. The first reason counts.
    pub(super) fn close(&self, reason: &str) {
        if self.set_closed(Closed { reason: reason.to_owned(), is_failure: true }) {
            tracing::error!(reason, "the store has closed");
        }
    }

    /// Closes the store because it was asked to.
    pub(super) fn close_in_order(&self) {
        self.set_closed(Closed { reason: "the store was shut down".to_owned(), is_failure: false });
    }

    fn set_closed(&self, why: Closed) -> bool {
        self.closed.send_if_modified(|closed| {
            let is_first = closed.is_none();
            if is_first {
                *closed = Some(why);
                // Before anybody is told: who was told finds it closed.
                self.is_closed.store(true, Ordering::Release);
            }
            is_first
        })
    }

    /// Why the store has closed, if it has.
    pub(super) fn closed_reason(&self) -> Option<String> {
        if !self.is_closed.load(Ordering::Acquire) {
            return None;
        }
        self.closed.borrow().as_ref().map(|closed| closed.reason.clone())
    }

    /// Refuses reads of a closed store.
    pub(super) fn check_open(&self) -> Result<(), ReadError> {
        self.closed_reason().map_or(Ok(()), |reason| Err(ReadError::Unavailable { reason }))
    }

    /// Returns with the reason when the store closes because it cannot go on.
    pub(super) async fn failed(&self) -> String {
        let mut closed = self.closed.subscribe();
        let is_failure = |closed: &Option<Closed>| closed.as_ref().is_some_and(|closed| closed.is_failure);
        let failed = closed.wait_for(is_failure).await.expect("the sender lives as long as this");
        failed.as_ref().expect("it was waited for").reason.clone()
    }

    /// Asks the committer to end, after what was sent to it before.
    pub(super) fn stop_committer(&self) {
        // An error says that it has ended.
        let _ = self.committer.send(Message::Stop);
    }

    pub(super) fn is_disk_low(&self) -> bool {
        self.counters.is_disk_low.load(Ordering::Relaxed) != 0
    }

    pub(super) fn set_disk_low(&self, is_low: bool) {
        let was_low = self.counters.is_disk_low.swap(u64::from(is_low), Ordering::Relaxed) != 0;
        if is_low && !was_low {
            tracing::warn!(
                "the disk is down to store.reserve.bytes: commits that put data are refused until there is space"
            );
        } else if was_low && !is_low {
            tracing::info!("the disk has space again");
        }
    }

    pub(super) fn set_stalled(&self, is_stalled: bool) {
        let was_stalled = self.counters.is_stalled.swap(u64::from(is_stalled), Ordering::Relaxed) != 0;
        if is_stalled && !was_stalled {
            tracing::error!(commit_max = ?self.commit_max, "the disk does not answer: commits are given up");
        } else if was_stalled && !is_stalled {
            tracing::info!("the disk answers again");
        }
    }
}
