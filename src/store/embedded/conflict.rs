//! Which keys were written and guarded lately: what commits are checked against.
//!
//! What it is: hashes of keys with the newest version that wrote or guarded them, in generations of bounded size. A
//! generation is dropped as a whole when no open snapshot is older than it, so that pruning costs nothing per commit.
//!
//! What always holds: a transaction is never told that it has no conflict when it has one. One that is older than what
//! is remembered has a conflict, and so have two keys that share a hash (64 bits, seeded per process).

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

use crate::Version;

/// How many keys a generation has before the next one is begun.
const GENERATION_KEYS: usize = 32_768;
/// How many generations are kept for transactions that take long; after that they conflict.
const GENERATIONS_MAX: usize = 32;

/// The hash of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct KeyHash(u64);

/// Hashes keys.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyHasher(RandomState);

impl KeyHasher {
    /// The hash of a key.
    pub(super) fn hash(&self, key: &[u8]) -> KeyHash {
        KeyHash(self.0.hash_one(key))
    }
}

#[derive(Default)]
struct Generation {
    keys: HashMap<KeyHash, Touched>,
    /// The newest version of this generation and those before: never lower than theirs.
    newest: Version,
}

#[derive(Default)]
struct Touched {
    written_at: Version,
    guarded_at: Version,
}

/// The window.
pub(super) struct ConflictWindow {
    /// Oldest first; there is always one.
    generations: VecDeque<Generation>,
    /// Everything after this version is remembered.
    floor: Version,
}

impl ConflictWindow {
    /// A window that remembers everything after `floor`.
    pub(super) fn new(floor: Version) -> Self {
        Self { generations: VecDeque::from([Generation::default()]), floor }
    }

    /// Whether a commit after `start` wrote what the transaction writes or guards, or guarded what it writes.
    pub(super) fn conflicts(&self, start: Version, writes: &[KeyHash], guards: &[KeyHash]) -> bool {
        if start < self.floor {
            return true;
        }
        let since = self.generations.iter().rev().take_while(|generation| generation.newest > start);
        since.into_iter().any(|Generation { keys, .. }| {
            let touched_since = |key| {
                keys.get(key)
                    .is_some_and(|Touched { written_at, guarded_at }| (*written_at).max(*guarded_at) > start)
            };
            let written_since = |key| keys.get(key).is_some_and(|touched| touched.written_at > start);
            writes.iter().any(touched_since) || guards.iter().any(written_since)
        })
    }

    /// Remembers a commit.
    pub(super) fn record(&mut self, version: Version, writes: &[KeyHash], guards: &[KeyHash]) {
        let current = self.generations.back_mut().expect("there is always a generation");
        current.newest = version;
        for key in writes {
            current.keys.entry(*key).or_default().written_at = version;
        }
        for key in guards {
            current.keys.entry(*key).or_default().guarded_at = version;
        }
    }

    /// Forgets what no snapshot from `oldest_open` on can conflict with, and what is too much.
    pub(super) fn prune(&mut self, oldest_open: Version) {
        let current = self.generations.back().expect("there is always a generation");
        if current.keys.len() >= GENERATION_KEYS {
            // It is as new as the one before until it has a commit: whoever looks back looks past it.
            let newest = current.newest;
            self.generations.push_back(Generation { keys: HashMap::new(), newest });
        }
        while self.generations.len() > 1
            && (self.generations[0].newest <= oldest_open || self.generations.len() > GENERATIONS_MAX)
        {
            if let Some(forgotten) = self.generations.pop_front() {
                self.floor = self.floor.max(forgotten.newest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(keys: &[&str]) -> Vec<KeyHash> {
        keys.iter()
            .map(|key| KeyHash(key.bytes().fold(7, |hash, byte| hash * 31 + u64::from(byte))))
            .collect()
    }

    #[test]
    fn a_key_written_since_the_snapshot_is_a_conflict_for_writers_and_guards() {
        let mut window = ConflictWindow::new(Version(10));
        window.record(Version(11), &hashes(&["a"]), &[]);
        assert!(window.conflicts(Version(10), &hashes(&["a"]), &[]));
        assert!(window.conflicts(Version(10), &hashes(&["b"]), &hashes(&["a"])));
        assert!(!window.conflicts(Version(11), &hashes(&["a"]), &hashes(&["a"])));
        assert!(!window.conflicts(Version(10), &hashes(&["b"]), &[]));
    }

    #[test]
    fn a_key_guarded_since_the_snapshot_is_a_conflict_for_writers_only() {
        let mut window = ConflictWindow::new(Version(10));
        window.record(Version(11), &[], &hashes(&["a"]));
        assert!(window.conflicts(Version(10), &hashes(&["a"]), &[]));
        assert!(!window.conflicts(Version(10), &hashes(&["b"]), &hashes(&["a"])));
    }

    #[test]
    fn what_is_older_than_the_window_conflicts_whatever_it_writes() {
        let mut window = ConflictWindow::new(Version(0));
        let mut version = 0;
        for _ in 0..=GENERATIONS_MAX {
            version += 1;
            let keys: Vec<_> = (0..GENERATION_KEYS as u64).map(KeyHash).collect();
            window.record(Version(version), &keys, &[]);
            window.prune(Version(0));
        }
        let other = [KeyHash(u64::MAX)];
        assert!(window.conflicts(Version(0), &other, &[]));
        assert!(!window.conflicts(Version(version), &other, &[]));
        assert!(!window.conflicts(Version(version - 1), &other, &[]));
    }

    #[test]
    fn the_first_commit_after_a_generation_was_begun_conflicts_with_those_of_the_one_before() {
        let mut window = ConflictWindow::new(Version(0));
        let keys: Vec<_> = (0..GENERATION_KEYS as u64).map(KeyHash).collect();
        window.record(Version(1), &keys, &[]);
        window.prune(Version(0));
        assert_eq!(window.generations.len(), 2);
        assert!(window.conflicts(Version(0), &keys[..1], &[]));
        assert!(window.conflicts(Version(0), &[], &keys[..1]));
        assert!(!window.conflicts(Version(1), &keys[..1], &keys[..1]));
    }

    #[test]
    fn a_generation_goes_when_no_snapshot_needs_it() {
        let mut window = ConflictWindow::new(Version(0));
        let keys: Vec<_> = (0..GENERATION_KEYS as u64).map(KeyHash).collect();
        window.record(Version(1), &keys, &[]);
        window.prune(Version(0));
        assert_eq!(window.generations.len(), 2);
        window.prune(Version(1));
        assert_eq!(window.generations.len(), 1);
    }
}
