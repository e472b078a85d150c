//! Offsets: those of a log, and those that groups have committed.

use std::collections::BTreeMap;

use tidegate_protocol::StrBytes;
use tidegate_protocol::error::ResponseError;
use tidegate_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use tidegate_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use tidegate_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use tidegate_protocol::messages::{
    ApiKey, ListOffsetsRequest, OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest,
    OffsetFetchResponse,
};

use crate::client::{Target, topic_name};
use crate::error::accepted;
use crate::{Client, Error, TopicPartition};

/// A place in a log, by what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The first record that is still there.
    Earliest,
    /// After the last record.
    Latest,
    /// The first record with this timestamp or a later one, in milliseconds since the Unix epoch.
    AtTimestamp(i64),
    /// The record with the highest timestamp.
    MaxTimestamp,
}

impl OffsetSpec {
    fn timestamp(self) -> i64 {
        match self {
            Self::Latest => -1,
            Self::Earliest => -2,
            Self::MaxTimestamp => -3,
            Self::AtTimestamp(ms) => ms,
        }
    }
}

/// What a group has committed for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The offset of the next record to read.
    pub offset: i64,
    /// The leader's epoch at which the record before was read; -1 if not known.
    pub leader_epoch: i32,
    /// What the committer noted.
    pub metadata: String,
}

impl Committed {
    /// This offset, and nothing else.
    #[must_use]
    pub fn at(offset: i64) -> Self {
        Self { offset, leader_epoch: -1, metadata: String::new() }
    }
}

/// Who commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Committer {
    pub(crate) group: String,
    /// Empty, with generation -1, for one that is no member.
    pub(crate) member: String,
    pub(crate) generation: i32,
    pub(crate) instance: Option<String>,
}

impl Committer {
    /// One that is no member.
    pub(crate) fn outsider(group: &str) -> Self {
        Self { group: group.to_owned(), member: String::new(), generation: -1, instance: None }
    }
}

pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// Partitions by topic.
pub(crate) fn by_topic<'a, T>(
    partitions: impl IntoIterator<Item = (&'a TopicPartition, T)>,
) -> BTreeMap<&'a str, Vec<(i32, T)>> {
    let mut topics: BTreeMap<&str, Vec<(i32, T)>> = BTreeMap::new();
    for (partition, what) in partitions {
        topics.entry(&partition.topic).or_default().push((partition.partition, what));
    }
    topics
}

/// Looks up places in logs, each at its partition's leader, once. None where there is no such record.
pub(crate) async fn list_offsets(
    client: &Client,
    wanted: &BTreeMap<TopicPartition, OffsetSpec>,
) -> BTreeMap<TopicPartition, Result<Option<i64>, Error>> {
    let mut found = BTreeMap::new();
    let mut leaders: BTreeMap<i32, Vec<(&TopicPartition, OffsetSpec)>> = BTreeMap::new();
    for (partition, spec) in wanted {
        let leader = match client.topic(&partition.topic).await {
            Ok(metadata) => metadata.leader(&partition.topic, partition.partition),
            Err(error) => Err(error),
        };
        match leader {
            Ok(leader) => leaders.entry(leader).or_default().push((partition, *spec)),
            Err(error) => drop(found.insert(partition.clone(), Err(error))),
        }
    }
    for (leader, partitions) in leaders {
        match ask_leader(client, leader, &partitions).await {
            Ok(answers) => found.extend(answers),
            Err(error) => {
                found.extend(
                    partitions.into_iter().map(|(partition, _)| (partition.clone(), Err(error.clone()))),
                );
            }
        }
    }
    found
}

type Found = (TopicPartition, Result<Option<i64>, Error>);

async fn ask_leader(
    client: &Client,
    leader: i32,
    partitions: &[(&TopicPartition, OffsetSpec)],
) -> Result<Vec<Found>, Error> {
    let request = |version: i16| {
        let topics = by_topic(partitions.iter().copied()).into_iter().map(|(topic, partitions)| {
            let partitions = partitions.into_iter().map(|(partition, spec)| {
                ListOffsetsPartition::default()
                    .with_partition_index(partition)
                    .with_timestamp(spec.timestamp())
            });
            ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(partitions.collect())
        });
        let request =
            ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(topics.collect());
        let timeout_ms = i32::try_from(client.options().request_timeout_ms).unwrap_or(i32::MAX);
        if version >= 10 { request.with_timeout_ms(timeout_ms) } else { request }
    };
    let connection = client.broker(leader, crate::net::pool::Purpose::General).await?;
    let response = connection.call(request).await?;
    let mut found = Vec::new();
    for topic in &response.topics {
        for partition in &topic.partitions {
            let answer = accepted(ApiKey::ListOffsets, partition.error_code, None)
                .map(|()| Some(partition.offset).filter(|offset| *offset >= 0));
            found.push((TopicPartition::new(topic.name.to_string(), partition.partition_index), answer));
        }
    }
    Ok(found)
}

/// Whether the group is to be looked for elsewhere, or a moment later.
fn coordinator_is_elsewhere(code: i16) -> Result<(), Error> {
    match ResponseError::try_from_code(code) {
        Some(
            error @ (ResponseError::NotCoordinator
            | ResponseError::CoordinatorNotAvailable
            | ResponseError::CoordinatorLoadInProgress
            | ResponseError::UnstableOffsetCommit),
        ) => Err(Error::Refused { api: ApiKey::FindCoordinator, error, detail: None }),
        _ => Ok(()),
    }
}

/// What a group has committed: for these partitions, or for all it has.
pub(crate) async fn committed(
    client: &Client,
    group: &str,
    partitions: Option<&[TopicPartition]>,
) -> Result<BTreeMap<TopicPartition, Committed>, Error> {
    let topics = partitions.map(|partitions| by_topic(partitions.iter().map(|partition| (partition, ()))));
    let indexes = |partitions: &[(i32, ())]| partitions.iter().map(|(partition, ())| *partition).collect();
    let request = |version: i16| {
        let request = OffsetFetchRequest::default();
        // Offsets of transactions that are not over yet are waited for.
        let request = if version >= 7 { request.with_require_stable(true) } else { request };
        if version >= 8 {
            let topics = topics.as_ref().map(|topics| {
                let one = |(topic, partitions): (&&str, &Vec<(i32, ())>)| {
                    OffsetFetchRequestTopics::default()
                        .with_name(topic_name(topic))
                        .with_partition_indexes(indexes(partitions))
                };
                topics.iter().map(one).collect()
            });
            let group =
                OffsetFetchRequestGroup::default().with_group_id(text(group).into()).with_topics(topics);
            return request.with_groups(vec![group]);
        }
        let topics = topics.as_ref().map(|topics| {
            let one = |(topic, partitions): (&&str, &Vec<(i32, ())>)| {
                OffsetFetchRequestTopic::default()
                    .with_name(topic_name(topic))
                    .with_partition_indexes(indexes(partitions))
            };
            topics.iter().map(one).collect()
        });
        request.with_group_id(text(group).into()).with_topics(topics)
    };
    let check = |response: &OffsetFetchResponse| {
        let one = response.groups.first();
        coordinator_is_elsewhere(one.map_or(response.error_code, |group| group.error_code))?;
        read_committed(response).map(|_| ())
    };
    let response = client.call_checked(Target::Coordinator(group), request, check).await?;
    read_committed(&response)
}

fn read_committed(response: &OffsetFetchResponse) -> Result<BTreeMap<TopicPartition, Committed>, Error> {
    let mut committed = BTreeMap::new();
    let mut take =
        |topic: &str, partition: i32, code: i16, offset: i64, leader_epoch: i32, metadata: Option<&str>| {
            accepted(ApiKey::OffsetFetch, code, None)?;
            if offset >= 0 {
                let metadata = metadata.unwrap_or_default().to_owned();
                committed.insert(
                    TopicPartition::new(topic, partition),
                    Committed { offset, leader_epoch, metadata },
                );
            }
            Ok::<(), Error>(())
        };
    if let Some(group) = response.groups.first() {
        accepted(ApiKey::OffsetFetch, group.error_code, None)?;
        for topic in &group.topics {
            for p in &topic.partitions {
                let metadata = p.metadata.as_deref();
                take(
                    &topic.name,
                    p.partition_index,
                    p.error_code,
                    p.committed_offset,
                    p.committed_leader_epoch,
                    metadata,
                )?;
            }
        }
        return Ok(committed);
    }
    accepted(ApiKey::OffsetFetch, response.error_code, None)?;
    for topic in &response.topics {
        for p in &topic.partitions {
            let metadata = p.metadata.as_deref();
            take(
                &topic.name,
                p.partition_index,
                p.error_code,
                p.committed_offset,
                p.committed_leader_epoch,
                metadata,
            )?;
        }
    }
    Ok(committed)
}

/// Commits. The first partition that is refused makes an error of it; the others may have been accepted.
pub(crate) async fn commit(
    client: &Client,
    committer: &Committer,
    offsets: &BTreeMap<TopicPartition, Committed>,
) -> Result<(), Error> {
    if offsets.is_empty() {
        return Ok(());
    }
    let request = |version: i16| {
        let topics = by_topic(offsets).into_iter().map(|(topic, partitions)| {
            let partitions = partitions.into_iter().map(|(partition, committed)| {
                let commit = OffsetCommitRequestPartition::default()
                    .with_partition_index(partition)
                    .with_committed_offset(committed.offset)
                    .with_committed_metadata(Some(text(&committed.metadata)));
                if version >= 6 { commit.with_committed_leader_epoch(committed.leader_epoch) } else { commit }
            });
            OffsetCommitRequestTopic::default()
                .with_name(topic_name(topic))
                .with_partitions(partitions.collect())
        });
        let request = OffsetCommitRequest::default()
            .with_group_id(text(&committer.group).into())
            .with_member_id(text(&committer.member))
            .with_generation_id_or_member_epoch(committer.generation)
            .with_topics(topics.collect());
        let instance = committer.instance.as_deref().map(text);
        if version >= 7 { request.with_group_instance_id(instance) } else { request }
    };
    let codes = |response: &OffsetCommitResponse| {
        let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
        partitions.map(|partition| partition.error_code).collect::<Vec<_>>()
    };
    let check =
        |response: &OffsetCommitResponse| codes(response).into_iter().try_for_each(coordinator_is_elsewhere);
    let response = client.call_checked(Target::Coordinator(&committer.group), request, check).await?;
    codes(&response).into_iter().try_for_each(|code| accepted(ApiKey::OffsetCommit, code, None))
}
