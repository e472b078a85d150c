//! A group goes on where another process, or an earlier coordinator, has left it.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use tidegate_format::GroupState;
use tidegate_group::{GroupError, Reply, Synced};
use tidegate_store::faulty::{On, Point};

use super::super::GroupHostError;
use super::fixture::{
    DAY, GROUP, Process, at, by, heartbeat, identity, join, join_static, leave, memory, partition, sync,
};

#[tokio::test(start_paused = true)]
async fn members_and_offsets_go_on_in_the_same_generation_after_a_kill() {
    let memory = memory();
    let before = Process::start(&memory).await;
    before.stable_group().await;
    assert_eq!(before.commit(by("a"), at(0, 42)).await.answer().await, Ok(Ok(())));
    before.kill().await;

    let after = Process::start(&memory).await;
    assert_eq!(after.ask(heartbeat("a", 1)).await, Ok(Reply::Heartbeat(Ok(()))));
    assert_eq!(after.commit(by("a"), at(1, 43)).await.answer().await, Ok(Ok(())));
    assert_eq!(after.offsets().await, BTreeMap::from([(partition(0), 42), (partition(1), 43)]));
    let assignment = Synced {
        protocol_type: Some("consumer".to_owned()),
        protocol: Some("range".to_owned()),
        assignment: Bytes::from_static(b"all"),
    };
    assert_eq!(after.ask(sync("a", 1)).await, Ok(Reply::Sync(Ok(assignment))));
}

#[tokio::test(start_paused = true)]
async fn members_that_do_not_come_back_after_a_kill_are_missed() {
    let memory = memory();
    let before = Process::start(&memory).await;
    before.stable_group().await;
    before.kill().await;

    let after = Process::start(&memory).await;
    after.hosts.start(DAY).await.expect("the store is there");
    tokio::time::sleep(Duration::from_millis(9_900)).await;
    assert_eq!(after.state().await, Some(GroupState::Stable));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(after.state().await, Some(GroupState::Empty));
}

#[tokio::test(start_paused = true)]
async fn an_earlier_coordinator_is_fenced() {
    let memory = memory();
    let first = Process::start(&memory).await;
    first.stable_group().await;
    let mut gate = first.store.faults().hold(On::next(), Point::BeforeCommit);
    // It has read the group's row, and is held before it writes.
    let late = first.commit(by("a"), at(0, 42)).await;
    gate.reached().await;
    let second = Process::start(&memory).await;
    assert_eq!(second.ask(leave("a")).await, Ok(Reply::Leave(vec![(identity("a"), Ok(()))])));
    gate.release();
    let _ = late.answer().await;
    // From its next transaction on the first one knows.
    let fenced = first.commit(by("a"), at(0, 43)).await.answer().await;
    assert_eq!(fenced, Err(GroupHostError::Reloading));
    // It loads the group again, and is then as good as any.
    assert_eq!(first.ask(heartbeat("a", 1)).await, Ok(Reply::Heartbeat(Err(GroupError::UnknownMemberId))));
}

#[tokio::test(start_paused = true)]
async fn a_member_that_an_earlier_coordinator_replaces_late_stays_with_the_next() {
    let memory = memory();
    let first = Process::start(&memory).await;
    let leader = first.hosts.send(GROUP, join("", "a")).await;
    let follower = first.hosts.send(GROUP, join_static("b")).await;
    assert!(matches!(leader.answer().await, Ok(Reply::Join(Ok(_)))));
    assert!(matches!(follower.answer().await, Ok(Reply::Join(Ok(_)))));
    assert!(matches!(first.ask(sync("a", 1)).await, Ok(Reply::Sync(Ok(_)))));
    let mut gate = first.store.faults().hold(On::next(), Point::BeforeCommit);
    // This writes the rows of the member and nothing of the group's.
    let late = first.hosts.send(GROUP, join_static("b2")).await;
    gate.reached().await;
    let second = Process::start(&memory).await;
    assert_eq!(second.ask(heartbeat("b", 1)).await, Ok(Reply::Heartbeat(Ok(()))));
    gate.release();
    // The second has read the members: the first cannot change one of them any more.
    assert_eq!(late.answer().await, Err(GroupHostError::Reloading));
    second.kill().await;
    let third = Process::start(&memory).await;
    assert_eq!(third.ask(heartbeat("b", 1)).await, Ok(Reply::Heartbeat(Ok(()))));
}
