//! OffsetCommit, versions 2 to 9.
//!
//! Up to 4 the request says how long offsets are kept, from 6 each has a leader epoch, from 7 members can be static; a
//! member of a group that does not exist is told so from 9 on, and before that its generation is no more. More than
//! [`OFFSETS_MAX_BYTES`] at once is refused, as from Kafka, which takes less.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestPartition;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};
use tidegate_format::{Generation, Offset, OffsetValue};
use tidegate_group::{Command, CommitOffsets, GroupError, MemberIdentity};
use tidegate_store::Store;

use super::group_errors::{check_group_of_offsets, group_code, host_code};
use crate::Broker;
use crate::dispatch::{Answer, Caller};
use crate::group_host::{CommittedOffset, OFFSETS_MAX_BYTES};

/// "As the broker keeps them", among retention times.
const RETENTION_OF_BROKER: i64 = -1;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    caller: &Caller,
    request: OffsetCommitRequest,
) -> Answer<OffsetCommitResponse> {
    if let Err(code) = check_group_of_offsets(&request.group_id) {
        return Answer::Now(answer(request, |_, _| code));
    }
    let now_ms = broker.store.now_ms();
    let retention_ms = Some(request.retention_time_ms)
        .filter(|ms| (2..=4).contains(&caller.version) && *ms != RETENTION_OF_BROKER);
    let mut offsets = Vec::new();
    let mut refused = std::collections::BTreeMap::new();
    for (topic_index, topic) in request.topics.iter().enumerate() {
        let known = broker.catalogue.find(&topic.name).await;
        for partition in &topic.partitions {
            let id = match &known {
                Ok(Some(known)) => {
                    known.partition(partition.partition_index).ok_or(ResponseError::UnknownTopicOrPartition)
                }
                Ok(None) => Err(ResponseError::UnknownTopicOrPartition),
                Err(_) => Err(ResponseError::CoordinatorNotAvailable),
            };
            let checked = id.and_then(|id| {
                check(broker, partition)?;
                Ok(CommittedOffset { id, value: value(partition, now_ms, retention_ms) })
            });
            match checked {
                Ok(offset) => offsets.push(offset),
                Err(error) => {
                    refused.insert((topic_index, partition.partition_index), error.code());
                }
            }
        }
    }
    let command = Command::CommitOffsets(CommitOffsets {
        member: MemberIdentity {
            member_id: request.member_id.to_string(),
            instance: request.group_instance_id.as_ref().map(ToString::to_string),
        },
        generation: Generation(request.generation_id_or_member_epoch),
        transactional: false,
    });
    if offsets.is_empty() {
        // Nothing is left to commit: no group is founded for that.
        return Answer::Now(answer(request, |topic, partition| {
            refused.get(&(topic, partition)).copied().unwrap_or(0)
        }));
    }
    let bytes: usize = offsets.iter().map(|offset| offset.bytes(&request.group_id)).sum();
    if bytes > OFFSETS_MAX_BYTES {
        let code = ResponseError::InvalidCommitOffsetSize.code();
        return Answer::Now(answer(request, |topic, partition| {
            refused.get(&(topic, partition)).copied().unwrap_or(code)
        }));
    }
    let version = caller.version;
    let committing = broker.groups.commit_offsets(&request.group_id, command, offsets).await;
    Answer::Later(Box::pin(async move {
        let code = match committing.answer().await {
            Ok(outcome) => outcome.map_or_else(|error| commit_code(version, error), |()| 0),
            Err(error) => host_code(&error),
        };
        answer(request, |topic, partition| refused.get(&(topic, partition)).copied().unwrap_or(code))
    }))
}

fn commit_code(version: i16, error: GroupError) -> i16 {
    match error {
        GroupError::GroupIdNotFound if version < 9 => ResponseError::IllegalGeneration.code(),
        other => group_code(other),
    }
}

fn check(broker: &Broker, partition: &OffsetCommitRequestPartition) -> Result<(), ResponseError> {
    let metadata_bytes = partition.committed_metadata.as_ref().map_or(0, |metadata| metadata.len());
    if metadata_bytes > broker.settings.offset_metadata_max_bytes {
        return Err(ResponseError::OffsetMetadataTooLarge);
    }
    Ok(())
}

fn value(partition: &OffsetCommitRequestPartition, now_ms: i64, retention_ms: Option<i64>) -> OffsetValue {
    OffsetValue {
        offset: Offset(partition.committed_offset),
        leader_epoch: partition.committed_leader_epoch,
        metadata: partition.committed_metadata.as_ref().map(ToString::to_string).unwrap_or_default(),
        commit_time_ms: now_ms,
        expire_time_ms: retention_ms.map(|ms| now_ms.saturating_add(ms)),
    }
}

fn answer(request: OffsetCommitRequest, code: impl Fn(usize, i32) -> i16) -> OffsetCommitResponse {
    let topics = request.topics.into_iter().enumerate().map(|(topic_index, topic)| {
        let partitions = topic.partitions.iter().map(|partition| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code(topic_index, partition.partition_index))
        });
        OffsetCommitResponseTopic::default().with_partitions(partitions.collect()).with_name(topic.name)
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}
