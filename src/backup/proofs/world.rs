//! A store with everything that a broker and an application keep in it, and what can happen to that.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tidegate_format::{
    BrokerId, EventValue, GroupKey, GroupState, GroupValue, Kind, LogKey, LogValue, Offset, OffsetKey,
    OffsetValue, PartitionId, PartitionIndex, TopicId, TopicKey, TopicValue, UserKey, topic_range,
};
use tidegate_log::{AdmittedBatch, Appender, BatchRules, Ownership, take_ownership};
use tidegate_model::{Db, DbSettings, Model, ModelId, NewEvent, Write};
use tidegate_outbox::relay::{Relay, RelaySettings};
use tidegate_outbox::{NoWakeup, PublishSettings, TopicDefaults};
use tidegate_protocol::batch::{BatchOptions, Record, TimestampType, decode_records, encode_batch};
use tidegate_store::{Direction, KeyRange, ManualClock, ScanLimit, Store, Txn, commit_settled};

use crate::export::all_keys;

pub(super) const NOW_MS: i64 = 1_790_000_000_000;
pub(super) const PARTITIONS: i32 = 2;
pub(super) const ACCOUNTS: i64 = 4;
/// What each account begins with.
pub(super) const BALANCE: i64 = 100;

const RULES: BatchRules = BatchRules {
    timestamp_type: TimestampType::CreateTime,
    timestamp_before_max_ms: i64::MAX,
    timestamp_after_max_ms: i64::MAX,
    max_message_bytes: 1 << 20,
};

pub(super) type Entries = BTreeMap<Bytes, Bytes>;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Account {
    id: i64,
    balance: i64,
}

impl Model for Account {
    const TABLE: &'static str = "accounts";

    fn id(&self) -> ModelId {
        self.id.into()
    }
}

/// Its event is published with it, due at once or later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Transfer {
    id: i64,
    due_ms: Option<i64>,
}

impl Model for Transfer {
    const TABLE: &'static str = "transfers";

    fn id(&self) -> ModelId {
        self.id.into()
    }

    fn events(&self, _: Write) -> Vec<NewEvent> {
        let event = NewEvent::new("transfer.made");
        vec![self.due_ms.map_or(event.clone(), |due_ms| event.due_at(due_ms))]
    }
}

/// Something that happens.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Transfer { from: i64, to: i64, amount: i64, due_in_ms: Option<i64> },
    Remind { name: u8, due_in_ms: i64 },
    Cancel { name: u8 },
    Produce { partition: usize, records: usize },
    CommitOffset { group: u8, partition: usize },
    Rebalance { group: u8 },
    Relay { partition: usize },
    TakeOver { partition: usize },
    PutUser { key: u8, bytes: usize },
    DeleteUser { key: u8 },
    Advance { ms: i64 },
}

struct Owner {
    ownership: Ownership,
    relay: Relay,
}

/// The store, its owners and its application.
pub(super) struct World<S: Store> {
    pub(super) store: S,
    clock: ManualClock,
    db: Db<S>,
    topic: TopicId,
    owners: Vec<Owner>,
    transfers: i64,
    generation: i32,
}

impl<S: Store> World<S> {
    /// On an empty store: the accounts, a first transfer that makes the topic, and owners.
    pub(super) async fn create(store: S, clock: ManualClock) -> Self {
        let db = database(&store);
        let accounts = db.transaction(|tx| async move {
            for id in 0..ACCOUNTS {
                tx.insert(&Account { id, balance: BALANCE }).await?;
            }
            tx.insert(&Transfer { id: 0, due_ms: None }).await
        });
        accounts.await.expect("an empty store");
        Self::open(store, clock, 1).await
    }

    /// On a store that was left or restored by another one.
    pub(super) async fn open(store: S, clock: ManualClock, transfers: i64) -> Self {
        let mut txn = store.begin().await.expect("it begins");
        let topic =
            txn.get(&TopicKey { name: Transfer::TABLE.to_owned() }.encode()).await.expect("it is read");
        let topic = TopicValue::decode(topic.expect("the topic is there")).expect("a topic").id;
        drop(txn);
        let mut world =
            Self { db: database(&store), store, clock, topic, owners: Vec::new(), transfers, generation: 0 };
        for partition in 0..PARTITIONS {
            let owner = world.own(partition).await;
            world.owners.push(owner);
        }
        world
    }

    pub(super) async fn take(&mut self, step: &Step) {
        let now_ms = self.store.now_ms();
        match step {
            Step::Transfer { from, to, amount, due_in_ms } => {
                let due_ms = due_in_ms.map(|due_in_ms| now_ms + due_in_ms);
                self.transfer(*from, *to, *amount, due_ms).await;
            }
            Step::Remind { name, due_in_ms } => self.remind(*name, now_ms + due_in_ms).await,
            Step::Cancel { name } => {
                let name = format!("reminder {name}");
                let name = &name;
                let cancelled =
                    self.db.transaction(|tx| async move { tx.cancel_schedule(Transfer::TABLE, name).await });
                cancelled.await.expect("nobody else writes");
            }
            Step::Produce { partition, records } => self.produce(*partition, *records).await,
            Step::CommitOffset { group, partition } => self.commit_offset(*group, *partition).await,
            Step::Rebalance { group } => self.rebalance(*group).await,
            Step::Relay { partition } => {
                self.turn(*partition).await;
            }
            Step::TakeOver { partition } => {
                let number = i32::try_from(*partition).expect("a few");
                self.owners[*partition] = self.own(number).await;
            }
            Step::PutUser { key, bytes } => {
                let key = UserKey { key: vec![*key].into() }.encode();
                self.put(vec![(key, vec![7; *bytes].into())]).await;
            }
            Step::DeleteUser { key } => {
                let mut txn = self.store.begin().await.expect("it begins");
                txn.delete(UserKey { key: vec![*key].into() }.encode());
                txn.commit().await.expect("nobody else writes");
            }
            Step::Advance { ms } => self.clock.advance(*ms),
        }
    }

    async fn transfer(&mut self, from: i64, to: i64, amount: i64, due_ms: Option<i64>) {
        let id = self.transfers;
        self.transfers += 1;
        let moved = self.db.transaction(|tx| async move {
            for (account, amount) in [(from, -amount), (to, amount)] {
                let mut account = tx.find::<Account>(account).await?.expect("it is never deleted");
                account.balance += amount;
                tx.update(&account).await?;
            }
            tx.insert(&Transfer { id, due_ms }).await
        });
        moved.await.expect("nobody else writes");
    }

    async fn remind(&mut self, name: u8, due_ms: i64) {
        let event = NewEvent::new("reminder")
            .topic(Transfer::TABLE)
            .schedule(format!("reminder {name}"))
            .due_at(due_ms);
        let event = &event;
        let published = self.db.transaction(|tx| async move { tx.publish(event.clone()).await.map(drop) });
        published.await.expect("nobody else writes");
    }

    async fn produce(&mut self, partition: usize, records: usize) {
        let record = |offset_delta| Record {
            offset_delta,
            timestamp_ms: NOW_MS,
            value: Some(Bytes::from_static(b"produced")),
            ..Record::default()
        };
        let records: Vec<Record> = (0..).take(records).map(record).collect();
        let batch = encode_batch(&records, &BatchOptions::default()).expect("small records");
        let batch = AdmittedBatch::new(&batch, &RULES, NOW_MS).expect("what a producer may send");
        let mut txn = self.store.begin().await.expect("it begins");
        let ownership = &self.owners[partition].ownership;
        let mut appender = Appender::begin(&mut txn, ownership).await.expect("it is still owned");
        appender.append(&mut txn, &batch).await.expect("it follows");
        let _appends = appender.finish(&mut txn);
        commit_settled(&self.store, txn).await.expect("nobody else writes");
    }

    async fn commit_offset(&mut self, group: u8, partition: usize) {
        let id = self.owners[partition].ownership.id;
        let offset = Offset(i64::try_from(self.records(id).await.len()).expect("a count"));
        let key = OffsetKey { group: format!("group {group}"), id };
        let value = OffsetValue {
            offset,
            leader_epoch: -1,
            metadata: String::new(),
            commit_time_ms: self.store.now_ms(),
            expire_time_ms: None,
        };
        self.put(vec![(key.encode(), value.encode())]).await;
    }

    async fn rebalance(&mut self, group: u8) {
        self.generation += 1;
        let value = GroupValue {
            epoch: tidegate_format::OwnerEpoch(1),
            owner: BrokerId(1),
            generation: tidegate_format::Generation(self.generation),
            state: GroupState::Empty,
            protocol_type: None,
            protocol: None,
            leader: None,
            state_since_ms: self.store.now_ms(),
        };
        self.put(vec![(GroupKey { group: format!("group {group}") }.encode(), value.encode())]).await;
    }

    async fn put(&self, entries: Vec<(Bytes, Bytes)>) {
        let mut txn = self.store.begin().await.expect("it begins");
        entries.into_iter().for_each(|(key, value)| txn.put(key, value));
        txn.commit().await.expect("nobody else writes");
    }

    /// One turn of a partition's relay; whether there is more.
    async fn turn(&mut self, partition: usize) -> bool {
        let now_ms = self.store.now_ms();
        let Owner { ownership, relay } = &mut self.owners[partition];
        let turn = relay.turn(&self.store, ownership, now_ms, &RelaySettings::default()).await;
        turn.expect("nobody else writes").more
    }

    /// Lets a month go by and relays everything.
    pub(super) async fn drain(&mut self) {
        self.clock.advance(30 * 86_400_000);
        for partition in 0..self.owners.len() {
            while self.turn(partition).await {}
        }
    }

    async fn own(&self, partition: i32) -> Owner {
        let id = PartitionId { topic: self.topic, partition: PartitionIndex(partition) };
        let taken = take_ownership(&self.store, id, BrokerId(1)).await.expect("nobody else takes it");
        Owner { ownership: taken.0, relay: Relay::new(id) }
    }

    pub(super) fn partitions(&self) -> impl Iterator<Item = PartitionId> {
        self.owners.iter().map(|owner| owner.ownership.id)
    }

    /// The rows of a partition's log, in order.
    pub(super) async fn log(&self, id: PartitionId) -> Vec<(Bytes, Bytes)> {
        let (start, end) = LogKey::range(id);
        scan(&self.store, &KeyRange::new(start, end)).await
    }

    /// The records of a partition's log; their offsets have no gaps.
    async fn records(&self, id: PartitionId) -> Vec<Record> {
        let mut records = Vec::new();
        for (_, row) in self.log(id).await {
            let batch = LogValue::decode(row).expect("a log entry").batch;
            let base = i64::from_be_bytes(*batch.first_chunk().expect("a batch"));
            assert_eq!(base, i64::try_from(records.len()).expect("a count"), "offsets have no gaps");
            records.extend(decode_records(&batch, 1 << 20).expect("an intact batch"));
        }
        records
    }

    /// How often the event of each transfer is in a log, and how often it waits to be.
    pub(super) async fn events(&self) -> BTreeMap<Bytes, (usize, usize)> {
        let mut events: BTreeMap<Bytes, (usize, usize)> = BTreeMap::new();
        for id in self.partitions() {
            for key in self.records(id).await.into_iter().filter_map(|record| record.key) {
                events.entry(key).or_default().0 += 1;
            }
        }
        let (start, end) = topic_range(self.topic);
        for (key, value) in scan(&self.store, &KeyRange::new(start, end)).await {
            if matches!(Kind::of_key(&key), Some(Kind::Outbox | Kind::Timer))
                && let Some(key) = EventValue::decode(value).expect("an event").key
            {
                events.entry(key).or_default().1 += 1;
            }
        }
        events
    }

    /// How many transfers there are, and what all accounts hold together.
    pub(super) async fn books(&self) -> (usize, i64) {
        let snapshot = self.db.snapshot().await.expect("it is read");
        let transfers = snapshot.list::<Transfer>().count().await.expect("it is read");
        let accounts = snapshot.list::<Account>().limit(100).fetch().await.expect("it is read");
        let balance = accounts.rows.iter().map(|account| account.balance).sum();
        (usize::try_from(transfers).expect("a few"), balance)
    }
}

fn database<S: Store>(store: &S) -> Db<S> {
    let create_topics = Some(TopicDefaults { partitions: PARTITIONS, ..TopicDefaults::default() });
    let publish = PublishSettings { create_topics, ..PublishSettings::default() };
    Db::new(store.clone(), DbSettings { publish, ..DbSettings::default() }, Arc::new(NoWakeup))
}

async fn scan(store: &impl Store, range: &KeyRange) -> Vec<(Bytes, Bytes)> {
    let mut txn = store.begin().await.expect("it begins");
    txn.scan(range, ScanLimit::count(usize::MAX), Direction::Forward).await.expect("it is read")
}

/// Everything in a store.
pub(super) async fn entries_of(store: &impl Store) -> Entries {
    scan(store, &all_keys()).await.into_iter().collect()
}
