//! Idempotence: the sequence that each partition's batches are numbered with.
//!
//! At most one batch of a partition is under way, so an answer settles all that was sent. A batch that the broker has
//! refused took no numbers, and the next one takes them. A batch whose fate is not known may have taken them or not: the
//! partition goes on under the next epoch, from 0, which the broker accepts from a higher epoch (KIP-360). Epochs are kept
//! per partition here, as brokers keep them.

use tidegate_protocol::batch::increment_sequence;

/// A producer id, as the brokers gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProducerId {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

/// The numbers of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numbered {
    pub(crate) producer: ProducerId,
    pub(crate) base_sequence: i32,
}

/// Where one partition is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sequence {
    next: Option<Numbered>,
}

impl Sequence {
    /// Numbers for a batch of so many records. `producer` is used by a partition that has sent nothing yet, or whose own
    /// producer id has no epochs left.
    pub(crate) fn take(&mut self, producer: ProducerId, records: i32) -> Numbered {
        let numbered = *self.next.get_or_insert(Numbered { producer, base_sequence: 0 });
        let base_sequence = increment_sequence(numbered.base_sequence, records);
        self.next = Some(Numbered { base_sequence, ..numbered });
        numbered
    }

    /// The batch with these numbers was refused: the next one has them.
    pub(crate) fn give_back(&mut self, numbered: Numbered) {
        self.next = Some(numbered);
    }

    /// It is not known, or no longer agreed, which numbers were used: goes on under the next epoch. Says whether there is
    /// one; if not, a new producer id is needed.
    pub(crate) fn next_epoch(&mut self) -> bool {
        let next = self.next.and_then(|numbered| {
            let epoch = numbered.producer.epoch.checked_add(1)?;
            Some(Numbered { producer: ProducerId { epoch, ..numbered.producer }, base_sequence: 0 })
        });
        self.next = next;
        next.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRODUCER: ProducerId = ProducerId { id: 7, epoch: 0 };

    #[test]
    fn numbers_follow_each_other() {
        let mut sequence = Sequence::default();
        assert_eq!(sequence.take(PRODUCER, 3).base_sequence, 0);
        assert_eq!(sequence.take(PRODUCER, 2).base_sequence, 3);
        assert_eq!(sequence.take(PRODUCER, 1).base_sequence, 5);
    }

    #[test]
    fn what_was_refused_is_used_again() {
        let mut sequence = Sequence::default();
        sequence.take(PRODUCER, 3);
        let refused = sequence.take(PRODUCER, 10);
        sequence.give_back(refused);
        assert_eq!(sequence.take(PRODUCER, 1), refused);
    }

    #[test]
    fn an_unknown_outcome_starts_the_next_epoch() {
        let mut sequence = Sequence::default();
        sequence.take(PRODUCER, 3);
        assert!(sequence.next_epoch());
        let next = sequence.take(PRODUCER, 1);
        assert_eq!(next, Numbered { producer: ProducerId { id: 7, epoch: 1 }, base_sequence: 0 });
    }

    #[test]
    fn without_epochs_left_a_new_producer_id_is_used() {
        let mut sequence = Sequence::default();
        sequence.take(ProducerId { id: 7, epoch: i16::MAX }, 3);
        assert!(!sequence.next_epoch());
        let next = sequence.take(ProducerId { id: 8, epoch: 0 }, 1);
        assert_eq!(next, Numbered { producer: ProducerId { id: 8, epoch: 0 }, base_sequence: 0 });
    }
}
