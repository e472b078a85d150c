//! What one write does beside writing its row.

use bytes::Bytes;

use crate::{Model, NewEvent};

/// Options of one insert, update, save or delete.
///
/// ```
/// # use std::sync::Arc;
/// # use serde::{Deserialize, Serialize};
/// # use tidegate_model::{Db, DbSettings, Error, NoWakeup, Model, WriteOptions};
/// # use tidegate_store::{MemoryStore, SystemClock};
/// #[derive(Serialize, Deserialize, Model)]
/// # #[model(crate = tidegate_model)]
/// #[model(table = "users", events(insert = "user.created", update = "user.changed"))]
/// struct User {
///     id: i64,
///     name: String,
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// # let store = MemoryStore::new(Arc::new(SystemClock));
/// # let db = Db::new(store, DbSettings::default(), Arc::new(NoWakeup));
/// let user = &User { id: 1, name: "Ada".to_owned() };
/// let options = &WriteOptions::new().metadata("on-behalf-of", "support").images();
/// db.transaction(|tx| async move { tx.insert_with(user, options).await }).await?;
/// // It changes nothing, so nobody is told.
/// let options = &WriteOptions::new().skip_unchanged(true);
/// db.transaction(|tx| async move { tx.update_with(user, options).await }).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    skips_events: bool,
    skips_unchanged: Option<bool>,
    has_images: bool,
    due_ms: Option<i64>,
    metadata: Vec<(String, Bytes)>,
}

impl WriteOptions {
    /// The defaults: the model's events, as it gives them.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Announces nothing.
    #[must_use]
    pub fn without_events(mut self) -> Self {
        self.skips_events = true;
        self
    }

    /// Whether writing a row as it is already is no write at all, in place of [`Model::SKIPS_UNCHANGED`].
    #[must_use]
    pub fn skip_unchanged(mut self, skips: bool) -> Self {
        self.skips_unchanged = Some(skips);
        self
    }

    /// The model's events carry it before and after the write, unless they have a value of their own; see
    /// [`NewEvent::images`].
    #[must_use]
    pub fn images(mut self) -> Self {
        self.has_images = true;
        self
    }

    /// Holds the model's events until `due_ms`, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn due_at(mut self, due_ms: i64) -> Self {
        self.due_ms = Some(due_ms);
        self
    }

    /// A header more for each of the model's events: who wrote, on whose behalf, in which trace.
    #[must_use]
    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.metadata.push((name.into(), value.into()));
        self
    }

    pub(crate) fn events(&self, events: impl FnOnce() -> Vec<NewEvent>) -> Vec<NewEvent> {
        if self.skips_events { vec![] } else { events() }
    }

    pub(crate) fn skips_unchanged<M: Model>(&self) -> bool {
        self.skips_unchanged.unwrap_or(M::SKIPS_UNCHANGED)
    }

    pub(crate) fn needs_images(&self, events: &[NewEvent]) -> bool {
        (self.has_images && !events.is_empty()) || events.iter().any(NewEvent::wants_images)
    }

    /// The events with what this write adds to them.
    pub(crate) fn with_metadata(&self, events: Vec<NewEvent>) -> Vec<NewEvent> {
        let complete = |mut event: NewEvent| {
            if self.has_images && !event.has_own_value() {
                event = event.images();
            }
            if let Some(due_ms) = self.due_ms {
                event = event.due_at(due_ms);
            }
            self.metadata.iter().fold(event, |event, (name, value)| event.header(name, value.clone()))
        };
        events.into_iter().map(complete).collect()
    }
}
