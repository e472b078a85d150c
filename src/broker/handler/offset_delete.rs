//! OffsetDelete, version 0.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use super::group_errors::{check_group, group_code, host_code};
use crate::Broker;
use crate::dispatch::{Answer, Caller};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _caller: &Caller,
    request: OffsetDeleteRequest,
) -> Answer<OffsetDeleteResponse> {
    match delete(broker, request).await {
        Ok(response) => Answer::Now(response),
        Err(code) => Answer::Now(OffsetDeleteResponse::default().with_error_code(code)),
    }
}

async fn delete(broker: &Arc<Broker>, request: OffsetDeleteRequest) -> Result<OffsetDeleteResponse, i16> {
    check_group(&request.group_id)?;
    let topics = broker.catalogue.topics();
    let mut known = Vec::new();
    for topic in &request.topics {
        let found = topics.by_name(&topic.name);
        for partition in &topic.partitions {
            if let Some(id) = found.and_then(|found| found.partition(partition.partition_index)) {
                known.push((topic.name.to_string(), id));
            }
        }
    }
    // The group is asked in any case: that it does not exist, or has members, is said before anything of its topics.
    let outcomes = broker.groups.delete_offsets(&request.group_id, known).await;
    let outcomes = outcomes.map_err(|error| host_code(&error))?.map_err(group_code)?;
    let mut outcomes = outcomes.into_iter();
    let answered = request.topics.into_iter().map(|topic| {
        let found = topics.by_name(&topic.name);
        let partitions = topic.partitions.iter().map(|partition| {
            let known = found.and_then(|found| found.partition(partition.partition_index)).is_some();
            let code = match known.then(|| outcomes.next().expect("one outcome for each known partition")) {
                None => ResponseError::UnknownTopicOrPartition.code(),
                Some(outcome) => outcome.map_or_else(group_code, |()| 0),
            };
            OffsetDeleteResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code)
        });
        OffsetDeleteResponseTopic::default().with_partitions(partitions.collect()).with_name(topic.name)
    });
    Ok(OffsetDeleteResponse::default().with_topics(answered.collect()))
}
