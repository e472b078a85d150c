//! Requests that are well-formed and wrong, each with the error code that Apache Kafka 4.3 gives it.

use crate::wire::{Body, Reader, api, batch, fetch_body, produce_body};

/// A request that must be refused, with the error code that Kafka gives it.
#[derive(Debug)]
pub struct Refusal {
    /// What is wrong with it.
    pub what: &'static str,
    /// The API.
    pub key: i16,
    /// The API's version.
    pub version: i16,
    /// The request's body.
    pub body: Vec<u8>,
    /// Reads the error code out of the answer.
    pub code: fn(&mut Reader<'_>) -> i16,
    /// The code that it must have.
    pub expected: i16,
}

/// One topic, one partition, then the code: the answers of Produce v3, ListOffsets v1 and OffsetCommit v2.
fn code_of_partition(reader: &mut Reader<'_>) -> i16 {
    assert_eq!(reader.int32(), 1, "one topic");
    reader.skip_string();
    assert_eq!(reader.int32(), 1, "one partition");
    reader.int32();
    reader.int16()
}

fn code_after_throttle_of_partition(reader: &mut Reader<'_>) -> i16 {
    reader.int32();
    code_of_partition(reader)
}

fn code_of_topic(reader: &mut Reader<'_>) -> i16 {
    reader.int32();
    assert_eq!(reader.int32(), 1, "one topic");
    reader.skip_string();
    reader.int16()
}

fn code_first(reader: &mut Reader<'_>) -> i16 {
    reader.int16()
}

fn code_after_throttle(reader: &mut Reader<'_>) -> i16 {
    reader.int32();
    reader.int16()
}

fn new_topic(name: &str, partitions: i32, replication: i16, settings: &[(&str, &str)]) -> Vec<u8> {
    let mut body = Body::new().int32(1).string(name).int32(partitions).int16(replication).int32(0);
    body = body.int32(i32::try_from(settings.len()).expect("few"));
    for (name, value) in settings {
        body = body.string(name).string(value);
    }
    body.int32(30_000).int8(0).into_bytes()
}

fn offset_commit(generation: i32, member: &str, topic: &str, partition: i32) -> Vec<u8> {
    let head = Body::new().string("nobody").int32(generation).string(member).int64(-1);
    head.int32(1).string(topic).int32(1).int32(partition).int64(3).string("").into_bytes()
}

fn join_group(group: &str, session_timeout_ms: i32, member: &str) -> Vec<u8> {
    let head =
        Body::new().string(group).int32(session_timeout_ms).int32(60_000).string(member).string("consumer");
    head.int32(1).string("range").bytes(&[0, 0, 0, 0, 0, 0]).into_bytes()
}

/// All of them, against a broker that has the topic `topic` with one partition and nothing in it.
#[must_use]
#[rustfmt::skip] // A table.
pub fn refusals(topic: &str) -> Vec<Refusal> {
    let batch = batch(b"refused", 1_700_000_000_000);
    let refusal =
        |what, key, version, body, code, expected| Refusal { what, key, version, body, code, expected };
    let list_offsets =
        |topic| Body::new().int32(-1).int32(1).string(topic).int32(1).int32(0).int64(-1).into_bytes();
    let group_member = || Body::new().string("nobody").int32(7).string("stranger").into_bytes();
    vec![
        refusal("produce to an unknown topic", api::PRODUCE, 3, produce_body("none", 0, -1, &batch), code_of_partition, 3),
        refusal("produce to an unknown partition", api::PRODUCE, 3, produce_body(topic, 9, -1, &batch), code_of_partition, 3),
        refusal("produce with acks=2", api::PRODUCE, 3, produce_body(topic, 0, 2, &batch), code_of_partition, 21),
        refusal("fetch of an unknown topic", api::FETCH, 4, fetch_body("none", 0, 0, 0), code_after_throttle_of_partition, 3),
        refusal("fetch past the end", api::FETCH, 4, fetch_body(topic, 0, 1_000_000, 0), code_after_throttle_of_partition, 1),
        refusal("fetch before the start", api::FETCH, 4, fetch_body(topic, 0, -5, 0), code_after_throttle_of_partition, 1),
        refusal("offsets of an unknown topic", api::LIST_OFFSETS, 1, list_offsets("none"), code_of_partition, 3),
        refusal("commit for an unknown topic", api::OFFSET_COMMIT, 2, offset_commit(-1, "", "none", 0), code_of_partition, 3),
        refusal("commit for an unknown partition", api::OFFSET_COMMIT, 2, offset_commit(-1, "", topic, 9), code_of_partition, 3),
        refusal("commit with a generation of an unknown group", api::OFFSET_COMMIT, 2, offset_commit(5, "m", topic, 0), code_of_partition, 22),
        refusal("an empty group id", api::JOIN_GROUP, 2, join_group("", 10_000, ""), code_after_throttle, 24),
        refusal("a session time-out of 1 ms", api::JOIN_GROUP, 2, join_group("nobody", 1, ""), code_after_throttle, 26),
        refusal("a member id that was never given", api::JOIN_GROUP, 2, join_group("nobody", 10_000, "stranger"), code_after_throttle, 25),
        refusal("a heartbeat of a stranger", api::HEARTBEAT, 0, group_member(), code_first, 25),
        refusal("a sync of a stranger", api::SYNC_GROUP, 0, [group_member(), vec![0; 4]].concat(), code_first, 25),
        refusal("a coordinator of an unknown kind", api::FIND_COORDINATOR, 1, Body::new().string("k").int8(7).into_bytes(), code_after_throttle, 42),
        refusal("a topic without partitions", api::CREATE_TOPICS, 2, new_topic("zero", 0, 1, &[]), code_of_topic, 37),
        refusal("a topic with -5 partitions", api::CREATE_TOPICS, 2, new_topic("minus", -5, 1, &[]), code_of_topic, 37),
        refusal("a topic with a slash", api::CREATE_TOPICS, 2, new_topic("a/b", 1, 1, &[]), code_of_topic, 17),
        refusal("a topic with an empty name", api::CREATE_TOPICS, 2, new_topic("", 1, 1, &[]), code_of_topic, 17),
        refusal("a topic with a name of 250 letters", api::CREATE_TOPICS, 2, new_topic(&"x".repeat(250), 1, 1, &[]), code_of_topic, 17),
        refusal("a topic that exists", api::CREATE_TOPICS, 2, new_topic(topic, 1, 1, &[]), code_of_topic, 36),
        refusal("three replicas on one broker", api::CREATE_TOPICS, 2, new_topic("three", 1, 3, &[]), code_of_topic, 38),
        refusal("an unknown setting", api::CREATE_TOPICS, 2, new_topic("odd", 1, 1, &[("no.such.setting", "1")]), code_of_topic, 40),
        refusal("a setting that is no number", api::CREATE_TOPICS, 2, new_topic("odd", 1, 1, &[("retention.ms", "soon")]), code_of_topic, 40),
        refusal("deletion of an unknown topic", api::DELETE_TOPICS, 1, Body::new().int32(1).string("none").int32(30_000).into_bytes(), code_of_topic, 3),
    ]
}
