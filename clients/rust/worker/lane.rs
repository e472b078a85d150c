//! What keeps the order of records: those with one key are dealt with one after the other.

use bytes::Bytes;
use tidegate_format::ParkedKey;
use uuid::Uuid;

/// Names the digests of keys that are too long to be parked under as they are.
const LONG_KEYS: Uuid = Uuid::from_u128(0x7469_6465_6761_7465_6c6f_6e67_6b65_7973);

/// The records that wait for one another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// Those with a key, or with a long key of this digest.
    Key(Bytes),
    /// A record without a key waits for no other.
    Alone(i64),
}

impl Lane {
    /// The lane of a record.
    pub(crate) fn of(key: Option<&Bytes>, offset: i64) -> Self {
        match key {
            None => Self::Alone(offset),
            Some(key) if key.len() <= ParkedKey::KEY_MAX_BYTES => Self::Key(key.clone()),
            Some(key) => Self::Key(Bytes::copy_from_slice(Uuid::new_v5(&LONG_KEYS, key.as_ref()).as_bytes())),
        }
    }

    /// What its records are parked under.
    pub(crate) fn parked_under(&self) -> Bytes {
        match self {
            Self::Key(key) => key.clone(),
            Self::Alone(_) => Bytes::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_without_a_key_wait_for_nobody_and_long_keys_fit() {
        let key = Bytes::from_static(b"KL1");
        assert_eq!(Lane::of(Some(&key), 1), Lane::of(Some(&key), 2));
        assert_ne!(Lane::of(None, 1), Lane::of(None, 2));
        assert_ne!(Lane::of(None, 1), Lane::of(Some(&Bytes::new()), 1), "an empty key is a key");
        let long = Bytes::from(vec![7; ParkedKey::KEY_MAX_BYTES + 1]);
        let other = Bytes::from(vec![7; ParkedKey::KEY_MAX_BYTES + 2]);
        assert_eq!(Lane::of(Some(&long), 1), Lane::of(Some(&long), 2));
        assert_ne!(Lane::of(Some(&long), 1), Lane::of(Some(&other), 1));
        assert!(Lane::of(Some(&long), 1).parked_under().len() <= ParkedKey::KEY_MAX_BYTES);
    }
}
