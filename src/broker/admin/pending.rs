//! What waits for its due time, or for the relay, in each partition.
//!
//! Entries are counted where they lie, since whoever publishes writes them without asking a broker. What always holds:
//! counting takes a small part of the time, however many wait: after it took a second it is done again
//! [`COUNT_AGAIN_AFTER`] seconds later; when the first entry of a partition is due, and whether there is one, is read
//! each time.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use tidegate_format::PartitionId;
use tidegate_outbox::{Pending, count_pending, find_waiting};
use tidegate_store::Txn;

use super::lag::FiguresError;

/// Entries that are counted in all partitions together; beyond, `tidegate_pending_capped` says so.
const COUNT_MAX: usize = 2_000_000;
/// How many times as long as counting took nothing is counted.
const COUNT_AGAIN_AFTER: u32 = 20;

/// What waited when it was last counted.
#[derive(Debug, Default)]
pub(crate) struct PendingCounts {
    counted: HashMap<PartitionId, Pending>,
    next_count: Option<Instant>,
}

impl PendingCounts {
    /// What waits in each partition of `ids`, in their order.
    pub(crate) async fn load(
        &mut self,
        txn: &mut impl Txn,
        ids: &[PartitionId],
    ) -> Result<Vec<Pending>, FiguresError> {
        // Most have nothing: that is found out for all of them together.
        let mut in_order = ids.to_vec();
        in_order.sort_unstable();
        let waiting = find_waiting(txn, &in_order).await?;
        let waiting: HashSet<PartitionId> = waiting.into_iter().map(|found| found.id).collect();
        if self.next_count.is_none_or(|next| next <= Instant::now()) {
            let began = Instant::now();
            self.count(txn, ids, &waiting, COUNT_MAX).await?;
            self.next_count = Some(Instant::now() + began.elapsed().saturating_mul(COUNT_AGAIN_AFTER));
            return Ok(ids.iter().map(|id| self.counted[id]).collect());
        }
        let mut loaded = Vec::with_capacity(ids.len());
        for id in ids {
            let first = match waiting.contains(id) {
                true => count_pending(txn, *id, 1).await?,
                false => Pending::default(),
            };
            loaded.push(match self.counted.get(id) {
                Some(counted) => refresh(counted, first),
                None => first,
            });
        }
        Ok(loaded)
    }

    async fn count(
        &mut self,
        txn: &mut impl Txn,
        ids: &[PartitionId],
        waiting: &HashSet<PartitionId>,
        mut room: usize,
    ) -> Result<(), FiguresError> {
        self.counted.clear();
        for id in ids {
            // With the room used up, it is still said whether there is any.
            let pending = match waiting.contains(id) {
                true => count_pending(txn, *id, room.max(1)).await?,
                false => Pending::default(),
            };
            room = room.saturating_sub(pending.outbox + pending.timer);
            self.counted.insert(*id, pending);
        }
        Ok(())
    }

    /// Counts again at the next load, however long it took.
    #[cfg(test)]
    pub(crate) fn expire(&mut self) {
        self.next_count = None;
    }

    /// Does not count for so long.
    #[cfg(test)]
    pub(crate) fn keep_for(&mut self, time: std::time::Duration) {
        self.next_count = Some(Instant::now() + time);
    }
}

/// What was counted, with what is known of the first entries now.
fn refresh(counted: &Pending, first: Pending) -> Pending {
    let count = |counted: usize, first: usize| if first == 0 { 0 } else { counted.max(first) };
    Pending {
        outbox: count(counted.outbox, first.outbox),
        timer: count(counted.timer, first.timer),
        capped: counted.capped,
        ..first
    }
}

#[cfg(test)]
#[path = "pending_tests.rs"]
mod tests;
