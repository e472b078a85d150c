//! The topics that exist, in the store and as a copy in memory.
//!
//! Every change is one transaction on the topic's row; the copy changes after it is durable. A topic that is dropped
//! leaves a mark in that transaction, under which its data is removed; what a crash leaves of it goes at the next start.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tidegate_format::{
    DroppedTopicKey, DroppedTopicValue, OrderVersion, PartitionId, PartitionIndex, ScheduleKey, TopicId,
    TopicKey, TopicValue, check_topic_name, topic_range,
};
use tidegate_store::{CommitError, Direction, KeyRange, ReadError, ScanLimit, Store, Txn};
use tracing::info;
use uuid::Uuid;

use super::config::{self, TopicConfig};
use crate::BrokerStore;
use crate::settings::Settings;

/// How often a change is run again when another change came first.
const CONFLICT_RETRIES: usize = 16;
/// Topics that are read from the store at a time.
const LOAD_PAGE: usize = 1_000;

/// One topic as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) id: TopicId,
    /// How many partitions it has, at least 1.
    pub(crate) partitions: i32,
    /// What is configured for this topic itself.
    pub(crate) overrides: BTreeMap<String, String>,
    /// That with the defaults filled in.
    pub(crate) config: TopicConfig,
}

impl Topic {
    fn new(name: String, value: TopicValue, settings: &Settings) -> Self {
        let config = TopicConfig::resolve(&name, &value.configs, settings);
        Self { name, id: value.id, partitions: value.partitions, overrides: value.configs, config }
    }

    /// The id of a partition, if there is one of that number.
    pub(crate) fn partition(&self, index: i32) -> Option<PartitionId> {
        (0..self.partitions)
            .contains(&index)
            .then_some(PartitionId { topic: self.id, partition: PartitionIndex(index) })
    }

    /// The ids of all its partitions, in order.
    pub(crate) fn partition_ids(&self) -> impl Iterator<Item = PartitionId> + use<> {
        let topic = self.id;
        (0..self.partitions).map(move |index| PartitionId { topic, partition: PartitionIndex(index) })
    }

    /// Kafka's rule for topics that no application should write.
    pub(crate) fn is_internal(&self) -> bool {
        self.name.starts_with("__")
    }
}

/// All topics at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Topics {
    by_name: BTreeMap<String, Arc<Topic>>,
    by_id: HashMap<TopicId, Arc<Topic>>,
}

impl Topics {
    pub(crate) fn by_name(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_name.get(name)
    }

    pub(crate) fn by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.by_id.get(&id)
    }

    /// All of them, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_name.values()
    }

    fn insert(&mut self, topic: Arc<Topic>) {
        if let Some(before) = self.by_name.insert(topic.name.clone(), topic.clone()) {
            self.by_id.remove(&before.id);
        }
        self.by_id.insert(topic.id, topic);
    }

    fn remove(&mut self, name: &str) {
        if let Some(topic) = self.by_name.remove(name) {
            self.by_id.remove(&topic.id);
        }
    }
}

/// Why a topic could not be changed; each is one of Kafka's error codes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TopicError {
    #[error("topic `{name}` exists already")]
    Exists { name: String },
    #[error("there is no topic `{name}`")]
    Unknown { name: String },
    #[error("{reason}")]
    InvalidName { reason: String },
    #[error("{reason}")]
    InvalidPartitions { reason: String },
    #[error("{reason}")]
    InvalidConfig { reason: String },
    #[error("the store did not take the change: {reason}")]
    Store { reason: String },
}

impl From<ReadError> for TopicError {
    fn from(error: ReadError) -> Self {
        Self::Store { reason: error.to_string() }
    }
}

/// The topics of the store, kept in memory as well.
pub(crate) struct Catalogue {
    store: BrokerStore,
    settings: Arc<Settings>,
    topics: ArcSwap<Topics>,
    /// Held while a change goes from the store into the copy, so that the copy changes in the store's order.
    changing: tokio::sync::Mutex<()>,
}

impl Catalogue {
    /// Loads every topic and finishes what earlier drops left to do.
    pub(crate) async fn load(store: BrokerStore, settings: Arc<Settings>) -> Result<Self, TopicError> {
        let catalogue =
            Self { store, settings, topics: ArcSwap::default(), changing: tokio::sync::Mutex::new(()) };
        catalogue.refresh().await?;
        catalogue.finish_drops().await?;
        Ok(catalogue)
    }

    /// All topics as they are now.
    pub(crate) fn topics(&self) -> Arc<Topics> {
        self.topics.load_full()
    }

    /// Reads all topics from the store: an application that writes to it may have created some.
    pub(crate) async fn refresh(&self) -> Result<(), TopicError> {
        let _changing = self.changing.lock().await;
        let mut txn = self.store.begin().await?;
        let mut topics = Topics::default();
        let (start, end) = TopicKey::all();
        let mut range = KeyRange::new(start, end);
        loop {
            let page = txn.scan(&range, ScanLimit::count(LOAD_PAGE), Direction::Forward).await?;
            for (key, value) in &page {
                topics.insert(self.decode(key, value.clone())?);
            }
            match page.last() {
                Some((last, _)) if page.len() == LOAD_PAGE => range.start = KeyRange::successor(last),
                _ => break,
            }
        }
        self.topics.store(Arc::new(topics));
        Ok(())
    }

    fn decode(&self, key: &[u8], value: bytes::Bytes) -> Result<Arc<Topic>, TopicError> {
        let damaged = |error: tidegate_format::FormatError| TopicError::Store { reason: error.to_string() };
        let key = TopicKey::decode(key).map_err(damaged)?;
        let value = TopicValue::decode(value).map_err(damaged)?;
        Ok(Arc::new(Topic::new(key.name, value, &self.settings)))
    }

    /// The topic of that name, looked up in the store if the copy does not have it.
    pub(crate) async fn find(&self, name: &str) -> Result<Option<Arc<Topic>>, TopicError> {
        if let Some(topic) = self.topics.load().by_name(name) {
            return Ok(Some(topic.clone()));
        }
        if check_topic_name(name).is_err() {
            return Ok(None);
        }
        let _changing = self.changing.lock().await;
        let key = TopicKey { name: name.to_owned() }.encode();
        let Some(value) = self.store.begin().await?.get(&key).await? else { return Ok(None) };
        let topic = self.decode(&key, value)?;
        self.keep(topic.clone());
        Ok(Some(topic))
    }

    /// Creates a topic, or only says whether it could be.
    pub(crate) async fn create(
        &self,
        name: &str,
        partitions: i32,
        overrides: BTreeMap<String, String>,
        validate_only: bool,
    ) -> Result<Arc<Topic>, TopicError> {
        check_topic_name(name).map_err(|error| TopicError::InvalidName { reason: error.to_string() })?;
        self.check_partitions(partitions)?;
        config::check(name, &overrides).map_err(|reason| TopicError::InvalidConfig { reason })?;
        let id = TopicId(Uuid::new_v4());
        let created = self
            .change(name, validate_only, |before, version| match before {
                Some(_) => Err(TopicError::Exists { name: name.to_owned() }),
                None => {
                    let configs = overrides.clone();
                    Ok(TopicValue { id, partitions, created_version: version, configs })
                }
            })
            .await?;
        if !validate_only {
            info!(topic = name, partitions, "topic created");
        }
        Ok(created)
    }

    /// Gives a topic more partitions, or only says whether it could have them.
    pub(crate) async fn set_partitions(
        &self,
        name: &str,
        partitions: i32,
        validate_only: bool,
    ) -> Result<Arc<Topic>, TopicError> {
        self.check_partitions(partitions)?;
        self.change(name, validate_only, |before, _| {
            let before = before.ok_or_else(|| TopicError::Unknown { name: name.to_owned() })?;
            if partitions <= before.partitions {
                let now = before.partitions;
                let reason =
                    format!("topic `{name}` has {now} partitions; {partitions} would not be an increase");
                return Err(TopicError::InvalidPartitions { reason });
            }
            Ok(TopicValue { partitions, ..before })
        })
        .await
    }

    /// Changes a topic's configuration to what `alter` makes of it, or only says whether it could be.
    pub(crate) async fn set_configs(
        &self,
        name: &str,
        validate_only: bool,
        alter: impl Fn(&mut BTreeMap<String, String>) -> Result<(), String>,
    ) -> Result<Arc<Topic>, TopicError> {
        self.change(name, validate_only, |before, _| {
            let mut value = before.ok_or_else(|| TopicError::Unknown { name: name.to_owned() })?;
            alter(&mut value.configs)
                .and_then(|()| config::check(name, &value.configs))
                .map_err(|reason| TopicError::InvalidConfig { reason })?;
            Ok(value)
        })
        .await
    }

    fn check_partitions(&self, partitions: i32) -> Result<(), TopicError> {
        let most = self.settings.topic_partitions_max;
        if (1..=most).contains(&partitions) {
            return Ok(());
        }
        let reason = format!("a topic has 1 to {most} partitions (topic.partitions.max), not {partitions}");
        Err(TopicError::InvalidPartitions { reason })
    }

    /// One transaction on a topic's row, run again if another change came first.
    async fn change(
        &self,
        name: &str,
        validate_only: bool,
        alter: impl Fn(Option<TopicValue>, OrderVersion) -> Result<TopicValue, TopicError>,
    ) -> Result<Arc<Topic>, TopicError> {
        let _changing = self.changing.lock().await;
        let key = TopicKey { name: name.to_owned() }.encode();
        for _ in 0..CONFLICT_RETRIES {
            let mut txn = self.store.begin().await?;
            let before = txn.get(&key).await?.map(TopicValue::decode).transpose();
            let before = before.map_err(|error| TopicError::Store { reason: error.to_string() })?;
            let value = alter(before, OrderVersion(txn.start_version().0))?;
            txn.put(key.clone(), value.encode());
            let topic = Arc::new(Topic::new(name.to_owned(), value, &self.settings));
            if validate_only {
                return Ok(topic);
            }
            match self.settle(txn.commit().await).await? {
                Settled::Applied => {
                    self.keep(topic.clone());
                    return Ok(topic);
                }
                Settled::RunAgain => {}
            }
        }
        Err(TopicError::Store { reason: "other changes came first again and again".to_owned() })
    }

    fn keep(&self, topic: Arc<Topic>) {
        let mut topics = Topics::clone(&self.topics.load());
        topics.insert(topic);
        self.topics.store(Arc::new(topics));
    }

    /// What a commit came to; an unknown outcome is settled first.
    async fn settle<T>(&self, committed: Result<T, CommitError>) -> Result<Settled, TopicError> {
        match committed {
            Ok(_) => Ok(Settled::Applied),
            Err(CommitError::Conflict) => Ok(Settled::RunAgain),
            Err(CommitError::Unknown { token }) => Ok(match self.store.outcome(&token).await? {
                tidegate_store::Outcome::Applied => Settled::Applied,
                tidegate_store::Outcome::NotApplied => Settled::RunAgain,
            }),
            Err(error) => Err(TopicError::Store { reason: error.to_string() }),
        }
    }

    /// Drops a topic. Its name is free when this returns; [`remove_data`](Self::remove_data) removes what it held.
    pub(crate) async fn drop_topic(&self, name: &str) -> Result<Arc<Topic>, TopicError> {
        let _changing = self.changing.lock().await;
        let key = TopicKey { name: name.to_owned() }.encode();
        for _ in 0..CONFLICT_RETRIES {
            let mut txn = self.store.begin().await?;
            let unknown = || TopicError::Unknown { name: name.to_owned() };
            let topic = self.decode(&key, txn.get(&key).await?.ok_or_else(unknown)?)?;
            txn.delete(key.clone());
            let mark = DroppedTopicValue { name: name.to_owned(), partitions: topic.partitions };
            txn.put(DroppedTopicKey { id: topic.id }.encode(), mark.encode());
            if let Settled::Applied = self.settle(txn.commit().await).await? {
                let mut topics = Topics::clone(&self.topics.load());
                topics.remove(name);
                self.topics.store(Arc::new(topics));
                info!(topic = name, "topic dropped");
                return Ok(topic);
            }
        }
        Err(TopicError::Store { reason: "other changes came first again and again".to_owned() })
    }

    /// Removes everything that a dropped topic held, and then its mark. No owner commits anything there afterwards.
    pub(crate) async fn remove_data(&self, id: TopicId, partitions: i32) -> Result<(), TopicError> {
        for partition in (0..partitions).map(PartitionIndex) {
            let dropped =
                tidegate_log::drop_partition(&self.store, PartitionId { topic: id, partition }).await;
            dropped.map_err(|error| TopicError::Store { reason: error.to_string() })?;
        }
        let failed = |error: CommitError| TopicError::Store { reason: error.to_string() };
        for (start, end) in [topic_range(id), ScheduleKey::range(id)] {
            self.store.delete_range(KeyRange::new(start, end)).await.map_err(failed)?;
        }
        let mut txn = self.store.begin().await?;
        txn.delete(DroppedTopicKey { id }.encode());
        txn.commit().await.map_err(failed)?;
        Ok(())
    }

    async fn finish_drops(&self) -> Result<(), TopicError> {
        let (start, end) = DroppedTopicKey::all();
        let range = KeyRange::new(start, end);
        let limit = ScanLimit::count(LOAD_PAGE);
        let marks = self.store.begin().await?.scan(&range, limit, Direction::Forward).await?;
        for (key, mark) in marks {
            let damaged =
                |error: tidegate_format::FormatError| TopicError::Store { reason: error.to_string() };
            let id = DroppedTopicKey::decode(&key).map_err(damaged)?.id;
            let partitions = DroppedTopicValue::decode(mark).map_err(damaged)?.partitions;
            self.remove_data(id, partitions).await?;
        }
        Ok(())
    }
}

enum Settled {
    Applied,
    RunAgain,
}
