//! What a worker reads of a partition before it handles its records; and the first committed offset of a group, if it has
//! none.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_format::{
    DoneKey, GroupKey, GroupValue, Offset, OffsetValue, ParkedKey, ParkedValue, PartitionId, PartitionIndex,
};
use tidegate_outbox::{LoadError, load_topic};
use tidegate_store::{Direction, KeyRange, Store, Txn};

use super::error::WorkerError;
use super::failed::FailedRecord;
use super::lane::Lane;
use super::partition::ParkedRow;
use super::progress::{PAGE, Progress, decode_offset};
use crate::model::Error;
use crate::offsets::{OffsetSpec, list_offsets};
use crate::{Client, Db, TopicPartition};

/// A partition as the store has it.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) progress: Progress,
    pub(crate) committed: i64,
    pub(crate) marked: BTreeSet<i64>,
    pub(crate) parked: Vec<ParkedRow>,
    /// How the record at the committed offset has failed, if a worker in order has had it.
    pub(crate) failed: Option<FailedRecord>,
}

/// Loads a partition of a group. A group that has committed nothing there begins at `begin`.
pub(crate) async fn load<S: Store>(
    db: &Db<S>,
    client: &Client,
    group: &str,
    at: &TopicPartition,
    begin: OffsetSpec,
) -> Result<Loaded, WorkerError> {
    let progress = Progress::new(group.to_owned(), partition_id(db, at).await?);
    if committed(db, &progress).await?.is_none() {
        let offset = match find_offset(client, at, begin).await? {
            Some(offset) => offset,
            // No record is that late: the next one that comes.
            None => find_offset(client, at, OffsetSpec::Latest).await?.unwrap_or(0),
        };
        begin_at(db, &progress, offset).await?;
    }
    found_group(db, group).await?;
    load_begun(db, progress).await
}

/// Loads a partition in which the group has begun, in one snapshot.
pub(super) async fn load_begun<S: Store>(db: &Db<S>, progress: Progress) -> Result<Loaded, WorkerError> {
    forget_old_marks(db, &progress).await?;
    let tx = db.begin().await?;
    let mut txn = tx.raw_store().await?;
    let committed = decode_offset(txn.get(progress.offset_key()).await.map_err(Error::from)?)?;
    // It was deleted this very moment: the next load begins anew.
    let failed = committed.as_ref().and_then(|row| FailedRecord::from_metadata(&row.metadata));
    let committed = committed.map_or(0, |row| row.offset.0);
    let mut marked = BTreeSet::new();
    let mut range = progress.done_from(committed);
    loop {
        let page = txn.scan_keys(&range, PAGE.count, Direction::Forward).await.map_err(Error::from)?;
        let Some(last) = page.last() else { break };
        range.start = KeyRange::successor(last);
        for key in &page {
            marked.insert(DoneKey::decode(key)?.offset.0);
        }
    }
    let mut parked = Vec::new();
    let mut range = progress.parked_range();
    loop {
        let page = txn.scan(&range, PAGE, Direction::Forward).await.map_err(Error::from)?;
        let Some((last, _)) = page.last() else { break };
        range.start = KeyRange::successor(last);
        for (key, row) in page {
            let offset = ParkedKey::decode(&key)?.offset.0;
            let row = ParkedValue::decode(row)?;
            parked.push((Lane::of(row.key.as_ref(), offset), offset, row.due_ms));
        }
    }
    drop(txn);
    Ok(Loaded { progress, committed, marked, parked, failed })
}

async fn find_offset(
    client: &Client,
    at: &TopicPartition,
    spec: OffsetSpec,
) -> Result<Option<i64>, crate::Error> {
    let wanted = BTreeMap::from([(at.clone(), spec)]);
    let found = list_offsets(client, &wanted).await.remove(at).unwrap_or(Ok(None));
    if found.as_ref().is_err_and(crate::Error::is_retriable) {
        // The next load may find another leader.
        client.refresh(&[]).await?;
    }
    found
}

async fn partition_id<S: Store>(db: &Db<S>, at: &TopicPartition) -> Result<PartitionId, WorkerError> {
    let tx = db.begin().await?;
    let found = load_topic(&mut *tx.raw_store().await?, &at.topic).await.map_err(|error| match error {
        LoadError::Read(error) => Error::Read(error),
        LoadError::Format(error) => Error::Format(error),
    });
    let topic = found?.filter(|topic| (0..topic.partitions).contains(&at.partition));
    let topic = topic.ok_or_else(|| WorkerError::UnknownPartition { partition: at.clone() })?;
    Ok(PartitionId { topic: topic.id, partition: PartitionIndex(at.partition) })
}

async fn committed<S: Store>(db: &Db<S>, progress: &Progress) -> Result<Option<OffsetValue>, Error> {
    let tx = db.begin().await?;
    let row = tx.raw_store().await?.get(progress.offset_key()).await?;
    decode_offset(row)
}

/// Writes the first committed offset, unless somebody else has.
pub(super) async fn begin_at<S: Store>(db: &Db<S>, progress: &Progress, offset: i64) -> Result<(), Error> {
    db.transaction(|tx| async move {
        let now_ms = tx.now_ms().await?;
        let mut txn = tx.raw_store().await?;
        if txn.get(progress.offset_key()).await?.is_some() {
            return Ok(());
        }
        let row = OffsetValue {
            offset: Offset(offset),
            leader_epoch: -1,
            metadata: String::new(),
            commit_time_ms: now_ms,
            expire_time_ms: None,
        };
        txn.put(progress.offset_key().clone(), row.encode());
        Ok(())
    })
    .await
}

/// Writes the row of a group that nobody has joined, so that it is listed, and its offsets expire when nobody renews them.
pub(super) async fn found_group<S: Store>(db: &Db<S>, group: &str) -> Result<(), Error> {
    db.transaction(|tx| async move {
        let now_ms = tx.now_ms().await?;
        let mut txn = tx.raw_store().await?;
        let group_key = GroupKey { group: group.to_owned() }.encode();
        if txn.get(&group_key).await?.is_none() {
            txn.put(group_key, GroupValue::founded(now_ms).encode());
        }
        Ok(())
    })
    .await
}

/// Removes marks before the committed offset, which was moved past them by others than workers, in bounded steps.
async fn forget_old_marks<S: Store>(db: &Db<S>, progress: &Progress) -> Result<(), Error> {
    loop {
        let removed = db
            .transaction(|tx| async move {
                let mut txn = tx.raw_store().await?;
                let Some(row) = decode_offset(txn.get(progress.offset_key()).await?)? else { return Ok(0) };
                let range = progress.done_before(row.offset.0);
                let page = txn.scan_keys(&range, PAGE.count, Direction::Forward).await?;
                let count = page.len();
                page.into_iter().for_each(|key| txn.delete(key));
                Ok(count)
            })
            .await?;
        if removed < PAGE.count {
            return Ok(());
        }
    }
}
