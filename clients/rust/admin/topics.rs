//! Creating, changing and dropping topics.

use tidegate_protocol::WireLayout;
use tidegate_protocol::error::ResponseError;
use tidegate_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use tidegate_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use tidegate_protocol::messages::delete_topics_request::DeleteTopicState;
use tidegate_protocol::messages::describe_configs_request::DescribeConfigsResource;
use tidegate_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use tidegate_protocol::messages::{
    ApiKey, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeConfigsRequest,
    IncrementalAlterConfigsRequest,
};

use super::Admin;
use crate::client::{Target, topic_name};
use crate::error::accepted;
use crate::offsets::text;
use crate::{Error, Metadata};

/// Kafka's number for "topic" among configuration resources.
const RESOURCE_TOPIC: i8 = 2;
/// Kafka's numbers for setting a configuration and for going back to its default.
const SET: i8 = 0;
const RESET: i8 = 1;
/// "The broker's default", as a number of partitions or replicas.
const DEFAULT: i32 = -1;

/// A topic to create.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; the broker's default if none.
    pub partitions: Option<i32>,
    /// What to configure, by name.
    pub configs: Vec<(String, String)>,
}

impl NewTopic {
    /// One with so many partitions, and the broker's defaults otherwise.
    pub fn new(name: impl Into<String>, partitions: i32) -> Self {
        Self { name: name.into(), partitions: Some(partitions), configs: vec![] }
    }

    /// With a configuration more, such as `retention.ms`.
    #[must_use]
    pub fn config(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.configs.push((name.into(), value.into()));
        self
    }
}

/// One configuration of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Its name.
    pub name: String,
    /// Its value; none if the broker does not tell.
    pub value: Option<String>,
    /// Whether it was set for this topic, rather than by a default.
    pub is_override: bool,
    /// What it means, if the broker tells.
    pub documentation: Option<String>,
}

impl Admin {
    /// Creates a topic.
    ///
    /// # Errors
    /// `Refused` with the broker's reason, such as `TopicAlreadyExists`.
    pub async fn create_topic(&self, topic: &NewTopic) -> Result<(), Error> {
        let configs: Vec<_> = topic
            .configs
            .iter()
            .map(|(name, value)| {
                CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
            })
            .collect();
        let topics = vec![
            CreatableTopic::default()
                .with_name(topic_name(&topic.name))
                .with_num_partitions(topic.partitions.unwrap_or(DEFAULT))
                .with_replication_factor(-1)
                .with_configs(configs),
        ];
        let timeout_ms = self.timeout_ms();
        let request =
            |_| CreateTopicsRequest::default().with_topics(topics.clone()).with_timeout_ms(timeout_ms);
        let response = self
            .call_controller(request, |response| response.topics.first().map_or(0, |topic| topic.error_code));
        let response = response.await?;
        let created = response.topics.iter().find(|created| created.name.as_str() == topic.name);
        let created = created.ok_or_else(|| missing("CreateTopics", &topic.name))?;
        accepted(ApiKey::CreateTopics, created.error_code, created.error_message.as_deref())
    }

    /// Drops a topic with all its records.
    ///
    /// # Errors
    /// `Refused` with the broker's reason, such as `UnknownTopicOrPartition`.
    pub async fn delete_topic(&self, name: &str) -> Result<(), Error> {
        let timeout_ms = self.timeout_ms();
        let request = |version: i16| {
            let request = DeleteTopicsRequest::default().with_timeout_ms(timeout_ms);
            match version {
                6.. => {
                    request.with_topics(vec![DeleteTopicState::default().with_name(Some(topic_name(name)))])
                }
                _ => request.with_topic_names(vec![topic_name(name)]),
            }
        };
        let response = self.call_controller(request, |response| {
            response.responses.first().map_or(0, |topic| topic.error_code)
        });
        let response = response.await?;
        let deleted = response.responses.first().ok_or_else(|| missing("DeleteTopics", name))?;
        accepted(ApiKey::DeleteTopics, deleted.error_code, deleted.error_message.as_deref())
    }

    /// Gives a topic more partitions: `count` in all.
    ///
    /// # Errors
    /// `Refused` with the broker's reason, such as `InvalidPartitions`.
    pub async fn create_partitions(&self, name: &str, count: i32) -> Result<(), Error> {
        let timeout_ms = self.timeout_ms();
        let request = |_| {
            let topic = CreatePartitionsTopic::default()
                .with_name(topic_name(name))
                .with_count(count)
                .with_assignments(None);
            CreatePartitionsRequest::default().with_topics(vec![topic]).with_timeout_ms(timeout_ms)
        };
        let response = self.call_controller(request, |response| {
            response.results.first().map_or(0, |topic| topic.error_code)
        });
        let response = response.await?;
        let result = response.results.first().ok_or_else(|| missing("CreatePartitions", name))?;
        accepted(ApiKey::CreatePartitions, result.error_code, result.error_message.as_deref())
    }

    /// Every topic of the cluster, with its partitions.
    ///
    /// # Errors
    /// As a call to any broker.
    pub async fn list_topics(&self) -> Result<Metadata, Error> {
        self.client.all_topics().await
    }

    /// What is configured for a topic, by name.
    ///
    /// # Errors
    /// `Refused` with the broker's reason, such as `UnknownTopicOrPartition`.
    pub async fn describe_topic_configs(&self, name: &str) -> Result<Vec<ConfigEntry>, Error> {
        /// Kafka's number for "set for this topic" among the sources of a value.
        const SOURCE_TOPIC: i8 = 1;
        let request = |version: i16| {
            let resource = DescribeConfigsResource::default()
                .with_resource_type(RESOURCE_TOPIC)
                .with_resource_name(text(name))
                .with_configuration_keys(None);
            let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
            if version >= 3 { request.with_include_documentation(true) } else { request }
        };
        let response = self.client.call(Target::Any, request).await?;
        let result = response.results.into_iter().next().ok_or_else(|| missing("DescribeConfigs", name))?;
        accepted(ApiKey::DescribeConfigs, result.error_code, result.error_message.as_deref())?;
        let entry = |config: tidegate_protocol::messages::describe_configs_response::DescribeConfigsResourceResult| {
            ConfigEntry {
                name: config.name.to_string(),
                value: config.value.map(|value| value.to_string()),
                is_override: config.config_source == SOURCE_TOPIC,
                documentation: config.documentation.map(|documentation| documentation.to_string()),
            }
        };
        Ok(result.configs.into_iter().map(entry).collect())
    }

    /// Sets configurations of a topic; those without a value go back to their defaults.
    ///
    /// # Errors
    /// `Refused` with the broker's reason, such as `InvalidConfig`; nothing is changed then.
    pub async fn alter_topic_configs(
        &self,
        name: &str,
        changes: &[(String, Option<String>)],
    ) -> Result<(), Error> {
        let configs: Vec<_> = changes
            .iter()
            .map(|(name, value)| {
                AlterableConfig::default()
                    .with_name(text(name))
                    .with_config_operation(if value.is_some() { SET } else { RESET })
                    .with_value(value.as_deref().map(text))
            })
            .collect();
        let request = |_| {
            let resource = AlterConfigsResource::default()
                .with_resource_type(RESOURCE_TOPIC)
                .with_resource_name(text(name))
                .with_configs(configs.clone());
            IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
        };
        let response = self.call_controller(request, |response| {
            response.responses.first().map_or(0, |topic| topic.error_code)
        });
        let response = response.await?;
        let result = response.responses.first().ok_or_else(|| missing("IncrementalAlterConfigs", name))?;
        accepted(ApiKey::IncrementalAlterConfigs, result.error_code, result.error_message.as_deref())
    }
}

impl Admin {
    /// Asks the broker that manages topics; if it turns out to be another one, asks that.
    async fn call_controller<R: WireLayout>(
        &self,
        request: impl Fn(i16) -> R,
        code: impl Fn(&R::Response) -> i16,
    ) -> Result<R::Response, Error> {
        let check = |response: &R::Response| match ResponseError::try_from_code(code(response)) {
            Some(error @ ResponseError::NotController) => {
                let api = ApiKey::try_from(R::KEY).expect("a request's key is an API's");
                Err(Error::Refused { api, error, detail: None })
            }
            _ => Ok(()),
        };
        self.client.call_checked(Target::Controller, request, check).await
    }
}

/// The broker did not answer for what it was asked about.
pub(super) fn missing(api: &str, what: &str) -> Error {
    Error::Invalid(format!("the broker's answer to {api} says nothing of `{what}`"))
}
