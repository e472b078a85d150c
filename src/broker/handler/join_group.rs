//! JoinGroup, versions 0 to 9.
//!
//! In 0 the rebalance time-out is the session's; from 4 a new dynamic member must come back with the id it is given, from
//! 5 members can be static, from 7 the answer has the protocol type and a protocol that may be null, from 8 the request
//! has a reason (logged nowhere: it is the client's own text), from 9 a leader can be told to skip the assignment.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse};
use kafka_protocol::protocol::StrBytes;
use tidegate_group::{Command, Join, JoinRefused, Joined, Reply};
use uuid::Uuid;

use super::group_errors::{check_group, group_code, host_code};
use crate::Broker;
use crate::dispatch::{Answer, Caller};

/// Generation in the answer to a join that came to nothing.
const NO_GENERATION: i32 = -1;
/// Bytes of the client's name that a member id begins with: the whole must stay a valid id.
const ID_PREFIX_MAX_BYTES: usize = 512;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    caller: &Caller,
    request: JoinGroupRequest,
) -> Answer<JoinGroupResponse> {
    let version = caller.version;
    let member_id = request.member_id.clone();
    if let Err(code) = check_group(&request.group_id) {
        return Answer::Now(refused(version, code, member_id));
    }
    let group = request.group_id.to_string();
    let joining = broker.groups.send(&group, Command::Join(join(caller, request))).await;
    Answer::Later(Box::pin(async move {
        match joining.answer().await {
            Ok(Reply::Join(Ok(joined))) => accepted(version, joined),
            Ok(Reply::Join(Err(JoinRefused { error, member_id }))) => {
                refused(version, group_code(error), StrBytes::from_string(member_id))
            }
            Ok(other) => unreachable!("a join was answered by {other:?}"),
            Err(error) => refused(version, host_code(&error), member_id),
        }
    }))
}

fn join(caller: &Caller, request: JoinGroupRequest) -> Join {
    let instance = request.group_instance_id.map(|instance| instance.to_string());
    let name = instance.as_deref().unwrap_or(&caller.client_id);
    let prefix = &name[..name.floor_char_boundary(ID_PREFIX_MAX_BYTES)];
    Join {
        new_member_id: format!("{prefix}-{}", Uuid::new_v4()),
        member_id: request.member_id.to_string(),
        instance,
        client_id: caller.client_id.clone(),
        client_host: caller.client_host.clone(),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: match caller.version {
            0 => request.session_timeout_ms,
            _ => request.rebalance_timeout_ms,
        },
        protocol_type: request.protocol_type.to_string(),
        protocols: request
            .protocols
            .into_iter()
            // A copy: it stays as long as its member, and the rest of its request must not.
            .map(|protocol| (protocol.name.to_string(), Bytes::copy_from_slice(&protocol.metadata)))
            .collect(),
        member_id_required: caller.version >= 4,
        can_skip_assignment: caller.version >= 9,
    }
}

fn accepted(version: i16, joined: Joined) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|member| {
        JoinGroupResponseMember::default()
            .with_member_id(StrBytes::from_string(member.member_id))
            .with_group_instance_id(member.instance.filter(|_| version >= 5).map(StrBytes::from_string))
            .with_metadata(member.metadata)
    });
    JoinGroupResponse::default()
        .with_generation_id(joined.generation.0)
        .with_protocol_type(joined.protocol_type.filter(|_| version >= 7).map(StrBytes::from_string))
        .with_protocol_name(protocol_name(version, joined.protocol))
        .with_leader(StrBytes::from_string(joined.leader))
        .with_skip_assignment(joined.skip_assignment && version >= 9)
        .with_member_id(StrBytes::from_string(joined.member_id))
        .with_members(members.collect())
}

fn refused(version: i16, code: i16, member_id: StrBytes) -> JoinGroupResponse {
    JoinGroupResponse::default()
        .with_error_code(code)
        .with_generation_id(NO_GENERATION)
        .with_protocol_name(protocol_name(version, None))
        .with_member_id(member_id)
}

/// Before 7 the protocol cannot be null on the wire.
fn protocol_name(version: i16, protocol: Option<String>) -> Option<StrBytes> {
    let protocol = protocol.map(StrBytes::from_string);
    if version < 7 { Some(protocol.unwrap_or_default()) } else { protocol }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;

    use super::*;

    #[test]
    fn a_member_does_not_keep_its_request_in_memory() {
        let frame = Bytes::from(vec![7; 1 << 20]);
        let protocol = JoinGroupRequestProtocol::default().with_metadata(frame.slice(10..14));
        let caller = Caller { version: 9, client_id: "c".into(), client_host: "/127.0.0.1".into() };
        let joining = join(&caller, JoinGroupRequest::default().with_protocols(vec![protocol]));
        assert_eq!(joining.protocols[0].1, frame[10..14]);
        assert!(frame.is_unique(), "what is kept is a copy");
    }
}
