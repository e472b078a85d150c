//! How a commit tells the relays that there is something for them.

use tidegate_format::PartitionId;

/// Called after the commit of a transaction that published, scheduled or cancelled.
///
/// It must not block and may coalesce: a call that is lost delays events until the partition's next sweep, and loses
/// none.
pub trait Wakeup: Send + Sync + 'static {
    /// Entries of these partitions were committed.
    fn committed(&self, partitions: &[PartitionId]);
}

/// Wakes nobody: for stores whose broker runs elsewhere and sweeps, and for tests that turn the relay by hand.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoWakeup;

impl Wakeup for NoWakeup {
    fn committed(&self, _partitions: &[PartitionId]) {}
}
