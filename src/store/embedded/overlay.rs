//! The newest entries, in memory: what the tree does not have yet.
//!
//! What it is: a map from key to its versions, written by the committer alone and read by everybody. A frozen overlay
//! is one that gets no more writes and waits to be written to the tree.
//!
//! What it refuses to do: it keeps no large value (those stay in the journal) and no version that nobody can read.
//!
//! What always holds: a reader at a snapshot sees of each key the newest version that is not newer, whatever the
//! committer adds meanwhile; no lock is held between two steps of a scan.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;

use super::slot::Slot;
use crate::{Direction, KeyRange, Version};

/// What one entry takes in the map's nodes, which are little more than half full where keys come in order.
const NODE_BYTES: usize = (size_of::<Bytes>() + size_of::<History>()) * 2;
/// What one older version takes beside its value.
const OLDER_VERSION_BYTES: usize = size_of::<(Version, Change)>();
/// What an allocation takes beside what it was asked for, on average and with rounding.
const ALLOCATION_BYTES: usize = 16;
/// How many entries a scan copies under one lock: the first time, and at most.
const SCAN_STEP_FIRST: usize = 8;
const SCAN_STEP_MAX: usize = 256;

/// What a commit does to a key: a value, or a removal.
pub(super) type Change = Option<Slot>;

/// A key through time.
struct History {
    newest: (Version, Change),
    /// Older versions that a snapshot may read, oldest first.
    older: Vec<(Version, Change)>,
    /// Whether neither the tree nor an older overlay can have the key, since its name was made at commit.
    born_here: bool,
}

impl History {
    fn visible_at(&self, snapshot: Version) -> Option<&Change> {
        if self.newest.0 <= snapshot {
            return Some(&self.newest.1);
        }
        self.older.iter().rev().find(|(version, _)| *version <= snapshot).map(|(_, change)| change)
    }

    /// How many of the older versions no snapshot from `oldest_open` on can read.
    fn unread_versions(&self, oldest_open: Version) -> usize {
        if self.newest.0 <= oldest_open {
            return self.older.len();
        }
        self.older.partition_point(|(version, _)| *version <= oldest_open).saturating_sub(1)
    }
}

/// One overlay.
#[derive(Default)]
pub(super) struct Overlay {
    map: RwLock<BTreeMap<Bytes, History>>,
    bytes: AtomicUsize,
}

impl Overlay {
    /// How much memory it takes, as the allocator has it.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// What a snapshot reads of a key here: `None` if this overlay knows nothing of it.
    pub(super) fn get(&self, key: &[u8], snapshot: Version) -> Option<Change> {
        self.read().get(key)?.visible_at(snapshot).cloned()
    }

    /// Takes the lock to add changes. `oldest_open` is the oldest snapshot that is open or can still be opened.
    pub(super) fn writer(&self, oldest_open: Version) -> OverlayWriter<'_> {
        let map = self.map.write().expect("nothing panics with the lock held");
        OverlayWriter { map, bytes: &self.bytes, oldest_open }
    }

    /// Drops keys that were born here and whose newest change is the removal at that version. No snapshot is open that
    /// is older.
    pub(super) fn forget(&self, keys: impl Iterator<Item = (Version, Bytes)>) {
        let mut map = self.map.write().expect("nothing panics with the lock held");
        for (version, key) in keys {
            let is_gone = map.get(&key).is_some_and(|history| history.newest == (version, None));
            if is_gone && let Some(history) = map.remove(&key) {
                let values: usize = history.older.iter().map(|(_, change)| change_bytes(change)).sum();
                let bytes = entry_bytes(&key, &history.newest.1) + values + older_bytes(&history.older);
                self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            }
        }
    }

    /// Calls `write` with the newest change of each key, in key order, leaving out what never needs to reach the tree.
    pub(super) fn for_each_newest<E>(
        &self,
        mut write: impl FnMut(&Bytes, &Change) -> Result<(), E>,
    ) -> Result<(), E> {
        for (key, history) in self.read().iter() {
            if !(history.born_here && history.newest.1.is_none()) {
                write(key, &history.newest.1)?;
            }
        }
        Ok(())
    }

    /// The entries of a range at a snapshot, removals included.
    pub(super) fn scan(self: &Arc<Self>, range: &KeyRange, snapshot: Version, direction: Direction) -> Scan {
        Scan {
            overlay: self.clone(),
            snapshot,
            direction,
            start: Bound::Included(range.start.clone()),
            end: Bound::Excluded(range.end.clone()),
            step: SCAN_STEP_FIRST,
            read: VecDeque::new(),
            exhausted: range.is_empty(),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Bytes, History>> {
        self.map.read().expect("nothing panics with the lock held")
    }
}

/// Adds changes to an overlay, with its lock held.
pub(super) struct OverlayWriter<'a> {
    map: RwLockWriteGuard<'a, BTreeMap<Bytes, History>>,
    bytes: &'a AtomicUsize,
    oldest_open: Version,
}

impl OverlayWriter<'_> {
    /// Adds a change, dropping versions of the key that no snapshot can read any more. `born_here` says that the key
    /// was made by this commit and exists nowhere else. Gives the key if it was born here and is now removed: then
    /// [`Overlay::forget`] may drop it as soon as no snapshot is open that is older than `version`.
    pub(super) fn apply(
        &mut self,
        key: &[u8],
        version: Version,
        change: Change,
        born_here: bool,
    ) -> Option<Bytes> {
        let Some(history) = self.map.get_mut(key) else {
            self.bytes.fetch_add(entry_bytes(key, &change), Ordering::Relaxed);
            let history = History { newest: (version, change), older: Vec::new(), born_here };
            self.map.insert(Bytes::copy_from_slice(key), history);
            return None;
        };
        let mut dropped = older_bytes(&history.older);
        let mut added = change_bytes(&change);
        let unread = history.unread_versions(self.oldest_open);
        dropped += history.older.drain(..unread).map(|(_, change)| change_bytes(&change)).sum::<usize>();
        let may_be_forgotten = history.born_here && change.is_none();
        let replaced = std::mem::replace(&mut history.newest, (version, change));
        if history.older.is_empty() {
            // Mostly there is but one, and by itself a vector begins with room for four.
            history.older.reserve_exact(1);
        }
        history.older.push(replaced);
        added += older_bytes(&history.older);
        self.bytes.fetch_add(added, Ordering::Relaxed);
        self.bytes.fetch_sub(dropped, Ordering::Relaxed);
        may_be_forgotten.then(|| Bytes::copy_from_slice(key))
    }
}

fn entry_bytes(key: &[u8], newest: &Change) -> usize {
    NODE_BYTES + key.len() + ALLOCATION_BYTES + change_bytes(newest)
}

fn older_bytes(older: &Vec<(Version, Change)>) -> usize {
    if older.capacity() == 0 { 0 } else { older.capacity() * OLDER_VERSION_BYTES + ALLOCATION_BYTES }
}

fn change_bytes(change: &Change) -> usize {
    match change {
        Some(Slot::Inline(value)) => value.len() + ALLOCATION_BYTES,
        Some(Slot::Pointer(_)) | None => 0,
    }
}

/// A scan of one overlay. It copies a few entries at a time and holds no lock in between.
pub(super) struct Scan {
    overlay: Arc<Overlay>,
    snapshot: Version,
    direction: Direction,
    start: Bound<Bytes>,
    end: Bound<Bytes>,
    step: usize,
    read: VecDeque<(Bytes, Change)>,
    exhausted: bool,
}

impl Scan {
    /// Reads the next step, which may turn out to hold nothing that the snapshot sees.
    fn read_step(&mut self) {
        let overlay = self.overlay.clone();
        let map = overlay.read();
        let mut range = map.range::<Bytes, _>((self.start.as_ref(), self.end.as_ref()));
        let mut last = None;
        for _ in 0..self.step {
            let next = match self.direction {
                Direction::Forward => range.next(),
                Direction::Backward => range.next_back(),
            };
            let Some((key, history)) = next else {
                self.exhausted = true;
                return;
            };
            last = Some(key);
            if let Some(change) = history.visible_at(self.snapshot) {
                self.read.push_back((key.clone(), change.clone()));
            }
        }
        if let Some(last) = last {
            match self.direction {
                Direction::Forward => self.start = Bound::Excluded(last.clone()),
                Direction::Backward => self.end = Bound::Excluded(last.clone()),
            }
        }
        self.exhausted = range.next().is_none();
        self.step = (self.step * 2).min(SCAN_STEP_MAX);
    }
}

impl Iterator for Scan {
    type Item = (Bytes, Change);

    fn next(&mut self) -> Option<Self::Item> {
        while self.read.is_empty() && !self.exhausted {
            self.read_step();
        }
        self.read.pop_front()
    }
}
