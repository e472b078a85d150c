//! Committed offsets of consumer groups, in the same transactions as models and events.
//!
//! What it refuses to do: it does not look at who is a member of the group. Whoever handles a partition in order reads
//! [`committed_offset`](Tx::committed_offset) first, in the transaction that handles a record and commits the offset
//! after it: of two that believe to have the partition, one commits, and the other finds that it comes too late.

use tidegate_format::{Offset, OffsetKey, OffsetValue, PartitionId, PartitionIndex, check_group_id};
use tidegate_outbox::{PublishError, load_topic};
use tidegate_store::{Store, Txn};

use crate::tx::Open;
use crate::{Error, InputError, Tx};

/// The leader epoch of a record whose epoch nobody noted.
const NO_EPOCH: i32 = -1;

impl<S: Store> Tx<S> {
    /// The next record of a partition that a group wants; none if it has committed nothing there.
    ///
    /// # Errors
    /// [`Error::Input`] for a group or a partition that cannot be, and what the store says.
    pub async fn committed_offset(
        &self,
        group: &str,
        topic: &str,
        partition: i32,
    ) -> Result<Option<i64>, Error> {
        let mut open = self.lock().await?;
        let key = offset_key(&mut open, group, topic, partition).await?;
        let found = open.txn.get(&key).await?.map(OffsetValue::decode).transpose()?;
        Ok(found.map(|found| found.offset.0))
    }

    /// Commits that a group wants the record at `offset` of a partition next: the one after the last that it is done
    /// with. Consumers of the group, whatever their language, go on there.
    ///
    /// Two transactions that commit an offset of one partition conflict. It is not for groups of workers, which keep marks and
    /// parked records beside their offsets: those are set and reset through a broker.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use tidegate_model::{Db, DbSettings, Error, NoWakeup, NewEvent};
    /// # use tidegate_store::{MemoryStore, SystemClock};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// # let store = MemoryStore::new(Arc::new(SystemClock));
    /// # let db = Db::new(store, DbSettings::default(), Arc::new(NoWakeup));
    /// db.transaction(|tx| async move { tx.publish(NewEvent::new("orders").key("1")).await }).await?;
    /// // Handles the record at an offset once, whoever else may believe to have the partition.
    /// let handle = async |offset: i64| {
    ///     db.transaction(|tx| async move {
    ///         let next = tx.committed_offset("billing", "orders", 0).await?.unwrap_or(0);
    ///         if offset < next {
    ///             return Ok(false);
    ///         }
    ///         tx.publish(NewEvent::new("bills").key("1")).await?;
    ///         tx.commit_offset("billing", "orders", 0, offset + 1).await?;
    ///         Ok(true)
    ///     })
    ///     .await
    /// };
    /// assert!(handle(0).await?);
    /// assert!(!handle(0).await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Input`] for a group, a partition or an offset that cannot be, and what the store says.
    pub async fn commit_offset(
        &self,
        group: &str,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> Result<(), Error> {
        if offset < 0 {
            return Err(InputError::OffsetNegative { offset }.into());
        }
        let mut open = self.lock_to_write().await?;
        let key = offset_key(&mut open, group, topic, partition).await?;
        let value = OffsetValue {
            offset: Offset(offset),
            leader_epoch: NO_EPOCH,
            metadata: String::new(),
            commit_time_ms: open.now_ms,
            expire_time_ms: None,
        };
        open.txn.put(key, value.encode());
        Ok(())
    }
}

async fn offset_key<S: Store>(
    open: &mut Open<S>,
    group: &str,
    topic: &str,
    partition: i32,
) -> Result<bytes::Bytes, Error> {
    check_group_id(group).map_err(InputError::Name)?;
    let missing = || InputError::NoPartition { topic: topic.to_owned(), partition };
    let found = load_topic(&mut open.txn, topic).await.map_err(PublishError::from)?.ok_or_else(missing)?;
    if !(0..found.partitions).contains(&partition) {
        return Err(missing().into());
    }
    let id = PartitionId { topic: found.id, partition: PartitionIndex(partition) };
    Ok(OffsetKey { group: group.to_owned(), id }.encode())
}
