//! One task for each consumer group that is in use: the rim around [`tidegate_group::Group`].
//!
//! What it does: loads a group from its rows, hands it one request after the other with the time, commits what changed in
//! one transaction with the offsets of the same turn, and only then answers. What it refuses to do: it decides nothing
//! that the state machine decides. What always holds: a reply leaves after what it says is durable; if a commit fails the
//! task forgets the group and loads it again (one recovery path), and those who waited are told to come again.

mod clock;
mod commit;
mod expire;
#[cfg(test)]
mod host_tests;
mod load;
mod marks;
mod offsets;
mod request;
mod task;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidegate_format::{BrokerId, GroupKey, GroupState, GroupValue, TopicId};
use tidegate_group::{Command, GroupConfig, GroupDescription, GroupError, Reply};
use tidegate_store::{Pages, ReadError, Store};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

pub(crate) use offsets::{CommittedOffset, load_offsets};
use request::Request;

use crate::settings::Settings;
use crate::topics::Catalogue;
use clock::GroupClock;

/// Requests that wait for one group; more hold their connections up.
const INBOX_MAX: usize = 1_024;
/// Bytes of offsets that are committed at once, in one request and in one transaction: every store takes so many, however
/// small and many they are. (Kafka takes a mebibyte of them in a request, `message.max.bytes`.)
pub(crate) const OFFSETS_MAX_BYTES: usize = 2 << 20;
/// Rows that are read at a time.
const PAGE: usize = 1_000;

/// Why a group's host has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GroupHostError {
    /// The store did not take or give something; the group is loaded again, and the client comes again.
    #[error("the group's coordinator is loading it again")]
    Reloading,
    /// The broker stops.
    #[error("the broker stops")]
    Stopping,
}

/// A group in a list of groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListedGroup {
    pub(crate) group: String,
    pub(crate) state: GroupState,
    pub(crate) protocol_type: Option<String>,
}

/// An answer that is on its way.
pub(crate) struct Pending<A> {
    answered: oneshot::Receiver<A>,
    shutdown: CancellationToken,
}

impl<A> Pending<A> {
    /// Waits for it.
    pub(crate) async fn answer(self) -> Result<A, GroupHostError> {
        self.answered.await.map_err(|_| match self.shutdown.is_cancelled() {
            true => GroupHostError::Stopping,
            false => GroupHostError::Reloading,
        })
    }
}

/// The hosts of all groups that are in use. Clones are handles on the same hosts.
#[derive(Clone)]
pub(crate) struct GroupHosts<S: Store> {
    shared: Arc<Shared<S>>,
}

/// What the hosts have in common.
struct Shared<S: Store> {
    store: S,
    broker: BrokerId,
    config: GroupConfig,
    /// For the names of topics, which subscriptions have and offsets have not.
    catalogue: Arc<Catalogue>,
    offsets_retention_ms: i64,
    clock: GroupClock,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    inboxes: Mutex<BTreeMap<String, mpsc::Sender<Request>>>,
}

impl<S: Store> GroupHosts<S> {
    pub(crate) fn new(
        store: S,
        catalogue: Arc<Catalogue>,
        settings: &Settings,
        shutdown: CancellationToken,
    ) -> Self {
        let config = GroupConfig {
            session_timeout_min_ms: settings.group_min_session_timeout_ms,
            session_timeout_max_ms: settings.group_max_session_timeout_ms,
            initial_rebalance_delay_ms: settings.group_initial_rebalance_delay_ms,
            members_max: settings.group_max_size,
            ..GroupConfig::default()
        };
        let shared = Shared {
            clock: GroupClock::new(store.now_ms()),
            store,
            broker: BrokerId(settings.broker_id),
            config,
            catalogue,
            offsets_retention_ms: settings.offsets_retention_minutes.saturating_mul(60_000),
            shutdown,
            tasks: TaskTracker::new(),
            inboxes: Mutex::new(BTreeMap::new()),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Loads every group with members, so that those who do not come back are missed, and starts looking for offsets
    /// past their retention every `check_interval`.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(crate) async fn start(&self, check_interval: Duration) -> Result<(), ReadError> {
        for listed in self.list().await? {
            if listed.state != GroupState::Empty {
                self.inbox(&listed.group);
            }
        }
        let hosts = self.clone();
        self.shared.tasks.spawn(async move {
            while hosts
                .shared
                .shutdown
                .run_until_cancelled(tokio::time::sleep(check_interval))
                .await
                .is_some()
            {
                hosts.expire_offsets().await;
            }
        });
        Ok(())
    }

    async fn expire_offsets(&self) {
        let groups = match self.list().await {
            Ok(groups) => groups,
            Err(error) => return warn!(%error, "committed offsets were not looked through for old ones"),
        };
        for ListedGroup { group, .. } in groups {
            // Most groups have nothing to expire, and those without a host need none to find that out.
            let needed = if self.is_hosted(&group) {
                Ok(true)
            } else {
                expire::needs_expiry(&self.shared, &group).await
            };
            match needed {
                Ok(false) => {}
                // One after the other: nobody waits for this.
                Ok(true) => drop(self.ask(&group, |answer| Request::ExpireOffsets { answer }).await),
                Err(error) => {
                    warn!(group, %error, "the group's offsets were not looked through for old ones");
                }
            }
        }
    }

    /// Puts a command into its group's queue; what it returns gives the answer. Commands of one caller are carried out in the
    /// order in which this returns.
    pub(crate) async fn send(&self, group: &str, command: Command) -> Pending<Reply> {
        self.begin(group, |answer| Request::Command { command, answer }).await
    }

    /// As [`send`](Self::send) for an offset commit, with the offsets that it is about.
    pub(crate) async fn commit_offsets(
        &self,
        group: &str,
        command: Command,
        offsets: Vec<CommittedOffset>,
    ) -> Pending<Result<(), GroupError>> {
        self.begin(group, |answer| Request::CommitOffsets { command, offsets, answer }).await
    }

    /// A group with its members; None if there is none.
    pub(crate) async fn describe(&self, group: &str) -> Result<Option<GroupDescription>, GroupHostError> {
        if self.is_hosted(group) {
            return self.ask(group, |answer| Request::Describe { answer }).await;
        }
        // To look at a group that nobody uses takes nothing over.
        let found = load::peek(&self.shared, group).await.map_err(|error| {
            warn!(group, %error, "the group cannot be described");
            GroupHostError::Reloading
        })?;
        Ok(found.map(|group| group.describe()))
    }

    /// What gives its answer once every command that was sent to the group before is durable.
    pub(crate) async fn settle(&self, group: &str) -> Option<Pending<()>> {
        if !self.is_hosted(group) {
            return None;
        }
        Some(self.begin(group, |answer| Request::Settle { answer }).await)
    }

    /// Deletes committed offsets of topics that the group does not read; one answer for each (topic name, partitions).
    pub(crate) async fn delete_offsets(
        &self,
        group: &str,
        offsets: Vec<(String, tidegate_format::PartitionId)>,
    ) -> Result<Result<Vec<Result<(), GroupError>>, GroupError>, GroupHostError> {
        self.ask(group, |answer| Request::DeleteOffsets { offsets, answer }).await
    }

    /// Deletes the committed offsets that all groups have in a topic that was dropped.
    pub(crate) async fn forget_topic(&self, topic: TopicId) {
        if let Err(error) = offsets::forget_topic(&self.shared.store, topic).await {
            warn!(%error, "offsets of a dropped topic stay until their retention is over");
        }
    }

    /// Every group that has a row, by id.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(crate) async fn list(&self) -> Result<Vec<ListedGroup>, ReadError> {
        let mut txn = self.shared.store.begin().await?;
        let mut pages = Pages::new(GroupKey::all(), PAGE);
        let mut groups = Vec::new();
        while let Some(page) = pages.next(&mut txn).await? {
            for (key, row) in page {
                let decoded = GroupKey::decode(&key).and_then(|key| Ok((key, GroupValue::decode(row)?)));
                match decoded {
                    Ok((key, row)) => groups.push(ListedGroup {
                        group: key.group,
                        state: row.state,
                        protocol_type: row.protocol_type,
                    }),
                    Err(error) => warn!(%error, "a group's row cannot be read"),
                }
            }
        }
        Ok(groups)
    }

    /// Waits until every host has ended; the broker has told them to.
    pub(crate) async fn shutdown(&self) {
        self.lock().clear();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    async fn ask<A>(
        &self,
        group: &str,
        request: impl FnOnce(oneshot::Sender<A>) -> Request,
    ) -> Result<A, GroupHostError> {
        self.begin(group, request).await.answer().await
    }

    async fn begin<A>(&self, group: &str, request: impl FnOnce(oneshot::Sender<A>) -> Request) -> Pending<A> {
        let (answer, answered) = oneshot::channel();
        self.deliver(group, request(answer)).await;
        Pending { answered, shutdown: self.shared.shutdown.clone() }
    }

    async fn deliver(&self, group: &str, mut request: Request) {
        while !self.shared.shutdown.is_cancelled() {
            match self.inbox(group).send(request).await {
                Ok(()) => break,
                // The host has just put itself away: there is another one now.
                Err(mpsc::error::SendError(unsent)) => request = unsent,
            }
        }
    }

    fn is_hosted(&self, group: &str) -> bool {
        self.lock().get(group).is_some_and(|inbox| !inbox.is_closed())
    }

    /// The inbox of a group's host, which is started if there is none.
    fn inbox(&self, group: &str) -> mpsc::Sender<Request> {
        let mut inboxes = self.lock();
        if let Some(inbox) = inboxes.get(group).filter(|inbox| !inbox.is_closed()) {
            return inbox.clone();
        }
        let (sender, receiver) = mpsc::channel(INBOX_MAX);
        inboxes.insert(group.to_owned(), sender.clone());
        self.shared.tasks.spawn(task::run(self.clone(), group.to_owned(), receiver));
        sender
    }

    /// Takes a host out of the list unless something has been put into its inbox meanwhile.
    async fn put_away(&self, group: &str, inbox: &mut mpsc::Receiver<Request>) -> bool {
        {
            let mut inboxes = self.lock();
            if !inbox.is_empty() {
                return false;
            }
            // A sender that was handed out before finds the inbox closed, and asks for another one.
            inbox.close();
            inboxes.remove(group);
        }
        // What came in between goes to the next host.
        while let Some(request) = inbox.recv().await {
            self.deliver(group, request).await;
        }
        true
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, mpsc::Sender<Request>>> {
        self.shared.inboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
