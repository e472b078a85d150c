//! DeleteTopics, versions 1 to 6.
//!
//! From 5 the answer carries a message, from 6 topics can be named by id.

use std::collections::HashSet;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::partition_errors::topic_by_id;
use super::topic_error;
use crate::Broker;
use crate::dispatch::{Answer, Caller};
use crate::topics::TopicError;

/// The first version in which an error has a message.
const WITH_MESSAGES: i16 = 5;
/// The first version in which topics have ids.
const WITH_TOPIC_IDS: i16 = 6;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    caller: &Caller,
    request: DeleteTopicsRequest,
) -> Answer<DeleteTopicsResponse> {
    let by_name = |name| DeleteTopicState::default().with_name(Some(name));
    let asked = if caller.version >= WITH_TOPIC_IDS {
        request.topics
    } else {
        request.topic_names.into_iter().map(by_name).collect()
    };
    let mut seen = HashSet::new();
    let repeated: HashSet<(Option<TopicName>, Uuid)> = asked
        .iter()
        .map(|topic| (topic.name.clone(), topic.topic_id))
        .filter(|topic| !seen.insert(topic.clone()))
        .collect();
    let mut answered = HashSet::new();
    let mut responses = Vec::with_capacity(asked.len());
    for topic in asked {
        let key = (topic.name.clone(), topic.topic_id);
        if !repeated.contains(&key) {
            responses.push(delete(broker, caller, topic).await);
        } else if answered.insert(key) {
            let message = "the request names this topic more than once";
            responses.push(refused(caller, topic, ResponseError::InvalidRequest, message));
        }
    }
    Answer::Now(DeleteTopicsResponse::default().with_responses(responses))
}

async fn delete(broker: &Arc<Broker>, caller: &Caller, asked: DeleteTopicState) -> DeletableTopicResult {
    const NO_SUCH_ID: &str = "there is no topic of this id";
    let (name, id) = match (&asked.name, asked.topic_id.is_nil()) {
        (Some(name), true) => (name.clone(), None),
        (None, false) => match topic_by_id(broker, asked.topic_id).await {
            Ok(topic) => (TopicName(StrBytes::from_string(topic.name.clone())), Some(topic.id)),
            Err(error) => return refused(caller, asked, error, NO_SUCH_ID),
        },
        (name, _) => {
            let message = if name.is_some() {
                "a topic is named by its name or by its id, not by both"
            } else {
                "a topic has to be named by its name or by its id"
            };
            return refused(caller, asked, ResponseError::InvalidRequest, message);
        }
    };
    let mut result = DeletableTopicResult::default().with_name(Some(name.clone()));
    result.topic_id = asked.topic_id;
    match broker.drop_topic(&name, id).await {
        Ok(topic) if caller.version >= WITH_TOPIC_IDS => result.topic_id = topic.id.0,
        Ok(_) => {}
        // Others were faster; perhaps another topic has its name by now, and that one was not meant.
        Err(TopicError::Unknown { .. }) if id.is_some() => {
            return refused(caller, asked, ResponseError::UnknownTopicId, NO_SUCH_ID);
        }
        Err(error) => refuse(&mut result, caller, &error),
    }
    result
}

/// The answer about a topic that could not be looked for: named as it was asked for.
fn refused(
    caller: &Caller,
    asked: DeleteTopicState,
    error: ResponseError,
    message: &'static str,
) -> DeletableTopicResult {
    let mut result = DeletableTopicResult::default()
        .with_name(asked.name)
        .with_topic_id(asked.topic_id)
        .with_error_code(error.code());
    if caller.version >= WITH_MESSAGES {
        result.error_message = Some(StrBytes::from_static_str(message));
    }
    result
}

fn refuse(result: &mut DeletableTopicResult, caller: &Caller, error: &TopicError) {
    let (code, message) = topic_error(error);
    result.error_code = code;
    if caller.version >= WITH_MESSAGES {
        result.error_message = message;
    }
}
