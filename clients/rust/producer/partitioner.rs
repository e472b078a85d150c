//! Which partition a record goes to.
//!
//! A record with a key: murmur2 of the key, as every client of the Java family has it. A record without: the same
//! partition for a batch's worth of bytes, then another one by chance (KIP-794), so that batches fill.

use std::collections::HashMap;

use tidegate_protocol::murmur2;

/// The partitions that records without a key go to now, by topic.
#[derive(Debug, Default)]
pub(crate) struct Sticky {
    topics: HashMap<String, Current>,
}

#[derive(Debug)]
struct Current {
    partition: i32,
    bytes: usize,
}

/// The partition of a record with this key.
pub(crate) fn for_key(key: &[u8], partitions: i32) -> i32 {
    murmur2::partition_for_key(key, partitions)
}

impl Sticky {
    /// The partition, of `partitions`, of a record of `size` bytes without a key. After `batch_bytes` it is another one;
    /// `chance` says which.
    pub(crate) fn next(
        &mut self,
        topic: &str,
        partitions: i32,
        size: usize,
        batch_bytes: usize,
        chance: impl FnOnce() -> u32,
    ) -> i32 {
        assert!(partitions > 0, "a topic has at least one partition");
        let Some(current) = self.topics.get_mut(topic) else {
            let partition = pick(partitions, None, chance());
            self.topics.insert(topic.to_owned(), Current { partition, bytes: size });
            return partition;
        };
        if current.bytes + size > batch_bytes || current.partition >= partitions {
            current.partition = pick(partitions, Some(current.partition), chance());
            current.bytes = 0;
        }
        current.bytes += size;
        current.partition
    }
}

/// One of the partitions, but not this one if there are others.
fn pick(partitions: i32, but: Option<i32>, chance: u32) -> i32 {
    let draw = |choices: i32| i32::try_from(i64::from(chance) % i64::from(choices)).expect("below an i32");
    match but.filter(|but| *but < partitions) {
        Some(but) if partitions > 1 => {
            let other = draw(partitions - 1);
            if other >= but { other + 1 } else { other }
        }
        _ => draw(partitions),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_without_a_key_stay_until_a_batch_is_full() {
        let mut sticky = Sticky::default();
        let mut chance = 0..;
        let mut next = |size| sticky.next("t", 3, size, 100, || chance.next().expect("endless"));
        let first = next(40);
        assert_eq!(next(60), first, "exactly full");
        let second = next(1);
        assert_ne!(second, first);
        assert_eq!(next(99), second);
        assert_ne!(next(1), second);
    }

    #[test]
    fn every_other_partition_is_as_likely() {
        for but in 0..3 {
            let picked: Vec<i32> = (0..4).map(|chance| pick(3, Some(but), chance)).collect();
            let others: Vec<i32> = (0..3).filter(|partition| *partition != but).collect();
            assert_eq!(picked, others.repeat(2));
        }
        assert_eq!(pick(1, Some(0), 7), 0, "there is no other");
        assert_eq!(pick(2, Some(5), 7), 1, "the one before is gone");
    }

    #[test]
    fn topics_do_not_share() {
        let mut sticky = Sticky::default();
        assert_eq!(sticky.next("a", 10, 1, 100, || 3), 3);
        assert_eq!(sticky.next("b", 10, 1, 100, || 8), 8);
        assert_eq!(sticky.next("a", 10, 1, 100, || unreachable!("it stays")), 3);
        assert_eq!(sticky.next("a", 2, 1, 100, || 1), 1, "the topic has fewer partitions than it had");
    }
}
