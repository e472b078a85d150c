//! What a snapshot reads from, and which snapshots are open.
//!
//! What it is: a [`View`] is the overlays, the tree and the segments at one moment; it is replaced, never changed, when
//! an overlay is frozen or flushed and when a segment comes or goes. A [`Snapshot`] is a view and a version.
//!
//! What always holds: a view together with any version that was published while it was the current one gives the whole
//! store at that version, however long the snapshot lives: overlays only gain newer versions, a tree reader stands
//! still, and a segment stays readable as long as a view has it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::iter::Peekable;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;

use super::journal::{Segments, segment_name};
use super::overlay::{self, Overlay};
use super::slot::{Pointer, Slot};
use super::tree::{TreeReader, TreeScan};
use crate::{Clock, Direction, KeyRange, ReadError, Version};

/// Where the entries are.
#[derive(Clone)]
pub(super) struct View {
    /// The overlay that commits go to, then the frozen ones that the tree does not have yet, newest first.
    pub(super) overlays: Vec<Arc<Overlay>>,
    /// What was flushed.
    pub(super) tree: Arc<TreeReader>,
    /// The files with the large values.
    pub(super) segments: Arc<Segments>,
}

impl View {
    /// Where the value of a key is at a version.
    pub(super) fn find(&self, key: &[u8], version: Version) -> Result<Option<Slot>, ReadError> {
        match self.overlays.iter().find_map(|overlay| overlay.get(key, version)) {
            Some(change) => Ok(change),
            None => self.tree.get(key),
        }
    }

    /// The bytes of a value.
    pub(super) fn load(&self, slot: Slot) -> Result<Bytes, ReadError> {
        match slot {
            Slot::Inline(value) => Ok(value),
            Slot::Pointer(pointer) => self.load_pointer(pointer),
        }
    }

    /// The entries of a range at a version.
    pub(super) fn scan(
        &self,
        range: &KeyRange,
        version: Version,
        direction: Direction,
    ) -> Result<Merge, ReadError> {
        let overlays = self.overlays.iter().map(|overlay| overlay.scan(range, version, direction).peekable());
        Ok(Merge {
            overlays: overlays.collect(),
            tree: self.tree.scan(range, direction)?.peekable(),
            direction,
        })
    }

    fn load_pointer(&self, pointer: Pointer) -> Result<Bytes, ReadError> {
        let Pointer { position, len, crc } = pointer;
        let damaged = |what: &str| ReadError::Damaged {
            place: format!(
                "{}, offset {}, {len} bytes: {what}",
                segment_name(position.segment),
                position.offset
            ),
        };
        let segment = self.segments.get(position.segment).ok_or_else(|| damaged("the segment is missing"))?;
        let file = segment.file().map_err(|error| damaged(&error.to_string()))?;
        let value =
            file.read_at(position.offset, len as usize).map_err(|error| damaged(&error.to_string()))?;
        if crc32c::crc32c(&value) != crc {
            return Err(damaged("checksum mismatch"));
        }
        Ok(value.into())
    }
}

/// The entries of overlays and tree in one order, the newest of each key, removed ones left out.
pub(super) struct Merge {
    overlays: Vec<Peekable<overlay::Scan>>,
    tree: Peekable<TreeScan>,
    direction: Direction,
}

impl Merge {
    /// The first key of all sources.
    fn first_key(&mut self) -> Option<Bytes> {
        let mut first = match self.tree.peek() {
            Some(Ok((key, _))) => Some(key),
            Some(Err(_)) | None => None,
        };
        for overlay in &mut self.overlays {
            if let Some((key, _)) = overlay.peek() {
                let is_before = |other: &Bytes| match self.direction {
                    Direction::Forward => key < other,
                    Direction::Backward => key > other,
                };
                if first.is_none_or(is_before) {
                    first = Some(key);
                }
            }
        }
        first.cloned()
    }
}

impl Iterator for Merge {
    type Item = Result<(Bytes, Slot), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(Err(_)) = self.tree.peek() {
                return self.tree.next();
            }
            let key = self.first_key()?;
            let mut newest = None;
            for overlay in &mut self.overlays {
                let here = overlay.next_if(|(other, _)| *other == key);
                newest = newest.or(here.map(|(_, change)| change));
            }
            let is_in_tree = matches!(self.tree.peek(), Some(Ok((other, _))) if *other == key);
            let in_tree = if is_in_tree { self.tree.next() } else { None };
            match newest {
                Some(Some(slot)) => return Some(Ok((key, slot))),
                Some(None) => {}
                None => return in_tree,
            }
        }
    }
}

/// The current view, the newest published version, and the open snapshots.
pub(super) struct Views {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    view: Arc<View>,
    published: Version,
    /// How many snapshots are open at a version.
    open: BTreeMap<Version, usize>,
    /// How many of them may yet be committed.
    writing: BTreeMap<Version, usize>,
    /// How many of those began at a time.
    began: BTreeMap<i64, usize>,
    /// How many of those are being committed: however long that takes, they may yet be applied.
    committing: BTreeMap<i64, usize>,
}

/// What a snapshot is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To read, and perhaps to write what depends on it.
    Writing,
    /// To read only. Nothing is kept for its conflicts, and no time waits for it.
    Reading,
}

impl Views {
    /// Begins with a view that is complete at a version.
    pub(super) fn new(view: View, published: Version) -> Arc<Self> {
        let state = State {
            view: Arc::new(view),
            published,
            open: BTreeMap::new(),
            writing: BTreeMap::new(),
            began: BTreeMap::new(),
            committing: BTreeMap::new(),
        };
        Arc::new(Self { state: Mutex::new(state), changed: Condvar::new() })
    }

    /// Opens a snapshot of everything that was published.
    pub(super) fn open(self: &Arc<Self>, clock: &dyn Clock, purpose: Purpose) -> Snapshot {
        let mut state = self.state();
        let now_ms = clock.now_ms();
        let version = state.published;
        *state.open.entry(version).or_default() += 1;
        if purpose == Purpose::Writing {
            *state.writing.entry(version).or_default() += 1;
            *state.began.entry(now_ms).or_default() += 1;
        }
        let (views, view) = (self.clone(), state.view.clone());
        Snapshot { views, view, version, purpose, began_ms: now_ms, is_committing: false }
    }

    /// Makes all versions up to this one visible to snapshots that are opened from now on.
    pub(super) fn publish(&self, version: Version) {
        self.state().published = version;
    }

    /// The newest version that is visible.
    pub(super) fn published(&self) -> Version {
        self.state().published
    }

    /// The version of the oldest snapshot that is open now or will be, of those that are not older than `since`.
    pub(super) fn oldest_open(&self, since: Version) -> Version {
        let state = self.state();
        state.open.range(since..).next().map_or(state.published, |(version, _)| *version)
    }

    /// The version of the oldest snapshot that is open now or will be, of those that may be committed.
    pub(super) fn oldest_writing(&self) -> Version {
        let state = self.state();
        state.writing.keys().next().copied().unwrap_or(state.published)
    }

    /// The time at which the oldest snapshot was opened that is open now or will be, of those that may be committed: they
    /// are, or can be for `max_ms` after they were opened.
    pub(super) fn oldest_open_ms(&self, clock: &dyn Clock, max_ms: u64) -> i64 {
        let state = self.state();
        // Looked at with the lock held, as by who opens or commits one: nobody has an earlier time still to come.
        let now_ms = clock.now_ms();
        let may_write = state.began.range(now_ms.saturating_sub_unsigned(max_ms)..).next();
        let oldest = may_write.into_iter().chain(state.committing.iter().next());
        oldest.map(|(began_ms, _)| *began_ms).fold(now_ms, i64::min)
    }

    /// Replaces the current view by a changed one.
    pub(super) fn change(&self, change: impl FnOnce(&mut View)) {
        let mut state = self.state();
        let mut view = View::clone(&state.view);
        change(&mut view);
        let replaced = std::mem::replace(&mut state.view, Arc::new(view));
        drop(state);
        self.changed.notify_all();
        // It may be the last one to hold an overlay or a removed file.
        drop(replaced);
    }

    /// Returns when at most so many frozen overlays wait for the tree, or after `timeout`.
    pub(super) fn wait_for_flush(&self, frozen_max: usize, timeout: Duration) {
        let state = self.state();
        let is_behind = |state: &mut State| state.view.overlays.len() > frozen_max;
        let waited = self.changed.wait_timeout_while(state, timeout, is_behind);
        drop(waited.expect("nothing panics with the lock held"));
    }

    /// The current view.
    pub(super) fn current(&self) -> Arc<View> {
        self.state().view.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics with the lock held")
    }
}

/// The store at one version, until it is dropped.
pub(super) struct Snapshot {
    views: Arc<Views>,
    /// What it reads from.
    pub(super) view: Arc<View>,
    /// What it sees: everything up to this.
    pub(super) version: Version,
    /// What it was opened for.
    pub(super) purpose: Purpose,
    /// When it was opened.
    pub(super) began_ms: i64,
    /// Whether it is counted as being committed.
    is_committing: bool,
}

impl Snapshot {
    /// Whether it is older than `max_ms`. If it is not, it counts as open from now on until it is dropped, however long
    /// its commit takes.
    pub(super) fn is_too_old_to_commit(&mut self, clock: &dyn Clock, max_ms: u64) -> bool {
        let mut state = self.views.state();
        let age_ms = clock.now_ms().saturating_sub(self.began_ms);
        if u64::try_from(age_ms).is_ok_and(|age_ms| age_ms > max_ms) {
            return true;
        }
        if !self.is_committing {
            self.is_committing = true;
            *state.committing.entry(self.began_ms).or_default() += 1;
        }
        false
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        let mut state = self.views.state();
        let State { open, writing, began, committing, .. } = &mut *state;
        if self.is_committing {
            count_down(committing, self.began_ms);
        }
        count_down(open, self.version);
        if self.purpose == Purpose::Writing {
            count_down(writing, self.version);
            count_down(began, self.began_ms);
        }
    }
}

fn count_down<K: Ord>(counts: &mut BTreeMap<K, usize>, key: K) {
    let Entry::Occupied(mut count) = counts.entry(key) else {
        panic!("a snapshot is counted when it is opened");
    };
    *count.get_mut() -= 1;
    if *count.get() == 0 {
        count.remove();
    }
}
