//! The store in memory: the backend for tests, and the plainest reading of what every other backend must do.
//!
//! What it is: a map from key to its history of versions. A transaction reads the newest version that is not newer
//! than its snapshot; a commit is checked against the histories and applied under one lock.
//!
//! What it refuses to do: it keeps nothing when the last handle is dropped, and never fails but for conflicts and
//! limits ([`FaultyStore`](crate::FaultyStore) makes it fail).
//!
//! What always holds: a version is dropped only when no open snapshot can read it and no open transaction needs it to
//! see a conflict.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

use crate::clock::GatedClock;
use crate::oracle::VersionOracle;
use crate::write_set::WriteSet;
use crate::{
    Clock, CommitError, CommitToken, Committed, Direction, KeyRange, Outcome, ReadError, ScanLimit, Store,
    TransactionLimits, Txn, Version,
};

/// How many keys [`Store::delete_range`] removes at a time.
const DELETE_RANGE_STEP_KEYS: usize = 1_000;

/// A store in memory. Clones are handles on the same map.
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

struct Shared {
    clock: GatedClock,
    limits: TransactionLimits,
    state: Mutex<State>,
}

impl MemoryStore {
    /// An empty store that takes its time from `clock`, with the default limits.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::with_limits(clock, TransactionLimits::default())
    }

    /// An empty store that takes its time from `clock`.
    #[must_use]
    pub fn with_limits(clock: Arc<dyn Clock>, limits: TransactionLimits) -> Self {
        // Tests that make the clock jump want to see it do so.
        let clock = GatedClock::new(clock, i64::MAX);
        Self { shared: Arc::new(Shared { clock, limits, state: Mutex::default() }) }
    }

    /// How many versions of keys are kept, removals included: what tests of pruning look at.
    #[must_use]
    pub fn kept_versions(&self) -> usize {
        self.shared.state().histories.values().map(|history| history.versions.len()).sum()
    }
}

impl MemoryStore {
    fn open(&self, may_write: bool) -> MemoryTxn {
        let mut state = self.shared.state();
        let began_ms = self.shared.clock.now_ms();
        let start_version = state.open_snapshot(began_ms);
        if may_write {
            state.writing.insert((began_ms, start_version));
        }
        drop(state);
        let (shared, write_set) = (self.shared.clone(), WriteSet::default());
        MemoryTxn { shared, start_version, began_ms, may_write, write_set }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics with the lock held")
    }
}

impl Store for MemoryStore {
    type Txn = MemoryTxn;

    async fn begin(&self) -> Result<MemoryTxn, ReadError> {
        Ok(self.open(true))
    }

    async fn begin_reading(&self) -> Result<MemoryTxn, ReadError> {
        Ok(self.open(false))
    }

    async fn delete_range(&self, range: KeyRange) -> Result<(), CommitError> {
        while self.shared.state().delete_step(&range, self.shared.clock.now_ms()) {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// No commit of this backend is ever unknown: whatever the token names was not applied here.
    async fn outcome(&self, _token: &CommitToken) -> Result<Outcome, ReadError> {
        Ok(Outcome::NotApplied)
    }

    fn now_ms(&self) -> i64 {
        self.shared.clock.now_ms()
    }

    fn oldest_open_ms(&self) -> i64 {
        let state = self.shared.state();
        // Looked at with the lock held, as by who opens and commits.
        let now_ms = self.shared.clock.now_ms();
        let may_write_from = now_ms.saturating_sub_unsigned(self.shared.limits.max_ms);
        let oldest = state.writing.range((may_write_from, Version::default())..).next();
        oldest.map_or(now_ms, |(began_ms, _)| now_ms.min(*began_ms))
    }

    fn clock_steps_back(&self) -> u64 {
        self.shared.clock.steps_back()
    }
}

/// A transaction of a [`MemoryStore`].
pub struct MemoryTxn {
    shared: Arc<Shared>,
    start_version: Version,
    began_ms: i64,
    may_write: bool,
    write_set: WriteSet,
}

impl MemoryTxn {
    /// Whether it writes or guards and has outlived its time.
    fn has_expired(&self) -> bool {
        let age_ms = self.shared.clock.now_ms().saturating_sub(self.began_ms);
        !self.write_set.is_empty()
            && u64::try_from(age_ms).is_ok_and(|age_ms| age_ms > self.shared.limits.max_ms)
    }

    fn check_age(&self) -> Result<(), ReadError> {
        if self.has_expired() {
            return Err(ReadError::Expired { max_ms: self.shared.limits.max_ms });
        }
        Ok(())
    }
}

impl Txn for MemoryTxn {
    fn start_version(&self) -> Version {
        self.start_version
    }

    async fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        self.check_age()?;
        if let Some(own) = self.write_set.get(key) {
            return Ok(own.value());
        }
        Ok(self.shared.state().value(key, self.start_version))
    }

    async fn get_many(&mut self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, ReadError> {
        self.check_age()?;
        let state = self.shared.state();
        self.write_set.read_many(keys, |key| Ok(state.value(key, self.start_version)))
    }

    async fn scan(
        &mut self,
        range: &KeyRange,
        limit: ScanLimit,
        direction: Direction,
    ) -> Result<Vec<(Bytes, Bytes)>, ReadError> {
        self.check_age()?;
        let state = self.shared.state();
        let base = state.visible(range, self.start_version, direction);
        self.write_set.scan(range, limit, direction, base, |value: &Bytes| Ok(value.clone()))
    }

    async fn scan_keys(
        &mut self,
        range: &KeyRange,
        count: usize,
        direction: Direction,
    ) -> Result<Vec<Bytes>, ReadError> {
        self.check_age()?;
        let state = self.shared.state();
        self.write_set.scan_keys(range, count, direction, state.visible(range, self.start_version, direction))
    }

    crate::write_methods!();

    async fn commit(self) -> Result<Committed, CommitError> {
        self.write_set.check_size(&self.shared.limits)?;
        assert!(
            self.may_write || self.write_set.is_empty(),
            "a transaction that was begun to read has written"
        );
        let mut state = self.shared.state();
        // With the lock held: what has not expired here is still counted as open until it is applied.
        if self.has_expired() {
            return Err(CommitError::Expired { max_ms: self.shared.limits.max_ms });
        }
        let now_ms = self.shared.clock.now_ms();
        if state.conflicts(&self.write_set, self.start_version) {
            return Err(CommitError::Conflict);
        }
        let version = state.apply(&self.write_set, now_ms);
        drop(state);
        Ok(Committed { version })
    }
}

impl Drop for MemoryTxn {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.close_snapshot(self.start_version);
        state.writing.remove(&(self.began_ms, self.start_version));
    }
}

/// Everything that the store holds.
#[derive(Default)]
struct State {
    histories: BTreeMap<Bytes, History>,
    oracle: VersionOracle,
    /// The snapshots of the transactions that are open. No two have the same version.
    open: BTreeSet<Version>,
    /// Those of them that may yet be committed, by when they began.
    writing: BTreeSet<(i64, Version)>,
    /// Which keys can be pruned once every open snapshot is of at least that version, oldest first.
    to_prune: VecDeque<(Version, Bytes)>,
}

/// One key through time.
#[derive(Default)]
struct History {
    /// The values since what the oldest open snapshot reads, oldest first; `None` is a removal.
    versions: Vec<(Version, Option<Bytes>)>,
    /// The newest commit that guarded the key.
    guarded_at: Version,
}

impl History {
    fn visible_at(&self, snapshot: Version) -> Option<&Bytes> {
        self.versions.iter().rev().find(|(version, _)| *version <= snapshot)?.1.as_ref()
    }

    fn written_at(&self) -> Version {
        self.versions.last().map_or(Version::default(), |(version, _)| *version)
    }

    /// Drops what no snapshot from `oldest` on can read; whether nothing is left.
    fn prune(&mut self, oldest: Version) -> bool {
        let read_by_oldest = self.versions.iter().rposition(|(version, _)| *version <= oldest);
        if let Some(position) = read_by_oldest {
            let removed = self.versions[position].1.is_none();
            self.versions.drain(..position + usize::from(removed));
        }
        self.versions.is_empty() && self.guarded_at <= oldest
    }
}

impl State {
    fn open_snapshot(&mut self, now_ms: i64) -> Version {
        let version = self.oracle.next(now_ms);
        self.open.insert(version);
        version
    }

    fn close_snapshot(&mut self, version: Version) {
        let was_open = self.open.remove(&version);
        assert!(was_open, "a transaction's snapshot is open as long as the transaction");
        self.prune();
    }

    fn value(&self, key: &[u8], snapshot: Version) -> Option<Bytes> {
        self.histories.get(key)?.visible_at(snapshot).cloned()
    }

    fn visible(
        &self,
        range: &KeyRange,
        snapshot: Version,
        direction: Direction,
    ) -> impl Iterator<Item = Result<(Bytes, &Bytes), ReadError>> {
        let end = range.end.clone().max(range.start.clone());
        let histories = self.histories.range((Bound::Included(range.start.clone()), Bound::Excluded(end)));
        let (forward, backward) = match direction {
            Direction::Forward => (Some(histories), None),
            Direction::Backward => (None, Some(histories.rev())),
        };
        let in_order = forward.into_iter().flatten().chain(backward.into_iter().flatten());
        in_order.filter_map(move |(key, history)| Some(Ok((key.clone(), history.visible_at(snapshot)?))))
    }

    /// Whether a commit after `snapshot` wrote what the set writes or guards, or guarded what it writes.
    fn conflicts(&self, set: &WriteSet, snapshot: Version) -> bool {
        let written_since = |key: &Bytes| self.histories.get(key).is_some_and(|h| h.written_at() > snapshot);
        let guarded_since = |key: &Bytes| self.histories.get(key).is_some_and(|h| h.guarded_at > snapshot);
        set.writes().keys().any(|key| written_since(key) || guarded_since(key))
            || set.guards().iter().any(written_since)
    }

    fn apply(&mut self, set: &WriteSet, now_ms: i64) -> Version {
        let version = self.oracle.next(now_ms);
        for key in set.guards() {
            self.histories.entry(key.clone()).or_default().guarded_at = version;
            self.to_prune.push_back((version, key.clone()));
        }
        for (key, write) in set.writes() {
            self.write(key.clone(), version, write.value());
        }
        for put in set.versioned() {
            self.write(put.key(version), version, Some(put.value.clone()));
        }
        version
    }

    fn write(&mut self, key: Bytes, version: Version, value: Option<Bytes>) {
        let history = self.histories.entry(key.clone()).or_default();
        if !history.versions.is_empty() || value.is_none() {
            self.to_prune.push_back((version, key));
        }
        history.versions.push((version, value));
    }

    /// Removes some keys of the range; whether there may be more.
    fn delete_step(&mut self, range: &KeyRange, now_ms: i64) -> bool {
        let version = self.oracle.next(now_ms);
        let present =
            self.visible(range, version, Direction::Forward).filter_map(|entry| Some(entry.ok()?.0));
        let keys: Vec<Bytes> = present.take(DELETE_RANGE_STEP_KEYS).collect();
        for key in &keys {
            self.write(key.clone(), version, None);
        }
        self.prune();
        keys.len() == DELETE_RANGE_STEP_KEYS
    }

    fn prune(&mut self) {
        let oldest = self.open.first().copied().unwrap_or(Version(u64::MAX));
        while self.to_prune.front().is_some_and(|(version, _)| *version <= oldest) {
            let Some((_, key)) = self.to_prune.pop_front() else { return };
            if let Entry::Occupied(mut history) = self.histories.entry(key)
                && history.get_mut().prune(oldest)
            {
                history.remove();
            }
        }
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
