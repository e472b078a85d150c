//! Each stock client does with the real binary what its users do: it makes topics, produces, consumes in a group of two,
//! goes on from committed offsets, sees scheduled records when they are due and never the cancelled one.
//!
//! `tests/setup` fetches the clients; without it these tests fail.

use tidegate_tests::program::run_client;

use super::STORE;

/// The checks of every program, in order; see `clients/README.md`.
const CHECKS: [&str; 7] = ["create", "join", "produce", "consume", "resume", "scheduled", "admin"];

/// Runs a client's program against a broker of its own and insists on every check.
fn passes(client: &str, checks: &[&str]) {
    let mut broker = STORE.start_broker();
    let outcome = run_client(client, broker.bootstrap());
    let expected: Vec<String> = checks.iter().map(|check| format!("ok {check}")).collect();
    assert!(
        outcome.success && outcome.lines == expected,
        "{client} got as far as {:?} (is it set up? run tests/setup):\n{}",
        outcome.lines,
        outcome.standard_error
    );
    assert!(broker.is_running());
}

#[test]
fn kcat_does_its_job() {
    // It has no interface for administration.
    passes("kcat", &CHECKS[..6]);
}

#[test]
fn confluent_kafka_for_python_does_its_job() {
    passes("confluent-kafka", &CHECKS);
}

#[test]
fn kafka_python_does_its_job() {
    passes("kafka-python", &CHECKS);
}

#[test]
fn aiokafka_for_python_does_its_job() {
    passes("aiokafka", &CHECKS);
}

#[test]
fn the_java_client_does_its_job() {
    passes("java", &CHECKS);
}

#[test]
fn franz_go_does_its_job() {
    passes("franz-go", &CHECKS);
}

#[test]
fn sarama_for_go_does_its_job() {
    passes("sarama", &CHECKS);
}

#[test]
fn kafka_go_does_its_job() {
    passes("kafka-go", &CHECKS);
}

#[test]
fn kafkajs_for_node_does_its_job() {
    passes("kafkajs", &CHECKS);
}
