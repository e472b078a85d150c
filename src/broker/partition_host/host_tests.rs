//! A partition's task: grouping, failure, take-over, idleness, end.

use std::time::Duration;

use tidegate_format::{LogKey, Offset, OwnerEpoch};
use tidegate_log::SequenceError;
use tidegate_store::faulty::{CommitFault, On, Point};
use tidegate_store::{CommitError, Direction, KeyRange, Store, Txn};

use super::fixture::{Broker, batch, config, idempotent, partition, take_over};
use super::{DeleteRecordsError, PartitionError, ProduceError, ReadPartitionError};
use crate::settings::Settings;
use crate::topics::TopicConfig;

/// Lets everything run that can run without time going on.
async fn settle_down() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn batches_that_wait_together_are_committed_together_in_their_order() {
    let broker = Broker::new(1).await;
    broker.produce(partition(0), batch("loads the partition")).await.expect("a store that works");
    let mut gate = broker.store.faults().hold(On::next(), Point::BeforeCommit);
    let first = broker.send(partition(0), batch("0"));
    gate.reached().await;
    let mut pending = Vec::new();
    for n in 1..=20 {
        pending.push(broker.hosts.produce(partition(0), batch(&n.to_string())).await.expect("there is room"));
    }
    gate.release();
    assert_eq!(first.await.expect("no panic").expect("committed").base_offset, Offset(1));
    for (n, pending) in (2..).zip(pending) {
        assert_eq!(pending.answer().await.expect("committed").base_offset, Offset(n));
    }
    let versions = broker.append_versions(partition(0)).await;
    assert!(versions[1] < versions[2] && versions[2..].iter().all(|version| *version == versions[2]));
    let values = broker.values(partition(0)).await;
    assert_eq!(values[1..], (0..=20).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_group_is_bounded_in_bytes_and_none_of_it_is_lost() {
    let settings = Settings { produce_commit_max_bytes: 200, ..Settings::default() };
    let broker = Broker::with(1, config(), settings).await;
    let mut gate = broker.store.faults().hold(On::nth(1), Point::BeforeCommit);
    let first = broker.send(partition(0), batch("0"));
    gate.reached().await;
    let mut pending = Vec::new();
    for n in 1..=10 {
        pending.push(broker.hosts.produce(partition(0), batch(&n.to_string())).await.expect("there is room"));
    }
    gate.release();
    first.await.expect("no panic").expect("committed");
    for pending in pending {
        pending.answer().await.expect("committed");
    }
    let mut versions = broker.append_versions(partition(0)).await;
    versions.dedup();
    assert_eq!(versions.len(), 6, "one, and then two at a time");
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_refused_refuses_no_other_of_its_group() {
    let broker = Broker::new(1).await;
    let mut gate = broker.store.faults().hold(On::nth(1), Point::BeforeCommit);
    let first = broker.send(partition(0), idempotent("0", 0));
    gate.reached().await;
    let mut pending = Vec::new();
    for (value, sequence) in [("1", 1), ("gap", 5), ("2", 2), ("1", 1)] {
        pending.push(broker.hosts.produce(partition(0), idempotent(value, sequence)).await.expect("room"));
    }
    gate.release();
    first.await.expect("no panic").expect("committed");
    let mut answers = Vec::new();
    for pending in pending {
        answers.push(pending.answer().await.map(|produced| produced.base_offset.0));
    }
    let gap = &answers[1];
    assert!(
        matches!(gap, Err(ProduceError::Sequence(SequenceError::OutOfOrder { found: 5, last: 1, .. }))),
        "{gap:?}"
    );
    assert_eq!((&answers[0], &answers[2], &answers[3]), (&Ok(1), &Ok(2), &Ok(1)));
    assert_eq!(broker.values(partition(0)).await, ["0", "1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_lost_is_settled_before_the_producer_gets_one() {
    for fault in [CommitFault::LostApplied, CommitFault::LostNotApplied, CommitFault::LostLate] {
        let broker = Broker::new(1).await;
        broker.produce(partition(0), batch("0")).await.expect("a store that works");
        broker.store.faults().fail_commit(On::next(), fault.clone());
        assert_eq!(broker.produce(partition(0), batch("1")).await, Ok(1), "{fault:?}");
        assert_eq!(broker.produce(partition(0), batch("2")).await, Ok(2), "{fault:?}");
        while let Some(late) = broker.store.deliver_late().await {
            assert_eq!(late, Err(CommitError::Conflict), "settled is settled");
        }
        assert_eq!(broker.values(partition(0)).await, ["0", "1", "2"], "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_answered_or_written_while_the_store_cannot_tell_the_outcome() {
    let broker = Broker::new(1).await;
    broker.produce(partition(0), batch("0")).await.expect("a store that works");
    broker.store.faults().fail_commit(On::next(), CommitFault::LostApplied);
    let mut gate = broker.store.faults().hold(On::next(), Point::AfterCommit);
    let lost = broker.send(partition(0), batch("1"));
    gate.reached().await;
    broker.store.faults().go_away();
    gate.release();
    let next = broker.send(partition(0), batch("2"));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!lost.is_finished() && !next.is_finished());
    broker.store.faults().come_back();
    assert_eq!(lost.await.expect("no panic").expect("applied").base_offset, Offset(1));
    assert_eq!(next.await.expect("no panic").expect("committed").base_offset, Offset(2));
    assert_eq!(broker.values(partition(0)).await, ["0", "1", "2"]);
}

/// Produces a first batch, and a second whose outcome stays unknown for as long as the store is away; then it is back.
async fn produce_unsettled(broker: &Broker, fault: CommitFault) {
    broker.produce(partition(0), idempotent("0", 0)).await.expect("a store that works");
    broker.store.faults().fail_commit(On::next(), fault);
    let mut gate = broker.store.faults().hold(On::next(), Point::AfterCommit);
    let lost = broker.send(partition(0), idempotent("1", 1));
    gate.reached().await;
    broker.store.faults().go_away();
    gate.release();
    assert_eq!(lost.await.expect("no panic"), Err(PartitionError::Unsettled.into()));
    broker.store.faults().come_back();
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_stays_unknown_is_told_as_such_and_what_is_known_is_read_again() {
    let broker = Broker::new(1).await;
    produce_unsettled(&broker, CommitFault::LostApplied).await;
    assert_eq!(broker.values(partition(0)).await, ["0", "1"], "it was applied, and readers see it");
    assert_eq!(
        broker.produce(partition(0), idempotent("1", 1)).await,
        Ok(1),
        "a repeat, answered as the first time"
    );
    assert_eq!(broker.produce(partition(0), idempotent("2", 2)).await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn a_repeat_that_is_answered_as_taken_is_there_for_readers() {
    let broker = Broker::new(1).await;
    produce_unsettled(&broker, CommitFault::LostLate).await;
    assert_eq!(broker.values(partition(0)).await, ["0"], "it is still under way");
    broker.store.deliver_late().await.expect("it is under way").expect("nobody came first");
    assert_eq!(broker.produce(partition(0), idempotent("1", 1)).await, Ok(1));
    assert_eq!(broker.values(partition(0)).await, ["0", "1"]);
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_of_the_store_the_partition_goes_on() {
    let broker = Broker::new(1).await;
    broker.produce(partition(0), batch("0")).await.expect("a store that works");
    let full = CommitError::DiskFull { reserve_bytes: 1 };
    broker.store.faults().fail_commit(On::next(), CommitFault::Refused(full));
    let refused = broker.produce(partition(0), batch("refused")).await;
    assert!(matches!(refused, Err(ProduceError::Partition(PartitionError::Storage { .. }))), "{refused:?}");
    broker.store.faults().go_away();
    let refused = broker.produce(partition(0), batch("refused")).await;
    assert!(matches!(refused, Err(ProduceError::Partition(PartitionError::Storage { .. }))), "{refused:?}");
    broker.store.faults().come_back();
    assert_eq!(broker.produce(partition(0), batch("1")).await, Ok(1));
    assert_eq!(broker.values(partition(0)).await, ["0", "1"]);
}

#[tokio::test(start_paused = true)]
async fn a_group_that_is_too_large_for_the_store_is_split() {
    let broker = Broker::new(1).await;
    broker.produce(partition(0), batch("0")).await.expect("a store that works");
    let mut gate = broker.store.faults().hold(On::next(), Point::BeforeCommit);
    let first = broker.send(partition(0), batch("1"));
    gate.reached().await;
    let rest: Vec<_> = (2..6).map(|n| broker.send(partition(0), batch(&n.to_string()))).collect();
    settle_down().await;
    let too_large =
        || CommitFault::Refused(CommitError::TooLarge { what: "transaction", actual: 2, limit: 1 });
    broker.store.faults().fail_commit(On::nth(1), too_large());
    gate.release();
    first.await.expect("no panic").expect("committed");
    for answer in rest {
        answer.await.expect("no panic").expect("committed, in two groups");
    }
    assert_eq!(broker.values(partition(0)).await.len(), 6);
    broker.store.faults().fail_commit(On::next(), too_large());
    assert_eq!(broker.produce(partition(0), batch("alone")).await, Err(ProduceError::TooLarge));
}

#[tokio::test(start_paused = true)]
async fn a_partition_with_another_owner_says_so_and_can_be_taken_over_again() {
    let broker = Broker::new(1).await;
    broker.produce(partition(0), batch("0")).await.expect("a store that works");
    take_over(&broker.memory, partition(0)).await;
    assert_eq!(broker.produce(partition(0), batch("refused")).await, Err(PartitionError::NotOwner.into()));
    assert_eq!(broker.produce(partition(0), batch("1")).await, Ok(1));
    assert_eq!(broker.hosts.known_epoch(partition(0)), Some(OwnerEpoch(2)));
    assert_eq!(broker.values(partition(0)).await, ["0", "1"]);
}

#[tokio::test(start_paused = true)]
async fn an_idle_partition_is_put_away_and_comes_back_in_the_same_epoch() {
    let broker = Broker::new(1).await;
    broker.produce(partition(0), batch("0")).await.expect("a store that works");
    let is_running = || broker.hosts.shared.partition(partition(0)).expect("it exists").is_running();
    assert!(is_running());
    tokio::time::sleep(Duration::from_millis(broker.settings.partition_idle_ms + 100_000)).await;
    assert!(!is_running());
    assert_eq!(broker.values(partition(0)).await, ["0"], "reading needs no task");
    assert!(!is_running());
    assert_eq!(broker.produce(partition(0), batch("1")).await, Ok(1));
    assert_eq!(broker.hosts.known_epoch(partition(0)), Some(OwnerEpoch(0)));
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_requests_to_a_partition_that_is_being_put_away_is_answered_in_order() {
    let settings = Settings { partition_idle_ms: 1_000, ..Settings::default() };
    let broker = Broker::with(1, config(), settings).await;
    for n in 0..200 {
        assert_eq!(broker.produce(partition(0), batch(&n.to_string())).await, Ok(n));
        tokio::time::sleep(Duration::from_micros(999_000 + 10 * n.unsigned_abs())).await;
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_partitions_cost_nothing_until_they_are_used() {
    let broker = Broker::new(10_000).await;
    broker.produce(partition(77), batch("0")).await.expect("a store that works");
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(broker.hosts.shared.partitions().len(), 1);
    assert_eq!(broker.hosts.shared.tasks.len(), 3, "one partition, and two tasks for all");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_topics_partitions_end_and_cannot_come_back() {
    let broker = Broker::new(2).await;
    broker.produce(partition(0), batch("0")).await.expect("a store that works");
    let mut gate = broker.store.faults().hold(On::next(), Point::BeforeCommit);
    let last = broker.send(partition(0), batch("1"));
    gate.reached().await;
    broker.topics.drop_topic(partition(0).topic);
    let unknown = Err(PartitionError::Unknown.into());
    assert_eq!(broker.produce(partition(0), batch("too late")).await, unknown);
    let closing = tokio::spawn({
        let hosts = broker.hosts.clone();
        async move { hosts.close(&[partition(0), partition(1)]).await }
    });
    settle_down().await;
    assert!(!closing.is_finished(), "what was begun is ended first");
    gate.release();
    closing.await.expect("no panic");
    assert_eq!(last.await.expect("no panic").expect("committed before the end").base_offset, Offset(1));
    assert_eq!(broker.produce(partition(0), batch("2")).await, unknown);
    assert_eq!(broker.hosts.status(partition(0)).await, Err(PartitionError::Unknown));
    assert!(broker.hosts.shared.partitions().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_commits_what_was_handed_in() {
    let broker = Broker::new(1).await;
    let mut gate = broker.store.faults().hold(On::nth(1), Point::BeforeCommit);
    let first = broker.send(partition(0), batch("0"));
    gate.reached().await;
    let mut pending = Vec::new();
    for n in 1..=5 {
        pending.push(broker.hosts.produce(partition(0), batch(&n.to_string())).await.expect("room"));
    }
    let stopping = tokio::spawn({
        let hosts = broker.hosts.clone();
        async move { hosts.shutdown().await }
    });
    settle_down().await;
    gate.release();
    first.await.expect("no panic").expect("committed");
    for pending in pending {
        pending.answer().await.expect("committed");
    }
    stopping.await.expect("no panic");
    assert_eq!(broker.produce(partition(0), batch("late")).await, Err(PartitionError::Closing.into()));
    assert_eq!(broker.restart().values(partition(0)).await.len(), 6);
}

#[tokio::test(start_paused = true)]
async fn deleted_records_are_gone_for_readers_and_then_from_the_store() {
    let broker = Broker::new(1).await;
    for n in 0..10 {
        broker.produce(partition(0), batch(&n.to_string())).await.expect("a store that works");
    }
    let hosts = &broker.hosts;
    assert_eq!(hosts.delete_records(partition(0), Some(Offset(4))).await, Ok(Offset(4)));
    let (log_start, high_watermark) = (Offset(4), Offset(10));
    let all = tidegate_log::ReadLimit { max_bytes: usize::MAX, at_least_one: true };
    let gone = hosts.read(partition(0), Offset(3), all).await;
    assert_eq!(gone, Err(ReadPartitionError::OutOfRange { log_start, high_watermark }));
    let beyond = hosts.delete_records(partition(0), Some(Offset(11))).await;
    assert_eq!(beyond, Err(DeleteRecordsError::OutOfRange { log_start, high_watermark }));
    assert_eq!(hosts.delete_records(partition(0), None).await, Ok(Offset(10)));
    settle_down().await;
    assert_eq!(log_keys(&broker).await, 0);
    assert_eq!(broker.produce(partition(0), batch("10")).await, Ok(10));
    assert_eq!(broker.records(partition(0)).await, [(10, "10".to_owned())]);
}

async fn log_keys(broker: &Broker) -> usize {
    let mut txn = broker.memory.begin().await.expect("a store that works");
    let (start, end) = LogKey::range(partition(0));
    let keys = txn.scan_keys(&KeyRange::new(start, end), 1000, Direction::Forward).await;
    keys.expect("a store that works").len()
}

#[tokio::test(start_paused = true)]
async fn retention_goes_on_in_the_background_also_where_nobody_writes() {
    let broker =
        Broker::with(1, TopicConfig { retention_ms: Some(60_000), ..config() }, Settings::default()).await;
    for n in 0..5 {
        broker.produce(partition(0), batch(&n.to_string())).await.expect("a store that works");
    }
    let restarted = broker.restart();
    broker.hosts.shutdown().await;
    tokio::time::sleep(Duration::from_millis(broker.settings.log_retention_check_interval_ms + 1000)).await;
    assert_eq!(restarted.values(partition(0)).await, [""; 0]);
    assert_eq!(log_keys(&restarted).await, 0);
    let status = restarted.hosts.status(partition(0)).await.expect("a store that works");
    assert_eq!((status.log_start, status.log_bytes), (Offset(5), 0));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_holds_its_callers_up_and_loses_nothing() {
    let settings = Settings { produce_queue_max_requests: 2, ..Settings::default() };
    let broker = Broker::with(1, config(), settings).await;
    let mut gate = broker.store.faults().hold(On::nth(1), Point::BeforeCommit);
    let first = broker.send(partition(0), batch("0"));
    gate.reached().await;
    let waiting: Vec<_> = (1..10).map(|n| broker.send(partition(0), batch(&n.to_string()))).collect();
    settle_down().await;
    let third =
        tokio::time::timeout(Duration::from_secs(1), broker.hosts.produce(partition(0), batch("x"))).await;
    assert!(third.is_err(), "no room for one more");
    gate.release();
    first.await.expect("no panic").expect("committed");
    for answer in waiting {
        answer.await.expect("no panic").expect("committed");
    }
    assert_eq!(broker.values(partition(0)).await, (0..10).map(|n| n.to_string()).collect::<Vec<_>>());
}
