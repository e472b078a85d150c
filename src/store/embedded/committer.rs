//! The one thread that commits.
//!
//! What it is: it takes all transactions that wait, checks them for conflicts in their order, appends those that have
//! none to the journal as one group with one write and one sync, puts them into the overlay, publishes their versions
//! and answers. It freezes the overlay when it is time, and slows itself down when flushing falls behind.
//!
//! What it refuses to do: it never reads the tree, and never waits for a flush.
//!
//! What always holds: a version is published after it is durable (with [`SyncPolicy::Always`]), in order, a group at a
//! time; who is told of a conflict sees what came first with the next snapshot; after a failed write or sync nothing
//! more is committed.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::attempt::Attempt;
use super::conflict::{ConflictWindow, KeyHash};
use super::files::FileLayer;
use super::journal::{AppendError, Covered, GroupBuilder, JournalWriter};
use super::maintenance::{FlushRequest, Work};
use super::metrics::{add, micros};
use super::options::{EmbeddedOptions, SyncPolicy};
use super::overlay::Overlay;
use super::shared::Shared;
use super::space::{LOW_SPACE_INTERVAL, Space};
use super::view::Snapshot;
use crate::oracle::VersionOracle;
use crate::{Clock, CommitError, Committed, Version};

/// A group is written when it has this many bytes, or this many transactions, or nobody waits.
const GROUP_MAX_BYTES: usize = 4 << 20;
const GROUP_MAX_TRANSACTIONS: usize = 1_024;
/// With the disk down to its reserve, a transaction that puts at most this many bytes still passes if they are not more
/// data to keep: enough for the state that goes with deletes, and for offsets.
const RESERVE_PUT_MAX_BYTES: usize = 4 << 10;
/// The free space is looked at after so much time or so many bytes, and all the time while it is low.
const FREE_SPACE_INTERVAL: Duration = Duration::from_millis(500);
const FREE_SPACE_BYTES: u64 = 4 << 20;
/// How many frozen overlays may wait for the tree.
const FROZEN_MAX: usize = 1;
/// Of `store.overlay.bytes`, one part is filled before the overlay is frozen; the frozen one has another, and what comes
/// while that is flushed has the last.
const OVERLAY_PARTS: usize = 3;
/// How long a group waits when flushing has fallen behind so far that the memory of the overlays is full, and at most;
/// before that, the square of how far.
const THROTTLE_MAX: Duration = Duration::from_millis(100);

/// A transaction that waits to be committed.
pub(super) struct Submission {
    /// What it read; it keeps the conflict window open until the answer.
    pub(super) snapshot: Snapshot,
    /// Its changes as the journal keeps them.
    pub(super) transaction: Vec<u8>,
    /// What must not have been written or guarded since.
    pub(super) writes: Vec<KeyHash>,
    /// What must not have been written since.
    pub(super) guards: Vec<KeyHash>,
    /// A key that it writes, by which an unknown outcome is named.
    pub(super) token_key: Bytes,
    /// How many bytes of values it puts.
    pub(super) put_bytes: usize,
    /// Whether they are more data to keep.
    pub(super) is_growing: bool,
    /// Whether it only moves values to another place, so that it stands in nobody's way.
    pub(super) is_relocation: bool,
    /// Its share of the queue.
    pub(super) _permit: Option<OwnedSemaphorePermit>,
    /// Whether somebody still waits for the answer.
    pub(super) attempt: Arc<Attempt>,
    /// Who waits for it.
    pub(super) reply: oneshot::Sender<Result<Committed, CommitError>>,
}

impl Submission {
    /// Whether it has to wait until there is more space than the reserve.
    fn is_bound_by_reserve(&self) -> bool {
        let put_max_bytes = if self.is_growing { 0 } else { RESERVE_PUT_MAX_BYTES };
        self.put_bytes > put_max_bytes && !self.is_relocation
    }

    fn refuse(self, error: CommitError) {
        // Who no longer waits needs no answer.
        let _ = self.reply.send(Err(error));
    }
}

/// What the committer is sent.
pub(super) enum Message {
    /// Commit this.
    Commit(Box<Submission>),
    /// Commit what came before, and end.
    Stop,
}

/// The settings that the committer looks at.
#[derive(Clone, Copy, Debug)]
pub(super) struct CommitterSettings {
    pub(super) sync: SyncPolicy,
    /// From how many bytes on an overlay is frozen.
    pub(super) overlay_part_bytes: usize,
    pub(super) journal_flush_bytes: u64,
    pub(super) reserve_bytes: u64,
}

impl CommitterSettings {
    pub(super) fn of(options: &EmbeddedOptions) -> Self {
        Self {
            sync: options.sync,
            overlay_part_bytes: (options.overlay_bytes / OVERLAY_PARTS).max(1),
            journal_flush_bytes: options.journal_flush_bytes,
            reserve_bytes: options.reserve_bytes,
        }
    }
}

/// What the journal held that the tree does not have.
pub(super) struct Recovered {
    /// The journal, to go on with.
    pub(super) journal: JournalWriter,
    /// Its entries.
    pub(super) overlay: Arc<Overlay>,
    /// The newest version that was given out.
    pub(super) version: Version,
    /// The newest version that is there; none in an empty store.
    pub(super) replayed: Version,
    /// How many bytes of journal that is.
    pub(super) bytes: u64,
}

/// The committer.
pub(super) struct Committer {
    shared: Arc<Shared>,
    files: Arc<dyn FileLayer>,
    settings: CommitterSettings,
    messages: Receiver<Message>,
    maintenance: Sender<Work>,
    journal: JournalWriter,
    oracle: VersionOracle,
    window: ConflictWindow,
    /// The overlay that commits go to.
    overlay: Arc<Overlay>,
    /// The newest version when it was begun: a snapshot that is older does not read it.
    overlay_since: Version,
    /// Keys that were made and removed in this overlay, to be forgotten when no snapshot is older.
    removed: VecDeque<(Version, Bytes)>,
    /// Bytes appended since the overlay was begun.
    journal_bytes: u64,
    group: GroupBuilder,
    /// The transactions of the group with their versions.
    accepted: Vec<(Box<Submission>, Version)>,
    /// Who is told of a conflict when the group is written: what came first may be in it.
    conflicting: Vec<oneshot::Sender<Result<Committed, CommitError>>>,
    /// As it was when it was looked at.
    space: Space,
    space_checked: Option<Instant>,
    appended_since_space_checked: u64,
    synced: Instant,
    /// When the overlay was begun.
    overlay_began: Instant,
    /// Whether it removes what the tree may have.
    has_removals: bool,
    is_stopping: bool,
}

impl Committer {
    /// A committer that goes on where the journal ends.
    pub(super) fn new(
        shared: Arc<Shared>,
        files: Arc<dyn FileLayer>,
        settings: CommitterSettings,
        messages: Receiver<Message>,
        maintenance: Sender<Work>,
        recovered: Recovered,
    ) -> Self {
        let Recovered { journal, overlay, version, bytes: journal_bytes, .. } = recovered;
        Self {
            shared,
            files,
            settings,
            messages,
            maintenance,
            journal,
            oracle: VersionOracle::after(version),
            window: ConflictWindow::new(version),
            overlay,
            overlay_since: version,
            removed: VecDeque::new(),
            journal_bytes,
            group: GroupBuilder::new(),
            accepted: Vec::new(),
            conflicting: Vec::new(),
            space: Space::Plenty,
            space_checked: None,
            appended_since_space_checked: 0,
            synced: Instant::now(),
            overlay_began: Instant::now(),
            has_removals: journal_bytes > 0,
            is_stopping: false,
        }
    }

    /// Commits until it is told to stop.
    pub(super) fn run(mut self) {
        self.freeze_if_due();
        while !self.is_stopping {
            match self.next_message() {
                Some(Message::Commit(first)) => self.commit_group(first),
                Some(Message::Stop) | None => self.is_stopping = true,
            }
        }
        while let Ok(message) = self.messages.try_recv() {
            if let Message::Commit(late) = message {
                late.refuse(CommitError::Unavailable { reason: "the store is closing".to_owned() });
            }
        }
        if self.shared.closed_reason().is_none() {
            self.finish();
        }
        // Whether maintenance still runs or has ended on its own does not matter.
        let _ = self.maintenance.send(Work::Stop);
    }

    /// The next message; while there is none, what is due by the time is done.
    fn next_message(&mut self) -> Option<Message> {
        loop {
            let is_open = self.shared.closed_reason().is_none();
            let due = self.sync_due().into_iter().chain(self.space_due()).min().filter(|_| is_open);
            let Some(due) = due else { return self.messages.recv().ok() };
            let wait = due.saturating_duration_since(Instant::now());
            match if wait.is_zero() {
                Err(RecvTimeoutError::Timeout)
            } else {
                self.messages.recv_timeout(wait)
            } {
                Ok(message) => return Some(message),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => self.do_what_is_due(),
            }
        }
    }

    /// When what was acknowledged has to be synced.
    fn sync_due(&self) -> Option<Instant> {
        let SyncPolicy::Interval(interval_ms) = self.settings.sync else { return None };
        self.journal.is_dirty().then(|| self.synced + Duration::from_millis(interval_ms))
    }

    /// When the overlay is to be frozen for the sake of space, or that to be looked at. Never twice at once: freezing may
    /// have to wait for the last flush.
    fn space_due(&self) -> Option<Instant> {
        let kept_max = self.space.overlay_kept_max(self.journal_bytes, self.has_removals);
        // Space that comes back by itself is noticed, too.
        let kept_max = kept_max.or_else(|| (self.space != Space::Plenty).then_some(LOW_SPACE_INTERVAL))?;
        let due = self.overlay_began + kept_max;
        Some(self.space_checked.map_or(due, |checked| due.max(checked + LOW_SPACE_INTERVAL)))
    }

    fn do_what_is_due(&mut self) {
        let now = Instant::now();
        if self.sync_due().is_some_and(|due| due <= now)
            && let Err(error) = self.sync()
        {
            self.shared.close(&format!("syncing the journal failed: {error}"));
        }
        if self.space_due().is_some_and(|due| due <= now) {
            self.look_at_space();
            self.freeze_if_due();
        }
    }

    /// Commits a transaction together with all that wait behind it.
    fn commit_group(&mut self, first: Box<Submission>) {
        let began = Instant::now();
        self.check_space();
        self.group.clear();
        let now_ms = self.shared.clock.now_ms();
        self.consider(first, now_ms);
        while self.group.len() < GROUP_MAX_BYTES
            && self.accepted.len() + self.conflicting.len() < GROUP_MAX_TRANSACTIONS
        {
            match self.messages.try_recv() {
                Ok(Message::Commit(next)) => self.consider(next, now_ms),
                Ok(Message::Stop) => {
                    self.is_stopping = true;
                    break;
                }
                Err(_) => break,
            }
        }
        if !self.accepted.is_empty() {
            self.write_and_answer(began);
        }
        for conflicting in self.conflicting.drain(..) {
            let _ = conflicting.send(Err(CommitError::Conflict));
        }
    }

    /// Takes a transaction into the group, or refuses it.
    fn consider(&mut self, submission: Box<Submission>, now_ms: i64) {
        if let Some(reason) = self.shared.closed_reason() {
            return submission.refuse(CommitError::Unavailable { reason });
        }
        let Submission { snapshot, writes, guards, .. } = &*submission;
        if self.window.conflicts(snapshot.version, writes, guards) {
            if !submission.is_relocation {
                add(&self.shared.counters.conflicts, 1);
            }
            return self.conflicting.push(submission.reply);
        }
        if self.shared.is_disk_low() && submission.is_bound_by_reserve() {
            return submission.refuse(CommitError::DiskFull { reserve_bytes: self.settings.reserve_bytes });
        }
        // Within a group the versions follow one by one.
        let is_first = self.group.transactions() == 0;
        let now_ms = if is_first { now_ms } else { 0 };
        if !submission.attempt.take(self.oracle.peek(now_ms)) {
            return;
        }
        let version = self.oracle.next(now_ms);
        if !submission.is_relocation {
            self.window.record(version, writes, guards);
        }
        self.group.add(&submission.transaction);
        self.accepted.push((submission, version));
    }

    fn write_and_answer(&mut self, began: Instant) {
        match self.write_group() {
            Ok(()) => {
                self.shared.counters.count_group(self.accepted.len(), began.elapsed());
                self.shared.set_stalled(false);
                for (submission, version) in self.accepted.drain(..) {
                    let _ = submission.reply.send(Ok(Committed { version }));
                }
                self.window.prune(self.shared.views.oldest_writing());
                self.forget_removed();
                self.freeze_if_due();
                self.throttle();
            }
            Err(AppendError::Full) => {
                self.shared.set_disk_low(true);
                let reserve_bytes = self.settings.reserve_bytes;
                let given_up = self.accepted.iter().filter(|(submission, _)| !submission.attempt.refuse());
                if given_up.count() > 0 {
                    // That they were not applied cannot be written down: the next opening tells.
                    self.shared.close("the disk is full, and did not say so in time");
                } else {
                    // The group's versions are passed over: what was refused stands in nobody's way.
                    self.shared.views.publish(self.oracle.last());
                }
                for (submission, _) in self.accepted.drain(..) {
                    submission.refuse(CommitError::DiskFull { reserve_bytes });
                }
            }
            Err(AppendError::Failed(error)) => {
                self.shared.close(&format!("writing the journal failed: {error}"));
                for (submission, version) in self.accepted.drain(..) {
                    let token = self.shared.runs.token(submission.token_key.clone(), version);
                    submission.refuse(CommitError::Unknown { token });
                }
            }
        }
    }

    /// Writes the group, makes it durable, applies it, publishes it.
    fn write_group(&mut self) -> Result<(), AppendError> {
        if self.journal.make_room(self.group.len())? {
            let number = self.journal.position().segment;
            self.shared.views.change(|view| Arc::make_mut(&mut view.segments).insert(number));
        }
        let last = self.oracle.last();
        let first = Version(last.0 - u64::from(self.group.transactions()) + 1);
        let (header, position) = self.journal.append(&mut self.group, first)?;
        if self.settings.sync == SyncPolicy::Always {
            self.sync().map_err(AppendError::Failed)?;
        }
        self.journal_bytes += header.group_bytes();
        self.appended_since_space_checked += header.group_bytes();
        add(&self.shared.counters.journal_bytes, header.group_bytes());
        let mut overlay = self.overlay.writer(self.oldest_reader());
        let mut key_buffer = Vec::new();
        let applied = header.for_each_change(self.group.body(), position, |version, change| {
            let key = change.key(version, &mut key_buffer);
            let slot = change.change.slot();
            let is_removal = slot.is_none();
            let removed = overlay.apply(key, version, slot, change.is_versioned());
            self.has_removals |= is_removal && removed.is_none();
            self.removed.extend(removed.map(|key| (version, key)));
        });
        applied.expect("what was encoded here can be decoded");
        drop(overlay);
        self.shared.views.publish(last);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.journal.sync()?;
        self.synced = Instant::now();
        Ok(())
    }

    /// The version of the oldest snapshot that reads the overlay. Those that were opened before it was begun read the
    /// ones that it has replaced, however long they live.
    fn oldest_reader(&self) -> Version {
        self.shared.views.oldest_open(self.overlay_since)
    }

    /// Drops the keys that came and went within the overlay and that no snapshot sees.
    fn forget_removed(&mut self) {
        let oldest = self.oldest_reader();
        let count = self.removed.iter().take_while(|(version, _)| *version <= oldest).count();
        if count > 0 {
            self.overlay.forget(self.removed.drain(..count));
        }
    }

    /// Freezes the overlay if it, or the journal since it was begun, is long enough or the space is low, and the last one
    /// is flushed.
    fn freeze_if_due(&mut self) {
        let is_long = self.overlay.bytes() >= self.settings.overlay_part_bytes
            || self.journal_bytes >= self.settings.journal_flush_bytes;
        let kept_max = self.space.overlay_kept_max(self.journal_bytes, self.has_removals);
        let gives_space = kept_max.is_some_and(|max| self.overlay_began.elapsed() >= max);
        if !(is_long || gives_space) || self.shared.views.current().overlays.len() > FROZEN_MAX {
            return;
        }
        // What the tree will cover must not be lost behind it.
        if let Err(error) = self.sync() {
            return self.shared.close(&format!("syncing the journal failed: {error}"));
        }
        let covered = Covered {
            position: self.journal.position(),
            sequence: self.journal.sequence(),
            version: self.oracle.last(),
        };
        let frozen = std::mem::take(&mut self.overlay);
        self.overlay_since = self.oracle.last();
        self.removed.clear();
        self.journal_bytes = 0;
        self.overlay_began = Instant::now();
        self.has_removals = false;
        self.shared.views.change(|view| view.overlays.insert(0, self.overlay.clone()));
        // If maintenance has ended, the store is closed or about to be.
        let _ = self.maintenance.send(Work::Flush(FlushRequest { overlay: frozen, covered }));
    }

    /// Waits a little if flushing has fallen behind, the longer the further, and at most until it has caught up.
    #[expect(clippy::cast_precision_loss, reason = "a ratio that is not exact slows down as well")]
    fn throttle(&mut self) {
        let overlay = self.overlay.bytes() as f64 / self.settings.overlay_part_bytes as f64;
        let journal = self.journal_bytes as f64 / self.settings.journal_flush_bytes as f64;
        let behind = overlay.max(journal) - 1.0;
        if behind > 0.0 {
            let began = Instant::now();
            let wait = THROTTLE_MAX.mul_f64((behind * behind).min(1.0));
            self.shared.views.wait_for_flush(FROZEN_MAX, wait);
            add(&self.shared.counters.throttled_us, micros(began.elapsed()));
            self.freeze_if_due();
        }
    }

    fn check_space(&mut self) {
        let is_recent = self.space_checked.is_some_and(|checked| checked.elapsed() < FREE_SPACE_INTERVAL);
        if is_recent && self.appended_since_space_checked < FREE_SPACE_BYTES && !self.shared.is_disk_low() {
            return;
        }
        self.look_at_space();
    }

    fn look_at_space(&mut self) {
        self.space_checked = Some(Instant::now());
        self.appended_since_space_checked = 0;
        match self.files.free_bytes() {
            Ok(free) => {
                self.space = Space::of(free, self.settings.reserve_bytes);
                self.shared.set_disk_low(self.space != Space::Plenty);
            }
            Err(error) => tracing::warn!(%error, "the free space of the store's disk is not known"),
        }
    }

    /// Ends the journal with a group of nothing, which says that all before it was durable.
    fn finish(&mut self) {
        self.group.clear();
        let ended = self.sync().map_err(AppendError::Failed);
        let ended = ended.and_then(|()| self.journal.make_room(self.group.len()).map(drop));
        let ended = ended.and_then(|()| self.journal.append(&mut self.group, self.oracle.last()).map(drop));
        let ended = ended.and_then(|()| self.sync().map_err(AppendError::Failed));
        if let Err(error) = ended {
            tracing::warn!(?error, "the journal could not be ended; opening it will take what is there");
        }
    }
}
