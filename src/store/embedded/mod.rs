//! The store in one directory of one machine: a journal, an overlay, a tree.
//!
//! What it is: commits go to the journal, all that wait as one group with one write and one sync, and into an overlay in
//! memory; from there they are written to the tree behind the commits. Large values stay in the journal for good, and
//! entries point to them. A snapshot reads the overlays as they are at its version, and the tree behind them.
//!
//! What it refuses to do: it opens no directory that another process has open, none of a newer format, and none that is
//! damaged; it retries no failed write or sync; it never waits for the tree in a commit.
//!
//! What always holds: an acknowledged commit survives `kill -9` and power loss (see [`SyncPolicy`] for the other choice);
//! what a crash leaves is all transactions up to one, in their order, each whole; versions grow strictly, also across
//! restarts and when the clock goes back; a value that does not match its checksum is an error and never a gap.

mod attempt;
mod committer;
mod compaction;
mod conflict;
mod directory;
mod files;
mod journal;
#[cfg(any(test, feature = "lossy-files"))]
pub mod lossy_files;
mod maintenance;
mod metrics;
mod options;
mod overlay;
mod runs;
mod shared;
mod slot;
mod space;
mod tree;
mod txn;
mod view;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};

pub use metrics::{COMMIT_LATENCY_BOUNDS_US, EmbeddedMetrics};
pub use options::{EmbeddedOptions, OpenError, SyncPolicy};
pub use txn::EmbeddedTxn;

use self::committer::{Committer, CommitterSettings, Recovered};
use self::directory::DirectoryLock;
use self::files::{FileLayer, RealFiles};
use self::journal::{
    Ahead, Covered, JournalWriter, ReplayError, Replayed, Segments, StoreId, replay, segment_name,
};
use self::maintenance::Maintenance;
use self::overlay::Overlay;
use self::runs::{Attempted, Runs};
use self::shared::Shared;
use self::tree::{LiveBytes, OpenedTree, Tree};
use self::view::{Purpose, View, Views};
use crate::clock::GatedClock;
use crate::{Clock, CommitError, CommitToken, Direction, KeyRange, Outcome, ReadError, Store, Txn, Version};

/// How many keys [`Store::delete_range`] removes in one transaction.
const DELETE_RANGE_STEP_KEYS: usize = 1_000;
/// How often a step of it is tried when others write in the range.
const DELETE_RANGE_ATTEMPTS: usize = 100;

/// A store in one directory. Clones are handles on the same store; it closes when the last handle and the last
/// transaction are dropped, or by [`shutdown`](Self::shutdown).
#[derive(Clone)]
pub struct EmbeddedStore {
    handle: Arc<Handle>,
}

/// What all clones and transactions hold.
struct Handle {
    shared: Arc<Shared>,
    ahead: Arc<Ahead>,
    threads: Mutex<Option<Threads>>,
}

/// The threads, and the right to the directory that they need.
struct Threads {
    threads: Vec<JoinHandle<()>>,
    _lock: Option<DirectoryLock>,
}

impl EmbeddedStore {
    /// Opens the store in a directory, which is created if it does not exist.
    ///
    /// Blocks for as long as it takes to read back what the tree does not have yet.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(dir: impl AsRef<Path>, options: EmbeddedOptions) -> Result<Self, OpenError> {
        let dir = dir.as_ref();
        let lock = directory::lock(dir, options.clock.now_ms())?;
        Self::open_files(Arc::new(RealFiles::new(dir)), Some(lock), options)
    }

    /// Whether there is a store in a directory, in whatever state.
    #[must_use]
    pub fn is_in(dir: impl AsRef<Path>) -> bool {
        dir.as_ref().join(directory::FORMAT_NAME).exists()
    }

    /// Opens the store on files in memory that lose what was not synced.
    ///
    /// # Errors
    /// See [`OpenError`]. What the files fail with after a crash is among them.
    #[cfg(any(test, feature = "lossy-files"))]
    pub fn open_lossy(files: &lossy_files::LossyFiles, options: EmbeddedOptions) -> Result<Self, OpenError> {
        Self::open_files(Arc::new(files.clone()), None, options)
    }

    /// Opens the store in a directory that nobody else has.
    fn open_files(
        files: Arc<dyn FileLayer>,
        lock: Option<DirectoryLock>,
        options: EmbeddedOptions,
    ) -> Result<Self, OpenError> {
        options.check()?;
        let store = directory::identify(&*files)?;
        let opened = Tree::open(&*files, options.tree_cache_bytes, options.check_tree);
        let OpenedTree { tree, is_new, covered, live, reader } = opened.map_err(tree_error)?;
        let segments = Segments::find(files.clone(), options.open_segments_max);
        let mut segments = segments.map_err(|error| io_error("the journal", error))?;
        check_segments(&segments, &live, is_new)?;
        let ahead = Arc::new(Ahead::new(options.journal_ahead_bytes));
        let recovered = recover(&files, store, &mut segments, covered, ahead.clone(), &options)?;
        let view = View {
            overlays: vec![recovered.overlay.clone()],
            tree: Arc::new(reader),
            segments: Arc::new(segments),
        };
        let (committer_sender, messages) = mpsc::channel();
        let (maintenance_sender, work) = mpsc::channel();
        let settings = CommitterSettings::of(&options);
        let views = Views::new(view, recovered.version);
        let runs = Runs::begin(&*files, recovered.replayed).map_err(|error| io_error("the runs", error))?;
        let EmbeddedOptions { clock, clock_jump_max_ms, limits, commit_max_ms, .. } = options;
        let clock = GatedClock::new(clock, clock_jump_max_ms);
        let shared = Shared::new(clock, limits, commit_max_ms, runs, views, committer_sender);
        let shared = Arc::new(shared);
        let committer =
            Committer::new(shared.clone(), files.clone(), settings, messages, maintenance_sender, recovered);
        let maintenance = Maintenance::new(shared.clone(), store, work, tree, covered, live);
        let mut threads = vec![
            spawn("store-committer", shared.clone(), move || committer.run())?,
            spawn("store-maintenance", shared.clone(), move || maintenance.run())?,
        ];
        if ahead.is_wanted() {
            let (shared, ahead) = (shared.clone(), ahead.clone());
            threads.push(spawn("store-ahead", shared.clone(), move || {
                if let Err(error) = ahead.run(&*files) {
                    shared.close(&format!("syncing the journal failed: {error}"));
                }
            })?);
        }
        let threads = Mutex::new(Some(Threads { threads, _lock: lock }));
        Ok(Self { handle: Arc::new(Handle { shared, ahead, threads }) })
    }

    /// Returns with the reason when the store closes because it cannot go on: a failed write or sync. All calls fail
    /// from then on; the process should say why and end, and can open the store again.
    pub async fn closed(&self) -> String {
        self.handle.shared.failed().await
    }

    /// Commits what was handed over, closes the store, and gives the directory free. Calls fail from then on.
    pub async fn shutdown(&self) {
        let handle = self.handle.clone();
        // It only fails if closing panics, and then there is nothing left to do.
        let _ = tokio::task::spawn_blocking(move || {
            handle.end_threads();
            handle.shared.close_in_order();
        })
        .await;
    }

    /// How far the machine's clock has jumped, in milliseconds, while the store does not go by it
    /// ([`EmbeddedOptions::clock_jump_max_ms`]).
    #[must_use]
    pub fn clock_jump_ms(&self) -> Option<i64> {
        self.handle.shared.clock.jump_ms()
    }

    /// What the store counts.
    #[must_use]
    pub fn metrics(&self) -> EmbeddedMetrics {
        let view = self.handle.shared.views.current();
        EmbeddedMetrics {
            overlay_bytes: view.overlays.iter().map(|overlay| overlay.bytes() as u64).sum(),
            segments: view.segments.len() as u64,
            ..self.handle.shared.counters.read()
        }
    }
}

impl Handle {
    /// Ends the threads after what was handed to them, and gives the directory free.
    fn end_threads(&self) {
        let ended = self.threads.lock().expect("nothing panics with the lock held").take();
        let Some(Threads { threads, _lock }) = ended else { return };
        self.shared.stop_committer();
        self.ahead.stop();
        for thread in threads {
            // A thread that panicked has closed the store.
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end_threads();
    }
}

/// Refuses a directory that lacks files which something points to.
fn check_segments(segments: &Segments, live: &LiveBytes, is_new: bool) -> Result<(), OpenError> {
    let damaged = |place: String| Err(OpenError::Damaged { place });
    if is_new && segments.iter().any(|segment| segment.number() > 1) {
        return damaged("tree.redb is missing".to_owned());
    }
    match live.keys().find(|number| segments.get(**number).is_none()) {
        Some(number) => damaged(format!("{} is missing", segment_name(*number))),
        None => Ok(()),
    }
}

/// Reads back what the tree does not have, and makes the journal ready to go on.
fn recover(
    files: &Arc<dyn FileLayer>,
    store: StoreId,
    segments: &mut Segments,
    covered: Covered,
    ahead: Arc<Ahead>,
    options: &EmbeddedOptions,
) -> Result<Recovered, OpenError> {
    let overlay = Arc::new(Overlay::default());
    // Nobody reads yet: only the newest version of each key is needed.
    let mut writer = overlay.writer(Version(u64::MAX));
    let mut key_buffer = Vec::new();
    let replayed = replay(files, store, segments, covered, |version, change| {
        let key = change.key(version, &mut key_buffer);
        writer.apply(key, version, change.change.slot(), change.is_versioned());
    });
    drop(writer);
    let Replayed { end, sequence, version, bytes } = replayed.map_err(replay_error)?;
    let file = files.open(&segment_name(end.segment)).map_err(|error| io_error("the journal", error))?;
    let journal = JournalWriter::new(files.clone(), store, options.segment_bytes, file, end, sequence, ahead);
    let replayed = version;
    let is_first = replayed == Version::default();
    let version = if is_first { Version::first_of_ms(options.clock.now_ms()) } else { replayed };
    let version = version.max(options.versions_after);
    Ok(Recovered { journal, overlay, version, replayed, bytes })
}

/// Starts a thread; if it panics, the store closes.
fn spawn(
    name: &'static str,
    shared: Arc<Shared>,
    run: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, OpenError> {
    struct ClosesOnPanic(Arc<Shared>, &'static str);
    impl Drop for ClosesOnPanic {
        fn drop(&mut self) {
            if thread::panicking() {
                self.0.close(&format!("the thread {} panicked", self.1));
            }
        }
    }
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
        let _guard = ClosesOnPanic(shared, name);
        run();
    });
    thread.map_err(|error| io_error("starting a thread", error))
}

impl Store for EmbeddedStore {
    type Txn = EmbeddedTxn;

    async fn begin(&self) -> Result<EmbeddedTxn, ReadError> {
        EmbeddedTxn::begin(self.handle.clone(), Purpose::Writing)
    }

    async fn begin_reading(&self) -> Result<EmbeddedTxn, ReadError> {
        EmbeddedTxn::begin(self.handle.clone(), Purpose::Reading)
    }

    async fn delete_range(&self, range: KeyRange) -> Result<(), CommitError> {
        let mut attempts = 0;
        loop {
            let mut txn = self.begin().await.map_err(not_applied)?;
            let keys = txn.scan_keys(&range, DELETE_RANGE_STEP_KEYS, Direction::Forward).await;
            let keys = keys.map_err(not_applied)?;
            let is_last = keys.len() < DELETE_RANGE_STEP_KEYS;
            for key in keys {
                txn.delete(key);
            }
            match txn.commit().await {
                Ok(_) if is_last => return Ok(()),
                Ok(_) => attempts = 0,
                Err(CommitError::Conflict) if attempts < DELETE_RANGE_ATTEMPTS => attempts += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// A commit of this backend is unknown when the disk failed or did not answer in time. Nothing needs to be written
    /// to settle it: in this run of the store it is applied once its version is visible, and until then nobody knows;
    /// what an earlier run had not written when it ended never arrives.
    async fn outcome(&self, token: &CommitToken) -> Result<Outcome, ReadError> {
        let shared = &self.handle.shared;
        shared.check_open()?;
        let unavailable = |reason: &str| Err(ReadError::Unavailable { reason: reason.to_owned() });
        match shared.runs.find(token) {
            Attempted::Now(version) if version <= shared.views.published() => Ok(Outcome::Applied),
            Attempted::Now(_) => unavailable("the disk has not answered yet"),
            Attempted::Before(outcome) => Ok(outcome),
            Attempted::NotKnown => unavailable("the token is of no opening of this store that is known"),
        }
    }

    fn now_ms(&self) -> i64 {
        self.handle.shared.clock.now_ms()
    }

    fn oldest_open_ms(&self) -> i64 {
        let shared = &self.handle.shared;
        shared.views.oldest_open_ms(&shared.clock, shared.limits.max_ms)
    }

    fn clock_steps_back(&self) -> u64 {
        self.handle.shared.clock.steps_back()
    }
}

fn not_applied(error: ReadError) -> CommitError {
    match error {
        ReadError::Unavailable { reason } => CommitError::Unavailable { reason },
        ReadError::Expired { max_ms } => CommitError::Expired { max_ms },
        ReadError::Damaged { place } => {
            CommitError::Unavailable { reason: format!("damaged data at {place}") }
        }
    }
}

fn io_error(what: &str, source: io::Error) -> OpenError {
    OpenError::Io { what: what.to_owned(), source }
}

#[expect(clippy::boxed_local, reason = "results of the tree hold boxed errors")]
fn tree_error(error: Box<redb::Error>) -> OpenError {
    match *error {
        redb::Error::Io(source) => io_error("the tree", source),
        redb::Error::Corrupted(what) => OpenError::Damaged { place: format!("tree.redb: {what}") },
        other => io_error("the tree", io::Error::other(other)),
    }
}

fn replay_error(error: ReplayError) -> OpenError {
    match error {
        ReplayError::Io(source) => io_error("the journal", source),
        ReplayError::Damaged { place } => OpenError::Damaged { place },
    }
}

#[cfg(test)]
mod tests;
