//! DescribeConfigs, versions 1 to 4.
//!
//! From 3 the answer carries types and, if asked for, documentation. Topics and this broker can be described; the
//! broker's settings are read-only here.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;
use tidegate_format::check_topic_name;

use super::{RESOURCE_BROKER, RESOURCE_TOPIC, resource_kind, topic_error};
use crate::Broker;
use crate::dispatch::{Answer, Caller};
use crate::settings::{SETTINGS, SettingInfo, Settings};
use crate::topics::{CONFIGS, ConfigDefinition, Topic, TopicError};

/// Kafka's numbers for where a value comes from.
const SOURCE_TOPIC: i8 = 1;
const SOURCE_STATIC_BROKER: i8 = 4;
const SOURCE_DEFAULT: i8 = 5;
/// Kafka's number for "string" among configuration types.
const TYPE_STRING: i8 = 2;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    caller: &Caller,
    request: DescribeConfigsRequest,
) -> Answer<DescribeConfigsResponse> {
    let wants = Wants {
        synonyms: request.include_synonyms,
        types: caller.version >= 3,
        documentation: caller.version >= 3 && request.include_documentation,
    };
    let mut results = Vec::with_capacity(request.resources.len());
    let mut seen = HashSet::new();
    for resource in request.resources {
        // What is asked for more than once is answered once.
        if !seen.insert((resource.resource_type, resource.resource_name.clone())) {
            continue;
        }
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        results.push(match describe(broker, &wants, &resource).await {
            Ok(configs) => result.with_configs(configs).with_error_message(None),
            Err((code, message)) => result.with_error_code(code).with_error_message(message),
        });
    }
    Answer::Now(DescribeConfigsResponse::default().with_results(results))
}

struct Wants {
    synonyms: bool,
    types: bool,
    documentation: bool,
}

async fn describe(
    broker: &Arc<Broker>,
    wants: &Wants,
    resource: &DescribeConfigsResource,
) -> Result<Vec<DescribeConfigsResourceResult>, (i16, Option<StrBytes>)> {
    // As in Kafka, an empty list asks for all, like none.
    let asked_for = |name: &str| match &resource.configuration_keys {
        Some(keys) if !keys.is_empty() => keys.iter().any(|key| key.as_str() == name),
        _ => true,
    };
    let name = resource.resource_name.as_str();
    match resource.resource_type {
        RESOURCE_TOPIC => {
            check_topic_name(name)
                .map_err(|error| topic_error(&TopicError::InvalidName { reason: error.to_string() }))?;
            let found = broker.catalogue.find(name).await.map_err(|error| topic_error(&error))?;
            let topic = found.ok_or_else(|| topic_error(&TopicError::Unknown { name: name.to_owned() }))?;
            let definitions = CONFIGS.iter().filter(|definition| asked_for(definition.name));
            Ok(definitions.map(|definition| topic_config(broker, wants, &topic, definition)).collect())
        }
        RESOURCE_BROKER if name == broker.settings.broker_id.to_string() => {
            let settings = SETTINGS.iter().filter(|setting| asked_for(setting.name));
            Ok(settings.map(|setting| broker_config(&broker.settings, wants, setting)).collect())
        }
        // The defaults for all brokers that can be changed at run time: none can.
        RESOURCE_BROKER if name.is_empty() => Ok(Vec::new()),
        RESOURCE_BROKER => {
            let message = format!("this is broker {}, not `{name}`", broker.settings.broker_id);
            Err((ResponseError::InvalidRequest.code(), Some(StrBytes::from_string(message))))
        }
        other => {
            let message = format!("there is no configuration of {} here", resource_kind(other));
            Err((ResponseError::InvalidRequest.code(), Some(StrBytes::from_string(message))))
        }
    }
}

/// Where the value of a topic's configuration comes from.
pub(super) fn source(
    definition: &ConfigDefinition,
    overrides: &BTreeMap<String, String>,
    settings: &Settings,
) -> i8 {
    if definition.own(overrides).is_some() {
        return SOURCE_TOPIC;
    }
    let setting = definition.setting.and_then(|name| SETTINGS.iter().find(|setting| setting.name == name));
    setting.map_or(SOURCE_DEFAULT, |setting| setting_source(setting, settings))
}

fn setting_source(setting: &SettingInfo, settings: &Settings) -> i8 {
    let default = settings.text(setting.name).as_deref() == Some(setting.default);
    if default { SOURCE_DEFAULT } else { SOURCE_STATIC_BROKER }
}

fn topic_config(
    broker: &Broker,
    wants: &Wants,
    topic: &Topic,
    definition: &ConfigDefinition,
) -> DescribeConfigsResourceResult {
    let value = definition.value(&topic.overrides, &broker.settings);
    let source = source(definition, &topic.overrides, &broker.settings);
    let mut result = DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_static_str(definition.name))
        .with_value(Some(StrBytes::from_string(value.clone())))
        .with_config_source(source);
    if wants.synonyms {
        let default = definition.value(&BTreeMap::new(), &broker.settings);
        let default_source = self::source(definition, &BTreeMap::new(), &broker.settings);
        let default = synonym(definition.setting.unwrap_or(definition.name), default, default_source);
        if source == SOURCE_TOPIC {
            result.synonyms.push(synonym(definition.name, value, SOURCE_TOPIC));
        }
        result.synonyms.push(default);
    }
    if wants.types {
        result.config_type = definition.kind as i8;
    }
    if wants.types {
        let documentation = StrBytes::from_static_str(definition.documentation);
        result.documentation = wants.documentation.then_some(documentation);
    }
    result
}

fn broker_config(settings: &Settings, wants: &Wants, setting: &SettingInfo) -> DescribeConfigsResourceResult {
    let value = settings.text(setting.name).expect("every setting of the table has a text");
    let source = setting_source(setting, settings);
    let mut result = DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_static_str(setting.name))
        .with_value(Some(StrBytes::from_string(value.clone())))
        .with_read_only(true)
        .with_config_source(source);
    if wants.synonyms {
        result.synonyms.push(synonym(setting.name, value, source));
    }
    if wants.types {
        result.config_type = TYPE_STRING;
    }
    if wants.types {
        let documentation = StrBytes::from_static_str(setting.help);
        result.documentation = wants.documentation.then_some(documentation);
    }
    result
}

fn synonym(name: &'static str, value: String, source: i8) -> DescribeConfigsSynonym {
    DescribeConfigsSynonym::default()
        .with_name(StrBytes::from_static_str(name))
        .with_value(Some(StrBytes::from_string(value)))
        .with_source(source)
}
