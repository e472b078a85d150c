//! DeleteGroups, versions 0 to 2, all alike. A group that is named more than once is answered once.

use std::collections::HashSet;
use std::sync::Arc;

use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};
use tidegate_group::{Command, Reply};

use super::group_errors::{check_group_of_offsets, group_code, host_code};
use crate::Broker;
use crate::dispatch::{Answer, Caller};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _caller: &Caller,
    request: DeleteGroupsRequest,
) -> Answer<DeleteGroupsResponse> {
    let mut results = Vec::with_capacity(request.groups_names.len());
    let mut seen = HashSet::new();
    for group in request.groups_names {
        if !seen.insert(group.clone()) {
            continue;
        }
        let code = delete(broker, &group).await.map_or_else(|code| code, |()| 0);
        results.push(DeletableGroupResult::default().with_group_id(group).with_error_code(code));
    }
    Answer::Now(DeleteGroupsResponse::default().with_results(results))
}

async fn delete(broker: &Arc<Broker>, group: &str) -> Result<(), i16> {
    check_group_of_offsets(group)?;
    match broker.groups.send(group, Command::Delete).await.answer().await {
        Ok(Reply::Delete(outcome)) => outcome.map_err(group_code),
        Ok(other) => unreachable!("a delete was answered by {other:?}"),
        Err(error) => Err(host_code(&error)),
    }
}
