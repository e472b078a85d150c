//! The relay on a partition's task: hints, due times, sweeps, and its share of the commits.

use std::time::Duration;

use tidegate_format::Offset;
use tidegate_outbox::Wakeup;
use tidegate_outbox::hold::Plan;
use tidegate_protocol::batch::BatchOptions;
use tidegate_store::CommitError;
use tidegate_store::Store;
use tidegate_store::faulty::{CommitFault, On, Point};
use tokio::time::Instant;

use super::PartitionError;
use super::fixture::{Broker, START_MS, admitted, batch, config, partition};
use crate::settings::{Delivery, Settings};
use crate::topics::TopicConfig;

/// Waits in virtual time until a partition has so many records, and tells how long that took.
async fn wait_for_records(broker: &Broker, count: i64) -> Duration {
    let began = Instant::now();
    let id = partition(0);
    let mut watch = broker.hosts.watch(id).expect("it exists");
    while broker.hosts.status(id).await.expect("a store that works").high_watermark < Offset(count) {
        watch.changed().await;
    }
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn events_enter_the_log_at_once_when_their_commit_is_told() {
    let broker = Broker::new(1).await;
    for loaded in [false, true] {
        let before = if loaded { 2 } else { 0 };
        broker.publish(partition(0), &["a", "b"]).await;
        broker.hosts.committed(&[partition(0)]);
        assert!(wait_for_records(&broker, before + 2).await < Duration::from_millis(5));
    }
    assert_eq!(broker.values(partition(0)).await, ["a", "b", "a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn events_that_nobody_told_of_are_found_by_a_sweep() {
    for loaded in [false, true] {
        let broker = Broker::new(1).await;
        if loaded {
            broker.produce(partition(0), batch("loads the partition")).await.expect("a store that works");
        }
        tokio::time::sleep(Duration::from_secs(200)).await;
        broker.publish(partition(0), &["a"]).await;
        let took = wait_for_records(&broker, 1 + i64::from(loaded)).await;
        assert!(took <= Duration::from_secs(61), "{took:?}");
        assert_eq!(broker.values(partition(0)).await.last().map(String::as_str), Some("a"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_commits_behind_what_the_relay_saw_is_moved_by_its_next_turn() {
    for is_told in [true, false] {
        let broker = Broker::new(1).await;
        broker.store.faults().set_order_lag_ms(5_000);
        broker.produce(partition(0), batch("loads the partition")).await.expect("a store that works");
        tokio::time::sleep(Duration::from_secs(100)).await;
        let version_ms = broker.store.now_ms();
        tokio::time::sleep(Duration::from_millis(4_900)).await;
        broker.publish(partition(0), &["seen first"]).await;
        broker.hosts.committed(&[partition(0)]);
        assert!(wait_for_records(&broker, 2).await < Duration::from_millis(5));
        broker.publish_behind(partition(0), version_ms, "behind it").await;
        if is_told {
            broker.hosts.committed(&[partition(0)]);
        }
        let took = wait_for_records(&broker, 3).await;
        // A look behind all that was seen comes about once an hour.
        let most = if is_told { Duration::from_millis(5) } else { Duration::from_secs(4) };
        assert!(took < most, "{took:?}");
        assert_eq!(broker.values(partition(0)).await[1..], ["seen first", "behind it"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_scheduled_event_enters_the_log_in_the_millisecond_in_which_it_is_due() {
    for (idle_ms, due_in_ms) in [(300_000, 45_678), (1_000, 45_678), (1_000, 3_600_123)] {
        let settings = Settings { partition_idle_ms: idle_ms, ..Settings::default() };
        let broker = Broker::with(1, config(), settings).await;
        broker.publish_at(partition(0), START_MS + due_in_ms, "later").await;
        broker.hosts.committed(&[partition(0)]);
        let took = wait_for_records(&broker, 1).await.as_millis();
        let expected = due_in_ms.unsigned_abs().into();
        assert!((expected..=expected + 2).contains(&took), "{took} ms for {expected}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_what_is_due_or_comes_due_is_moved_without_anybody_asking() {
    let broker = Broker::new(100).await;
    broker.publish_at(partition(0), START_MS + 70_000, "second").await;
    broker.publish_at(partition(0), START_MS + 10_000, "first").await;
    broker.hosts.shutdown().await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    let restarted = broker.restart();
    assert!(wait_for_records(&restarted, 1).await < Duration::from_millis(100));
    assert!(wait_for_records(&restarted, 2).await > Duration::from_secs(49));
    assert_eq!(restarted.values(partition(0)).await, ["first", "second"]);
}

#[tokio::test(start_paused = true)]
async fn a_backlog_takes_at_most_every_second_commit_while_produce_waits() {
    let settings = Settings { relay_max_records: 10, ..Settings::default() };
    let broker = Broker::with(1, config(), settings).await;
    broker.produce(partition(0), batch("loads the partition")).await.expect("a store that works");
    for _ in 0..30 {
        broker.publish(partition(0), &["event"; 10]).await;
    }
    broker.hosts.committed(&[partition(0)]);
    // One producer that always has its next batch waiting.
    let mut pending = broker.hosts.produce(partition(0), batch("produced")).await.expect("room");
    for _ in 0..29 {
        let next = broker.hosts.produce(partition(0), batch("produced")).await.expect("room");
        pending.answer().await.expect("committed");
        pending = next;
    }
    pending.answer().await.expect("committed");
    wait_for_records(&broker, 331).await;
    let values = broker.values(partition(0)).await;
    let last = values.iter().rposition(|value| value == "produced").expect("there");
    let mut events_in_a_row = 0;
    for value in &values[1..last] {
        events_in_a_row = if value == "event" { events_in_a_row + 1 } else { 0 };
        assert!(events_in_a_row <= 10, "two turns of the relay in a row while a batch waited");
    }
    assert!(last < 331 - 1, "and the backlog took no more than its share");
}

#[tokio::test(start_paused = true)]
async fn a_failed_turn_is_tried_again_and_nothing_is_moved_twice() {
    for fault in [
        CommitFault::Refused(CommitError::Unavailable { reason: "a test".into() }),
        CommitFault::LostApplied,
        CommitFault::LostNotApplied,
        CommitFault::LostLate,
    ] {
        let broker = Broker::new(1).await;
        broker.produce(partition(0), batch("loads the partition")).await.expect("a store that works");
        broker.publish(partition(0), &["a", "b"]).await;
        broker.store.faults().fail_commit(On::next(), fault.clone());
        broker.hosts.committed(&[partition(0)]);
        let took = wait_for_records(&broker, 3).await;
        assert!(took <= Duration::from_secs(2), "{fault:?}: {took:?}");
        tokio::time::sleep(Duration::from_secs(120)).await;
        let _late = broker.store.deliver_late().await;
        assert_eq!(broker.values(partition(0)).await[1..], ["a", "b"], "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_whose_outcome_is_learnt_late_takes_nothing_back_from_readers() {
    let broker = Broker::new(1).await;
    broker.produce(partition(0), batch("loads the partition")).await.expect("a store that works");
    broker.publish(partition(0), &["event"]).await;
    broker.store.faults().fail_commit(On::next(), CommitFault::LostApplied);
    let mut gate = broker.store.faults().hold(On::next(), Point::AfterCommit);
    broker.hosts.committed(&[partition(0)]);
    gate.reached().await;
    broker.store.faults().go_away();
    gate.release();
    tokio::time::sleep(Duration::from_millis(10)).await;
    broker.store.faults().come_back();
    assert_eq!(broker.produce(partition(0), batch("behind it")).await, Ok(2));
    let mut watch = broker.hosts.watch(partition(0)).expect("it exists");
    for _ in 0..20 {
        let status = broker.hosts.status(partition(0)).await.expect("a store that works");
        assert_eq!(status.high_watermark, Offset(3));
        assert_eq!(broker.values(partition(0)).await, ["loads the partition", "event", "behind it"]);
        let _no_change = tokio::time::timeout(Duration::from_secs(1), watch.changed()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_arrives_after_it_was_given_up_is_seen_with_the_next_sweep() {
    let broker = Broker::new(1).await;
    broker.produce(partition(0), batch("loads the partition")).await.expect("a store that works");
    broker.store.faults().fail_commit(On::next(), CommitFault::LostLate);
    let mut gate = broker.store.faults().hold(On::next(), Point::AfterCommit);
    let lost = broker.send(partition(0), batch("late"));
    gate.reached().await;
    broker.store.faults().go_away();
    gate.release();
    assert_eq!(lost.await.expect("no panic"), Err(PartitionError::Unsettled.into()));
    broker.store.faults().come_back();
    assert_eq!(broker.values(partition(0)).await, ["loads the partition"]);
    broker.store.deliver_late().await.expect("it is under way").expect("nobody came first");
    assert!(wait_for_records(&broker, 2).await <= Duration::from_secs(61));
}

#[tokio::test(start_paused = true)]
async fn a_hint_is_heeded_while_batches_wait_all_the_time() {
    let settings = Settings { produce_commit_max_bytes: 1, ..Settings::default() };
    let broker = Broker::with(1, config(), settings).await;
    broker.produce(partition(0), batch("loads the partition")).await.expect("a store that works");
    let mut gate = broker.store.faults().hold(On::next(), Point::BeforeCommit);
    let first = broker.send(partition(0), batch("produced"));
    gate.reached().await;
    let mut pending = Vec::new();
    for _ in 0..100 {
        pending.push(broker.hosts.produce(partition(0), batch("produced")).await.expect("room"));
    }
    broker.publish(partition(0), &["event"]).await;
    broker.hosts.committed(&[partition(0)]);
    gate.release();
    first.await.expect("no panic").expect("committed");
    for pending in pending {
        pending.answer().await.expect("committed");
    }
    wait_for_records(&broker, 103).await;
    let values = broker.values(partition(0)).await;
    let place = values.iter().position(|value| value == "event").expect("it was moved");
    assert!(place <= 3, "{place} records came before it");
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_cannot_be_taken_over_for_a_moment_is_tried_again_soon() {
    let broker = Broker::new(1).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    broker.publish(partition(0), &["a"]).await;
    for _ in 0..3 {
        let away = CommitError::Unavailable { reason: "a test".into() };
        broker.store.faults().fail_commit(On::next(), CommitFault::Refused(away));
    }
    broker.hosts.committed(&[partition(0)]);
    let took = wait_for_records(&broker, 1).await;
    assert!(took <= Duration::from_secs(4), "{took:?}");
}

fn scheduled() -> TopicConfig {
    TopicConfig { delivery: Delivery::Scheduled, ..config() }
}

async fn plan(broker: &Broker, value: &str, timestamp_ms: i64) -> Plan {
    let batch = admitted(value, timestamp_ms, &BatchOptions::default());
    broker.hosts.plan(batch, &scheduled()).await.expect("a good batch")
}

#[tokio::test(start_paused = true)]
async fn a_record_for_later_is_answered_without_offset_and_enters_the_log_when_it_is_due() {
    let broker = Broker::with(1, scheduled(), Settings::default()).await;
    let now_ms = broker.store.now_ms();
    let held = plan(&broker, "later", now_ms + 300).await;
    assert_eq!(broker.produce(partition(0), held).await, Ok(-1));
    let now = plan(&broker, "now", now_ms).await;
    assert_eq!(broker.produce(partition(0), now).await, Ok(0));
    wait_for_records(&broker, 2).await;
    assert!(broker.store.now_ms() >= now_ms + 300, "not early");
    assert_eq!(broker.values(partition(0)).await, ["now", "later"]);
}
