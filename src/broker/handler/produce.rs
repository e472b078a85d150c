//! Produce, versions 3 to 13.
//!
//! From 5 the answer carries the log's start, from 8 a message; from 7 zstd is allowed; from 13 topics have ids instead of
//! names. The time-out is that of replication, of which there is none: a commit has the store's. With acks = 0 nothing is
//! answered, and what would have been an error ends the connection.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use tidegate_log::{AdmittedBatch, BatchRules};
use tidegate_outbox::hold::Plan;
use tidegate_protocol::batch::{self, Compression};
use tidegate_store::Store;
use uuid::Uuid;

use super::partition_errors::{
    batch_error, hold_error, partition_of, produce_error, topic_by_id, topic_by_name,
};
use crate::Broker;
use crate::dispatch::{Answer, Caller};
use crate::partition_host::{Pending, ProduceError, Produced};
use crate::settings::Delivery;
use crate::topics::{TimestampType, Topic};

/// What a batch without an answer is answered: -1 is Kafka's "not known".
const NOT_KNOWN: i64 = -1;
/// The first version in which the log's start is told.
const WITH_LOG_START: i16 = 5;
/// The first version in which batches may be compressed with zstd.
const WITH_ZSTD: i16 = 7;
/// The first version in which an error has a message.
const WITH_MESSAGES: i16 = 8;
/// The first version in which topics have ids.
const WITH_TOPIC_IDS: i16 = 13;

/// Why a batch is refused: code and message.
type Refusal = (ResponseError, String);
type Begun = Result<Pending<Produced, ProduceError>, Refusal>;

/// One topic of a request that was begun.
struct BegunTopic {
    name: TopicName,
    id: Uuid,
    partitions: Vec<(i32, Begun)>,
}

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    caller: &Caller,
    request: ProduceRequest,
) -> Answer<ProduceResponse> {
    let mut topics = Vec::with_capacity(request.topic_data.len());
    for topic in request.topic_data {
        topics.push(begin_topic(broker, caller, request.acks, topic).await);
    }
    let version = caller.version;
    let answered = Box::pin(async move {
        let mut responses = Vec::with_capacity(topics.len());
        for topic in topics {
            responses.push(answer_topic(version, topic).await);
        }
        ProduceResponse::default().with_responses(responses)
    });
    if request.acks == 0 { Answer::Unsent(answered) } else { Answer::Later(answered) }
}

async fn begin_topic(broker: &Broker, caller: &Caller, acks: i16, topic: TopicProduceData) -> BegunTopic {
    let known = if caller.version >= WITH_TOPIC_IDS {
        topic_by_id(broker, topic.topic_id).await
    } else {
        topic_by_name(broker, &topic.name).await
    };
    let mut partitions = Vec::with_capacity(topic.partition_data.len());
    for partition in topic.partition_data {
        let index = partition.index;
        partitions.push((index, begin(broker, caller.version, acks, &known, partition).await));
    }
    BegunTopic { name: topic.name, id: topic.topic_id, partitions }
}

/// Checks one batch and hands it to its partition.
async fn begin(
    broker: &Broker,
    version: i16,
    acks: i16,
    topic: &Result<Arc<Topic>, ResponseError>,
    data: PartitionProduceData,
) -> Begun {
    let plain = |error: ResponseError| (error, error.to_string());
    if !(-1..=1).contains(&acks) {
        return Err(plain(ResponseError::InvalidRequiredAcks));
    }
    let id = partition_of(topic, data.index).map_err(plain)?;
    let topic = topic.as_ref().map_err(|error| plain(*error))?;
    let rules = BatchRules {
        timestamp_type: match topic.config.timestamp_type {
            TimestampType::CreateTime => batch::TimestampType::CreateTime,
            TimestampType::LogAppendTime => batch::TimestampType::LogAppendTime,
        },
        timestamp_before_max_ms: topic.config.timestamp_before_max_ms,
        timestamp_after_max_ms: topic.config.timestamp_after_max_ms,
        max_message_bytes: topic.config.max_message_bytes,
    };
    let admitted = AdmittedBatch::new(&data.records.unwrap_or_default(), &rules, broker.store.now_ms());
    let admitted = admitted.map_err(|rejection| (batch_error(&rejection), rejection.to_string()))?;
    if version < WITH_ZSTD && admitted.header().compression() == Ok(Compression::Zstd) {
        return Err((ResponseError::UnsupportedCompressionType, "zstd needs Produce 7".to_owned()));
    }
    let plan = match topic.config.delivery {
        Delivery::Immediate => Plan::AsItCame(admitted),
        Delivery::Scheduled => {
            let planned = broker.partitions.plan(admitted, &topic.config).await;
            planned.map_err(|rejection| (hold_error(&rejection), rejection.to_string()))?
        }
    };
    let begun = broker.partitions.produce(id, plan).await;
    begun.map_err(|error| (produce_error(&error), error.to_string()))
}

async fn answer_topic(version: i16, topic: BegunTopic) -> TopicProduceResponse {
    let mut partitions = Vec::with_capacity(topic.partitions.len());
    for (index, begun) in topic.partitions {
        let answered = match begun {
            Ok(pending) => pending.answer().await.map_err(|error| (produce_error(&error), error.to_string())),
            Err(refusal) => Err(refusal),
        };
        partitions.push(answer_partition(version, index, answered));
    }
    let response = TopicProduceResponse::default().with_partition_responses(partitions);
    if version >= WITH_TOPIC_IDS { response.with_topic_id(topic.id) } else { response.with_name(topic.name) }
}

fn answer_partition(
    version: i16,
    index: i32,
    answered: Result<Produced, Refusal>,
) -> PartitionProduceResponse {
    let mut response = PartitionProduceResponse::default().with_index(index);
    response.log_append_time_ms = NOT_KNOWN;
    match answered {
        Ok(produced) => {
            response.base_offset = produced.base_offset.0;
            response.log_append_time_ms = produced.log_append_time_ms.unwrap_or(NOT_KNOWN);
            if version >= WITH_LOG_START {
                response.log_start_offset = produced.log_start.0;
            }
        }
        Err((error, message)) => {
            response.error_code = error.code();
            response.base_offset = NOT_KNOWN;
            if version >= WITH_MESSAGES {
                response.error_message = Some(StrBytes::from_string(message));
            }
        }
    }
    response
}
