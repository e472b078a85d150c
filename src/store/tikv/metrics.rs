//! What a store on TiKV counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// The counts at one moment. Those not said to be of the moment only grow, from the opening on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TikvMetrics {
    /// Snapshots that were begun.
    pub begins: u64,
    /// Reads of single keys and of many keys at once.
    pub gets: u64,
    /// Pages of ranges that were read.
    pub scans: u64,
    /// Transactions that were committed.
    pub commits: u64,
    /// Transactions that were refused with a conflict.
    pub conflicts: u64,
    /// Commits without a clear answer, which were settled by writing.
    pub settled: u64,
    /// Commits that were found applied though their answer was lost or said otherwise.
    pub settled_applied: u64,
    /// Commits that could not be settled in time: the caller was told that the outcome is unknown.
    pub unknown: u64,
    /// Rows of attempts that were removed.
    pub attempt_rows_removed: u64,
    /// Connections that were given up because they hung or broke.
    pub clients_replaced: u64,
    /// Of the moment: how many connections there are.
    pub clients_connected: u64,
    /// Of the moment: the age of the oldest snapshot that this process has open, in milliseconds.
    pub oldest_snapshot_ms: u64,
    /// Passes of the collector of old versions by this process.
    pub garbage_passes: u64,
    /// Of the moment: the version up to which old versions may go, as this process last asked for it; 0 if it has not.
    pub garbage_safe_point: u64,
    /// Locks of transactions that had ended without removing them, removed by this process.
    pub locks_resolved: u64,
    /// Ranges that nobody would read or write again, destroyed in every TiKV.
    pub ranges_destroyed: u64,
}

/// The counters behind [`TikvMetrics`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) begins: AtomicU64,
    pub(super) gets: AtomicU64,
    pub(super) scans: AtomicU64,
    pub(super) commits: AtomicU64,
    pub(super) conflicts: AtomicU64,
    pub(super) settled: AtomicU64,
    pub(super) settled_applied: AtomicU64,
    pub(super) unknown: AtomicU64,
    pub(super) attempt_rows_removed: AtomicU64,
    pub(super) garbage_passes: AtomicU64,
    pub(super) garbage_safe_point: AtomicU64,
    pub(super) locks_resolved: AtomicU64,
    pub(super) ranges_destroyed: AtomicU64,
}

/// Adds to a counter.
pub(super) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

impl Counters {
    /// The counts now, without those that others keep.
    pub(super) fn read(&self) -> TikvMetrics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TikvMetrics {
            begins: read(&self.begins),
            gets: read(&self.gets),
            scans: read(&self.scans),
            commits: read(&self.commits),
            conflicts: read(&self.conflicts),
            settled: read(&self.settled),
            settled_applied: read(&self.settled_applied),
            unknown: read(&self.unknown),
            attempt_rows_removed: read(&self.attempt_rows_removed),
            garbage_passes: read(&self.garbage_passes),
            garbage_safe_point: read(&self.garbage_safe_point),
            locks_resolved: read(&self.locks_resolved),
            ranges_destroyed: read(&self.ranges_destroyed),
            ..TikvMetrics::default()
        }
    }
}
