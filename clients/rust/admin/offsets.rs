//! Offsets of partitions and of groups.

use std::collections::BTreeMap;

use tidegate_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use tidegate_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use tidegate_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use tidegate_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use tidegate_protocol::messages::{
    ApiKey, BrokerId, DeleteRecordsRequest, GroupId, ListOffsetsRequest, OffsetCommitRequest,
    OffsetFetchRequest,
};

use super::Admin;
use super::topics::{missing, text};
use crate::client::{Target, topic_name};
use crate::error::accepted;
use crate::{Error, TopicPartition};

/// Which offset of a partition is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// Of the first record that is kept.
    Earliest,
    /// Of the next record.
    Latest,
    /// Of the first record with a timestamp of at least this, in milliseconds since the Unix epoch.
    AtTimestamp(i64),
}

/// An offset that a group has committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// Where.
    pub partition: TopicPartition,
    /// The next record that the group wants.
    pub offset: i64,
    /// What the member noted with it.
    pub metadata: String,
}

impl Admin {
    /// An offset of a partition; none if no record has a timestamp that late.
    ///
    /// # Errors
    /// `Refused` with the broker's reason, such as `UnknownTopicOrPartition`.
    pub async fn list_offset(
        &self,
        partition: &TopicPartition,
        spec: OffsetSpec,
    ) -> Result<Option<i64>, Error> {
        let timestamp = match spec {
            OffsetSpec::Earliest => -2,
            OffsetSpec::Latest => -1,
            OffsetSpec::AtTimestamp(timestamp_ms) => timestamp_ms,
        };
        let request = |_| {
            let asked = ListOffsetsPartition::default()
                .with_partition_index(partition.partition)
                .with_timestamp(timestamp);
            let topic = ListOffsetsTopic::default()
                .with_name(topic_name(&partition.topic))
                .with_partitions(vec![asked]);
            ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic])
        };
        let answer_of = |response: &tidegate_protocol::messages::ListOffsetsResponse| {
            response.topics.first().and_then(|topic| topic.partitions.first()).cloned()
        };
        let check = |response: &_| {
            let code = answer_of(response).map_or(0, |answer| answer.error_code);
            accepted(ApiKey::ListOffsets, code, None)
        };
        let target = Target::Leader(&partition.topic, partition.partition);
        let response = self.client.call_checked(target, request, check).await?;
        let answer = answer_of(&response).ok_or_else(|| missing("ListOffsets", &partition.topic))?;
        Ok(Some(answer.offset).filter(|offset| *offset >= 0))
    }

    /// Every offset that a group has committed, by topic and partition.
    ///
    /// # Errors
    /// `Refused` with the broker's reason.
    pub async fn list_group_offsets(&self, group: &str) -> Result<Vec<CommittedOffset>, Error> {
        let request = |version: i16| match version {
            8.. => {
                let group =
                    OffsetFetchRequestGroup::default().with_group_id(GroupId(text(group))).with_topics(None);
                OffsetFetchRequest::default().with_groups(vec![group])
            }
            _ => OffsetFetchRequest::default().with_group_id(GroupId(text(group))).with_topics(None),
        };
        let check = |response: &tidegate_protocol::messages::OffsetFetchResponse| {
            let code = response.groups.first().map_or(response.error_code, |group| group.error_code);
            accepted(ApiKey::OffsetFetch, code, None)
        };
        let response = self.client.call_checked(Target::Coordinator(group), request, check).await?;
        let mut offsets = Vec::new();
        let mut add = |topic: &str, partition, offset, metadata: Option<&str>| {
            if offset >= 0 {
                let metadata = metadata.unwrap_or_default().to_owned();
                offsets.push(CommittedOffset {
                    partition: TopicPartition::new(topic, partition),
                    offset,
                    metadata,
                });
            }
        };
        for topic in &response.topics {
            for found in &topic.partitions {
                add(&topic.name, found.partition_index, found.committed_offset, found.metadata.as_deref());
            }
        }
        for topic in response.groups.iter().flat_map(|group| &group.topics) {
            for found in &topic.partitions {
                add(&topic.name, found.partition_index, found.committed_offset, found.metadata.as_deref());
            }
        }
        offsets.sort_by(|left, right| left.partition.cmp(&right.partition));
        Ok(offsets)
    }

    /// Sets the offsets of a group without members.
    ///
    /// # Errors
    /// `Refused` with the broker's first reason, such as `UnknownMemberId` if the group has members.
    pub async fn set_group_offsets(
        &self,
        group: &str,
        offsets: &[(TopicPartition, i64)],
    ) -> Result<(), Error> {
        let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
        for (partition, offset) in offsets {
            let commit = OffsetCommitRequestPartition::default()
                .with_partition_index(partition.partition)
                .with_committed_offset(*offset);
            topics.entry(&partition.topic).or_default().push(commit);
        }
        let request = |_| {
            let topics = topics.iter().map(|(topic, partitions)| {
                OffsetCommitRequestTopic::default()
                    .with_name(topic_name(topic))
                    .with_partitions(partitions.clone())
            });
            OffsetCommitRequest::default()
                .with_group_id(GroupId(text(group)))
                .with_generation_id_or_member_epoch(-1)
                .with_topics(topics.collect())
        };
        let check = |response: &tidegate_protocol::messages::OffsetCommitResponse| {
            let mut codes =
                response.topics.iter().flat_map(|topic| &topic.partitions).map(|one| one.error_code);
            accepted(ApiKey::OffsetCommit, codes.find(|code| *code != 0).unwrap_or(0), None)
        };
        self.client.call_checked(Target::Coordinator(group), request, check).await.map(drop)
    }

    /// Deletes the records of a partition before an offset, or all with none; gives where its log begins then.
    ///
    /// # Errors
    /// `Refused` with the broker's reason, such as `OffsetOutOfRange`.
    pub async fn delete_records(
        &self,
        partition: &TopicPartition,
        before: Option<i64>,
    ) -> Result<i64, Error> {
        /// "To the end", as an offset.
        const END: i64 = -1;
        let timeout_ms = i32::try_from(self.client.options().request_timeout_ms).unwrap_or(i32::MAX);
        let request = |_| {
            let asked = DeleteRecordsPartition::default()
                .with_partition_index(partition.partition)
                .with_offset(before.unwrap_or(END));
            let topic = DeleteRecordsTopic::default()
                .with_name(topic_name(&partition.topic))
                .with_partitions(vec![asked]);
            DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(timeout_ms)
        };
        let answer_of = |response: &tidegate_protocol::messages::DeleteRecordsResponse| {
            response.topics.first().and_then(|topic| topic.partitions.first()).cloned()
        };
        let check = |response: &_| {
            let code = answer_of(response).map_or(0, |answer| answer.error_code);
            accepted(ApiKey::DeleteRecords, code, None)
        };
        let target = Target::Leader(&partition.topic, partition.partition);
        let response = self.client.call_checked(target, request, check).await?;
        let answer = answer_of(&response).ok_or_else(|| missing("DeleteRecords", &partition.topic))?;
        Ok(answer.low_watermark)
    }
}
