//! DescribeLogDirs, versions 1 to 4.
//!
//! From 3 the answer carries an error code of its own, from 4 the sizes of the volume. There is one directory: the
//! store's. A partition's size is that of its record batches.

use std::collections::HashSet;
use std::sync::Arc;

use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use crate::Broker;
use crate::dispatch::{Answer, Caller};
use crate::topics::Topic;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    caller: &Caller,
    request: DescribeLogDirsRequest,
) -> Answer<DescribeLogDirsResponse> {
    let topics = broker.catalogue.all().await;
    let asked: Vec<(Arc<Topic>, Vec<i32>)> = match request.topics {
        None => topics.iter().map(|topic| (topic.clone(), (0..topic.partitions).collect())).collect(),
        Some(asked) => {
            let mut seen = HashSet::new();
            let known = |asked: DescribableLogDirTopic| {
                let topic = topics.by_name(&asked.topic)?.clone();
                seen.insert(topic.id).then_some((topic, asked.partitions))
            };
            asked.into_iter().filter_map(known).collect()
        }
    };
    let mut described = Vec::with_capacity(asked.len());
    for (topic, indexes) in asked {
        let mut partitions = Vec::with_capacity(indexes.len());
        for id in indexes.into_iter().filter_map(|index| topic.partition(index)) {
            let Ok(size) = broker.partitions.log_bytes(id).await else { continue };
            partitions.push(
                DescribeLogDirsPartition::default()
                    .with_partition_index(id.partition.0)
                    .with_partition_size(i64::try_from(size).unwrap_or(i64::MAX)),
            );
        }
        described.push(
            DescribeLogDirsTopic::default()
                .with_name(TopicName(StrBytes::from_string(topic.name.clone())))
                .with_partitions(partitions),
        );
    }
    let mut directory = DescribeLogDirsResult::default()
        .with_log_dir(StrBytes::from_string(broker.settings.place()))
        .with_topics(described);
    if caller.version >= 4
        && let Some(space) = broker.disk_space()
    {
        directory.total_bytes = i64::try_from(space.total_bytes).unwrap_or(i64::MAX);
        directory.usable_bytes = i64::try_from(space.usable_bytes).unwrap_or(i64::MAX);
    }
    Answer::Now(DescribeLogDirsResponse::default().with_results(vec![directory]))
}
