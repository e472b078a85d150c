//! Batches in order: the committed offset is moved by the handler's own transaction.

use std::sync::{Arc, Mutex};

use tidegate::store::{Clock, SystemClock};
use tidegate::{DEAD_LETTER_ATTEMPTS, Event, Outcome, RetryPolicy, Tx};
use tidegate_broker::BrokerStore;
use tidegate_format::{OffsetKey, OffsetValue};

use super::stage::{DEAD_LETTERS, GROUP, Stage, enter, in_time, until, until_counted};

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
    until_counted(&[&first, &second], 1_000).await;
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

/// What is noted of the event at the committed offset of partition 0.
async fn noted(stage: &Stage) -> Option<serde_json::Value> {
    use tidegate::store::{Direction, KeyRange, ScanLimit, Store, Txn};
    let mut txn = stage.store.begin().await.expect("the store is there");
    let (start, end) = OffsetKey::range(GROUP);
    let found = txn.scan(&KeyRange::new(start, end), ScanLimit::count(1), Direction::Forward).await;
    let (_, row) = found.expect("the store is there").pop()?;
    let metadata = OffsetValue::decode(row).expect("its own bytes").metadata;
    Some(serde_json::from_str(metadata.strip_prefix("tidegate-worker ")?).expect("JSON"))
}

/// How often that event has failed.
async fn noted_failures(stage: &Stage) -> u32 {
    let Some(note) = noted(stage).await else { return 0 };
    note["failures"].as_u64().and_then(|failures| u32::try_from(failures).ok()).expect("a count")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_goes_on_counting_how_often_the_event_in_front_has_failed() {
    let stage = Stage::open(1).await;
    // Of each batch with the event that fails: how many events it has, and how often it had failed.
    let tries = Arc::new(Mutex::new(Vec::new()));
    let start = async |retries_max: u32| {
        let tries = tries.clone();
        let retry = RetryPolicy { retries_max, first_ms: 5, max_ms: 5, jitter_percent: 0 };
        let worker = stage.member().retry(retry).start_batches(move |events: Vec<Event>, tx| {
            let tries = tries.clone();
            async move {
                if events.iter().any(|event| event.json::<i64>().expect("a number") == 3) {
                    tries.lock().expect("nobody panics").push((events.len(), events[0].failures()));
                    return Err("it is among them".to_owned());
                }
                enter_all(events, tx).await.map_err(|error| error.to_string())
            }
        });
        worker.await.expect("it starts")
    };
    stage.send(0..10, 1).await;
    let worker = start(u32::MAX).await;
    until("it to fail again and again", async || noted_failures(&stage).await >= 3).await;
    worker.stop().await.expect("it stops");
    let failures = noted_failures(&stage).await;
    tries.lock().expect("nobody panics").clear();

    let worker = start(failures + 1).await;
    let letters = stage.read(DEAD_LETTERS, 1).await;
    assert_eq!(*tries.lock().expect("nobody panics"), [(1, failures), (1, failures + 1)]);
    let attempts = letters[0].headers.iter().find(|(name, _)| name == DEAD_LETTER_ATTEMPTS);
    let attempts = attempts.and_then(|(_, value)| value.clone()).expect("it says how often it was tried");
    assert_eq!(attempts, (failures + 2).to_string());
    stage.until_handled(9).await;
    until("the committed offset to follow", async || stage.committed().await == 10).await;
    assert_eq!(noted_failures(&stage).await, 0);
    worker.stop().await.expect("it stops");
    stage.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_was_put_off_comes_at_its_time_after_a_restart_too() {
    let stage = Stage::open(1).await;
    stage.send(0..10, 1).await;
    let due_ms = stage.now_ms() + 1_500;
    let put_off = move |_: Vec<Event>, _: Tx<BrokerStore>| async move { Outcome::RetryAt(due_ms) };
    let worker = stage.member().start_batches(put_off).await.expect("it starts");
    until("it to be noted", async || noted(&stage).await.is_some()).await;
    worker.stop().await.expect("it stops");
    let note = noted(&stage).await.expect("it was there");
    assert_eq!((note["due_ms"].as_i64(), note["failures"].as_i64()), (Some(due_ms), Some(0)));

    let worker = stage.member().start_batches(move |events: Vec<Event>, tx| async move {
        assert!(SystemClock.now_ms() >= due_ms, "it comes too early");
        assert!(events.iter().all(|event| event.failures() == 0), "none has failed");
        enter_all(events, tx).await
    });
    let worker = worker.await.expect("it starts");
    stage.until_handled(10).await;
    stage.check(10, 1).await;
    assert_eq!((worker.figures().failures, noted(&stage).await), (0, None));
    worker.stop().await.expect("it stops");
    stage.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_goes_from_single_events_to_batches_and_handles_none_twice() {
    let stage = Stage::open(1).await;
    stage.send(0..50, 50).await;
    let single = stage.fixed().start(|event: Event, tx: Tx<BrokerStore>| async move {
        if event.key() == Some("3") {
            std::future::pending::<()>().await;
        }
        enter(&event, &tx).await
    });
    let single = single.await.expect("it starts");
    stage.until_handled(49).await;
    drop(single);
    let batches = stage.fixed().batch_max(10).start_batches(enter_all).await.expect("it starts");
    stage.until_handled(50).await;
    stage.check(50, 50).await;
    assert_eq!(batches.figures().handled, 1);
    batches.stop().await.expect("it stops");
    stage.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_do_not_leave_parked_events_behind() {
    let stage = Stage::open(1).await;
    stage.send(0..5, 5).await;
    let retry = RetryPolicy { first_ms: 3_600_000, ..RetryPolicy::default() };
    let single = stage.fixed().retry(retry).start(|event: Event, tx: Tx<BrokerStore>| async move {
        if event.key() == Some("3") {
            return Err("not this one".to_owned());
        }
        enter(&event, &tx).await.map_err(|error| error.to_string())
    });
    let single = single.await.expect("it starts");
    until("one to be parked", async || stage.handled().await == 4 && stage.noted().await.1 == 1).await;
    single.stop().await.expect("it stops");
    let mut batches = stage.member().start_batches(enter_all).await.expect("it starts");
    let ended = in_time("its end", batches.ended()).await.expect_err("it would never come back to it");
    assert!(ended.to_string().contains("1 events of orders-0 are parked"), "{ended}");
    let group = stage.admin().await.describe_group(GROUP).await.expect("it answers");
    assert_eq!(group.members, [], "it has left, and others may have its partition");
    stage.broker.stop().await;
}
