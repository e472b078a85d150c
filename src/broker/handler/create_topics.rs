//! CreateTopics, versions 2 to 7.
//!
//! From 4 -1 partitions or replicas ask for the defaults, from 5 the answer carries what was created, from 7 its id.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};
use kafka_protocol::protocol::StrBytes;
use tidegate_format::check_topic_name;

use super::describe_configs::source;
use super::topic_error;
use crate::Broker;
use crate::dispatch::{Answer, Caller};
use crate::topics::{CONFIGS, Topic, TopicError};

/// Records live in the store; what it replicates is its own matter.
const REPLICATION_FACTOR: i16 = 1;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    caller: &Caller,
    request: CreateTopicsRequest,
) -> Answer<CreateTopicsResponse> {
    let mut seen = BTreeSet::new();
    let repeated: BTreeSet<_> = request
        .topics
        .iter()
        .map(|topic| topic.name.clone())
        .filter(|name| !seen.insert(name.clone()))
        .collect();
    let mut results = Vec::with_capacity(request.topics.len());
    for name in &repeated {
        let result = CreatableTopicResult::default().with_name(name.clone());
        let message = "the request names this topic more than once";
        results.push(refused(result, ResponseError::InvalidRequest.code(), message));
    }
    for topic in request.topics {
        if repeated.contains(&topic.name) {
            continue;
        }
        let result = CreatableTopicResult::default().with_name(topic.name.clone()).with_error_message(None);
        results.push(match create(broker, &topic, request.validate_only).await {
            Ok(created) if caller.version >= 5 => describe(broker, caller, result, &created),
            Ok(_) => result,
            Err((code, message)) => refused(result, code, &message),
        });
    }
    Answer::Now(CreateTopicsResponse::default().with_topics(results))
}

fn refused(result: CreatableTopicResult, code: i16, message: &str) -> CreatableTopicResult {
    result
        .with_error_code(code)
        .with_error_message(Some(StrBytes::from_string(message.to_owned())))
        .with_num_partitions(-1)
        .with_replication_factor(-1)
}

async fn create(
    broker: &Arc<Broker>,
    topic: &CreatableTopic,
    validate_only: bool,
) -> Result<Arc<Topic>, (i16, String)> {
    let failed = |error: TopicError| (topic_error(&error).0, error.to_string());
    // As in Kafka its name is looked at first: whoever creates a topic that may be there wants to hear that it is.
    check_topic_name(&topic.name)
        .map_err(|error| failed(TopicError::InvalidName { reason: error.to_string() }))?;
    if broker.catalogue.find(&topic.name).await.map_err(failed)?.is_some() {
        return Err(failed(TopicError::Exists { name: topic.name.to_string() }));
    }
    let partitions = partitions(broker, topic)?;
    let mut overrides = BTreeMap::new();
    for config in &topic.configs {
        let Some(value) = &config.value else {
            let code = ResponseError::InvalidConfig.code();
            return Err((code, format!("configuration `{}` has no value", config.name.as_str())));
        };
        // As for Kafka, blanks around a value are no part of it.
        overrides.insert(config.name.to_string(), value.trim().to_owned());
    }
    let created = broker.catalogue.create(&topic.name, partitions, overrides, validate_only).await;
    created.map_err(failed)
}

/// How many partitions are asked for: a number, the default, or as many as are assigned by hand.
fn partitions(broker: &Broker, topic: &CreatableTopic) -> Result<i32, (i16, String)> {
    let refuse = |error: ResponseError, message: String| Err((error.code(), message));
    if topic.assignments.is_empty() {
        if !matches!(topic.replication_factor, -1 | REPLICATION_FACTOR) {
            let message = format!(
                "replication factor {} is not offered: the store replicates, here it is 1",
                topic.replication_factor
            );
            return refuse(ResponseError::InvalidReplicationFactor, message);
        }
        let default = broker.settings.num_partitions;
        return Ok(if topic.num_partitions == -1 { default } else { topic.num_partitions });
    }
    if topic.num_partitions != -1 || topic.replication_factor != -1 {
        let message = "partitions are either counted or assigned, not both".to_owned();
        return refuse(ResponseError::InvalidRequest, message);
    }
    let mut indexes: Vec<_> = topic.assignments.iter().map(|assigned| assigned.partition_index).collect();
    indexes.sort_unstable();
    let this_alone = |brokers: &[kafka_protocol::messages::BrokerId]| {
        brokers.len() == 1 && brokers[0].0 == broker.settings.broker_id
    };
    let consecutive = indexes.iter().zip(0..).all(|(index, expected)| *index == expected);
    if !consecutive || !topic.assignments.iter().all(|assigned| this_alone(&assigned.broker_ids)) {
        let message = "partitions must be 0, 1, 2, … and each be assigned to one existing broker".to_owned();
        return refuse(ResponseError::InvalidReplicaAssignment, message);
    }
    i32::try_from(indexes.len()).or_else(|_| refuse(ResponseError::InvalidPartitions, "too many".to_owned()))
}

fn describe(
    broker: &Broker,
    caller: &Caller,
    result: CreatableTopicResult,
    topic: &Topic,
) -> CreatableTopicResult {
    let configs = CONFIGS.iter().map(|definition| {
        CreatableTopicConfigs::default()
            .with_name(StrBytes::from_static_str(definition.name))
            .with_value(Some(StrBytes::from_string(definition.value(&topic.overrides, &broker.settings))))
            .with_config_source(source(definition, &topic.overrides, &broker.settings))
    });
    let mut result = result
        .with_num_partitions(topic.partitions)
        .with_replication_factor(REPLICATION_FACTOR)
        .with_configs(Some(configs.collect()));
    if caller.version >= 7 {
        result.topic_id = topic.id.0;
    }
    result
}
