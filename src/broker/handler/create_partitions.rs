//! CreatePartitions, versions 0 to 3, all alike.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};
use kafka_protocol::protocol::StrBytes;

use super::topic_error;
use crate::Broker;
use crate::dispatch::{Answer, Caller};
use crate::topics::TopicError;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _caller: &Caller,
    request: CreatePartitionsRequest,
) -> Answer<CreatePartitionsResponse> {
    let mut seen = BTreeSet::new();
    let repeated: BTreeSet<_> = request
        .topics
        .iter()
        .map(|topic| topic.name.clone())
        .filter(|name| !seen.insert(name.clone()))
        .collect();
    let mut answered = BTreeSet::new();
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let (code, message) = if !repeated.contains(&topic.name) {
            create(broker, &topic, request.validate_only).await
        } else if answered.insert(topic.name.clone()) {
            let message = "the request names this topic more than once";
            (ResponseError::InvalidRequest.code(), Some(StrBytes::from_static_str(message)))
        } else {
            continue;
        };
        results.push(
            CreatePartitionsTopicResult::default()
                .with_name(topic.name)
                .with_error_code(code)
                .with_error_message(message),
        );
    }
    Answer::Now(CreatePartitionsResponse::default().with_results(results))
}

async fn create(
    broker: &Arc<Broker>,
    topic: &CreatePartitionsTopic,
    validate_only: bool,
) -> (i16, Option<StrBytes>) {
    let before = match broker.catalogue.find(&topic.name).await {
        Ok(Some(known)) => known.partitions,
        Ok(None) => return topic_error(&TopicError::Unknown { name: topic.name.to_string() }),
        Err(error) => return topic_error(&error),
    };
    if let Some(assignments) = topic.assignments.as_ref().filter(|_| topic.count > before) {
        let this_alone = |brokers: &[kafka_protocol::messages::BrokerId]| {
            brokers.len() == 1 && brokers[0].0 == broker.settings.broker_id
        };
        let added = i64::from(topic.count) - i64::from(before);
        let fits = i64::try_from(assignments.len()).is_ok_and(|count| count == added);
        if !fits || !assignments.iter().all(|assignment| this_alone(&assignment.broker_ids)) {
            let message = "each new partition must be assigned to one existing broker";
            let code = ResponseError::InvalidReplicaAssignment.code();
            return (code, Some(StrBytes::from_static_str(message)));
        }
    }
    match broker.catalogue.set_partitions(&topic.name, topic.count, validate_only).await {
        Ok(_) => (0, None),
        Err(error) => topic_error(&error),
    }
}
