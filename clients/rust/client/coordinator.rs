//! Which broker coordinates a group.

use tidegate_protocol::StrBytes;
use tidegate_protocol::messages::{ApiKey, FindCoordinatorRequest, FindCoordinatorResponse};

use super::Client;
use crate::Error;
use crate::error::accepted;

/// The coordinator of a group, not of a transaction.
const GROUP: i8 = 0;

impl Client {
    /// The broker that coordinates this group, as known or asked for.
    pub(crate) async fn coordinator(&self, group: &str) -> Result<i32, Error> {
        if let Some(id) = self.coordinators().get(group) {
            return Ok(*id);
        }
        let request = |version: i16| {
            let key = StrBytes::from_string(group.to_owned());
            let request = FindCoordinatorRequest::default();
            let request = if version >= 1 { request.with_key_type(GROUP) } else { request };
            if version >= 4 { request.with_coordinator_keys(vec![key]) } else { request.with_key(key) }
        };
        let response = self.any().await?.call(request).await?;
        let id = found(&response)?;
        // The coordinator may be a broker that joined since.
        if self.metadata().broker(id).is_err() {
            self.refresh(&[]).await?;
        }
        self.coordinators().insert(group.to_owned(), id);
        Ok(id)
    }

    pub(crate) fn forget_coordinator(&self, group: &str) {
        self.coordinators().remove(group);
    }
}

fn found(response: &FindCoordinatorResponse) -> Result<i32, Error> {
    // Since version 4 there is one answer for each key; before, the only one is in the response itself.
    let (id, code, detail) = match response.coordinators.first() {
        Some(one) => (one.node_id.0, one.error_code, &one.error_message),
        None => (response.node_id.0, response.error_code, &response.error_message),
    };
    accepted(ApiKey::FindCoordinator, code, detail.as_deref())?;
    Ok(id)
}
