//! Dropped topics that held much: their data goes once no snapshot of before can read it, whoever has the namespace then.

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use tidegate_tests::admin::{client, create_topic, log_bounds, wait_for};
use tidegate_tests::admin_http::metrics;
use tidegate_tests::broker::{Broker, on, patiently_on};
use tidegate_tests::deadline::Deadline;
use tidegate_tests::tikv_cluster::OwnCluster;
use tidegate_tests::wire::{self, Connection};

use super::raw_namespace::RawNamespace;

const TOPIC: &str = "large";
/// More than are deleted one by one.
const BATCHES: usize = 600;
const BATCH_BYTES: usize = 4_000;
/// Nothing is given up while the test runs.
const NEVER: [&str; 2] = ["--gc-interval-ms", "86400000"];
/// Everything is as soon as it may be, some twenty seconds later: what writes has a few seconds also on a busy machine.
const SOON: [&str; 14] = [
    "--gc-interval-ms",
    "1000",
    "--gc-life-time-ms",
    "1000",
    "--gc-hold-after-ms",
    "300",
    "--transaction-max-ms",
    "10000",
    "--commit-max-ms",
    "10000",
    "--tikv-connect-timeout-ms",
    "60000",
    "--tikv-request-timeout-ms",
    "60000",
];

fn produce_much(broker: &Broker) {
    create_topic(broker.bootstrap(), TOPIC, 1, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    let batch = wire::batch(&[b'x'; BATCH_BYTES], 0);
    for _ in 0..BATCHES {
        wire::send_produce(&mut connection, TOPIC, &batch);
    }
    for _ in 0..BATCHES {
        connection.receive().expect("an answer");
    }
    assert_eq!(log_bounds(broker.bootstrap(), TOPIC, 0), (0, i64::try_from(BATCHES).expect("it is small")));
}

fn delete(broker: &Broker) {
    let admin: AdminClient<DefaultClientContext> =
        client(broker.bootstrap()).create().expect("an admin client");
    let deleted = wait_for(admin.delete_topics(&[TOPIC], &AdminOptions::new()));
    deleted.expect("it is answered").into_iter().for_each(|topic| drop(topic.expect("it is deleted")));
}

/// A topic of the same name, with one record.
fn create_again(broker: &Broker) {
    create_topic(broker.bootstrap(), TOPIC, 1, &[]);
    let mut connection = Connection::open(broker.bootstrap());
    let deadline = Deadline::start();
    let batch = wire::batch(b"of the second", 0);
    while wire::produce(&mut connection, TOPIC, &batch) != Some((0, 0)) {
        deadline.check("the record is taken");
    }
}

fn wait_until(broker: &Broker, what: &str, is_so: impl Fn(f64, f64) -> bool) {
    let deadline = Deadline::start();
    loop {
        let all = metrics(broker.admin());
        let waiting = all.get("tidegate_dropped_topics_waiting").copied().unwrap_or(0.0);
        if is_so(waiting, all["tidegate_tikv_ranges_destroyed_total"]) {
            return;
        }
        deadline.check(what);
    }
}

/// What lies in the namespace that is as long as a batch that was produced at first.
fn batches_left(namespace: &str) -> usize {
    RawNamespace::open(namespace).entries().values().filter(|value| value.len() > BATCH_BYTES).count()
}

fn only_the_second_is_left(broker: &Broker, namespace: &str) {
    wait_until(broker, "it is destroyed", |waiting, destroyed| waiting == 0.0 && destroyed == 1.0);
    assert_eq!(batches_left(namespace), 0);
    assert_eq!(log_bounds(broker.bootstrap(), TOPIC, 0), (0, 1));
    let failures = metrics(broker.admin())["tidegate_tikv_gc_failures_total"];
    assert_eq!(failures, 0.0);
}

#[test]
fn the_data_of_a_dropped_topic_is_destroyed_and_a_topic_of_the_same_name_keeps_its_own() {
    let cluster = OwnCluster::start();
    let namespace = cluster.namespace("dropped");
    let mut broker = Broker::start_with(&[&patiently_on(&namespace)[..], &NEVER].concat());
    produce_much(&broker);
    assert!(broker.terminate().success());
    broker.restart_with(&[&on(&namespace)[..], &SOON].concat());
    delete(&broker);
    create_again(&broker);
    only_the_second_is_left(&broker, &namespace);
}

#[test]
fn who_comes_after_a_broker_that_was_killed_destroys_what_it_had_dropped() {
    let cluster = OwnCluster::start();
    let namespace = cluster.namespace("dropped");
    let mut broker = Broker::start_with(&[&patiently_on(&namespace)[..], &NEVER].concat());
    produce_much(&broker);
    delete(&broker);
    wait_until(&broker, "its data waits", |waiting, destroyed| waiting == 1.0 && destroyed == 0.0);
    create_again(&broker);
    broker.kill();
    assert_eq!(batches_left(&namespace), BATCHES);
    broker.restart_with(&[&on(&namespace)[..], &SOON].concat());
    only_the_second_is_left(&broker, &namespace);
}
