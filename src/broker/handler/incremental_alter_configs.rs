//! IncrementalAlterConfigs, versions 0 and 1, alike: changes single configurations of a topic.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use super::alter_configs::{no_value, not_alterable};
use super::{RESOURCE_TOPIC, topic_error};
use crate::Broker;
use crate::dispatch::{Answer, Caller};
use crate::topics::ConfigDefinition;

/// Kafka's numbers for what is done to one configuration.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _caller: &Caller,
    request: IncrementalAlterConfigsRequest,
) -> Answer<IncrementalAlterConfigsResponse> {
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
    Answer::Now(IncrementalAlterConfigsResponse::default().with_responses(responses))
}

async fn alter(
    broker: &Arc<Broker>,
    resource: &AlterConfigsResource,
    validate_only: bool,
) -> (i16, Option<StrBytes>) {
    if resource.resource_type != RESOURCE_TOPIC {
        return not_alterable(resource.resource_type);
    }
    let mut names = BTreeSet::new();
    if let Some(twice) = resource.configs.iter().find(|config| !names.insert(config.name.as_str())) {
        let message = format!("`{}` is changed more than once", twice.name.as_str());
        return (ResponseError::InvalidRequest.code(), Some(StrBytes::from_string(message)));
    }
    let needs_value = |config: &&AlterableConfig| config.config_operation != DELETE && config.value.is_none();
    if let Some(config) = resource.configs.iter().find(needs_value) {
        return no_value(&config.name);
    }
    let altered = broker.catalogue.set_configs(&resource.resource_name, validate_only, |configs| {
        resource.configs.iter().try_for_each(|change| apply(configs, change))
    });
    match altered.await {
        Ok(_) => (0, None),
        Err(error) => topic_error(&error),
    }
}

/// Applies one change. The list configurations there are take one value, so appending and subtracting come down to
/// setting it and resetting it.
fn apply(configs: &mut BTreeMap<String, String>, change: &AlterableConfig) -> Result<(), String> {
    let name = change.name.to_string();
    let value = || change.value.as_ref().map(ToString::to_string).unwrap_or_default();
    let list = || match ConfigDefinition::find(&name) {
        Some(definition) if definition.is_list() => Ok(()),
        _ => Err(format!("`{name}` is not a list: it can be set and deleted")),
    };
    match change.config_operation {
        SET => {
            configs.insert(name.clone(), value());
        }
        DELETE => {
            configs.remove(&name);
        }
        APPEND => {
            list()?;
            configs.insert(name.clone(), value());
        }
        SUBTRACT => {
            list()?;
            configs.remove(&name);
        }
        other => return Err(format!("there is no configuration operation {other}")),
    }
    Ok(())
}
