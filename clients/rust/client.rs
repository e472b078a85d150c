//! A cluster as a client sees it: its brokers, its topics, and who leads what.
//!
//! [`Client`] is what producer, consumer and admin are built on. It keeps the newest metadata, asks again when that is
//! old or proves wrong, and tries a call again, with growing waits, as long as that can help and time is left.

mod coordinator;
mod metadata;

#[cfg(test)]
mod client_tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use rand::seq::SliceRandom;
use tidegate_protocol::messages::metadata_request::MetadataRequestTopic;
use tidegate_protocol::messages::{MetadataRequest, TopicName};
use tidegate_protocol::{StrBytes, WireLayout};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

pub use metadata::{BrokerAddress, Metadata, Partition, Topic};

use crate::net::backoff::Backoff;
use crate::net::pool::{Pool, Purpose};
use crate::{ClientOptions, Connection, Error};

/// A handle on a cluster; clones share its connections.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: Arc<ClientOptions>,
    pool: Pool,
    backoff: Backoff,
    metadata: ArcSwap<Metadata>,
    refreshing: tokio::sync::Mutex<()>,
    coordinators: Mutex<HashMap<String, i32>>,
    refresher: OnceLock<AbortHandle>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.refresher.get().inspect(|task| task.abort());
    }
}

/// Who is to answer a call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target<'a> {
    /// Any broker.
    Any,
    /// The broker that manages topics.
    Controller,
    /// This broker.
    Broker(i32),
    /// The leader of this partition.
    Leader(&'a str, i32),
    /// The coordinator of this group.
    Coordinator(&'a str),
}

impl Client {
    /// Reaches the cluster and learns its brokers.
    ///
    /// # Errors
    /// The last attempt's error if no bootstrap broker answers within `call_timeout_ms`; `Invalid` without any.
    pub async fn connect(options: ClientOptions) -> Result<Self, Error> {
        if options.bootstrap.is_empty() {
            return Err(Error::Invalid(
                "no bootstrap broker is given: name at least one as host:port".into(),
            ));
        }
        let options = Arc::new(options);
        let inner = Inner {
            pool: Pool::new(options.clone()),
            backoff: Backoff::new(options.backoff_first_ms, options.backoff_max_ms),
            metadata: ArcSwap::from_pointee(Metadata::default()),
            refreshing: tokio::sync::Mutex::default(),
            coordinators: Mutex::default(),
            refresher: OnceLock::new(),
            options,
        };
        let client = Self { inner: Arc::new(inner) };
        client.retry(|| client.refresh(&[])).await?;
        let refresher = tokio::spawn(refresh_when_stale(Arc::downgrade(&client.inner))).abort_handle();
        client.inner.refresher.get_or_init(|| refresher);
        Ok(client)
    }

    /// What it was told.
    #[must_use]
    pub fn options(&self) -> &ClientOptions {
        &self.inner.options
    }

    /// What is known now.
    #[must_use]
    pub fn metadata(&self) -> Arc<Metadata> {
        self.inner.metadata.load_full()
    }

    /// Asks for the brokers and for these topics, besides those known already, and keeps the answer.
    ///
    /// Topics that are not there may be created by that: see
    /// [`allow_auto_create_topics`](ClientOptions::allow_auto_create_topics).
    ///
    /// # Errors
    /// As a call to any broker. A topic's own error is in its [`Topic`].
    pub async fn refresh(&self, topics: &[String]) -> Result<Arc<Metadata>, Error> {
        self.refresh_or(topics, true).await
    }

    /// [`Client::refresh`] that creates nothing: for topics that were there, and may have been deleted.
    pub(crate) async fn look_again(&self, topics: &[String]) -> Result<Arc<Metadata>, Error> {
        self.refresh_or(topics, false).await
    }

    async fn refresh_or(&self, topics: &[String], create: bool) -> Result<Arc<Metadata>, Error> {
        let asked = Instant::now();
        let _one_at_a_time = self.inner.refreshing.lock().await;
        let known = self.metadata();
        let is_known = |name: &str| known.topics.get(name).is_some_and(|topic| topic.error.is_none());
        let unknown: Vec<&String> = topics.iter().filter(|name| !is_known(name)).collect();
        if known.fetched.is_some_and(|fetched| fetched > asked) && unknown.is_empty() {
            return Ok(known);
        }
        // Creating is for names that were asked for now, not for what was known and is gone.
        let create = create && !unknown.is_empty();
        let names = known.topics.keys().filter(|name| is_known(name)).chain(unknown);
        let wanted: Vec<MetadataRequestTopic> =
            names.map(|name| MetadataRequestTopic::default().with_name(Some(topic_name(name)))).collect();
        let response =
            self.any().await?.call(|version| self.metadata_request(version, Some(wanted), create)).await?;
        let metadata = Arc::new(Metadata::from_response(&response, Instant::now()));
        self.inner.metadata.store(metadata.clone());
        Ok(metadata)
    }

    /// Asks for every topic of the cluster. The answer is not kept.
    ///
    /// # Errors
    /// As a call to any broker.
    pub async fn all_topics(&self) -> Result<Metadata, Error> {
        let response = self.call(Target::Any, |version| self.metadata_request(version, None, false)).await?;
        Ok(Metadata::from_response(&response, Instant::now()))
    }

    fn metadata_request(
        &self,
        version: i16,
        topics: Option<Vec<MetadataRequestTopic>>,
        create: bool,
    ) -> MetadataRequest {
        // Version 0 has no null; it means all topics by none.
        let topics = if version == 0 { Some(topics.unwrap_or_default()) } else { topics };
        let create = create && self.options().allow_auto_create_topics;
        let request = MetadataRequest::default().with_topics(topics);
        request.with_allow_auto_topic_creation(if version >= 4 { create } else { true })
    }

    /// What is known of the cluster, once it includes this topic: asked for if it is not known yet.
    ///
    /// # Errors
    /// `Refused` with the topic's error, such as `UnknownTopicOrPartition`; or as [`Client::refresh`].
    pub async fn topic(&self, name: &str) -> Result<Arc<Metadata>, Error> {
        let known = self.metadata();
        if known.topics.get(name).is_some_and(|topic| topic.error.is_none()) {
            return Ok(known);
        }
        let metadata = self.refresh(&[name.to_owned()]).await?;
        metadata.topic(name)?;
        Ok(metadata)
    }

    /// A connection to any broker: one that is there, else one of those known, else one of the bootstrap.
    ///
    /// # Errors
    /// The last attempt's, if none can be reached.
    pub async fn any(&self) -> Result<Connection, Error> {
        let pool = &self.inner.pool;
        if let Some(address) = pool.connected_address(Purpose::General) {
            return pool.get(&address, Purpose::General).await;
        }
        let mut addresses: Vec<String> = self.metadata().brokers.values().map(ToString::to_string).collect();
        addresses.shuffle(&mut rand::rng());
        addresses.extend(self.options().bootstrap.iter().cloned());
        let mut last = Error::Closed;
        for address in addresses {
            match pool.get(&address, Purpose::General).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// A connection to this broker.
    ///
    /// # Errors
    /// `Refused` with `BrokerNotAvailable` if no such broker is known, or as connecting.
    pub(crate) async fn broker(&self, id: i32, purpose: Purpose) -> Result<Connection, Error> {
        let address = self.metadata().broker(id)?.to_string();
        self.inner.pool.get(&address, purpose).await
    }

    async fn connection(&self, target: Target<'_>) -> Result<Connection, Error> {
        match target {
            Target::Any => self.any().await,
            Target::Controller => match self.metadata().controller {
                Some(id) => self.broker(id, Purpose::General).await,
                None => self.any().await,
            },
            Target::Broker(id) => self.broker(id, Purpose::General).await,
            Target::Leader(topic, partition) => {
                let leader = self.topic(topic).await?.leader(topic, partition)?;
                self.broker(leader, Purpose::General).await
            }
            Target::Coordinator(group) => {
                let id = self.coordinator(group).await?;
                self.broker(id, Purpose::General).await
            }
        }
    }

    /// Sends one request and waits for the answer; connections are tried again while time is left. What the broker
    /// says is not looked at.
    pub(crate) async fn call<R: WireLayout>(
        &self,
        target: Target<'_>,
        make: impl Fn(i16) -> R,
    ) -> Result<R::Response, Error> {
        self.call_checked(target, make, |_| Ok(())).await
    }

    /// [`Client::call`], where `check` finds the error in the answer that should be met by another try.
    pub(crate) async fn call_checked<R: WireLayout>(
        &self,
        target: Target<'_>,
        make: impl Fn(i16) -> R,
        check: impl Fn(&R::Response) -> Result<(), Error>,
    ) -> Result<R::Response, Error> {
        let attempt = || async {
            let response = self.connection(target).await?.call(&make).await?;
            check(&response)?;
            Ok(response)
        };
        self.retry(|| async {
            let outcome = attempt().await;
            if outcome.as_ref().is_err_and(Error::is_retriable) {
                self.forget(target).await;
            }
            outcome
        })
        .await
    }

    /// What was known of the target has proved wrong.
    async fn forget(&self, target: Target<'_>) {
        if let Target::Coordinator(group) = target {
            self.forget_coordinator(group);
        }
        if !matches!(target, Target::Any)
            && let Err(error) = self.refresh(&[]).await
        {
            tracing::debug!(%error, "metadata could not be refreshed");
        }
    }

    /// Tries until it succeeds, fails for good, or `call_timeout_ms` is over.
    pub(crate) async fn retry<T, F: Future<Output = Result<T, Error>>>(
        &self,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, Error> {
        let deadline = Instant::now() + Duration::from_millis(self.options().call_timeout_ms);
        let mut failures = 0;
        loop {
            let error = match attempt().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            failures += 1;
            let wait = self.backoff_delay(failures);
            if !error.is_retriable() || Instant::now() + wait >= deadline {
                return Err(error);
            }
            tracing::debug!(%error, failures, "trying again");
            sleep(wait).await;
        }
    }

    /// The wait after so many failures in a row.
    pub(crate) fn backoff_delay(&self, failures: u32) -> Duration {
        self.inner.backoff.random_delay(failures)
    }

    fn coordinators(&self) -> std::sync::MutexGuard<'_, HashMap<String, i32>> {
        self.inner.coordinators.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks again for what is known before it is too old, as long as the client is there.
async fn refresh_when_stale(inner: Weak<Inner>) {
    let mut wait = Duration::ZERO;
    let mut failures = 0;
    loop {
        sleep(wait).await;
        let Some(inner) = inner.upgrade() else { return };
        let client = Client { inner };
        let max_age = Duration::from_millis(client.options().metadata_max_age_ms);
        let age = client.metadata().fetched.map_or(max_age, |fetched| fetched.elapsed());
        wait = max_age.saturating_sub(age);
        if wait.is_zero() {
            failures = if client.refresh(&[]).await.is_ok() { 0 } else { failures + 1 };
            wait = client.backoff_delay(failures.max(1));
        }
    }
}

pub(crate) fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}
