//! Which keys may be read, written, removed and guarded from outside, and what may be under them.
//!
//! What always holds: whoever uses the store through the port can do to logs, partitions, groups, other topics and the
//! cluster only what the requests of Kafka's protocol let it do. What is refused is named by its kind.

use std::collections::BTreeSet;

use tidegate_format::{
    DroppedTopicKey, EventTypeKey, EventTypeValue, EventValue, FormatError, GroupValue, KEY_MAX_BYTES, Kind,
    OrderVersion, PartitionId, ScheduleKey, TimerKey, TopicId, TopicKey, TopicValue, check_event_type,
    check_topic_name,
};
use tidegate_outbox::batch_bytes_alone;
use tidegate_protocol::extension::Failure;
use tidegate_protocol::extension::commit::{Commit, VersionedPut};
use tidegate_store::{AnyTxn, KeyRange, Txn, Version};

use super::read_failure;
use super::rows::{self, Row};
use crate::Broker;

/// Bytes of the prefix that tells the kinds of a partition's keys apart.
const PARTITION_PREFIX_LEN: usize = 22;

/// What may be done to the keys of a kind.
#[derive(Clone, Copy, Default)]
struct Rights {
    read: bool,
    put: bool,
    delete: bool,
    guard: bool,
    put_versioned: bool,
}

impl Rights {
    const NONE: Self = Self { read: false, put: false, delete: false, guard: false, put_versioned: false };
    const READ: Self = Self { read: true, ..Self::NONE };
    const PUT: Self = Self { put: true, ..Self::READ };
    const WRITE: Self = Self { delete: true, ..Self::PUT };
    const OWN: Self = Self { guard: true, ..Self::WRITE };

    /// A kind that is not named here is none of applications'.
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::GroupMember => Self::READ,
            Kind::Topic | Kind::EventType | Kind::Offset | Kind::Group => Self::PUT,
            Kind::Done | Kind::Parked | Kind::Timer | Kind::Schedule => Self::WRITE,
            Kind::Outbox => Self { put_versioned: true, ..Self::READ },
            Kind::EventId
            | Kind::Published
            | Kind::Model
            | Kind::Index
            | Kind::Manifest
            | Kind::Unique
            | Kind::Reference
            | Kind::Backfill
            | Kind::Built => Self::OWN,
            Kind::User => Self { put_versioned: true, ..Self::OWN },
            _ => Self::NONE,
        }
    }
}

/// Checks a key that is read.
pub(super) fn check_read(key: &[u8]) -> Result<(), Failure> {
    let kind = kind_of(key)?;
    if Rights::of(kind).read { Ok(()) } else { Err(refused(kind, "it is not read from outside")) }
}

/// Checks a range that is read, which is not empty: all of it must be of one kind.
pub(super) fn check_scan(range: &KeyRange) -> Result<(), Failure> {
    let kind = kind_of_range(range)?;
    if Rights::of(kind).read { Ok(()) } else { Err(refused(kind, "it is not read from outside")) }
}

/// Checks a range that is removed outside of any transaction.
pub(super) fn check_delete_range(range: &KeyRange) -> Result<(), Failure> {
    if range.is_empty() {
        return Ok(());
    }
    let kind = kind_of_range(range)?;
    // What a relay reads is removed one by one, in transactions that it can conflict with.
    let rights = Rights::of(kind);
    if rights.delete && rights.guard {
        return Ok(());
    }
    Err(refused(kind, "ranges of it are not removed from outside"))
}

fn kind_of_range(range: &KeyRange) -> Result<Kind, Failure> {
    let kind = kind_of(&range.start)?;
    let prefix_len = if kind.second_tag().is_some() { PARTITION_PREFIX_LEN } else { 1 };
    let all = KeyRange::prefix(&range.start[..prefix_len]);
    if range.end <= all.end { Ok(kind) } else { Err(refused(kind, "a range goes on into other kinds")) }
}

fn kind_of(key: &[u8]) -> Result<Kind, Failure> {
    Kind::of_key(key).ok_or_else(|| {
        let tag = key.first().map_or_else(|| "none".to_owned(), |tag| format!("tag {tag:#04x}"));
        Failure::Refused { kind: tag, reason: "there is no such kind of key".to_owned() }
    })
}

fn refused(kind: Kind, reason: impl Into<String>) -> Failure {
    Failure::Refused { kind: kind.name().to_owned(), reason: reason.into() }
}

fn malformed(kind: Kind, error: &FormatError) -> Failure {
    refused(kind, error.to_string())
}

/// The check of one commit.
pub(super) struct Admission<'b> {
    broker: &'b Broker,
    start_version: Version,
    began_ms: i64,
    touched: BTreeSet<PartitionId>,
}

impl<'b> Admission<'b> {
    /// Of a transaction with this snapshot, which was begun at that time by the store's clock.
    pub(super) fn new(broker: &'b Broker, start_version: Version, began_ms: i64) -> Self {
        Self { broker, start_version, began_ms, touched: BTreeSet::new() }
    }

    /// The partitions whose relay has something to look at after the commit.
    pub(super) fn into_touched(self) -> BTreeSet<PartitionId> {
        self.touched
    }

    /// Checks everything that a commit writes. `txn` is its snapshot, with nothing written yet.
    pub(super) async fn check(&mut self, commit: &Commit, txn: &mut AnyTxn) -> Result<(), Failure> {
        for (key, value) in &commit.puts {
            let kind = kind_of(key)?;
            if !Rights::of(kind).put {
                return Err(refused(kind, "it is not put from outside"));
            }
            check_sizes(kind, key.len(), value.len())?;
            match kind {
                Kind::Topic => self.check_topic(key, value.clone(), txn).await?,
                Kind::EventType => check_event_type_row(key, value.clone())?,
                _ => self.check_row(kind, key, value, txn).await?,
            }
        }
        for key in &commit.deletes {
            let kind = kind_of(key)?;
            if !Rights::of(kind).delete {
                return Err(refused(kind, "it is not removed from outside"));
            }
            check_sizes(kind, key.len(), 1)?;
            if kind == Kind::Timer {
                self.touched.insert(TimerKey::decode(key).map_err(|error| malformed(kind, &error))?.id);
            }
            if kind == Kind::Schedule {
                ScheduleKey::decode(key).map_err(|error| malformed(kind, &error))?;
            }
        }
        for key in &commit.guards {
            let kind = kind_of(key)?;
            if !Rights::of(kind).guard {
                return Err(refused(kind, "it is not guarded from outside"));
            }
            check_sizes(kind, key.len(), 1)?;
        }
        commit.versioned.iter().try_for_each(|put| self.check_versioned(put))
    }

    async fn check_row(
        &mut self,
        kind: Kind,
        key: &[u8],
        value: &bytes::Bytes,
        txn: &mut AnyTxn,
    ) -> Result<(), Failure> {
        let row = rows::decode(kind, key, value).map_err(|wrong| refused(kind, wrong))?;
        match row {
            Row::Plain => Ok(()),
            Row::Group(value) => check_group(key, &value, txn).await,
            Row::Timer(key, value) => {
                if key.due_ms < self.began_ms {
                    // A relay reads no further back than the oldest open transaction.
                    return Err(refused(kind, "it is due before its transaction began"));
                }
                self.check_entry(kind, key.id, &value)
            }
            Row::Offset(key, value) => {
                if value.offset.0 < 0 || value.metadata.len() > self.broker.settings.offset_metadata_max_bytes
                {
                    return Err(refused(kind, "the offset is negative, or its metadata too long"));
                }
                if !self.is_partition(key.id) {
                    // An application may have created its topic a moment ago.
                    let refreshed = self.broker.catalogue.refresh().await;
                    refreshed.map_err(|error| Failure::Unavailable { reason: error.to_string() })?;
                }
                if self.is_partition(key.id) {
                    Ok(())
                } else {
                    Err(refused(kind, "there is no such partition"))
                }
            }
        }
    }

    fn is_partition(&self, id: PartitionId) -> bool {
        let topics = self.broker.catalogue.topics();
        topics.by_id(id.topic).is_some_and(|topic| topic.partition(id.partition.0).is_some())
    }

    fn check_versioned(&mut self, put: &VersionedPut) -> Result<(), Failure> {
        let VersionedPut { prefix, suffix, value } = put;
        let kind = kind_of(prefix)?;
        if !Rights::of(kind).put_versioned {
            return Err(refused(kind, "it is not put under the version of its commit"));
        }
        check_sizes(kind, prefix.len() + size_of::<u64>() + suffix.len(), value.len())?;
        if kind == Kind::User {
            return Ok(());
        }
        let decoded = rows::decode_outbox(prefix, suffix, value);
        let (key, value) = decoded.map_err(|wrong| refused(kind, wrong))?;
        self.check_entry(kind, key.id, &value)
    }

    /// Checks an event that is to enter a partition's log: one that is too large would hold the relay up.
    fn check_entry(&mut self, kind: Kind, id: PartitionId, value: &EventValue) -> Result<(), Failure> {
        let topics = self.broker.catalogue.topics();
        // The entries of a topic that is not known yet, or no more, wait for it, or are swept.
        let topic = topics.by_id(id.topic);
        if id.partition.0 < 0 || id.partition.0 >= self.broker.settings.topic_partitions_max {
            return Err(refused(kind, "there is no such partition"));
        }
        let limit =
            topic.map_or(self.broker.settings.message_max_bytes, |topic| topic.config.max_message_bytes);
        let actual = batch_bytes_alone(value);
        if actual > limit {
            let reason =
                format!("a batch of {actual} bytes is over the limit of {limit} (max.message.bytes)");
            return Err(refused(kind, reason));
        }
        self.touched.insert(id);
        Ok(())
    }

    /// Checks a topic that comes into being with its first event: a new one, with an id of its own.
    async fn check_topic(&self, key: &[u8], value: bytes::Bytes, txn: &mut AnyTxn) -> Result<(), Failure> {
        let refused = |reason: &str| Err(refused(Kind::Topic, reason));
        let name = TopicKey::decode(key).map_err(|error| malformed(Kind::Topic, &error))?.name;
        let topic = TopicValue::decode(value).map_err(|error| malformed(Kind::Topic, &error))?;
        if name.starts_with("__") || check_topic_name(&name).is_err() {
            return refused("the name is internal or not allowed");
        }
        if let Err(error) = self.broker.catalogue.check_new(&name, &topic) {
            return refused(&error.to_string());
        }
        if topic.created_version != OrderVersion(self.start_version.0) {
            return refused("the version is not that of its transaction");
        }
        if txn.get(key).await.map_err(read_failure)?.is_some() {
            return refused("it exists: the requests of Kafka's protocol change it");
        }
        let TopicId(id) = topic.id;
        let dropped = txn.get(&DroppedTopicKey { id: topic.id }.encode()).await.map_err(read_failure)?;
        // Another may have come into being a moment ago.
        let refreshed = self.broker.catalogue.refresh().await;
        refreshed.map_err(|error| Failure::Unavailable { reason: error.to_string() })?;
        let is_taken = self.broker.catalogue.topics().by_id(topic.id).is_some();
        if id.is_nil() || dropped.is_some() || is_taken {
            return refused("the id is, or was, another topic's");
        }
        Ok(())
    }
}

/// Checks a group that comes into being without members: its coordinator alone writes what it becomes.
async fn check_group(key: &[u8], value: &GroupValue, txn: &mut AnyTxn) -> Result<(), Failure> {
    // The time is whatever it says: until somebody joins, which sets it, nothing goes by it.
    if *value != GroupValue::founded(value.state_since_ms) {
        return Err(refused(
            Kind::Group,
            "it is not new and empty: no owner, epoch 0, generation 0, no names",
        ));
    }
    if txn.get(key).await.map_err(read_failure)?.is_some() {
        return Err(refused(Kind::Group, "it exists: the requests of Kafka's protocol change it"));
    }
    Ok(())
}

fn check_event_type_row(key: &[u8], value: bytes::Bytes) -> Result<(), Failure> {
    let malformed = |error: &FormatError| malformed(Kind::EventType, error);
    let name = EventTypeKey::decode(key).map_err(|error| malformed(&error))?.name;
    let topic = EventTypeValue::decode(value).map_err(|error| malformed(&error))?.topic;
    match check_event_type(&name).and_then(|()| check_topic_name(&topic)) {
        Ok(()) => Ok(()),
        Err(error) => Err(refused(Kind::EventType, error.to_string())),
    }
}

fn check_sizes(kind: Kind, key_bytes: usize, value_bytes: usize) -> Result<(), Failure> {
    if key_bytes > KEY_MAX_BYTES {
        return Err(refused(
            kind,
            format!("a key of {key_bytes} bytes is over the limit of {KEY_MAX_BYTES}"),
        ));
    }
    if value_bytes == 0 { Err(refused(kind, "a value is empty")) } else { Ok(()) }
}
