//! Consumer groups.

use bytes::Bytes;
use tidegate_protocol::consumer_protocol::Assignment;
use tidegate_protocol::messages::{
    ApiKey, DeleteGroupsRequest, DescribeGroupsRequest, GroupId, ListGroupsRequest,
};

use super::Admin;
use super::topics::missing;
use crate::client::Target;
use crate::error::accepted;
use crate::offsets::text;
use crate::{Error, TopicPartition};

/// A group in a list of groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGroup {
    /// Its id.
    pub group: String,
    /// Where it is in its rebalance; empty if the broker does not tell.
    pub state: String,
    /// The kind of members; empty for a group that only keeps offsets.
    pub protocol_type: String,
}

/// A group with its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedGroup {
    /// Its id.
    pub group: String,
    /// Where it is in its rebalance.
    pub state: String,
    /// The kind of members.
    pub protocol_type: String,
    /// The assignor.
    pub protocol: String,
    /// Its members.
    pub members: Vec<GroupMember>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// Its id.
    pub member_id: String,
    /// Its instance id, if it is static.
    pub group_instance_id: Option<String>,
    /// Its client's name.
    pub client_id: String,
    /// The host it connects from.
    pub client_host: String,
    /// What it reads.
    pub assignment: Vec<TopicPartition>,
}

impl Admin {
    /// Every group, of all brokers.
    ///
    /// # Errors
    /// As calls to the brokers.
    pub async fn list_groups(&self) -> Result<Vec<ListedGroup>, Error> {
        let brokers: Vec<i32> = self.client.refresh(&[]).await?.brokers.keys().copied().collect();
        let mut groups = Vec::new();
        for broker in brokers {
            let check = |response: &tidegate_protocol::messages::ListGroupsResponse| {
                accepted(ApiKey::ListGroups, response.error_code, None)
            };
            let request = |_| ListGroupsRequest::default();
            let response = self.client.call_checked(Target::Broker(broker), request, check).await?;
            groups.extend(response.groups.into_iter().map(|group| ListedGroup {
                group: group.group_id.to_string(),
                state: group.group_state.to_string(),
                protocol_type: group.protocol_type.to_string(),
            }));
        }
        groups.sort_by(|left, right| left.group.cmp(&right.group));
        Ok(groups)
    }

    /// A group with its members; a group that does not exist has the state `Dead`.
    ///
    /// # Errors
    /// `Refused` with the broker's reason.
    pub async fn describe_group(&self, group: &str) -> Result<DescribedGroup, Error> {
        let request = |_| DescribeGroupsRequest::default().with_groups(vec![GroupId(text(group))]);
        let check = |response: &tidegate_protocol::messages::DescribeGroupsResponse| {
            let code = response.groups.first().map_or(0, |group| group.error_code);
            let detail = response.groups.first().and_then(|group| group.error_message.as_deref());
            match accepted(ApiKey::DescribeGroups, code, detail) {
                Err(error) if error.code() == Some(crate::ResponseError::GroupIdNotFound) => Ok(()),
                other => other,
            }
        };
        let response = self.client.call_checked(Target::Coordinator(group), request, check).await?;
        let described = response.groups.into_iter().next().ok_or_else(|| missing("DescribeGroups", group))?;
        let members = described.members.into_iter().map(|member| GroupMember {
            member_id: member.member_id.to_string(),
            group_instance_id: member.group_instance_id.map(|instance| instance.to_string()),
            client_id: member.client_id.to_string(),
            client_host: member.client_host.to_string(),
            assignment: assignment(member.member_assignment),
        });
        Ok(DescribedGroup {
            group: group.to_owned(),
            state: described.group_state.to_string(),
            protocol_type: described.protocol_type.to_string(),
            protocol: described.protocol_data.to_string(),
            members: members.collect(),
        })
    }

    /// Deletes a group without members, with its committed offsets.
    ///
    /// # Errors
    /// `Refused` with the broker's reason, such as `NonEmptyGroup` or `GroupIdNotFound`.
    pub async fn delete_group(&self, group: &str) -> Result<(), Error> {
        let request = |_| DeleteGroupsRequest::default().with_groups_names(vec![GroupId(text(group))]);
        let check = |response: &tidegate_protocol::messages::DeleteGroupsResponse| {
            let code = response.results.first().map_or(0, |result| result.error_code);
            accepted(ApiKey::DeleteGroups, code, None)
        };
        self.client.call_checked(Target::Coordinator(group), request, check).await.map(drop)
    }
}

/// The partitions of a consumer's assignment, in order; none if it is another protocol's.
fn assignment(bytes: Bytes) -> Vec<TopicPartition> {
    let assigned = Assignment::decode(bytes).unwrap_or_default().partitions.into_iter();
    let mut partitions: Vec<TopicPartition> = assigned
        .flat_map(|(topic, partitions)| {
            partitions.into_iter().map(move |one| TopicPartition::new(topic.clone(), one))
        })
        .collect();
    partitions.sort();
    partitions
}
