//! Workers that do not know of one another have one partition: each is a zombie to the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidegate::Outcome;
use tokio::sync::Semaphore;

use super::stage::{Stage, enter, enter_it, in_time, until, until_counted};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_has_its_effect_once_and_in_order() {
    let stage = Stage::open(3).await;
    stage.send(0..1_000, 17).await;
    let worker = stage.member().start(enter_it).await.expect("it starts");
    stage.until_handled(1_000).await;
    stage.check(1_000, 17).await;
    until_counted(&[&worker], 1_000).await;
    worker.stop().await.expect("it stops");
    stage.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_on_the_same_partitions_do_everything_once_between_them() {
    let stage = Stage::open(2).await;
    stage.send(0..600, 11).await;
    let first = stage.fixed().start(enter_it).await.expect("it starts");
    let second = stage.fixed().start(enter_it).await.expect("it starts");
    stage.send(600..1_000, 11).await;
    stage.until_handled(1_000).await;
    stage.check(1_000, 11).await;
    until_counted(&[&first, &second], 1_000).await;
    first.stop().await.expect("it stops");
    second.stop().await.expect("it stops");
    stage.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_on_the_same_partitions_agree_on_what_failed() {
    let stage = Stage::open(1).await;
    // Each event fails the first time that either of them tries it.
    let handler = |event: tidegate::Event, tx| async move {
        let number: i64 = event.json().expect("a number");
        if event.failures() == 0 && number % 7 == 0 {
            return Err("not the first time".to_owned());
        }
        enter(&event, &tx).await.map_err(|error| error.to_string())
    };
    stage.send(0..300, 5).await;
    let first = stage.fixed().start(handler).await.expect("it starts");
    let second = stage.fixed().start(handler).await.expect("it starts");
    stage.until_handled(300).await;
    until("all to be tried again", async || stage.noted().await.1 == 0).await;
    stage.check(300, 5).await;
    first.stop().await.expect("it stops");
    second.stop().await.expect("it stops");
    stage.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_is_paused_while_its_partition_moves_on_changes_nothing() {
    let stage = Stage::open(1).await;
    stage.send(0..50, 5).await;
    let (entered, resume) = (Arc::new(AtomicBool::new(false)), Arc::new(Semaphore::new(0)));
    let (is_in, gate) = (entered.clone(), resume.clone());
    let paused = stage
        .fixed()
        .start(move |event: tidegate::Event, tx| {
            let (is_in, gate) = (is_in.clone(), gate.clone());
            async move {
                enter(&event, &tx).await?;
                is_in.store(true, Ordering::SeqCst);
                // It has written, and hangs before it commits.
                drop(gate.acquire().await);
                Ok::<_, tidegate::model::Error>(Outcome::Ack)
            }
        })
        .await
        .expect("it starts");
    until("it to be in the midst", async || entered.load(Ordering::SeqCst)).await;
    let owner = stage.fixed().start(enter_it).await.expect("it starts");
    stage.until_handled(50).await;
    stage.check(50, 5).await;
    // The zombie goes on, and finds that all is done; also after the marks are gone.
    resume.add_permits(1_000);
    in_time("the zombie to end", paused.stop()).await.expect("it stops");
    stage.check(50, 5).await;
    until_counted(&[&owner], 50).await;
    owner.stop().await.expect("it stops");
    stage.broker.stop().await;
}
