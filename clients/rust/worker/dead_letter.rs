//! Dead letters: records that a group has given up, in a topic of their own, with what became of them in their headers.
//!
//! A dead letter has the record's key, value and headers, and behind them the headers below. It enters its topic in the
//! transaction that counts the record as done.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidegate_format::{EventValue, NameError, check_topic_name};
use tidegate_outbox::TopicDefaults;

use super::parked::short;
use crate::ConsumerRecord;

/// Why the record was given up.
pub const DEAD_LETTER_CAUSE: &str = "tidegate-dlq-cause";
/// How often it was tried, as a decimal number.
pub const DEAD_LETTER_ATTEMPTS: &str = "tidegate-dlq-attempts";
/// The topic that it comes from.
pub const DEAD_LETTER_TOPIC: &str = "tidegate-dlq-topic";
/// The partition that it comes from.
pub const DEAD_LETTER_PARTITION: &str = "tidegate-dlq-partition";
/// The offset that it had there.
pub const DEAD_LETTER_OFFSET: &str = "tidegate-dlq-offset";
/// The timestamp that it had there, in milliseconds since the Unix epoch.
pub const DEAD_LETTER_TIMESTAMP: &str = "tidegate-dlq-timestamp";
/// The group that has given it up.
pub const DEAD_LETTER_GROUP: &str = "tidegate-dlq-group";
/// When that was, in milliseconds since the Unix epoch.
pub const DEAD_LETTER_TIME: &str = "tidegate-dlq-time";

/// What all of them begin with.
pub(crate) const PREFIX: &str = "tidegate-dlq-";
/// What the headers of a dead letter may take beyond the record's own bytes.
const HEADERS_MAX_BYTES: usize = 64 << 10;

/// The topic of what a group gives up of a topic: `{topic}.{group}.dlq`.
///
/// # Errors
/// That is no name for a topic: the group's id has other characters, or both together are too long.
pub fn dead_letter_topic(topic: &str, group: &str) -> Result<String, NameError> {
    let name = format!("{topic}.{group}.dlq");
    check_topic_name(&name).map(|()| name)
}

/// What such a topic gets when it is created, so that a record of the largest size fits with its headers.
pub(crate) fn topic_defaults(partitions: i32, record_max_bytes: usize) -> TopicDefaults {
    let max_bytes = record_max_bytes + HEADERS_MAX_BYTES;
    let configs = BTreeMap::from([("max.message.bytes".to_owned(), max_bytes.to_string())]);
    TopicDefaults { partitions, configs }
}

/// The dead letter of a record.
pub(crate) fn encode(
    record: &ConsumerRecord,
    group: &str,
    cause: String,
    attempts: u32,
    now_ms: i64,
) -> EventValue {
    let mut headers = record.headers.clone();
    // What was sent back and fails again says where it comes from now.
    headers.retain(|(name, _)| !name.starts_with(PREFIX));
    let mut add = |name: &str, value: String| headers.push((name.to_owned(), Some(Bytes::from(value))));
    add(DEAD_LETTER_CAUSE, short(cause));
    add(DEAD_LETTER_ATTEMPTS, attempts.to_string());
    add(DEAD_LETTER_TOPIC, record.topic.to_string());
    add(DEAD_LETTER_PARTITION, record.partition.to_string());
    add(DEAD_LETTER_OFFSET, record.offset.to_string());
    add(DEAD_LETTER_TIMESTAMP, record.timestamp_ms.to_string());
    add(DEAD_LETTER_GROUP, group.to_owned());
    add(DEAD_LETTER_TIME, now_ms.to_string());
    EventValue {
        schedule: None,
        timestamp_ms: None,
        key: record.key.clone(),
        value: record.value.clone(),
        headers,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_dead_letter_says_what_happened_to_which_record() {
        let own = ("trace".to_owned(), Some(Bytes::from_static(b"abc")));
        let before = (DEAD_LETTER_OFFSET.to_owned(), Some(Bytes::from_static(b"1")));
        let record = ConsumerRecord {
            topic: Arc::from("orders"),
            partition: 3,
            offset: 42,
            timestamp_ms: 7,
            key: Some(Bytes::from_static(b"k")),
            value: Some(Bytes::from_static(b"v")),
            headers: vec![own.clone(), before],
        };
        let letter = encode(&record, "billing", "é".repeat(1_000), 6, 99);
        assert_eq!((&letter.key, &letter.value, &letter.headers[0]), (&record.key, &record.value, &own));
        let value = |name: &str| {
            let found: Vec<_> = letter.headers.iter().filter(|(header, _)| header == name).collect();
            assert_eq!(found.len(), 1, "{name}");
            found[0].1.clone().expect("a value")
        };
        assert_eq!(value(DEAD_LETTER_OFFSET), "42");
        assert_eq!((value(DEAD_LETTER_TOPIC), value(DEAD_LETTER_PARTITION)), ("orders".into(), "3".into()));
        assert_eq!((value(DEAD_LETTER_GROUP), value(DEAD_LETTER_ATTEMPTS)), ("billing".into(), "6".into()));
        assert_eq!((value(DEAD_LETTER_TIMESTAMP), value(DEAD_LETTER_TIME)), ("7".into(), "99".into()));
        assert_eq!(value(DEAD_LETTER_CAUSE).len(), 1024);
    }

    #[test]
    fn a_group_whose_id_is_no_part_of_a_topic_name_has_no_such_topic() {
        assert_eq!(dead_letter_topic("orders", "billing").as_deref(), Ok("orders.billing.dlq"));
        assert!(dead_letter_topic("orders", "a b").is_err());
    }
}
