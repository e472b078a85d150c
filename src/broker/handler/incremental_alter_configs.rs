//! IncrementalAlterConfigs, versions 0 and 1, alike: changes single configurations of a topic.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use super::configs::{Alteration, alter_all};
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
    let responses = alter_all(broker, request.resources, request.validate_only).await;
    Answer::Now(IncrementalAlterConfigsResponse::default().with_responses(responses))
}

impl Alteration for AlterConfigsResource {
    type Answer = AlterConfigsResourceResponse;

    fn resource(&self) -> (i8, &StrBytes) {
        (self.resource_type, &self.resource_name)
    }

    fn changes(&self) -> impl Iterator<Item = (&str, bool)> {
        let lacks_value =
            |config: &AlterableConfig| config.config_operation != DELETE && config.value.is_none();
        self.configs.iter().map(move |config| (config.name.as_str(), lacks_value(config)))
    }

    fn apply(&self, configs: &mut BTreeMap<String, String>) -> Result<(), String> {
        self.configs.iter().try_for_each(|change| apply(configs, change))
    }

    fn answer(self, code: i16, message: Option<StrBytes>) -> Self::Answer {
        AlterConfigsResourceResponse::default()
            .with_resource_type(self.resource_type)
            .with_resource_name(self.resource_name)
            .with_error_code(code)
            .with_error_message(message)
    }
}

/// Applies one change. The list configurations there are take one value, so appending and subtracting come down to
/// setting it and resetting it.
fn apply(configs: &mut BTreeMap<String, String>, change: &AlterableConfig) -> Result<(), String> {
    let name = change.name.to_string();
    let value = || change.value.as_ref().map(|value| value.trim().to_owned()).unwrap_or_default();
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
