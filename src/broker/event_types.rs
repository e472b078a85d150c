//! The event types that the configuration gives a topic, in the catalogue.
//!
//! What always holds: an entry of the configuration replaces one that a publisher or an earlier configuration made; types
//! that the configuration does not name are left alone. The topic need not be there: the first event makes it.

use std::fmt::Display;

use tidegate_outbox::{register_event_type, topic_of_event_type};
use tidegate_store::{CommitError, Store, commit_settled};
use tracing::info;

use crate::running::StartError;
use crate::settings::EventTypes;

/// How often it is tried again when publishers change the same types.
const CONFLICT_RETRIES: usize = 16;

/// Enters each type whose topic is another one, or none.
pub(crate) async fn enter_event_types<S: Store>(store: &S, types: &EventTypes) -> Result<(), StartError> {
    if types.iter().next().is_none() {
        return Ok(());
    }
    for _ in 0..CONFLICT_RETRIES {
        let mut txn = store.begin().await.map_err(|error| failed(&error))?;
        let mut changed = Vec::new();
        for (event_type, topic) in types.iter() {
            let found = topic_of_event_type(&mut txn, event_type).await;
            let before = found.map_err(|error| failed(&error))?;
            if before.as_deref() != Some(topic) {
                register_event_type(&mut txn, event_type, topic).map_err(|error| failed(&error))?;
                changed.push((event_type, topic, before));
            }
        }
        if changed.is_empty() {
            return Ok(());
        }
        match commit_settled(store, txn).await {
            Ok(()) => {
                for (event_type, topic, before) in changed {
                    info!(event_type, topic, before, "an event type has its topic by configuration");
                }
                return Ok(());
            }
            Err(CommitError::Conflict) => {}
            Err(error) => return Err(failed(&error)),
        }
    }
    Err(failed(&CommitError::Conflict))
}

fn failed(error: &impl Display) -> StartError {
    StartError::EventTypes { reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidegate_store::{ManualClock, MemoryStore, Txn};

    use super::*;
    use crate::settings::Settings;

    fn configured(text: &str) -> EventTypes {
        let mut settings = Settings::default();
        settings.set("event.types", text).expect("types");
        settings.event_types
    }

    async fn topic<S: Store>(store: &S, event_type: &str) -> Option<String> {
        let mut txn = store.begin().await.expect("a snapshot");
        topic_of_event_type(&mut txn, event_type).await.expect("loaded")
    }

    #[tokio::test]
    async fn the_configuration_replaces_what_a_publisher_made_and_leaves_the_rest_alone() {
        let store = MemoryStore::new(Arc::new(ManualClock::at(0)));
        let mut txn = store.begin().await.expect("a snapshot");
        for (event_type, made) in [("order.placed", "first"), ("order.paid", "second")] {
            register_event_type(&mut txn, event_type, made).expect("names");
        }
        txn.commit().await.expect("committed");
        let types = configured("order.placed=orders,order.sent=orders");
        for _ in 0..2 {
            enter_event_types(&store, &types).await.expect("entered");
            assert_eq!(topic(&store, "order.placed").await.as_deref(), Some("orders"));
            assert_eq!(topic(&store, "order.sent").await.as_deref(), Some("orders"));
            assert_eq!(topic(&store, "order.paid").await.as_deref(), Some("second"));
        }
    }
}
