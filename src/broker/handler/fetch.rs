//! Fetch, versions 4 to 18.
//!
//! From 7 a client may ask for a session, which it is not given: it goes on with full requests, as the protocol allows
//! (KIP-227). From 9 it tells the leader epoch that it knows, from 13 topics have ids instead of names. There are no Kafka
//! transactions, so both isolation levels read the same.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::{FetchRequest, FetchResponse, TopicName};
use metrics::counter;
use tidegate_format::Offset;
use tidegate_log::{Batches, ReadResult};
use tidegate_protocol::batch::BatchHeader;
use tokio::time::Instant;
use uuid::Uuid;

use super::fetch_answer::FetchAnswer;
use super::partition_errors::{
    asked_epoch, partition_of, read_error, report_failed_read, topic_by_id, topic_by_name,
};
use crate::Broker;
use crate::dispatch::{Answer, Caller};
use crate::metrics::names;
use crate::partition_host::{PollLimits, Want};

/// A full request that asks for a new session.
const NEW_SESSION_EPOCH: i32 = 0;
/// A full request that wants none.
const FINAL_SESSION_EPOCH: i32 = -1;
/// What is answered for an offset that is not known.
const NOT_KNOWN: i64 = -1;
/// The first version in which topics have ids.
const WITH_TOPIC_IDS: i16 = 13;
/// Kafka's number for the isolation level that sees no aborted transactions.
const READ_COMMITTED: i8 = 1;

/// One topic of a request.
struct AskedTopic {
    name: TopicName,
    id: Uuid,
    partitions: Vec<(i32, Result<Want, ResponseError>)>,
}

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    caller: &Caller,
    request: FetchRequest,
) -> Answer<FetchAnswer> {
    if let Err(error) = check_session(&request) {
        let response = FetchResponse::default().with_error_code(error.code());
        return Answer::Now(FetchAnswer { response, batches: Vec::new() });
    }
    let (broker, version) = (broker.clone(), caller.version);
    Answer::Later(Box::pin(async move { fetch(&broker, version, request).await }))
}

/// There are no sessions, so nothing can go on in one. A full request names all partitions: a session that it names as
/// well is one to be closed.
fn check_session(request: &FetchRequest) -> Result<(), ResponseError> {
    match request.session_epoch {
        NEW_SESSION_EPOCH | FINAL_SESSION_EPOCH => Ok(()),
        _ => Err(ResponseError::FetchSessionIdNotFound),
    }
}

async fn fetch(broker: &Broker, version: i16, request: FetchRequest) -> FetchAnswer {
    let until = Instant::now() + max_wait(broker, &request);
    let max_bytes = usize::try_from(request.max_bytes).unwrap_or(0).min(broker.settings.fetch_max_bytes);
    let isolation_level = request.isolation_level;
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        topics.push(ask(broker, version, topic).await);
    }
    let asked = || topics.iter().flat_map(|topic| &topic.partitions);
    let refused = asked().any(|(_, want)| want.is_err());
    let wants: Vec<Want> = asked().filter_map(|(_, want)| want.ok()).collect();
    let limits = PollLimits {
        // An error is told at once.
        min_bytes: if refused { 0 } else { usize::try_from(request.min_bytes).unwrap_or(0).min(max_bytes) },
        max_bytes,
        until,
        cancelled: broker.shutdown.clone(),
    };
    let mut results = broker.partitions.poll(&wants, &limits).await.into_iter();
    let mut batches = Vec::new();
    let responses = topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|(index, want)| {
            let read = want.and_then(|want| {
                let result = results.next().expect("one result for each want");
                result.map_err(|error| {
                    report_failed_read(broker, want.id, &error);
                    read_error(&error)
                })
            });
            answer(index, isolation_level, read, &mut batches)
        });
        let response = FetchableTopicResponse::default().with_partitions(partitions.collect());
        if version >= WITH_TOPIC_IDS {
            response.with_topic_id(topic.id)
        } else {
            response.with_topic(topic.name)
        }
    });
    let response = FetchResponse::default().with_responses(responses.collect());
    FetchAnswer { response, batches }
}

fn max_wait(broker: &Broker, request: &FetchRequest) -> Duration {
    let asked_ms = u64::try_from(request.max_wait_ms).unwrap_or(0);
    Duration::from_millis(asked_ms.min(broker.settings.fetch_max_wait_ms))
}

async fn ask(broker: &Broker, version: i16, topic: FetchTopic) -> AskedTopic {
    let known = if version >= WITH_TOPIC_IDS {
        topic_by_id(broker, topic.topic_id).await
    } else {
        topic_by_name(broker, &topic.topic).await
    };
    let want = |asked: FetchPartition| {
        let id = partition_of(&known, asked.partition);
        let want = id.map(|id| Want {
            id,
            from: Offset(asked.fetch_offset),
            max_bytes: usize::try_from(asked.partition_max_bytes).unwrap_or(0),
            epoch: asked_epoch(asked.current_leader_epoch),
        });
        (asked.partition, want)
    };
    let partitions = topic.partitions.into_iter().map(want).collect();
    AskedTopic { name: topic.topic, id: topic.topic_id, partitions }
}

/// Answers for one partition; its batches go into `batches`.
fn answer(
    index: i32,
    isolation_level: i8,
    read: Result<ReadResult, ResponseError>,
    batches: &mut Vec<Batches>,
) -> PartitionData {
    let mut data = PartitionData::default().with_partition_index(index);
    // Never null, as from Kafka: librdkafka takes that for a broken answer.
    data.records = Some(Bytes::new());
    data.aborted_transactions = (isolation_level == READ_COMMITTED).then(Vec::new);
    match read {
        Ok(read) => {
            counter!(names::FETCH_BYTES).increment(read.batches.bytes as u64);
            counter!(names::FETCH_RECORDS).increment(read.batches.batches.iter().map(records_in).sum());
            data.high_watermark = read.high_watermark.0;
            data.last_stable_offset = read.high_watermark.0;
            data.log_start_offset = read.log_start.0;
            batches.push(read.batches);
        }
        Err(error) => {
            data.error_code = error.code();
            data.high_watermark = NOT_KNOWN;
            batches.push(Batches::default());
        }
    }
    data
}

/// How many records a batch of the log has.
fn records_in(batch: &Bytes) -> u64 {
    BatchHeader::decode(batch).map_or(0, |header| u64::from(header.record_count.unsigned_abs()))
}
