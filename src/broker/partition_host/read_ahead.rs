//! The next page of a consumer that is behind, read from the store while the one before it is on its way.
//!
//! What it is: one page for each place in a log that a reader will come to next, under one budget of bytes for all; the
//! one that was begun first goes first. A reader that comes while its page is being read waits for it.
//!
//! What it refuses to do: it reads one page ahead of a reader and no further, nothing that the tail cache has, and
//! nothing for who asks for more at once than the budget.
//!
//! What always holds: a page is given once; its batches are committed, and so never change; it counts with the most that
//! it may have from before its reading begins until it is given or dropped, and a dropped one is read no further.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use tidegate_format::{Offset, PartitionId};
use tidegate_log::{Batches, OffsetError, ReadLimit, ReadResult, read};
use tidegate_store::Store;
use tokio::sync::oneshot;

use super::{PartitionError, ReadPartitionError, Shared};

/// Most pages at a time, however small: they are looked through one by one.
const PAGES_MAX: usize = 64;

/// The pages that were read ahead, or are being read.
pub(super) struct ReadAhead {
    max_bytes: usize,
    pages: Mutex<Pages>,
}

#[derive(Default)]
struct Pages {
    /// In the order in which they were begun.
    begun: VecDeque<Page>,
    /// The most that they may have together.
    bytes: usize,
}

struct Page {
    id: PartitionId,
    from: Offset,
    max_bytes: usize,
    result: oneshot::Receiver<ReadResult>,
}

impl ReadAhead {
    /// Pages of together at most `max_bytes`; with 0 there are none.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { max_bytes, pages: Mutex::default() }
    }

    /// The batches from an offset on that were read ahead; none if they were not, or the store may have more of them for
    /// this limit.
    pub(super) async fn take(
        &self,
        id: PartitionId,
        from: Offset,
        limit: ReadLimit,
        high_watermark: Offset,
    ) -> Option<Batches> {
        let page = self.pages().remove(id, from)?;
        if page.max_bytes < limit.max_bytes {
            return None;
        }
        // An error means that reading failed: it is tried once more, and told, by who wants the page.
        let ReadResult { batches, high_watermark: end_of_log, .. } = page.result.await.ok()?;
        let end = batches.end()?;
        // A page that ended with the log may be behind it by now.
        (end < end_of_log || end >= high_watermark).then(|| batches.within(limit))
    }

    /// Makes room for a page of at most `max_bytes`; none if it is there already or too large. What was read goes into
    /// what this gives, which is closed when nobody wants it any more.
    fn begin(&self, id: PartitionId, from: Offset, max_bytes: usize) -> Option<oneshot::Sender<ReadResult>> {
        let mut pages = self.pages();
        if max_bytes > self.max_bytes || pages.place(id, from).is_some() {
            return None;
        }
        while pages.begun.len() >= PAGES_MAX || pages.bytes > self.max_bytes - max_bytes {
            pages.remove_at(0);
        }
        let (sender, result) = oneshot::channel();
        pages.bytes += max_bytes;
        pages.begun.push_back(Page { id, from, max_bytes, result });
        Some(sender)
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().expect("nothing panics with the lock held")
    }
}

impl Pages {
    fn place(&self, id: PartitionId, from: Offset) -> Option<usize> {
        self.begun.iter().position(|page| page.id == id && page.from == from)
    }

    fn remove(&mut self, id: PartitionId, from: Offset) -> Option<Page> {
        let place = self.place(id, from)?;
        self.remove_at(place)
    }

    fn remove_at(&mut self, place: usize) -> Option<Page> {
        let page = self.begun.remove(place)?;
        self.bytes -= page.max_bytes;
        Some(page)
    }
}

impl<S: Store> Shared<S> {
    /// Reads from the store.
    pub(super) async fn load_page(
        &self,
        id: PartitionId,
        from: Offset,
        limit: ReadLimit,
    ) -> Result<ReadResult, ReadPartitionError> {
        let mut txn = self.store.begin().await.map_err(PartitionError::from)?;
        read(&mut txn, id, from, limit).await.map_err(|error| match error {
            OffsetError::OutOfRange { log_start, high_watermark } => {
                ReadPartitionError::OutOfRange { log_start, high_watermark }
            }
            OffsetError::Log(error) => ReadPartitionError::Partition(error.into()),
        })
    }

    /// Begins to read what the reader of this page will want next, if that is in the store alone.
    pub(super) fn begin_reading_ahead(
        self: &Arc<Self>,
        id: PartitionId,
        page: &ReadResult,
        limit: ReadLimit,
    ) {
        let Some(next) = page.batches.end().filter(|end| *end < page.high_watermark) else { return };
        // Of batches that are larger than the limit comes one at a time, and none ahead.
        if page.batches.bytes > limit.max_bytes
            || self.stopping.is_cancelled()
            || self.cache.append_version_at(id, next).is_some()
        {
            return;
        }
        let Some(mut sender) = self.read_ahead.begin(id, next, limit.max_bytes) else { return };
        // Never more than the budget: the first batch, too.
        let limit = ReadLimit { at_least_one: false, ..limit };
        let shared = self.clone();
        self.tasks.spawn(async move {
            let page = tokio::select! {
                () = sender.closed() => return,
                page = shared.load_page(id, next, limit) => page,
            };
            if let Ok(page) = page {
                // Nobody may want it any more by now.
                let _unwanted = sender.send(page);
            }
        });
    }
}
