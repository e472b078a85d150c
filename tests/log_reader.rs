//! Reads a topic from its first record to its end with a stock client (librdkafka), outside any group.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::OwnedMessage;
use rdkafka::{Message, Offset, TopicPartitionList};

use crate::admin::{client, log_bounds};
use crate::deadline::Deadline;
use crate::ledger::RecordId;
use crate::member::is_broken_connection;

/// All records of a topic by partition, in log order, as they are when the call begins.
///
/// # Panics
/// When offsets have gaps, or the broker does not deliver what its offsets promise.
#[must_use]
pub fn read_messages(bootstrap: &str, topic: &str, partitions: i32) -> BTreeMap<i32, Vec<OwnedMessage>> {
    let mut config = client(bootstrap);
    config
        .set("group.id", "outside-of-any-group")
        .set("enable.auto.commit", "false")
        .set("check.crcs", "true");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut from_start = TopicPartitionList::new();
    let mut missing = BTreeMap::new();
    let mut log = BTreeMap::new();
    for index in 0..partitions {
        let (start, end) = log_bounds(bootstrap, topic, index);
        from_start.add_partition_offset(topic, index, Offset::Beginning).expect("a valid offset");
        missing.insert(index, start..end);
        log.insert(index, Vec::new());
    }
    consumer.assign(&from_start).expect("an assignment");
    let deadline = Deadline::start();
    while missing.values().any(|range| !range.is_empty()) {
        deadline.check(&format!("reading {topic}, still missing {missing:?}"));
        let message = match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => message.detach(),
            // On a machine that stands still for a while the client gives its connection up, and makes another.
            Some(Err(error)) => {
                assert!(is_broken_connection(&error), "the broker delivers: {error}");
                continue;
            }
            None => continue,
        };
        let expected = missing.get_mut(&message.partition()).expect("a partition of the topic").next();
        if let Some(expected) = expected {
            assert_eq!(message.offset(), expected, "partition {}", message.partition());
            log.get_mut(&message.partition()).expect("a partition of the topic").push(message);
        }
    }
    log
}

/// As [`read_messages`], as identities.
///
/// # Panics
/// As [`read_messages`], and at a record that is not one of ours.
#[must_use]
pub fn read_log(bootstrap: &str, topic: &str, partitions: i32) -> BTreeMap<i32, Vec<RecordId>> {
    let identity = |message: &OwnedMessage| {
        RecordId::parse(message.key(), message.payload()).unwrap_or_else(|| panic!("not ours: {message:?}"))
    };
    let identities =
        |(index, messages): (i32, Vec<OwnedMessage>)| (index, messages.iter().map(identity).collect());
    read_messages(bootstrap, topic, partitions).into_iter().map(identities).collect()
}
