//! When what workers have noted in a group goes.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidegate_format::{DoneKey, MARKER, Offset, ParkedKey, ParkedValue};
use tidegate_group::{Command, GroupError, Reply};
use tidegate_store::{Direction, KeyRange, Store, Txn};

use super::super::marks::CLEAR_MAX;
use super::fixture::{DAY, GROUP, Process, at, by, leave, memory, partition};

/// Marks and parked records of two partitions of a group.
async fn note(process: &Process, group: &str, count: i64) {
    let mut txn = process.store.inner().begin().await.expect("in memory");
    for (index, offset) in (0..2).flat_map(|index| (0..count).map(move |offset| (index, Offset(offset)))) {
        let (group, id, key) = (group.to_owned(), partition(index), Bytes::from_static(b"KL1"));
        txn.put(DoneKey { group: group.clone(), id, offset }.encode(), MARKER);
        txn.put(ParkedKey { group, id, key, offset }.encode(), ParkedValue::default().encode());
    }
    txn.commit().await.expect("nobody else writes");
}

/// How many rows a group has, by partition.
async fn noted(process: &Process, group: &str) -> [usize; 2] {
    let mut txn = process.store.inner().begin().await.expect("in memory");
    let mut counts = [0; 2];
    for index in 0..2 {
        let id = partition(index);
        for (start, end) in [DoneKey::range(group, id), ParkedKey::range(group, id)] {
            let range = KeyRange::new(start, end);
            let keys = txn.scan_keys(&range, usize::MAX, Direction::Forward).await.expect("in memory");
            counts[usize::try_from(index).expect("small")] += keys.len();
        }
    }
    counts
}

#[tokio::test(start_paused = true)]
async fn an_offset_that_is_set_by_hand_clears_what_workers_noted_and_a_members_commit_does_not() {
    let process = Process::start(&memory()).await;
    process.stable_group().await;
    note(&process, GROUP, 3).await;
    assert_eq!(process.commit(by("a"), at(0, 42)).await.answer().await, Ok(Ok(())));
    assert_eq!(noted(&process, GROUP).await, [6, 6]);
    assert_eq!(process.commit(by(""), at(0, 0)).await.answer().await, Ok(Err(GroupError::UnknownMemberId)));
    assert_eq!(noted(&process, GROUP).await, [6, 6], "a group with members is not reset");
    process.ask(leave("a")).await.expect("answered");
    note(&process, "another", 1).await;
    assert_eq!(process.commit(by(""), at(0, 0)).await.answer().await, Ok(Ok(())));
    assert_eq!(noted(&process, GROUP).await, [0, 6]);
    let offsets = vec![("flights".to_owned(), partition(1))];
    assert_eq!(process.hosts.delete_offsets(GROUP, offsets).await, Ok(Ok(vec![Ok(())])));
    assert_eq!(noted(&process, GROUP).await, [0, 0]);
    assert_eq!(noted(&process, "another").await, [2, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_group_that_is_deleted_or_whose_topic_is_dropped_leaves_no_marks_however_many_they_are() {
    let process = Process::start(&memory()).await;
    assert_eq!(process.commit(by(""), at(0, 1)).await.answer().await, Ok(Ok(())));
    let many = i64::try_from(CLEAR_MAX).expect("small") / 2 + 1_000;
    note(&process, GROUP, many).await;
    assert_eq!(process.ask(Command::Delete).await, Ok(Reply::Delete(Ok(()))));
    assert_eq!(noted(&process, GROUP).await, [0, 0]);
    note(&process, GROUP, 2).await;
    process.hosts.forget_topic(partition(0).topic).await;
    assert_eq!(noted(&process, GROUP).await, [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn an_offset_that_expires_takes_along_what_workers_noted() {
    let process = Process::start(&memory()).await;
    process.hosts.start(DAY).await.expect("the store is there");
    assert_eq!(process.commit(by(""), at(0, 1)).await.answer().await, Ok(Ok(())));
    note(&process, GROUP, 2).await;
    tokio::time::sleep(DAY * 8).await;
    assert_eq!(process.offsets().await, BTreeMap::new());
    assert_eq!(noted(&process, GROUP).await, [0, 4]);
}
