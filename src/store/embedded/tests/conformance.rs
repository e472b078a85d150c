//! The suite that every backend passes: once as a user opens the store, and once with an overlay, a journal and
//! segments so small that freezing, flushing and compaction go on all the time.

use std::sync::Arc;

use tempfile::TempDir;

use super::super::{EmbeddedOptions, EmbeddedStore};
use crate::conformance::{Backend, DurableBackend};
use crate::{ManualClock, TransactionLimits};

/// A store in a directory of its own.
struct Embedded<const TINY: bool> {
    dir: TempDir,
    clock: ManualClock,
    store: EmbeddedStore,
}

fn open<const TINY: bool>(dir: TempDir, clock: ManualClock) -> Embedded<TINY> {
    let mut options = EmbeddedOptions::new(Arc::new(clock.clone()));
    if TINY {
        options.overlay_bytes = 6_000;
        options.journal_flush_bytes = 50_000;
        options.segment_bytes = 20_000;
        options.tree_cache_bytes = 1 << 20;
    }
    let store = EmbeddedStore::open(dir.path(), options).unwrap();
    Embedded { dir, clock, store }
}

impl<const TINY: bool> Backend for Embedded<TINY> {
    type Store = EmbeddedStore;

    async fn create() -> Self {
        open(tempfile::tempdir().unwrap(), ManualClock::at(1_700_000_000_000))
    }

    fn store(&self) -> &EmbeddedStore {
        &self.store
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }

    fn limits(&self) -> TransactionLimits {
        TransactionLimits::default()
    }
}

impl<const TINY: bool> DurableBackend for Embedded<TINY> {
    async fn reopen(self) -> Self {
        let Self { dir, clock, store } = self;
        store.shutdown().await;
        open(dir, clock)
    }
}

mod as_opened {
    use super::*;

    type Subject = Embedded<false>;
    crate::conformance_tests!(Subject);
    crate::conformance_unknown_outcome_tests!(Subject);
    crate::conformance_commit_order_tests!(Subject);
    crate::conformance_durable_tests!(Subject);
}

mod tiny {
    use super::*;

    type Subject = Embedded<true>;
    crate::conformance_tests!(Subject);
    crate::conformance_unknown_outcome_tests!(Subject);
    crate::conformance_commit_order_tests!(Subject);
    crate::conformance_durable_tests!(Subject);
}
