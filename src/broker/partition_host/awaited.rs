//! Producers that must come again with a batch that was refused for now, before anything that they sent behind it.
//!
//! A partition that knows a producer finds a gap in its sequence numbers by itself. Of one that it does not know it takes
//! whatever comes first (KIP-360: its earlier batches may be gone). So if the very first batch of a producer is refused
//! (the store was away for a moment), the next one, which was under way already, would be taken for the first, and the
//! first, sent again, could never follow it. What is kept here closes that gap: the batch that is awaited, in memory, as
//! no producer has anything under way any more once its connection is gone.
//!
//! What always holds: no more than [`PRODUCERS_MAX`] are kept, the latest; a producer that gives a batch up goes on in a
//! later epoch or under another id, and is waited for no longer.

use std::collections::VecDeque;

use tidegate_log::SequenceRange;

/// How many producers of one partition are waited for.
const PRODUCERS_MAX: usize = 1_000;

/// The batches of one partition that are awaited, one for each producer, the latest refused last.
#[derive(Debug, Default)]
pub(super) struct Awaited(VecDeque<SequenceRange>);

impl Awaited {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A batch was refused, and its producer will send it again. The first one that was refused is awaited.
    pub(super) fn refused(&mut self, range: SequenceRange) {
        if self.of(&range).is_some() {
            return;
        }
        self.taken(&range);
        self.0.push_back(range);
        if self.0.len() > PRODUCERS_MAX {
            self.0.pop_front();
        }
    }

    /// A batch was taken: its producer is waited for no longer.
    pub(super) fn taken(&mut self, range: &SequenceRange) {
        self.0.retain(|awaited| awaited.producer != range.producer);
    }

    /// The batch that must come before this one; none if nothing is awaited of its producer in its epoch, or itself.
    pub(super) fn before(&self, range: &SequenceRange) -> Option<SequenceRange> {
        self.of(range).filter(|awaited| awaited.first != range.first)
    }

    fn of(&self, range: &SequenceRange) -> Option<SequenceRange> {
        let awaited = self.0.iter().find(|awaited| awaited.producer == range.producer);
        awaited.filter(|awaited| awaited.epoch == range.epoch).copied()
    }
}

#[cfg(test)]
mod tests {
    use tidegate_format::{ProducerEpoch, ProducerId};

    use super::*;

    fn range(producer: i64, epoch: i16, first: i32) -> SequenceRange {
        SequenceRange { producer: ProducerId(producer), epoch: ProducerEpoch(epoch), first, last: first + 9 }
    }

    #[test]
    fn the_first_batch_that_was_refused_is_awaited_until_one_is_taken() {
        let mut awaited = Awaited::default();
        awaited.refused(range(1, 0, 0));
        awaited.refused(range(1, 0, 10));
        assert_eq!(awaited.before(&range(1, 0, 10)), Some(range(1, 0, 0)));
        assert_eq!((awaited.before(&range(1, 0, 0)), awaited.before(&range(2, 0, 10))), (None, None));
        awaited.taken(&range(1, 0, 0));
        assert_eq!(awaited.before(&range(1, 0, 10)), None);
        assert!(awaited.is_empty());
    }

    #[test]
    fn a_producer_in_another_epoch_has_given_up_what_was_awaited() {
        let mut awaited = Awaited::default();
        awaited.refused(range(1, 0, 0));
        assert_eq!(awaited.before(&range(1, 1, 0)), None);
        awaited.refused(range(1, 1, 0));
        assert_eq!(awaited.before(&range(1, 1, 10)), Some(range(1, 1, 0)));
        assert_eq!(awaited.0.len(), 1);
    }

    #[test]
    fn no_more_producers_are_kept_than_there_may_be() {
        let mut awaited = Awaited::default();
        let count = i64::try_from(PRODUCERS_MAX).expect("a small number") + 1;
        for producer in 0..count {
            awaited.refused(range(producer, 0, 0));
        }
        assert_eq!(awaited.0.len(), PRODUCERS_MAX);
        assert_eq!(awaited.before(&range(0, 0, 10)), None, "the one that was refused longest ago is gone");
        assert!(awaited.before(&range(count - 1, 0, 10)).is_some());
    }
}
