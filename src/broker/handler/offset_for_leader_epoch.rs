//! OffsetForLeaderEpoch, versions 2 to 4.
//!
//! Where the records of an epoch end, so that a consumer finds out whether it has read what is not there any more
//! (KIP-320). From 3 the request says whether a consumer asks; all are answered alike.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use tidegate_format::{OwnerEpoch, PartitionId};
use tidegate_log::EpochEnd;

use super::partition_errors::{asked_epoch, partition_error, partition_of, topic_by_name};
use crate::Broker;
use crate::dispatch::{Answer, Caller};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _caller: &Caller,
    request: OffsetForLeaderEpochRequest,
) -> Answer<OffsetForLeaderEpochResponse> {
    let broker = broker.clone();
    Answer::Later(Box::pin(async move {
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let known = topic_by_name(&broker, &topic.topic).await;
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for asked in topic.partitions {
                let found = match partition_of(&known, asked.partition) {
                    Ok(id) => find(&broker, id, &asked).await,
                    Err(error) => Err(error),
                };
                partitions.push(answer(asked.partition, found));
            }
            topics.push(
                OffsetForLeaderTopicResult::default().with_topic(topic.topic).with_partitions(partitions),
            );
        }
        OffsetForLeaderEpochResponse::default().with_topics(topics)
    }))
}

async fn find(
    broker: &Broker,
    id: PartitionId,
    asked: &OffsetForLeaderPartition,
) -> Result<Option<EpochEnd>, ResponseError> {
    if let Some(epoch) = asked_epoch(asked.current_leader_epoch) {
        let status = broker.partitions.status(id).await;
        status.and_then(|status| status.check_epoch(epoch)).map_err(|error| partition_error(&error))?;
    }
    let end = broker.partitions.epoch_end(id, OwnerEpoch(asked.leader_epoch)).await;
    end.map_err(|error| partition_error(&error))
}

fn answer(partition: i32, found: Result<Option<EpochEnd>, ResponseError>) -> EpochEndOffset {
    let mut response = EpochEndOffset::default().with_partition(partition);
    response.leader_epoch = -1;
    response.end_offset = -1;
    match found {
        Ok(Some(end)) => {
            response.leader_epoch = end.epoch.0;
            response.end_offset = end.end_offset.0;
        }
        Ok(None) => {}
        Err(error) => response.error_code = error.code(),
    }
    response
}
