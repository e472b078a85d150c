//! What a dropped topic held: removed in the background, and what a crash leaves of that at the next start.

use tidegate_format::{
    DroppedTopicKey, DroppedTopicValue, PartitionId, PartitionIndex, ScheduleKey, TopicId, topic_range,
};
use tidegate_store::{CommitError, KeyRange, Pages, Store, Txn, commit_settled};

use super::catalogue::LOAD_PAGE;
use super::{Catalogue, TopicError};

impl Catalogue {
    /// Removes everything that a dropped topic held, and then its mark. No owner commits anything there afterwards.
    pub(crate) async fn remove_data(&self, id: TopicId, partitions: i32) -> Result<(), TopicError> {
        for partition in (0..partitions).map(PartitionIndex) {
            let dropped =
                tidegate_log::drop_partition(&self.store, PartitionId { topic: id, partition }).await;
            dropped.map_err(|error| TopicError::Store { reason: error.to_string() })?;
        }
        let failed = |error: CommitError| TopicError::Store { reason: error.to_string() };
        let mark = DroppedTopicKey { id }.encode();
        for (start, end) in [topic_range(id), ScheduleKey::range(id)] {
            self.store.delete_range(KeyRange::new(start, end)).await.map_err(failed)?;
        }
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
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// Finishes every drop that has left its mark.
    pub(super) async fn finish_drops(&self) -> Result<(), TopicError> {
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
