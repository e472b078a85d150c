//! What a dropped topic held: removed in the background, and what a crash leaves of that at the next start.
//!
//! A store may keep logs for a while, as a snapshot of before the drop may still read them ([`Store::drop_range`]). Until
//! then they wait, and so do the topic's other rows and its mark; whoever gives old versions up has them looked at again.
//!
//! Logs alone are dropped like that: nobody asks what became of an append of long ago, while an application may ask for a
//! day about the commit that left an event in the outbox, and what that is told by may lie beside it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use metrics::gauge;
use tidegate_format::{
    DroppedTopicKey, DroppedTopicValue, LogKey, PartitionId, PartitionIndex, ScheduleKey, TopicId,
    topic_range,
};
use tidegate_store::{CommitError, Dropped, KeyRange, Pages, Store, Txn, Version, commit_settled};

use super::catalogue::LOAD_PAGE;
use super::{Catalogue, TopicError};
use crate::metrics::names;

/// How many dropped topics are remembered while their logs wait. Of one more it is not remembered since when it waits: it
/// goes after others have.
const WAITING_MAX: usize = 100_000;

/// Dropped topics whose logs wait to be removed.
#[derive(Debug, Default)]
pub(super) struct Drops(BTreeMap<TopicId, Waiting>);

/// What is left of one.
#[derive(Clone, Debug)]
struct Waiting {
    /// Whatever may read or write there began before.
    dropped_at: Version,
    logs: Vec<PartitionIndex>,
}

impl Drops {
    fn wait(&mut self, id: TopicId, waiting: Waiting) {
        let is_full = self.0.len() >= WAITING_MAX;
        match self.0.entry(id) {
            Entry::Occupied(mut known) => *known.get_mut() = waiting,
            Entry::Vacant(place) if !is_full => {
                place.insert(waiting);
            }
            Entry::Vacant(_) => {}
        }
        self.show();
    }

    fn forget(&mut self, id: TopicId) {
        self.0.remove(&id);
        self.show();
    }

    fn show(&self) {
        let waiting = u32::try_from(self.0.len()).expect("they are bounded");
        gauge!(names::DROPPED_TOPICS).set(f64::from(waiting));
    }
}

impl Catalogue {
    /// Removes everything that a dropped topic held, and then its mark; or says that its logs have to wait. No owner
    /// commits anything there afterwards. One topic at a time.
    pub(crate) async fn remove_data(&self, id: TopicId, partitions: i32) -> Result<Dropped, TopicError> {
        let mut drops = self.drops.lock().await;
        let known = drops.0.get(&id).cloned();
        let Waiting { dropped_at, logs } = match known {
            Some(waiting) => waiting,
            None => self.end(id, partitions).await?,
        };
        let mut waiting = Vec::new();
        for partition in logs {
            let (start, end) = LogKey::range(PartitionId { topic: id, partition });
            match self.store.drop_range(KeyRange::new(start, end), dropped_at).await? {
                Dropped::Now => {}
                Dropped::Later => waiting.push(partition),
            }
        }
        if !waiting.is_empty() {
            drops.wait(id, Waiting { dropped_at, logs: waiting });
            return Ok(Dropped::Later);
        }
        for (start, end) in [topic_range(id), ScheduleKey::range(id)] {
            self.store.delete_range(KeyRange::new(start, end)).await?;
        }
        self.remove_mark(id).await?;
        drops.forget(id);
        Ok(Dropped::Now)
    }

    /// Ends every partition. What may still read them then, or has written to them, began before the version that comes
    /// of it: also owners who did not know of the drop.
    async fn end(&self, id: TopicId, partitions: i32) -> Result<Waiting, TopicError> {
        let logs: Vec<_> = (0..partitions).map(PartitionIndex).collect();
        for partition in &logs {
            let ended = PartitionId { topic: id, partition: *partition };
            let ending = tidegate_log::end_partition(&self.store, ended).await;
            ending.map_err(|error| TopicError::Store { reason: error.to_string() })?;
        }
        Ok(Waiting { dropped_at: self.store.begin().await?.start_version(), logs })
    }

    async fn remove_mark(&self, id: TopicId) -> Result<(), TopicError> {
        let mark = DroppedTopicKey { id }.encode();
        loop {
            let mut txn = self.store.begin().await?;
            if txn.get(&mark).await?.is_none() {
                return Ok(());
            }
            txn.delete(mark.clone());
            match commit_settled(&self.store, txn).await {
                Ok(()) => return Ok(()),
                // Another, who finished the same drop, has removed the mark; or it is still there.
                Err(CommitError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Goes on with every drop that has left its mark, as far as the store lets it.
    pub(crate) async fn finish_drops(&self) -> Result<(), TopicError> {
        // Also that none waits.
        self.drops.lock().await.show();
        let mut pages = Pages::new(DroppedTopicKey::all(), LOAD_PAGE);
        // A transaction for each page: removing the data of a topic may take longer than one may be open.
        while let Some(marks) = pages.next(&mut self.store.begin().await?).await? {
            for (key, mark) in marks {
                let id = DroppedTopicKey::decode(&key)?.id;
                self.remove_data(id, DroppedTopicValue::decode(mark)?.partitions).await?;
            }
        }
        Ok(())
    }
}
