//! What a scan reads.

use bytes::Bytes;

/// Keys from `start` (inclusive) to `end` (exclusive), in lexicographic order. Empty if `start >= end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// The first key that belongs to the range.
    pub start: Bytes,
    /// The first key beyond it.
    pub end: Bytes,
}

impl KeyRange {
    /// The range from `start` up to, not including, `end`.
    #[must_use]
    pub fn new(start: impl Into<Bytes>, end: impl Into<Bytes>) -> Self {
        Self { start: start.into(), end: end.into() }
    }

    /// Every key that begins with `prefix`.
    ///
    /// # Panics
    /// If the prefix consists of `0xFF` bytes only (or is empty): such a range has no end that is a key.
    #[must_use]
    pub fn prefix(prefix: &[u8]) -> Self {
        let last = prefix.iter().rposition(|byte| *byte != 0xFF).expect("a prefix with an end");
        let mut end = prefix[..=last].to_vec();
        end[last] += 1;
        Self { start: Bytes::copy_from_slice(prefix), end: end.into() }
    }

    /// Whether no key can lie in the range.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start >= self.end
    }

    /// Whether `key` lies in the range.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.start.as_ref() <= key && key < self.end.as_ref()
    }

    /// The smallest key that sorts after `key`: where the next page of a forward scan starts.
    #[must_use]
    pub fn successor(key: &[u8]) -> Bytes {
        let mut next = Vec::with_capacity(key.len() + 1);
        next.extend_from_slice(key);
        next.push(0);
        next.into()
    }
}

/// From which end of its range a scan reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Smallest key first.
    Forward,
    /// Largest key first.
    Backward,
}

/// Where a scan stops: it ends with the entry that reaches either limit, so a non-empty range gives at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanLimit {
    /// At most this many entries.
    pub count: usize,
    /// No further entry once the values returned have this many bytes.
    pub value_bytes: usize,
}

impl ScanLimit {
    /// At most `count` entries, of at most 64 MiB together.
    #[must_use]
    pub fn count(count: usize) -> Self {
        Self { count, value_bytes: 64 << 20 }
    }
}
