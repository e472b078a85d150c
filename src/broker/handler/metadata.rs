//! Metadata, versions 0 to 13.
//!
//! From 1 a null list asks for all topics (in 0 an empty one does), from 4 the client says whether a missing topic may be
//! created, from 8 to 10 it may ask for authorized operations, from 10 topics have ids and from 12 can be asked for by id.
//! A topic that is asked for more than once is answered once.

use std::collections::HashSet;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::partition_errors::topic_by_id;
use super::{CLUSTER_OPERATIONS, OPERATIONS_NOT_ASKED, TOPIC_OPERATIONS, topic_error};
use crate::Broker;
use crate::dispatch::{Answer, Caller};
use crate::topics::{Topic, TopicError};

/// The first version in which topics can be asked for by id.
const WITH_TOPIC_IDS: i16 = 12;
/// Leader epoch of a partition whose owner has not been asked yet.
const EPOCH_NOT_KNOWN: i32 = -1;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    caller: &Caller,
    request: MetadataRequest,
) -> Answer<MetadataResponse> {
    let operations =
        if request.include_topic_authorized_operations { TOPIC_OPERATIONS } else { OPERATIONS_NOT_ASKED };
    let all = match &request.topics {
        None => true,
        Some(topics) => caller.version == 0 && topics.is_empty(),
    };
    let mut topics = Vec::new();
    if all {
        let found = broker.catalogue.all().await;
        topics.extend(found.iter().map(|topic| describe(broker, caller, topic, operations)));
    }
    let mut seen = HashSet::new();
    for asked in request.topics.unwrap_or_default() {
        if !seen.insert((asked.topic_id, asked.name.clone())) {
            continue;
        }
        let may_create = request.allow_auto_topic_creation || caller.version < 4;
        topics.push(match find(broker, caller.version, &asked, may_create).await {
            Ok(topic) => describe(broker, caller, &topic, operations),
            Err(code) => refuse(caller.version, asked, code),
        });
    }
    let mut response = MetadataResponse::default()
        .with_brokers(vec![this_broker(broker)])
        .with_controller_id(BrokerId(broker.settings.broker_id))
        .with_topics(topics);
    if caller.version >= 2 {
        response.cluster_id = Some(StrBytes::from_string(broker.cluster_id.clone()));
    }
    if (8..=10).contains(&caller.version) && request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = CLUSTER_OPERATIONS;
    }
    Answer::Now(response)
}

/// The answer about a topic that is not there: named as it was asked for.
fn refuse(version: i16, asked: MetadataRequestTopic, code: i16) -> MetadataResponseTopic {
    let mut refused = MetadataResponseTopic::default().with_error_code(code);
    if version >= WITH_TOPIC_IDS && !asked.topic_id.is_nil() {
        return refused.with_topic_id(asked.topic_id).with_name(None);
    }
    // Before 12 a topic always has a name on the wire.
    refused.name = asked.name.or_else(|| (version < WITH_TOPIC_IDS).then(TopicName::default));
    refused
}

async fn find(
    broker: &Arc<Broker>,
    version: i16,
    asked: &MetadataRequestTopic,
    may_create: bool,
) -> Result<Arc<Topic>, i16> {
    if !asked.topic_id.is_nil() {
        if version < WITH_TOPIC_IDS {
            return Err(ResponseError::InvalidRequest.code());
        }
        return topic_by_id(broker, asked.topic_id).await.map_err(|error| error.code());
    }
    let Some(name) = &asked.name else {
        let by_id = version >= WITH_TOPIC_IDS;
        let error = if by_id { ResponseError::UnknownTopicId } else { ResponseError::InvalidRequest };
        return Err(error.code());
    };
    let found = broker.catalogue.find(name).await;
    match found {
        Ok(Some(topic)) => Ok(topic),
        Ok(None) if may_create && broker.settings.auto_create_topics_enable => {
            let partitions = broker.settings.num_partitions;
            match broker.catalogue.create(name, partitions, Default::default(), false).await {
                Ok(topic) => Ok(topic),
                // Another client was faster: ask again.
                Err(TopicError::Exists { .. }) => Err(ResponseError::LeaderNotAvailable.code()),
                Err(error) => Err(topic_error(&error).0),
            }
        }
        Ok(None) => match tidegate_format::check_topic_name(name) {
            Ok(()) => Err(ResponseError::UnknownTopicOrPartition.code()),
            Err(_) => Err(ResponseError::InvalidTopicException.code()),
        },
        Err(error) => Err(topic_error(&error).0),
    }
}

fn this_broker(broker: &Broker) -> MetadataResponseBroker {
    MetadataResponseBroker::default()
        .with_node_id(BrokerId(broker.settings.broker_id))
        .with_host(StrBytes::from_string(broker.advertised.host.clone()))
        .with_port(i32::from(broker.advertised.port))
}

fn describe(broker: &Broker, caller: &Caller, topic: &Topic, operations: i32) -> MetadataResponseTopic {
    let this = BrokerId(broker.settings.broker_id);
    let partitions = topic.partition_ids().map(|id| {
        let mut partition = MetadataResponsePartition::default()
            .with_partition_index(id.partition.0)
            .with_leader_id(this)
            .with_replica_nodes(vec![this])
            .with_isr_nodes(vec![this]);
        if caller.version >= 7 {
            partition.leader_epoch =
                broker.partitions.known_epoch(id).map_or(EPOCH_NOT_KNOWN, |epoch| epoch.0);
        }
        partition
    });
    let mut described = MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_string(topic.name.clone()))))
        .with_is_internal(topic.is_internal())
        .with_partitions(partitions.collect());
    if caller.version >= 10 {
        described.topic_id = topic.id.0;
    }
    if caller.version >= 8 {
        described.topic_authorized_operations = operations;
    }
    described
}
