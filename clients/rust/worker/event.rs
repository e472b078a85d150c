//! An event as a handler gets it.

use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use tidegate_outbox::{HEADER_ID, HEADER_TYPE};

use crate::ConsumerRecord;

/// A record that a worker hands to its handler. Clones share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    record: Arc<ConsumerRecord>,
    failures: u32,
}

impl Event {
    pub(crate) fn new(record: Arc<ConsumerRecord>, failures: u32) -> Self {
        Self { record, failures }
    }

    /// The record itself: topic, partition, offset, timestamp, key, value, headers.
    #[must_use]
    pub fn record(&self) -> &ConsumerRecord {
        &self.record
    }

    /// How often handling it has failed before.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Its type (`ce_type`), for example `order.placed`; none for a record that is no CloudEvent.
    #[must_use]
    pub fn event_type(&self) -> Option<&str> {
        self.text_header(HEADER_TYPE)
    }

    /// Its id (`ce_id`), unique at its source; none for a record that is no CloudEvent.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.text_header(HEADER_ID)
    }

    /// Its key as text: the model's id for a model's event. None without a key, or if it is no UTF-8.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok())
    }

    /// Its value; none when the model was deleted.
    #[must_use]
    pub fn value(&self) -> Option<&Bytes> {
        self.record.value.as_ref()
    }

    /// Its value, from JSON.
    ///
    /// # Errors
    /// The value is missing, or not JSON of this type: returned from a handler, that takes the retry path.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(self.record.value.as_deref().unwrap_or_default())
    }

    fn text_header(&self, name: &str) -> Option<&str> {
        self.record.header(name).and_then(|value| std::str::from_utf8(value).ok())
    }
}
