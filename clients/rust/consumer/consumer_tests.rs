//! The consumer against a broker that does what it should, and what it should not.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use tidegate_protocol::batch::{self, BatchOptions, Record};
use tidegate_protocol::messages::ApiKey;
use tokio::time::timeout;

use super::{
    Assignor, AutoOffsetReset, Consumer, ConsumerOptions, OffsetCommitter, RebalanceListener, Start,
};
use crate::offsets::Committed;
use crate::testing::{Answer, FakeCluster, TOPIC};
use crate::{Error, ResponseError, TopicPartition};

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new(TOPIC, partition)
}

/// Puts so many records into a partition's log, in one batch.
fn write(cluster: &FakeCluster, partition: i32, count: i32) {
    let value = |offset_delta: i32| Some(Bytes::from(offset_delta.to_string()));
    let records: Vec<Record> = (0..count)
        .map(|offset_delta| Record { offset_delta, value: value(offset_delta), ..Record::default() })
        .collect();
    let batch = batch::encode_batch(&records, &BatchOptions::default()).expect("it encodes");
    append(cluster, partition, batch);
}

fn append(cluster: &FakeCluster, partition: i32, batch: Bytes) {
    let mut state = cluster.state();
    let log = state.logs.entry(partition).or_default();
    let next = log.last().map_or(0, |last| batch::check(last).expect("good").last_offset() + 1);
    log.push(batch::patch(batch, next, 0));
}

fn options() -> ConsumerOptions {
    ConsumerOptions {
        auto_offset_reset: AutoOffsetReset::Earliest,
        heartbeat_interval_ms: 2,
        auto_commit_interval_ms: 3_600_000,
        ..ConsumerOptions::group("g")
    }
}

async fn consumer(cluster: &FakeCluster, options: ConsumerOptions) -> Consumer {
    Consumer::connect(cluster.broker.options(), options).await.expect("it connects")
}

async fn subscribed(cluster: &FakeCluster, options: ConsumerOptions) -> Consumer {
    let mut consumer = consumer(cluster, options).await;
    consumer.subscribe([TOPIC]).expect("it has a group");
    consumer
}

/// Writes down what it is told.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn note(&self, what: &str, partitions: &[TopicPartition]) {
        let names: Vec<String> = partitions.iter().map(ToString::to_string).collect();
        self.0.lock().expect("no panic").push(format!("{what} {}", names.join(" ")));
    }

    fn read(&self) -> Vec<String> {
        self.0.lock().expect("no panic").clone()
    }
}

impl RebalanceListener for Diary {
    fn on_assigned<'a>(&'a mut self, partitions: &'a [TopicPartition]) -> BoxFuture<'a, ()> {
        async move { self.note("assigned", partitions) }.boxed()
    }

    fn on_revoked<'a>(
        &'a mut self,
        partitions: &'a [TopicPartition],
        committer: &'a OffsetCommitter,
    ) -> BoxFuture<'a, ()> {
        async move {
            let offsets = partitions.iter().map(|partition| (partition.clone(), Committed::at(99))).collect();
            self.note("revoked", partitions);
            committer.commit(&offsets).await.expect("it is still a member");
        }
        .boxed()
    }

    fn on_lost<'a>(&'a mut self, partitions: &'a [TopicPartition]) -> BoxFuture<'a, ()> {
        async move { self.note("lost", partitions) }.boxed()
    }
}

#[tokio::test]
async fn a_member_reads_all_from_the_beginning_and_commits_what_it_dealt_with() {
    let cluster = FakeCluster::start(2).await;
    write(&cluster, 0, 3);
    write(&cluster, 1, 2);
    let mut consumer = subscribed(&cluster, options()).await;
    let mut seen = Vec::new();
    for _ in 0..5 {
        let record = consumer.recv().await.expect("a record");
        assert_eq!(record.value, Some(Bytes::from(record.offset.to_string())));
        seen.push((record.partition, record.offset));
    }
    seen.sort_unstable();
    assert_eq!(seen, [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]);
    assert_eq!(consumer.assignment(), [tp(0), tp(1)]);
    assert_eq!(cluster.state().joined_as, ["", "member-1"], "it joins with the id that it is given");
    consumer.close().await.expect("it commits");
    let state = cluster.state();
    assert_eq!(state.committed, [(0, 3), (1, 2)].into());
    assert_eq!(state.left, ["member-1"]);
}

#[tokio::test]
async fn a_record_that_is_not_dealt_with_is_read_again() {
    let cluster = FakeCluster::start(1).await;
    write(&cluster, 0, 3);
    let mut first = subscribed(&cluster, ConsumerOptions { auto_commit_interval_ms: 2, ..options() }).await;
    assert_eq!(first.recv().await.expect("a record").offset, 0);
    assert_eq!(first.recv().await.expect("a record").offset, 1);
    cluster.until(|state| state.committed.get(&0) == Some(&1)).await;
    // It dies while it deals with offset 1.
    drop(first);
    let mut second = subscribed(&cluster, options()).await;
    assert_eq!(second.recv().await.expect("a record").offset, 1);
}

#[tokio::test]
async fn a_record_in_hand_is_not_dealt_with_because_its_partition_is_paused() {
    let cluster = FakeCluster::start(1).await;
    write(&cluster, 0, 3);
    let mut consumer = subscribed(&cluster, options()).await;
    let dealt_with = |consumer: &Consumer| consumer.shared.partitions().to_commit();
    assert_eq!(consumer.recv().await.expect("a record").offset, 0);
    assert_eq!(consumer.recv().await.expect("a record").offset, 1);
    assert_eq!(dealt_with(&consumer), [(tp(0), 1)].into());
    consumer.pause(&tp(0)).expect("it is assigned");
    assert_eq!(dealt_with(&consumer), [(tp(0), 1)].into(), "offset 1 is in hand");
    consumer.resume(&tp(0)).expect("it is assigned");
    // For as long as it takes.
    assert_eq!(consumer.poll(Duration::MAX).await.expect("a record").len(), 1);
    assert_eq!(dealt_with(&consumer), [(tp(0), 2)].into());
}

#[tokio::test]
async fn without_auto_commit_only_commit_commits() {
    let cluster = FakeCluster::start(1).await;
    write(&cluster, 0, 5);
    let mut consumer = subscribed(&cluster, ConsumerOptions { auto_commit: false, ..options() }).await;
    for _ in 0..3 {
        consumer.recv().await.expect("a record");
    }
    assert_eq!(cluster.state().committed, [].into());
    consumer.commit().await.expect("it commits");
    assert_eq!(cluster.state().committed, [(0, 3)].into(), "what was handed out, the last record too");
    consumer.recv().await.expect("a record");
    consumer.commit_async().await.expect("no panic").expect("it commits");
    assert_eq!(cluster.state().committed, [(0, 4)].into());
    let committed = consumer.committed(&[tp(0)]).await.expect("it asks");
    assert_eq!(committed[&tp(0)].offset, 4);
    consumer.recv().await.expect("a record");
    consumer.close().await.expect("it leaves");
    assert_eq!(cluster.state().committed, [(0, 4)].into());
}

#[tokio::test]
async fn poll_takes_what_is_there() {
    let cluster = FakeCluster::start(1).await;
    write(&cluster, 0, 10);
    let mut consumer = subscribed(&cluster, ConsumerOptions { max_poll_records: 7, ..options() }).await;
    let first = consumer.poll(Duration::from_secs(60)).await.expect("records");
    assert_eq!(first.iter().map(|record| record.offset).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(consumer.position(&tp(0)), Some(7));
    assert_eq!(consumer.poll(Duration::from_secs(60)).await.expect("records").len(), 3);
    assert_eq!(consumer.poll(Duration::from_millis(1)).await.expect("none in time").len(), 0);
}

#[tokio::test]
async fn a_rebalance_starts_over_where_what_was_dealt_with_ends() {
    let cluster = FakeCluster::start(1).await;
    write(&cluster, 0, 5);
    let mut consumer = subscribed(&cluster, options()).await;
    assert_eq!(consumer.recv().await.expect("a record").offset, 0);
    assert_eq!(consumer.recv().await.expect("a record").offset, 1);
    cluster.state().fail(ApiKey::Heartbeat, [ResponseError::RebalanceInProgress]);
    cluster.until(|state| state.errors.get(&12).is_some_and(std::collections::VecDeque::is_empty)).await;
    while cluster.state().generation < 2 {
        // The records that it had are handed out until the heartbeat's answer is there; then it joins again, and there must be
        // one more to be handed out.
        write(&cluster, 0, 1);
        consumer.recv().await.expect("a record");
    }
    assert_eq!(cluster.state().joined_as, ["", "member-1", "member-1"]);
    let committed = cluster.state().committed[&0];
    assert!(
        consumer.position(&tp(0)).is_some_and(|position| position == committed + 1),
        "nothing twice, nothing lost"
    );
}

#[tokio::test]
async fn joining_is_tried_until_it_succeeds() {
    let cluster = FakeCluster::start(1).await;
    write(&cluster, 0, 1);
    {
        let mut state = cluster.state();
        state.fail(ApiKey::FindCoordinator, [ResponseError::CoordinatorNotAvailable]);
        state.fail(
            ApiKey::JoinGroup,
            [ResponseError::CoordinatorLoadInProgress, ResponseError::NotCoordinator],
        );
        state.fail(ApiKey::SyncGroup, [ResponseError::RebalanceInProgress, ResponseError::UnknownMemberId]);
        state.fail(ApiKey::OffsetFetch, [ResponseError::UnstableOffsetCommit]);
    }
    let mut consumer = subscribed(&cluster, options()).await;
    assert_eq!(consumer.recv().await.expect("a record").offset, 0);
    let joined_as = cluster.state().joined_as.clone();
    assert_eq!(joined_as, ["", "", "", "member-1", "member-1", "", "member-2"]);
}

#[tokio::test]
async fn what_no_retry_helps_is_told() {
    let cluster = FakeCluster::start(1).await;
    cluster.state().fail(ApiKey::JoinGroup, [ResponseError::GroupAuthorizationFailed]);
    let mut consumer = subscribed(&cluster, options()).await;
    let error = consumer.recv().await.expect_err("it may not join");
    assert_eq!(error.code(), Some(ResponseError::GroupAuthorizationFailed));
    write(&cluster, 0, 1);
    assert_eq!(consumer.recv().await.expect("this time it may").offset, 0);
}

#[tokio::test]
async fn a_member_that_was_given_up_loses_its_partitions_and_comes_back() {
    let cluster = FakeCluster::start(1).await;
    write(&cluster, 0, 1);
    let diary = Diary::default();
    let mut consumer = consumer(&cluster, options()).await;
    consumer.subscribe_with([TOPIC], diary.clone()).await.expect("it has a group");
    assert_eq!(consumer.recv().await.expect("a record").offset, 0);
    cluster.state().fail(ApiKey::Heartbeat, [ResponseError::UnknownMemberId]);
    cluster.until(|state| state.errors.get(&12).is_some_and(std::collections::VecDeque::is_empty)).await;
    // What was dealt with can no longer be committed, so it is read again.
    assert_eq!(consumer.recv().await.expect("a record").offset, 0);
    assert_eq!(diary.read(), ["assigned t-0", "lost t-0", "assigned t-0"]);
    assert_eq!(cluster.state().joined_as, ["", "member-1", "", "member-2"]);
}

#[tokio::test]
async fn a_listener_can_commit_before_partitions_go() {
    let cluster = FakeCluster::start(2).await;
    write(&cluster, 0, 1);
    let diary = Diary::default();
    let mut consumer = consumer(&cluster, ConsumerOptions { auto_commit: false, ..options() }).await;
    consumer.subscribe_with([TOPIC], diary.clone()).await.expect("it has a group");
    consumer.recv().await.expect("a record");
    consumer.subscribe([TOPIC]).expect("it has a group");
    write(&cluster, 0, 200);
    let record = consumer.recv().await.expect("a record");
    assert_eq!(record.offset, 99, "the listener committed that");
    assert_eq!(diary.read(), ["assigned t-0 t-1", "revoked t-0 t-1", "assigned t-0 t-1"]);
}

#[tokio::test]
async fn a_cooperative_member_reads_on_through_a_rebalance() {
    let cluster = FakeCluster::start(1).await;
    write(&cluster, 0, 2);
    let diary = Diary::default();
    let cooperative = ConsumerOptions { assignors: vec![Assignor::CooperativeSticky], ..options() };
    let mut consumer = consumer(&cluster, cooperative).await;
    consumer.subscribe_with([TOPIC], diary.clone()).await.expect("it has a group");
    assert_eq!(consumer.recv().await.expect("a record").offset, 0);
    consumer.subscribe([TOPIC]).expect("it has a group");
    assert_eq!(consumer.recv().await.expect("a record").offset, 1);
    assert_eq!(cluster.state().generation, 2);
    assert_eq!(diary.read(), ["assigned t-0", "assigned "], "it kept what it had");
}

#[tokio::test]
async fn a_call_that_is_cancelled_in_a_rebalance_does_not_join_twice() {
    let cluster = FakeCluster::start_with(1, |head, state| {
        // The coordinator waits for others, as long as nobody writes.
        (head.api_key == ApiKey::JoinGroup as i16 && state.logs.is_empty() && state.generation == 0)
            .then_some(Answer::Nothing)
    })
    .await;
    let mut consumer = subscribed(&cluster, options()).await;
    for _ in 0..5 {
        timeout(Duration::from_millis(5), consumer.recv()).await.expect_err("it waits");
    }
    cluster.until(|state| state.count(ApiKey::JoinGroup) == 1).await;
    timeout(Duration::from_millis(5), consumer.recv()).await.expect_err("it waits");
    assert_eq!(cluster.state().count(ApiKey::JoinGroup), 1);
}

#[tokio::test]
async fn a_member_that_does_not_call_for_records_leaves() {
    let cluster = FakeCluster::start(1).await;
    write(&cluster, 0, 3);
    let mut consumer = subscribed(&cluster, ConsumerOptions { max_poll_interval_ms: 10, ..options() }).await;
    consumer.recv().await.expect("a record");
    cluster.until(|state| state.left == ["member-1"]).await;
    let error = loop {
        // The member learns that it has left a moment after the coordinator does.
        match consumer.commit().await {
            Ok(()) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
        consumer.seek(&tp(0), Start::Offset(2)).expect("it is assigned");
    };
    assert_eq!(error.code(), Some(ResponseError::UnknownMemberId), "others may have its partitions");
    consumer.recv().await.expect("it joins again");
    assert!(cluster.state().joined_as.ends_with(&[String::new(), "member-2".into()]));
}

#[tokio::test]
async fn a_static_member_keeps_its_place() {
    let cluster = FakeCluster::start(1).await;
    write(&cluster, 0, 1);
    let options = ConsumerOptions { group_instance_id: Some("one".into()), ..options() };
    let mut consumer = subscribed(&cluster, options).await;
    consumer.recv().await.expect("a record");
    cluster.state().fail(ApiKey::Heartbeat, [ResponseError::FencedInstanceId]);
    let fenced = consumer.recv().await.expect_err("another one has its name");
    assert_eq!(fenced.code(), Some(ResponseError::FencedInstanceId));
    assert_eq!(consumer.recv().await.expect_err("for good"), fenced);
    let _ = consumer.close().await;
    assert_eq!(cluster.state().left, [""; 0], "a static member does not leave");
}

#[tokio::test]
async fn partitions_are_read_without_a_group() {
    let cluster = FakeCluster::start(2).await;
    write(&cluster, 0, 5);
    write(&cluster, 1, 5);
    let mut consumer = consumer(&cluster, ConsumerOptions::default()).await;
    consumer.assign([(tp(0), Start::Offset(3)), (tp(1), Start::Latest)]).expect("it has no group");
    assert_eq!(consumer.recv().await.expect("a record").offset, 3);
    assert_eq!(consumer.recv().await.expect("a record").offset, 4);
    consumer.seek(&tp(1), Start::Earliest).expect("it is assigned");
    let record = consumer.recv().await.expect("a record");
    assert_eq!((record.partition, record.offset), (1, 0));
    assert!(matches!(consumer.commit().await, Err(Error::Invalid(_))), "there is no group");
    assert!(matches!(consumer.seek(&tp(9), Start::Earliest), Err(Error::Invalid(_))));
    assert_eq!(cluster.state().count(ApiKey::JoinGroup), 0);
}

#[tokio::test]
async fn an_offset_that_is_gone_is_met_as_the_settings_say() {
    let cluster = FakeCluster::start(1).await;
    write(&cluster, 0, 2);
    cluster.state().fail(ApiKey::Fetch, [ResponseError::OffsetOutOfRange]);
    let mut earliest = consumer(&cluster, options()).await;
    earliest.assign([(tp(0), Start::Offset(77))]).expect("it is not subscribed");
    assert_eq!(earliest.recv().await.expect("a record").offset, 0);

    let cluster = FakeCluster::start(1).await;
    cluster.state().fail(ApiKey::Fetch, [ResponseError::OffsetOutOfRange]);
    let fail = ConsumerOptions { auto_offset_reset: AutoOffsetReset::Fail, ..options() };
    let mut fail = consumer(&cluster, fail).await;
    fail.assign([(tp(0), Start::Offset(77))]).expect("it is not subscribed");
    assert_eq!(fail.recv().await.expect_err("it is told").code(), Some(ResponseError::OffsetOutOfRange));
}

#[tokio::test]
async fn a_leader_that_moves_is_followed() {
    let cluster = FakeCluster::start(1).await;
    write(&cluster, 0, 1);
    cluster.state().fail(ApiKey::Fetch, [ResponseError::NotLeaderOrFollower, ResponseError::UnknownTopicId]);
    let mut consumer = consumer(&cluster, ConsumerOptions::default()).await;
    consumer.assign([(tp(0), Start::Earliest)]).expect("it has no group");
    let before = cluster.state().count(ApiKey::Metadata);
    assert_eq!(consumer.recv().await.expect("a record").offset, 0);
    assert!(cluster.state().count(ApiKey::Metadata) > before);
}

#[tokio::test]
async fn markers_are_nobodys_records() {
    let cluster = FakeCluster::start(1).await;
    let marker = BatchOptions { control: true, transactional: true, ..BatchOptions::default() };
    append(&cluster, 0, batch::encode_batch(&[Record::default()], &marker).expect("it encodes"));
    write(&cluster, 0, 1);
    let mut consumer = subscribed(&cluster, options()).await;
    assert_eq!(consumer.recv().await.expect("a record").offset, 1);
}

#[tokio::test]
async fn a_damaged_batch_is_told_and_fetched_again() {
    let cluster = FakeCluster::start(1).await;
    write(&cluster, 0, 2);
    let good = cluster.state().logs[&0][0].clone();
    let mut bad = good.to_vec();
    *bad.last_mut().expect("bytes") ^= 1;
    cluster.state().logs.insert(0, vec![bad.into()]);
    let mut consumer = consumer(&cluster, ConsumerOptions::default()).await;
    consumer.assign([(tp(0), Start::Earliest)]).expect("it has no group");
    assert!(matches!(consumer.recv().await, Err(Error::Batch(_))));
    cluster.state().logs.insert(0, vec![good]);
    let record = loop {
        // What was fetched before it healed may be told once more.
        match consumer.recv().await {
            Ok(record) => break record,
            Err(error) => assert!(matches!(error, Error::Batch(_)), "{error}"),
        }
    };
    assert_eq!(record.offset, 0, "nothing is left out");
}

#[tokio::test]
async fn settings_that_contradict_each_other_are_refused() {
    let cluster = FakeCluster::start(1).await;
    let wrong = [
        ConsumerOptions { assignors: vec![], ..options() },
        ConsumerOptions { assignors: vec![Assignor::Range, Assignor::CooperativeSticky], ..options() },
        ConsumerOptions { heartbeat_interval_ms: 45_000, ..options() },
        ConsumerOptions { group: None, group_instance_id: Some("one".into()), ..options() },
    ];
    for options in wrong {
        let refused = Consumer::connect(cluster.broker.options(), options).await;
        assert!(matches!(refused, Err(Error::Invalid(_))));
    }
    let mut without_group = consumer(&cluster, ConsumerOptions::default()).await;
    assert!(matches!(without_group.subscribe([TOPIC]), Err(Error::Invalid(_))));
    let mut with_group = subscribed(&cluster, options()).await;
    assert!(matches!(with_group.assign([(tp(0), Start::Earliest)]), Err(Error::Invalid(_))));
}
