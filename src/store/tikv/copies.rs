//! How much of a transaction its commit copies. Pure: a write set in, bytes or a refusal out.
//!
//! The client sends a transaction in parts of 16 KiB, and lays a copy of all its keys into each part before the first one
//! leaves. So what a commit takes of memory and sends grows with the square of the number of entries: 100,000 small ones
//! are more than a gigabyte. Over a limit it is refused here, before anything is copied or sent.
//!
//! What always holds: what is over the limit is over it by the number of its keys, as half as many of the same size copy a
//! quarter. Few large values are bounded by their bytes long before.

use std::time::Duration;

use crate::CommitError;
use crate::write_set::{Write, WriteSet};

/// How many bytes the copies of one commit may take: a process has several at a time. A stock producer's batch of 10,000
/// scheduled records fits, with an entry for each record and one for its name.
const COPIES_MAX_BYTES: u128 = 512 << 20;
/// The same for a commit that has an order version, and must be in its place soon after (`commit.max.ms`).
const ORDERED_COPIES_MAX_BYTES: u128 = 128 << 20;
/// How many bytes of copies are sent in a second, at least: about half of what two busy cores did.
const COPIES_PER_SECOND: u128 = 64 << 20;
/// The longest [`Copies::patience`] of what is not refused.
pub(super) const PATIENCE_MAX: Duration = Duration::from_secs(8);
const _: () = assert!(PATIENCE_MAX.as_secs() as u128 * COPIES_PER_SECOND >= COPIES_MAX_BYTES);
/// How many bytes of keys and values the client sends in one part, unless one entry is larger.
const PART_BYTES: u128 = 16 << 10;
/// What a copy of a key takes beside its bytes: where it lies, and what the allocator adds.
const KEY_COPY_BYTES: usize = 40;

/// What is said to be over its limit.
const WHAT: &str = "transaction keys";

/// What a transaction copies to commit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Copies {
    keys: usize,
    key_bytes: usize,
    value_bytes: usize,
}

impl Copies {
    /// Those of a write set; keys have `prefix_bytes` more in the cluster than there.
    pub(super) fn of(write_set: &WriteSet, prefix_bytes: usize) -> Self {
        let mut copies = Self::default();
        let mut add = |key_bytes: usize, value_bytes: usize| {
            copies.keys += 1;
            copies.key_bytes += prefix_bytes + key_bytes;
            copies.value_bytes += value_bytes;
        };
        for (key, write) in write_set.writes() {
            let value_bytes = match write {
                Write::Put(value) => value.len(),
                Write::Delete => 0,
            };
            add(key.len(), value_bytes);
        }
        for put in write_set.versioned() {
            add(put.prefix.len() + size_of::<u64>() + put.suffix.len(), put.value.len());
        }
        for key in write_set.guards().iter().filter(|key| write_set.get(key).is_none()) {
            add(key.len(), 0);
        }
        copies
    }

    /// Refuses what would copy too much; `is_ordered` says whether it has an order version.
    ///
    /// # Errors
    /// [`CommitError::TooLarge`], with the number of keys of this size that would do.
    pub(super) fn check(self, is_ordered: bool) -> Result<(), CommitError> {
        let limit = self.keys_max(if is_ordered { ORDERED_COPIES_MAX_BYTES } else { COPIES_MAX_BYTES });
        if self.keys > limit {
            return Err(CommitError::TooLarge { what: WHAT, actual: self.keys, limit });
        }
        Ok(())
    }

    /// How long it may take to send them.
    pub(super) fn patience(self) -> Duration {
        let seconds = self.bytes_times_part() / PART_BYTES / COPIES_PER_SECOND;
        Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX))
    }

    /// How many keys a transaction may have whose keys and values are as large as those of this one.
    fn keys_max(self, copies_max: u128) -> usize {
        // The copies go with the square of the keys, so the keys with the root of the copies.
        let square = wide(self.keys) * wide(self.keys) * copies_max * PART_BYTES;
        let limit = (square / self.bytes_times_part().max(1)).isqrt();
        usize::try_from(limit).unwrap_or(usize::MAX)
    }

    /// The bytes of all copies, times those of a part: of each key there are as many copies as there are parts.
    fn bytes_times_part(self) -> u128 {
        let sent = wide(self.key_bytes + self.value_bytes).min(wide(self.keys) * PART_BYTES);
        sent * wide(self.key_bytes + self.keys * KEY_COPY_BYTES)
    }
}

fn wide(bytes: usize) -> u128 {
    u128::try_from(bytes).expect("128 bits are more")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::write_set::KEY_MAX_BYTES;

    /// As long as the prefix of a namespace can be.
    const PREFIX_BYTES: usize = 76;

    fn key(at: usize, bytes: usize) -> Bytes {
        format!("{at:0bytes$}").into()
    }

    fn puts(count: usize, key_bytes: usize, value_bytes: usize) -> WriteSet {
        let mut set = WriteSet::default();
        (0..count).for_each(|at| set.put(key(at, key_bytes), vec![1; value_bytes].into()));
        set
    }

    fn check(set: &WriteSet) -> Result<(), CommitError> {
        Copies::of(set, PREFIX_BYTES).check(!set.versioned().is_empty())
    }

    /// The limit that the refusal of many more names.
    fn limit(key_bytes: usize, value_bytes: usize) -> usize {
        let refused = check(&puts(60_000, key_bytes, value_bytes));
        let Err(CommitError::TooLarge { what: "transaction keys", actual: 60_000, limit }) = refused else {
            panic!("{refused:?}")
        };
        limit
    }

    #[test]
    fn as_many_keys_as_the_refusal_names_are_taken_and_one_more_is_not() {
        for (key_bytes, value_bytes) in [(8, 1), (40, 100), (200, 300)] {
            let limit = limit(key_bytes, value_bytes);
            assert_eq!(check(&puts(limit, key_bytes, value_bytes)), Ok(()));
            let refused = CommitError::TooLarge { what: "transaction keys", actual: limit + 1, limit };
            assert_eq!(check(&puts(limit + 1, key_bytes, value_bytes)), Err(refused));
        }
    }

    #[test]
    fn what_publishes_may_copy_less_as_others_wait_for_it() {
        let mut set = puts(limit(8, 1) / 3, 8, 1);
        assert_eq!(check(&set), Ok(()));
        set.put_versioned(key(0, 8), Bytes::new(), Bytes::from_static(b"1"));
        assert_eq!(check(&set), Ok(()));
        let mut set = puts(limit(8, 1) * 2 / 3, 8, 1);
        assert_eq!(check(&set), Ok(()));
        set.put_versioned(key(0, 8), Bytes::new(), Bytes::from_static(b"1"));
        assert!(matches!(check(&set), Err(CommitError::TooLarge { .. })));
    }

    #[test]
    fn whatever_is_done_to_a_key_it_is_copied() {
        let many = limit(8, 1) + 1;
        let mut removed = WriteSet::default();
        let mut guarded = WriteSet::default();
        let mut versioned = WriteSet::default();
        for at in 0..2 * many {
            removed.delete(key(at, 8));
            guarded.guard(key(at, 8));
            versioned.put_versioned(key(at, 8), Bytes::new(), Bytes::from_static(b"1"));
        }
        for set in [removed, guarded, versioned] {
            let refused = check(&set);
            assert!(matches!(refused, Err(CommitError::TooLarge { .. })), "{refused:?}");
        }
    }

    #[test]
    fn a_key_that_is_written_and_guarded_is_one() {
        let many = limit(8, 1);
        let mut set = puts(many, 8, 1);
        (0..many).for_each(|at| set.guard(key(at, 8)));
        assert_eq!(check(&set), Ok(()));
    }

    #[test]
    fn few_large_values_are_bounded_by_their_bytes_alone() {
        let most = super::super::TRANSACTION_MAX_BYTES;
        for value_bytes in [1 << 15, 1 << 20] {
            let set = puts(most / value_bytes, 100, value_bytes);
            assert_eq!(Copies::of(&set, PREFIX_BYTES).check(false), Ok(()));
        }
        let set = puts(most >> 20, 100, 1 << 20);
        assert_eq!(Copies::of(&set, PREFIX_BYTES).check(true), Ok(()), "also of what publishes");
    }

    #[test]
    fn who_copies_more_is_waited_for_longer() {
        assert_eq!(Copies::of(&puts(1_000, 40, 100), PREFIX_BYTES).patience(), Duration::ZERO);
        let most = Copies::of(&puts(limit(40, 100), 40, 100), PREFIX_BYTES).patience();
        assert!((Duration::from_secs(7)..=PATIENCE_MAX).contains(&most), "{most:?}");
    }

    #[test]
    fn what_the_store_and_its_callers_write_in_steps_fits_whatever_its_shape() {
        let of = |keys: usize, key_bytes: usize| {
            let key_bytes = key_bytes + keys * PREFIX_BYTES;
            Copies { keys, key_bytes, value_bytes: 0 }.check(false)
        };
        let steps = super::super::DELETE_RANGE_STEP_KEYS;
        assert_eq!(of(steps, steps * KEY_MAX_BYTES), Ok(()));
        // A step of a restore: as many entries and bytes as it takes, in keys alone at worst.
        assert_eq!(of(4_096, 2 << 20), Ok(()));
        // A step of clearing what workers have noted, in a group with the longest name.
        assert_eq!(of(5_000, 5_000 * 300), Ok(()));
    }
}
