//! What a group's host promises, in virtual time, on a store that fails when told to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidegate_format::{
    Generation, GroupKey, GroupState, GroupValue, Offset, OffsetKey, OffsetValue, OwnerEpoch, PartitionId,
    PartitionIndex, TopicId,
};
use tidegate_group::{
    Command, CommitOffsets, GroupError, Heartbeat, Join, Leave, MemberIdentity, Reply, Sync, Synced,
};
use tidegate_store::faulty::{CommitFault, On, Point};
use tidegate_store::{CommitError, FaultyStore, KeyRange, ManualClock, MemoryStore, Store, Txn};
use tokio::time::advance;
use tokio_util::sync::CancellationToken;

use super::{CommittedOffset, GroupHostError, GroupHosts, Pending, load_offsets};
use crate::settings::Settings;
use crate::topics::Catalogue;

type TestStore = FaultyStore<MemoryStore>;

const GROUP: &str = "flights";
const START_MS: i64 = 1_700_000_000_000;
const DAY: Duration = Duration::from_secs(86_400);

/// One process on a store that outlives it.
struct Process {
    store: TestStore,
    hosts: GroupHosts<TestStore>,
    catalogue: Arc<Catalogue>,
    shutdown: CancellationToken,
}

impl Process {
    async fn start(memory: &MemoryStore) -> Self {
        let mut nonce = rand::random::<u64>().into();
        let store = FaultyStore::new(memory.clone(), move || {
            nonce += 1;
            nonce
        });
        let settings = Arc::new(Settings { group_initial_rebalance_delay_ms: 0, ..Settings::default() });
        let catalogue = Catalogue::load(memory.clone().into(), settings.clone()).await.expect("no topics");
        let catalogue = Arc::new(catalogue);
        let shutdown = CancellationToken::new();
        let hosts = GroupHosts::new(store.clone(), catalogue.clone(), &settings, shutdown.clone());
        Self { store, hosts, catalogue, shutdown }
    }

    /// `kill -9`: nothing of what it still does reaches the store.
    async fn kill(self) {
        self.store.faults().go_away();
        self.shutdown.cancel();
        self.hosts.shutdown().await;
    }

    async fn ask(&self, command: Command) -> Result<Reply, GroupHostError> {
        self.hosts.send(GROUP, command).await.answer().await
    }

    async fn commit(&self, command: Command, offset: CommittedOffset) -> Pending<Result<(), GroupError>> {
        self.hosts.commit_offsets(GROUP, command, vec![offset]).await
    }

    /// A stable group of one member, of generation 1.
    async fn stable_group(&self) {
        assert!(matches!(self.ask(join("", "a")).await, Ok(Reply::Join(Ok(_)))));
        assert!(matches!(self.ask(sync("a", 1)).await, Ok(Reply::Sync(Ok(_)))));
    }

    async fn state(&self) -> Option<GroupState> {
        let groups = self.hosts.list().await.expect("the store is there");
        groups.into_iter().find(|listed| listed.group == GROUP).map(|listed| listed.state)
    }

    async fn offsets(&self) -> BTreeMap<PartitionId, i64> {
        let mut txn = self.store.inner().begin().await.expect("in memory");
        let offsets = load_offsets(&mut txn, GROUP, None).await.expect("they can be read");
        offsets.into_iter().map(|(id, value)| (id, value.expect("there").offset.0)).collect()
    }

    async fn row_epoch(&self) -> OwnerEpoch {
        let mut txn = self.store.inner().begin().await.expect("in memory");
        let row = txn.get(&GroupKey { group: GROUP.to_owned() }.encode()).await.expect("in memory");
        GroupValue::decode(row.expect("the group has a row")).expect("its own bytes").epoch
    }
}

fn memory() -> MemoryStore {
    MemoryStore::new(Arc::new(ManualClock::at(START_MS)))
}

fn identity(member_id: &str) -> MemberIdentity {
    MemberIdentity { member_id: member_id.to_owned(), instance: None }
}

fn join(member_id: &str, new_member_id: &str) -> Command {
    Command::Join(Join {
        member_id: member_id.to_owned(),
        new_member_id: new_member_id.to_owned(),
        instance: None,
        client_id: "c".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), Bytes::from_static(b"m"))],
        member_id_required: false,
        can_skip_assignment: false,
    })
}

fn join_static(new_member_id: &str) -> Command {
    let Command::Join(join) = join("", new_member_id) else { unreachable!("it is a join") };
    Command::Join(Join { instance: Some("desk".to_owned()), ..join })
}

fn sync(member_id: &str, generation: i32) -> Command {
    Command::Sync(Sync {
        member: identity(member_id),
        generation: Generation(generation),
        protocol_type: None,
        protocol: None,
        assignments: vec![(member_id.to_owned(), Bytes::from_static(b"all"))],
    })
}

fn heartbeat(member_id: &str, generation: i32) -> Command {
    Command::Heartbeat(Heartbeat { member: identity(member_id), generation: Generation(generation) })
}

fn leave(member_id: &str) -> Command {
    Command::Leave(Leave { members: vec![identity(member_id)] })
}

/// A commit by a member of generation 1, or by a client that only keeps its offsets here.
fn by(member_id: &str) -> Command {
    let generation = Generation(if member_id.is_empty() { -1 } else { 1 });
    Command::CommitOffsets(CommitOffsets { member: identity(member_id), generation, transactional: false })
}

fn partition(index: i32) -> PartitionId {
    PartitionId { topic: TopicId(uuid::Uuid::from_u128(7)), partition: PartitionIndex(index) }
}

fn at(index: i32, offset: i64) -> CommittedOffset {
    committed_at(index, offset, START_MS)
}

fn committed_at(index: i32, offset: i64, commit_time_ms: i64) -> CommittedOffset {
    let value = OffsetValue {
        offset: Offset(offset),
        leader_epoch: -1,
        metadata: String::new(),
        commit_time_ms,
        expire_time_ms: None,
    };
    CommittedOffset { id: partition(index), value }
}

fn offset_rows() -> On {
    let (start, end) = OffsetKey::range(GROUP);
    On::next().touching(KeyRange::new(start, end))
}

fn group_row() -> KeyRange {
    let key = GroupKey { group: GROUP.to_owned() }.encode();
    let end = KeyRange::successor(&key);
    KeyRange::new(key, end)
}

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

#[path = "marks_tests.rs"]
mod marks;
