//! DescribeGroups, versions 0 to 6.
//!
//! From 3 authorized operations can be asked for, from 4 the answer has instance ids; up to 5 a group that does not exist
//! is "Dead", from 6 it is GROUP_ID_NOT_FOUND.

use std::collections::HashSet;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse, GroupId};
use kafka_protocol::protocol::StrBytes;
use tidegate_group::{GroupDescription, MemberDescription, state_name};

use super::OPERATIONS_NOT_ASKED;
use super::group_errors::{check_group_of_offsets, host_code};
use crate::Broker;
use crate::dispatch::{Answer, Caller};

/// READ, DELETE, DESCRIBE on a group, and the configurations of groups.
const GROUP_OPERATIONS: i32 = 0b1101_0100_1000;
/// Kafka's word for a group that does not exist.
const DEAD: &str = "Dead";

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    caller: &Caller,
    request: DescribeGroupsRequest,
) -> Answer<DescribeGroupsResponse> {
    let asked = request.include_authorized_operations;
    let mut groups = Vec::with_capacity(request.groups.len());
    let mut seen = HashSet::new();
    for group in request.groups {
        // What is asked for more than once is answered once.
        if !seen.insert(group.clone()) {
            continue;
        }
        let mut described = describe(broker, caller, group).await;
        if caller.version >= 3 {
            described.authorized_operations = if asked { GROUP_OPERATIONS } else { OPERATIONS_NOT_ASKED };
        }
        groups.push(described);
    }
    Answer::Now(DescribeGroupsResponse::default().with_groups(groups))
}

async fn describe(broker: &Arc<Broker>, caller: &Caller, group: GroupId) -> DescribedGroup {
    let answer = DescribedGroup::default().with_group_id(group.clone());
    if let Err(code) = check_group_of_offsets(&group) {
        return answer.with_error_code(code);
    }
    match broker.groups.describe(&group).await {
        Ok(Some(description)) => known(caller, answer, description),
        Ok(None) if caller.version >= 6 => {
            let message = format!("there is no group `{}`", group.as_str());
            answer
                .with_error_code(ResponseError::GroupIdNotFound.code())
                .with_error_message(Some(StrBytes::from_string(message)))
                .with_group_state(StrBytes::from_static_str(DEAD))
        }
        Ok(None) => answer.with_group_state(StrBytes::from_static_str(DEAD)),
        Err(error) => answer.with_error_code(host_code(&error)),
    }
}

fn known(caller: &Caller, answer: DescribedGroup, description: GroupDescription) -> DescribedGroup {
    let member = |member: MemberDescription| {
        let mut described = DescribedGroupMember::default()
            .with_member_id(StrBytes::from_string(member.member_id))
            .with_client_id(StrBytes::from_string(member.client_id))
            .with_client_host(StrBytes::from_string(member.client_host))
            .with_member_metadata(member.metadata)
            .with_member_assignment(member.assignment);
        if caller.version >= 4 {
            described.group_instance_id = member.instance.map(StrBytes::from_string);
        }
        described
    };
    answer
        .with_group_state(StrBytes::from_static_str(state_name(description.state)))
        .with_protocol_type(StrBytes::from_string(description.protocol_type.unwrap_or_default()))
        .with_protocol_data(StrBytes::from_string(description.protocol.unwrap_or_default()))
        .with_members(description.members.into_iter().map(member).collect())
}
