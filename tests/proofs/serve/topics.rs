//! Topics by the broker's settings: who creates them, with how many partitions, and with which configurations.

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use tidegate_tests::admin::create_topic;
use tidegate_tests::broker::Broker;
use tidegate_tests::wire::{self, Body, Connection, Reader, api};

const UNKNOWN_TOPIC: i16 = 3;
const DESCRIBE_CONFIGS: i16 = 32;

/// Asks for a topic's metadata (v4): the error, and how many partitions it has.
fn metadata(broker: &Broker, topic: &str, may_create: bool) -> (i16, i32) {
    let body = Body::new().int32(1).string(topic).int8(may_create.into()).into_bytes();
    let answer = Connection::open(broker.bootstrap()).ask(api::METADATA, 4, &body).expect("it is answered");
    let mut reader = Reader::new(&answer);
    reader.int32();
    assert_eq!(reader.int32(), 1, "one broker");
    reader.int32();
    reader.skip_string();
    reader.int32();
    // Rack and cluster.
    reader.skip_string();
    reader.skip_string();
    reader.int32();
    assert_eq!(reader.int32(), 1, "one topic");
    let error = reader.int16();
    reader.skip_string();
    let [_is_internal] = reader.take();
    (error, reader.int32())
}

#[test]
fn a_client_that_asks_for_a_topic_creates_it_with_the_partitions_of_the_setting() {
    let broker = Broker::start_with(&["--num-partitions", "3"]);
    assert_eq!(metadata(&broker, "wanted", false), (UNKNOWN_TOPIC, 0), "its client does not want it created");
    assert_eq!(metadata(&broker, "wanted", true), (0, 3));
    assert_eq!(metadata(&broker, "wanted", false), (0, 3), "it stays");
    let batch = wire::batch(b"first", 0);
    assert_eq!(wire::produce(&mut Connection::open(broker.bootstrap()), "wanted", &batch), Some((0, 0)));
    // As many as the broker thinks best.
    create_topic(broker.bootstrap(), "by-default", -1, &[]);
    assert_eq!(metadata(&broker, "by-default", false), (0, 3));
    create_topic(broker.bootstrap(), "by-number", 2, &[]);
    assert_eq!(metadata(&broker, "by-number", false), (0, 2));
}

#[test]
fn without_automatic_creation_a_topic_is_there_only_if_it_was_created() {
    let mut broker = Broker::start_with(&["--auto-create-topics-enable", "false", "--num-partitions", "2"]);
    let batch = wire::batch(b"to nobody", 0);
    for may_create in [true, false, true] {
        assert_eq!(metadata(&broker, "wanted", may_create), (UNKNOWN_TOPIC, 0));
        let produced = wire::produce(&mut Connection::open(broker.bootstrap()), "wanted", &batch);
        assert_eq!(produced.map(|(error, _)| error), Some(UNKNOWN_TOPIC));
    }
    create_topic(broker.bootstrap(), "wanted", -1, &[]);
    assert_eq!(metadata(&broker, "wanted", true), (0, 2));
    assert_eq!(wire::produce(&mut Connection::open(broker.bootstrap()), "wanted", &batch), Some((0, 0)));
    broker.kill();
    broker.restart_with(&["--num-partitions", "5"]);
    assert_eq!(metadata(&broker, "wanted", true), (0, 2), "the setting is for topics to come");
    assert_eq!(metadata(&broker, "another", true), (0, 5));
}

/// Name, value, whether it was set for the topic, and documentation of a topic's configurations.
fn describe_configs(broker: &Broker, topic: &str) -> Vec<(String, Option<String>, bool, String)> {
    const VERSION: i16 = 3;
    // Kafka's numbers: a topic's resource, and a value that was set for the topic.
    const TOPIC: i8 = 2;
    const SET_FOR_TOPIC: i8 = 1;
    let name = StrBytes::from_string(topic.to_owned());
    let resource = DescribeConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(name)
        .with_configuration_keys(None);
    let request =
        DescribeConfigsRequest::default().with_resources(vec![resource]).with_include_documentation(true);
    let mut body = bytes::BytesMut::new();
    request.encode(&mut body, VERSION).expect("a request");
    let answer =
        Connection::open(broker.bootstrap()).ask(DESCRIBE_CONFIGS, VERSION, &body).expect("answered");
    let answer =
        DescribeConfigsResponse::decode(&mut bytes::Bytes::from(answer), VERSION).expect("an answer");
    let [result] = answer.results.try_into().expect("one resource");
    assert_eq!(result.error_code, 0, "{:?}", result.error_message);
    let text = |text: Option<StrBytes>| text.map(|text| text.to_string());
    let configs = result.configs.into_iter().map(|config| {
        let documentation = text(config.documentation).unwrap_or_default();
        let is_set = config.config_source == SET_FOR_TOPIC;
        (config.name.to_string(), text(config.value), is_set, documentation)
    });
    configs.collect()
}

#[test]
fn configurations_without_meaning_are_accepted_and_reported_as_such() {
    let mut broker = Broker::start();
    let set = [("min.insync.replicas", "2"), ("segment.bytes", "1048576"), ("segment.ms", "600000")];
    create_topic(broker.bootstrap(), "odd", 1, &set);
    create_topic(broker.bootstrap(), "plain", 1, &[]);
    // They change nothing: one replica is all there is.
    let batch = wire::batch(b"taken", 0);
    assert_eq!(wire::produce(&mut Connection::open(broker.bootstrap()), "odd", &batch), Some((0, 0)));
    for _ in 0..2 {
        let odd = describe_configs(&broker, "odd");
        let plain = describe_configs(&broker, "plain");
        for (name, value) in set {
            let of = |configs: &[(String, Option<String>, bool, String)]| {
                configs.iter().find(|config| config.0 == name).expect("it is listed").clone()
            };
            let (_, found, is_set, documentation) = of(&odd);
            assert_eq!((found.as_deref(), is_set), (Some(value), true), "{name}");
            assert!(documentation.contains("no meaning"), "{name}: {documentation}");
            let (_, default, is_set, _) = of(&plain);
            assert!(!is_set && default.as_deref() != Some(value), "{name} has a default of its own");
        }
        let with_meaning = odd.iter().find(|config| config.0 == "retention.ms").expect("it is listed");
        assert!(!with_meaning.3.contains("no meaning"), "{with_meaning:?}");
        broker.kill();
        broker.restart();
    }
}
