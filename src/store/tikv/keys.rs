//! The keys of a namespace within a cluster that others use, too.
//!
//! A namespace begins with `_tidegate/NAME` and a zero byte; then comes `m` for the mark that says whose it is, `b` for
//! what its transactions keep to, or `d` and a key of the store's user. Key lengths and the namespace's characters are bounded, so none comes near TiKV's limit.

use std::ops::Range;

use bytes::Bytes;

use crate::KeyRange;

const ROOT: &[u8] = b"_tidegate/";
const MARK: u8 = b'm';
const BOUNDS: u8 = b'b';
const DATA: u8 = b'd';

/// The prefix of a namespace, and the way to its keys and back.
#[derive(Clone, Debug)]
pub(super) struct Namespace {
    prefix: Bytes,
    data: Bytes,
}

impl Namespace {
    pub(super) fn new(name: &str) -> Self {
        let prefix: Bytes = [ROOT, name.as_bytes(), &[0]].concat().into();
        let data = [prefix.as_ref(), &[DATA]].concat().into();
        Self { prefix, data }
    }

    /// Everything of all namespaces of the cluster.
    pub(super) fn everybody() -> Range<Vec<u8>> {
        let range = KeyRange::prefix(ROOT);
        range.start.to_vec()..range.end.to_vec()
    }

    /// The namespace in which a key of the cluster lies; none if it lies in none.
    pub(super) fn of(key: &[u8]) -> Option<Self> {
        let rest = key.strip_prefix(ROOT)?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        Some(Self::new(std::str::from_utf8(&rest[..end]).ok()?))
    }

    /// Everything of the namespace.
    pub(super) fn all(&self) -> Range<Vec<u8>> {
        let range = KeyRange::prefix(&self.prefix);
        range.start.to_vec()..range.end.to_vec()
    }

    /// The mark that says whose the namespace is.
    pub(super) fn mark(&self) -> Vec<u8> {
        [self.prefix.as_ref(), &[MARK]].concat()
    }

    /// The row of what the namespace's transactions keep to.
    pub(super) fn bounds(&self) -> Vec<u8> {
        [self.prefix.as_ref(), &[BOUNDS]].concat()
    }

    /// How much longer a key is in the cluster than its user knows it.
    pub(super) fn prefix_bytes(&self) -> usize {
        self.data.len()
    }

    /// The cluster's key for a key of the user.
    pub(super) fn key(&self, key: &[u8]) -> Vec<u8> {
        [self.data.as_ref(), key].concat()
    }

    /// The cluster's range for a range of the user.
    pub(super) fn range(&self, range: &KeyRange) -> Range<Vec<u8>> {
        self.key(&range.start)..self.key(&range.end)
    }

    /// The user's key of a cluster's key.
    pub(super) fn user_key(&self, key: Vec<u8>) -> Bytes {
        let key = Bytes::from(key);
        assert!(key.starts_with(&self.data), "what a scan of the namespace gives lies in it");
        key.slice(self.data.len()..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_and_keep_their_order() {
        let namespace = Namespace::new("a");
        let keys: [&[u8]; 5] = [b"\0", b"a", b"a\0", b"b", b"\xff\xff"];
        let mut last = Vec::new();
        for key in keys {
            let physical = namespace.key(key);
            assert!(physical > last);
            assert!(namespace.all().contains(&physical));
            assert_eq!(namespace.user_key(physical.clone()), key);
            last = physical;
        }
    }

    #[test]
    fn a_key_tells_its_namespace() {
        for name in ["a", "a.b", "orders-2"] {
            let namespace = Namespace::new(name);
            for key in [namespace.mark(), namespace.bounds(), namespace.key(b""), namespace.key(b"\0k")] {
                assert!(Namespace::everybody().contains(&key));
                assert_eq!(Namespace::of(&key).map(|found| found.mark()), Some(namespace.mark()));
            }
        }
        for other in [b"t1".as_slice(), b"_tidegate/", b"_tidegate/a", b"_tidegate/\xff\0m"] {
            assert!(Namespace::of(other).is_none());
        }
    }

    #[test]
    fn namespaces_do_not_overlap() {
        let (short, long) = (Namespace::new("a"), Namespace::new("a.b"));
        assert!(!short.all().contains(&long.key(b"k")));
        assert!(!short.all().contains(&long.mark()));
        assert!(!long.all().contains(&short.key(b"k")));
        assert!(short.all().contains(&short.mark()));
        let keys = [short.mark(), short.bounds(), short.key(b"")];
        assert!(keys.iter().all(|key| keys.iter().filter(|other| *other == key).count() == 1));
    }
}
