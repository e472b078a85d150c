//! How a worker hears of partitions that come and go.

use futures::future::{BoxFuture, FutureExt};
use tokio::sync::{mpsc, oneshot};

use crate::{OffsetCommitter, RebalanceListener, TopicPartition};

/// What happened to partitions.
#[derive(Debug)]
pub(super) enum Rebalanced {
    /// They are this worker's from now on.
    Assigned(Vec<TopicPartition>),
    /// They go to another once this is answered.
    Revoked(Vec<TopicPartition>, oneshot::Sender<()>),
    /// Another has them already.
    Lost(Vec<TopicPartition>),
}

/// Passes on what a consumer hears; the rebalance waits until what is revoked is given up.
pub(super) struct Listener(pub(super) mpsc::Sender<Rebalanced>);

impl RebalanceListener for Listener {
    fn on_assigned<'a>(&'a mut self, partitions: &'a [TopicPartition]) -> BoxFuture<'a, ()> {
        // A worker that has ended hears nothing.
        async move { drop(self.0.send(Rebalanced::Assigned(partitions.to_vec())).await) }.boxed()
    }

    fn on_revoked<'a>(
        &'a mut self,
        partitions: &'a [TopicPartition],
        _committer: &'a OffsetCommitter,
    ) -> BoxFuture<'a, ()> {
        async move {
            let (given_up, answer) = oneshot::channel();
            if self.0.send(Rebalanced::Revoked(partitions.to_vec(), given_up)).await.is_ok() {
                // It ended before it answered, and has given up all.
                let _ = answer.await;
            }
        }
        .boxed()
    }

    fn on_lost<'a>(&'a mut self, partitions: &'a [TopicPartition]) -> BoxFuture<'a, ()> {
        async move { drop(self.0.send(Rebalanced::Lost(partitions.to_vec())).await) }.boxed()
    }
}
