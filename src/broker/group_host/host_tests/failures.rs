//! The store fails, or loses its answers.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_format::OwnerEpoch;
use tidegate_group::{GroupError, Reply};
use tidegate_store::CommitError;
use tidegate_store::faulty::{CommitFault, On};

use super::super::GroupHostError;
use super::fixture::{
    GROUP, Process, at, by, group_row, heartbeat, join, leave, memory, offset_rows, partition,
};

#[tokio::test(start_paused = true)]
async fn what_was_not_committed_is_not_answered_as_done() {
    let process = Process::start(&memory()).await;
    process.stable_group().await;
    let refused = CommitError::Unavailable { reason: "test".to_owned() };
    process.store.faults().fail_commit(offset_rows(), CommitFault::Refused(refused));
    let failed = process.commit(by("a"), at(0, 42)).await.answer().await;
    assert_eq!(failed, Err(GroupHostError::Reloading));
    assert_eq!(process.offsets().await, BTreeMap::new());
    assert_eq!(process.commit(by("a"), at(0, 42)).await.answer().await, Ok(Ok(())));
    assert_eq!(process.offsets().await, BTreeMap::from([(partition(0), 42)]));
    assert_eq!(process.row_epoch().await, OwnerEpoch(1), "the group was loaded again");
}

#[tokio::test(start_paused = true)]
async fn who_waits_when_a_commit_fails_is_told_to_come_again() {
    let process = Process::start(&memory()).await;
    process.stable_group().await;
    let waits = process.hosts.send(GROUP, join("", "b")).await;
    process.ask(heartbeat("a", 1)).await.expect("the join is in the group");
    let refused = CommitError::Unavailable { reason: "test".to_owned() };
    process.store.faults().fail_commit(On::next().touching(group_row()), CommitFault::Refused(refused));
    let left = process.hosts.send(GROUP, leave("a")).await;
    assert_eq!(left.answer().await, Err(GroupHostError::Reloading));
    assert_eq!(waits.answer().await, Err(GroupHostError::Reloading));
    // Nothing of the leave is remembered.
    assert_eq!(
        process.ask(heartbeat("a", 1)).await,
        Ok(Reply::Heartbeat(Err(GroupError::RebalanceInProgress)))
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_of_the_store_is_settled_before_anybody_is_answered() {
    let process = Process::start(&memory()).await;
    process.stable_group().await;
    process.store.faults().fail_commit(offset_rows(), CommitFault::LostApplied);
    assert_eq!(process.commit(by("a"), at(0, 42)).await.answer().await, Ok(Ok(())));
    process.store.faults().fail_commit(offset_rows(), CommitFault::LostNotApplied);
    let lost = process.commit(by("a"), at(0, 43)).await.answer().await;
    assert_eq!(lost, Err(GroupHostError::Reloading));
    assert_eq!(process.offsets().await, BTreeMap::from([(partition(0), 42)]));
}

#[tokio::test(start_paused = true)]
async fn offsets_of_a_dropped_topic_go_whatever_becomes_of_the_answer() {
    for fault in [CommitFault::LostApplied, CommitFault::LostNotApplied, CommitFault::LostLate] {
        let process = Process::start(&memory()).await;
        process.stable_group().await;
        assert_eq!(process.commit(by("a"), at(0, 42)).await.answer().await, Ok(Ok(())));
        process.store.faults().fail_commit(offset_rows(), fault.clone());
        process.hosts.forget_topic(partition(0).topic).await;
        let _late = process.store.deliver_late().await;
        assert_eq!(process.offsets().await, BTreeMap::new(), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_stays_away_is_not_asked_all_the_time() {
    let process = Process::start(&memory()).await;
    process.stable_group().await;
    process.store.faults().go_away();
    assert_eq!(process.ask(leave("a")).await, Err(GroupHostError::Reloading));
    tokio::time::sleep(Duration::from_secs(60)).await;
    process.store.faults().come_back();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(process.ask(heartbeat("a", 1)).await, Ok(Reply::Heartbeat(Ok(()))));
}
