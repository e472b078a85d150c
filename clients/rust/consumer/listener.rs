//! What an application does when partitions come and go.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt, ready};

use super::Shared;
use crate::offsets::Committed;
use crate::{Error, TopicPartition};

/// Is told of partitions that come and go. It is called while the consumer is inside a call for records, never while the
/// application deals with one.
pub trait RebalanceListener: Send + 'static {
    /// These partitions are read from now on.
    fn on_assigned<'a>(&'a mut self, _partitions: &'a [TopicPartition]) -> BoxFuture<'a, ()> {
        ready(()).boxed()
    }

    /// These partitions are given up; what was dealt with can be committed for the last time. With `auto_commit` that is
    /// done already.
    fn on_revoked<'a>(
        &'a mut self,
        _partitions: &'a [TopicPartition],
        _committer: &'a OffsetCommitter,
    ) -> BoxFuture<'a, ()> {
        ready(()).boxed()
    }

    /// These partitions were taken away, as the group had not heard of this member for too long: others may read them
    /// already, and nothing can be committed.
    fn on_lost<'a>(&'a mut self, _partitions: &'a [TopicPartition]) -> BoxFuture<'a, ()> {
        ready(()).boxed()
    }
}

/// Commits offsets for a consumer's group, from elsewhere than the consumer.
#[derive(Clone, Debug)]
pub struct OffsetCommitter {
    pub(super) shared: Arc<Shared>,
}

impl OffsetCommitter {
    /// Commits these offsets: of the next records to read.
    ///
    /// # Errors
    /// `Refused` with `RebalanceInProgress`, `IllegalGeneration` or `UnknownMemberId` if the partitions may be another
    /// member's by now; `Invalid` without a group; or as any call.
    pub async fn commit(&self, offsets: &BTreeMap<TopicPartition, Committed>) -> Result<(), Error> {
        self.shared.commit(offsets).await
    }
}
