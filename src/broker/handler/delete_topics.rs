//! DeleteTopics, versions 1 to 6.
//!
//! From 5 the answer carries a message, from 6 topics can be named by id.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use tidegate_format::TopicId;

use super::topic_error;
use crate::Broker;
use crate::dispatch::{Answer, Caller};
use crate::topics::TopicError;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    caller: &Caller,
    request: DeleteTopicsRequest,
) -> Answer<DeleteTopicsResponse> {
    let by_name = |name| DeleteTopicState::default().with_name(Some(name));
    let asked = if caller.version >= 6 {
        request.topics
    } else {
        request.topic_names.into_iter().map(by_name).collect()
    };
    let mut responses = Vec::with_capacity(asked.len());
    for topic in asked {
        responses.push(delete(broker, caller, topic).await);
    }
    Answer::Now(DeleteTopicsResponse::default().with_responses(responses))
}

async fn delete(broker: &Arc<Broker>, caller: &Caller, asked: DeleteTopicState) -> DeletableTopicResult {
    let topics = broker.catalogue.topics();
    let name = match &asked.name {
        Some(name) => Some(name.to_string()),
        None => topics.by_id(TopicId(asked.topic_id)).map(|topic| topic.name.clone()),
    };
    let mut result = DeletableTopicResult::default()
        .with_name(name.clone().map(|name| TopicName(StrBytes::from_string(name))));
    if caller.version >= 6 {
        result.topic_id = asked.topic_id;
    }
    let Some(name) = name else {
        result.error_code = ResponseError::UnknownTopicId.code();
        return result;
    };
    match broker.drop_topic(&name).await {
        Ok(topic) if caller.version >= 6 => result.topic_id = topic.id.0,
        Ok(_) => {}
        Err(error) => refuse(&mut result, caller, &error),
    }
    result
}

fn refuse(result: &mut DeletableTopicResult, caller: &Caller, error: &TopicError) {
    let (code, message) = topic_error(error);
    result.error_code = code;
    if caller.version >= 5 {
        result.error_message = message;
    }
}
