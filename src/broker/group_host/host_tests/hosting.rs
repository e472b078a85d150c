//! Hosts come with the first that is asked of a group, and are put away.

use std::time::Duration;

use tidegate_format::{GroupState, OwnerEpoch};
use tidegate_group::{GroupError, Reply};

use super::fixture::{GROUP, Process, at, by, heartbeat, memory};

#[tokio::test(start_paused = true)]
async fn a_group_with_nothing_to_expire_is_not_taken_over_by_looking() {
    let memory = memory();
    let process = Process::start(&memory).await;
    assert_eq!(process.commit(by(""), at(0, 1)).await.answer().await, Ok(Ok(())));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!process.hosts.is_hosted(GROUP), "an idle host is put away");
    process.hosts.expire_offsets().await;
    let described =
        process.hosts.describe(GROUP).await.expect("the store is there").expect("the group is there");
    assert_eq!(described.state, GroupState::Empty);
    assert!(process.hosts.settle(GROUP).await.is_none());
    assert!(!process.hosts.is_hosted(GROUP));
    assert_eq!(process.row_epoch().await, OwnerEpoch(0));
    // Whoever uses it finds it as it was.
    assert_eq!(process.commit(by(""), at(0, 2)).await.answer().await, Ok(Ok(())));
    assert_eq!(process.row_epoch().await, OwnerEpoch(1));
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_no_group_keeps_no_host() {
    let process = Process::start(&memory()).await;
    assert_eq!(process.ask(heartbeat("a", 1)).await, Ok(Reply::Heartbeat(Err(GroupError::UnknownMemberId))));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!process.hosts.is_hosted(GROUP));
    assert_eq!(process.state().await, None);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_lost_while_hosts_come_and_go() {
    let process = Process::start(&memory()).await;
    for round in 0..200_u64 {
        let asked: Vec<_> = (0..4_u64)
            .map(|task| {
                let hosts = process.hosts.clone();
                tokio::spawn(async move {
                    // Around the second after which a host without a group is put away.
                    tokio::time::sleep(Duration::from_millis(998 + (round + task) % 5)).await;
                    hosts.send(GROUP, heartbeat("a", 1)).await.answer().await
                })
            })
            .collect();
        for answer in asked {
            let answer = answer.await.expect("the task ends");
            assert_eq!(answer, Ok(Reply::Heartbeat(Err(GroupError::UnknownMemberId))));
        }
    }
}
