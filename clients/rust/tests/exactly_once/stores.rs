//! Stores that lose answers, refuse and go away.

use tidegate::store::faulty::{CommitFault, On};
use tidegate::store::{CommitError, FaultyStore, ReadError};
use tidegate::{Db, DbSettings, Event, Outcome, RetryPolicy, Tx, Worker};
use tidegate_broker::BrokerStore;

use super::stage::{GROUP, Stage, TOPIC, enter, until};

type Unreliable = FaultyStore<BrokerStore>;

const KEYS: i64 = 8;

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_restarts_under_its_workers_changes_nothing() {
    let stage = Stage::open(3).await;
    let listen = stage.broker.listen();
    stage.send(0..200, KEYS).await;
    let worker = stage.member().start(super::stage::enter_it).await.expect("it starts");
    stage.until_handled(60).await;
    let Stage { broker, store, .. } = stage;
    broker.stop().await;
    let stage = Stage::on_port(store, 3, listen).await;
    stage.send(200..300, KEYS).await;
    stage.until_handled(300).await;
    stage.check(300, KEYS).await;
    worker.stop().await.expect("it stops");
    stage.broker.stop().await;
}
