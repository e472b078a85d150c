//! ListOffsets, versions 1 to 10.
//!
//! An offset is asked for by time, or by a negative number: -1 the end, -2 the start, from 7 -3 the highest timestamp,
//! from 8 -4 the start of what is on local disk, from 9 -5 the end of what is in tiered storage (there is none). From 4
//! the request has the leader epoch that the client knows. A partition that is named twice is refused: it is not said
//! which of the two counts.

use std::collections::HashSet;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse, TopicName};
use tidegate_format::{Offset, PartitionId};
use tidegate_log::TimestampedOffset;

use super::partition_errors::{asked_epoch, partition_error, partition_of, topic_by_name};
use crate::Broker;
use crate::dispatch::{Answer, Caller};
use crate::partition_host::OffsetQuery;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

/// What is answered where there is no such record.
const NOWHERE: TimestampedOffset =
    TimestampedOffset { offset: Offset(-1), timestamp_ms: -1, leader_epoch: -1 };

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    caller: &Caller,
    request: ListOffsetsRequest,
) -> Answer<ListOffsetsResponse> {
    let (broker, version) = (broker.clone(), caller.version);
    Answer::Later(Box::pin(async move {
        let twice = named_twice(&request.topics);
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            topics.push(list_topic(&broker, version, topic, &twice).await);
        }
        ListOffsetsResponse::default().with_topics(topics)
    }))
}

/// The partitions that a request names more than once.
fn named_twice(topics: &[ListOffsetsTopic]) -> HashSet<(TopicName, i32)> {
    let mut seen = HashSet::new();
    let named = topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| (topic.name.clone(), partition.partition_index))
    });
    named.filter(|partition| !seen.insert(partition.clone())).collect()
}

async fn list_topic(
    broker: &Broker,
    version: i16,
    topic: ListOffsetsTopic,
    twice: &HashSet<(TopicName, i32)>,
) -> ListOffsetsTopicResponse {
    let known = topic_by_name(broker, &topic.name).await;
    let mut partitions = Vec::with_capacity(topic.partitions.len());
    for asked in topic.partitions {
        let is_twice = twice.contains(&(topic.name.clone(), asked.partition_index));
        let found = match partition_of(&known, asked.partition_index) {
            _ if is_twice => Err(ResponseError::InvalidRequest),
            Ok(id) => find(broker, version, id, &asked).await,
            Err(error) => Err(error),
        };
        let mut response =
            ListOffsetsPartitionResponse::default().with_partition_index(asked.partition_index);
        let place = found.unwrap_or_else(|error| {
            response.error_code = error.code();
            NOWHERE
        });
        response.timestamp = place.timestamp_ms;
        response.offset = place.offset.0;
        if version >= 4 {
            response.leader_epoch = place.leader_epoch;
        }
        partitions.push(response);
    }
    ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions)
}

async fn find(
    broker: &Broker,
    version: i16,
    id: PartitionId,
    asked: &ListOffsetsPartition,
) -> Result<TimestampedOffset, ResponseError> {
    let query = match asked.timestamp {
        LATEST => OffsetQuery::Latest,
        EARLIEST => OffsetQuery::Earliest,
        MAX_TIMESTAMP if version >= 7 => OffsetQuery::MaxTimestamp,
        EARLIEST_LOCAL if version >= 8 => OffsetQuery::Earliest,
        LATEST_TIERED if version >= 9 => return Ok(NOWHERE),
        target_ms if target_ms >= 0 => OffsetQuery::AtOrAfter(target_ms),
        _ => return Err(ResponseError::UnsupportedVersion),
    };
    if let Some(epoch) = asked_epoch(asked.current_leader_epoch) {
        let status = broker.partitions.status(id).await;
        status.and_then(|status| status.check_epoch(epoch)).map_err(|error| partition_error(&error))?;
    }
    let found = broker.partitions.find_offset(id, query).await.map_err(|error| partition_error(&error))?;
    Ok(found.unwrap_or(NOWHERE))
}
