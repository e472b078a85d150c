//! One event as its publisher hands it over, and how large it may be.

use bytes::Bytes;
use tidegate_format::check_schedule_id;

use crate::catalogue::check_type;
use crate::{PublishError, cloudevents};

/// The longest due time ahead that is taken, ten years: more is a time in another unit.
const DUE_AHEAD_MAX_MS: i64 = 10 * 366 * 24 * 60 * 60 * 1000;

/// What happened, for whom, and when it may be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// `ce_id`: unique together with `source`. Not empty.
    pub id: String,
    /// `ce_type`: the catalogue maps it to one topic.
    pub event_type: String,
    /// `ce_source`: a URI reference that names the publisher. Not empty.
    pub source: String,
    /// `ce_subject`: what it is about, within its source.
    pub subject: Option<String>,
    /// `ce_time`: when it happened, in milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// The topic under which a first use enters the event type into the catalogue; the type's own name if none. Once
    /// the catalogue has the type, its entry decides.
    pub topic: Option<String>,
    /// The record's key, the model's id: decides the partition, and with it what stays in order.
    pub key: Option<Bytes>,
    /// The record's value, the model; none when it was deleted, so that compaction removes the key.
    pub value: Option<Bytes>,
    /// `content-type`: the media type of `value`.
    pub content_type: Option<String>,
    /// Further record headers, after those of CloudEvents.
    pub headers: Vec<(String, Option<Bytes>)>,
    /// When it may enter the log, in milliseconds since the Unix epoch; at commit if none or not in the future.
    pub due_ms: Option<i64>,
    /// A name, topic-wide, by which it can be cancelled, replaced and moved while it waits. Publishing under the same
    /// name again replaces what still waits.
    pub schedule: Option<String>,
}

/// How large events may be. One that is over is refused; nothing is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventLimits {
    /// Key, value and headers together, in bytes; and where the topic has no `max.message.bytes` of its own, the record
    /// batch that an event becomes if it comes alone. The broker's `message.max.bytes`.
    pub event_max_bytes: usize,
    /// How many headers, those of CloudEvents included.
    pub headers_max: usize,
    /// How far ahead an event may be due, in milliseconds.
    pub due_ahead_max_ms: i64,
}

impl Default for EventLimits {
    fn default() -> Self {
        Self { event_max_bytes: 1_048_588, headers_max: 256, due_ahead_max_ms: DUE_AHEAD_MAX_MS }
    }
}

impl EventLimits {
    /// Checks everything about an event that needs no look at the store.
    pub(crate) fn check(&self, event: &Event, now_ms: i64) -> Result<(), PublishError> {
        check_type(&event.event_type)?;
        check_filled("id", &event.id)?;
        check_filled("source", &event.source)?;
        if let Some((header, _)) = event.headers.iter().find(|(name, _)| cloudevents::is_reserved(name)) {
            return Err(PublishError::ReservedHeader { header: header.clone() });
        }
        if let Some(schedule) = &event.schedule {
            check_schedule_id(schedule)
                .map_err(|cause| PublishError::Name { name: schedule.clone(), cause })?;
        }
        self.check_due(event.due_ms.unwrap_or(now_ms), now_ms)
    }

    /// Checks the headers as they will be stored, and the size of the whole.
    pub(crate) fn check_size(
        &self,
        event: &Event,
        headers: &[(String, Option<Bytes>)],
    ) -> Result<(), PublishError> {
        if headers.len() > self.headers_max {
            return Err(PublishError::TooManyHeaders { actual: headers.len(), limit: self.headers_max });
        }
        let header_bytes: usize =
            headers.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, Bytes::len)).sum();
        let actual = header_bytes
            + event.key.as_ref().map_or(0, Bytes::len)
            + event.value.as_ref().map_or(0, Bytes::len);
        if actual > self.event_max_bytes {
            return Err(PublishError::TooLarge { what: "event", actual, limit: self.event_max_bytes });
        }
        Ok(())
    }

    /// Checks that a due time is not beyond what is allowed.
    pub(crate) fn check_due(&self, due_ms: i64, now_ms: i64) -> Result<(), PublishError> {
        let latest_ms = now_ms.saturating_add(self.due_ahead_max_ms);
        if due_ms > latest_ms { Err(PublishError::DueTooLate { due_ms, latest_ms }) } else { Ok(()) }
    }
}

fn check_filled(field: &'static str, value: &str) -> Result<(), PublishError> {
    if value.is_empty() { Err(PublishError::EmptyField { field }) } else { Ok(()) }
}
