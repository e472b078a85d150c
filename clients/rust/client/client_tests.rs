//! Metadata, and finding brokers.

use std::sync::atomic::{AtomicUsize, Ordering};

use tidegate_protocol::messages::ApiKey;

use super::{BrokerAddress, Client};
use crate::testing::{Answer, FakeCluster, TOPIC};
use crate::{ClientOptions, Error, ResponseError};

#[tokio::test]
async fn one_bootstrap_broker_that_answers_is_enough() {
    let cluster = FakeCluster::start(3).await;
    let good = cluster.broker.options();
    let bootstrap = vec!["127.0.0.1:1".to_owned(), good.bootstrap[0].clone()];
    let client = Client::connect(ClientOptions { bootstrap, ..good }).await.expect("the second answers");
    let metadata = client.topic(TOPIC).await.expect("it is there");
    assert_eq!(metadata.partition_count(TOPIC), 3);
    assert_eq!(metadata.leader(TOPIC, 2), Ok(1));
    assert_eq!(metadata.cluster_id.as_deref(), Some("fake"));
    let missing = metadata.leader(TOPIC, 3).expect_err("there are three");
    assert_eq!(missing.code(), Some(ResponseError::UnknownTopicOrPartition));
    assert_eq!(metadata.broker(9).expect_err("there is one").code(), Some(ResponseError::BrokerNotAvailable));
}

#[tokio::test]
async fn a_topic_is_asked_for_once() {
    let cluster = FakeCluster::start(1).await;
    let client = Client::connect(cluster.broker.options()).await.expect("it connects");
    let before = cluster.state().count(ApiKey::Metadata);
    for _ in 0..5 {
        client.topic(TOPIC).await.expect("it is there");
    }
    assert_eq!(cluster.state().count(ApiKey::Metadata), before + 1);
    let unknown = client.topic("nowhere").await.expect_err("it is not there");
    assert_eq!(unknown.code(), Some(ResponseError::UnknownTopicOrPartition));
    assert!(unknown.is_retriable(), "it may be created");
}

#[tokio::test]
async fn those_who_ask_at_the_same_time_share_the_answer() {
    let cluster = FakeCluster::start(1).await;
    let client = Client::connect(cluster.broker.options()).await.expect("it connects");
    client.topic(TOPIC).await.expect("it is there");
    let before = cluster.state().count(ApiKey::Metadata);
    let asking = (0..10).map(|_| client.refresh(&[]));
    for answer in futures::future::join_all(asking).await {
        answer.expect("an answer");
    }
    assert_eq!(cluster.state().count(ApiKey::Metadata), before + 1);
}

#[tokio::test]
async fn nobody_there_is_told_after_a_while() {
    let options = ClientOptions { call_timeout_ms: 20, ..ClientOptions::new("127.0.0.1:1, 127.0.0.1:2") };
    let error = Client::connect(options).await.expect_err("nobody listens there");
    assert!(matches!(error, Error::Disconnected { .. }), "{error}");
    let error = Client::connect(ClientOptions::new(" , ")).await.expect_err("there is nobody to ask");
    assert!(matches!(error, Error::Invalid(_)), "{error}");
}

#[tokio::test]
async fn a_lost_connection_is_made_again() {
    let closed = AtomicUsize::new(0);
    let cluster = FakeCluster::start_with(1, move |head, _| {
        let close =
            head.api_key == ApiKey::FindCoordinator as i16 && closed.fetch_add(1, Ordering::Relaxed) < 3;
        close.then_some(Answer::Close)
    })
    .await;
    let client = Client::connect(cluster.broker.options()).await.expect("it connects");
    let id = client.retry(|| client.coordinator("g")).await.expect("the fourth time it is answered");
    assert_eq!(id, 1);
    assert_eq!(cluster.state().count(ApiKey::FindCoordinator), 4);
    client.coordinator("g").await.expect("it is known");
    assert_eq!(cluster.state().count(ApiKey::FindCoordinator), 4);
    client.forget_coordinator("g");
    client.coordinator("g").await.expect("it is asked for again");
    assert_eq!(cluster.state().count(ApiKey::FindCoordinator), 5);
}

#[test]
fn addresses_are_written_as_they_are_dialled() {
    let address = |host: &str| BrokerAddress { host: host.into(), port: 9092 }.to_string();
    assert_eq!(address("broker.local"), "broker.local:9092");
    assert_eq!(address("::1"), "[::1]:9092");
}

#[test]
fn bootstrap_brokers_are_separated_by_commas() {
    assert_eq!(ClientOptions::new("a:1, b:2,,").bootstrap, ["a:1", "b:2"]);
}
