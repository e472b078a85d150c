//! An event as a model or a caller announces it, before the model's id, the source and the time are filled in.

use std::time::Duration;

use bytes::Bytes;
use tidegate_outbox::Event;
use uuid::Uuid;

const JSON: &str = "application/json";

/// An event to publish. What is left out is filled in: for a model's event the key and subject are its id, the value
/// is the model (none once it is deleted) and the topic is its table; for one published on its own the topic is the
/// event type's name.
///
/// ```
/// # use std::sync::Arc;
/// # use tidegate_model::{Db, DbSettings, Error, NoWakeup, NewEvent};
/// # use tidegate_store::{MemoryStore, SystemClock};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// # let store = MemoryStore::new(Arc::new(SystemClock));
/// # let db = Db::new(store, DbSettings::default(), Arc::new(NoWakeup));
/// use std::time::Duration;
///
/// db.transaction(|tx| async move {
///     let paid = NewEvent::new("order.paid").topic("orders").key("17");
///     tx.publish(paid.json(&serde_json::json!({ "amount": 12 })).header("trace", "7f3a")).await?;
///     let remind = NewEvent::new("order.reminder").topic("orders").key("18");
///     tx.publish(remind.due_in(Duration::from_secs(3_600)).schedule("remind/18")).await?;
///     assert!(tx.cancel_schedule("orders", "remind/18").await?);
///     Ok(())
/// })
/// .await?;
///
/// // Once only, also after it was delivered.
/// let welcome = || NewEvent::new("mail.wanted").unique_id("welcome/17");
/// let publish = async || db.transaction(|tx| async move { tx.publish(welcome()).await }).await;
/// assert!(publish().await?.is_some());
/// assert!(publish().await?.is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewEvent {
    event_type: String,
    id: Option<String>,
    topic: Option<String>,
    subject: Option<String>,
    key: Option<Bytes>,
    payload: Payload,
    headers: Vec<(String, Option<Bytes>)>,
    due: Option<Due>,
    schedule: Option<String>,
    is_unique: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Payload {
    /// The model, if there is one.
    #[default]
    Model,
    Absent,
    /// The model before and after the write.
    Images,
    Given {
        value: Bytes,
        content_type: Option<String>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    At(i64),
    In(Duration),
}

impl Due {
    fn ms(self, now_ms: i64) -> i64 {
        match self {
            Self::At(due_ms) => due_ms,
            Self::In(after) => now_ms.saturating_add(i64::try_from(after.as_millis()).unwrap_or(i64::MAX)),
        }
    }
}

/// What a model fills in.
pub(crate) struct Subject<'a> {
    pub(crate) table: &'static str,
    pub(crate) id: String,
    /// The model as JSON; none if it is deleted.
    pub(crate) body: Option<&'a Bytes>,
    /// The model as it was, as JSON, if anybody asked for it; none if it was not there.
    pub(crate) before: Option<&'a Bytes>,
}

impl NewEvent {
    /// An event of a type, due at commit.
    #[must_use]
    pub fn new(event_type: impl Into<String>) -> Self {
        Self { event_type: event_type.into(), ..Self::default() }
    }

    /// Its id (`ce_id`), unique at the source; a random UUID if not given.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Its id, under which it is published once: publishing it again, also after it was delivered, does nothing for
    /// [`DbSettings::unique_id_window_ms`](crate::DbSettings::unique_id_window_ms) at least. The id is unique at the
    /// source and has 1 to 512 bytes.
    #[must_use]
    pub fn unique_id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self.is_unique = true;
        self
    }

    /// The topic that its type belongs to, if the catalogue does not know the type yet.
    #[must_use]
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.topic = Some(topic.into());
        self
    }

    /// What it is about (`ce_subject`).
    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// The record's key: events with one key keep their order.
    #[must_use]
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The record's value, as JSON: `serde_json::json!(order)` makes it of whatever serialises.
    #[must_use]
    pub fn json(mut self, value: &serde_json::Value) -> Self {
        self.payload =
            Payload::Given { value: value.to_string().into(), content_type: Some(JSON.to_owned()) };
        self
    }

    /// The record's value, as bytes of a media type.
    #[must_use]
    pub fn value(mut self, value: impl Into<Bytes>, content_type: Option<&str>) -> Self {
        let content_type = content_type.map(str::to_owned);
        self.payload = Payload::Given { value: value.into(), content_type };
        self
    }

    /// Its value is `{"before": …, "after": …}`, the model before and after the write, null where there was or is none.
    #[must_use]
    pub fn images(mut self) -> Self {
        self.payload = Payload::Images;
        self
    }

    /// No value: on a compacted topic, the end of the key.
    #[must_use]
    pub fn without_value(mut self) -> Self {
        self.payload = Payload::Absent;
        self
    }

    /// A record header more.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push((name.into(), Some(value.into())));
        self
    }

    /// Holds it until `due_ms`, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn due_at(mut self, due_ms: i64) -> Self {
        self.due = Some(Due::At(due_ms));
        self
    }

    /// Holds it for so long from the transaction's [now](crate::Tx::now_ms) on, to the millisecond.
    #[must_use]
    pub fn due_in(mut self, after: Duration) -> Self {
        self.due = Some(Due::In(after));
        self
    }

    /// Names it, topic-wide, while it waits: publishing under the name again replaces it, and it can be cancelled.
    #[must_use]
    pub fn schedule(mut self, schedule: impl Into<String>) -> Self {
        self.schedule = Some(schedule.into());
        self
    }

    /// The id under which it is published once, if it has one.
    pub(crate) fn once_id(&self) -> Option<&str> {
        self.id.as_deref().filter(|_| self.is_unique)
    }

    pub(crate) fn wants_images(&self) -> bool {
        self.payload == Payload::Images
    }

    /// Whether its value is not the model but what the event itself says.
    pub(crate) fn has_own_value(&self) -> bool {
        matches!(self.payload, Payload::Given { .. } | Payload::Absent)
    }

    /// The event's type, and the topic that it asks for.
    pub(crate) fn destination(&self, table: Option<&'static str>) -> (&str, &str) {
        let topic = self.topic.as_deref().or(table).unwrap_or(&self.event_type);
        (&self.event_type, topic)
    }

    /// The event with everything filled in.
    pub(crate) fn complete(
        self,
        subject: Option<&Subject<'_>>,
        source: &str,
        time_ms: i64,
        id: Uuid,
    ) -> Event {
        let (value, content_type) = match self.payload {
            Payload::Given { value, content_type } => (Some(value), content_type),
            Payload::Absent => (None, None),
            Payload::Images => {
                let value = subject.map(|subject| images(subject.before, subject.body));
                let content_type = value.as_ref().map(|_| JSON.to_owned());
                (value, content_type)
            }
            Payload::Model => {
                let body = subject.and_then(|subject| subject.body.cloned());
                let content_type = body.as_ref().map(|_| JSON.to_owned());
                (body, content_type)
            }
        };
        let model_id = || subject.map(|subject| subject.id.clone());
        Event {
            id: self.id.unwrap_or_else(|| id.to_string()),
            event_type: self.event_type,
            source: source.to_owned(),
            subject: self.subject.or_else(model_id),
            time_ms,
            topic: self.topic.or_else(|| subject.map(|subject| subject.table.to_owned())),
            key: self.key.or_else(|| model_id().map(Bytes::from)),
            value,
            content_type,
            headers: self.headers,
            due_ms: self.due.map(|due| due.ms(time_ms)),
            schedule: self.schedule,
        }
    }
}

/// Two models in one JSON object.
fn images(before: Option<&Bytes>, after: Option<&Bytes>) -> Bytes {
    let null = &Bytes::from_static(b"null");
    [b"{\"before\":", before.unwrap_or(null).as_ref(), b",\"after\":", after.unwrap_or(null), b"}"]
        .concat()
        .into()
}
