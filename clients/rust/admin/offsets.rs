//! Offsets of partitions and of groups.

use std::collections::BTreeMap;

use tidegate_protocol::error::ResponseError;
use tidegate_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use tidegate_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use tidegate_protocol::messages::{
    ApiKey, DeleteRecordsRequest, DeleteRecordsResponse, GroupId, OffsetDeleteRequest, OffsetDeleteResponse,
};

use super::Admin;
use super::topics::missing;
use crate::client::{Target, topic_name};
use crate::error::accepted;
use crate::offsets::{self, Committed, Committer, OffsetSpec, by_topic, text};
use crate::{Error, TopicPartition};

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
        let wanted = BTreeMap::from([(partition.clone(), spec)]);
        Ok(self.list_offsets(&wanted).await?.remove(partition).flatten())
    }

    /// Offsets of partitions, with one request to each of their leaders; none where no record has a timestamp that late.
    ///
    /// # Errors
    /// `Refused` with the broker's first reason, such as `UnknownTopicOrPartition`.
    pub async fn list_offsets(
        &self,
        wanted: &BTreeMap<TopicPartition, OffsetSpec>,
    ) -> Result<BTreeMap<TopicPartition, Option<i64>>, Error> {
        let attempt = || async {
            let found = offsets::list_offsets(&self.client, wanted).await.into_iter();
            let outcome: Result<BTreeMap<_, _>, Error> =
                found.map(|(partition, offset)| offset.map(|offset| (partition, offset))).collect();
            if outcome.as_ref().is_err_and(Error::is_retriable) {
                self.client.refresh(&[]).await?;
            }
            outcome
        };
        self.client.retry(attempt).await
    }

    /// Every offset that a group has committed, by topic and partition.
    ///
    /// # Errors
    /// `Refused` with the broker's reason.
    pub async fn list_group_offsets(&self, group: &str) -> Result<Vec<CommittedOffset>, Error> {
        let committed = offsets::committed(&self.client, group, None).await?.into_iter();
        let one =
            |(partition, Committed { offset, metadata, .. })| CommittedOffset { partition, offset, metadata };
        Ok(committed.map(one).collect())
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
        let offsets = offsets.iter().map(|(partition, offset)| (partition.clone(), Committed::at(*offset)));
        offsets::commit(&self.client, &Committer::outsider(group), &offsets.collect()).await
    }

    /// Forgets what a group has committed for these partitions.
    ///
    /// # Errors
    /// `Refused` with the broker's first reason, such as `GroupSubscribedToTopic` if a member reads it.
    pub async fn delete_group_offsets(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<(), Error> {
        let request = |_| {
            let topics = by_topic(partitions.iter().map(|partition| (partition, ()))).into_iter();
            let topics = topics.map(|(topic, partitions)| {
                let one =
                    |(partition, ())| OffsetDeleteRequestPartition::default().with_partition_index(partition);
                OffsetDeleteRequestTopic::default()
                    .with_name(topic_name(topic))
                    .with_partitions(partitions.into_iter().map(one).collect())
            });
            OffsetDeleteRequest::default().with_group_id(GroupId(text(group))).with_topics(topics.collect())
        };
        let check = |response: &OffsetDeleteResponse| {
            accepted(ApiKey::OffsetDelete, response.error_code, None)?;
            let mut partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
            partitions.try_for_each(|partition| accepted(ApiKey::OffsetDelete, partition.error_code, None))
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
        let request = |_| {
            let asked = DeleteRecordsPartition::default()
                .with_partition_index(partition.partition)
                .with_offset(before.unwrap_or(END));
            let topic = DeleteRecordsTopic::default()
                .with_name(topic_name(&partition.topic))
                .with_partitions(vec![asked]);
            DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(self.timeout_ms())
        };
        let answer_of = |response: &DeleteRecordsResponse| {
            response.topics.first().and_then(|topic| topic.partitions.first()).cloned()
        };
        let check = |response: &_| {
            let code = answer_of(response)
                .map_or(ResponseError::UnknownServerError.code(), |answer| answer.error_code);
            accepted(ApiKey::DeleteRecords, code, None)
        };
        let target = Target::Leader(&partition.topic, partition.partition);
        let response = self.client.call_checked(target, request, check).await?;
        let answer = answer_of(&response).ok_or_else(|| missing("DeleteRecords", &partition.topic))?;
        Ok(answer.low_watermark)
    }
}
