//! How an embedded store is opened, and why it cannot be.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::{Clock, TransactionLimits};

/// When a commit is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Before it is acknowledged.
    Always,
    /// At most this many milliseconds after it is acknowledged. A crash of the machine (not of the process alone) loses
    /// the commits of that time; what is left is a prefix of them in order.
    Interval(u64),
}

/// The settings of an embedded store.
#[derive(Clone)]
pub struct EmbeddedOptions {
    /// What tells the time.
    pub clock: Arc<dyn Clock>,
    /// What one transaction may be.
    pub limits: TransactionLimits,
    /// When a commit is on disk (`store.sync`).
    pub sync: SyncPolicy,
    /// From how much memory on the newest entries are written to the tree (`store.overlay.bytes`). While that is done,
    /// as much again is taken by new ones.
    pub overlay_bytes: usize,
    /// From how many bytes of journal on the same is done (`store.journal.flush.bytes`): about what an opening after a
    /// crash reads.
    pub journal_flush_bytes: u64,
    /// How long one segment of the journal gets (`store.segment.bytes`). Each takes a file descriptor.
    pub segment_bytes: u64,
    /// Below how many free bytes of disk a commit that puts data is refused (`store.reserve.bytes`).
    pub reserve_bytes: u64,
    /// How much memory the tree may use to cache (`store.tree.cache.bytes`), beside the page cache of the machine.
    pub tree_cache_bytes: usize,
}

impl EmbeddedOptions {
    /// The defaults, on the given clock.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            limits: TransactionLimits::default(),
            sync: SyncPolicy::Always,
            overlay_bytes: 16 << 20,
            journal_flush_bytes: 128 << 20,
            segment_bytes: 128 << 20,
            reserve_bytes: 256 << 20,
            tree_cache_bytes: 8 << 20,
        }
    }
}

impl fmt::Debug for EmbeddedOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedOptions")
            .field("limits", &self.limits)
            .field("sync", &self.sync)
            .field("overlay_bytes", &self.overlay_bytes)
            .field("journal_flush_bytes", &self.journal_flush_bytes)
            .field("segment_bytes", &self.segment_bytes)
            .field("reserve_bytes", &self.reserve_bytes)
            .field("tree_cache_bytes", &self.tree_cache_bytes)
            .finish_non_exhaustive()
    }
}

/// Why a store could not be opened. Nothing in the directory was changed, but for what a crash left half done.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process (or another part of this one) has it open.
    #[error("{} is in use by {holder}: stop that first, or use another directory", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// Who has it, as far as it said: process id and time.
        holder: String,
    },
    /// The directory was written by a later release.
    #[error(
        "the store has format {found}, this release reads up to {supported}: use the release that wrote it"
    )]
    NewerFormat {
        /// The format of the directory.
        found: u32,
        /// The newest format that this release knows.
        supported: u32,
    },
    /// What is stored fails its checksums, or parts are missing: restore from a backup.
    #[error("the store is damaged: {place}")]
    Damaged {
        /// File, offset and what was to be there.
        place: String,
    },
    /// The file system refused.
    #[error("cannot open the store: {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What it said.
        source: io::Error,
    },
}
