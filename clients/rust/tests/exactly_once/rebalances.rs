//! Workers come and go while events come in.

use std::time::Duration;

use tidegate::{Assignor, ConsumerOptions, Outcome, Worker};

use super::stage::{Stage, enter, enter_it, in_time, until};

/// Events that come in per round, and their keys.
const PER_ROUND: i64 = 150;
const KEYS: i64 = 13;

fn consumer(assignor: Assignor) -> ConsumerOptions {
    ConsumerOptions {
        assignors: vec![assignor],
        heartbeat_interval_ms: 20,
        fetch_max_wait_ms: 50,
        ..ConsumerOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_and_three_workers_that_come_and_go_lose_nothing_and_repeat_nothing() {
    for assignor in [Assignor::CooperativeSticky, Assignor::Range] {
        let stage = Stage::open(4).await;
        let mut workers: Vec<Worker> = Vec::new();
        let mut sent = 0;
        // How many workers there are in each round; at the change one stops in the midst, or is dropped.
        for (round, count) in [1, 2, 3, 2, 3, 1, 2].into_iter().enumerate() {
            stage.send(sent..sent + PER_ROUND, KEYS).await;
            sent += PER_ROUND;
            while workers.len() < count {
                let builder = stage.member().consumer_options(consumer(assignor));
                workers.push(builder.start(enter_it).await.expect("it starts"));
            }
            while workers.len() > count {
                let worker = workers.remove(0);
                in_time("a worker to stop", worker.stop()).await.expect("it stops");
            }
            let half = usize::try_from(sent - PER_ROUND / 2).expect("positive");
            stage.until_handled(if round % 2 == 0 { half } else { half / 2 }).await;
        }
        stage.until_handled(usize::try_from(sent).expect("positive")).await;
        stage.check(sent, KEYS).await;
        for worker in workers {
            in_time("a worker to stop", worker.stop()).await.expect("it stops");
        }
        stage.broker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_being_handled_when_a_worker_stops_is_finished_or_given_back() {
    let stage = Stage::open(2).await;
    stage.send(0..40, 40).await;
    // Even numbers take forever; odd ones are handled.
    let slow = stage.member().stop_grace(Duration::from_millis(100)).start(
        |event: tidegate::Event, tx| async move {
            enter(&event, &tx).await?;
            if event.json::<i64>().expect("a number") % 2 == 0 {
                std::future::pending::<()>().await;
            }
            Ok::<_, tidegate::model::Error>(Outcome::Ack)
        },
    );
    let slow = slow.await.expect("it starts");
    until("all places to be taken by what takes forever", async || {
        let handled = stage.handled().await;
        handled > 0 && slow.figures().handled == u64::try_from(handled).expect("a few")
    })
    .await;
    in_time("it to stop", slow.stop()).await.expect("it stops");
    assert!(stage.ledgers().await.values().flatten().all(|number| number % 2 == 1), "nothing half done");
    let next = stage.member().start(enter_it).await.expect("it starts");
    stage.until_handled(40).await;
    stage.check(40, 40).await;
    next.stop().await.expect("it stops");
    stage.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_dropped_leaves_the_rest_to_the_next() {
    let stage = Stage::open(2).await;
    stage.send(0..400, KEYS).await;
    for round in 1..=3 {
        let worker = stage.fixed().start(enter_it).await.expect("it starts");
        stage.until_handled(round * 100).await;
        drop(worker);
    }
    let last = stage.fixed().start(enter_it).await.expect("it starts");
    stage.until_handled(400).await;
    stage.check(400, KEYS).await;
    last.stop().await.expect("it stops");
    stage.broker.stop().await;
}
