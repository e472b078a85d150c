//! How an embedded store is opened, and why it cannot be.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::{Clock, TransactionLimits, Version};

/// The smallest segment.
const SEGMENT_MIN_BYTES: u64 = 4 << 10;
/// The largest `transaction.max.bytes`: a group counts its bytes with 32 bits.
const TRANSACTION_MAX_BYTES: u64 = 1 << 30;

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
    /// By how many milliseconds the wall clock may come away from the monotonic one at once and still be followed
    /// (`clock.jump.max.ms`). What is more is a jump, which moves no timer until it has lasted for a minute.
    pub clock_jump_max_ms: i64,
    /// What one transaction may be.
    pub limits: TransactionLimits,
    /// How long a commit waits for the disk, in milliseconds (`store.commit.max.ms`). After that it fails:
    /// [`CommitError::Unavailable`](crate::CommitError::Unavailable) if it was not being written yet, otherwise
    /// [`CommitError::Unknown`](crate::CommitError::Unknown).
    pub commit_max_ms: u64,
    /// When a commit is on disk (`store.sync`).
    pub sync: SyncPolicy,
    /// How much memory the entries take that the tree does not have yet (`store.overlay.bytes`). They are written to it
    /// from a third of that on, and commits slow down by degrees when more come meanwhile than it has room for.
    pub overlay_bytes: usize,
    /// From how many bytes of journal on the same is done (`store.journal.flush.bytes`): about what an opening after a
    /// crash reads.
    pub journal_flush_bytes: u64,
    /// How far ahead of the journal's end its segment is filled with zeros (`store.journal.ahead.bytes`), so that commits
    /// find blocks that the file has already; 0 for not at all. Never more than was appended since the opening.
    pub journal_ahead_bytes: u64,
    /// How long one segment of the journal gets (`store.segment.bytes`).
    pub segment_bytes: u64,
    /// How many segments stay open to be read (`store.open.segments.max`): each takes a file descriptor.
    pub open_segments_max: usize,
    /// Below how many free bytes of disk a commit that puts data is refused (`store.reserve.bytes`): every one that is
    /// [`growing`](crate::Txn::growing), and any other that puts more than a little.
    pub reserve_bytes: u64,
    /// How much memory the tree may use to cache (`store.tree.cache.bytes`), beside the page cache of the machine.
    pub tree_cache_bytes: usize,
    /// Every version that is given out from now on is higher than this one: what a store has to begin with that takes up
    /// what another one wrote, whatever the clock says.
    pub versions_after: Version,
    /// Whether opening verifies every page of the tree (`store.check.tree`), which takes as long as reading the file.
    /// Without it a damaged entry, key or value, is still noticed when it is read or scanned over, but a look-up of the key
    /// that it had before can miss it.
    pub check_tree: bool,
}

impl EmbeddedOptions {
    /// The defaults, on the given clock.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            clock_jump_max_ms: 60_000,
            limits: TransactionLimits::default(),
            commit_max_ms: 30_000,
            sync: SyncPolicy::Always,
            overlay_bytes: 32 << 20,
            journal_flush_bytes: 128 << 20,
            journal_ahead_bytes: 4 << 20,
            segment_bytes: 128 << 20,
            open_segments_max: 256,
            reserve_bytes: 256 << 20,
            tree_cache_bytes: 8 << 20,
            versions_after: Version::default(),
            check_tree: false,
        }
    }
}

impl EmbeddedOptions {
    /// Refuses what the journal's frames have no room for, and sizes of nothing.
    pub(super) fn check(&self) -> Result<(), OpenError> {
        let is_at_least = |setting, actual: u64, least: u64| {
            if actual >= least { Ok(()) } else { Err(OpenError::SettingTooSmall { setting, actual, least }) }
        };
        is_at_least("store.overlay.bytes", self.overlay_bytes as u64, 1)?;
        is_at_least("store.journal.flush.bytes", self.journal_flush_bytes, 1)?;
        is_at_least("store.segment.bytes", self.segment_bytes, SEGMENT_MIN_BYTES)?;
        is_at_least("store.open.segments.max", self.open_segments_max as u64, 1)?;
        let actual = self.limits.max_bytes as u64;
        if actual > TRANSACTION_MAX_BYTES {
            let setting = "transaction.max.bytes";
            return Err(OpenError::SettingTooLarge { setting, actual, most: TRANSACTION_MAX_BYTES });
        }
        Ok(())
    }
}

impl fmt::Debug for EmbeddedOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedOptions")
            .field("clock_jump_max_ms", &self.clock_jump_max_ms)
            .field("limits", &self.limits)
            .field("commit_max_ms", &self.commit_max_ms)
            .field("sync", &self.sync)
            .field("overlay_bytes", &self.overlay_bytes)
            .field("journal_flush_bytes", &self.journal_flush_bytes)
            .field("journal_ahead_bytes", &self.journal_ahead_bytes)
            .field("segment_bytes", &self.segment_bytes)
            .field("open_segments_max", &self.open_segments_max)
            .field("reserve_bytes", &self.reserve_bytes)
            .field("tree_cache_bytes", &self.tree_cache_bytes)
            .field("versions_after", &self.versions_after)
            .field("check_tree", &self.check_tree)
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
    /// A setting has no use.
    #[error("{setting} is {actual}: it must be at least {least}")]
    SettingTooSmall {
        /// Its name.
        setting: &'static str,
        /// Its value.
        actual: u64,
        /// The smallest value.
        least: u64,
    },
    /// A setting is more than the store can do.
    #[error("{setting} is {actual}: it must be at most {most}")]
    SettingTooLarge {
        /// Its name.
        setting: &'static str,
        /// Its value.
        actual: u64,
        /// The largest value.
        most: u64,
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
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What it said.
        source: io::Error,
    },
}
