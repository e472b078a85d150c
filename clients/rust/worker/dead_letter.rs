//! Dead letters: records that a group has given up, in a topic of their own, with what became of them in their headers.
//!
//! A dead letter has the record's key, value and headers, and behind them the headers below. It enters its topic in the
//! transaction that counts the record as done. What its topic, or the store, cannot hold whole is a dead letter without its
//! value, and if that is still too large without its own headers and key: [`DEAD_LETTER_LEFT_OUT`] says so, and topic,
//! partition and offset where the record is as long as its topic keeps it.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidegate_format::{EventValue, NameError, check_topic_name};
use tidegate_outbox::TopicDefaults;

use super::parked::short;
use super::settle::Burial;
use crate::ConsumerRecord;
use crate::consumer::Unreadable;

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
/// What the dead letter has not of the record, and why: on those alone that are not whole.
pub const DEAD_LETTER_LEFT_OUT: &str = "tidegate-dlq-left-out";
/// The last offset of a batch of records that could not be read, which is one dead letter; the other header has the first.
pub const DEAD_LETTER_LAST_OFFSET: &str = "tidegate-dlq-last-offset";
/// How many bytes the record has, key, value and headers; or the batch, as it is in the log: on those alone that are not whole.
pub const DEAD_LETTER_BYTES: &str = "tidegate-dlq-bytes";

/// What all of them begin with.
pub(crate) const PREFIX: &str = "tidegate-dlq-";
/// The largest dead letter, as a record batch that is not compressed: what every store can hold as one row of a log, as on TiKV
/// a row has 7 MiB at most.
pub(crate) const LETTER_MAX_BYTES: usize = (7 << 20) - (64 << 10);

/// What a dead letter has not of its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeftOut {
    /// Headers and key too, and not the value alone.
    pub(crate) is_all: bool,
    pub(crate) why: String,
}

/// The topic of what a group gives up of a topic: `{topic}.{group}.dlq`.
///
/// # Errors
/// That is no name for a topic: the group's id has other characters, or both together are too long.
pub fn dead_letter_topic(topic: &str, group: &str) -> Result<String, NameError> {
    let name = format!("{topic}.{group}.dlq");
    check_topic_name(&name).map(|()| name)
}

/// What such a topic gets when a worker creates it: it takes all that can be held, as nobody compresses dead letters, and what
/// came may have been compressed. One that was there before has its own `max.message.bytes`.
pub(crate) fn topic_defaults() -> TopicDefaults {
    let configs = BTreeMap::from([("max.message.bytes".to_owned(), LETTER_MAX_BYTES.to_string())]);
    TopicDefaults { partitions: 1, configs }
}

/// The dead letter of a record.
pub(crate) fn encode(record: &ConsumerRecord, group: &str, burial: &Burial, now_ms: i64) -> EventValue {
    let (has_value, has_rest) = match &burial.left_out {
        None => (true, true),
        Some(left_out) => (false, !left_out.is_all),
    };
    let mut headers = if has_rest { record.headers.clone() } else { vec![] };
    // What was sent back and fails again says where it comes from now.
    headers.retain(|(name, _)| !name.starts_with(PREFIX));
    let mut add = |name: &str, value: String| headers.push((name.to_owned(), Some(Bytes::from(value))));
    add(DEAD_LETTER_CAUSE, short(burial.cause.clone()));
    add(DEAD_LETTER_ATTEMPTS, burial.attempts.to_string());
    add(DEAD_LETTER_TOPIC, record.topic.to_string());
    add(DEAD_LETTER_PARTITION, record.partition.to_string());
    add(DEAD_LETTER_OFFSET, record.offset.to_string());
    add(DEAD_LETTER_TIMESTAMP, record.timestamp_ms.to_string());
    add(DEAD_LETTER_GROUP, group.to_owned());
    add(DEAD_LETTER_TIME, now_ms.to_string());
    if let Some(LeftOut { is_all, why }) = &burial.left_out {
        let what = if *is_all { "value, headers and key" } else { "value" };
        add(DEAD_LETTER_LEFT_OUT, short(format!("{what}: {why}")));
        add(DEAD_LETTER_BYTES, record.bytes().to_string());
    }
    EventValue {
        schedule: None,
        timestamp_ms: None,
        key: record.key.clone().filter(|_| has_rest),
        value: record.value.clone().filter(|_| has_value),
        headers,
    }
}

/// The dead letter of a batch of records that cannot be read: it has their place alone.
pub(crate) fn encode_batch(unreadable: &Unreadable, group: &str, now_ms: i64) -> EventValue {
    let Unreadable { partition, first, last, timestamp_ms, bytes, error, .. } = unreadable;
    let header = |name: &str, value: String| (name.to_owned(), Some(Bytes::from(value)));
    let headers = vec![
        header(
            DEAD_LETTER_CAUSE,
            short(format!("the batch of offsets {first} to {last} cannot be read: {error}")),
        ),
        header(DEAD_LETTER_ATTEMPTS, "0".to_owned()),
        header(DEAD_LETTER_TOPIC, partition.topic.clone()),
        header(DEAD_LETTER_PARTITION, partition.partition.to_string()),
        header(DEAD_LETTER_OFFSET, first.to_string()),
        header(DEAD_LETTER_LAST_OFFSET, last.to_string()),
        header(DEAD_LETTER_TIMESTAMP, timestamp_ms.to_string()),
        header(DEAD_LETTER_GROUP, group.to_owned()),
        header(DEAD_LETTER_TIME, now_ms.to_string()),
        header(DEAD_LETTER_LEFT_OUT, short(format!("records: {error}"))),
        header(DEAD_LETTER_BYTES, bytes.to_string()),
    ];
    EventValue { headers, ..EventValue::default() }
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
        let whole = Burial::whole("é".repeat(1_000), 6);
        let letter = encode(&record, "billing", &whole, 99);
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
        assert!(letter.headers.iter().all(|(name, _)| name != DEAD_LETTER_LEFT_OUT));
        for is_all in [false, true] {
            let left_out = Some(LeftOut { is_all, why: "too large".into() });
            let letter = encode(&record, "billing", &Burial { left_out, ..whole.clone() }, 99);
            assert_eq!(letter.value, None);
            let rest = (letter.key.is_some(), letter.headers.contains(&own));
            assert_eq!(rest, (!is_all, !is_all));
            let header = |name: &str| letter.headers.iter().find(|(header, _)| header == name).cloned();
            let told = header(DEAD_LETTER_LEFT_OUT).and_then(|(_, value)| value).expect("it says so");
            assert_eq!(told, if is_all { "value, headers and key: too large" } else { "value: too large" });
            assert_eq!(
                header(DEAD_LETTER_BYTES).and_then(|(_, value)| value),
                Some(record.bytes().to_string().into())
            );
        }
    }

    #[test]
    fn a_group_whose_id_is_no_part_of_a_topic_name_has_no_such_topic() {
        assert_eq!(dead_letter_topic("orders", "billing").as_deref(), Ok("orders.billing.dlq"));
        assert!(dead_letter_topic("orders", "a b").is_err());
    }
}
