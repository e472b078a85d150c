//! What the consumer and its tasks share.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::listener::RebalanceListener;
use super::membership::{Membership, NO_GENERATION};
use super::partitions::{Ahead, Partitions};
use super::{ConsumerOptions, Inside};
use crate::offsets::{self, Committed};
use crate::{Client, Error, ResponseError, TopicPartition};
use tidegate_protocol::messages::ApiKey;

/// Errors that wait to be told; more than that are only logged.
const MAX_REPORTS: usize = 16;

pub(crate) struct Shared {
    pub(super) client: Client,
    pub(super) options: ConsumerOptions,
    pub(super) membership: Option<Membership>,
    pub(super) listener: tokio::sync::Mutex<Option<Box<dyn RebalanceListener>>>,
    /// There is something for whoever calls for records.
    pub(super) data: Notify,
    /// There is something for the fetcher.
    pub(super) fetch_wake: Notify,
    partitions: Mutex<Partitions>,
    reports: Mutex<VecDeque<Error>>,
    /// Commits are one after the other, so that an older one never comes last.
    committing: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("membership", &self.membership).finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn new(client: Client, options: ConsumerOptions) -> Self {
        let membership =
            options.group.clone().map(|group| Membership::new(group, options.group_instance_id.clone()));
        Self {
            membership,
            listener: tokio::sync::Mutex::default(),
            data: Notify::new(),
            fetch_wake: Notify::new(),
            partitions: Mutex::new(Partitions::new(Ahead { bytes: options.prefetch_bytes })),
            reports: Mutex::default(),
            committing: tokio::sync::Mutex::default(),
            client,
            options,
        }
    }

    pub(super) fn partitions(&self) -> MutexGuard<'_, Partitions> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn membership(&self) -> Result<&Membership, Error> {
        let without = || Error::Invalid("this consumer has no group: set ConsumerOptions::group".into());
        self.membership.as_ref().ok_or_else(without)
    }

    pub(super) fn is_subscribed(&self) -> bool {
        self.membership.as_ref().is_some_and(|membership| !membership.state().topics.is_empty())
    }

    pub(super) fn wants_rejoin(&self) -> bool {
        self.membership.as_ref().is_some_and(Membership::wants_rejoin)
    }

    pub(super) fn enter_poll(&self) -> Inside<'_> {
        if let Some(membership) = &self.membership {
            membership.enter_poll();
        }
        Inside(self)
    }

    /// Keeps an error for the next call for records.
    pub(super) fn report(&self, error: Error) {
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        if reports.len() < MAX_REPORTS {
            reports.push_back(error);
        } else {
            tracing::warn!(%error, "nobody asks for the errors that came before");
        }
        drop(reports);
        self.data.notify_one();
    }

    pub(super) fn take_report(&self) -> Option<Error> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Commits these offsets as the member that the consumer is now.
    pub(super) async fn commit(&self, offsets: &BTreeMap<TopicPartition, Committed>) -> Result<(), Error> {
        let _one_at_a_time = self.committing.lock().await;
        self.commit_alone(offsets).await
    }

    /// Commits what is dealt with and not committed.
    pub(super) async fn commit_dealt_with(&self) -> Result<(), Error> {
        let _one_at_a_time = self.committing.lock().await;
        let offsets = self.partitions().to_commit();
        self.commit_alone(
            &offsets.into_iter().map(|(partition, offset)| (partition, Committed::at(offset))).collect(),
        )
        .await
    }

    async fn commit_alone(&self, offsets: &BTreeMap<TopicPartition, Committed>) -> Result<(), Error> {
        let committer = self.membership()?.committer();
        // One that was a member and is none any more must not commit as if it had never been one.
        if self.is_subscribed() && committer.generation == NO_GENERATION && !offsets.is_empty() {
            let error = ResponseError::UnknownMemberId;
            return Err(Error::Refused { api: ApiKey::OffsetCommit, error, detail: None });
        }
        offsets::commit(&self.client, &committer, offsets).await?;
        let mut partitions = self.partitions();
        for (partition, committed) in offsets {
            partitions.committed(partition, committed.offset);
        }
        Ok(())
    }
}
