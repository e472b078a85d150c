//! Idempotent producers: which batch is new, which is a repeat, and which must be refused.
//!
//! Pure. Source: Kafka's `ProducerAppendInfo` and `ProducerStateEntry`, and KIP-360: a producer that is not known here
//! (any more) may begin with any sequence number, so UNKNOWN_PRODUCER_ID is never answered.

use tidegate_format::{OrderVersion, ProducerBatch, ProducerEpoch, ProducerId, ProducerValue};
use tidegate_protocol::batch::{BatchHeader, NO_SEQUENCE};

use crate::SequenceError;

/// The sequence numbers of one batch of an idempotent producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceRange {
    /// The producer.
    pub producer: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
    /// The first record's sequence number.
    pub first: i32,
    /// The last record's; lower than the first if the numbers begin anew after `i32::MAX`.
    pub last: i32,
}

impl SequenceRange {
    /// The range of a batch; none if its producer is not idempotent.
    #[must_use]
    pub fn of(header: &BatchHeader) -> Option<Self> {
        header.has_producer_id().then(|| Self {
            producer: ProducerId(header.producer_id),
            epoch: ProducerEpoch(header.producer_epoch),
            first: header.base_sequence,
            last: header.last_sequence(),
        })
    }
}

/// What a batch is to what its producer sent before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    /// It comes next.
    Next,
    /// It is this one again.
    Repeat(ProducerBatch),
}

/// Judges a batch by what is known of its producer.
pub(crate) fn judge(known: Option<&ProducerValue>, range: &SequenceRange) -> Result<Relation, SequenceError> {
    let Some(known) = known else { return Ok(Relation::Next) };
    if range.epoch < known.epoch {
        let (producer, found, current) = (range.producer, range.epoch, known.epoch);
        return Err(SequenceError::OldEpoch { producer, found, current });
    }
    let out_of_order =
        |last| SequenceError::OutOfOrder { producer: range.producer, found: range.first, last };
    if range.epoch > known.epoch {
        return if range.first == 0 { Ok(Relation::Next) } else { Err(out_of_order(NO_SEQUENCE)) };
    }
    let repeated = known
        .batches
        .iter()
        .find(|batch| (batch.first_sequence, batch.last_sequence) == (range.first, range.last));
    if let Some(batch) = repeated {
        return Ok(Relation::Repeat(*batch));
    }
    let last = known.batches.last().map_or(NO_SEQUENCE, |batch| batch.last_sequence);
    if follows(last, range.first) { Ok(Relation::Next) } else { Err(out_of_order(last)) }
}

/// Whether `next` comes right after `last`; the numbers begin anew after `i32::MAX`.
fn follows(last: i32, next: i32) -> bool {
    last.checked_add(1).unwrap_or(0) == next
}

/// What is known of a producer once a batch of it was taken.
pub(crate) fn record(
    known: Option<ProducerValue>,
    range: &SequenceRange,
    batch: ProducerBatch,
    version: OrderVersion,
) -> ProducerValue {
    let mut batches =
        known.filter(|known| known.epoch == range.epoch).map_or_else(Vec::new, |known| known.batches);
    if batches.len() == ProducerValue::MAX_BATCHES {
        batches.remove(0);
    }
    batches.push(batch);
    ProducerValue { epoch: range.epoch, last_version: version, batches }
}

/// Whether a producer has been silent for so long that it is forgotten.
pub(crate) fn has_expired(known: &ProducerValue, now_ms: i64, expiration_ms: i64) -> bool {
    let last_ms =
        known.batches.last().map_or_else(|| known.last_version.unix_ms(), |batch| batch.append_time_ms);
    now_ms.saturating_sub(last_ms) >= expiration_ms
}

#[cfg(test)]
#[path = "sequence_tests.rs"]
mod tests;
