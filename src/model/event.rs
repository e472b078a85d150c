//! An event as a model or a caller announces it, before the model's id, the source and the time are filled in.

use bytes::Bytes;
use tidegate_outbox::Event;
use uuid::Uuid;

const JSON: &str = "application/json";

/// An event to publish. What is left out is filled in: for a model's event the key and subject are its id, the value
/// is the model (none once it is deleted) and the topic is its table; for one published on its own the topic is the
/// event type's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewEvent {
    event_type: String,
    id: Option<String>,
    topic: Option<String>,
    subject: Option<String>,
    key: Option<Bytes>,
    payload: Payload,
    headers: Vec<(String, Option<Bytes>)>,
    due_ms: Option<i64>,
    schedule: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Payload {
    /// The model, if there is one.
    #[default]
    Model,
    Absent,
    Given {
        value: Bytes,
        content_type: Option<String>,
    },
}

/// What a model fills in.
pub(crate) struct Subject<'a> {
    pub(crate) table: &'static str,
    pub(crate) id: String,
    /// The model as JSON; none if it is deleted.
    pub(crate) body: Option<&'a Bytes>,
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

    /// The record's value, as JSON.
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
        self.due_ms = Some(due_ms);
        self
    }

    /// Names it, topic-wide, while it waits: publishing under the name again replaces it, and it can be cancelled.
    #[must_use]
    pub fn schedule(mut self, schedule: impl Into<String>) -> Self {
        self.schedule = Some(schedule.into());
        self
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
            due_ms: self.due_ms,
            schedule: self.schedule,
        }
    }
}
