//! The topics that exist, in the store and as a copy in memory.
//!
//! Every change is one transaction on the topic's row; the copy changes after it is durable. A topic that is dropped
//! leaves a mark in that transaction, under which its data is removed (`dropped.rs`).
//!
//! Applications write topics to the store as well, with their first event. So what the copy does not have is looked up in
//! the store: a name at once, an id or the list of all with at most one scan of the topics at a time and a pause after
//! it. Topics that turn up like this are handed to [`super::follow`], which has their events relayed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tidegate_format::{
    DroppedTopicKey, DroppedTopicValue, FormatError, OrderVersion, TopicId, TopicKey, TopicValue,
    check_topic_name,
};
use tidegate_store::{CommitError, Pages, ReadError, Store, Txn, commit_settled};
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{info, warn};
use uuid::Uuid;

use super::config;
use super::dropped::Drops;
use super::{Topic, Topics};
use crate::BrokerStore;
use crate::settings::Settings;

/// How often a change is run again when another change came first.
const CONFLICT_RETRIES: usize = 16;
/// Topics that are read from the store at a time.
pub(super) const LOAD_PAGE: usize = 1_000;
/// The pause between two scans of all topics that requests ask for: at least this long, and so many times as long as the
/// scan took, so that requests for what does not exist take a bounded part of the store's time.
const REFRESH_PAUSE_MIN: Duration = Duration::from_millis(20);
const REFRESH_PAUSE_SHARE: u32 = 10;

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

impl From<FormatError> for TopicError {
    fn from(error: FormatError) -> Self {
        Self::Store { reason: error.to_string() }
    }
}

impl From<ReadError> for TopicError {
    fn from(error: ReadError) -> Self {
        Self::Store { reason: error.to_string() }
    }
}

impl From<CommitError> for TopicError {
    fn from(error: CommitError) -> Self {
        Self::Store { reason: error.to_string() }
    }
}

/// The topics of the store, kept in memory as well.
pub(crate) struct Catalogue {
    pub(super) store: BrokerStore,
    settings: Arc<Settings>,
    topics: ArcSwap<Topics>,
    /// Held while a change goes from the store into the copy, so that the copy changes in the store's order. It has the
    /// time before which no request has all topics read again.
    changing: tokio::sync::Mutex<Instant>,
    /// Held while the data of a dropped topic is removed.
    pub(super) drops: tokio::sync::Mutex<Drops>,
    /// Topics that were not made here, or grew elsewhere, and that nobody has taken yet.
    discovered: Mutex<Vec<Arc<Topic>>>,
    discovery: Notify,
}

impl Catalogue {
    /// Loads every topic and goes on with what earlier drops left to do.
    pub(crate) async fn load(store: BrokerStore, settings: Arc<Settings>) -> Result<Self, TopicError> {
        let catalogue = Self {
            store,
            settings,
            topics: ArcSwap::default(),
            changing: tokio::sync::Mutex::new(Instant::now()),
            drops: tokio::sync::Mutex::default(),
            discovered: Mutex::default(),
            discovery: Notify::new(),
        };
        catalogue.refresh().await?;
        // Whoever starts to serve them looks at all of them anyway.
        catalogue.take_discovered();
        catalogue.finish_drops().await?;
        Ok(catalogue)
    }

    /// All topics, as far as they are known without a look at the store.
    pub(crate) fn topics(&self) -> Arc<Topics> {
        self.topics.load_full()
    }

    /// All topics, with those that applications have created until now or a moment ago. If the store cannot be read,
    /// those that are known.
    pub(crate) async fn all(&self) -> Arc<Topics> {
        if let Err(error) = self.refresh_rarely().await {
            warn!(%error, "topics that applications have created may be missing from a list of all");
        }
        self.topics()
    }

    /// Reads all topics from the store: an application that writes to it may have created some.
    pub(crate) async fn refresh(&self) -> Result<(), TopicError> {
        let mut not_before = self.changing.lock().await;
        *not_before = self.read_all().await?;
        Ok(())
    }

    /// As [`refresh`](Self::refresh), unless that was done a moment ago.
    async fn refresh_rarely(&self) -> Result<(), TopicError> {
        let mut not_before = self.changing.lock().await;
        if Instant::now() >= *not_before {
            *not_before = self.read_all().await?;
        }
        Ok(())
    }

    /// Replaces the copy; gives the time before which no request may ask for that again.
    async fn read_all(&self) -> Result<Instant, TopicError> {
        let began = Instant::now();
        let mut txn = self.store.begin().await?;
        let mut topics = Topics::default();
        let mut pages = Pages::new(TopicKey::all(), LOAD_PAGE);
        while let Some(page) = pages.next(&mut txn).await? {
            for (key, value) in page {
                topics.insert(self.decode(&key, value)?);
            }
        }
        let before = self.topics.load_full();
        let known = |topic: &Topic| before.by_id(topic.id).is_some_and(|b| b.partitions >= topic.partitions);
        self.discover(topics.iter().filter(|topic| !known(topic)).cloned());
        self.topics.store(Arc::new(topics));
        let ended = Instant::now();
        Ok(ended + REFRESH_PAUSE_MIN.max((ended - began) * REFRESH_PAUSE_SHARE))
    }

    fn decode(&self, key: &[u8], value: bytes::Bytes) -> Result<Arc<Topic>, TopicError> {
        let key = TopicKey::decode(key)?;
        Ok(Arc::new(Topic::new(key.name, TopicValue::decode(value)?, &self.settings)))
    }

    fn discover(&self, topics: impl Iterator<Item = Arc<Topic>>) {
        let mut discovered = self.discovered.lock().unwrap_or_else(PoisonError::into_inner);
        discovered.extend(topics.inspect(|topic| {
            // Applications on the same store write what nobody has checked.
            if let Err(reason) = config::check(&topic.name, &topic.overrides) {
                warn!(topic = topic.name, reason, "what a topic is configured with is not used as it stands");
            }
        }));
        if !discovered.is_empty() {
            self.discovery.notify_one();
        }
    }

    /// Waits until there is something to [take](Self::take_discovered).
    pub(super) async fn discovery(&self) {
        self.discovery.notified().await;
    }

    /// Topics that turned up in the store since this was called last.
    pub(super) fn take_discovered(&self) -> Vec<Arc<Topic>> {
        std::mem::take(&mut self.discovered.lock().unwrap_or_else(PoisonError::into_inner))
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
        // Another who waited for the lock may have put it there.
        if self.topics.load().by_id(topic.id).is_none() {
            self.discover([topic.clone()].into_iter());
        }
        self.keep(topic.clone());
        Ok(Some(topic))
    }

    /// The topic of that id; if the copy does not have it, all topics are read again unless they just were.
    pub(crate) async fn find_by_id(&self, id: TopicId) -> Result<Option<Arc<Topic>>, TopicError> {
        if let Some(topic) = self.topics.load().by_id(id) {
            return Ok(Some(topic.clone()));
        }
        if id.0.is_nil() {
            return Ok(None);
        }
        self.refresh_rarely().await?;
        Ok(self.topics.load().by_id(id).cloned())
    }

    /// Creates a topic, or only says whether it could be.
    pub(crate) async fn create(
        &self,
        name: &str,
        partitions: i32,
        overrides: BTreeMap<String, String>,
        validate_only: bool,
    ) -> Result<Arc<Topic>, TopicError> {
        check_name(name)?;
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
        check_name(name)?;
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
        check_name(name)?;
        self.change(name, validate_only, |before, _| {
            let mut value = before.ok_or_else(|| TopicError::Unknown { name: name.to_owned() })?;
            alter(&mut value.configs)
                .and_then(|()| config::check(name, &value.configs))
                .map_err(|reason| TopicError::InvalidConfig { reason })?;
            Ok(value)
        })
        .await
    }

    /// Checks a topic that an application is about to create with its first event.
    pub(crate) fn check_new(&self, name: &str, topic: &TopicValue) -> Result<(), TopicError> {
        self.check_partitions(topic.partitions)?;
        config::check(name, &topic.configs).map_err(|reason| TopicError::InvalidConfig { reason })
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
            let before = txn.get(&key).await?.map(TopicValue::decode).transpose()?;
            let value = alter(before, OrderVersion(txn.start_version().0))?;
            txn.put(key.clone(), value.encode());
            let topic = Arc::new(Topic::new(name.to_owned(), value, &self.settings));
            if validate_only {
                return Ok(topic);
            }
            if self.commit(txn).await? {
                self.keep(topic.clone());
                return Ok(topic);
            }
        }
        Err(TopicError::Store { reason: "other changes came first again and again".to_owned() })
    }

    fn keep(&self, topic: Arc<Topic>) {
        let mut topics = Topics::clone(&self.topics.load());
        topics.insert(topic);
        self.topics.store(Arc::new(topics));
    }

    fn forget(&self, name: &str) {
        if self.topics.load().by_name(name).is_some() {
            let mut topics = Topics::clone(&self.topics.load());
            topics.remove(name);
            self.topics.store(Arc::new(topics));
        }
    }

    /// Whether a change is in the store; if not, another came first.
    async fn commit(&self, txn: <BrokerStore as Store>::Txn) -> Result<bool, TopicError> {
        match commit_settled(&self.store, txn).await {
            Ok(()) => Ok(true),
            Err(CommitError::Conflict) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Drops a topic, if it is still the one with this id. Its name is free when this returns;
    /// [`remove_data`](Self::remove_data) removes what it held.
    pub(crate) async fn drop_topic(
        &self,
        name: &str,
        only: Option<TopicId>,
    ) -> Result<Arc<Topic>, TopicError> {
        let unknown = || TopicError::Unknown { name: name.to_owned() };
        check_name(name).map_err(|_| unknown())?;
        let _changing = self.changing.lock().await;
        let key = TopicKey { name: name.to_owned() }.encode();
        for _ in 0..CONFLICT_RETRIES {
            let mut txn = self.store.begin().await?;
            let Some(value) = txn.get(&key).await? else {
                // Dropped elsewhere, if the copy still has it.
                self.forget(name);
                return Err(unknown());
            };
            let topic = self.decode(&key, value)?;
            if only.is_some_and(|id| id != topic.id) {
                // It is gone, and another one has its name by now, which the copy may not know of yet.
                if self.topics.load().by_id(topic.id).is_none() {
                    self.forget(name);
                }
                return Err(unknown());
            }
            txn.delete(key.clone());
            let mark = DroppedTopicValue { name: name.to_owned(), partitions: topic.partitions };
            txn.put(DroppedTopicKey { id: topic.id }.encode(), mark.encode());
            if self.commit(txn).await? {
                self.forget(name);
                info!(topic = name, "topic dropped");
                return Ok(topic);
            }
        }
        Err(TopicError::Store { reason: "other changes came first again and again".to_owned() })
    }
}

/// Checks a name before it becomes a key, which not every name fits into.
fn check_name(name: &str) -> Result<(), TopicError> {
    check_topic_name(name).map_err(|error| TopicError::InvalidName { reason: error.to_string() })
}
