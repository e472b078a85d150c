//! When partitions without a task have their next entry: one time for each, however many entries wait.

use std::collections::{BTreeSet, HashMap};

use tidegate_format::PartitionId;

/// The next due time of each partition.
#[derive(Debug, Default)]
pub(super) struct DueTimes {
    by_partition: HashMap<PartitionId, i64>,
    in_order: BTreeSet<(i64, PartitionId)>,
}

impl DueTimes {
    /// Sets a partition's next due time, in milliseconds since the Unix epoch, or that it has none.
    pub(super) fn set(&mut self, id: PartitionId, due_ms: Option<i64>) {
        if let Some(before_ms) = self.by_partition.remove(&id) {
            self.in_order.remove(&(before_ms, id));
        }
        if let Some(due_ms) = due_ms {
            self.by_partition.insert(id, due_ms);
            self.in_order.insert((due_ms, id));
        }
    }

    /// Takes out a partition whose time has come.
    pub(super) fn take_due(&mut self, now_ms: i64) -> Option<PartitionId> {
        let (due_ms, id) = *self.in_order.first()?;
        if due_ms > now_ms {
            return None;
        }
        self.set(id, None);
        Some(id)
    }

    /// The next time that will come.
    pub(super) fn next_ms(&self) -> Option<i64> {
        self.in_order.first().map(|(due_ms, _)| *due_ms)
    }
}

#[cfg(test)]
mod tests {
    use tidegate_format::{PartitionIndex, TopicId};
    use uuid::Uuid;

    use super::*;

    fn partition(index: i32) -> PartitionId {
        PartitionId { topic: TopicId(Uuid::nil()), partition: PartitionIndex(index) }
    }

    #[test]
    fn partitions_come_out_by_their_last_known_time_and_once() {
        let mut due = DueTimes::default();
        due.set(partition(1), Some(30));
        due.set(partition(2), Some(20));
        due.set(partition(3), Some(10));
        due.set(partition(1), Some(5));
        due.set(partition(3), None);
        assert_eq!(due.next_ms(), Some(5));
        assert_eq!(due.take_due(4), None);
        assert_eq!((due.take_due(20), due.take_due(20)), (Some(partition(1)), Some(partition(2))));
        assert_eq!((due.take_due(i64::MAX), due.next_ms()), (None, None));
        assert!(due.by_partition.is_empty() && due.in_order.is_empty());
    }
}
