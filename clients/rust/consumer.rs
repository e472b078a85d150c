//! Reads records: as a member of a group, or partitions that it is told.
//!
//! Records are fetched ahead by a task of their own, up to `prefetch_bytes`, and handed out one by one by
//! [`Consumer::recv`] or several at a time by [`Consumer::poll`]. A record counts as *dealt with* when the next one is asked
//! for, or when [`Consumer::commit`] is called; only what is dealt with is committed. So nothing is lost when a consumer
//! dies: what it had not dealt with is read again by the next one.
//!
//! Rebalances happen inside `recv` and `poll`: no partition is given up while one of its records is being dealt with.
//! Both can be cancelled (in `select!`, by a time-out) at any time without losing a record or the place in a rebalance.

mod assignor;
mod fetcher;
mod hand_out;
mod listener;
mod membership;
mod options;
mod partitions;
mod rebalance;
mod record;
mod shared;
mod unreadable;

#[cfg(test)]
mod consumer_tests;
#[cfg(test)]
mod partitions_tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinHandle};

pub use assignor::Assignor;
pub use listener::{OffsetCommitter, RebalanceListener};
pub use options::{AutoOffsetReset, ConsumerOptions};
pub use partitions::Start;
pub use record::ConsumerRecord;

use crate::offsets::Committed;
use crate::{Client, ClientOptions, Error, TopicPartition};
use hand_out::Current;
use partitions::Progress;
use shared::Shared;
pub(crate) use unreadable::Unreadable;

/// Reads records. Dropping it leaves the group to find out by itself: [`Consumer::close`] is faster.
#[derive(Debug)]
pub struct Consumer {
    shared: Arc<Shared>,
    /// The batch that is being handed out.
    current: Option<Current>,
    /// What was handed out since the last call: it is dealt with when the next one comes.
    handed_out: Vec<(Arc<Progress>, i64)>,
    /// The last batch that could not be read.
    unreadable: Option<Unreadable>,
    /// The rebalance that is going on. It goes on if the call for records in which it began is cancelled.
    rebalance: Option<Rebalancing>,
    tasks: Tasks,
}

/// Ends with the consumer.
#[derive(Debug)]
struct Tasks {
    shared: Arc<Shared>,
    fetcher: AbortHandle,
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.fetcher.abort();
        if let Some(membership) = &self.shared.membership {
            membership.end_heartbeat();
        }
    }
}

/// A rebalance in a task of its own: it goes on while nobody waits for it, and ends with the consumer.
#[derive(Debug)]
struct Rebalancing(JoinHandle<Result<(), Error>>);

impl Drop for Rebalancing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The application is inside a call for records as long as this is there.
struct Inside<'a>(&'a Shared);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        if let Some(membership) = &self.0.membership {
            membership.leave_poll();
        }
    }
}

impl Consumer {
    /// A consumer with connections of its own.
    ///
    /// # Errors
    /// As [`Client::connect`] and [`Consumer::new`].
    pub async fn connect(client: ClientOptions, options: ConsumerOptions) -> Result<Self, Error> {
        Self::new(Client::connect(client).await?, options)
    }

    /// A consumer on this client's connections.
    ///
    /// # Errors
    /// `Invalid` if the settings contradict each other.
    pub fn new(client: Client, options: ConsumerOptions) -> Result<Self, Error> {
        options.check()?;
        let shared = Arc::new(Shared::new(client, options));
        let fetcher = tokio::spawn(fetcher::run(shared.clone())).abort_handle();
        let tasks = Tasks { shared: shared.clone(), fetcher };
        Ok(Self { shared, current: None, handed_out: Vec::new(), unreadable: None, rebalance: None, tasks })
    }

    /// Reads these topics, as a member of the group: it joins at the next call for records. Topics that it read before and
    /// that are not among them are given up.
    ///
    /// # Errors
    /// `Invalid` without a group.
    pub fn subscribe<T: Into<String>>(&mut self, topics: impl IntoIterator<Item = T>) -> Result<(), Error> {
        let membership = self.shared.membership()?;
        membership.state().topics = topics.into_iter().map(Into::into).collect();
        membership.want_rejoin();
        self.shared.data.notify_one();
        Ok(())
    }

    /// [`Consumer::subscribe`], with somebody who is told what partitions come and go.
    ///
    /// # Errors
    /// `Invalid` without a group.
    pub async fn subscribe_with<T: Into<String>>(
        &mut self,
        topics: impl IntoIterator<Item = T>,
        listener: impl RebalanceListener,
    ) -> Result<(), Error> {
        *self.shared.listener.lock().await = Some(Box::new(listener));
        self.subscribe(topics)
    }

    /// Reads these partitions and no others, without being a member of a group.
    ///
    /// # Errors
    /// `Invalid` if it is subscribed: the group then says what it reads.
    pub fn assign(
        &mut self,
        partitions: impl IntoIterator<Item = (TopicPartition, Start)>,
    ) -> Result<(), Error> {
        if self.shared.is_subscribed() {
            return Err(Error::Invalid(
                "a consumer that is subscribed is assigned partitions by its group".into(),
            ));
        }
        let wanted: BTreeMap<TopicPartition, Start> = partitions.into_iter().collect();
        let mut partitions = self.shared.partitions();
        for before in partitions.assignment() {
            partitions.unassign(&before);
        }
        for (partition, start) in wanted {
            partitions.assign(partition, start, None);
        }
        drop(partitions);
        self.shared.fetch_wake.notify_one();
        Ok(())
    }

    /// Waits for the next record.
    ///
    /// # Errors
    /// What came up since the last call: `Refused` by a broker, `Batch` for records that are damaged, `Invalid` for what
    /// the group or the settings do not allow. Connections that are lost are none: they are made again.
    pub async fn recv(&mut self) -> Result<ConsumerRecord, Error> {
        self.deal_with_handed_out();
        let shared = self.shared.clone();
        let _inside = shared.enter_poll();
        self.next().await
    }

    /// Waits for records, at most until `timeout` is over; then takes what is there, up to `max_poll_records`.
    ///
    /// # Errors
    /// As [`Consumer::recv`].
    pub async fn poll(&mut self, timeout: Duration) -> Result<Vec<ConsumerRecord>, Error> {
        self.deal_with_handed_out();
        let shared = self.shared.clone();
        let _inside = shared.enter_poll();
        let Ok(first) = tokio::time::timeout(timeout, self.next()).await else { return Ok(Vec::new()) };
        let mut records = vec![first?];
        while records.len() < self.shared.options.max_poll_records {
            match self.next_there() {
                Ok(Some(record)) => records.push(record),
                Ok(None) => break,
                Err(error) => {
                    // The next call says it: what was read before is not lost by it.
                    self.shared.report(error);
                    break;
                }
            }
        }
        Ok(records)
    }

    /// Waits for records, then takes what is there, up to these limits; one is always taken.
    pub(crate) async fn recv_some(
        &mut self,
        records_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<ConsumerRecord>, Error> {
        self.deal_with_handed_out();
        let shared = self.shared.clone();
        let _inside = shared.enter_poll();
        let first = self.next().await?;
        let mut bytes = first.bytes();
        let mut records = vec![first];
        while records.len() < records_max && bytes < bytes_max {
            match self.next_there() {
                Ok(Some(record)) => {
                    bytes += record.bytes();
                    records.push(record);
                }
                Ok(None) => break,
                Err(error) => {
                    // The next call says it: what was read before is not lost by it.
                    self.shared.report(error);
                    break;
                }
            }
        }
        Ok(records)
    }

    /// What an error with [`Error::Batch`] was about; none if nobody knows.
    pub(crate) fn take_unreadable(&mut self) -> Option<Unreadable> {
        self.unreadable.take()
    }

    /// Takes all that was handed out as dealt with, and commits it.
    ///
    /// # Errors
    /// `Refused` with `RebalanceInProgress`, `IllegalGeneration` or `UnknownMemberId` if the partitions may be another
    /// member's by now; `Invalid` without a group; or as any call.
    pub async fn commit(&mut self) -> Result<(), Error> {
        self.deal_with_all();
        self.shared.commit_dealt_with().await
    }

    /// [`Consumer::commit`] without waiting: the task gives the outcome to whoever wants to know.
    pub fn commit_async(&mut self) -> JoinHandle<Result<(), Error>> {
        self.deal_with_all();
        let shared = self.shared.clone();
        tokio::spawn(async move { shared.commit_dealt_with().await })
    }

    /// Commits these offsets: of the next records to read.
    ///
    /// # Errors
    /// As [`Consumer::commit`].
    pub async fn commit_offsets(&self, offsets: &BTreeMap<TopicPartition, Committed>) -> Result<(), Error> {
        self.shared.commit(offsets).await
    }

    /// Something that commits from elsewhere.
    #[must_use]
    pub fn committer(&self) -> OffsetCommitter {
        OffsetCommitter { shared: self.shared.clone() }
    }

    /// What the group has committed for these partitions.
    ///
    /// # Errors
    /// `Invalid` without a group; or as any call.
    pub async fn committed(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Committed>, Error> {
        let group = &self.shared.membership()?.group;
        crate::offsets::committed(&self.shared.client, group, Some(partitions)).await
    }

    /// Goes on from another place in a partition.
    ///
    /// # Errors
    /// `Invalid` if the partition is not assigned.
    pub fn seek(&mut self, partition: &TopicPartition, start: Start) -> Result<(), Error> {
        let known = self.shared.partitions().seek(partition, start);
        self.shared.fetch_wake.notify_one();
        assigned(known, partition)
    }

    /// Neither hands out nor fetches records of a partition until [`Consumer::resume`].
    ///
    /// # Errors
    /// `Invalid` if the partition is not assigned.
    pub fn pause(&mut self, partition: &TopicPartition) -> Result<(), Error> {
        let known = self.shared.partitions().pause(partition, true);
        // What is left of its batch is handed out later.
        if self.current.as_ref().is_some_and(|current| current.chunk.partition == *partition) {
            self.current = None;
            self.fetch_again(partition);
        }
        assigned(known, partition)
    }

    /// Goes on with a partition.
    ///
    /// # Errors
    /// `Invalid` if the partition is not assigned.
    pub fn resume(&mut self, partition: &TopicPartition) -> Result<(), Error> {
        let known = self.shared.partitions().pause(partition, false);
        self.shared.fetch_wake.notify_one();
        self.shared.data.notify_one();
        assigned(known, partition)
    }

    /// The partitions that it reads now.
    #[must_use]
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.shared.partitions().assignment()
    }

    /// The offset of the next record of this partition; none if it is not known yet.
    #[must_use]
    pub fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.shared.partitions().position(partition)
    }

    /// The offset after the last record of this partition, as the last fetch saw it.
    #[must_use]
    pub fn high_watermark(&self, partition: &TopicPartition) -> Option<i64> {
        self.shared.partitions().high_watermark(partition)
    }

    /// The client whose connections it uses.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.shared.client
    }

    /// Commits what was handed out, if it commits by itself, and leaves the group.
    ///
    /// # Errors
    /// As [`Consumer::commit`]. The group is left whatever comes of that.
    pub async fn close(mut self) -> Result<(), Error> {
        self.rebalance = None;
        let committed = if self.shared.options.auto_commit && self.shared.membership.is_some() {
            self.commit().await
        } else {
            Ok(())
        };
        drop(self.tasks);
        membership::leave(&self.shared).await;
        committed
    }

    async fn next(&mut self) -> Result<ConsumerRecord, Error> {
        loop {
            self.take_part().await?;
            if let Some(error) = self.shared.take_report() {
                return Err(error);
            }
            if let Some(record) = self.next_there()? {
                return Ok(record);
            }
            // A permit is kept for whoever comes late, so nothing is missed between looking and waiting.
            self.shared.data.notified().await;
        }
    }

    /// Goes through a rebalance if there is one.
    async fn take_part(&mut self) -> Result<(), Error> {
        loop {
            if let Some(rebalance) = &mut self.rebalance {
                let outcome = (&mut rebalance.0).await;
                self.rebalance = None;
                match outcome {
                    Ok(outcome) => outcome?,
                    Err(error) => {
                        return Err(Error::Invalid(format!("a rebalance listener failed: {error}")));
                    }
                }
            }
            if !self.shared.wants_rejoin() {
                return Ok(());
            }
            let rebalance = tokio::spawn(rebalance::rebalance(self.shared.clone()));
            self.rebalance = Some(Rebalancing(rebalance));
        }
    }
}

fn assigned(known: bool, partition: &TopicPartition) -> Result<(), Error> {
    if known { Ok(()) } else { Err(Error::Invalid(format!("{partition} is not assigned to this consumer"))) }
}
