//! Stores that lose answers, refuse and go away.

use std::error::Error;
use std::sync::Arc;

use tidegate::store::faulty::{CommitFault, On};
use tidegate::store::{CommitError, FaultyStore, MemoryStore, ReadError, SystemClock};
use tidegate::{Db, DbSettings, Event, Outcome, RetryPolicy, Tx, Worker};
use tidegate_broker::BrokerStore;
use tidegate_tests::kept_port::KeptPort;

use super::stage::{GROUP, Stage, TOPIC, enter, until};

type Unreliable = FaultyStore<BrokerStore>;

const KEYS: i64 = 8;

/// A store that loses answers, refuses commits and cannot be read, now and then.
fn unreliable(stage: &Stage) -> Unreliable {
    let mut nonce = 0;
    let store = FaultyStore::new(stage.store.clone(), move || {
        nonce += 1;
        nonce
    });
    let gone = || "a test".to_owned();
    let faults = [
        CommitFault::LostApplied,
        CommitFault::LostNotApplied,
        CommitFault::Refused(CommitError::Conflict),
        CommitFault::Refused(CommitError::Unavailable { reason: gone() }),
    ];
    for (place, fault) in faults.iter().cycle().take(60).enumerate() {
        store.faults().fail_commit(On::nth(7 * place), fault.clone());
        store.faults().fail_read(On::nth(31 * place), ReadError::Unavailable { reason: gone() });
    }
    store
}

async fn handle(event: Event, tx: Tx<Unreliable>) -> Result<Outcome, String> {
    let number: i64 = event.json().expect("a number");
    if event.failures() == 0 && number % 9 == 0 {
        return Err("the first time".to_owned());
    }
    enter(&event, &tx).await.map_err(|error| error.to_string())?;
    Ok(Outcome::Ack)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_are_lost_and_a_store_that_goes_away_repeat_nothing_and_lose_nothing() {
    let stage = Stage::open(2).await;
    let store = unreliable(&stage);
    let db = Db::new(store.clone(), DbSettings::default(), stage.broker.wakeup());
    let start = async || {
        // What the store does is no fault of the events: those that fail do so once.
        let retry = RetryPolicy { retries_max: 1_000, first_ms: 5, max_ms: 20, jitter_percent: 50 };
        let worker = Worker::builder(db.clone(), stage.client()).group(GROUP).retry(retry);
        worker.partitions(TOPIC, 0..2).start(handle).await.expect("it starts")
    };
    stage.send(0..200, KEYS).await;
    let (first, second) = (start().await, start().await);
    stage.until_handled(100).await;
    store.faults().go_away();
    stage.send(200..400, KEYS).await;
    until("them to notice", async || first.figures().given_back + second.figures().given_back > 20).await;
    store.faults().come_back();
    stage.until_handled(400).await;
    until("all to be tried again", async || stage.noted().await.1 == 0).await;
    stage.check(400, KEYS).await;
    first.stop().await.expect("it stops");
    second.stop().await.expect("it stops");
    stage.broker.stop().await;
}

/// What a handler may make of an error of the store.
async fn enter_somehow(event: &Event, tx: &Tx<Unreliable>) -> Result<(), Box<dyn Error + Send + Sync>> {
    assert_eq!(event.failures(), 0, "no event has failed");
    let number: i64 = event.json()?;
    match number % 3 {
        0 => enter(event, tx).await?,
        1 => enter(event, tx).await.map_err(|error| format!("not entered: {error}"))?,
        _ => enter(event, tx).await.expect("the store is there"),
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_store_does_while_handlers_run_is_counted_as_no_events_failure() {
    for is_in_order in [false, true] {
        let stage = Stage::open(2).await;
        let store = unreliable(&stage);
        let db = Db::new(store.clone(), DbSettings::default(), stage.broker.wakeup());
        let start = async || {
            // One failure, and it would be a dead letter.
            let retry = RetryPolicy { retries_max: 0, ..RetryPolicy::default() };
            let worker = Worker::builder(db.clone(), stage.client()).group(GROUP).retry(retry);
            let worker = worker.partitions(TOPIC, 0..2).batch_max(4);
            if is_in_order {
                let all = |events: Vec<Event>, tx: Tx<Unreliable>| async move {
                    for event in &events {
                        enter_somehow(event, &tx).await?;
                    }
                    Ok::<_, Box<dyn Error + Send + Sync>>(())
                };
                worker.start_batches(all).await.expect("it starts")
            } else {
                let one = |event: Event, tx| async move { enter_somehow(&event, &tx).await };
                worker.start(one).await.expect("it starts")
            }
        };
        stage.send(0..100, KEYS).await;
        let (first, second) = (start().await, start().await);
        stage.until_handled(50).await;
        store.faults().go_away();
        stage.send(100..200, KEYS).await;
        let notice = async || first.figures().given_back > 2 && second.figures().given_back > 2;
        until("them to notice", notice).await;
        store.faults().come_back();
        stage.until_handled(200).await;
        stage.check(200, KEYS).await;
        for worker in [first, second] {
            let figures = worker.figures();
            assert_eq!((figures.failures, figures.parked, figures.dead_letters), (0, 0, 0));
            worker.stop().await.expect("it stops");
        }
        stage.broker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_restarts_under_its_workers_changes_nothing() {
    let port = KeptPort::take();
    let store = BrokerStore::from(MemoryStore::new(Arc::new(SystemClock)));
    let stage = Stage::on_port(store, 3, port.address()).await;
    stage.create_topic(TOPIC).await;
    stage.send(0..200, KEYS).await;
    let worker = stage.member().start(super::stage::enter_it).await.expect("it starts");
    stage.until_handled(60).await;
    let Stage { broker, store, .. } = stage;
    broker.stop().await;
    let stage = Stage::on_port(store, 3, port.address()).await;
    stage.send(200..300, KEYS).await;
    stage.until_handled(300).await;
    stage.check(300, KEYS).await;
    worker.stop().await.expect("it stops");
    stage.broker.stop().await;
}
