//! OffsetFetch, versions 1 to 9.
//!
//! From 2 no list of topics asks for all of them, and the answer has an error code of its own; from 5 offsets have leader
//! epochs; from 7 a client can ask for offsets that no open transaction may change (there are none); from 8 several groups
//! can be asked at once; 9 is 8 with fields for KIP-848's groups.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{GroupId, OffsetFetchRequest, OffsetFetchResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use tidegate_format::{OffsetValue, PartitionId};
use tidegate_store::Store;

use super::group_errors::check_group_of_offsets;
use crate::Broker;
use crate::dispatch::{Answer, Caller};
use crate::group_host::load_offsets;

/// The first version in which several groups can be asked at once.
const WITH_SEVERAL_GROUPS: i16 = 8;
/// "Nothing committed", as an offset and as a leader epoch.
const NOTHING: i64 = -1;
const NO_EPOCH: i32 = -1;

/// A topic as it is asked for: its name and partitions.
type Asked = Vec<(TopicName, Vec<i32>)>;
/// A topic as it is answered.
type Found = Vec<(TopicName, Vec<(i32, Option<OffsetValue>)>)>;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    caller: &Caller,
    request: OffsetFetchRequest,
) -> Answer<OffsetFetchResponse> {
    let (broker, version) = (broker.clone(), caller.version);
    let alone = (version < WITH_SEVERAL_GROUPS).then_some(&request.group_id);
    let mut settling = Vec::new();
    for group in request.groups.iter().map(|group| &group.group_id).chain(alone) {
        settling.extend(broker.groups.settle(group).await);
    }
    Answer::Later(Box::pin(async move {
        for settled in settling {
            // A group that is loaded again has committed nothing that was answered.
            let _ = settled.answer().await;
        }
        fetch(&broker, version, request).await
    }))
}

async fn fetch(broker: &Broker, version: i16, request: OffsetFetchRequest) -> OffsetFetchResponse {
    if version >= WITH_SEVERAL_GROUPS {
        let mut groups = Vec::with_capacity(request.groups.len());
        for group in request.groups {
            let asked: Option<Asked> = group.topics.map(|topics| {
                topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect()
            });
            groups.push(of_group(group.group_id.clone(), load(broker, &group.group_id, asked).await));
        }
        return OffsetFetchResponse::default().with_groups(groups);
    }
    let no_topics = version >= 2 && request.topics.is_none();
    let asked: Asked = request
        .topics
        .unwrap_or_default()
        .into_iter()
        .map(|topic| (topic.name, topic.partition_indexes))
        .collect();
    let failed = if version < 2 { asked.clone() } else { Vec::new() };
    let found = load(broker, &request.group_id, (!no_topics).then_some(asked)).await;
    alone(version, found, failed)
}

async fn load(broker: &Broker, group: &str, asked: Option<Asked>) -> Result<Found, i16> {
    check_group_of_offsets(group)?;
    let unavailable = |error: &dyn std::fmt::Display| {
        tracing::warn!(group, %error, "committed offsets cannot be read");
        ResponseError::CoordinatorLoadInProgress.code()
    };
    let topics = broker.catalogue.topics();
    let mut txn = broker.store.begin().await.map_err(|error| unavailable(&error))?;
    let Some(asked) = asked else {
        let offsets = load_offsets(&mut txn, group, None).await.map_err(|error| unavailable(&error))?;
        let mut found: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for (id, value) in offsets {
            if let Some(topic) = topics.by_id(id.topic) {
                found.entry(topic.name.clone()).or_default().push((id.partition.0, value));
            }
        }
        let named = |(name, partitions)| (TopicName(StrBytes::from_string(name)), partitions);
        return Ok(found.into_iter().map(named).collect());
    };
    let mut found = Vec::with_capacity(asked.len());
    for (name, indexes) in asked {
        let topic = topics.by_name(&name);
        let ids: Vec<Option<PartitionId>> =
            indexes.iter().map(|index| topic.and_then(|topic| topic.partition(*index))).collect();
        let known: Vec<PartitionId> = ids.iter().flatten().copied().collect();
        let offsets =
            load_offsets(&mut txn, group, Some(&known)).await.map_err(|error| unavailable(&error))?;
        let mut offsets = offsets.into_iter().map(|(_, value)| value);
        // A partition that does not exist has nothing committed.
        let values = ids.iter().map(|id| id.and_then(|_| offsets.next().flatten()));
        found.push((name, indexes.iter().copied().zip(values).collect()));
    }
    Ok(found)
}

fn of_group(group: GroupId, found: Result<Found, i16>) -> OffsetFetchResponseGroup {
    let answer = OffsetFetchResponseGroup::default().with_group_id(group);
    let found = match found {
        Ok(found) => found,
        Err(code) => return answer.with_error_code(code),
    };
    let topics = found.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|(index, value)| {
            let (offset, epoch, metadata) = told(value);
            OffsetFetchResponsePartitions::default()
                .with_partition_index(index)
                .with_committed_offset(offset)
                .with_committed_leader_epoch(epoch)
                .with_metadata(Some(metadata))
        });
        OffsetFetchResponseTopics::default().with_name(name).with_partitions(partitions.collect())
    });
    answer.with_topics(topics.collect())
}

/// The answer up to version 7. In 1 an error can only be told partition by partition.
fn alone(version: i16, found: Result<Found, i16>, asked: Asked) -> OffsetFetchResponse {
    let (code, found) = match found {
        Ok(found) => (0, found),
        Err(code) => {
            let nothing = |(name, indexes): (TopicName, Vec<i32>)| {
                (name, indexes.into_iter().map(|index| (index, None)).collect())
            };
            (code, asked.into_iter().map(nothing).collect())
        }
    };
    let topics = found.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|(index, value)| {
            let (offset, epoch, metadata) = told(value);
            let mut partition = OffsetFetchResponsePartition::default()
                .with_partition_index(index)
                .with_committed_offset(offset)
                .with_metadata(Some(metadata))
                .with_error_code(code);
            if version >= 5 {
                partition.committed_leader_epoch = epoch;
            }
            partition
        });
        OffsetFetchResponseTopic::default().with_name(name).with_partitions(partitions.collect())
    });
    let topics = topics.collect();
    let response = OffsetFetchResponse::default().with_topics(topics);
    if version >= 2 { response.with_error_code(code) } else { response }
}

fn told(value: Option<OffsetValue>) -> (i64, i32, StrBytes) {
    match value {
        Some(value) => (value.offset.0, value.leader_epoch, StrBytes::from_string(value.metadata)),
        None => (NOTHING, NO_EPOCH, StrBytes::default()),
    }
}
