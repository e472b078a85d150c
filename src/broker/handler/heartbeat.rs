//! Heartbeat, versions 0 to 4. From 3 members can be static.
//!
//! While a group is loaded again every heartbeat is good: sessions start anew with the loading, and no client expects to
//! hear of it here.

use std::sync::Arc;

use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse};
use tidegate_format::Generation;
use tidegate_group::{Command, Heartbeat, MemberIdentity, Reply};

use super::group_errors::{check_group, group_code, host_code};
use crate::Broker;
use crate::dispatch::{Answer, Caller};
use crate::group_host::GroupHostError;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _caller: &Caller,
    request: HeartbeatRequest,
) -> Answer<HeartbeatResponse> {
    if let Err(code) = check_group(&request.group_id) {
        return Answer::Now(HeartbeatResponse::default().with_error_code(code));
    }
    let group = request.group_id.to_string();
    let heartbeat = Heartbeat {
        member: MemberIdentity {
            member_id: request.member_id.to_string(),
            instance: request.group_instance_id.map(|instance| instance.to_string()),
        },
        generation: Generation(request.generation_id),
    };
    let beating = broker.groups.send(&group, Command::Heartbeat(heartbeat)).await;
    Answer::Later(Box::pin(async move {
        let code = match beating.answer().await {
            Ok(Reply::Heartbeat(outcome)) => outcome.map_or_else(group_code, |()| 0),
            Ok(other) => unreachable!("a heartbeat was answered by {other:?}"),
            Err(GroupHostError::Reloading) => 0,
            Err(error) => host_code(&error),
        };
        HeartbeatResponse::default().with_error_code(code)
    }))
}
