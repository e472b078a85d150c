//! What waits is carried out in turns, in order, whatever a turn's commit takes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_format::GroupState;
use tidegate_group::Reply;
use tidegate_store::faulty::{CommitFault, On, Point};
use tidegate_store::{CommitError, MemoryStore, SystemClock, TransactionLimits};
use tokio::time::advance;

use super::super::{GroupHostError, OFFSETS_MAX_BYTES};
use super::fixture::{GROUP, Process, at, by, heartbeat, join, memory, offset_rows, partition};

#[tokio::test(start_paused = true)]
async fn commits_that_wait_are_one_transaction() {
    let process = Process::start(&memory()).await;
    process.stable_group().await;
    let mut gate = process.store.faults().hold(offset_rows(), Point::AfterCommit);
    let first = process.commit(by("a"), at(0, 1)).await;
    gate.reached().await;
    let mut others = Vec::new();
    for index in 1..=100 {
        others.push(process.commit(by("a"), at(index, 1)).await);
    }
    // A second commit from here on would fail.
    process.store.faults().fail_commit(On::nth(1), CommitFault::Refused(CommitError::Conflict));
    gate.release();
    assert_eq!(first.answer().await, Ok(Ok(())));
    for other in others {
        assert_eq!(other.answer().await, Ok(Ok(())));
    }
    assert_eq!(process.offsets().await.len(), 101);
}

/// Once they were one transaction however large they were: one that the store refused had the group loaded again, and all
/// who waited with it, as often as they came.
#[tokio::test(start_paused = true)]
async fn commits_that_are_too_much_for_one_transaction_are_several() {
    let limits = TransactionLimits { max_bytes: 2 * OFFSETS_MAX_BYTES, ..TransactionLimits::default() };
    let process = Process::start(&MemoryStore::with_limits(Arc::new(SystemClock), limits)).await;
    process.stable_group().await;
    let mut gate = process.store.faults().hold(offset_rows(), Point::AfterCommit);
    let first = process.commit(by("a"), at(0, 1)).await;
    gate.reached().await;
    let mut others = Vec::new();
    for index in 1..=8 {
        let mut large = at(index, 1);
        large.value.metadata = "m".repeat(OFFSETS_MAX_BYTES - 1_000);
        others.push(process.commit(by("a"), large).await);
        others.push(process.commit(by("a"), at(100 + index, 1)).await);
    }
    let beat = process.hosts.send(GROUP, heartbeat("a", 1)).await;
    gate.release();
    assert_eq!(first.answer().await, Ok(Ok(())));
    for other in others {
        assert_eq!(other.answer().await, Ok(Ok(())));
    }
    assert_eq!(beat.answer().await, Ok(Reply::Heartbeat(Ok(()))));
    assert_eq!(process.offsets().await.len(), 17);
}

#[tokio::test(start_paused = true)]
async fn a_slow_commit_costs_no_member_that_spoke_meanwhile() {
    let process = Process::start(&memory()).await;
    process.stable_group().await;
    let mut gate = process.store.faults().hold(offset_rows(), Point::BeforeCommit);
    let slow = process.commit(by("a"), at(0, 1)).await;
    gate.reached().await;
    advance(Duration::from_secs(8)).await;
    let beats = process.hosts.send(GROUP, heartbeat("a", 1)).await;
    advance(Duration::from_secs(8)).await;
    gate.release();
    assert_eq!(slow.answer().await, Ok(Ok(())));
    assert_eq!(beats.answer().await, Ok(Reply::Heartbeat(Ok(()))));
    assert_eq!(process.state().await, Some(GroupState::Stable));
}

#[tokio::test(start_paused = true)]
async fn a_silent_member_is_missed_even_if_the_group_is_busy() {
    let process = Process::start(&memory()).await;
    process.stable_group().await;
    // Its inbox is never empty: together these put more into it than a turn takes out.
    let busy: Vec<_> = (0..16)
        .map(|_| {
            let hosts = process.hosts.clone();
            tokio::spawn(async move {
                loop {
                    drop(hosts.send(GROUP, heartbeat("nobody", 1)).await);
                }
            })
        })
        .collect();
    for _ in 0..110 {
        advance(Duration::from_millis(100)).await;
    }
    assert_eq!(process.state().await, Some(GroupState::Empty));
    busy.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_after_a_commit_sees_it() {
    let process = Process::start(&memory()).await;
    process.stable_group().await;
    let mut gate = process.store.faults().hold(offset_rows(), Point::BeforeCommit);
    let committed = process.commit(by("a"), at(0, 42)).await;
    gate.reached().await;
    let settled = process.hosts.settle(GROUP).await.expect("the group is hosted");
    assert_eq!(process.offsets().await, BTreeMap::new());
    gate.release();
    assert_eq!(settled.answer().await, Ok(()));
    assert_eq!(process.offsets().await, BTreeMap::from([(partition(0), 42)]));
    assert_eq!(committed.answer().await, Ok(Ok(())));
}

#[tokio::test(start_paused = true)]
async fn a_stop_carries_out_what_was_asked_and_tells_who_waits() {
    let process = Process::start(&memory()).await;
    process.stable_group().await;
    let waits = process.hosts.send(GROUP, join("", "b")).await;
    let committed = process.commit(by("a"), at(0, 42)).await;
    process.shutdown.cancel();
    assert_eq!(committed.answer().await, Ok(Ok(())));
    assert_eq!(waits.answer().await, Err(GroupHostError::Stopping));
    process.hosts.shutdown().await;
    assert_eq!(process.offsets().await, BTreeMap::from([(partition(0), 42)]));
    let late = process.hosts.send(GROUP, heartbeat("a", 1)).await.answer().await;
    assert_eq!(late, Err(GroupHostError::Stopping));
}
