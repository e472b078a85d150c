//! LeaveGroup, versions 0 to 5.
//!
//! Up to 2 one member leaves, and its error is that of the answer; from 3 several can, named by member or instance id, each
//! with an error of its own; from 5 with a reason.

use std::sync::Arc;

use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};
use kafka_protocol::protocol::StrBytes;
use tidegate_group::{Command, GroupError, Leave, MemberIdentity, Reply};

use super::group_errors::{check_group, group_code, host_code};
use crate::Broker;
use crate::dispatch::{Answer, Caller};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    caller: &Caller,
    request: LeaveGroupRequest,
) -> Answer<LeaveGroupResponse> {
    let version = caller.version;
    if let Err(code) = check_group(&request.group_id) {
        return Answer::Now(LeaveGroupResponse::default().with_error_code(code));
    }
    let group = request.group_id.to_string();
    let leaving = broker.groups.send(&group, Command::Leave(leave(version, request))).await;
    Answer::Later(Box::pin(async move {
        match leaving.answer().await {
            Ok(Reply::Leave(outcomes)) => answer(version, outcomes),
            Ok(other) => unreachable!("a leave was answered by {other:?}"),
            Err(error) => LeaveGroupResponse::default().with_error_code(host_code(&error)),
        }
    }))
}

fn leave(version: i16, request: LeaveGroupRequest) -> Leave {
    if version < 3 {
        let member = MemberIdentity { member_id: request.member_id.to_string(), instance: None };
        return Leave { members: vec![member] };
    }
    let identity = |member: kafka_protocol::messages::leave_group_request::MemberIdentity| MemberIdentity {
        member_id: member.member_id.to_string(),
        instance: member.group_instance_id.map(|instance| instance.to_string()),
    };
    Leave { members: request.members.into_iter().map(identity).collect() }
}

fn answer(version: i16, outcomes: Vec<(MemberIdentity, Result<(), GroupError>)>) -> LeaveGroupResponse {
    let code = |outcome: Result<(), GroupError>| outcome.map_or_else(group_code, |()| 0);
    if version < 3 {
        let code = outcomes.into_iter().next().map_or(0, |(_, outcome)| code(outcome));
        return LeaveGroupResponse::default().with_error_code(code);
    }
    let member = |(member, outcome): (MemberIdentity, _)| {
        MemberResponse::default()
            .with_member_id(StrBytes::from_string(member.member_id))
            .with_group_instance_id(member.instance.map(StrBytes::from_string))
            .with_error_code(code(outcome))
    };
    LeaveGroupResponse::default().with_members(outcomes.into_iter().map(member).collect())
}
