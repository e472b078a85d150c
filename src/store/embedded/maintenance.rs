//! The one thread that works behind the commits: it writes frozen overlays to the tree and gives space back.
//!
//! What always holds: a flush comes before everything else; after a flush that failed the store is closed; a segment is
//! removed when the tree on disk neither points to it nor needs it for the next opening.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::Instant;

use super::compaction::{Compaction, Step};
use super::journal::{Covered, StoreId};
use super::metrics::{add, micros};
use super::overlay::Overlay;
use super::shared::Shared;
use super::tree::{LiveBytes, Tree};

/// An overlay that is to be written to the tree.
pub(super) struct FlushRequest {
    /// Gets no more writes.
    pub(super) overlay: Arc<Overlay>,
    /// What the tree covers afterwards. All of it is durable in the journal.
    pub(super) covered: Covered,
}

/// What the thread is sent.
pub(super) enum Work {
    /// Write this.
    Flush(FlushRequest),
    /// End.
    Stop,
}

/// The thread's state.
pub(super) struct Maintenance {
    shared: Arc<Shared>,
    store: StoreId,
    work: Receiver<Work>,
    tree: Tree,
    covered: Covered,
    live: LiveBytes,
    compaction: Option<Compaction>,
    /// Segments that were gone through already, or could not be: they stay as they are until they are dead.
    left_alone: BTreeSet<u64>,
}

impl Maintenance {
    pub(super) fn new(
        shared: Arc<Shared>,
        store: StoreId,
        work: Receiver<Work>,
        tree: Tree,
        covered: Covered,
        live: LiveBytes,
    ) -> Self {
        let compaction = None;
        Self { shared, store, work, tree, covered, live, compaction, left_alone: BTreeSet::new() }
    }

    /// Works until it is told to stop, or the store closes.
    pub(super) fn run(mut self) {
        self.remove_dead_segments();
        self.choose_sparse_segment();
        while self.shared.closed_reason().is_none() {
            // Between two steps of a compaction a flush comes first.
            let work =
                if self.compaction.is_some() { self.work.try_recv().ok() } else { self.work.recv().ok() };
            match work {
                Some(Work::Flush(request)) => self.flush(&request),
                Some(Work::Stop) => return,
                None if self.compaction.is_some() => self.compact(),
                None => return,
            }
        }
    }

    fn flush(&mut self, request: &FlushRequest) {
        let began = Instant::now();
        let flushed = self.tree.flush(&request.overlay, request.covered, std::mem::take(&mut self.live));
        let flushed = flushed.and_then(|live| Ok((live, self.tree.reader()?)));
        let (live, reader) = match flushed {
            Ok(flushed) => flushed,
            Err(error) => return self.shared.close(&format!("writing the tree failed: {error}")),
        };
        self.live = live;
        self.covered = request.covered;
        let reader = Arc::new(reader);
        self.shared.views.change(|view| {
            view.overlays.retain(|overlay| !Arc::ptr_eq(overlay, &request.overlay));
            view.tree = reader;
        });
        add(&self.shared.counters.flushes, 1);
        add(&self.shared.counters.flush_us, micros(began.elapsed()));
        self.remove_dead_segments();
        self.choose_sparse_segment();
    }

    /// Removes the segments behind what the tree covers that it does not point to. The space comes back with the last
    /// snapshot that may still read them.
    fn remove_dead_segments(&mut self) {
        self.shared.counters.live_bytes.store(self.live.values().sum(), Ordering::Relaxed);
        let covered = self.covered.position.segment;
        let view = self.shared.views.current();
        let is_dead = |number: &u64| *number < covered && !self.live.contains_key(number);
        let dead: Vec<u64> = view.segments.iter().map(|segment| segment.number()).filter(is_dead).collect();
        drop(view);
        if dead.is_empty() {
            return;
        }
        self.shared.views.change(|view| {
            let segments = Arc::make_mut(&mut view.segments);
            dead.iter().for_each(|number| segments.remove(*number));
        });
        add(&self.shared.counters.segments_removed, dead.len() as u64);
    }

    fn choose_sparse_segment(&mut self) {
        if self.compaction.is_none() {
            let segments = self.shared.views.current().segments.clone();
            let is_behind = |number: u64| number < self.covered.position.segment;
            let candidates = segments.iter().filter(|segment| {
                is_behind(segment.number()) && !self.left_alone.contains(&segment.number())
            });
            self.compaction = Compaction::of_sparsest(candidates, &self.live, self.store);
        }
    }

    fn compact(&mut self) {
        let Some(compaction) = &mut self.compaction else { return };
        match compaction.step(&self.shared) {
            Ok(Step::More) => {}
            Ok(Step::Done) => {
                self.left_alone.insert(compaction.segment());
                self.compaction = None;
                self.choose_sparse_segment();
            }
            Err(error) => {
                tracing::error!(%error, segment = compaction.segment(), "a sparse segment stays as it is");
                self.left_alone.insert(compaction.segment());
                self.compaction = None;
            }
        }
    }
}
