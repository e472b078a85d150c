//! Publishing: events written in the caller's transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use bytes::Bytes;
use tidegate_format::{EventValue, OutboxKey, PartitionId, PartitionIndex, TopicId, TopicValue};
use tidegate_protocol::murmur2::partition_for_key;
use tidegate_store::Txn;
use uuid::Uuid;

use crate::catalogue::{register_event_type, topic_of_event_type};
use crate::record_size::batch_bytes_alone;
use crate::{
    EntryIds, Event, EventLimits, PublishError, TopicDefaults, cloudevents, ensure_topic, load_topic,
    schedule,
};

/// What all publishers of a process share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishSettings {
    /// How large events may be.
    pub limits: EventLimits,
    /// What a topic gets that an event needs and that does not exist; none refuses such an event.
    pub create_topics: Option<TopicDefaults>,
}

/// Where an event waits now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The partition whose log it will enter.
    pub id: PartitionId,
    /// When it may, in milliseconds since the Unix epoch; at commit if none.
    pub due_ms: Option<i64>,
}

/// A topic as far as publishing needs to know it.
#[derive(Clone, Copy, Debug)]
struct Destination {
    topic: TopicId,
    partitions: i32,
    /// `cleanup.policy`: whether each record needs a key.
    is_compacted: bool,
    /// `max.message.bytes`, if the topic has its own.
    message_max_bytes: Option<usize>,
}

impl Destination {
    fn of(topic: &TopicValue) -> Self {
        let config = |name: &str| topic.configs.get(name);
        Self {
            topic: topic.id,
            partitions: topic.partitions,
            is_compacted: config("cleanup.policy").is_some_and(|policy| policy.contains("compact")),
            message_max_bytes: config("max.message.bytes").and_then(|bytes| bytes.parse().ok()),
        }
    }

    /// Refuses what the topic would not take from a producer either: a batch larger than its own limit, or than
    /// `default_max_bytes` if it has none.
    fn check(&self, topic: &str, value: &EventValue, default_max_bytes: usize) -> Result<(), PublishError> {
        if self.is_compacted && value.key.is_none() {
            return Err(PublishError::KeyRequired { topic: topic.to_owned() });
        }
        let (actual, limit) = (batch_bytes_alone(value), self.message_max_bytes.unwrap_or(default_max_bytes));
        if actual > limit {
            return Err(PublishError::TooLarge { what: "record batch", actual, limit });
        }
        Ok(())
    }
}

/// Publishes the events of one transaction: make one per transaction, and a new one when it runs again.
///
/// After the commit, hand [`touched`](Publisher::touched) to [`Wakeup::committed`](crate::Wakeup::committed).
///
/// The settings are borrowed, or shared (an `Arc`) where the transaction outlives the borrower.
#[derive(Debug)]
pub struct Publisher<P> {
    settings: P,
    now_ms: i64,
    random: Uuid,
    entry_ids: EntryIds,
    count: u32,
    topics: BTreeMap<String, Destination>,
    event_types: BTreeMap<String, String>,
    touched: BTreeSet<PartitionId>,
}

impl<P: Deref<Target = PublishSettings>> Publisher<P> {
    /// The publisher of `txn`. `now_ms` is [`Store::now_ms`](tidegate_store::Store::now_ms), read after the transaction
    /// began; `random` is a random id, fresh for each transaction.
    #[must_use]
    pub fn new(txn: &impl Txn, settings: P, now_ms: i64, random: Uuid) -> Self {
        let (_, _, _, tail) = random.as_fields();
        let nonce = u32::from_be_bytes([tail[4], tail[5], tail[6], tail[7]]);
        Self {
            settings,
            now_ms,
            random,
            entry_ids: EntryIds::new(txn, nonce),
            count: 0,
            topics: BTreeMap::new(),
            event_types: BTreeMap::new(),
            touched: BTreeSet::new(),
        }
    }

    /// Writes an event into `txn`: it enters the log of its topic if the transaction commits, at its due time.
    ///
    /// Events of one transaction that are due at commit keep the order of these calls. The partition is Kafka's for
    /// the key; events without a key share one partition per transaction and topic.
    ///
    /// # Errors
    /// [`PublishError`]; the event is not written then, and the transaction may go on unless rows failed to load.
    pub async fn publish(&mut self, txn: &mut impl Txn, event: &Event) -> Result<Published, PublishError> {
        let limits = self.settings.limits;
        limits.check(event, self.now_ms)?;
        let headers = cloudevents::encode_headers(event)?;
        limits.check_size(event, &headers)?;
        let (name, destination) = self.destination_of(txn, event).await?;
        let Destination { topic, partitions, .. } = destination;
        let id = PartitionId { topic, partition: self.partition_of(event.key.as_ref(), partitions) };
        let due_ms = event.due_ms.filter(|due_ms| *due_ms > self.now_ms);
        let value = EventValue {
            schedule: event.schedule.clone().filter(|_| due_ms.is_some()),
            timestamp_ms: due_ms,
            key: event.key.clone(),
            value: event.value.clone(),
            headers,
        };
        destination.check(&name, &value, limits.event_max_bytes)?;
        if let Some(name) = &event.schedule {
            self.touched.extend(schedule::cancel(txn, topic, name).await?);
        }
        match due_ms {
            Some(due_ms) => schedule::put_timer(txn, id, due_ms, self.entry_ids.next_id(), &value),
            None => self.put_due(txn, id, &value),
        }
        self.touched.insert(id);
        Ok(Published { id, due_ms })
    }

    /// Writes a record into `txn` as it is, without CloudEvents' attributes: it enters the log of `topic` if the transaction
    /// commits, in order with the events of the transaction. `create` is what the topic gets if it is not there; without it,
    /// what the settings say.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn publish_record(
        &mut self,
        txn: &mut impl Txn,
        topic: &str,
        create: Option<&TopicDefaults>,
        record: &EventValue,
    ) -> Result<Published, PublishError> {
        let destination = match create {
            Some(defaults) => self.topic_or_create(txn, topic, defaults).await?,
            None => self.ensure_topic_by_name(txn, topic).await?,
        };
        destination.check(topic, record, self.settings.limits.event_max_bytes)?;
        let Destination { topic, partitions, .. } = destination;
        let id = PartitionId { topic, partition: self.partition_of(record.key.as_ref(), partitions) };
        self.put_due(txn, id, record);
        self.touched.insert(id);
        Ok(Published { id, due_ms: None })
    }

    /// Cancels what waits under a schedule's name. False if nothing does: it was moved, cancelled or never there.
    ///
    /// # Errors
    /// If rows cannot be loaded.
    pub async fn cancel(
        &mut self,
        txn: &mut impl Txn,
        topic: &str,
        name: &str,
    ) -> Result<bool, PublishError> {
        let Some(Destination { topic, .. }) = self.topic_by_name(txn, topic).await? else { return Ok(false) };
        let cancelled = schedule::cancel(txn, topic, name).await?;
        self.touched.extend(cancelled);
        Ok(cancelled.is_some())
    }

    /// Moves what waits under a schedule's name to another due time. False if nothing does.
    ///
    /// # Errors
    /// [`PublishError::DueTooLate`], or if rows cannot be loaded.
    pub async fn reschedule(
        &mut self,
        txn: &mut impl Txn,
        topic: &str,
        name: &str,
        due_ms: i64,
    ) -> Result<bool, PublishError> {
        self.settings.limits.check_due(due_ms, self.now_ms)?;
        let Some(Destination { topic, .. }) = self.topic_by_name(txn, topic).await? else { return Ok(false) };
        let moved =
            schedule::reschedule(txn, topic, name, due_ms, self.now_ms, self.entry_ids.next_id()).await?;
        self.touched.extend(moved);
        Ok(moved.is_some())
    }

    /// The partitions whose relay has something to look at once the transaction is committed, each once.
    #[must_use]
    pub fn touched(&self) -> Vec<PartitionId> {
        self.touched.iter().copied().collect()
    }

    /// Writes what is due at commit.
    fn put_due(&mut self, txn: &mut impl Txn, id: PartitionId, value: &EventValue) {
        txn.growing();
        txn.put_versioned(OutboxKey::prefix(id), OutboxKey::suffix(self.count), value.encode());
        self.count = self.count.checked_add(1).expect("a transaction holds fewer than 2^32 events");
    }

    /// The topic that the catalogue gives an event's type; both come into being if the settings allow it.
    async fn destination_of(
        &mut self,
        txn: &mut impl Txn,
        event: &Event,
    ) -> Result<(String, Destination), PublishError> {
        let known = match self.event_types.get(&event.event_type) {
            Some(topic) => Some(topic.clone()),
            None => topic_of_event_type(txn, &event.event_type).await?,
        };
        let topic = known.as_deref().or(event.topic.as_deref()).unwrap_or(&event.event_type).to_owned();
        let found = self.ensure_topic_by_name(txn, &topic).await?;
        if known.is_none() {
            register_event_type(txn, &event.event_type, &topic)?;
        }
        self.event_types.insert(event.event_type.clone(), topic.clone());
        Ok((topic, found))
    }

    async fn ensure_topic_by_name(
        &mut self,
        txn: &mut impl Txn,
        name: &str,
    ) -> Result<Destination, PublishError> {
        match self.settings.create_topics.clone() {
            Some(defaults) => self.topic_or_create(txn, name, &defaults).await,
            None => {
                let found = self.topic_by_name(txn, name).await?;
                found.ok_or_else(|| PublishError::UnknownTopic { topic: name.to_owned() })
            }
        }
    }

    async fn topic_or_create(
        &mut self,
        txn: &mut impl Txn,
        name: &str,
        defaults: &TopicDefaults,
    ) -> Result<Destination, PublishError> {
        if let Some(found) = self.topic_by_name(txn, name).await? {
            return Ok(found);
        }
        let new_id = TopicId(Uuid::new_v5(&self.random, name.as_bytes()));
        let created = ensure_topic(txn, name, defaults, new_id).await?;
        let created = Destination::of(&created);
        self.topics.insert(name.to_owned(), created);
        Ok(created)
    }

    async fn topic_by_name(
        &mut self,
        txn: &mut impl Txn,
        name: &str,
    ) -> Result<Option<Destination>, PublishError> {
        if let Some(found) = self.topics.get(name) {
            return Ok(Some(*found));
        }
        let Some(topic) = load_topic(txn, name).await? else { return Ok(None) };
        let found = Destination::of(&topic);
        self.topics.insert(name.to_owned(), found);
        Ok(Some(found))
    }

    fn partition_of(&self, key: Option<&Bytes>, partitions: i32) -> PartitionIndex {
        let partition = match key {
            Some(key) => partition_for_key(key, partitions),
            None => {
                let spread = self.random.as_u128() % u128::from(partitions.unsigned_abs());
                i32::try_from(spread).expect("a remainder is smaller than its divisor")
            }
        };
        PartitionIndex(partition)
    }
}

#[cfg(test)]
#[path = "publish_tests.rs"]
mod tests;
