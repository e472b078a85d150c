//! Batches in order: the committed offset is moved by the handler's own transaction.

use tidegate::{Event, Outcome, Tx};
use tidegate_broker::BrokerStore;

use super::stage::{DEAD_LETTERS, Stage, enter, until};

async fn enter_all(events: Vec<Event>, tx: Tx<BrokerStore>) -> Result<Outcome, tidegate::model::Error> {
    for event in &events {
        enter(event, &tx).await?;
    }
    Ok(Outcome::Ack)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_are_handled_once_and_in_order_by_two_workers_on_one_partition() {
    let stage = Stage::open(2).await;
    stage.send(0..1_000, 7).await;
    let first = stage.fixed().batch_max(16).start_batches(enter_all).await.expect("it starts");
    let second = stage.fixed().batch_max(10).start_batches(enter_all).await.expect("it starts");
    stage.until_handled(1_000).await;
    stage.check(1_000, 7).await;
    assert_eq!(first.figures().handled + second.figures().handled, 1_000);
    first.stop().await.expect("it stops");
    second.stop().await.expect("it stops");
    stage.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_event_that_fails_does_not_take_its_batch_along() {
    let stage = Stage::open(1).await;
    let worker = stage.member().start_batches(|events: Vec<Event>, tx| async move {
        for event in &events {
            if event.json::<i64>().expect("a number") == 37 {
                return Err("37".to_owned());
            }
            enter(event, &tx).await.map_err(|error| error.to_string())?;
        }
        Ok(Outcome::Ack)
    });
    let worker = worker.await.expect("it starts");
    stage.send(0..100, 100).await;
    let letters = stage.read(DEAD_LETTERS, 1).await;
    assert_eq!(letters[0].value.as_deref(), Some(b"37".as_slice()));
    stage.until_handled(99).await;
    assert!(!stage.ledgers().await.contains_key("37"));
    until("the committed offset to follow", async || stage.committed().await == 100).await;
    worker.stop().await.expect("it stops");
    stage.broker.stop().await;
}
