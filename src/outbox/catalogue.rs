//! The catalogue: which topic an event type belongs to.

use tidegate_format::{EventTypeKey, EventTypeValue, check_event_type};
use tidegate_store::Txn;

use crate::topic::check_topic;
use crate::{LoadError, PublishError};

/// The topic of an event type in the caller's snapshot, if the catalogue has it.
///
/// # Errors
/// If the row cannot be loaded.
pub async fn topic_of_event_type(txn: &mut impl Txn, event_type: &str) -> Result<Option<String>, LoadError> {
    if check_event_type(event_type).is_err() {
        return Ok(None);
    }
    let key = EventTypeKey { name: event_type.to_owned() }.encode();
    match txn.get(&key).await? {
        Some(row) => Ok(Some(EventTypeValue::decode(row)?.topic)),
        None => Ok(None),
    }
}

/// Writes which topic an event type belongs to, in the caller's transaction; an earlier entry is replaced, so events
/// published from then on go to the new topic.
///
/// # Errors
/// If either name is not allowed.
pub fn register_event_type(txn: &mut impl Txn, event_type: &str, topic: &str) -> Result<(), PublishError> {
    check_type(event_type)?;
    check_topic(topic)?;
    let key = EventTypeKey { name: event_type.to_owned() }.encode();
    txn.put(key, EventTypeValue { topic: topic.to_owned() }.encode());
    Ok(())
}

/// Checks an event type's name: by the same rule as a topic's.
pub(crate) fn check_type(name: &str) -> Result<(), PublishError> {
    check_event_type(name).map_err(|cause| PublishError::Name { name: name.to_owned(), cause })
}
