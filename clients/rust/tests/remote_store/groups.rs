//! A group that nobody joins comes into being with its first offset, through the port as in process.

use std::sync::Arc;

use bytes::Bytes;
use tidegate::{Admin, ClientOptions, RemoteStore};
use tidegate_format::{
    BrokerId, Generation, GroupKey, GroupState, GroupValue, Kind, Offset, OffsetKey, OffsetValue,
    OrderVersion, OwnerEpoch, PartitionId, PartitionIndex, TopicId, TopicKey, TopicValue,
};
use tidegate_store::{Store, SystemClock, Txn};
use uuid::Uuid;

use crate::admission::{commit, refusal};
use crate::fixture::{Broker, connect, directory, in_time, settings};

const GROUP: &str = "crew";
const PARTITION: PartitionId =
    PartitionId { topic: TopicId(Uuid::from_u128(7)), partition: PartitionIndex(0) };

fn group_key(group: &str) -> Bytes {
    GroupKey { group: group.to_owned() }.encode()
}

fn offset(commit_time_ms: i64) -> Bytes {
    let metadata = String::new();
    OffsetValue { offset: Offset(1), leader_epoch: -1, metadata, commit_time_ms, expire_time_ms: None }
        .encode()
}

async fn create_topic(store: &RemoteStore) {
    let created = commit(store, |txn| {
        let created_version = OrderVersion(txn.start_version().0);
        let topic = TopicValue { id: PARTITION.topic, partitions: 1, created_version, configs: [].into() };
        txn.put(TopicKey { name: "flights".to_owned() }.encode(), topic.encode());
    });
    created.await.expect("a new topic");
}

/// The states of all groups, as any client of Kafka's protocol is told.
async fn listed(admin: &Admin) -> Vec<(String, String, String)> {
    let groups = admin.list_groups().await.expect("it answers");
    groups.into_iter().map(|group| (group.group, group.state, group.protocol_type)).collect()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    in_time(what, async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_new_and_empty_group_is_admitted_once_and_nothing_else_of_groups() {
    let dir = directory();
    let broker = Broker::open(dir.path(), Arc::new(SystemClock), settings()).await;
    let store = connect(broker.address()).await;
    let put = async |group: &str, value: GroupValue| {
        commit(&store, |txn| txn.put(group_key(group), value.encode())).await
    };
    let founded = || GroupValue::founded(store.now_ms());
    let text = || Some("consumer".to_owned());
    let not_new = [
        GroupValue { epoch: OwnerEpoch(1), ..founded() },
        GroupValue { owner: BrokerId(1), ..founded() },
        GroupValue { generation: Generation(1), ..founded() },
        GroupValue { state: GroupState::PreparingRebalance, ..founded() },
        GroupValue { state: GroupState::CompletingRebalance, ..founded() },
        GroupValue { state: GroupState::Stable, ..founded() },
        GroupValue { protocol_type: text(), ..founded() },
        GroupValue { protocol: text(), ..founded() },
        GroupValue { leader: text(), ..founded() },
    ];
    for value in not_new {
        let outcome = put(GROUP, value.clone()).await;
        assert!(refusal(outcome, Kind::Group).contains("not new and empty"), "{value:?}");
    }
    refusal(put("", founded()).await, Kind::Group);
    refusal(put(&"g".repeat(513), founded()).await, Kind::Group);
    put(GROUP, founded()).await.expect("a new group");
    assert!(refusal(put(GROUP, founded()).await, Kind::Group).contains("it exists"));
    refusal(commit(&store, |txn| txn.delete(group_key(GROUP))).await, Kind::Group);
    refusal(commit(&store, |txn| txn.guard(group_key(GROUP))).await, Kind::Group);
    broker.stop().await;
}

/// Of two that found a group at once, the second runs its transaction again, and finds it.
#[tokio::test]
async fn of_two_that_found_a_group_at_once_one_conflicts() {
    let dir = directory();
    let broker = Broker::open(dir.path(), Arc::new(SystemClock), settings()).await;
    let store = connect(broker.address()).await;
    let (mut first, mut second) =
        (store.begin().await.expect("it begins"), store.begin().await.expect("it begins"));
    for txn in [&mut first, &mut second] {
        txn.put(group_key(GROUP), GroupValue::founded(store.now_ms()).encode());
    }
    first.commit().await.expect("a new group");
    assert_eq!(second.commit().await, Err(tidegate_store::CommitError::Conflict));
    broker.stop().await;
}

#[tokio::test]
async fn a_group_that_came_through_the_port_is_listed_and_goes_with_its_last_offset() {
    let dir = directory();
    let mut settings = settings();
    settings.offsets_retention_check_interval_ms = 10;
    let broker = Broker::open(dir.path(), Arc::new(SystemClock), settings).await;
    let store = connect(broker.address()).await;
    let admin = Admin::connect(ClientOptions::new(&broker.address().to_string())).await.expect("it listens");
    create_topic(&store).await;
    let offset_key = OffsetKey { group: GROUP.to_owned(), id: PARTITION }.encode();
    let founded = commit(&store, |txn| {
        txn.put(group_key(GROUP), GroupValue::founded(store.now_ms()).encode());
        txn.put(offset_key.clone(), offset(store.now_ms()));
    });
    founded.await.expect("a new group with an offset");
    assert_eq!(listed(&admin).await, [(GROUP.to_owned(), "Empty".to_owned(), String::new())]);
    let described = admin.describe_group(GROUP).await.expect("it answers");
    assert_eq!((described.state.as_str(), described.members.len()), ("Empty", 0));
    // Nobody renews it: it is as old as the epoch.
    commit(&store, |txn| txn.put(offset_key.clone(), offset(0))).await.expect("an offset");
    until("the group to go", async || listed(&admin).await.is_empty()).await;
    assert_eq!(store.begin().await.expect("it begins").get(&offset_key).await, Ok(None));
    broker.stop().await;
}
