//! CloudEvents 1.0 in Kafka's binary content mode: the attributes are record headers, the data is the record's value.
//!
//! Source: CloudEvents specification 1.0.2 and its "Kafka Protocol Binding", section 3.2.

use bytes::Bytes;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::{Event, PublishError};

/// The version of the CloudEvents specification.
pub const HEADER_SPEC_VERSION: &str = "ce_specversion";
/// The event's id: unique together with its source.
pub const HEADER_ID: &str = "ce_id";
/// The event type.
pub const HEADER_TYPE: &str = "ce_type";
/// Where the event comes from, a URI reference.
pub const HEADER_SOURCE: &str = "ce_source";
/// When it happened, by RFC 3339.
pub const HEADER_TIME: &str = "ce_time";
/// What it is about, within its source.
pub const HEADER_SUBJECT: &str = "ce_subject";
/// The media type of the record's value.
pub const HEADER_CONTENT_TYPE: &str = "content-type";

const SPEC_VERSION: &str = "1.0";

const RESERVED: [&str; 7] = [
    HEADER_SPEC_VERSION,
    HEADER_ID,
    HEADER_TYPE,
    HEADER_SOURCE,
    HEADER_TIME,
    HEADER_SUBJECT,
    HEADER_CONTENT_TYPE,
];

/// Whether a header is one that [`encode_headers`] writes itself.
pub(crate) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

/// The record headers of an event: its CloudEvents attributes, then its own headers in their order.
pub(crate) fn encode_headers(event: &Event) -> Result<Vec<(String, Option<Bytes>)>, PublishError> {
    let mut headers = Vec::with_capacity(RESERVED.len() + event.headers.len());
    let mut attribute = |name: &str, value: &str| {
        headers.push((name.to_owned(), Some(Bytes::copy_from_slice(value.as_bytes()))));
    };
    attribute(HEADER_SPEC_VERSION, SPEC_VERSION);
    attribute(HEADER_ID, &event.id);
    attribute(HEADER_TYPE, &event.event_type);
    attribute(HEADER_SOURCE, &event.source);
    attribute(HEADER_TIME, &encode_time(event.time_ms)?);
    if let Some(subject) = &event.subject {
        attribute(HEADER_SUBJECT, subject);
    }
    if let Some(content_type) = &event.content_type {
        attribute(HEADER_CONTENT_TYPE, content_type);
    }
    headers.extend(event.headers.iter().cloned());
    Ok(headers)
}

fn encode_time(time_ms: i64) -> Result<String, PublishError> {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(time_ms) * 1_000_000).ok();
    time.and_then(|time| time.format(&Rfc3339).ok()).ok_or(PublishError::TimeOutOfRange { time_ms })
}
