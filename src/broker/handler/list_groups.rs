//! ListGroups, versions 0 to 5.
//!
//! From 4 groups can be asked for by state and the answer has it, from 5 also by type.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{GroupId, ListGroupsRequest, ListGroupsResponse};
use kafka_protocol::protocol::StrBytes;
use tidegate_group::state_name;

use crate::Broker;
use crate::dispatch::{Answer, Caller};

/// The type of groups of the classic protocol, written as Kafka's coordinator writes it: not every tool ignores case.
const CLASSIC: &str = "classic";

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    caller: &Caller,
    request: ListGroupsRequest,
) -> Answer<ListGroupsResponse> {
    let wanted = |filter: &[StrBytes], value: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(value))
    };
    let groups = match broker.groups.list().await {
        Ok(groups) => groups,
        Err(error) => {
            tracing::warn!(%error, "groups cannot be listed");
            let code = ResponseError::CoordinatorNotAvailable.code();
            return Answer::Now(ListGroupsResponse::default().with_error_code(code));
        }
    };
    let shown = groups
        .into_iter()
        .filter(|group| wanted(&request.states_filter, state_name(group.state)))
        .filter(|_| wanted(&request.types_filter, CLASSIC))
        .map(|group| {
            let mut listed = ListedGroup::default()
                .with_group_id(GroupId(StrBytes::from_string(group.group)))
                .with_protocol_type(StrBytes::from_string(group.protocol_type.unwrap_or_default()));
            if caller.version >= 4 {
                listed.group_state = StrBytes::from_static_str(state_name(group.state));
            }
            if caller.version >= 5 {
                listed.group_type = StrBytes::from_static_str(CLASSIC);
            }
            listed
        });
    Answer::Now(ListGroupsResponse::default().with_groups(shown.collect()))
}
