//! AlterConfigs, versions 0 to 2, all alike: replaces the whole configuration of a topic.

use std::sync::Arc;

use kafka_protocol::messages::alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use super::{RESOURCE_TOPIC, topic_error};
use crate::Broker;
use crate::dispatch::{Answer, Caller};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _caller: &Caller,
    request: AlterConfigsRequest,
) -> Answer<AlterConfigsResponse> {
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let (code, message) = alter(broker, &resource, request.validate_only).await;
        responses.push(
            AlterConfigsResourceResponse::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name)
                .with_error_code(code)
                .with_error_message(message),
        );
    }
    Answer::Now(AlterConfigsResponse::default().with_responses(responses))
}

async fn alter(
    broker: &Arc<Broker>,
    resource: &AlterConfigsResource,
    validate_only: bool,
) -> (i16, Option<StrBytes>) {
    if resource.resource_type != RESOURCE_TOPIC {
        return not_alterable(resource.resource_type);
    }
    if let Some(config) = resource.configs.iter().find(|config| config.value.is_none()) {
        return no_value(&config.name);
    }
    let altered = broker.catalogue.set_configs(&resource.resource_name, validate_only, |configs| {
        configs.clear();
        for config in &resource.configs {
            let value = config.value.as_ref().map(ToString::to_string).unwrap_or_default();
            configs.insert(config.name.to_string(), value);
        }
        Ok(())
    });
    match altered.await {
        Ok(_) => (0, None),
        Err(error) => topic_error(&error),
    }
}

/// The refusal of a value that is null.
pub(super) fn no_value(name: &str) -> (i16, Option<StrBytes>) {
    let message = format!("configuration `{name}` has no value");
    (kafka_protocol::ResponseError::InvalidRequest.code(), Some(StrBytes::from_string(message)))
}

/// The refusal of every resource but a topic.
pub(super) fn not_alterable(resource_type: i8) -> (i16, Option<StrBytes>) {
    let message = format!(
        "the configuration of a resource of type {resource_type} cannot be changed at run time: only topics (2) can"
    );
    (kafka_protocol::ResponseError::InvalidRequest.code(), Some(StrBytes::from_string(message)))
}
