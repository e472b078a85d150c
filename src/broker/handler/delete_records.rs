//! DeleteRecords, versions 0 to 2, all alike.
//!
//! Moves the start of a log to an offset, or with -1 to its end. The answer is the first offset that is left.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use tidegate_format::{Offset, PartitionId};

use super::partition_errors::{partition_error, partition_of, topic_by_name};
use crate::Broker;
use crate::dispatch::{Answer, Caller};
use crate::partition_host::DeleteRecordsError;

/// Kafka's number for the end of the log.
const TO_THE_END: i64 = -1;
/// What is answered where nothing was deleted.
const NOT_KNOWN: i64 = -1;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _caller: &Caller,
    request: DeleteRecordsRequest,
) -> Answer<DeleteRecordsResponse> {
    let broker = broker.clone();
    Answer::Later(Box::pin(async move {
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let known = topic_by_name(&broker, &topic.name).await;
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for asked in topic.partitions {
                let deleted = match partition_of(&known, asked.partition_index) {
                    Ok(id) => delete(&broker, id, asked.offset).await,
                    Err(error) => Err(error),
                };
                let result =
                    DeleteRecordsPartitionResult::default().with_partition_index(asked.partition_index);
                partitions.push(match deleted {
                    Ok(log_start) => result.with_low_watermark(log_start.0),
                    Err(error) => result.with_low_watermark(NOT_KNOWN).with_error_code(error.code()),
                });
            }
            topics
                .push(DeleteRecordsTopicResult::default().with_name(topic.name).with_partitions(partitions));
        }
        DeleteRecordsResponse::default().with_topics(topics)
    }))
}

async fn delete(broker: &Broker, id: PartitionId, offset: i64) -> Result<Offset, ResponseError> {
    let to = (offset != TO_THE_END).then_some(Offset(offset));
    broker.partitions.delete_records(id, to).await.map_err(|error| match error {
        DeleteRecordsError::OutOfRange { .. } => ResponseError::OffsetOutOfRange,
        DeleteRecordsError::Partition(error) => partition_error(&error),
    })
}
