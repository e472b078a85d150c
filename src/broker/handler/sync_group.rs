//! SyncGroup, versions 0 to 5.
//!
//! From 3 members can be static, from 5 request and answer name the protocol and its type.
//!
//! While a group is loaded again its members are told to join: no client expects to hear of the loading here.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{SyncGroupRequest, SyncGroupResponse};
use kafka_protocol::protocol::StrBytes;
use tidegate_format::Generation;
use tidegate_group::{Command, MemberIdentity, Reply, Sync, Synced};

use super::group_errors::{check_group, group_code, host_code};
use crate::Broker;
use crate::dispatch::{Answer, Caller};
use crate::group_host::GroupHostError;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    caller: &Caller,
    request: SyncGroupRequest,
) -> Answer<SyncGroupResponse> {
    let version = caller.version;
    if let Err(code) = check_group(&request.group_id) {
        return Answer::Now(SyncGroupResponse::default().with_error_code(code));
    }
    if version >= 5 && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
        let code = ResponseError::InconsistentGroupProtocol.code();
        return Answer::Now(SyncGroupResponse::default().with_error_code(code));
    }
    let group = request.group_id.to_string();
    let syncing = broker.groups.send(&group, Command::Sync(sync(request))).await;
    Answer::Later(Box::pin(async move {
        match syncing.answer().await {
            Ok(Reply::Sync(Ok(synced))) => accepted(version, synced),
            Ok(Reply::Sync(Err(error))) => SyncGroupResponse::default().with_error_code(group_code(error)),
            Ok(other) => unreachable!("a sync was answered by {other:?}"),
            Err(GroupHostError::Reloading) => {
                SyncGroupResponse::default().with_error_code(ResponseError::RebalanceInProgress.code())
            }
            Err(error) => SyncGroupResponse::default().with_error_code(host_code(&error)),
        }
    }))
}

fn sync(request: SyncGroupRequest) -> Sync {
    let text = |text: StrBytes| text.to_string();
    Sync {
        member: MemberIdentity {
            member_id: request.member_id.to_string(),
            instance: request.group_instance_id.map(text),
        },
        generation: Generation(request.generation_id),
        protocol_type: request.protocol_type.map(text),
        protocol: request.protocol_name.map(text),
        assignments: request
            .assignments
            .into_iter()
            // A copy: it stays as long as its member has it, and the rest of the request must not.
            .map(|assigned| (assigned.member_id.to_string(), Bytes::copy_from_slice(&assigned.assignment)))
            .collect(),
    }
}

fn accepted(version: i16, synced: Synced) -> SyncGroupResponse {
    let named = |name: Option<String>| name.filter(|_| version >= 5).map(StrBytes::from_string);
    SyncGroupResponse::default()
        .with_protocol_type(named(synced.protocol_type))
        .with_protocol_name(named(synced.protocol))
        .with_assignment(synced.assignment)
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;

    use super::*;

    #[test]
    fn an_assignment_does_not_keep_its_request_in_memory() {
        let frame = Bytes::from(vec![7; 1 << 20]);
        let assigned = SyncGroupRequestAssignment::default().with_assignment(frame.slice(10..14));
        let syncing = sync(SyncGroupRequest::default().with_assignments(vec![assigned]));
        assert_eq!(syncing.assignments[0].1, frame[10..14]);
        assert!(frame.is_unique(), "what is kept is a copy");
    }
}
