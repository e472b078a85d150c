//! What an answer to a batch means.

use tidegate_protocol::error::ResponseError;

use crate::Error;

/// What to do with a batch after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is in the log.
    Delivered,
    /// Send it again, unchanged, to whoever leads the partition then.
    Retry,
    /// The broker's idea of the sequence is another one: send it again under the next epoch.
    RetryNextEpoch,
    /// It will never be accepted, and was not appended.
    Refused,
}

/// The verdict on the broker's error code for a batch.
pub(crate) fn verdict(error: Option<ResponseError>) -> Verdict {
    match error {
        // The second: it had been appended before, so long ago that its offset is forgotten.
        None | Some(ResponseError::DuplicateSequenceNumber) => Verdict::Delivered,
        Some(
            ResponseError::OutOfOrderSequenceNumber
            | ResponseError::UnknownProducerId
            | ResponseError::InvalidProducerEpoch
            | ResponseError::ProducerFenced,
        ) => Verdict::RetryNextEpoch,
        Some(error) if error.is_retriable() => Verdict::Retry,
        Some(_) => Verdict::Refused,
    }
}

/// The verdict on an attempt that got no answer for the batch.
pub(crate) fn verdict_without_answer(error: &Error) -> Verdict {
    if error.is_retriable() { Verdict::Retry } else { Verdict::Refused }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_met_by_what_helps() {
        let cases = [
            (0, Verdict::Delivered),
            (46, Verdict::Delivered),      // DUPLICATE_SEQUENCE_NUMBER
            (3, Verdict::Retry),           // UNKNOWN_TOPIC_OR_PARTITION
            (6, Verdict::Retry),           // NOT_LEADER_OR_FOLLOWER
            (7, Verdict::Retry),           // REQUEST_TIMED_OUT
            (20, Verdict::Retry),          // NOT_ENOUGH_REPLICAS_AFTER_APPEND
            (56, Verdict::Retry),          // KAFKA_STORAGE_ERROR
            (100, Verdict::Retry),         // UNKNOWN_TOPIC_ID
            (45, Verdict::RetryNextEpoch), // OUT_OF_ORDER_SEQUENCE_NUMBER
            (47, Verdict::RetryNextEpoch), // INVALID_PRODUCER_EPOCH
            (59, Verdict::RetryNextEpoch), // UNKNOWN_PRODUCER_ID
            (10, Verdict::Refused),        // MESSAGE_TOO_LARGE
            (17, Verdict::Refused),        // INVALID_TOPIC_EXCEPTION
            (87, Verdict::Refused),        // INVALID_RECORD
            (12_345, Verdict::Refused),
        ];
        for (code, expected) in cases {
            assert_eq!(verdict(ResponseError::try_from_code(code)), expected, "{code}");
        }
    }
}
