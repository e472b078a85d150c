//! Groups and offsets are deleted, expire, or go along with a topic.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_format::{GroupState, TopicId};
use tidegate_group::{Command, GroupError, Reply};
use tidegate_store::faulty::Point;
use tidegate_store::{ManualClock, MemoryStore};
use tokio::time::advance;

use super::fixture::{
    DAY, GROUP, Process, START_MS, at, by, committed_at, leave, memory, offset_rows, partition,
};

const DAY_MS: i64 = 86_400_000;

#[tokio::test(start_paused = true)]
async fn a_deleted_group_leaves_nothing() {
    let process = Process::start(&memory()).await;
    process.stable_group().await;
    assert_eq!(process.commit(by("a"), at(0, 42)).await.answer().await, Ok(Ok(())));
    assert_eq!(process.ask(Command::Delete).await, Ok(Reply::Delete(Err(GroupError::NonEmptyGroup))));
    process.ask(leave("a")).await.expect("answered");
    // Also not what is committed in the same transaction, before.
    let mut gate = process.store.faults().hold(offset_rows(), Point::AfterCommit);
    let first = process.commit(by(""), at(1, 1)).await;
    gate.reached().await;
    let second = process.commit(by(""), at(2, 1)).await;
    let deleted = process.hosts.send(GROUP, Command::Delete).await;
    gate.release();
    assert_eq!((first.answer().await, second.answer().await), (Ok(Ok(())), Ok(Ok(()))));
    assert_eq!(deleted.answer().await, Ok(Reply::Delete(Ok(()))));
    assert_eq!(process.offsets().await, BTreeMap::new());
    assert_eq!(process.state().await, None);
    assert_eq!(process.ask(Command::Delete).await, Ok(Reply::Delete(Err(GroupError::GroupIdNotFound))));
    // The name is free.
    process.stable_group().await;
}

#[tokio::test(start_paused = true)]
async fn a_group_that_is_founded_where_it_was_just_deleted_keeps_what_came_after() {
    let process = Process::start(&memory()).await;
    assert_eq!(process.commit(by(""), at(0, 1)).await.answer().await, Ok(Ok(())));
    let mut gate = process.store.faults().hold(offset_rows(), Point::AfterCommit);
    let busy = process.commit(by(""), at(1, 1)).await;
    gate.reached().await;
    let deleted = process.hosts.send(GROUP, Command::Delete).await;
    let founded = process.commit(by(""), at(2, 1)).await;
    gate.release();
    assert_eq!(busy.answer().await, Ok(Ok(())));
    assert_eq!(deleted.answer().await, Ok(Reply::Delete(Ok(()))));
    assert_eq!(founded.answer().await, Ok(Ok(())));
    assert_eq!(process.offsets().await, BTreeMap::from([(partition(2), 1)]));
    assert_eq!(process.commit(by(""), at(3, 1)).await.answer().await, Ok(Ok(())));
}

#[tokio::test(start_paused = true)]
async fn offsets_past_their_retention_go_and_then_their_group() {
    let process = Process::start(&memory()).await;
    process.hosts.start(DAY).await.expect("the store is there");
    let later_ms = START_MS + i64::try_from(DAY.as_millis()).expect("a day") * 3;
    assert_eq!(process.commit(by(""), at(0, 1)).await.answer().await, Ok(Ok(())));
    assert_eq!(process.commit(by(""), committed_at(1, 2, later_ms)).await.answer().await, Ok(Ok(())));
    // The retention is seven days.
    tokio::time::sleep(DAY * 6 + DAY / 2).await;
    assert_eq!(process.offsets().await.len(), 2);
    tokio::time::sleep(DAY).await;
    assert_eq!(process.offsets().await, BTreeMap::from([(partition(1), 2)]));
    assert_eq!(process.state().await, Some(GroupState::Empty));
    tokio::time::sleep(DAY * 4).await;
    assert_eq!(process.offsets().await, BTreeMap::new());
    assert_eq!(process.state().await, None);
}

/// A broker whose machine had a time far ahead when it started once took what was committed after the correction for as
/// old as that time made it.
#[tokio::test(start_paused = true)]
async fn offsets_live_their_retention_whatever_happens_to_the_machines_clock() {
    for days_ahead in [30, -30] {
        let clock = ManualClock::at(START_MS + days_ahead * DAY_MS);
        let process = Process::start(&MemoryStore::new(Arc::new(clock.clone()))).await;
        clock.set(START_MS);
        assert_eq!(process.commit(by(""), at(0, 1)).await.answer().await, Ok(Ok(())));
        for _ in 0..6 {
            advance(DAY).await;
            clock.advance(DAY_MS);
            process.hosts.expire_offsets().await;
            assert_eq!(process.offsets().await.len(), 1, "{days_ahead} days ahead");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_offset_that_is_committed_while_it_expires_stays() {
    let process = Process::start(&memory()).await;
    assert_eq!(process.commit(by(""), at(0, 1)).await.answer().await, Ok(Ok(())));
    advance(DAY * 8).await;
    let mut gate = process.store.faults().hold(offset_rows(), Point::AfterCommit);
    let busy = process.commit(by(""), at(1, 1)).await;
    gate.reached().await;
    let fresh_ms = START_MS + i64::try_from(DAY.as_millis()).expect("a day") * 8;
    let committed = process.commit(by(""), committed_at(0, 2, fresh_ms)).await;
    let hosts = process.hosts.clone();
    let expiry = tokio::spawn(async move { hosts.expire_offsets().await });
    tokio::task::yield_now().await;
    gate.release();
    assert_eq!(busy.answer().await, Ok(Ok(())));
    assert_eq!(committed.answer().await, Ok(Ok(())));
    expiry.await.expect("it ends");
    assert_eq!(process.offsets().await.get(&partition(0)), Some(&2));
}

#[tokio::test(start_paused = true)]
async fn offsets_of_topics_that_members_read_are_not_deleted() {
    let process = Process::start(&memory()).await;
    process.stable_group().await;
    assert_eq!(process.commit(by("a"), at(0, 42)).await.answer().await, Ok(Ok(())));
    let offsets = vec![("flights".to_owned(), partition(0))];
    // Its subscription cannot be read, so it may read every topic.
    let outcome = process.hosts.delete_offsets(GROUP, offsets.clone()).await;
    assert_eq!(outcome, Ok(Ok(vec![Err(GroupError::GroupSubscribedToTopic)])));
    process.ask(leave("a")).await.expect("answered");
    assert_eq!(process.hosts.delete_offsets(GROUP, offsets.clone()).await, Ok(Ok(vec![Ok(())])));
    assert_eq!(process.offsets().await, BTreeMap::new());
    let absent = process.hosts.delete_offsets("nobody", offsets).await;
    assert_eq!(absent, Ok(Err(GroupError::GroupIdNotFound)));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_topic_takes_its_offsets_along() {
    let process = Process::start(&memory()).await;
    assert!(process.catalogue.topics().iter().next().is_none());
    assert_eq!(process.commit(by(""), at(0, 1)).await.answer().await, Ok(Ok(())));
    let mut other = at(0, 2);
    other.id.topic = TopicId(uuid::Uuid::from_u128(8));
    assert_eq!(process.commit(by(""), other.clone()).await.answer().await, Ok(Ok(())));
    process.hosts.forget_topic(partition(0).topic).await;
    assert_eq!(process.offsets().await, BTreeMap::from([(other.id, 2)]));
}
