//! AlterConfigs, versions 0 to 2, all alike: replaces the whole configuration of a topic.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::messages::alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use super::configs::{Alteration, alter_all};
use crate::Broker;
use crate::dispatch::{Answer, Caller};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _caller: &Caller,
    request: AlterConfigsRequest,
) -> Answer<AlterConfigsResponse> {
    let responses = alter_all(broker, request.resources, request.validate_only).await;
    Answer::Now(AlterConfigsResponse::default().with_responses(responses))
}

impl Alteration for AlterConfigsResource {
    type Answer = AlterConfigsResourceResponse;

    fn resource(&self) -> (i8, &StrBytes) {
        (self.resource_type, &self.resource_name)
    }

    fn changes(&self) -> impl Iterator<Item = (&str, bool)> {
        self.configs.iter().map(|config| (config.name.as_str(), config.value.is_none()))
    }

    fn apply(&self, configs: &mut BTreeMap<String, String>) -> Result<(), String> {
        configs.clear();
        for config in &self.configs {
            let value = config.value.as_ref().map(|value| value.trim().to_owned()).unwrap_or_default();
            configs.insert(config.name.to_string(), value);
        }
        Ok(())
    }

    fn answer(self, code: i16, message: Option<StrBytes>) -> Self::Answer {
        AlterConfigsResourceResponse::default()
            .with_resource_type(self.resource_type)
            .with_resource_name(self.resource_name)
            .with_error_code(code)
            .with_error_message(message)
    }
}
