//! The producer against a broker that does what it should, and what it should not.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidegate_protocol::batch::{self, BatchError, BatchHeader, Record};
use tidegate_protocol::messages::ApiKey;
use tidegate_protocol::murmur2;

use super::{Delivery, Producer, ProducerOptions, ProducerRecord, SCHEDULE_ID_HEADER};
use crate::testing::{Answer, FakeCluster, TOPIC};
use crate::{ClientOptions, Compression, Error, ResponseError};

async fn producer(cluster: &FakeCluster, options: ProducerOptions) -> Producer {
    Producer::connect(cluster.broker.options(), options).await.expect("it connects")
}

fn records(cluster: &FakeCluster, partition: i32) -> Vec<Record> {
    let state = cluster.state();
    let batches = state.logs.get(&partition).cloned().unwrap_or_default();
    batches.iter().flat_map(|batch| batch::decode_records(batch, 1 << 20).expect("good records")).collect()
}

fn values(cluster: &FakeCluster, partition: i32) -> Vec<String> {
    let text = |record: Record| String::from_utf8(record.value.expect("a value").to_vec()).expect("text");
    records(cluster, partition).into_iter().map(text).collect()
}

/// Sequences of the batches in a partition's log: epoch and base sequence.
fn sequences(cluster: &FakeCluster, partition: i32) -> Vec<(i16, i32)> {
    let state = cluster.state();
    let batches = state.logs.get(&partition).cloned().unwrap_or_default();
    let header = |batch: &bytes::Bytes| BatchHeader::decode(batch).expect("a header");
    batches.iter().map(|batch| (header(batch).producer_epoch, header(batch).base_sequence)).collect()
}

#[tokio::test]
async fn a_record_goes_where_its_key_says() {
    let cluster = FakeCluster::start(12).await;
    let producer = producer(&cluster, ProducerOptions::default()).await;
    for (key, offset) in [("foobar", 0), ("21", 0), ("foobar", 1)] {
        let record = ProducerRecord::to(TOPIC).key(key).value("v").timestamp_ms(5);
        let partition = murmur2::partition_for_key(key.as_bytes(), 12);
        let expected = Delivery { partition, offset: Some(offset), timestamp_ms: 5 };
        assert_eq!(producer.send(record).await, Ok(expected));
    }
    let chosen = producer.send(ProducerRecord::to(TOPIC).key("foobar").partition(3).value("v")).await;
    assert_eq!(chosen.expect("it is delivered").partition, 3);
}

#[tokio::test]
async fn what_is_enqueued_arrives_in_order_in_every_codec() {
    for compression in Compression::ALL {
        let cluster = FakeCluster::start(1).await;
        let options = ProducerOptions { compression, batch_bytes: 600, ..ProducerOptions::default() };
        let producer = producer(&cluster, options).await;
        let mut receipts = Vec::new();
        for number in 0..100 {
            let record = ProducerRecord::to(TOPIC).value(number.to_string()).header("h", "1");
            receipts.push(producer.enqueue(record).await.expect("there is room"));
        }
        producer.flush().await;
        for (receipt, offset) in receipts.into_iter().zip(0..) {
            assert_eq!(receipt.wait().await.expect("it is delivered").offset, Some(offset));
        }
        assert_eq!(values(&cluster, 0), (0..100).map(|number| number.to_string()).collect::<Vec<_>>());
        assert!(cluster.state().logs[&0].len() > 5, "several batches");
    }
}

#[tokio::test]
async fn a_lost_answer_does_not_append_twice() {
    let lost = AtomicUsize::new(0);
    let cluster = FakeCluster::start_with(1, move |head, state| {
        if head.api_key != ApiKey::Produce as i16 || lost.fetch_add(1, Ordering::Relaxed) % 2 == 1 {
            return None;
        }
        // The batch is appended, and the answer is lost with the connection.
        let address = "127.0.0.1:1".parse().expect("an address");
        crate::testing::answer(address, head, state);
        Some(Answer::Close)
    })
    .await;
    let producer = producer(&cluster, ProducerOptions::default()).await;
    for number in 0..5 {
        let delivery = producer.send(ProducerRecord::to(TOPIC).value(number.to_string())).await;
        assert_eq!(delivery.expect("it is delivered").offset, Some(number));
    }
    assert_eq!(values(&cluster, 0), ["0", "1", "2", "3", "4"]);
    assert_eq!(sequences(&cluster, 0), [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4)]);
}

#[tokio::test]
async fn what_helps_later_is_tried_again_and_what_does_not_is_told() {
    let cluster = FakeCluster::start(1).await;
    let producer = producer(&cluster, ProducerOptions::default()).await;
    cluster
        .state()
        .fail(ApiKey::Produce, [ResponseError::NotLeaderOrFollower, ResponseError::NotEnoughReplicas]);
    let before = cluster.state().count(ApiKey::Metadata);
    assert_eq!(producer.send(ProducerRecord::to(TOPIC).value("a")).await.expect("at last").offset, Some(0));
    assert!(cluster.state().count(ApiKey::Metadata) > before, "the leader was asked for");

    cluster.state().fail(ApiKey::Produce, [ResponseError::InvalidRecord]);
    let error = producer.send(ProducerRecord::to(TOPIC).value("b")).await.expect_err("never");
    assert_eq!(error.code(), Some(ResponseError::InvalidRecord));

    // The refused batch took no sequence: the next one is accepted with it.
    assert_eq!(
        producer.send(ProducerRecord::to(TOPIC).value("c")).await.expect("it is good").offset,
        Some(1)
    );
    assert_eq!(sequences(&cluster, 0), [(0, 0), (0, 1)]);
}

#[tokio::test]
async fn a_forgotten_producer_goes_on_under_the_next_epoch() {
    let cluster = FakeCluster::start(1).await;
    let producer = producer(&cluster, ProducerOptions::default()).await;
    producer.send(ProducerRecord::to(TOPIC).value("a")).await.expect("delivered");
    cluster.state().fail(ApiKey::Produce, [ResponseError::UnknownProducerId]);
    producer.send(ProducerRecord::to(TOPIC).value("b")).await.expect("delivered");
    producer.send(ProducerRecord::to(TOPIC).value("c")).await.expect("delivered");
    assert_eq!(sequences(&cluster, 0), [(0, 0), (1, 0), (1, 1)]);
}

#[tokio::test]
async fn without_idempotence_nothing_is_numbered() {
    let cluster = FakeCluster::start(1).await;
    let options = ProducerOptions { idempotent: false, ..ProducerOptions::default() };
    producer(&cluster, options).await.send(ProducerRecord::to(TOPIC).value("a")).await.expect("delivered");
    assert_eq!(sequences(&cluster, 0), [(-1, -1)]);
    assert_eq!(cluster.state().count(ApiKey::InitProducerId), 0);
}

#[tokio::test]
async fn a_refused_producer_id_fails_what_waits() {
    let cluster = FakeCluster::start(1).await;
    cluster.state().fail(ApiKey::InitProducerId, [ResponseError::ClusterAuthorizationFailed]);
    let producer = producer(&cluster, ProducerOptions::default()).await;
    let error = producer.send(ProducerRecord::to(TOPIC).value("a")).await.expect_err("no id");
    assert_eq!(error.code(), Some(ResponseError::ClusterAuthorizationFailed));
    producer.send(ProducerRecord::to(TOPIC).value("b")).await.expect("this time there is one");
}

#[tokio::test]
async fn sending_waits_for_memory() {
    let held = std::sync::Arc::new(AtomicUsize::new(1));
    let holding = held.clone();
    let cluster = FakeCluster::start_with(1, move |head, _| {
        let hold = head.api_key == ApiKey::Produce as i16 && holding.load(Ordering::Acquire) == 1;
        hold.then_some(Answer::Close)
    })
    .await;
    let options =
        ProducerOptions { buffer_bytes: 1000, max_record_bytes: 1000, ..ProducerOptions::default() };
    let producer = producer(&cluster, options).await;
    let first =
        producer.enqueue(ProducerRecord::to(TOPIC).value(vec![b'a'; 600])).await.expect("there is room");
    let second = producer.enqueue(ProducerRecord::to(TOPIC).value(vec![b'b'; 600]));
    tokio::pin!(second);
    assert!(futures::poll!(&mut second).is_pending(), "there is no room until the first is delivered");
    held.store(0, Ordering::Release);
    let second = second.await.expect("there is room");
    first.wait().await.expect("delivered");
    second.wait().await.expect("delivered");
    assert_eq!(records(&cluster, 0).len(), 2);
}

#[tokio::test]
async fn a_dropped_producer_fails_what_is_left() {
    let cluster = FakeCluster::start_with(1, |head, _| {
        (head.api_key == ApiKey::Produce as i16).then_some(Answer::Close)
    })
    .await;
    let producer = producer(&cluster, ProducerOptions::default()).await;
    let under_way = producer.enqueue(ProducerRecord::to(TOPIC).value("a")).await.expect("there is room");
    cluster.until(|state| state.count(ApiKey::Produce) > 0).await;
    let waiting = producer.enqueue(ProducerRecord::to(TOPIC).value("b")).await.expect("there is room");
    drop(producer);
    assert_eq!(waiting.wait().await, Err(Error::Closed));
    assert_eq!(under_way.wait().await, Err(Error::Closed));
}

#[tokio::test]
async fn a_record_that_is_never_delivered_is_given_up() {
    let cluster = FakeCluster::start_with(1, |head, _| {
        (head.api_key == ApiKey::Produce as i16).then_some(Answer::Close)
    })
    .await;
    let options = ProducerOptions { delivery_timeout_ms: 40, ..ProducerOptions::default() };
    let producer = producer(&cluster, options).await;
    let error = producer.send(ProducerRecord::to(TOPIC).value("a")).await.expect_err("never");
    assert_eq!(error, Error::TimedOut { what: "delivery", after: Duration::from_millis(40) });
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_at_once() {
    let cluster = FakeCluster::start(1).await;
    let options = ProducerOptions { max_record_bytes: 500, ..ProducerOptions::default() };
    let producer = producer(&cluster, options).await;
    let error = producer.send(ProducerRecord::to(TOPIC).value(vec![0; 500])).await.expect_err("too large");
    assert_eq!(error, Error::Batch(BatchError::TooLarge { limit: 500 }));
    let error =
        producer.send(ProducerRecord::to(TOPIC).partition(1)).await.expect_err("there is partition 0 only");
    assert_eq!(error.code(), Some(ResponseError::UnknownTopicOrPartition));
    let options = ClientOptions { call_timeout_ms: 20, ..cluster.broker.options() };
    let producer = Producer::connect(options, ProducerOptions::default()).await.expect("it connects");
    let error = producer.send(ProducerRecord::to("nowhere")).await.expect_err("no such topic");
    assert_eq!(error.code(), Some(ResponseError::UnknownTopicOrPartition));
    let other = producer.clone();
    other.close().await;
    assert_eq!(producer.send(ProducerRecord::to(TOPIC)).await, Err(Error::Closed));
}

#[tokio::test]
async fn a_schedule_is_a_record_with_its_id_and_due_time() {
    let cluster = FakeCluster::start(1).await;
    let producer = producer(&cluster, ProducerOptions::default()).await;
    let flight = || ProducerRecord::to(TOPIC).key("BA117").value("departed");
    producer.schedule("d1", 1_900_000_000_000, flight()).await.expect("held");
    producer.reschedule("d1", 1_900_000_060_000, flight().schedule_id("other")).await.expect("held");
    producer.cancel(TOPIC, "d1").await.expect("cancelled");
    let sent = records(&cluster, 0);
    let id = vec![(SCHEDULE_ID_HEADER.to_owned(), Some(bytes::Bytes::from_static(b"d1")))];
    assert!(sent.iter().all(|record| record.headers == id), "one id each: {sent:?}");
    assert_eq!(sent[0].timestamp_ms, 1_900_000_000_000);
    assert_eq!(sent[1].timestamp_ms, 1_900_000_060_000);
    assert_eq!(sent[2].value, None, "a tombstone cancels");
}
