//! Kafka's error codes for what partitions refuse, and how the requests about partitions name them.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::TopicName;
use tidegate_format::{OwnerEpoch, PartitionId, TopicId};
use tidegate_log::{BatchRejection, SequenceError};
use tidegate_outbox::hold::HoldRejection;
use tokio::time::Instant;
use tracing::error;
use uuid::Uuid;

use crate::Broker;
use crate::partition_host::{PartitionError, ProduceError, ReadPartitionError};
use crate::topics::Topic;

/// A topic by its name.
pub(super) async fn topic_by_name(broker: &Broker, name: &TopicName) -> Result<Arc<Topic>, ResponseError> {
    match broker.catalogue.find(name).await {
        Ok(found) => found.ok_or(ResponseError::UnknownTopicOrPartition),
        Err(_) => Err(ResponseError::KafkaStorageError),
    }
}

/// A topic by its id, which clients have from metadata.
pub(super) async fn topic_by_id(broker: &Broker, id: Uuid) -> Result<Arc<Topic>, ResponseError> {
    match broker.catalogue.find_by_id(TopicId(id)).await {
        Ok(found) => found.ok_or(ResponseError::UnknownTopicId),
        Err(_) => Err(ResponseError::KafkaStorageError),
    }
}

/// A partition of a topic that may not exist.
pub(super) fn partition_of(
    topic: &Result<Arc<Topic>, ResponseError>,
    index: i32,
) -> Result<PartitionId, ResponseError> {
    let topic = topic.as_ref().map_err(|error| *error)?;
    topic.partition(index).ok_or(ResponseError::UnknownTopicOrPartition)
}

/// The epoch that a client takes for the owner's, if it knows one.
pub(super) fn asked_epoch(current_leader_epoch: i32) -> Option<OwnerEpoch> {
    (current_leader_epoch >= 0).then_some(OwnerEpoch(current_leader_epoch))
}

/// The code of a partition without an answer.
pub(super) fn partition_error(error: &PartitionError) -> ResponseError {
    match error {
        PartitionError::Unknown => ResponseError::UnknownTopicOrPartition,
        PartitionError::NotOwner | PartitionError::Closing => ResponseError::NotLeaderOrFollower,
        PartitionError::FencedEpoch => ResponseError::FencedLeaderEpoch,
        PartitionError::UnknownEpoch => ResponseError::UnknownLeaderEpoch,
        PartitionError::Storage { .. } => ResponseError::KafkaStorageError,
        PartitionError::Unsettled => ResponseError::RequestTimedOut,
    }
}

/// Says in the log where the store failed a read: the client is told a code alone, and tries again for ever.
pub(super) fn report_failed_read(broker: &Broker, partition: PartitionId, error: &ReadPartitionError) {
    let ReadPartitionError::Partition(PartitionError::Storage { reason }) = error else { return };
    if let Some(left_out) = broker.failed_reads.admit(Instant::now()) {
        error!(%partition, reason, left_out, "a partition cannot be read");
    }
}

/// The code of a read without an answer.
pub(super) fn read_error(error: &ReadPartitionError) -> ResponseError {
    match error {
        ReadPartitionError::Partition(error) => partition_error(error),
        ReadPartitionError::OutOfRange { .. } => ResponseError::OffsetOutOfRange,
    }
}

/// The code of a batch that was not appended.
pub(super) fn produce_error(error: &ProduceError) -> ResponseError {
    match error {
        ProduceError::Partition(error) => partition_error(error),
        ProduceError::Sequence(SequenceError::OutOfOrder { .. }) => ResponseError::OutOfOrderSequenceNumber,
        ProduceError::Sequence(SequenceError::OldEpoch { .. }) => ResponseError::InvalidProducerEpoch,
        ProduceError::TooLarge => ResponseError::MessageTooLarge,
    }
}

/// The code of a batch that no partition would take.
pub(super) fn batch_error(rejection: &BatchRejection) -> ResponseError {
    match rejection {
        BatchRejection::Batch(error) => error.response_error(),
        BatchRejection::NotOne { .. } | BatchRejection::BaseOffset { .. } => ResponseError::InvalidRecord,
        BatchRejection::TooLarge { .. } => ResponseError::MessageTooLarge,
        BatchRejection::TimestampOutOfRange { .. } | BatchRejection::TimestampType => {
            ResponseError::InvalidTimestamp
        }
        BatchRejection::NoTransaction => ResponseError::InvalidTxnState,
    }
}

/// The code of a batch that no scheduled topic would take.
pub(super) fn hold_error(rejection: &HoldRejection) -> ResponseError {
    match rejection {
        HoldRejection::Batch(rejection) => batch_error(rejection),
        HoldRejection::TooLarge { .. } => ResponseError::MessageTooLarge,
        HoldRejection::ScheduleName { .. } | HoldRejection::ScheduleNotText { .. } => {
            ResponseError::InvalidRecord
        }
    }
}
