//! What an embedded store counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the classes of [`EmbeddedMetrics::commit_latency_counts`], in microseconds; the last class has none.
pub const COMMIT_LATENCY_BOUNDS_US: [u64; 13] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000];

/// The counts at one moment. Those not said to be of the moment only grow, from the opening on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EmbeddedMetrics {
    /// Transactions that were committed.
    pub commits: u64,
    /// Groups that were written: one write and one sync each.
    pub groups: u64,
    /// Transactions that were refused with a conflict.
    pub conflicts: u64,
    /// Commits that were not answered within `store.commit.max.ms`.
    pub commits_given_up: u64,
    /// Microseconds that groups took from the first transaction taken to the answers.
    pub group_us: u64,
    /// How many groups took up to as long as each of [`COMMIT_LATENCY_BOUNDS_US`], and longer.
    pub commit_latency_counts: [u64; COMMIT_LATENCY_BOUNDS_US.len() + 1],
    /// Bytes appended to the journal.
    pub journal_bytes: u64,
    /// Microseconds that commits were slowed down because flushing fell behind.
    pub throttled_us: u64,
    /// Overlays that were written to the tree.
    pub flushes: u64,
    /// Microseconds that took.
    pub flush_us: u64,
    /// Large values moved out of sparse segments.
    pub relocated_values: u64,
    /// Segments removed.
    pub segments_removed: u64,
    /// Of the moment: memory taken by entries that the tree does not have yet.
    pub overlay_bytes: u64,
    /// Of the moment: segments of the journal.
    pub segments: u64,
    /// Of the moment: bytes of large values that the tree points to.
    pub live_bytes: u64,
    /// Of the moment: whether the disk is down to its reserve (1) or not (0).
    pub is_disk_low: u64,
    /// Of the moment: whether commits are given up because the disk does not answer (1) or not (0).
    pub is_stalled: u64,
}

/// The counters behind [`EmbeddedMetrics`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) commits: AtomicU64,
    pub(super) groups: AtomicU64,
    pub(super) conflicts: AtomicU64,
    pub(super) commits_given_up: AtomicU64,
    pub(super) group_us: AtomicU64,
    pub(super) commit_latency_counts: [AtomicU64; COMMIT_LATENCY_BOUNDS_US.len() + 1],
    pub(super) journal_bytes: AtomicU64,
    pub(super) throttled_us: AtomicU64,
    pub(super) flushes: AtomicU64,
    pub(super) flush_us: AtomicU64,
    pub(super) relocated_values: AtomicU64,
    pub(super) segments_removed: AtomicU64,
    pub(super) live_bytes: AtomicU64,
    pub(super) is_disk_low: AtomicU64,
    pub(super) is_stalled: AtomicU64,
}

/// Adds to a counter.
pub(super) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

/// Whole microseconds.
pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Counters {
    /// Counts a group that took so long.
    pub(super) fn count_group(&self, transactions: usize, took: Duration) {
        let us = micros(took);
        let class = COMMIT_LATENCY_BOUNDS_US.iter().position(|bound| us <= *bound);
        add(&self.commit_latency_counts[class.unwrap_or(COMMIT_LATENCY_BOUNDS_US.len())], 1);
        add(&self.group_us, us);
        add(&self.groups, 1);
        add(&self.commits, transactions as u64);
    }

    /// The counts now, without those that others keep.
    pub(super) fn read(&self) -> EmbeddedMetrics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        EmbeddedMetrics {
            commits: read(&self.commits),
            groups: read(&self.groups),
            conflicts: read(&self.conflicts),
            commits_given_up: read(&self.commits_given_up),
            group_us: read(&self.group_us),
            commit_latency_counts: self.commit_latency_counts.each_ref().map(read),
            journal_bytes: read(&self.journal_bytes),
            throttled_us: read(&self.throttled_us),
            flushes: read(&self.flushes),
            flush_us: read(&self.flush_us),
            relocated_values: read(&self.relocated_values),
            segments_removed: read(&self.segments_removed),
            overlay_bytes: 0,
            segments: 0,
            live_bytes: read(&self.live_bytes),
            is_disk_low: read(&self.is_disk_low),
            is_stalled: read(&self.is_stalled),
        }
    }
}
