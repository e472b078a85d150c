//! What a transaction has written and guarded so far, and how its reads see it.
//!
//! What it is: the bookkeeping that is the same in every backend. The backend reads its snapshot; the write set lays
//! the transaction's own writes over it, and hands everything over at commit.
//!
//! It is public for backends outside of this crate.
//!
//! What it refuses to do: it knows no snapshot, no conflict and no disk.
//!
//! What always holds: keys are 1 to [`KEY_MAX_BYTES`] bytes long and values are not empty (asserted on each write);
//! of several writes of one key the last one counts.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;
use std::ops::Bound;

use bytes::{BufMut, Bytes, BytesMut};

use crate::{CommitError, Direction, KeyRange, ScanLimit, TransactionLimits, Version};

/// How long a key may be.
pub const KEY_MAX_BYTES: usize = 4_096;

/// What a transaction does to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// The key gets this value.
    Put(Bytes),
    /// The key is removed.
    Delete,
}

impl Write {
    /// What a read of the key gives after this write.
    #[must_use]
    pub fn value(&self) -> Option<Bytes> {
        match self {
            Self::Put(value) => Some(value.clone()),
            Self::Delete => None,
        }
    }

    fn value_bytes(&self) -> usize {
        match self {
            Self::Put(value) => value.len(),
            Self::Delete => 0,
        }
    }
}

/// A write whose key holds the version of the commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionedPut {
    /// What the key begins with.
    pub prefix: Bytes,
    /// What follows the version in the key.
    pub suffix: Bytes,
    /// What the key gets.
    pub value: Bytes,
}

impl VersionedPut {
    /// The key that this write has if the transaction commits at `version`.
    #[must_use]
    pub fn key(&self, version: Version) -> Bytes {
        let mut key = BytesMut::with_capacity(self.prefix.len() + size_of::<u64>() + self.suffix.len());
        key.put_slice(&self.prefix);
        key.put_u64(version.0);
        key.put_slice(&self.suffix);
        key.freeze()
    }
}

/// The methods of a [`Txn`](crate::Txn) that keep what they are given in its field `write_set`. A backend with keys of its
/// own names what asserts that a key is none of them, by its end.
#[macro_export]
macro_rules! write_methods {
    ($($assert_end:ident)?) => {
        fn put(&mut self, key: ::bytes::Bytes, value: ::bytes::Bytes) {
            $($assert_end(&key);)?
            self.write_set.put(key, value);
        }

        fn put_versioned(&mut self, prefix: ::bytes::Bytes, suffix: ::bytes::Bytes, value: ::bytes::Bytes) {
            $($assert_end(&suffix);)?
            self.write_set.put_versioned(prefix, suffix, value);
        }

        fn delete(&mut self, key: ::bytes::Bytes) {
            $($assert_end(&key);)?
            self.write_set.delete(key);
        }

        fn guard(&mut self, key: ::bytes::Bytes) {
            $($assert_end(&key);)?
            self.write_set.guard(key);
        }
    };
}

/// The writes and guards of one transaction.
#[derive(Clone, Debug, Default)]
pub struct WriteSet {
    writes: BTreeMap<Bytes, Write>,
    versioned: Vec<VersionedPut>,
    guards: BTreeSet<Bytes>,
    bytes: usize,
    largest_value_bytes: usize,
}

impl WriteSet {
    /// Keeps a put. See [`Txn::put`](crate::Txn::put).
    pub fn put(&mut self, key: Bytes, value: Bytes) {
        assert_value(&value);
        self.insert(key, Write::Put(value));
    }

    /// Keeps a delete. See [`Txn::delete`](crate::Txn::delete).
    pub fn delete(&mut self, key: Bytes) {
        self.insert(key, Write::Delete);
    }

    /// Keeps a put whose key is made at commit. See [`Txn::put_versioned`](crate::Txn::put_versioned).
    pub fn put_versioned(&mut self, prefix: Bytes, suffix: Bytes, value: Bytes) {
        let key_bytes = prefix.len() + size_of::<u64>() + suffix.len();
        assert!(key_bytes <= KEY_MAX_BYTES, "a key has at most {KEY_MAX_BYTES} bytes, not {key_bytes}");
        assert_value(&value);
        self.bytes += key_bytes + value.len();
        self.largest_value_bytes = self.largest_value_bytes.max(value.len());
        self.versioned.push(VersionedPut { prefix, suffix, value });
    }

    /// Keeps a guard. See [`Txn::guard`](crate::Txn::guard).
    pub fn guard(&mut self, key: Bytes) {
        assert_key(&key);
        self.guards.insert(key);
    }

    /// Whether there is nothing to commit: neither a write nor a guard.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.versioned.is_empty() && self.guards.is_empty()
    }

    /// What the transaction itself did to `key`, if anything.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&Write> {
        self.writes.get(key)
    }

    /// Those of `keys` that the snapshot has to be asked for, as the transaction has not written them itself.
    #[must_use]
    pub fn unwritten(&self, keys: &[Bytes]) -> Vec<Bytes> {
        keys.iter().filter(|key| !self.writes.contains_key(*key)).cloned().collect()
    }

    /// The values of `keys`, in their order. `base` gives what the snapshot has; it is called for the
    /// [`unwritten`](Self::unwritten) ones, in their order.
    ///
    /// # Errors
    /// The first of `base`.
    pub fn read_many<E>(
        &self,
        keys: &[Bytes],
        mut base: impl FnMut(&Bytes) -> Result<Option<Bytes>, E>,
    ) -> Result<Vec<Option<Bytes>>, E> {
        let value = |key: &Bytes| match self.get(key) {
            Some(own) => Ok(own.value()),
            None => base(key),
        };
        keys.iter().map(value).collect()
    }

    /// The keys written and what happens to them, in order, without those of [`versioned`](Self::versioned).
    #[must_use]
    pub fn writes(&self) -> &BTreeMap<Bytes, Write> {
        &self.writes
    }

    /// The writes whose keys are made at commit, in the order in which they were made.
    #[must_use]
    pub fn versioned(&self) -> &[VersionedPut] {
        &self.versioned
    }

    /// The keys guarded, in order. Some of them may be written as well, and count as written then.
    #[must_use]
    pub fn guards(&self) -> &BTreeSet<Bytes> {
        &self.guards
    }

    /// How many bytes the keys and values written have together.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Refuses what is over a limit of size.
    ///
    /// # Errors
    /// [`CommitError::TooLarge`].
    pub fn check_size(&self, limits: &TransactionLimits) -> Result<(), CommitError> {
        let refuse_over = |what, actual, limit| {
            if actual > limit { Err(CommitError::TooLarge { what, actual, limit }) } else { Ok(()) }
        };
        refuse_over("value bytes", self.largest_value_bytes, limits.max_value_bytes)?;
        refuse_over("transaction bytes", self.bytes, limits.max_bytes)
    }

    /// A scan: `base` is what the snapshot has in `range`, in the order of `direction`; it is pulled only as far as the
    /// limit asks for, and `load` is called only for what is returned from it.
    ///
    /// # Errors
    /// The first of `base` or `load`.
    pub fn scan<V, E>(
        &self,
        range: &KeyRange,
        limit: ScanLimit,
        direction: Direction,
        base: impl Iterator<Item = Result<(Bytes, V), E>>,
        mut load: impl FnMut(V) -> Result<Bytes, E>,
    ) -> Result<Vec<(Bytes, Bytes)>, E> {
        let mut entries = Vec::new();
        let mut value_bytes = 0;
        if limit.count == 0 {
            return Ok(entries);
        }
        for merged in self.merge(range, direction, base) {
            let (key, value) = merged?;
            let value = match value {
                Merged::Own(value) => value,
                Merged::Base(value) => load(value)?,
            };
            value_bytes += value.len();
            entries.push((key, value));
            if entries.len() == limit.count || value_bytes >= limit.value_bytes {
                break;
            }
        }
        Ok(entries)
    }

    /// A scan for at most `count` keys. `base` is as for [`scan`](Self::scan), its values are not looked at.
    ///
    /// # Errors
    /// The first of `base`.
    pub fn scan_keys<V, E>(
        &self,
        range: &KeyRange,
        count: usize,
        direction: Direction,
        base: impl Iterator<Item = Result<(Bytes, V), E>>,
    ) -> Result<Vec<Bytes>, E> {
        self.merge(range, direction, base).take(count).map(|merged| merged.map(|(key, _)| key)).collect()
    }

    fn merge<'a, V, E, I>(&'a self, range: &KeyRange, direction: Direction, base: I) -> Merge<'a, I>
    where
        I: Iterator<Item = Result<(Bytes, V), E>>,
    {
        let own: Box<dyn Iterator<Item = (&Bytes, &Write)> + 'a> = if range.is_empty() {
            Box::new(std::iter::empty())
        } else {
            let bounds = (Bound::Included(range.start.clone()), Bound::Excluded(range.end.clone()));
            let own = self.writes.range(bounds);
            match direction {
                Direction::Forward => Box::new(own),
                Direction::Backward => Box::new(own.rev()),
            }
        };
        Merge { own: own.peekable(), base: base.peekable(), direction }
    }

    fn insert(&mut self, key: Bytes, write: Write) {
        assert_key(&key);
        self.largest_value_bytes = self.largest_value_bytes.max(write.value_bytes());
        self.bytes += key.len() + write.value_bytes();
        let key_bytes = key.len();
        if let Some(replaced) = self.writes.insert(key, write) {
            self.bytes -= key_bytes + replaced.value_bytes();
        }
    }
}

/// Where an entry of a merged scan comes from.
enum Merged<V> {
    Own(Bytes),
    Base(V),
}

/// The entries of the snapshot with the transaction's own writes over them.
struct Merge<'a, I: Iterator> {
    own: Peekable<Box<dyn Iterator<Item = (&'a Bytes, &'a Write)> + 'a>>,
    base: Peekable<I>,
    direction: Direction,
}

impl<V, E, I: Iterator<Item = Result<(Bytes, V), E>>> Iterator for Merge<'_, I> {
    type Item = Result<(Bytes, Merged<V>), E>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let own_comes_first = match (self.own.peek(), self.base.peek()) {
                (None, None) => return None,
                (_, Some(Err(_))) | (None, Some(_)) => false,
                (Some(_), None) => true,
                (Some((own, _)), Some(Ok((base, _)))) => {
                    let order = match self.direction {
                        Direction::Forward => own.as_ref().cmp(base.as_ref()),
                        Direction::Backward => base.as_ref().cmp(own.as_ref()),
                    };
                    if order.is_eq() {
                        self.base.next();
                    }
                    order.is_le()
                }
            };
            if !own_comes_first {
                return self.base.next().map(|entry| entry.map(|(key, value)| (key, Merged::Base(value))));
            }
            if let Some((key, Write::Put(value))) = self.own.next() {
                return Some(Ok((key.clone(), Merged::Own(value.clone()))));
            }
        }
    }
}

fn assert_key(key: &[u8]) {
    let bytes = key.len();
    assert!((1..=KEY_MAX_BYTES).contains(&bytes), "a key has 1 to {KEY_MAX_BYTES} bytes, not {bytes}");
}

fn assert_value(value: &[u8]) {
    assert!(!value.is_empty(), "a value is not empty");
}

#[cfg(test)]
#[path = "write_set_tests.rs"]
mod tests;
