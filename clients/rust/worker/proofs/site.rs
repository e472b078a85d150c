//! Around the store: topics, the relays of their partitions, and everything stored as plain values.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use tidegate_format::{
    BrokerId, DoneKey, GroupKey, LogKey, LogValue, Offset, OffsetKey, OffsetValue, OutboxKey, ParkedKey,
    ParkedValue, PartitionId, PartitionIndex, TopicId, UserKey,
};
use tidegate_log::{Ownership, take_ownership};
use tidegate_outbox::relay::{Relay, RelaySettings};
use tidegate_outbox::{TopicDefaults, ensure_topic};
use tidegate_protocol::batch::{BatchHeader, decode_records};
use tidegate_store::{Direction, KeyRange, ReadError, ScanLimit, Store, Txn};
use uuid::Uuid;

use super::application::{
    CLERKS, ENTRIES, FILING, FILING_LETTERS, GROUP, LETTERS, ORDERS, ORDERS_PARTITIONS, clerk_key,
};
use super::filed::Front;
use crate::ConsumerRecord;
use crate::worker::failed::FailedRecord;

/// A record's place in the topic of orders: partition and offset.
pub(super) type Spot = (i32, i64);

const TOPICS: [(&str, i32); 4] =
    [(ORDERS, ORDERS_PARTITIONS), (ENTRIES, 1), (LETTERS, 1), (FILING_LETTERS, 1)];
/// The group whose committed offset says what was sent back.
pub(super) const REDRIVE_GROUP: &str = "billing.redrive";
/// More than a test has of anything.
const ALL: ScanLimit = ScanLimit { count: 100_000, value_bytes: 64 << 20 };

pub(super) fn partition_id(topic: &str, partition: i32) -> PartitionId {
    let topic = TopicId(Uuid::new_v5(&Uuid::NAMESPACE_DNS, topic.as_bytes()));
    PartitionId { topic, partition: PartitionIndex(partition) }
}

fn partitions() -> impl Iterator<Item = PartitionId> {
    TOPICS.into_iter().flat_map(|(name, count)| (0..count).map(move |index| partition_id(name, index)))
}

/// A partition's owner.
pub(super) struct Owner {
    pub(super) ownership: Ownership,
    relay: Relay,
}

/// Creates what is missing of the topics, and takes over all partitions; none if the store is gone.
pub(super) async fn take_over<S: Store>(store: &S) -> Option<Vec<Owner>> {
    let mut txn = store.begin().await.ok()?;
    for (name, partitions) in TOPICS {
        let defaults = TopicDefaults { partitions, ..TopicDefaults::default() };
        let id = partition_id(name, 0).topic;
        let topic = ensure_topic(&mut txn, name, &defaults, id).await.ok()?;
        assert_eq!(topic.id, id, "nobody else has created it");
    }
    tidegate_store::commit_settled(store, txn).await.ok()?;
    let mut owners = vec![];
    for id in partitions() {
        let (ownership, _) = take_ownership(store, id, BrokerId(1)).await.ok()?;
        owners.push(Owner { ownership, relay: Relay::new(id) });
    }
    Some(owners)
}

impl Owner {
    /// Moves what is due; false if the store fails.
    pub(super) async fn drain<S: Store>(&mut self, store: &S) -> bool {
        loop {
            let now_ms = store.now_ms();
            match self.relay.turn(store, &self.ownership, now_ms, &RelaySettings::default()).await {
                Ok(turn) if turn.more => {}
                Ok(_) => return true,
                Err(_) => return false,
            }
        }
    }
}

/// The rows in a range.
async fn rows(txn: &mut impl Txn, (start, end): (Bytes, Bytes)) -> Result<Vec<(Bytes, Bytes)>, ReadError> {
    txn.scan(&KeyRange::new(start, end), ALL, Direction::Forward).await
}

/// The records of a partition, from an offset on.
pub(super) async fn read_log(
    txn: &mut impl Txn,
    topic: &str,
    partition: i32,
    from: i64,
) -> Result<Vec<ConsumerRecord>, ReadError> {
    let name: Arc<str> = Arc::from(topic);
    let mut records = vec![];
    for (_, row) in rows(txn, LogKey::range_from(partition_id(topic, partition), Offset(from))).await? {
        let batch = LogValue::decode(row).expect("a log entry").batch;
        let base = BatchHeader::decode(&batch).expect("an intact batch").base_offset;
        for record in decode_records(&batch, 64 << 20).expect("an intact batch") {
            let offset = base + i64::from(record.offset_delta);
            if offset >= from {
                records.push(ConsumerRecord {
                    topic: name.clone(),
                    partition,
                    offset,
                    timestamp_ms: record.timestamp_ms,
                    key: record.key,
                    value: record.value,
                    headers: record.headers,
                });
            }
        }
    }
    Ok(records)
}

/// Everything of workers, logs and clerks that is stored, in one snapshot.
#[derive(Debug)]
pub(super) struct Stored {
    /// The records of orders, in order.
    pub(super) orders: BTreeMap<Spot, ConsumerRecord>,
    pub(super) entries: Vec<ConsumerRecord>,
    pub(super) letters: Vec<ConsumerRecord>,
    pub(super) filing_letters: Vec<ConsumerRecord>,
    /// Entries that no relay has moved yet.
    pub(super) outbox: usize,
    pub(super) committed: BTreeMap<i32, i64>,
    pub(super) marks: BTreeSet<Spot>,
    /// What is parked, and under which key.
    pub(super) parked: BTreeMap<Spot, (Bytes, ParkedValue)>,
    pub(super) redriven: i64,
    /// Where each partition is for the group that handles batches.
    pub(super) filed: BTreeMap<i32, Front>,
    /// Marks and parked records of that group, which has none; and whether it is listed.
    pub(super) filing_rows: usize,
    pub(super) is_filing_listed: bool,
    pub(super) clerks: BTreeMap<u8, u64>,
}

impl Stored {
    pub(super) async fn read<S: Store>(store: &S) -> Result<Self, ReadError> {
        let mut txn = store.begin().await?;
        let mut orders = BTreeMap::new();
        let (mut committed, mut marks, mut parked) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        for partition in 0..ORDERS_PARTITIONS {
            let id = partition_id(ORDERS, partition);
            let records = read_log(&mut txn, ORDERS, partition, 0).await?;
            orders.extend(records.into_iter().map(|record| ((partition, record.offset), record)));
            let offset = offset(&mut txn, GROUP, id).await?;
            committed.extend(offset.map(|offset| (partition, offset.offset.0)));
            for (key, _) in rows(&mut txn, DoneKey::range(GROUP, id)).await? {
                marks.insert((partition, DoneKey::decode(&key).expect("a mark").offset.0));
            }
            for (key, row) in rows(&mut txn, ParkedKey::range(GROUP, id)).await? {
                let key = ParkedKey::decode(&key).expect("a parked record");
                let row = ParkedValue::decode(row).expect("a parked record");
                parked.insert((partition, key.offset.0), (key.key, row));
            }
        }
        let (mut filed, mut filing_rows) = (BTreeMap::new(), 0);
        for partition in 0..ORDERS_PARTITIONS {
            let id = partition_id(ORDERS, partition);
            let row = offset(&mut txn, FILING, id).await?;
            filed.insert(partition, row.as_ref().map(front).unwrap_or_default());
            for range in [DoneKey::range(FILING, id), ParkedKey::range(FILING, id)] {
                filing_rows += rows(&mut txn, range).await?.len();
            }
        }
        let group = GroupKey { group: FILING.to_owned() }.encode();
        let is_filing_listed = txn.get(&group).await?.is_some();
        let mut outbox = 0;
        for id in partitions() {
            outbox += rows(&mut txn, OutboxKey::range(id)).await?.len();
        }
        let mut clerks = BTreeMap::new();
        for clerk in CLERKS {
            let key = UserKey { key: clerk_key(clerk).into() }.encode();
            if let Some(number) = txn.get(&key).await? {
                let number = std::str::from_utf8(&number).expect("text").parse().expect("a number");
                clerks.insert(clerk, number);
            }
        }
        let entries = read_log(&mut txn, ENTRIES, 0, 0).await?;
        let letters = read_log(&mut txn, LETTERS, 0, 0).await?;
        let filing_letters = read_log(&mut txn, FILING_LETTERS, 0, 0).await?;
        let redriven = offset(&mut txn, REDRIVE_GROUP, partition_id(LETTERS, 0)).await?;
        let redriven = redriven.map_or(0, |row| row.offset.0);
        Ok(Self {
            orders,
            entries,
            letters,
            filing_letters,
            outbox,
            committed,
            marks,
            parked,
            redriven,
            filed,
            filing_rows,
            is_filing_listed,
            clerks,
        })
    }
}

impl Stored {
    /// Whether both groups have dealt with all that is there.
    pub(super) fn is_dealt_with(&self) -> bool {
        let records = |partition: i32| self.orders.keys().filter(|spot| spot.0 == partition).count();
        let end = |partition: i32| i64::try_from(records(partition)).expect("a few");
        let is_read = self.committed.iter().all(|(partition, offset)| end(*partition) == *offset);
        let is_filed = self.filed.iter().all(|(partition, front)| end(*partition) == front.committed);
        let is_nothing_left = self.parked.is_empty() && self.marks.is_empty() && self.outbox == 0;
        is_read && is_filed && is_nothing_left
    }
}

/// The committed offset of a group, with what is noted there.
pub(super) async fn offset(
    txn: &mut impl Txn,
    group: &str,
    id: PartitionId,
) -> Result<Option<OffsetValue>, ReadError> {
    let row = txn.get(&OffsetKey { group: group.to_owned(), id }.encode()).await?;
    Ok(row.map(|row| OffsetValue::decode(row).expect("an offset")))
}

fn front(row: &OffsetValue) -> Front {
    let noted = (!row.metadata.is_empty())
        .then(|| FailedRecord::from_metadata(&row.metadata).expect("nobody else notes anything there"));
    Front { committed: row.offset.0, noted }
}
