//! A topic that is deleted and created again under its workers.

use tidegate::{Event, NewTopic, Outcome, ResponseError, RetryPolicy, Tx};
use tidegate_broker::BrokerStore;

use super::stage::{Stage, TOPIC, enter, until};

/// Handles what there is, with one event parked; then all that is in a topic of the same name.
async fn create_anew_under(stage: &Stage, parked: usize) {
    let admin = stage.admin().await;
    stage.send(0..20, 20).await;
    stage.until_handled(20 - parked).await;
    // Nothing is left to do that would find the topic gone.
    until("the committed offset to follow", async || stage.committed().await == 20).await;
    until("marks to go", async || stage.noted().await == (0, parked)).await;
    admin.delete_topic(TOPIC).await.expect("it is there");
    // A worker that asks for the topic in between has it created, with as many partitions.
    let topic = NewTopic { name: TOPIC.to_owned(), partitions: Some(1), configs: vec![] };
    match admin.create_topic(&topic).await {
        Err(error) if error.code() == Some(ResponseError::TopicAlreadyExists) => {}
        created => created.expect("a new topic"),
    }
    stage.send(20..30, 30).await;
    stage.until_handled(30 - parked).await;
    until("the committed offset to follow", async || stage.committed().await == 10).await;
    assert_eq!(stage.noted().await, (0, 0), "what was parked has gone with its topic");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_created_anew_is_handled_from_its_beginning() {
    let stage = Stage::open(1).await;
    let worker = stage.member().retry(RetryPolicy { first_ms: 3_600_000, ..RetryPolicy::default() });
    let worker = worker.start(|event: Event, tx: Tx<BrokerStore>| async move {
        if event.json::<i64>().expect("a number") == 7 {
            return Err("not now".to_owned());
        }
        enter(&event, &tx).await.map(|()| Outcome::Ack).map_err(|error| error.to_string())
    });
    let worker = worker.await.expect("it starts");
    create_anew_under(&stage, 1).await;
    worker.stop().await.expect("it stops");
    stage.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_begin_at_the_beginning_of_a_topic_that_is_created_anew() {
    let stage = Stage::open(1).await;
    let worker = stage.member().start_batches(|events: Vec<Event>, tx: Tx<BrokerStore>| async move {
        for event in &events {
            enter(event, &tx).await?;
        }
        Ok::<_, tidegate::model::Error>(Outcome::Ack)
    });
    let worker = worker.await.expect("it starts");
    create_anew_under(&stage, 0).await;
    worker.stop().await.expect("it stops");
    stage.broker.stop().await;
}
