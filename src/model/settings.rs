//! What a [`Db`](crate::Db) can be told.

use tidegate_outbox::{PublishSettings, TopicDefaults};

use crate::RetryPolicy;

/// The settings of a [`Db`](crate::Db).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DbSettings {
    /// Where its events come from (`ce_source`), a URI reference. Not empty.
    pub source: String,
    /// The largest model, as JSON, in bytes (`model.max.bytes`).
    pub model_max_bytes: usize,
    /// For how long the id of an event that is published once is remembered, in milliseconds, from a minute on, and up to
    /// a minute longer. Another value is for the ids that are published from then on.
    pub unique_id_window_ms: i64,
    /// How often, and how soon, a transaction that lost against another runs again.
    pub retry: RetryPolicy,
    /// Limits of events, and what a topic gets that is created by its first event.
    pub publish: PublishSettings,
}

impl Default for DbSettings {
    fn default() -> Self {
        let create_topics = Some(TopicDefaults::default());
        Self {
            source: "/tidegate".to_owned(),
            model_max_bytes: 1 << 20,
            unique_id_window_ms: 24 * 60 * 60 * 1_000,
            retry: RetryPolicy::default(),
            publish: PublishSettings { create_topics, ..PublishSettings::default() },
        }
    }
}
