//! A process with its groups, and what is asked of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidegate_format::{
    Generation, GroupKey, GroupState, GroupValue, Offset, OffsetKey, OffsetValue, OwnerEpoch, PartitionId,
    PartitionIndex, TopicId,
};
use tidegate_group::{
    Command, CommitOffsets, GroupError, Heartbeat, Join, Leave, MemberIdentity, Reply, Sync,
};
use tidegate_store::faulty::On;
use tidegate_store::{Clock, FaultyStore, KeyRange, MemoryStore, Store, Txn};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::{CommittedOffset, GroupHostError, GroupHosts, Pending, load_offsets};
use crate::settings::Settings;
use crate::topics::Catalogue;

pub(super) type TestStore = FaultyStore<MemoryStore>;

pub(super) const GROUP: &str = "flights";
pub(super) const START_MS: i64 = 1_700_000_000_000;
pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// One process on a store that outlives it.
pub(super) struct Process {
    pub(super) store: TestStore,
    pub(super) hosts: GroupHosts<TestStore>,
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) shutdown: CancellationToken,
}

impl Process {
    pub(super) async fn start(memory: &MemoryStore) -> Self {
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
    pub(super) async fn kill(self) {
        self.store.faults().go_away();
        self.shutdown.cancel();
        self.hosts.shutdown().await;
    }

    pub(super) async fn ask(&self, command: Command) -> Result<Reply, GroupHostError> {
        self.hosts.send(GROUP, command).await.answer().await
    }

    pub(super) async fn commit(
        &self,
        command: Command,
        offset: CommittedOffset,
    ) -> Pending<Result<(), GroupError>> {
        self.hosts.commit_offsets(GROUP, command, vec![offset]).await
    }

    /// A stable group of one member, of generation 1.
    pub(super) async fn stable_group(&self) {
        assert!(matches!(self.ask(join("", "a")).await, Ok(Reply::Join(Ok(_)))));
        assert!(matches!(self.ask(sync("a", 1)).await, Ok(Reply::Sync(Ok(_)))));
    }

    pub(super) async fn state(&self) -> Option<GroupState> {
        let groups = self.hosts.list().await.expect("the store is there");
        groups.into_iter().find(|listed| listed.group == GROUP).map(|listed| listed.state)
    }

    pub(super) async fn offsets(&self) -> BTreeMap<PartitionId, i64> {
        let mut txn = self.store.inner().begin().await.expect("in memory");
        let offsets = load_offsets(&mut txn, GROUP, None).await.expect("they can be read");
        offsets.into_iter().map(|(id, value)| (id, value.expect("there").offset.0)).collect()
    }

    pub(super) async fn row_epoch(&self) -> OwnerEpoch {
        let mut txn = self.store.inner().begin().await.expect("in memory");
        let row = txn.get(&GroupKey { group: GROUP.to_owned() }.encode()).await.expect("in memory");
        GroupValue::decode(row.expect("the group has a row")).expect("its own bytes").epoch
    }
}

/// The time that tests let pass.
struct TestClock(Instant);

impl Clock for TestClock {
    fn now_ms(&self) -> i64 {
        START_MS + i64::try_from(self.0.elapsed().as_millis()).expect("a test does not last so long")
    }
}

pub(super) fn memory() -> MemoryStore {
    MemoryStore::new(Arc::new(TestClock(Instant::now())))
}

pub(super) fn identity(member_id: &str) -> MemberIdentity {
    MemberIdentity { member_id: member_id.to_owned(), instance: None }
}

pub(super) fn join(member_id: &str, new_member_id: &str) -> Command {
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

pub(super) fn join_static(new_member_id: &str) -> Command {
    let Command::Join(join) = join("", new_member_id) else { unreachable!("it is a join") };
    Command::Join(Join { instance: Some("desk".to_owned()), ..join })
}

pub(super) fn sync(member_id: &str, generation: i32) -> Command {
    Command::Sync(Sync {
        member: identity(member_id),
        generation: Generation(generation),
        protocol_type: None,
        protocol: None,
        assignments: vec![(member_id.to_owned(), Bytes::from_static(b"all"))],
    })
}

pub(super) fn heartbeat(member_id: &str, generation: i32) -> Command {
    Command::Heartbeat(Heartbeat { member: identity(member_id), generation: Generation(generation) })
}

pub(super) fn leave(member_id: &str) -> Command {
    Command::Leave(Leave { members: vec![identity(member_id)] })
}

/// A commit by a member of generation 1, or by a client that only keeps its offsets here.
pub(super) fn by(member_id: &str) -> Command {
    let generation = Generation(if member_id.is_empty() { -1 } else { 1 });
    Command::CommitOffsets(CommitOffsets { member: identity(member_id), generation, transactional: false })
}

pub(super) fn partition(index: i32) -> PartitionId {
    PartitionId { topic: TopicId(uuid::Uuid::from_u128(7)), partition: PartitionIndex(index) }
}

pub(super) fn at(index: i32, offset: i64) -> CommittedOffset {
    committed_at(index, offset, START_MS)
}

pub(super) fn committed_at(index: i32, offset: i64, commit_time_ms: i64) -> CommittedOffset {
    let value = OffsetValue {
        offset: Offset(offset),
        leader_epoch: -1,
        metadata: String::new(),
        commit_time_ms,
        expire_time_ms: None,
    };
    CommittedOffset { id: partition(index), value }
}

pub(super) fn offset_rows() -> On {
    let (start, end) = OffsetKey::range(GROUP);
    On::next().touching(KeyRange::new(start, end))
}

pub(super) fn group_row() -> KeyRange {
    let key = GroupKey { group: GROUP.to_owned() }.encode();
    let end = KeyRange::successor(&key);
    KeyRange::new(key, end)
}
