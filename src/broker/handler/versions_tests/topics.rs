//! The cluster, its topics and their configuration.

use kafka_protocol::ResponseError as E;
use kafka_protocol::messages as m;
use kafka_protocol::messages::BrokerId;
use kafka_protocol::messages::alter_configs_request as alter;
use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::incremental_alter_configs_request as incremental;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use tidegate_protocol::versions::SERVED;
use uuid::Uuid;

use super::fixture::{FLIGHTS, Fixture, MISSING, NOBODYS_ID, text, topic};
use crate::settings::SETTINGS;

pub(super) async fn api_versions(fixture: &Fixture, version: i16) {
    let mut request = m::ApiVersionsRequest::default();
    if version >= 3 {
        request = request.with_client_software_name(text("librdkafka"));
        request = request.with_client_software_version(text("2.0.2"));
    }
    let answer = fixture.ask(version, &request).await;
    assert_eq!((answer.error_code, answer.api_keys.len()), (0, SERVED.len()), "v{version}");
    if version >= 3 {
        let answer = fixture.ask(version, &request.with_client_software_name(text("no name!"))).await;
        assert_eq!(answer.error_code, E::InvalidRequest.code(), "v{version}");
    }
}

fn named(name: &str) -> MetadataRequestTopic {
    MetadataRequestTopic::default().with_name(Some(topic(name)))
}

pub(super) async fn metadata(fixture: &Fixture, version: i16) {
    let ask = async |topics: Option<Vec<MetadataRequestTopic>>, may_create: bool| {
        let mut request = m::MetadataRequest::default().with_topics(topics);
        if version >= 4 {
            request.allow_auto_topic_creation = may_create;
        }
        request.include_topic_authorized_operations = version >= 8;
        request.include_cluster_authorized_operations = (8..=10).contains(&version);
        let answer = fixture.ask(version, &request).await;
        assert_eq!(
            (answer.brokers.len(), answer.controller_id),
            (1, BrokerId(if version == 0 { -1 } else { 1 }))
        );
        assert_eq!(answer.cluster_id.is_some(), version >= 2, "v{version}");
        answer.topics
    };
    let names = |topics: &[MetadataResponseTopic]| -> Vec<_> {
        topics.iter().filter_map(|topic| topic.name.as_ref().map(|name| name.as_str().to_owned())).collect()
    };
    let all = ask(if version == 0 { Some(Vec::new()) } else { None }, true).await;
    assert!(names(&all).contains(&FLIGHTS.to_owned()), "v{version}");
    if version >= 1 {
        assert!(ask(Some(Vec::new()), true).await.is_empty(), "v{version}: none is asked for");
    }
    let found = ask(Some(vec![named(FLIGHTS), named("not/a name")]), false).await;
    assert_eq!((found[0].error_code, found[0].partitions.len()), (0, 2), "v{version}");
    assert_eq!(found[0].partitions[1].isr_nodes, [BrokerId(1)]);
    assert_eq!(found[0].topic_id, if version >= 10 { fixture.flights_id } else { Uuid::nil() });
    assert_eq!(found[1].error_code, E::InvalidTopicException.code(), "v{version}");
    // Before 4 every client wants topics to be created.
    let missing = &ask(Some(vec![named(MISSING)]), false).await[0];
    if version >= 4 {
        assert_eq!(missing.error_code, E::UnknownTopicOrPartition.code(), "v{version}");
        let made = format!("created-by-v{version}");
        assert_eq!(ask(Some(vec![named(&made)]), true).await[0].error_code, 0, "v{version}");
    } else {
        assert_eq!((missing.error_code, missing.partitions.len()), (0, 1), "v{version}");
        fixture.broker().drop_topic(MISSING, None).await.expect("it was just created");
    }
    let by_id = |id| MetadataRequestTopic::default().with_topic_id(id);
    if version >= 12 {
        let found = ask(Some(vec![by_id(fixture.flights_id), by_id(NOBODYS_ID)]), true).await;
        assert_eq!((found[0].error_code, names(&found)), (0, vec![FLIGHTS.to_owned()]), "v{version}");
        let expected = (E::UnknownTopicId.code(), None, NOBODYS_ID);
        assert_eq!((found[1].error_code, found[1].name.clone(), found[1].topic_id), expected);
    } else if version >= 10 {
        let refused = ask(Some(vec![named(FLIGHTS).with_topic_id(fixture.flights_id)]), true).await;
        assert_eq!(
            refused[0].error_code,
            E::InvalidRequest.code(),
            "v{version}: ids are asked for from 12 on"
        );
    }
}

pub(super) async fn repeated(fixture: &Fixture) {
    let request = m::MetadataRequest::default().with_topics(Some(vec![named(FLIGHTS); 1_000]));
    assert_eq!(fixture.ask(12, &request).await.topics.len(), 1);
    let resource = DescribeConfigsResource::default().with_resource_type(2).with_resource_name(text(FLIGHTS));
    let request = m::DescribeConfigsRequest::default().with_resources(vec![resource; 1_000]);
    assert_eq!(fixture.ask(4, &request).await.results.len(), 1);
    let asked = DescribableLogDirTopic::default().with_topic(topic(FLIGHTS)).with_partitions(vec![0]);
    let request = m::DescribeLogDirsRequest::default().with_topics(Some(vec![asked; 1_000]));
    assert_eq!(fixture.ask(4, &request).await.results[0].topics.len(), 1);
}

pub(super) async fn describe_cluster(fixture: &Fixture, version: i16) {
    let request = m::DescribeClusterRequest::default().with_include_cluster_authorized_operations(true);
    let answer = fixture.ask(version, &request).await;
    assert_eq!((answer.error_code, answer.brokers.len(), answer.controller_id), (0, 1, BrokerId(1)));
    if version >= 1 {
        for (endpoint, error) in [(2, E::MismatchedEndpointType), (9, E::UnsupportedEndpointType)] {
            let answer = fixture.ask(version, &request.clone().with_endpoint_type(endpoint)).await;
            assert_eq!(answer.error_code, error.code(), "v{version}");
        }
    }
    if version >= 2 {
        let answer = fixture.ask(version, &request.with_include_fenced_brokers(true)).await;
        assert_eq!(answer.error_code, 0);
    }
}

fn creatable(name: &str) -> CreatableTopic {
    CreatableTopic::default().with_name(topic(name)).with_num_partitions(3).with_replication_factor(1)
}

pub(super) async fn create_topics(fixture: &Fixture, version: i16) {
    let made = format!("made-by-v{version}");
    let config = |name: &str, value: Option<&str>| {
        CreatableTopicConfig::default().with_name(text(name)).with_value(value.map(text))
    };
    let assigned = |index, broker| {
        CreatableReplicaAssignment::default()
            .with_partition_index(index)
            .with_broker_ids(vec![BrokerId(broker)])
    };
    let by_hand = |name: &str, assignments| {
        creatable(name).with_num_partitions(-1).with_replication_factor(-1).with_assignments(assignments)
    };
    let defaults =
        creatable(&format!("{made}-by-default")).with_num_partitions(-1).with_replication_factor(-1);
    let cases = [
        (creatable(&made).with_configs(vec![config("retention.ms", Some("60000"))]), 0),
        (defaults, 0),
        (by_hand(&format!("{made}-by-hand"), vec![assigned(1, 1), assigned(0, 1)]), 0),
        (creatable(FLIGHTS).with_replication_factor(3), E::TopicAlreadyExists.code()),
        (creatable(""), E::InvalidTopicException.code()),
        (creatable("a b"), E::InvalidTopicException.code()),
        (creatable("none").with_num_partitions(0), E::InvalidPartitions.code()),
        (creatable("many").with_num_partitions(i32::MAX), E::InvalidPartitions.code()),
        (creatable("copies").with_replication_factor(3), E::InvalidReplicationFactor.code()),
        (creatable("no-copies").with_replication_factor(0), E::InvalidReplicationFactor.code()),
        (by_hand("elsewhere", vec![assigned(0, 9)]), E::InvalidReplicaAssignment.code()),
        (by_hand("gap", vec![assigned(1, 1)]), E::InvalidReplicaAssignment.code()),
        (creatable("both").with_assignments(vec![assigned(0, 1)]), E::InvalidRequest.code()),
        (creatable("odd").with_configs(vec![config("retention.mss", Some("1"))]), E::InvalidConfig.code()),
        (creatable("null").with_configs(vec![config("retention.ms", None)]), E::InvalidConfig.code()),
    ];
    let expected: Vec<_> = cases.iter().map(|(topic, code)| (topic.name.clone(), *code)).collect();
    let topics: Vec<_> = cases.into_iter().map(|(topic, _)| topic).collect();
    for validate_only in [true, false] {
        let request = m::CreateTopicsRequest::default().with_topics(topics.clone());
        let answer = fixture.ask(version, &request.with_validate_only(validate_only)).await;
        let codes: Vec<_> =
            answer.topics.iter().map(|topic| (topic.name.clone(), topic.error_code)).collect();
        assert_eq!(codes, expected, "v{version}");
        assert!(answer.topics.iter().all(|topic| topic.error_message.is_some() == (topic.error_code != 0)));
        let first = &answer.topics[0];
        if version >= 5 {
            assert_eq!((first.num_partitions, first.replication_factor), (3, 1));
            assert!(first.configs.as_ref().is_some_and(|configs| !configs.is_empty()));
        }
        let exists = fixture.broker().catalogue.find(&made).await.expect("in memory");
        assert_eq!(exists.is_some(), !validate_only, "v{version}");
        if version >= 7
            && let Some(exists) = exists
        {
            assert_eq!(first.topic_id, exists.id.0);
        }
    }
    let request = m::CreateTopicsRequest::default().with_topics(vec![creatable("twice"), creatable("twice")]);
    let answer = fixture.ask(version, &request).await;
    assert_eq!(answer.topics.len(), 1);
    assert_eq!(answer.topics[0].error_code, E::InvalidRequest.code());
    assert!(fixture.ask(version, &m::CreateTopicsRequest::default()).await.topics.is_empty());
}

pub(super) async fn delete_topics(fixture: &Fixture, version: i16) {
    let (name, id) = fixture.new_topic().await;
    if version < 6 {
        let names = vec![name, topic(MISSING), topic("twice"), topic("twice")];
        let answer = fixture.ask(version, &m::DeleteTopicsRequest::default().with_topic_names(names)).await;
        let codes: Vec<_> = answer.responses.iter().map(|topic| topic.error_code).collect();
        assert_eq!(codes, [0, E::UnknownTopicOrPartition.code(), E::InvalidRequest.code()], "v{version}");
        return;
    }
    let (other, other_id) = fixture.new_topic().await;
    let state = |name: Option<kafka_protocol::messages::TopicName>, id| {
        DeleteTopicState::default().with_name(name).with_topic_id(id)
    };
    let none = Uuid::nil();
    let cases = [
        (state(Some(name.clone()), none), 0, Some(name), id),
        (state(None, other_id), 0, Some(other), other_id),
        (state(Some(topic(MISSING)), none), E::UnknownTopicOrPartition.code(), Some(topic(MISSING)), none),
        (state(None, NOBODYS_ID), E::UnknownTopicId.code(), None, NOBODYS_ID),
        (
            state(Some(topic(FLIGHTS)), fixture.flights_id),
            E::InvalidRequest.code(),
            Some(topic(FLIGHTS)),
            fixture.flights_id,
        ),
        (state(None, none), E::InvalidRequest.code(), None, none),
    ];
    let topics = cases.iter().map(|(state, ..)| state.clone()).collect();
    let answer = fixture.ask(version, &m::DeleteTopicsRequest::default().with_topics(topics)).await;
    for (result, (_, code, name, id)) in answer.responses.iter().zip(cases) {
        assert_eq!((result.error_code, &result.name, result.topic_id), (code, &name, id));
    }
    let found = fixture.broker().catalogue.find(FLIGHTS).await.expect("in memory");
    assert!(found.is_some(), "what was refused is still there");
}

pub(super) async fn create_partitions(fixture: &Fixture, version: i16) {
    let (name, _) = fixture.new_topic().await;
    let wanted = |name: &kafka_protocol::messages::TopicName, count| {
        CreatePartitionsTopic::default().with_name(name.clone()).with_count(count).with_assignments(None)
    };
    let assigned = |broker| CreatePartitionsAssignment::default().with_broker_ids(vec![BrokerId(broker)]);
    let missing = topic(MISSING);
    let cases = [
        (wanted(&name, 2), 0),
        (wanted(&name, 2).with_assignments(Some(vec![assigned(1)])), 0),
        (wanted(&name, 2).with_assignments(Some(vec![assigned(9)])), E::InvalidReplicaAssignment.code()),
        (wanted(&name, 3).with_assignments(Some(vec![assigned(1)])), E::InvalidReplicaAssignment.code()),
        (wanted(&name, 1), E::InvalidPartitions.code()),
        (wanted(&name, 0), E::InvalidPartitions.code()),
        (wanted(&missing, 0), E::UnknownTopicOrPartition.code()),
        (wanted(&missing, 2).with_assignments(Some(vec![assigned(1)])), E::UnknownTopicOrPartition.code()),
    ];
    let partitions = async || {
        let found = fixture.broker().catalogue.find(&name).await.expect("in memory");
        found.map(|topic| topic.partitions)
    };
    for (wanted, code) in cases {
        let request = m::CreatePartitionsRequest::default().with_topics(vec![wanted.clone()]);
        let answer = fixture.ask(version, &request.with_validate_only(true)).await;
        assert_eq!(answer.results[0].error_code, code, "v{version}: {wanted:?}");
    }
    assert_eq!(partitions().await, Some(1), "nothing but the check was asked for");
    let twice = m::CreatePartitionsRequest::default().with_topics(vec![wanted(&name, 2), wanted(&name, 3)]);
    let answer = fixture.ask(version, &twice).await;
    assert_eq!((answer.results.len(), answer.results[0].error_code), (1, E::InvalidRequest.code()));
    let request = m::CreatePartitionsRequest::default().with_topics(vec![wanted(&name, 2)]);
    assert_eq!(fixture.ask(version, &request).await.results[0].error_code, 0);
    assert_eq!(partitions().await, Some(2));
}

pub(super) async fn describe_configs(fixture: &Fixture, version: i16) {
    let resource = |kind, name: &str| {
        DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(name))
            .with_configuration_keys(None)
    };
    let some = resource(2, "made-by-v7").with_configuration_keys(Some(vec![text("retention.ms")]));
    // As from Kafka, no names ask for all.
    let no_names = fixture.broker().settings.broker_id.to_string();
    let no_names = resource(4, &no_names).with_configuration_keys(Some(Vec::new()));
    let cases = [
        (resource(2, FLIGHTS), 0),
        (some, 0),
        (no_names, 0),
        (resource(4, ""), 0),
        (resource(2, MISSING), E::UnknownTopicOrPartition.code()),
        (resource(2, "a b"), E::InvalidTopicException.code()),
        (resource(4, "9"), E::InvalidRequest.code()),
        (resource(8, "1"), E::InvalidRequest.code()),
        (resource(77, "1"), E::InvalidRequest.code()),
    ];
    if fixture.broker().catalogue.find("made-by-v7").await.expect("in memory").is_none() {
        let overrides = [("retention.ms".to_owned(), "60000".to_owned())].into();
        fixture.broker().catalogue.create("made-by-v7", 1, overrides, false).await.expect("a new topic");
    }
    for all in [false, true] {
        let resources = cases.iter().map(|(resource, _)| resource.clone()).collect();
        let mut request = m::DescribeConfigsRequest::default().with_resources(resources);
        request.include_synonyms = all;
        request.include_documentation = all && version >= 3;
        let answer = fixture.ask(version, &request).await;
        let codes: Vec<_> = answer.results.iter().map(|result| result.error_code).collect();
        assert_eq!(codes, cases.iter().map(|(_, code)| *code).collect::<Vec<_>>(), "v{version}");
        let retention = &answer.results[1].configs;
        assert_eq!((retention.len(), retention[0].config_source), (1, 1), "the topic's own");
        assert_eq!(answer.results[2].configs.len(), SETTINGS.len(), "all of the broker's");
        assert_eq!(retention[0].value, Some(text("60000")));
        assert_eq!(retention[0].synonyms.len(), if all { 2 } else { 0 });
        assert!(version < 3 || retention[0].documentation.is_some() == all, "v{version}");
        assert!(
            answer.results.iter().all(|r| r.error_message.is_some() == (r.error_code != 0)),
            "v{version}"
        );
        assert_eq!(retention[0].config_type, if version >= 3 { 5 } else { 0 }, "v{version}");
    }
}

/// What both ways of altering configurations answer to each of these resources alone, to one that is `missing` and to one
/// that is named twice; the first is good and sets `retention.ms` to 1000, unless it is only validated.
async fn alterations<R: Clone + std::fmt::Debug, A: Future<Output = Vec<i16>>>(
    fixture: &Fixture,
    version: i16,
    name: &str,
    cases: &[(R, i16)],
    missing: R,
    ask: impl Fn(Vec<R>, bool) -> A,
) {
    for validate_only in [true, false] {
        for (resource, code) in cases {
            assert_eq!(ask(vec![resource.clone()], validate_only).await, [*code], "v{version}: {resource:?}");
        }
        let good = cases[0].0.clone();
        let codes = ask(vec![good.clone(), missing.clone(), good], validate_only).await;
        let refused = E::InvalidRequest.code();
        assert_eq!(codes, [refused, E::UnknownTopicOrPartition.code(), refused], "v{version}: named twice");
        let found = fixture.broker().catalogue.find(name).await.expect("in memory").expect("it was made");
        assert_eq!(found.config.retention_ms == Some(1000), !validate_only, "v{version}");
    }
}

pub(super) async fn alter_configs(fixture: &Fixture, version: i16) {
    let (name, _) = fixture.new_topic().await;
    let resource = |kind, name: &str, configs: &[(&str, Option<&str>)]| {
        let config = |(name, value): &(&str, Option<&str>)| {
            alter::AlterableConfig::default().with_name(text(name)).with_value(value.map(text))
        };
        alter::AlterConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(name))
            .with_configs(configs.iter().map(config).collect())
    };
    let cases = [
        (resource(2, &name, &[("retention.ms", Some(" 1000 "))]), 0),
        (resource(2, MISSING, &[]), E::UnknownTopicOrPartition.code()),
        (resource(2, &name, &[("retention.ms", Some("soon"))]), E::InvalidConfig.code()),
        (resource(2, &name, &[("retention.mss", Some("1"))]), E::InvalidConfig.code()),
        (resource(2, &name, &[("retention.ms", None)]), E::InvalidRequest.code()),
        (resource(4, "1", &[("num.partitions", Some("1"))]), E::InvalidRequest.code()),
    ];
    let ask = |resources: Vec<alter::AlterConfigsResource>, validate_only| async move {
        let request = m::AlterConfigsRequest::default().with_resources(resources);
        let answer = fixture.ask(version, &request.with_validate_only(validate_only)).await;
        answer.responses.iter().map(|response| response.error_code).collect()
    };
    alterations(fixture, version, &name, &cases, resource(2, MISSING, &[]), ask).await;
}

pub(super) async fn incremental_alter_configs(fixture: &Fixture, version: i16) {
    let (name, _) = fixture.new_topic().await;
    let resource = |kind, name: &str, configs: &[(&str, i8, Option<&str>)]| {
        let config = |(name, operation, value): &(&str, i8, Option<&str>)| {
            incremental::AlterableConfig::default()
                .with_name(text(name))
                .with_config_operation(*operation)
                .with_value(value.map(text))
        };
        incremental::AlterConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(name))
            .with_configs(configs.iter().map(config).collect())
    };
    let (set, delete, append, subtract) = (0, 1, 2, 3);
    let twice = [("retention.ms", set, Some("1")), ("retention.ms", delete, None)];
    let cases = [
        (resource(2, &name, &[("retention.ms", set, Some(" 1000 "))]), 0),
        (resource(2, &name, &[("retention.bytes", delete, None)]), 0),
        (resource(2, &name, &[("cleanup.policy", append, Some("delete"))]), 0),
        (resource(2, &name, &[("cleanup.policy", append, Some("compact"))]), E::InvalidConfig.code()),
        (resource(2, &name, &[("retention.ms", subtract, Some("1"))]), E::InvalidConfig.code()),
        (resource(2, &name, &[("retention.ms", set, None)]), E::InvalidRequest.code()),
        (resource(2, &name, &twice), E::InvalidRequest.code()),
        (resource(2, MISSING, &[]), E::UnknownTopicOrPartition.code()),
        (resource(4, "1", &[]), E::InvalidRequest.code()),
    ];
    let ask = |resources: Vec<incremental::AlterConfigsResource>, validate_only| async move {
        let request = m::IncrementalAlterConfigsRequest::default().with_resources(resources);
        let answer = fixture.ask(version, &request.with_validate_only(validate_only)).await;
        answer.responses.iter().map(|response| response.error_code).collect()
    };
    alterations(fixture, version, &name, &cases, resource(2, MISSING, &[]), ask).await;
}

pub(super) async fn describe_log_dirs(fixture: &Fixture, version: i16) {
    let ask = async |topics: Option<Vec<DescribableLogDirTopic>>| {
        let answer = fixture.ask(version, &m::DescribeLogDirsRequest::default().with_topics(topics)).await;
        assert_eq!((answer.results.len(), answer.results[0].error_code), (1, 0), "v{version}");
        assert_eq!(answer.results[0].total_bytes > 0, version >= 4, "v{version}");
        answer.results[0].topics.clone()
    };
    assert!(ask(None).await.iter().any(|found| found.name == topic(FLIGHTS)));
    assert!(ask(Some(Vec::new())).await.is_empty());
    let asked = |name, partitions| {
        DescribableLogDirTopic::default().with_topic(topic(name)).with_partitions(partitions)
    };
    let found = ask(Some(vec![asked(FLIGHTS, vec![1, 7]), asked(MISSING, vec![0])])).await;
    assert_eq!((found.len(), found[0].partitions.len()), (1, 1), "what is not there is left out");
}
