//! What a worker counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a worker has done since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerFigures {
    /// Events whose handling was committed.
    pub handled: u64,
    /// Times that handling an event, or a batch, failed.
    pub failures: u64,
    /// Records that were parked: after a failure, or behind another of their key.
    pub parked: u64,
    /// Dead letters that it has written.
    pub dead_letters: u64,
    /// Batches of records that could not be read, each of which has become one dead letter (and counts among these): too large
    /// for `max_decompressed_bytes`, or sent by a producer that is broken.
    pub unreadable: u64,
    /// Records that another worker, or this one before a crash, had dealt with already.
    pub found_done: u64,
    /// Times that something was given back as the store was away: it is done again.
    pub given_back: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) handled: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) parked: AtomicU64,
    pub(crate) dead_letters: AtomicU64,
    pub(crate) unreadable: AtomicU64,
    pub(crate) found_done: AtomicU64,
    pub(crate) given_back: AtomicU64,
}

impl Counters {
    pub(crate) fn figures(&self) -> WorkerFigures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WorkerFigures {
            handled: read(&self.handled),
            failures: read(&self.failures),
            parked: read(&self.parked),
            dead_letters: read(&self.dead_letters),
            unreadable: read(&self.unreadable),
            found_done: read(&self.found_done),
            given_back: read(&self.given_back),
        }
    }
}

pub(crate) fn count(counter: &AtomicU64, by: usize) {
    counter.fetch_add(by as u64, Ordering::Relaxed);
}
