//! The newest batches of all partitions in memory: most consumers read at the tail and never touch the store.
//!
//! One budget of bytes for all partitions; the batch that came first goes first, whichever partition it is of.
//!
//! What always holds: a partition's batches here follow each other without a gap up to the last one that was put in;
//! only committed batches are put in.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

use tidegate_format::{Offset, OrderVersion, PartitionId};

use crate::{Batches, LogEntry, ReadLimit};

/// What an entry costs besides its bytes, about.
const ENTRY_OVERHEAD_BYTES: usize = 192;

/// A bounded cache of the newest batches.
#[derive(Debug)]
pub struct TailCache {
    max_bytes: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    partitions: HashMap<PartitionId, VecDeque<LogEntry>>,
    /// All entries in the order in which they came. One whose batch is gone already is passed over.
    order: VecDeque<(PartitionId, Offset)>,
    entries: usize,
    bytes: usize,
}

impl TailCache {
    /// A cache of at most `max_bytes`; with 0 it keeps nothing.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self { max_bytes, inner: Mutex::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics with the lock held")
    }

    /// Puts in what was committed, in the order of the log. What does not follow the partition's last entry replaces
    /// them all.
    pub fn push(&self, id: PartitionId, entries: impl IntoIterator<Item = LogEntry>) {
        let mut inner = self.inner();
        for entry in entries {
            let cost = entry_bytes(&entry);
            if cost > self.max_bytes {
                inner.remove(id);
                continue;
            }
            inner.push(id, entry, cost);
        }
        while inner.bytes > self.max_bytes {
            inner.evict();
        }
        inner.compact();
    }

    /// Forgets a partition: it has another owner, or none.
    pub fn remove(&self, id: PartitionId) {
        let mut inner = self.inner();
        inner.remove(id);
        inner.compact();
    }

    /// Reads from an offset on, if the batch that holds it is here.
    #[must_use]
    pub fn read(&self, id: PartitionId, from: Offset, limit: ReadLimit) -> Option<Batches> {
        let inner = self.inner();
        let entries = inner.partitions.get(&id)?;
        let mut batches = Batches::default();
        for entry in entries.range(position(entries, from)?..) {
            if !batches.push_within(limit, entry.batch.clone()) {
                break;
            }
        }
        Some(batches)
    }

    /// When the record at an offset was appended, if its batch is here.
    #[must_use]
    pub fn append_version_at(&self, id: PartitionId, offset: Offset) -> Option<OrderVersion> {
        let inner = self.inner();
        let entries = inner.partitions.get(&id)?;
        Some(entries[position(entries, offset)?].append_version)
    }

    /// The bytes in use.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.inner().bytes
    }
}

/// Where the batch that holds an offset is.
fn position(entries: &VecDeque<LogEntry>, offset: Offset) -> Option<usize> {
    let place = entries.partition_point(|entry| entry.last_offset < offset);
    entries.get(place).filter(|entry| entry.base_offset <= offset).map(|_| place)
}

fn entry_bytes(entry: &LogEntry) -> usize {
    entry.batch.len() + ENTRY_OVERHEAD_BYTES
}

impl Inner {
    fn push(&mut self, id: PartitionId, entry: LogEntry, cost: usize) {
        let last = self.partitions.get(&id).and_then(VecDeque::back).map(|last| last.last_offset);
        if last.is_some_and(|last| last.plus(1) != entry.base_offset) {
            self.remove(id);
        }
        self.order.push_back((id, entry.last_offset));
        self.partitions.entry(id).or_default().push_back(entry);
        self.entries += 1;
        self.bytes += cost;
    }

    /// Removes the entry that came first.
    fn evict(&mut self) {
        let (id, last_offset) = self.order.pop_front().expect("bytes are in use, so there is an entry");
        let Some(entries) = self.partitions.get_mut(&id) else { return };
        if entries.front().is_none_or(|first| first.last_offset != last_offset) {
            return;
        }
        if let Some(entry) = entries.pop_front() {
            self.bytes -= entry_bytes(&entry);
            self.entries -= 1;
        }
        if entries.is_empty() {
            self.partitions.remove(&id);
        }
    }

    fn remove(&mut self, id: PartitionId) {
        let Some(entries) = self.partitions.remove(&id) else { return };
        self.entries -= entries.len();
        self.bytes -= entries.iter().map(entry_bytes).sum::<usize>();
    }

    /// Keeps the places of entries that are gone from piling up.
    fn compact(&mut self) {
        if self.order.len() <= 2 * self.entries + 64 {
            return;
        }
        let partitions = &self.partitions;
        self.order.retain(|(id, last_offset)| {
            let entries = partitions.get(id);
            entries.is_some_and(|entries| {
                entries.binary_search_by_key(last_offset, |entry| entry.last_offset).is_ok()
            })
        });
    }
}

#[cfg(test)]
#[path = "tail_cache_tests.rs"]
mod tests;
